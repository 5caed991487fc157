"""No body is digested twice by one algorithm, whoever asks for the digest."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from blockdev.device import Buffer
from objstore.asgi import body as front
from objstore.asgi.strand import Completions, Strand
from objstore.asgi.upload import Blocks, Budget, Upload
from objstore.model import Checksum
from objstore.s3 import checksums, digests
from objstore.s3.http import Request

DATA = b"some bytes" * 1000
DEADLINE_S = 60.0


class Stream:
    """The engine's stream, which computes the MD5 for the ETag."""

    def __init__(self, hashers: Sequence[Callable[[Buffer], object]]) -> None:
        self.hashers = hashers
        self._md5 = hashlib.md5()

    def write(self, data: Buffer, done: Callable[[], object] | None = None) -> None:
        for update in (self._md5.update, *self.hashers):
            update(data)
        if done is not None:
            done()

    def finish(self) -> None:
        pass

    @property
    def md5(self) -> bytes:
        return self._md5.digest()

    def commit(self, *, checksums: tuple[Checksum, ...] = ()) -> tuple[Checksum, ...]:
        return checksums

    def abort(self) -> None:
        pass


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The algorithms of which a digest was begun, each as often as it was."""
    names: list[str] = []

    def counting(name: str) -> checksums.Hasher:
        names.append(name)
        return checksums.ALGORITHMS[name].new()

    monkeypatch.setattr(front, "new_hasher", counting)
    monkeypatch.setattr("objstore.asgi.upload.new_hasher", counting)
    return names


def demanded() -> digests.BodyDigests:
    """Of a client that signs its payload, sends Content-MD5 and a checksum of one of the two."""
    md5 = checksums.encode(hashlib.md5(DATA).digest())
    headers = [
        (b"content-md5", md5.encode()),
        (b"x-amz-checksum-md5", md5.encode()),
        (b"x-amz-content-sha256", hashlib.sha256(DATA).hexdigest().encode()),
    ]
    return digests.for_object(Request("PUT", b"/b/k", b"", headers, body_length=len(DATA)))


async def stored(found: digests.BodyDigests) -> tuple[tuple[Checksum, ...], int]:
    """What a large body is stored with, and how many digests its stream was given to feed."""
    streams: list[Stream] = []

    def open_stream(hashers: Sequence[Callable[[Buffer], object]]) -> Stream:
        streams.append(Stream(hashers))
        return streams[0]

    with ThreadPoolExecutor(1) as pool:
        completions = Completions(asyncio.get_running_loop())
        upload = Upload(
            Strand(pool, completions),
            completions,
            Budget(10**9),
            Blocks(64 * 1024, 4),
            open_stream=open_stream,
            decoder=None,
            algorithms=found.algorithms,
            limit_bytes=10**9,
        )
        await upload.open()
        await upload.feed(DATA)
        result: Any = await upload.commit(found.verify)
        upload.close()
    return result, len(streams[0].hashers)


def test_a_large_body(begun: list[str]) -> None:
    found = demanded()
    kept, fed = asyncio.run(asyncio.wait_for(stored(found), DEADLINE_S))
    assert kept == (Checksum("MD5", checksums.encode(hashlib.md5(DATA).digest())),)
    assert (begun, fed) == (["SHA256"], 1)


def test_a_small_body(begun: list[str]) -> None:
    found = demanded()
    computed: Mapping[str, bytes] = {
        name: front.digest_small(name, DATA) for name in found.algorithms
    }
    assert begun == ["MD5", "SHA256"]
    assert [checksum.algorithm for checksum in found.verify(computed, {})] == ["MD5"]
