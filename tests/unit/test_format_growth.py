"""The format grows without breaking: longer bodies are read, unknown things are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from objstore import ObjectStore
from objstore.errors import CorruptionError
from objstore.index import schema
from objstore.log import format as log
from objstore.log.format import FormatError, Record, Superblock
from objstore.log.reader import read_superblock
from tests.unit.recovery_stores import BUCKET, PAGE_BYTES, Sandbox, append, contents

MADE_OF: dict[type[msgspec.Struct], tuple[list[Any], int]] = {
    schema.BucketBody: ([1, 2, "region", "owner", {"a": b"b"}], 4),
    schema.VersionBody: (
        [
            *(3, 4, b"m" * 16, 0, "", "", [["SHA1", "x", True]], {}, {}, {}, "null"),
            *([[1, 2, 3]], b"u", ["GOVERNANCE", 5, True]),
            ["aws:kms", "arn", b"w", b"s", b"{}", True],
        ],
        11,
    ),
    schema.PartBody: ([b"u" * 16, 1, 2, 3, b"m" * 16, [], [[1, 2, 3]], 9, b"s"], 7),
    schema.ManifestBody: ([0, [[1, 2, b"m" * 16, [], [], b"s"]]], 2),
    schema.UploadBody: (
        [
            *(b"u" * 16, 1, {}, {}, {}, "STANDARD", "", "CRC32", "FULL_OBJECT"),
            *(["", 0, True], ["AES256", "", b"w"]),
        ],
        9,
    ),
    schema.GoneBody: ([5, b"u" * 16], 0),
    schema.SegmentsBody: ([0, 1, [[0, 1, 0, 1]]], 3),
    schema.SegmentFreedBody: ([0, 1], 2),
}
"""A body as plain values, and how many of its fields the first release already had."""


@pytest.mark.parametrize("struct", MADE_OF, ids=lambda struct: struct.__name__)
def test_a_body_of_a_later_release_is_read(struct: type[msgspec.Struct]) -> None:
    """With fields at its end that nobody knows yet."""
    values = MADE_OF[struct][0]
    known = msgspec.msgpack.decode(msgspec.msgpack.encode(values), type=struct)
    later = msgspec.msgpack.encode([*values, {"new": [1, 2]}, b"field"])
    assert msgspec.msgpack.decode(later, type=struct) == known


@pytest.mark.parametrize("struct", MADE_OF, ids=lambda struct: struct.__name__)
def test_a_body_of_the_first_release_is_read(struct: type[msgspec.Struct]) -> None:
    """Without the fields that have a default, however many there will be."""
    values, required = MADE_OF[struct]
    body = msgspec.msgpack.encode(values[:required])
    decoded = msgspec.msgpack.decode(body, type=struct)
    fields = msgspec.structs.fields(struct)
    assert [field.name for field in fields if field.required] == [f.name for f in fields[:required]]
    for field in fields[required:]:
        default = field.default_factory() if callable(field.default_factory) else field.default
        assert getattr(decoded, field.name) == default


def test_the_short_decoders_read_the_head_of_a_version() -> None:
    values = MADE_OF[schema.VersionBody][0]
    body = msgspec.msgpack.encode([*values, "later"])
    whole = schema.decode_version(body)
    assert schema.decode_size(body).size_bytes == whole.size_bytes
    listing = schema.decode_listing(body)
    assert all(getattr(listing, name) == getattr(whole, name) for name in listing.__struct_fields__)


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    return Sandbox(tmp_path)


def test_a_store_of_a_later_minor_release_is_served(sandbox: Sandbox) -> None:
    """Longer bodies in the log and in the index, through recovery and compaction."""
    with sandbox.open() as store:
        store.create_bucket(BUCKET)
        store.put(BUCKET, "key", b"bytes")
        row = sandbox.batches()[-1].records[0]
        later = msgspec.msgpack.encode([*msgspec.msgpack.decode(row.body), "new field", 7])
        payload = bytes(row.payload)
        append(
            store,
            Record(log.VERSION, 1, b"key", later, 0, row.flags, payload, row.payload_xxh3),
        )
        assert contents(store) == {"key": b"bytes"}
        assert store.check() == []
    with sandbox.reopen_from_log() as store:
        assert contents(store) == {"key": b"bytes"}
        assert store.list(BUCKET).entries[0].size_bytes == 5
        assert store.check() == []


def spliced(sandbox: Sandbox, kind: int, body: bytes) -> None:
    """Change kind and body of the last record on the device, checksums included."""
    batch = sandbox.batches()[-1]
    (record,) = batch.records
    builder = log.BatchBuilder(
        batch.offset_bytes,
        batch.head.seq,
        batch.head.first_lsn,
        batch.head.previous_hash,
        log.batch_seed(sandbox.superblock.store_id),
    )
    builder.place(Record(kind, record.bucket_id, record.key, body))
    data, _check = builder.finish(
        log_bytes=batch.head.log_bytes, time_ms=0, next_bucket_id=batch.head.next_bucket_id
    )
    sandbox.device.write(batch.offset_bytes, data)


def opened_and_refused(sandbox: Sandbox) -> str:
    sandbox.lose_index()
    with pytest.raises(CorruptionError) as caught:
        sandbox.open()
    return str(caught.value)


def test_a_record_of_unknown_kind_is_refused_by_its_number(sandbox: Sandbox) -> None:
    with sandbox.open() as store:
        store.create_bucket(BUCKET)
        store.put(BUCKET, "key", b"")
    spliced(sandbox, 99, b"\x90")
    text = opened_and_refused(sandbox)
    assert "unknown kind 99" in text
    assert "the release that wrote it" in text


def test_a_body_that_makes_no_sense_is_refused(sandbox: Sandbox) -> None:
    with sandbox.open() as store:
        store.create_bucket(BUCKET)
        store.put(BUCKET, "key", b"")
    spliced(sandbox, log.VERSION, msgspec.msgpack.encode(["not", "a", "version"]))
    assert "cannot read it" in opened_and_refused(sandbox)


def test_a_segments_record_that_makes_no_sense_is_refused(sandbox: Sandbox) -> None:
    with sandbox.open() as store:
        store.create_bucket(BUCKET)
        store.put(BUCKET, "key", b"")
    spliced(sandbox, log.SEGMENTS, b"\xc0")
    assert "cannot read it" in opened_and_refused(sandbox)


# --- the superblock -----------------------------------------------------------------


def made(sandbox: Sandbox) -> Superblock:
    with sandbox.open() as store:
        store.put(BUCKET, "key", b"bytes")
    return sandbox.superblock


@pytest.mark.parametrize("copy", log.SUPERBLOCK_COPIES)
@pytest.mark.parametrize("at", [0, 8, 20, 40, 64])
def test_one_damaged_superblock_is_survived(sandbox: Sandbox, copy: int, at: int) -> None:
    whole = made(sandbox)
    sandbox.flip(copy + at)
    assert read_superblock(sandbox.device) == whole
    with sandbox.reopen_from_log() as store:
        assert contents(store) == {"key": b"bytes"}


@pytest.mark.parametrize("at", [0, 8, 20, 40, 64])
def test_two_damaged_superblocks_are_not(sandbox: Sandbox, at: int) -> None:
    made(sandbox)
    for copy in log.SUPERBLOCK_COPIES:
        sandbox.flip(copy + at)
    with pytest.raises(CorruptionError, match="no store that can be opened"):
        sandbox.open()


def test_a_superblock_of_zeroes_beside_a_damaged_one_is_no_blank_device(sandbox: Sandbox) -> None:
    """A new store must never be made over what may be an old one."""
    made(sandbox)
    sandbox.flip(30)
    sandbox.device.write(4096, bytes(PAGE_BYTES))
    with pytest.raises(CorruptionError):
        sandbox.open()


@pytest.mark.parametrize("other", [b"old", b"zeroes"])
def test_a_later_format_is_refused_by_its_number(sandbox: Sandbox, other: bytes) -> None:
    made(sandbox)
    data = bytearray(PAGE_BYTES)
    sandbox.device.read_into(0, data)
    data[8] = 2
    sandbox.device.write(0, data)
    sandbox.device.write(4096, data if other == b"old" else bytes(PAGE_BYTES))
    with pytest.raises(CorruptionError, match="store format 2; this release reads 1"):
        sandbox.open()


def test_something_else_on_the_device_is_left_alone(sandbox: Sandbox) -> None:
    sandbox.device.write(0, b"a file system, perhaps")
    with pytest.raises(CorruptionError, match="holds no store"):
        sandbox.open()
    data = bytearray(22)
    sandbox.device.read_into(0, data)
    assert data == b"a file system, perhaps"


def test_a_device_of_less_than_a_superblock(tmp_path: Path) -> None:
    from blockdev import MemoryDevice

    with pytest.raises(FormatError, match="too small"):
        read_superblock(MemoryDevice(1000))
    with pytest.raises(CorruptionError, match="too small"):
        ObjectStore.open(tmp_path, device=MemoryDevice(1000))
    assert read_superblock(MemoryDevice(5000)) is None
