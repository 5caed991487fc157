"""A large body on its way into the engine.

The event loop only counts and queues.  A thread of the upload pool, one at a time for
each upload, takes the frames off (aws-chunked), gathers blocks of `io_bytes` and gives them
to the engine's stream, which writes them and computes the digests.  Nothing counts until
`commit`: whatever goes wrong before, the stream is aborted and the store is as it was.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from blockdev.device import Buffer
from objstore.asgi.strand import Strand
from objstore.auth.chunked import ChunkedDecoder
from objstore.model import Checksum
from objstore.s3.checksums import Hasher, new_hasher


class Stream(Protocol):
    """The engine's `PutStream` or `PartStream`."""

    def write(self, data: Buffer) -> None: ...
    def finish(self) -> None: ...
    @property
    def md5(self) -> bytes: ...
    def commit(self, *, checksums: tuple[Checksum, ...] = ()) -> Any: ...
    def abort(self) -> None: ...


OpenStream = Callable[[Sequence[Callable[[Buffer], object]]], Stream]
"""Opens the engine's stream, given what is to be fed every block."""

Verify = Callable[[Mapping[str, bytes], Mapping[str, str]], tuple[Checksum, ...]]


class Budget:
    """Bytes that uploads may hold between socket and device, all of them together."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._waiters: deque[asyncio.Future[None]] = deque()
        self.used_bytes = 0

    @property
    def is_spent(self) -> bool:
        """Whether an upload has to wait."""
        return self.used_bytes >= self._limit_bytes

    async def wait(self) -> None:
        """Wait until something was given back."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def give_back(self, size_bytes: int) -> None:
        """Bytes have reached the engine."""
        self.used_bytes -= size_bytes
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)


class Blocks:
    """Buffers of one size, used again: a new one costs as much as filling it."""

    def __init__(self, size_bytes: int, kept: int) -> None:
        self.size_bytes = size_bytes
        self._kept = kept
        self._free: list[bytearray] = []

    def take(self) -> bytearray:
        """A block; what is in it is anybody's guess."""
        return self._free.pop() if self._free else bytearray(self.size_bytes)

    def give_back(self, block: bytearray) -> None:
        """A block that nobody refers to any more."""
        if len(self._free) < self._kept:
            self._free.append(block)


class Upload:
    """One body: `open`, `feed` or `feed_block` as it comes, then `commit`; `close` in any case.

    Args:
        decoder: takes the aws-chunked frames off; None for a plain body.
        algorithms: digests to compute besides the engine's MD5.
        block_bytes: what the engine takes best at once.
        limit_bytes: how much may be received and not yet written.
    """

    def __init__(
        self,
        strand: Strand,
        budget: Budget,
        *,
        open_stream: OpenStream,
        decoder: ChunkedDecoder | None,
        algorithms: Sequence[str],
        block_bytes: int,
        limit_bytes: int,
    ) -> None:
        self._strand = strand
        self._budget = budget
        self._open_stream = open_stream
        self._decoder = decoder
        self._hashers: dict[str, Hasher] = {
            name: new_hasher(name) for name in algorithms if name != "MD5"
        }
        self._block_bytes = block_bytes
        self._block = bytearray()
        self._filled_bytes = 0
        self._limit_bytes = limit_bytes
        self._held_bytes = 0
        self._stream: Stream | None = None
        self._error: BaseException | None = None
        self._is_committed = False

    # On the event loop.

    async def open(self) -> None:
        """Open the engine's stream.

        Raises:
            StoreError: the engine does not take such an object or part.
        """
        await self._strand.call(self._open)

    async def feed(self, data: bytes) -> None:
        """Take a piece of the body; waits while too much of it is still to be written.

        Raises:
            StoreError, AuthError: what became of an earlier piece.
        """
        await self.room()
        self._hold(len(data))
        self._strand.post(lambda: self._take(data), lambda: self._release(len(data)))

    async def room(self) -> None:
        """Wait while too much of the body is still to be written.

        Raises:
            StoreError, AuthError: what became of an earlier piece.
        """
        while self._held_bytes and (self._held_bytes >= self._limit_bytes or self._budget.is_spent):
            await self._budget.wait()
        if self._error is not None:
            raise self._error

    def feed_block(self, block: bytearray, size_bytes: int, blocks: Blocks) -> None:
        """Take the first bytes of a block, and give it back when they are written."""

        def done() -> None:
            self._release(size_bytes)
            blocks.give_back(block)

        self._hold(size_bytes)
        self._strand.post(lambda: self._take(memoryview(block)[:size_bytes]), done)

    def _hold(self, size_bytes: int) -> None:
        self._held_bytes += size_bytes
        self._budget.used_bytes += size_bytes

    def _release(self, size_bytes: int) -> None:
        self._held_bytes -= size_bytes
        self._budget.give_back(size_bytes)

    async def commit(self, verify: Verify) -> Any:
        """The body is whole: have its digests verified, then make it durable and current.

        Returns:
            The engine's ObjectInfo or PartInfo.

        Raises:
            StoreError, AuthError, S3Error: nothing was stored.
        """
        return await self._strand.call(lambda: self._commit(verify))

    def close(self) -> None:
        """Give the body up unless it was committed; returns at once."""
        self._strand.post(self._abort)

    # In a thread.

    def _open(self) -> None:
        self._stream = self._open_stream([hasher.update for hasher in self._hashers.values()])

    def _take(self, data: bytes | memoryview) -> None:
        if self._error is not None:
            return
        try:
            if self._decoder is None:
                self._gather(memoryview(data))
            else:
                for piece in self._decoder.feed(data):
                    self._gather(piece)
        except BaseException as error:
            self._error = error

    def _gather(self, piece: memoryview) -> None:
        """Fill the block; write it when it is full.  A piece that is a block needs no copy."""
        assert self._stream is not None
        if not self._filled_bytes and len(piece) == self._block_bytes:
            self._stream.write(piece)
            return
        if not self._block:
            self._block = bytearray(self._block_bytes)
        while len(piece):
            taken = min(len(piece), self._block_bytes - self._filled_bytes)
            self._block[self._filled_bytes : self._filled_bytes + taken] = piece[:taken]
            self._filled_bytes += taken
            piece = piece[taken:]
            if self._filled_bytes == self._block_bytes:
                self._filled_bytes = 0
                self._stream.write(self._block)

    def _commit(self, verify: Verify) -> Any:
        assert self._stream is not None
        if self._error is not None:
            raise self._error
        if self._filled_bytes:
            self._stream.write(memoryview(self._block)[: self._filled_bytes])
        trailers = self._decoder.finish() if self._decoder is not None else {}
        self._stream.finish()
        computed = {name: hasher.digest() for name, hasher in self._hashers.items()}
        computed["MD5"] = self._stream.md5
        info = self._stream.commit(checksums=verify(computed, trailers))
        self._is_committed = True
        return info

    def _abort(self) -> None:
        if self._stream is not None and not self._is_committed:
            self._stream.abort()
        self._block = bytearray()
