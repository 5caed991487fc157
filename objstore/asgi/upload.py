"""A large body on its way into the engine.

The event loop only counts and queues.  A thread of the upload pool, one at a time for
each upload, takes the frames off (aws-chunked), gathers blocks of `io_bytes` and gives them
to the engine's stream, which writes them and computes the digests, the MD5 last.  Nothing
counts until `commit`: whatever goes wrong before, the stream is aborted and the store is as
it was.
"""

from __future__ import annotations

import asyncio
import mmap
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from blockdev.device import Buffer
from objstore.asgi.strand import Completions, Strand
from objstore.auth.chunked import ChunkedDecoder
from objstore.model import Checksum
from objstore.s3.checksums import Hasher, new_hasher


class Stream(Protocol):
    """The engine's `PutStream` or `PartStream`."""

    def write(self, data: Buffer, done: Callable[[], object] | None = None) -> None: ...
    def finish(self) -> None: ...
    @property
    def md5(self) -> bytes: ...
    def commit(self, *, checksums: tuple[Checksum, ...] = ()) -> Any: ...
    def abort(self) -> None: ...


OpenStream = Callable[[Sequence[Callable[[Buffer], object]]], Stream]
"""Opens the engine's stream, given what is to be fed every block."""

Verify = Callable[[Mapping[str, bytes], Mapping[str, str]], tuple[Checksum, ...]]


class Budget:
    """Bytes that uploads may hold between socket, device and digest, all of them together.

    For the thread of the event loop alone.
    """

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
        """Nobody needs so many bytes any more."""
        self.used_bytes -= size_bytes
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)


class Blocks:
    """Buffers of one size, used again: a new one costs as much as filling it.

    They begin at a page, so that the device can write them as they are.
    """

    def __init__(self, size_bytes: int, kept: int) -> None:
        self.size_bytes = size_bytes
        self._kept = kept
        self._free: list[mmap.mmap] = []

    def take(self) -> mmap.mmap:
        """A block; what is in it is anybody's guess.  Call it from any thread."""
        try:
            return self._free.pop()
        except IndexError:
            return mmap.mmap(-1, self.size_bytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

    def give_back(self, block: mmap.mmap) -> None:
        """A block that nobody uses any more.  Call it from any thread."""
        if len(self._free) < self._kept:
            self._free.append(block)


class Upload:
    """One body: `open`, `feed` or `feed_block` as it comes, then `commit`; `close` in any case.

    Args:
        decoder: takes the aws-chunked frames off; None for a plain body.
        algorithms: digests to compute besides the engine's MD5.
        blocks: of the size that the engine takes best.
        limit_bytes: how much may be received and not yet written and hashed.

    What counts against the budget: what was received, and the blocks that frames are gathered
    in, from when they are taken until the engine is done with them.  `room` waits for none
    but what goes away by itself, so a block that is not full yet keeps its own upload going:
    were that to wait too, as many such blocks as the budget has would wait for each other.
    """

    def __init__(
        self,
        strand: Strand,
        completions: Completions,
        budget: Budget,
        blocks: Blocks,
        *,
        open_stream: OpenStream,
        decoder: ChunkedDecoder | None,
        algorithms: Sequence[str],
        limit_bytes: int,
    ) -> None:
        self._strand = strand
        self._completions = completions
        self._budget = budget
        self._blocks = blocks
        self._open_stream = open_stream
        self._decoder = decoder
        self._hashers: dict[str, Hasher] = {
            name: new_hasher(name) for name in algorithms if name != "MD5"
        }
        self._block: mmap.mmap | None = None
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
        """Wait while too much of the body is still to be written or hashed.

        Raises:
            StoreError, AuthError: what became of an earlier piece.
        """
        while self._held_bytes and (self._held_bytes >= self._limit_bytes or self._budget.is_spent):
            await self._budget.wait()
        if self._error is not None:
            raise self._error

    def feed_block(self, block: mmap.mmap, size_bytes: int) -> None:
        """Take the first bytes of a block; it goes back to the others when they are written."""

        def release(_: object) -> None:
            self._release(size_bytes)
            self._blocks.give_back(block)

        used = self._completions.future()
        used.add_done_callback(release)
        self._hold(size_bytes)
        self._strand.post(
            lambda: self._take_block(
                memoryview(block)[:size_bytes],
                lambda: self._completions.complete(used, None, None),
            )
        )

    def _hold(self, size_bytes: int) -> None:
        self._wait_for(size_bytes)
        self._charge(size_bytes)

    def _release(self, size_bytes: int) -> None:
        self._wait_for(-size_bytes)
        self._budget.give_back(size_bytes)

    def _wait_for(self, size_bytes: int) -> None:
        self._held_bytes += size_bytes

    def _charge(self, size_bytes: int) -> None:
        self._budget.used_bytes += size_bytes

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

    def _take_block(self, block: memoryview, done: Callable[[], object]) -> None:
        """Write a block as it is if it has no frames; `done` when nobody uses it any more."""
        if self._error is not None or self._decoder is not None:
            self._take(block)
            done()
            return
        assert self._stream is not None
        try:
            self._stream.write(block, done)
        except BaseException as error:
            self._error = error

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
        """Fill the block; write it when it is full."""
        while len(piece):
            if self._block is None:
                self._block = self._take_gathering()
            taken = min(len(piece), len(self._block) - self._filled_bytes)
            self._block[self._filled_bytes : self._filled_bytes + taken] = piece[:taken]
            self._filled_bytes += taken
            piece = piece[taken:]
            if self._filled_bytes == len(self._block):
                self._write_gathered(self._block)

    def _take_gathering(self) -> mmap.mmap:
        block = self._blocks.take()
        self._on_loop(lambda: self._charge(len(block)))
        return block

    def _write_gathered(self, block: mmap.mmap) -> None:
        assert self._stream is not None
        size_bytes = len(block)
        filled = memoryview(block)[: self._filled_bytes]
        self._block, self._filled_bytes = None, 0

        def done() -> None:
            self._blocks.give_back(block)
            self._on_loop(lambda: self._release(size_bytes))

        self._on_loop(lambda: self._wait_for(size_bytes))
        self._stream.write(filled, done)

    def _on_loop(self, call: Callable[[], object]) -> None:
        """Run `call` on the event loop, after those before it.

        Also before what is completed later: a block counts before the input that is in it
        ceases to.
        """
        future = self._completions.future()
        future.add_done_callback(lambda _: call())
        self._completions.complete(future, None, None)

    def _commit(self, verify: Verify) -> Any:
        assert self._stream is not None
        if self._error is not None:
            raise self._error
        if self._block is not None:
            self._write_gathered(self._block)
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
        block, self._block = self._block, None
        if block is not None:
            size_bytes = len(block)
            self._blocks.give_back(block)
            self._on_loop(lambda: self._budget.give_back(size_bytes))
