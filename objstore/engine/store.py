"""The embedding API: `ObjectStore`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, TypeAlias

from blockdev import BlockDevice, Buffer, Clock, SystemClock
from objstore.config import StoreConfig
from objstore.engine import buckets, copy, delete, get, listing, multipart, put
from objstore.engine.check import Problem, check_core
from objstore.engine.core import Core
from objstore.engine.get import ObjectReader
from objstore.engine.maintenance import Maintenance, MaintenanceReport
from objstore.engine.membership import join, leave
from objstore.engine.multipart import PartStream
from objstore.engine.opening import Folder, Opened, open_folder
from objstore.engine.put import PutStream
from objstore.engine.recovery import RebuildReport
from objstore.entropy import Entropy, SystemEntropy
from objstore.errors import (
    InvalidArgumentError,
    NoSuchBucketError,
    StoreClosedError,
    StoreFullError,
)
from objstore.model import (
    DEFAULT_ATTRIBUTES,
    NO_CONDITIONS,
    BucketInfo,
    ByteRange,
    Checksum,
    CompletedPart,
    Conditions,
    DeleteResult,
    ListPage,
    ObjectAttributes,
    ObjectInfo,
    PartInfo,
    PartPage,
    UploadInfo,
    UploadPage,
)

# `ObjectStore.list` hides the builtin from what follows it in the class.
Problems: TypeAlias = list[Problem]
DeleteResults: TypeAlias = list[DeleteResult]
Done: TypeAlias = Callable[[ObjectInfo | None, BaseException | None], None]
DeleteDone: TypeAlias = Callable[[DeleteResult | None, BaseException | None], None]


class ObjectStore:
    """A durable object store in a folder, or on a block device.

    Any number of threads may use one object, and any number of processes may open
    one folder at a time (each of them once; open it after a fork).  A write has
    been made durable when its method returns.

        with ObjectStore.open("data") as store:
            store.put("bucket", "key", b"bytes")
            print(store.get("bucket", "key").read())

    Besides what each method names, all raise `StoreUnavailableError` when the store
    itself is what fails: full, closed, damaged, poisoned by a device that failed.
    """

    def __init__(self, core: Core, opened: Opened, folder: Folder) -> None:
        """Use `ObjectStore.open`."""
        self._core = core
        self._opened = opened
        self._folder = folder
        self._maintenance = Maintenance(core, folder.checkpoints)
        core.make_room = core.space.on_full = self._maintenance.make_room
        self._is_closed = False

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        config: StoreConfig | None = None,
        clock: Clock | None = None,
        entropy: Entropy | None = None,
        device: BlockDevice | None = None,
        create_buckets: bool = True,
    ) -> ObjectStore:
        """Open the store in folder `path`; make it, or recover it, if need be.

        Args:
            config: bounds; sizes that were fixed when the store was made stay so.
            device: where the log and the data lie, instead of the file ``device`` in
                the folder; it is not closed with the store.
            create_buckets: writing to a bucket that is missing makes it, as embedding
                programs like it; the server leaves that to CreateBucket.

        Raises:
            StoreLockedError: another process has been recovering it for a minute.
            CorruptionError: the log is damaged, or the device holds something else.
        """
        config = config or StoreConfig()
        clock, entropy = clock or SystemClock(), entropy or SystemEntropy()
        folder = Folder(Path(path))
        opened = open_folder(folder, config, clock, entropy, device)
        return cls._join(opened, folder, config, clock, entropy, create_buckets)

    @classmethod
    def _join(
        cls,
        opened: Opened,
        folder: Folder,
        config: StoreConfig,
        clock: Clock,
        entropy: Entropy,
        create_buckets: bool,
    ) -> ObjectStore:
        try:
            core = join(opened, folder, config, clock, entropy, create_buckets)
            store = cls(core, opened, folder)
            store._maintenance.start()
            return store
        except BaseException as error:
            opened.release()
            if isinstance(error, OSError):
                raise StoreFullError(f"the store cannot be opened: {error}") from error
            raise

    @property
    def config(self) -> StoreConfig:
        return self._core.config

    @property
    def clock(self) -> Clock:
        return self._core.clock

    @property
    def entropy(self) -> Entropy:
        return self._core.entropy

    @property
    def recovery(self) -> RebuildReport | None:
        """What had to be replayed when this store was opened; None if nothing."""
        return self._opened.report

    def close(self) -> None:
        """Finish what runs and let go; idempotent.

        The last process to close the store syncs its index, so that the next start
        need not replay anything even after a power loss.
        """
        if self._is_closed:
            return
        self._is_closed = True
        self._maintenance.stop()
        leave(self._core, self._opened, self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _open_core(self) -> Core:
        if self._is_closed:
            raise StoreClosedError("the store is closed; open it again")
        return self._core

    # --- buckets ------------------------------------------------------------------

    def create_bucket(
        self, bucket: str, *, region: str = "us-east-1", owner: str = ""
    ) -> BucketInfo:
        """Make a bucket.

        Raises:
            InvalidBucketNameError: S3 would not take the name.
            BucketExistsError: there is one of that name.
        """
        return buckets.create(self._open_core(), bucket, region, owner)

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

    # --- objects ------------------------------------------------------------------

    def put(
        self,
        bucket: str,
        key: str,
        data: Buffer | BinaryIO | Iterable[Buffer],
        *,
        attributes: ObjectAttributes = DEFAULT_ATTRIBUTES,
        conditions: Conditions = NO_CONDITIONS,
        checksums: tuple[Checksum, ...] = (),
    ) -> ObjectInfo:
        """Store an object, durably; it replaces the one that has its key.

        Args:
            data: bytes, a binary file, or pieces; anything large is streamed.
            checksums: digests that the caller has verified, to be kept and returned.

        Raises:
            NoSuchBucketError: and the store was opened with ``create_buckets=False``.
            KeyTooLongError: over 1,024 bytes of UTF-8.
            PreconditionFailedError: `conditions` do not hold; NoSuchKeyError if there
                is no object for ``if_match`` to match.
            EntityTooLargeError: over 5 GiB in one piece.
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
                core, bucket, key, body, attributes, conditions, checksums, None
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
            bucket, key, size_bytes=size_bytes, attributes=attributes, conditions=conditions
        ) as stream:
            for block in put.blocks_of(data, core.config.io_bytes):
                stream.write(block, put.keep)
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
        hold: bool = False,
    ) -> None:
        """As `put`, in the background, for a body of at most ``config.log_inline_bytes``.

        `done` is called from another thread, with the object or the error; it must
        not block.  `body` must not change before that.  `md5`: its digest, if known.
        `hold`: gather it with others until `commit_held`, which is then owed.

        Raises:
            StoreUnavailableError: too many writes are waiting, or the store is closed.
        """
        core = self._open_core()
        operation = put.small_put(core, bucket, key, body, attributes, conditions, checksums, md5)
        core.submit(operation, lambda records: put.put_info(operation, records[0]), done, hold)

    def submit_delete(self, bucket: str, key: str, done: DeleteDone, *, hold: bool = False) -> None:
        """As `delete`, in the background; `done` and `hold` as for `submit_put`.

        Raises:
            StoreUnavailableError: too many writes are waiting, or the store is closed.
        """
        core = self._open_core()
        operation = delete.DeleteObjects(core, bucket, [key])
        core.submit(operation, lambda records: DeleteResult(key, bool(records)), done, hold)

    @property
    def is_being_written(self) -> bool:
        """Whether a commit would have to wait, as another process seems to be at one."""
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
    ) -> PutStream:
        """Begin a put whose bytes come piece by piece; nothing shows before its commit.

        Args:
            size_bytes: how many will come, if known; it saves space and is checked.
            hashers: called with every block, in order, possibly on other threads.
        """
        core = self._open_core()
        buckets.ensure(core, bucket, key)
        return PutStream(core, bucket, key, size_bytes, attributes, conditions, hashers)

    def head(self, bucket: str, key: str, *, conditions: Conditions = NO_CONDITIONS) -> ObjectInfo:
        """What is known of an object.

        Raises:
            NoSuchBucketError, NoSuchKeyError: there is no such thing.
            PreconditionFailedError, NotModifiedError: as the conditions say.
        """
        return get.head(self._open_core(), bucket, key, conditions)

    def get(
        self,
        bucket: str,
        key: str,
        *,
        byte_range: ByteRange | None = None,
        conditions: Conditions = NO_CONDITIONS,
    ) -> ObjectReader:
        """Open an object, or a range of it, for reading; close the reader.

        What it reads is the object as it was now, whatever happens to it meanwhile.

        Raises:
            NoSuchBucketError, NoSuchKeyError: there is no such thing.
            InvalidRangeError: the range starts past the end.
            PreconditionFailedError, NotModifiedError: as the conditions say.
            CorruptionError: now or while reading: bytes do not match their checksum.
        """
        return get.get(self._open_core(), bucket, key, byte_range, conditions)

    def delete(self, bucket: str, key: str) -> DeleteResult:
        """Remove an object; that there is none is no error."""
        return self.delete_many(bucket, [key])[0]

    def delete_many(self, bucket: str, keys: Sequence[str]) -> DeleteResults:
        """Remove objects in one commit; a result for each key, in order."""
        return delete.delete_many(self._open_core(), bucket, keys)

    def copy(
        self,
        source_bucket: str,
        source_key: str,
        bucket: str,
        key: str,
        *,
        attributes: ObjectAttributes | None = None,
        source_conditions: Conditions = NO_CONDITIONS,
        conditions: Conditions = NO_CONDITIONS,
        checksums: tuple[Checksum, ...] | None = None,
    ) -> ObjectInfo:
        """Copy an object; a large one shares its bytes with the source.

        Args:
            attributes: those of the copy; None keeps the source's.
            checksums: those of the copy; None keeps the source's.
        """
        core = self._open_core()
        return copy.copy(
            core,
            (source_bucket, source_key),
            (bucket, key),
            attributes,
            source_conditions,
            conditions,
            checksums,
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

    # --- multipart uploads --------------------------------------------------------------

    def create_upload(
        self,
        bucket: str,
        key: str,
        *,
        attributes: ObjectAttributes = DEFAULT_ATTRIBUTES,
        checksum_algorithm: str = "",
        checksum_type: str = "",
    ) -> UploadInfo:
        """Begin a multipart upload."""
        core = self._open_core()
        buckets.ensure(core, bucket, key)
        checksum = (checksum_algorithm, checksum_type)
        return multipart.create(core, bucket, key, attributes, checksum)

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
    ) -> PartStream:
        """Begin a part (1-10,000); it replaces an earlier one of its number on commit."""
        core = self._open_core()
        return PartStream(core, bucket, key, upload_id, part_number, size_bytes, hashers)

    def copy_part(
        self,
        source_bucket: str,
        source_key: str,
        bucket: str,
        key: str,
        upload_id: str,
        part_number: int,
        *,
        byte_range: ByteRange | None = None,
        source_conditions: Conditions = NO_CONDITIONS,
    ) -> PartInfo:
        """Make a part of an object's bytes, or a range of them."""
        source = self.get(
            source_bucket, source_key, byte_range=byte_range, conditions=source_conditions
        )
        with (
            source,
            self.open_part(
                bucket, key, upload_id, part_number, size_bytes=source.length_bytes
            ) as part,
        ):
            for piece in source:
                part.write(piece)
            return part.commit()

    def list_parts(
        self, bucket: str, key: str, upload_id: str, *, after: int = 0, limit: int = 1000
    ) -> PartPage:
        """Uploaded parts with numbers greater than `after`."""
        return multipart.list_parts(self._open_core(), bucket, key, upload_id, after, limit)

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
        return multipart.list_uploads(
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
    ) -> ObjectInfo:
        """Make an object of uploaded parts; metadata only, whatever its size.

        Doing it again gives the same answer while the object is still there.

        Raises:
            NoSuchUploadError, InvalidPartError, InvalidPartOrderError,
            EntityTooSmallError: as S3; PreconditionFailedError as in `put`.
        """
        return multipart.complete(
            self._open_core(), bucket, key, upload_id, parts, conditions, checksums
        )

    def abort_upload(self, bucket: str, key: str, upload_id: str) -> None:
        """End an upload and free its parts.

        Raises:
            NoSuchUploadError: there is none.
        """
        core = self._open_core()
        core.commit(multipart.AbortUpload(core, bucket, key, upload_id))

    # --- the store itself -----------------------------------------------------------

    def check(self) -> Problems:
        """Every invariant, every checksum, as of now; empty when all is whole."""
        return check_core(self._open_core())

    def maintain(self) -> MaintenanceReport:
        """One round of maintenance now, besides those that run by themselves."""
        self._open_core()
        return self._maintenance.round()

    def checkpoint(self) -> int:
        """Take a checkpoint now; the number of the batch it holds."""
        self._open_core()
        return self._maintenance.take_checkpoint()


__all__ = ["ObjectReader", "ObjectStore", "PartStream", "PutStream"]
