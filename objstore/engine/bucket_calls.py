"""The part of `ObjectStore` that is about buckets and their settings."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from objstore.engine import buckets, settings
from objstore.engine.calls import Calls
from objstore.model import BucketInfo, DefaultRetention, Encryption


class BucketCalls(Calls):
    """Buckets."""

    def create_bucket(
        self,
        bucket: str,
        *,
        region: str = "us-east-1",
        owner: str = "",
        object_lock: bool = False,
        settings: Mapping[str, bytes] = MappingProxyType({}),
    ) -> BucketInfo:
        """Make a bucket.

        Args:
            object_lock: with object lock from the start, and so with versions.
            settings: what `set_bucket_setting` would keep, by name.

        Raises:
            InvalidBucketNameError: S3 would not take the name.
            BucketExistsError: there is one of that name.
            InvalidArgumentError: a setting has a method of its own.
        """
        return buckets.create(
            self._open_core(), bucket, region, owner, object_lock=object_lock, made_with=settings
        )

    def head_bucket(self, bucket: str) -> BucketInfo:
        """Raises `NoSuchBucketError` if there is none of that name."""
        return buckets.head(self._open_core(), bucket)

    def list_buckets(
        self, *, prefix: str = "", start_after: str = "", limit: int = 10_000
    ) -> list[BucketInfo]:
        """Buckets in the order of their names, at most `limit`."""
        return buckets.list_buckets(self._open_core(), prefix, start_after, limit)

    def delete_bucket(self, bucket: str) -> None:
        """Remove an empty bucket.

        Raises:
            NoSuchBucketError: there is none of that name.
            BucketNotEmptyError: it still holds objects or uploads.
        """
        buckets.delete(self._open_core(), bucket)

    # --- settings -----------------------------------------------------------------

    def versioning(self, bucket: str) -> str:
        """Whether the bucket keeps versions: ``Enabled``, ``Suspended``, or empty if never."""
        return settings.versioning(self._open_core(), bucket)

    def set_versioning(self, bucket: str, status: str) -> None:
        """Keep what is overwritten from now on (``Enabled``), or no longer (``Suspended``).

        Raises:
            BucketStateError: it cannot be suspended, as the bucket has object lock.
        """
        settings.set_versioning(self._open_core(), bucket, status)

    def object_lock(self, bucket: str) -> DefaultRetention:
        """The default retention of a bucket with object lock; one without a mode for none.

        Raises:
            NoSuchSettingError: the bucket has no object lock.
        """
        return settings.object_lock(self._open_core(), bucket)

    def set_object_lock(self, bucket: str, default: DefaultRetention) -> None:
        """Give the bucket object lock, for good, and its new versions a default retention.

        Raises:
            BucketStateError: its versioning is not enabled.
        """
        settings.set_object_lock(self._open_core(), bucket, default)

    def bucket_encryption(self, bucket: str) -> Encryption:
        """How new objects are encrypted that ask for nothing; `NO_ENCRYPTION`: not at all."""
        return settings.default_encryption(self._open_core(), bucket)

    def set_bucket_encryption(
        self,
        bucket: str,
        default: Encryption | None,
        *,
        also: Mapping[str, bytes | None] = MappingProxyType({}),
    ) -> None:
        """Encrypt new objects that ask for nothing; `NO_ENCRYPTION` ends it, None leaves it.

        Objects that there are stay as they are.

        Args:
            also: other settings, as `set_bucket_setting` changes them, in the same commit.

        Raises:
            InvalidArgumentError: it is a customer's key, or has an encryption context.
        """
        settings.set_default_encryption(self._open_core(), bucket, default, also)

    def bucket_setting(self, bucket: str, name: str) -> bytes:
        """One of the settings that the engine keeps and does not interpret.

        Raises:
            NoSuchSettingError: it was never made, or has been deleted.
        """
        return settings.get(self._open_core(), bucket, name)

    def set_bucket_setting(
        self,
        bucket: str,
        name: str,
        value: bytes | None,
        *,
        given: Mapping[str, bytes | None] = MappingProxyType({}),
    ) -> None:
        """Keep `value` under `name`; None deletes it.

        Args:
            given: other settings, None for one that is not there, on which the change relies.

        Raises:
            InvalidArgumentError: the setting has a method of its own.
            SettingChangedError: one of `given` is another by now; nothing has changed.
        """
        settings.change(self._open_core(), bucket, name, value, given)
