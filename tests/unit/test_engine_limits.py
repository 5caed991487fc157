"""Large things in little memory: long streams, many parts, objects of tens of terabytes."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from xxhash import xxh3_64_intdigest

from blockdev import MemoryDevice
from objstore import CompletedPart, ObjectStore
from objstore.config import GIB, KIB, MIB, TIB, StoreConfig
from objstore.engine.extents import chunk_count, seed, table_offset
from objstore.engine.multipart import PutPart
from objstore.errors import CorruptionError, EntityTooLargeError
from objstore.index.schema import Extent, PartBody
from objstore.model import ByteRange
from tests.crash.tiny import TINY, assert_clean, forget_index, open_tiny, pattern

STREAM = """
import hashlib, sys
from objstore import ObjectStore

MIB = 1024 * 1024
pieces = [bytes([number]) * MIB for number in range(7)]
with ObjectStore.open(sys.argv[1]) as store:
    with store.open_put("bucket", "key", size_bytes=int(sys.argv[3]) or None) as stream:
        for number in range(int(sys.argv[2])):
            stream.write(pieces[number % 7])
        info = stream.commit()
    assert info.size_bytes == int(sys.argv[2]) * MIB
    with store.get("bucket", "key") as reader:
        digest = hashlib.md5()
        for piece in reader:
            digest.update(piece)
    assert digest.hexdigest() == info.etag
status = open('/proc/self/status').read()  # ru_maxrss would count what forked this process
print(status.split('VmHWM:')[1].split()[0])
"""


@pytest.mark.parametrize("is_declared", [True, False])
def test_a_long_stream_takes_little_memory(is_declared: bool, tmp_path: Path) -> None:
    mebibytes = 300
    declared = mebibytes * MIB if is_declared else 0
    arguments = [str(tmp_path), str(mebibytes), str(declared)]
    done = subprocess.run(
        [sys.executable, "-c", STREAM, *arguments], check=True, capture_output=True, text=True
    )
    assert int(done.stdout) < 150 * 1024, "KiB of resident memory at the most"


def test_ten_thousand_parts(tmp_path: Path) -> None:
    """Some empty, all small, ranges across their boundaries; again after a replay."""
    device = MemoryDevice(256 * MIB)
    config = replace(TINY, device_bytes=256 * MIB, segment_bytes=4 * MIB)
    store = open_tiny(tmp_path, device, config)
    store.create_bucket("bucket")
    upload = store.create_upload("bucket", "key").upload_id
    parts: list[CompletedPart] = []
    body = bytearray()
    for number in range(1, 10_001):
        piece = pattern(number, number % 7)
        with store.open_part("bucket", "key", upload, number) as part:
            part.write(piece)
            parts.append(CompletedPart(number, part.commit().etag))
        body += piece
    info = store.complete_upload("bucket", "key", upload, parts)
    digest = hashlib.md5(b"".join(bytes.fromhex(part.etag) for part in parts)).hexdigest()
    assert (info.etag, info.size_bytes, info.part_count) == (f"{digest}-10000", len(body), 10_000)
    store.close()
    forget_index(tmp_path)
    with open_tiny(tmp_path, device, config) as store:
        with store.get("bucket", "key") as reader:
            assert reader.read() == body
        for first, last in ((0, 0), (95, 97), (1_000, 21_000), (len(body) - 2, len(body))):
            where = ByteRange(first, last)
            with store.get("bucket", "key", byte_range=where) as reader:
                assert reader.read() == body[first : last + 1]
        copied = store.copy("bucket", "key", "bucket", "copy")
        assert copied.etag == info.etag
        store.delete("bucket", "key")
        with store.get("bucket", "copy") as reader:
            assert reader.read() == body
        assert_clean(store)


# --- fifty terabytes, of which a few kilobytes exist -------------------------------------

PART_BYTES = 5 * GIB
FIRST_EXTENT_AT = TIB
HUGE = StoreConfig(
    device_bytes=60 * TIB,
    log_inline_bytes=4 * KIB,
    zero_ahead_bytes=0,
    maintenance_interval_s=0,
    reserve_bytes=0,
)


def extent_of(number: int) -> Extent:
    """Where part `number` would lie: each in whole segments of its own."""
    run = PART_BYTES // HUGE.segment_bytes + 1
    first = FIRST_EXTENT_AT // HUGE.segment_bytes + number * run
    return Extent(64 * KIB + first * HUGE.segment_bytes, PART_BYTES, number)


def write_chunk(device: MemoryDevice, extent: Extent, chunk: int, data: bytes) -> None:
    """What a writer of the whole extent would have left of this one chunk."""
    chunk_bytes = HUGE.checksum_chunk_bytes
    assert len(data) == chunk_bytes
    assert chunk < chunk_count(extent.length_bytes, chunk_bytes)
    device.write(extent.offset_bytes + chunk * chunk_bytes, data)
    checksum = xxh3_64_intdigest(data, seed(extent.nonce, chunk))
    table = extent.offset_bytes + table_offset(extent.length_bytes)
    device.write(table + chunk * 8, checksum.to_bytes(8, "little"))


@pytest.fixture
def huge(tmp_path: Path) -> tuple[ObjectStore, MemoryDevice]:
    device = MemoryDevice(HUGE.device_bytes)
    store = ObjectStore.open(tmp_path, config=HUGE, device=device)
    store.create_bucket("bucket")
    return store, device


def make_huge(store: ObjectStore, parts: int) -> list[CompletedPart]:
    """An upload of parts of 5 GiB, through the engine's own operation for a part."""
    upload = store.create_upload("bucket", "huge").upload_id
    named = []
    for number in range(1, parts + 1):
        etag = hashlib.md5(str(number).encode()).digest()
        body = PartBody(bytes.fromhex(upload), number, PART_BYTES, 0, etag, [], [extent_of(number)])
        store._core.commit(PutPart(store._core, "bucket", b"huge", body))
        named.append(CompletedPart(number, etag.hex()))
    store.complete_upload("bucket", "huge", upload, named)
    return named


def test_an_object_of_fifty_terabytes(
    huge: tuple[ObjectStore, MemoryDevice], tmp_path: Path
) -> None:
    store, device = huge
    parts = 10_000
    make_huge(store, parts)
    size_bytes = parts * PART_BYTES
    chunk_bytes = HUGE.checksum_chunk_bytes
    chunks_a_part = PART_BYTES // chunk_bytes
    bodies = {}
    for number, chunk in ((1, 0), (5_000, chunks_a_part - 1), (5_001, 0), (parts, 40_000)):
        bodies[number] = pattern(number, chunk_bytes)
        write_chunk(device, extent_of(number), chunk, bodies[number])

    def check() -> None:
        assert store.head("bucket", "huge").size_bytes == size_bytes
        with store.get("bucket", "huge", byte_range=ByteRange(5, 99)) as reader:
            assert reader.read() == bodies[1][5:100]
        # Across the boundary of two parts, in the very middle.
        middle = 5_000 * PART_BYTES
        where = ByteRange(middle - 1_000, middle + 999)
        with store.get("bucket", "huge", byte_range=where) as reader:
            assert (reader.start_byte, reader.length_bytes) == (middle - 1_000, 2_000)
            assert reader.read() == bodies[5_000][-1_000:] + bodies[5_001][:1_000]
        at = (parts - 1) * PART_BYTES + 40_000 * chunk_bytes
        with store.get("bucket", "huge", byte_range=ByteRange(at, at + 9)) as reader:
            assert reader.read() == bodies[parts][:10]
        # What was never written does not match its checksum, and is not made up.
        with (
            store.get("bucket", "huge", byte_range=ByteRange(suffix_bytes=1)) as reader,
            pytest.raises(CorruptionError),
        ):
            reader.read()

    check()
    store.close()
    forget_index(tmp_path)
    store = ObjectStore.open(tmp_path, config=HUGE, device=device)
    check()
    store.close()


def test_more_than_an_object_may_have(
    huge: tuple[ObjectStore, MemoryDevice], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _device = huge
    monkeypatch.setattr("objstore.engine.complete.MAX_OBJECT_BYTES", 10 * PART_BYTES - 1)
    with pytest.raises(EntityTooLargeError):
        make_huge(store, 10)
    store.close()
