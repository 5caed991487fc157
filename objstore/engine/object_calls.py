"""The part of `ObjectStore` that is about objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import BinaryIO, TypeAlias

from blockdev import Buffer
from objstore.engine import body_stream, buckets, delete, get, listing, object_parts, put
from objstore.engine.calls import Calls
from objstore.engine.put import PutStream
from objstore.engine.reader import ObjectReader
from objstore.errors import InvalidArgumentError, NoSuchBucketError
from objstore.model import (
    DEFAULT_ATTRIBUTES,
    NO_CONDITIONS,
    ByteRange,
    Checksum,
    Conditions,
    DeleteResult,
    DeleteTarget,
    ListPage,
    ObjectAttributes,
    ObjectInfo,
    ObjectPartPage,
)

# `list` hides the builtin from what follows it in the class.
DeleteResults: TypeAlias = list[DeleteResult]
Done: TypeAlias = Callable[[ObjectInfo | None, BaseException | None], None]
DeleteDone: TypeAlias = Callable[[DeleteResult | None, BaseException | None], None]


class ObjectCalls(Calls):
    """Objects."""

    def put(
        self,
        bucket: str,
        key: str,
        data: Buffer | BinaryIO | Iterable[Buffer],
        *,
        attributes: ObjectAttributes = DEFAULT_ATTRIBUTES,
        conditions: Conditions = NO_CONDITIONS,
        checksums: tuple[Checksum, ...] = (),
        customer_key: bytes = b"",
    ) -> ObjectInfo:
        """Store an object, durably; it replaces the one that has its key.

        It is encrypted as ``attributes.encryption`` says, or else as the bucket does by
        default; see docs/encryption.md.

        Args:
            data: bytes, a binary file, or pieces; anything large is streamed.
            checksums: digests that the caller has verified, to be kept and returned.
            customer_key: 32 bytes of a key of the caller's own (SSE-C), which is not kept:
                whoever reads the object has to bring it.

        Raises:
            NoSuchBucketError: and the store was opened with ``create_buckets=False``.
            KeyTooLongError: over 1,024 bytes of UTF-8.
            PreconditionFailedError: `conditions` do not hold; NoSuchKeyError if there
                is no object for ``if_match`` to match.
            EntityTooLargeError: over 5 GiB in one piece.
            InvalidArgumentError: there is no such encryption, or the customer's key does not
                go with it.
            KeyNotFoundError, KeyDisabledError, KeyStateError, KeyServiceError: the key cannot
                be used.
        """
        core = self._open_core()
        if isinstance(data, str):
            raise InvalidArgumentError("an object is made of bytes, not of text: encode it", "data")
        size_bytes = None
        if isinstance(data, (bytes, bytearray, memoryview)):
            size_bytes = memoryview(data).nbytes
        if size_bytes is not None and size_bytes <= core.config.log_inline_bytes:
            assert isinstance(data, (bytes, bytearray, memoryview))
            body = bytes(data)  # a copy of what the caller may change; free for bytes
            operation = put.small_put(
                core, bucket, key, body, attributes, conditions, checksums, None, customer_key
            )
            try:
                records = core.commit(operation)
            except NoSuchBucketError:
                if not core.makes_buckets:
                    raise
                buckets.ensure(core, bucket, key)
                records = core.commit(operation)
            return put.put_info(operation, records[0])
        buckets.ensure(core, bucket, key)
        with self.open_put(
            bucket,
            key,
            size_bytes=size_bytes,
            attributes=attributes,
            conditions=conditions,
            customer_key=customer_key,
        ) as stream:
            for block in body_stream.blocks_of(data, core.config.io_bytes):
                stream.write(block, body_stream.keep)
            return stream.commit(checksums=checksums)

    def submit_put(
        self,
        bucket: str,
        key: str,
        body: Buffer,
        done: Done,
        *,
        attributes: ObjectAttributes = DEFAULT_ATTRIBUTES,
        conditions: Conditions = NO_CONDITIONS,
        checksums: tuple[Checksum, ...] = (),
        md5: bytes | None = None,
        customer_key: bytes = b"",
        has_digest: bool = True,
        hold: bool = False,
    ) -> None:
        """As `put`, in the background, for a body of at most ``config.log_inline_bytes``.

        `done` is called with the object or the error, from another thread or, with
        `hold`, from the one that commits; it must not block.  `body` must not change
        before that.  `md5`: its digest, if known.  `has_digest`: as for `open_put`.
        `hold`: gather it with others until `commit_held`, which is then owed.

        Raises:
            StoreUnavailableError: too many writes are waiting, or the store is closed.
        """
        core = self._open_core()
        operation = put.small_put(
            core,
            bucket,
            key,
            body,
            attributes,
            conditions,
            checksums,
            md5,
            customer_key,
            has_digest=has_digest,
        )
        core.submit(operation, lambda records: put.put_info(operation, records[0]), done, hold)

    def submit_delete(
        self,
        bucket: str,
        key: str,
        done: DeleteDone,
        *,
        version_id: str = "",
        conditions: Conditions = NO_CONDITIONS,
        owner: str = "",
        bypass_governance: bool = False,
        hold: bool = False,
    ) -> None:
        """As `delete`, in the background; `done` and `hold` as for `submit_put`.

        Raises:
            StoreUnavailableError: too many writes are waiting, or the store is closed.
        """
        core = self._open_core()
        target = DeleteTarget(key, version_id, conditions)
        operation = delete.DeleteObjects(
            core,
            bucket,
            [target],
            owner=owner,
            bypass_governance=bypass_governance,
            is_alone=True,
        )
        core.submit(operation, lambda _records: operation.results()[0], done, hold)

    @property
    def is_being_written(self) -> bool:
        """Whether a commit would have to wait, as somebody, here or elsewhere, is at one."""
        return self._core.slots.is_written()

    def commit_held(self) -> None:
        """Commit, on this thread, what was submitted to be held.

        One batch for all of them, without handing anything to another thread: for
        who can wait for the device, such as an event loop on a fast one.
        """
        # Also of a store that is being closed: who closes it waits for them.
        self._core.committer.commit_held()

    def open_put(
        self,
        bucket: str,
        key: str,
        *,
        size_bytes: int | None = None,
        attributes: ObjectAttributes = DEFAULT_ATTRIBUTES,
        conditions: Conditions = NO_CONDITIONS,
        hashers: Sequence[Callable[[Buffer], object]] = (),
        customer_key: bytes = b"",
        has_digest: bool = True,
    ) -> PutStream:
        """Begin a put whose bytes come piece by piece; nothing shows before its commit.

        How it is encrypted is decided now.

        Args:
            size_bytes: how many will come, if known; it saves space and is checked.
            hashers: called with every block, in order, possibly on other threads.
            has_digest: False of bytes that came without a digest of theirs.

        Raises:
            DigestRequiredError: they did, and the bucket's default would lock them.
        """
        core = self._open_core()
        buckets.ensure(core, bucket, key)
        return PutStream(
            core,
            bucket,
            key,
            size_bytes,
            attributes,
            conditions,
            hashers,
            customer_key,
            has_digest=has_digest,
        )

    def head(
        self,
        bucket: str,
        key: str,
        *,
        version_id: str = "",
        part_number: int = 0,
        conditions: Conditions = NO_CONDITIONS,
        customer_key: bytes | None = b"",
    ) -> ObjectInfo:
        """What is known of an object, or of one version of it.

        Args:
            part_number: says of this part of it where it is, as `ObjectInfo.part`.
            customer_key: as for `get`; None for who wants to know no more than is known
                without it, such as tags.

        Raises:
            NoSuchBucketError, NoSuchKeyError, NoSuchVersionError: there is no such thing.
            NoSuchPartError: the object has no such part.
            IsDeleteMarkerError: the version is a delete marker.
            PreconditionFailedError, NotModifiedError: as the conditions say.
            CustomerKeyMissingError, CustomerKeyMismatchError, CustomerKeyUnexpectedError: the
                object was written with another customer's key, or with none.
        """
        core = self._open_core()
        if part_number:
            return object_parts.head_part(
                core, bucket, key, part_number, conditions, version_id, customer_key
            )
        return get.head(core, bucket, key, conditions, version_id, customer_key)

    def get(
        self,
        bucket: str,
        key: str,
        *,
        byte_range: ByteRange | None = None,
        version_id: str = "",
        part_number: int = 0,
        conditions: Conditions = NO_CONDITIONS,
        customer_key: bytes = b"",
    ) -> ObjectReader:
        """Open an object, or a range of it, for reading; close the reader.

        What it reads is the object as it was now, whatever happens to it meanwhile.

        Args:
            part_number: reads this part of it, and no range.

        Raises:
            NoSuchBucketError, NoSuchKeyError, NoSuchVersionError: there is no such thing.
            NoSuchPartError: the object has no such part.
            IsDeleteMarkerError: the version is a delete marker.
            InvalidRangeError: the range starts past the end.
            PreconditionFailedError, NotModifiedError: as the conditions say.
            CorruptionError: now or while reading: bytes do not match their checksum.
            CustomerKeyMissingError, CustomerKeyMismatchError, CustomerKeyUnexpectedError: the
                object was written with another customer's key, or with none.
            KeyDisabledError, KeyNotFoundError, KeyStateError, KeyServiceError: its key cannot
                be used.
        """
        core = self._open_core()
        if part_number:
            if byte_range is not None:
                raise InvalidArgumentError("a range or a part number, not both", "partNumber")
            return object_parts.get_part(
                core, bucket, key, part_number, conditions, version_id, customer_key
            )
        return get.get(core, bucket, key, byte_range, conditions, version_id, customer_key)

    def list_object_parts(
        self,
        bucket: str,
        key: str,
        *,
        version_id: str = "",
        after: int = 0,
        limit: int = 1000,
        conditions: Conditions = NO_CONDITIONS,
    ) -> ObjectPartPage:
        """The parts that an object was completed from, with numbers greater than `after`.

        An object that was put in one piece has none.

        Raises:
            NoSuchBucketError, NoSuchKeyError, NoSuchVersionError: there is no such thing.
            IsDeleteMarkerError: the version is a delete marker.
            PreconditionFailedError, NotModifiedError: as the conditions say.
        """
        core = self._open_core()
        return object_parts.list_parts(core, bucket, key, version_id, after, limit, conditions)

    def object_part_at(
        self, bucket: str, key: str, start_byte: int, *, version_id: str = ""
    ) -> ObjectPartPage:
        """The part that begins at this byte of an object, if one does; empty parts count.

        Raises:
            NoSuchBucketError, NoSuchKeyError, NoSuchVersionError: there is no such thing.
            IsDeleteMarkerError: the version is a delete marker.
        """
        return object_parts.part_at(self._open_core(), bucket, key, start_byte, version_id)

    def delete(
        self,
        bucket: str,
        key: str,
        *,
        version_id: str = "",
        conditions: Conditions = NO_CONDITIONS,
        owner: str = "",
        bypass_governance: bool = False,
    ) -> DeleteResult:
        """Remove an object, or one version of it; that there is none is no error.

        In a bucket with versioning, an object is not removed: a delete marker, which
        belongs to `owner`, hides it.

        Raises:
            PreconditionFailedError: the object is another than `conditions` say.
            ObjectLockedError: the version must stay; governance gives way to
                `bypass_governance`, nothing else does.
        """
        targets = [DeleteTarget(key, version_id, conditions)]
        return delete.delete_many(
            self._open_core(),
            bucket,
            targets,
            owner=owner,
            bypass_governance=bypass_governance,
            is_alone=True,
        )[0]

    def delete_many(
        self,
        bucket: str,
        targets: Sequence[str | DeleteTarget],
        *,
        owner: str = "",
        bypass_governance: bool = False,
    ) -> DeleteResults:
        """Remove objects, or versions, in one commit; a result for each, in order.

        What `delete` would raise for one of them is its result's `error`; the others go.
        """
        return delete.delete_many(
            self._open_core(),
            bucket,
            [DeleteTarget(each) if isinstance(each, str) else each for each in targets],
            owner=owner,
            bypass_governance=bypass_governance,
            is_alone=False,
        )

    def list(
        self,
        bucket: str,
        *,
        prefix: str = "",
        delimiter: str = "",
        start_after: str = "",
        limit: int = 1000,
    ) -> ListPage:
        """Objects in the order of their keys' UTF-8 bytes.

        Args:
            delimiter: keys that hold it after the prefix are folded into one
                common prefix, which counts as one towards `limit`.
            start_after: a key or a common prefix; what comes after it is listed.
        """
        core = self._open_core()
        return listing.list_objects(core, bucket, prefix, delimiter, start_after, limit)
