"""The part of `ObjectStore` that copies within the store."""

from __future__ import annotations

from collections.abc import Sequence

from objstore.engine import copy, copy_part
from objstore.engine.calls import Calls
from objstore.engine.copy import Copying
from objstore.engine.copy_part import NewDigest, Target
from objstore.model import (
    NO_CONDITIONS,
    ByteRange,
    Checksum,
    Conditions,
    ObjectAttributes,
    ObjectInfo,
    PartInfo,
)


class CopyCalls(Calls):
    """Copies of objects and into parts; large ones share the bytes."""

    def copy(
        self,
        source_bucket: str,
        source_key: str,
        bucket: str,
        key: str,
        *,
        source_version_id: str = "",
        attributes: ObjectAttributes | None = None,
        source_conditions: Conditions = NO_CONDITIONS,
        conditions: Conditions = NO_CONDITIONS,
        checksums: tuple[Checksum, ...] | None = None,
        customer_key: bytes = b"",
        source_customer_key: bytes = b"",
    ) -> ObjectInfo:
        """Copy an object; a large one shares its bytes with the source.

        Also encrypted bytes are shared.  Where just one of the two is encrypted, or where
        the ETag has to become an MD5, they are read and written again, in one piece.

        Args:
            attributes: those of the copy; None keeps the source's, with its encryption.
            checksums: those of the copy; None keeps the source's.
            customer_key: 32 bytes of an SSE-C key for the copy.
            source_customer_key: that of the source, if it has one.

        Raises:
            NoSuchKeyError, NoSuchVersionError, IsDeleteMarkerError, PreconditionFailedError,
            CustomerKeyError, CorruptionError: as `get` of the source, and as `put`.
            EntityTooLargeError: over 5 GiB, and it cannot be shared.
        """
        copying = Copying(
            (source_bucket, source_key, source_version_id),
            bucket,
            key,
            attributes,
            source_conditions,
            conditions,
            checksums,
            bytes(customer_key),
            bytes(source_customer_key),
        )
        return copy.copy(self._open_core(), copying)

    def copy_part(
        self,
        source_bucket: str,
        source_key: str,
        bucket: str,
        key: str,
        upload_id: str,
        part_number: int,
        *,
        source_version_id: str = "",
        byte_range: ByteRange | None = None,
        source_conditions: Conditions = NO_CONDITIONS,
        checksum_algorithms: Sequence[str] = (),
        new_digest: NewDigest | None = None,
        customer_key: bytes = b"",
        source_customer_key: bytes = b"",
    ) -> PartInfo:
        """Make a part of an object's bytes, or of a range of them, which both share.

        Its ETag is the MD5 of these bytes.  They are read only where neither the object
        nor one of its parts is exactly the range, and says its MD5 and the checksum.

        Args:
            checksum_algorithms: the part gets a checksum, in the first of these that the
                source has of the range; where it has none, the first is computed.
            new_digest: begins a digest by the name of its algorithm.
            customer_key, source_customer_key: the SSE-C keys of upload and source.

        Raises:
            NoSuchUploadError: there is no such upload.
            InvalidArgumentError: the part number is not between 1 and 10,000.
            InvalidRangeError: the range starts past the end.
            EntityTooLargeError: over 5 GiB.
            NoSuchKeyError, NoSuchVersionError, IsDeleteMarkerError,
            PreconditionFailedError, CorruptionError: as `get` of the source.
        """
        return copy_part.copy_part(
            self._open_core(),
            (source_bucket, source_key, source_version_id),
            Target(
                bucket,
                key,
                upload_id,
                part_number,
                checksum_algorithms,
                new_digest,
                customer_key,
            ),
            byte_range,
            source_conditions,
            source_customer_key,
        )
