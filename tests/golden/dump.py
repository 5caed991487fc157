"""A store's device as an annotated hexdump, a field a line: the worked example of docs/format.md.

A second reader of the format, written from that page and not from `objstore.log`:
where the two disagree, one of them is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
from xxhash import xxh3_64_intdigest

from blockdev import BlockDevice, ManualClock, MemoryDevice
from objstore import ObjectStore
from objstore.config import KIB, StoreConfig
from objstore.entropy import SeededEntropy

SEGMENT_BYTES = 64 * KIB
DEVICE_BYTES = 64 * KIB + 4 * SEGMENT_BYTES
PAGE_BYTES = 4096
KINDS = {
    1: "BUCKET",
    2: "BUCKET_GONE",
    3: "VERSION",
    4: "VERSION_GONE",
    5: "MANIFEST",
    6: "UPLOAD",
    7: "UPLOAD_GONE",
    8: "PART",
    9: "SEGMENTS",
    10: "SEGMENT_FREED",
    11: "EVENT",
    12: "DELIVERED",
}


def make_example(folder: str) -> MemoryDevice:
    """The store of the example, on a device that is still open: a bucket, a put, a delete."""
    device = MemoryDevice(DEVICE_BYTES)
    clock = ManualClock()
    config = StoreConfig(segment_bytes=SEGMENT_BYTES, maintenance_interval_s=0)
    with ObjectStore.open(
        folder, config=config, clock=clock, entropy=SeededEntropy(1), device=device
    ) as store:
        store.create_bucket("photos")
        clock.advance(1_000_000_000)
        store.put("photos", "cat", b"miaow")
        clock.advance(1_000_000_000)
        store.delete("photos", "cat")
    return device


@dataclass(slots=True)
class Cursor:
    """Takes fields off the device one after another and writes a line for each."""

    device: BlockDevice
    offset_bytes: int
    lines: list[str]

    def peek(self, length_bytes: int) -> bytes:
        buffer = bytearray(length_bytes)
        self.device.read_into(self.offset_bytes, buffer)
        return bytes(buffer)

    def raw(self, length_bytes: int, note: str) -> bytes:
        data = self.peek(length_bytes)
        for start in range(0, max(1, len(data)), 16):
            shown = data[start : start + 16].hex(" ")
            text = note if start == 0 else ""
            self.lines.append(f"{self.offset_bytes + start:08x}  {shown:<47}  {text}".rstrip())
        self.offset_bytes += length_bytes
        return data

    def number(self, length_bytes: int, name: str, *, is_hash: bool = False) -> int:
        value = int.from_bytes(self.peek(length_bytes), "little")
        shown = f"{value:016x}" if is_hash else f"{value:,}".replace(",", " ")
        self.raw(length_bytes, f"{name} {shown}")
        return value

    def check(self, name: str, start: int, seed: int = 0) -> None:
        """A checksum over all from `start` up to here."""
        data = bytearray(self.offset_bytes - start)
        self.device.read_into(start, data)
        expected = xxh3_64_intdigest(bytes(data), seed)
        found = self.number(8, f"{name} XXH3-64 of the {len(data)} bytes above:", is_hash=True)
        if found != expected:
            raise ValueError(f"{name} at {self.offset_bytes - 8}: {found:x}, not {expected:x}")

    def padding(self) -> None:
        rest = -self.offset_bytes % PAGE_BYTES
        if any(self.peek(rest)):
            raise ValueError(f"the padding at {self.offset_bytes} is not zero")
        if rest:
            self.lines.append(f"          {rest} zeroes up to {self.offset_bytes + rest:08x}")
        self.offset_bytes += rest


def dump_superblock(cursor: Cursor) -> bytes:
    """The store id."""
    start = cursor.offset_bytes
    cursor.raw(8, "magic OBJSTORE")
    cursor.number(4, "format")
    cursor.number(4, "reserved")
    store_id = cursor.raw(16, "store id")
    cursor.number(8, "device_bytes")
    cursor.number(8, "segment_bytes")
    cursor.number(8, "chunk_bytes")
    cursor.number(8, "created_ms")
    cursor.check("check", start)
    cursor.padding()
    return store_id


def dump_segment_head(cursor: Cursor) -> int:
    """The number of the first batch."""
    start = cursor.offset_bytes
    cursor.raw(8, "magic OBJSEGMT")
    cursor.number(4, "format")
    cursor.number(4, "segment")
    cursor.raw(16, "store id")
    start_seq = cursor.number(8, "start_seq")
    cursor.number(8, "previous_hash", is_hash=True)
    cursor.check("check", start)
    cursor.padding()
    return start_seq


def dump_batch(cursor: Cursor, seed: int) -> None:
    start = cursor.offset_bytes
    cursor.raw(8, "magic OBJBATCH")
    cursor.number(8, "seq")
    cursor.number(8, "previous_hash", is_hash=True)
    cursor.number(8, "first_lsn")
    cursor.number(8, "log_bytes")
    cursor.number(8, "time_ms")
    record_count = cursor.number(4, "record_count")
    body_bytes = cursor.number(4, "body_bytes")
    cursor.number(4, "next_bucket_id")
    cursor.number(4, "reserved")
    meta = cursor.number(8, "meta_xxh3", is_hash=True)
    cursor.check("check, seeded:", start, seed)
    metas = b"".join(dump_record(cursor) for _ in range(record_count))
    if cursor.offset_bytes - start != 80 + body_bytes or xxh3_64_intdigest(metas) != meta:
        raise ValueError(f"the batch at {start} does not add up")
    cursor.padding()


def dump_record(cursor: Cursor) -> bytes:
    """What of the record `meta_xxh3` covers: all but the payload."""
    start = cursor.offset_bytes
    kind = cursor.peek(1)[0]
    cursor.raw(1, f"kind {kind} {KINDS[kind]}")
    cursor.number(1, "flags")
    key_bytes = cursor.number(2, "key_bytes")
    cursor.number(4, "bucket_id")
    body_bytes = cursor.number(4, "body_bytes")
    payload_bytes = cursor.number(4, "payload_bytes")
    cursor.number(8, "lsn")
    cursor.number(8, "version_seq")
    payload_xxh3 = cursor.number(8, "payload_xxh3", is_hash=True)
    if key_bytes:
        cursor.raw(key_bytes, f"key {cursor.peek(key_bytes).decode()!r}")
    fields = msgspec.msgpack.decode(cursor.peek(body_bytes))
    cursor.raw(body_bytes, f"body {_shown(fields)}")
    meta = bytearray(cursor.offset_bytes - start)
    cursor.device.read_into(start, meta)
    if payload_bytes:
        payload = cursor.raw(payload_bytes, f"payload {cursor.peek(payload_bytes)!r}")
        if xxh3_64_intdigest(payload) != payload_xxh3:
            raise ValueError(f"the payload before {cursor.offset_bytes} does not match")
    return bytes(meta)


def _shown(value: object) -> str:
    """A body's fields, short."""
    if isinstance(value, bytes):
        return value.hex() or "(no bytes)"
    if isinstance(value, list):
        return "[" + ", ".join(map(_shown, value)) + "]"
    return repr(value)


def dump(device: BlockDevice) -> Iterator[tuple[str, str]]:
    """(name, text) of each structure on the device that belongs to a log of one segment."""

    def block(offset_bytes: int) -> Cursor:
        return Cursor(device, offset_bytes, [])

    cursor = block(0)
    store_id = dump_superblock(cursor)
    yield "superblock", "\n".join(cursor.lines)
    cursor = block(64 * KIB)
    dump_segment_head(cursor)
    yield "segment head", "\n".join(cursor.lines)
    number = 1
    while cursor.peek(8) == b"OBJBATCH":
        cursor = block(cursor.offset_bytes)
        dump_batch(cursor, int.from_bytes(store_id[:8], "little"))
        yield f"batch {number}", "\n".join(cursor.lines)
        number += 1


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as example_folder:
        for name, text in dump(make_example(example_folder)):
            print(f"--- {name}\n{text}")
