"""The part of `ObjectStore` that is about multipart uploads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from blockdev import Buffer
from objstore.engine import buckets, complete, multipart, upload_listing
from objstore.engine.calls import Calls
from objstore.engine.multipart import PartStream
from objstore.model import (
    DEFAULT_ATTRIBUTES,
    NO_CONDITIONS,
    Checksum,
    CompletedPart,
    Conditions,
    ObjectAttributes,
    ObjectInfo,
    PartPage,
    UploadInfo,
    UploadPage,
)


class MultipartCalls(Calls):
    """Multipart uploads."""

    def create_upload(
        self,
        bucket: str,
        key: str,
        *,
        attributes: ObjectAttributes = DEFAULT_ATTRIBUTES,
        checksum_algorithm: str = "",
        checksum_type: str = "",
        customer_key: bytes = b"",
    ) -> UploadInfo:
        """Begin a multipart upload; how its parts are encrypted is decided now.

        Args:
            customer_key: 32 bytes of an SSE-C key, which each part has to come with.

        Raises:
            StoreError: as `put`, but for the bytes.
        """
        core = self._open_core()
        buckets.ensure(core, bucket, key)
        checksum = (checksum_algorithm, checksum_type)
        return multipart.create(core, bucket, key, attributes, checksum, customer_key)

    def head_upload(self, bucket: str, key: str, upload_id: str) -> UploadInfo:
        """Raises `NoSuchUploadError` if there is none."""
        return multipart.head(self._open_core(), bucket, key, upload_id)

    def open_part(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        part_number: int,
        *,
        size_bytes: int | None = None,
        hashers: Sequence[Callable[[Buffer], object]] = (),
        customer_key: bytes = b"",
    ) -> PartStream:
        """Begin a part (1-10,000); it replaces an earlier one of its number on commit.

        Raises:
            NoSuchUploadError: there is no such upload.
            InvalidArgumentError: the part number is not between 1 and 10,000.
            CustomerKeyMissingError, CustomerKeyMismatchError, CustomerKeyUnexpectedError:
                the customer's key is not the upload's.
        """
        core = self._open_core()
        return PartStream(
            core, bucket, key, upload_id, part_number, size_bytes, hashers, customer_key
        )

    def list_parts(
        self, bucket: str, key: str, upload_id: str, *, after: int = 0, limit: int = 1000
    ) -> PartPage:
        """Uploaded parts with numbers greater than `after`."""
        return upload_listing.list_parts(self._open_core(), bucket, key, upload_id, after, limit)

    def list_uploads(
        self,
        bucket: str,
        *,
        prefix: str = "",
        delimiter: str = "",
        key_marker: str = "",
        upload_id_marker: str = "",
        limit: int = 1000,
    ) -> UploadPage:
        """Uploads under way, by key and upload id, after the markers."""
        return upload_listing.list_uploads(
            self._open_core(), bucket, prefix, delimiter, key_marker, upload_id_marker, limit
        )

    def complete_upload(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        parts: Sequence[CompletedPart],
        *,
        conditions: Conditions = NO_CONDITIONS,
        checksums: tuple[Checksum, ...] = (),
        customer_key: bytes = b"",
    ) -> ObjectInfo:
        """Make an object of uploaded parts; metadata only, whatever its size.

        Doing it again, with the same parts, gives the same answer while the object is there
        as it was made.

        Args:
            customer_key: of the upload, if it has one; it may be left out.

        Raises:
            NoSuchUploadError, InvalidPartError, InvalidPartOrderError,
            EntityTooSmallError: as S3; PreconditionFailedError as in `put`.
            CustomerKeyMismatchError, CustomerKeyUnexpectedError: it is not the upload's key.
        """
        return complete.complete(
            self._open_core(), bucket, key, upload_id, parts, conditions, checksums, customer_key
        )

    def abort_upload(self, bucket: str, key: str, upload_id: str) -> None:
        """End an upload and free its parts.

        Raises:
            NoSuchUploadError: there is none.
        """
        core = self._open_core()
        core.commit(multipart.AbortUpload(core, bucket, key, upload_id))
