"""The part of `ObjectStore` that makes objects grow, and gives them other names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import BinaryIO

from blockdev import Buffer
from objstore.engine import buckets, rename
from objstore.engine.append import AppendStream
from objstore.engine.body_stream import blocks_of, keep
from objstore.engine.calls import Calls
from objstore.model import (
    DEFAULT_ATTRIBUTES,
    NO_CONDITIONS,
    Checksum,
    Conditions,
    ObjectAttributes,
    ObjectInfo,
)


class AppendCalls(Calls):
    """Appends and renames."""

    def append(
        self,
        bucket: str,
        key: str,
        data: Buffer | BinaryIO | Iterable[Buffer],
        offset_bytes: int,
        *,
        attributes: ObjectAttributes = DEFAULT_ATTRIBUTES,
        conditions: Conditions = NO_CONDITIONS,
        checksums: tuple[Checksum, ...] = (),
        customer_key: bytes = b"",
    ) -> ObjectInfo:
        """Add bytes to the end of an object, durably; the object as it is then.

        Each append makes a part, of at most 10,000.  In a bucket with versioning it makes
        a version; elsewhere the object grows in place, at the same cost however large it is.

        Args:
            data: at least one byte, in any form that `put` takes.
            offset_bytes: the object's size.  0 makes an object where there is none.
            attributes: of the object that is made.
            checksums: digests of `data` that the caller has verified.
            customer_key: 32 bytes of the object's SSE-C key, if it has one.

        Raises:
            AppendOffsetError: the object has another size, which the error says.
            TooManyPartsError: it has 10,000 parts; a copy of it has as many.
            NotAppendableError: no bytes; metadata or tags for an object that there is
                already; or a checksum that does not go with the object's.
            EncryptionMismatchError: it asks for another encryption than the object has.
            PreconditionFailedError, NoSuchKeyError: as in `put`.
            CustomerKeyError, KeyDisabledError: as in `get`.
        """
        size_bytes = None
        if isinstance(data, (bytes, bytearray, memoryview)):
            size_bytes = memoryview(data).nbytes
        with self.open_append(
            bucket,
            key,
            offset_bytes,
            size_bytes=size_bytes,
            attributes=attributes,
            conditions=conditions,
            customer_key=customer_key,
        ) as stream:
            for block in blocks_of(data, self._core.config.io_bytes):
                stream.write(block, keep)
            return stream.commit(checksums=checksums)

    def open_append(
        self,
        bucket: str,
        key: str,
        offset_bytes: int,
        *,
        size_bytes: int | None = None,
        attributes: ObjectAttributes = DEFAULT_ATTRIBUTES,
        conditions: Conditions = NO_CONDITIONS,
        hashers: Sequence[Callable[[Buffer], object]] = (),
        customer_key: bytes = b"",
    ) -> AppendStream:
        """Begin an append whose bytes come piece by piece; nothing shows before its commit.

        Whoever reads the object meanwhile, or has it open, reads what it was.

        Args:
            size_bytes: how many will come, if known.
            hashers: called with every block, in order, possibly on other threads.

        Raises:
            StoreError: as `append`, now or at the commit.
        """
        core = self._open_core()
        buckets.ensure(core, bucket, key)
        return AppendStream(
            core,
            bucket,
            key,
            offset_bytes,
            size_bytes,
            attributes,
            conditions,
            hashers,
            customer_key,
        )

    def rename(
        self,
        bucket: str,
        source_key: str,
        key: str,
        *,
        source_conditions: Conditions = NO_CONDITIONS,
        conditions: Conditions = NO_CONDITIONS,
        owner: str = "",
        client_token: str = "",
    ) -> ObjectInfo:
        """Give an object another key, in one step; an object of that key is replaced.

        ETag, time, metadata, tags, checksums and parts stay as they are.  In a bucket with
        versioning, the source's versions stay under its key, behind a delete marker.

        Args:
            source_conditions: on the source, as of a read.
            conditions: on the object of the new key.
            owner: of the delete marker.
            client_token: a repeat with the same one, and all else the same, does nothing.

        Raises:
            NoSuchKeyError: there is no source.
            PreconditionFailedError: a condition does not hold.
            RenameToItselfError: both keys are the same.
            TokenReusedError: the object of the new key was renamed with this token, and
                something else was asked for then.
        """
        renaming = rename.Renaming(
            bucket, source_key, key, source_conditions, conditions, owner, client_token
        )
        return rename.rename(self._open_core(), renaming)
