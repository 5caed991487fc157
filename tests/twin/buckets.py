"""Buckets of the twin, and their settings."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from objstore.errors import (
    BucketExistsError,
    BucketNotEmptyError,
    BucketStateError,
    InvalidArgumentError,
    InvalidBucketNameError,
    NoSuchSettingError,
    SettingChangedError,
)
from objstore.model import BucketInfo, DefaultRetention, Encryption
from tests.twin import encryption, rules
from tests.twin.state import Bucket, State


class BucketCalls(State):
    """As the engine's calls of that name."""

    def create_bucket(
        self,
        bucket: str,
        *,
        region: str = "us-east-1",
        owner: str = "",
        object_lock: bool = False,
        settings: Mapping[str, bytes] = MappingProxyType({}),
    ) -> BucketInfo:
        for name in settings:
            _check_setting(name)
        made = self._make_bucket(bucket, region, owner)
        made.settings.update(settings)
        if object_lock:
            made.versioning, made.retention = "Enabled", DefaultRetention()
        return made.info

    def _make_bucket(self, bucket: str, region: str = "us-east-1", owner: str = "") -> Bucket:
        if not rules.is_bucket_name(bucket):
            raise InvalidBucketNameError("not a bucket name", "bucket", bucket)
        if bucket in self._buckets:
            raise BucketExistsError(bucket)
        made = Bucket(BucketInfo(bucket, self._now_ms(), region, owner))
        self._buckets[bucket] = made
        return made

    def head_bucket(self, bucket: str) -> BucketInfo:
        return self._bucket(bucket).info

    def list_buckets(
        self, *, prefix: str = "", start_after: str = "", limit: int = 10_000
    ) -> list[BucketInfo]:
        names = sorted(n for n in self._buckets if n.startswith(prefix) and n > start_after)
        return [self._buckets[name].info for name in names[:limit]]

    def delete_bucket(self, bucket: str) -> None:
        found = self._bucket(bucket)
        if found.keys or found.uploads:
            raise BucketNotEmptyError(bucket)
        del self._buckets[bucket]

    def versioning(self, bucket: str) -> str:
        return self._bucket(bucket).versioning

    def set_versioning(self, bucket: str, status: str) -> None:
        if status not in ("Enabled", "Suspended"):
            raise InvalidArgumentError("versioning is Enabled or Suspended", "Status", status)
        found = self._bucket(bucket)
        if status == "Suspended" and found.retention is not None:
            raise BucketStateError("a bucket with object lock keeps its versions")
        found.versioning = status

    def object_lock(self, bucket: str) -> DefaultRetention:
        retention = self._bucket(bucket).retention
        if retention is None:
            raise NoSuchSettingError("object-lock")
        return retention

    def set_object_lock(self, bucket: str, default: DefaultRetention) -> None:
        rules.check_default_retention(default)
        found = self._bucket(bucket)
        if found.versioning != "Enabled":
            raise BucketStateError("object lock needs versions")
        found.retention = default

    def bucket_encryption(self, bucket: str) -> Encryption:
        return self._bucket(bucket).encryption

    def set_bucket_encryption(
        self,
        bucket: str,
        default: Encryption | None,
        *,
        also: Mapping[str, bytes | None] = MappingProxyType({}),
    ) -> None:
        for name in also:
            _check_setting(name)
        if default and (default.algorithm not in encryption.MANAGED or default.context):
            raise InvalidArgumentError("no default", "SSEAlgorithm", default.algorithm)
        found = self._bucket(bucket)
        if default is not None:
            found.encryption = default
        for name, value in also.items():
            self.set_bucket_setting(bucket, name, value)

    def bucket_setting(self, bucket: str, name: str) -> bytes:
        found = self._bucket(bucket)
        if name not in found.settings:
            raise NoSuchSettingError(name)
        return found.settings[name]

    def set_bucket_setting(
        self,
        bucket: str,
        name: str,
        value: bytes | None,
        *,
        given: Mapping[str, bytes | None] = MappingProxyType({}),
    ) -> None:
        _check_setting(name)
        settings = self._bucket(bucket).settings
        for other, expected in given.items():
            if settings.get(other) != expected:
                raise SettingChangedError(other)
        if value is None:
            settings.pop(name, None)
        else:
            settings[name] = value


def _check_setting(name: str) -> None:
    if name in ("versioning", "object-lock", "encryption"):
        raise InvalidArgumentError(f"{name!r} has a method of its own", "name", name)
