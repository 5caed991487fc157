"""Bytes on their way in, and what becomes of them: hashed, encrypted, written.

The MD5 takes longer than all the rest, and is computed on another thread, which may
fall behind by a few blocks; other digests are computed on this one, between the writes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import BinaryIO, Self

from blockdev import Buffer
from objstore.config import MAX_PUT_BYTES
from objstore.engine.core import Core
from objstore.engine.encryption import StreamKey, sealed
from objstore.engine.extent_writer import ExtentWriter
from objstore.engine.frames import FrameSealer, stored_size
from objstore.engine.hash_queue import HashQueue, Use
from objstore.engine.operation import Operation
from objstore.errors import EntityTooLargeError, IncompleteBodyError, InvalidArgumentError
from objstore.index.schema import Extent
from objstore.log.format import Record


def blocks_of(data: Buffer | BinaryIO | Iterable[Buffer], io_bytes: int) -> Iterator[Buffer]:
    """`data` in pieces of about `io_bytes`, whatever form it came in."""
    if isinstance(data, (bytes, bytearray, memoryview)):
        view = memoryview(data).cast("B")
        for start in range(0, len(view), io_bytes):
            yield view[start : start + io_bytes]
        return
    read = getattr(data, "read", None)
    if read is not None:
        while block := read(io_bytes):
            yield block
        return
    gathered = bytearray()
    if not isinstance(data, Iterable):
        raise InvalidArgumentError(
            f"bytes, a binary file or an iterable of bytes, not {type(data).__name__}", "data"
        )
    for piece in data:
        gathered += piece
        if len(gathered) >= io_bytes:
            yield gathered
            gathered = bytearray()
    if gathered:
        yield gathered


def keep() -> None:
    """The `done` of `BodyStream.write` for callers that leave their blocks alone."""


class BodyStream:
    """Bytes on their way in: kept while they are few, streamed to extents when more.

    Encrypted ones are sealed between being hashed and being written, block by block.
    Subclasses say what is committed.
    """

    limit_bytes = MAX_PUT_BYTES

    def __init__(
        self,
        core: Core,
        size_bytes: int | None,
        hashers: Sequence[Callable[[Buffer], object]],
        inline_bytes: int,
        stream_key: StreamKey | None = None,
    ) -> None:
        """`stream_key`: encrypts the bytes; the digests are of them as they come."""
        self._check_limit(size_bytes or 0)
        self._core = core
        self._declared_bytes = size_bytes
        self._inline_bytes = inline_bytes
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._md5_queue: HashQueue | None = None
        self._hashers = hashers
        self._head: bytearray | None = bytearray()
        self._writer: ExtentWriter | None = None
        self._stream_key = stream_key
        self._sealer: FrameSealer | None = None
        self._frames = bytearray()
        self._is_finished = False
        self._is_settled = False
        self._is_doubtful = False
        self.size_bytes = 0

    @property
    def md5(self) -> bytes:
        """MD5 of the bytes, 16 bytes; after `finish`."""
        return self._md5.digest()

    def write(self, data: Buffer, done: Callable[[], object] | None = None) -> None:
        """Append `data`; blocks of `config.io_bytes` are the fast ones.

        Without `done`, the caller may change `data` on return.  With it, only once `done`
        was called: on any thread, once, whether or not this raises.

        Raises:
            EntityTooLargeError: more than an object or part may have.
            IncompleteBodyError: more than was declared.
            StoreFullError: no space.
        """
        use = Use(done)
        try:
            view = memoryview(data).cast("B")
            if len(view):
                self._append(view, use)
        finally:
            use.end()
            if done is None and self._md5_queue is not None:
                self._md5_queue.join()

    def _append(self, view: memoryview, use: Use) -> None:
        self._check_limit(self.size_bytes + len(view))
        if self._declared_bytes is not None and self.size_bytes + len(view) > self._declared_bytes:
            raise IncompleteBodyError(f"more than the {self._declared_bytes} bytes declared")
        self.size_bytes += len(view)
        if self._head is not None:
            if len(self._head) + len(view) <= self._inline_bytes:
                self._head += view
                return
            head, self._head = self._head, None
            self._begin_writing()
            if head:
                self._store(memoryview(head), Use(None))
        self._store(view, use)

    def _begin_writing(self) -> None:
        stored_bytes = self._declared_bytes
        if self._stream_key is not None:
            self._sealer = FrameSealer(self._stream_key.data_key, self._stream_key.salt)
            stored_bytes = stored_size(stored_bytes) if stored_bytes is not None else None
        self._writer = ExtentWriter(self._core, stored_bytes)

    def _store(self, view: memoryview, use: Use) -> None:
        assert self._writer is not None
        if self._md5_queue is None:
            core = self._core
            self._md5_queue = HashQueue(
                core.hash_pool(), self._md5.update, core.config.md5_queue_blocks
            )
        self._md5_queue.put(view, use)
        self._writer.write(view if self._sealer is None else self._sealed(self._sealer, view))
        for hasher in self._hashers:
            hasher(view)

    def _sealed(self, sealer: FrameSealer, view: memoryview) -> memoryview:
        """The frames that `view` completes, in a buffer that serves all blocks in turn."""
        room_bytes = sealer.room(len(view))
        if len(self._frames) < room_bytes:
            self._frames = bytearray(room_bytes)
        written_bytes = sealer.update_into(view, self._frames)
        return memoryview(self._frames)[:written_bytes]

    def finish(self) -> None:
        """All bytes have come: digests are complete, streamed bytes durable.  Idempotent.

        Raises:
            IncompleteBodyError: fewer than were declared.
        """
        if self._is_finished:
            return
        if self._declared_bytes is not None and self.size_bytes != self._declared_bytes:
            raise IncompleteBodyError(
                f"{self.size_bytes} bytes came of the {self._declared_bytes} declared"
            )
        if self._head is not None:
            for hasher in (self._md5.update, *self._hashers):
                hasher(self._head)
        else:
            assert self._writer is not None
            assert self._md5_queue is not None
            if self._sealer is not None:
                self._writer.write(self._sealer.finish())
            self._writer.finish()
            # While the last blocks are hashed.
            self._core.flush()
            self._md5_queue.join()
        self._is_finished = True

    @property
    def _salt(self) -> bytes:
        return self._stream_key.salt if self._stream_key is not None else b""

    def _payload(self) -> Buffer:
        """The bytes to be kept in the log, as they are kept; none where they were streamed."""
        if not self._head or self._stream_key is None:
            return self._head or b""
        return sealed(self._stream_key, self._head)

    def _durable_extents(self) -> list[Extent]:
        """The extents that the streamed bytes lie in; `finish` has made them durable."""
        assert self._is_finished
        return self._writer.extents if self._writer is not None else []

    def _commit(self, operation: Operation) -> Record:
        """Commit the one record of `operation`, which refers to the bytes."""
        self._is_doubtful = True
        (record,) = self._core.commit(operation)
        self._is_doubtful = False
        return record

    def abort(self) -> None:
        """Give the bytes up; idempotent, and nothing after a commit."""
        if not self._is_settled:
            self._is_settled = True
            try:
                if self._md5_queue is not None:
                    self._md5_queue.join()
            finally:
                if self._writer is not None:
                    self._writer.settle(is_doubtful=self._is_doubtful)

    def _check_limit(self, size_bytes: int) -> None:
        if size_bytes > self.limit_bytes:
            raise EntityTooLargeError(size_bytes, self.limit_bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.abort()
