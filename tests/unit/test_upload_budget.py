"""What an upload counts against the budget, and when it gives that back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from blockdev.device import Buffer
from objstore.asgi.strand import Completions, Strand
from objstore.asgi.upload import Blocks, Budget, Upload
from objstore.auth.chunked import ChunkedDecoder
from objstore.auth.payload import PayloadKind
from objstore.model import Checksum

DEADLINE_S = 60.0
BLOCK_BYTES = 64 * 1024
LIMIT_BYTES = 3 * BLOCK_BYTES
UNSIGNED = PayloadKind.STREAMING_UNSIGNED_TRAILER


class SlowStream:
    """An engine whose digest is done with a block when the test says so."""

    def __init__(self) -> None:
        self.used: list[Callable[[], object]] = []
        self.size_bytes = 0
        self.error: Exception | None = None
        self.is_aborted = False

    def write(self, data: Buffer, done: Callable[[], object] | None = None) -> None:
        assert done is not None
        self.size_bytes += len(memoryview(data))
        if self.error is not None:
            done()
            raise self.error
        self.used.append(done)

    def hash_one(self) -> None:
        self.used.pop(0)()

    def finish(self) -> None:
        while self.used:
            self.hash_one()

    @property
    def md5(self) -> bytes:
        return b""

    def commit(self, *, checksums: tuple[Checksum, ...] = ()) -> int:
        return self.size_bytes

    def abort(self) -> None:
        self.is_aborted = True


class Uploads:
    """Uploads that share a budget, and the one thread that serves them."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.pool = pool
        self.completions = Completions(asyncio.get_running_loop())
        self.budget = Budget(LIMIT_BYTES)
        self.blocks = Blocks(BLOCK_BYTES, 16)

    async def open(self, stream: SlowStream, body_bytes: int) -> Upload:
        """An upload of an aws-chunked body."""

        def open_stream(hashers: Sequence[Callable[[Buffer], object]]) -> SlowStream:
            return stream

        upload = Upload(
            Strand(self.pool, self.completions),
            self.completions,
            self.budget,
            self.blocks,
            open_stream=open_stream,
            decoder=ChunkedDecoder(UNSIGNED, body_bytes),
            algorithms=(),
            limit_bytes=100 * BLOCK_BYTES,
        )
        await upload.open()
        return upload

    def feed(self, upload: Upload, framed: bytes) -> None:
        """Hand a block over as the socket's reader does."""
        block = self.blocks.take()
        block[: len(framed)] = framed
        upload.feed_block(block, len(framed))

    async def settle(self) -> None:
        """Until the thread has done all it can and the loop has heard of it."""
        for _ in range(3):
            await asyncio.wrap_future(self.pool.submit(lambda: None))
            await asyncio.sleep(0)
        await asyncio.sleep(0)


def run(scenario: Callable[[Uploads], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        with ThreadPoolExecutor(1) as pool:
            await asyncio.wait_for(scenario(Uploads(pool)), DEADLINE_S)

    asyncio.run(main())


def chunk(size_bytes: int) -> bytes:
    return b"%x\r\n%b\r\n" % (size_bytes, bytes(size_bytes))


def test_gathered_blocks_count_until_they_are_hashed() -> None:
    async def scenario(uploads: Uploads) -> None:
        stream = SlowStream()
        upload = await uploads.open(stream, 4 * BLOCK_BYTES)
        framed = chunk(BLOCK_BYTES // 2)
        for fed in range(1, 5):
            uploads.feed(upload, framed)
            await uploads.settle()
            assert uploads.budget.used_bytes == -(-fed // 2) * BLOCK_BYTES
        assert len(stream.used) == 2
        stream.hash_one()
        await uploads.settle()
        assert uploads.budget.used_bytes == BLOCK_BYTES
        stream.hash_one()
        await uploads.settle()
        assert uploads.budget.used_bytes == 0
        upload.close()

    run(scenario)


def test_an_upload_waits_while_the_digest_holds_the_whole_budget() -> None:
    async def scenario(uploads: Uploads) -> None:
        stream = SlowStream()
        upload = await uploads.open(stream, 4 * BLOCK_BYTES)
        for _ in range(5):
            await upload.room()
            uploads.feed(upload, chunk(BLOCK_BYTES // 2))
            await uploads.settle()
        assert len(stream.used) == 2  # and half a block that is being gathered
        waiting = asyncio.create_task(upload.room())
        await uploads.settle()
        assert not waiting.done()
        stream.hash_one()
        await waiting
        upload.close()

    run(scenario)


def test_uploads_whose_blocks_are_not_full_do_not_wait_for_each_other() -> None:
    """Their blocks take up the whole budget, and none of them goes away by itself."""

    async def scenario(uploads: Uploads) -> None:
        streams = [SlowStream() for _ in range(4)]
        body_bytes = BLOCK_BYTES
        several = [await uploads.open(stream, body_bytes) for stream in streams]
        for upload in several:
            uploads.feed(upload, chunk(BLOCK_BYTES // 2))
        await uploads.settle()
        assert uploads.budget.is_spent
        for upload in several:
            await upload.room()
            uploads.feed(upload, chunk(BLOCK_BYTES // 2) + b"0\r\n\r\n")
        for upload in several:
            assert await upload.commit(lambda computed, trailers: ()) == body_bytes
            upload.close()
        await uploads.settle()
        assert uploads.budget.used_bytes == 0

    run(scenario)


@pytest.mark.parametrize("fails", ["given up", "stream", "frames"])
def test_an_upload_that_ends_early_gives_everything_back(fails: str) -> None:
    async def scenario(uploads: Uploads) -> None:
        stream = SlowStream()
        upload = await uploads.open(stream, 4 * BLOCK_BYTES)
        uploads.feed(upload, chunk(BLOCK_BYTES // 2))
        await uploads.settle()
        assert uploads.budget.used_bytes == BLOCK_BYTES
        if fails == "stream":
            stream.error = RuntimeError("the device")
            uploads.feed(upload, chunk(BLOCK_BYTES // 2))
        elif fails == "frames":
            uploads.feed(upload, b"these are no frames\r\n")
        await uploads.settle()
        upload.close()
        await uploads.settle()
        assert stream.is_aborted
        assert uploads.budget.used_bytes == 0

    run(scenario)
