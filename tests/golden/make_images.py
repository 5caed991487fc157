"""Makes the golden images: ``python -m tests.golden.make_images NAME...``.

An image that was released is never made again: it stands for the stores out there.
A change of the format adds images, with its version in their names.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec
from xxhash import xxh3_64_intdigest

from blockdev import ManualClock, MemoryDevice
from objstore import ObjectStore
from objstore.config import KIB, MIB, StoreConfig
from objstore.engine.operation import Decision
from objstore.engine.space import FOR_WRITES
from objstore.entropy import SeededEntropy
from objstore.index import schema
from objstore.log import format as log
from objstore.log.format import Record
from objstore.log.reader import log_segments, read_batches, read_superblock
from objstore.model import Checksum, CompletedPart, ObjectAttributes
from tests.golden import images
from tests.golden.describe import describe, older_versions

CONFIG = StoreConfig(
    segment_bytes=128 * KIB,
    log_inline_bytes=4 * KIB,
    checksum_chunk_bytes=4 * KIB,
    zero_ahead_bytes=8 * KIB,
    io_bytes=16 * KIB,
    checkpoint_log_bytes=10**12,
    maintenance_interval_s=0,
    reserve_bytes=0,
    min_part_bytes=0,
)
DEVICE_BYTES = 4 * MIB
SECOND_NS = 1_000_000_000


def text(name: str, size_bytes: int) -> bytes:
    """Bytes that compress well and that no other name has."""
    line = f"{name} has {size_bytes} bytes, and this is among them\n".encode()
    return (line * (size_bytes // len(line) + 1))[:size_bytes]


@dataclass(slots=True)
class Maker:
    """A store being made, and what must be in it: {(bucket, key): bytes}."""

    store: ObjectStore
    clock: ManualClock
    expected: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def put(self, bucket: str, key: str, size_bytes: int, salt: str = "") -> None:
        self.clock.advance(SECOND_NS)
        data = text(key[:40] + salt, size_bytes)
        self.store.put(bucket, key, data)
        self.expected[bucket, key] = data

    def delete(self, bucket: str, key: str) -> None:
        self.clock.advance(SECOND_NS)
        self.store.delete(bucket, key)
        self.expected.pop((bucket, key), None)

    def part(self, bucket: str, key: str, upload_id: str, number: int, size_bytes: int) -> bytes:
        self.clock.advance(SECOND_NS)
        data = text(f"{key} part {number}", size_bytes)
        with self.store.open_part(bucket, key, upload_id, number) as stream:
            stream.write(data)
            stream.commit(checksums=(Checksum("CRC32", f"{number:06}=="),))
        return data

    def multipart(self, bucket: str, key: str, parts: int, size_bytes: int) -> None:
        upload = self.store.create_upload(bucket, key, checksum_algorithm="CRC32")
        data = [
            self.part(bucket, key, upload.upload_id, number, size_bytes + number)
            for number in range(1, parts + 1)
        ]
        listed = self.store.list_parts(bucket, key, upload.upload_id).parts
        completed = [CompletedPart(part.part_number, part.etag) for part in listed]
        composite = (Checksum("CRC32", f"AAAAAA==-{parts}", "COMPOSITE"),)
        self.store.complete_upload(bucket, key, upload.upload_id, completed, checksums=composite)
        self.expected[bucket, key] = b"".join(data)


def make_kinds(maker: Maker) -> None:
    """Every kind of object that there is, none of them moved."""
    store = maker.store
    store.create_bucket("photos", region="eu-central-1", owner="an-owner")
    store.create_bucket("empty")
    store.create_bucket("short-lived")
    store.delete_bucket("short-lived")
    for key in ("a", "a\x00", "a\x00\x00b", "a/b", "ä/€/😀", "k" * 1024, "\x00" * 1024):
        maker.put("photos", key, 100)
    maker.put("photos", "empty", 0)
    maker.put("photos", "as large as the log takes", 4 * KIB)
    maker.put("photos", "one byte more", 4 * KIB + 1)
    maker.put("photos", "several segments", 300 * KIB)
    maker.put("photos", "replaced", 5 * KIB, "the first")
    maker.put("photos", "replaced", 50, "the second")
    maker.put("photos", "deleted", 50)
    maker.delete("photos", "deleted")
    described = ObjectAttributes(
        {"content-type": "text/plain; charset=utf-8", "cache-control": "no-cache"},
        {"camera": "Böx", "empty": ""},
        {"project": "golden", "ünïcode": "✓"},
        "STANDARD_IA",
        "another-owner",
    )
    data = text("described", 200)
    store.put(
        "photos",
        "described",
        data,
        attributes=described,
        checksums=(Checksum("CRC64NVME", "AAAAAAAAAAA="), Checksum("SHA1", "A" * 27 + "=")),
    )
    maker.expected["photos", "described"] = data
    with store.open_put("photos", "of unknown length") as stream:
        for number in range(5):
            stream.write(text(f"piece {number}", 30 * KIB))
        stream.commit()
    maker.expected["photos", "of unknown length"] = b"".join(
        text(f"piece {number}", 30 * KIB) for number in range(5)
    )
    store.copy("photos", "several segments", "empty", "shares its bytes", attributes=described)
    store.copy("photos", "described", "empty", "is written again")
    for name, source in (
        ("shares its bytes", "several segments"),
        ("is written again", "described"),
    ):
        maker.expected["empty", name] = maker.expected["photos", source]
    maker.multipart("photos", "multipart", 35, 3000)
    store.copy("photos", "multipart", "photos", "copy of multipart")
    maker.expected["photos", "copy of multipart"] = maker.expected["photos", "multipart"]
    waiting = store.create_upload("photos", "under way", attributes=described)
    for number, size_bytes in ((1, 10_000), (7, 0), (2, 500), (1, 20_000)):
        maker.part("photos", "under way", waiting.upload_id, number, size_bytes)
    store.create_upload("photos", "under way")
    aborted = store.create_upload("photos", "aborted")
    maker.part("photos", "aborted", aborted.upload_id, 1, 1000)
    store.abort_upload("photos", "aborted", aborted.upload_id)


def make_compacted(maker: Maker) -> None:
    """Most segments used twice, and all that compaction moves has moved.

    Dense segments between the sparse ones are never compacted, so that the log's
    segments are given up out of order and tombstones have to be kept.
    """
    store = maker.store
    store.create_bucket("churn")
    for number in range(40):
        maker.put("churn", f"dense-{number:02}", 3_500)
    store.create_bucket("gone")
    store.delete_bucket("gone")
    maker.multipart("churn", "multipart", 3, 9_000)
    waiting = store.create_upload("churn", "under way")
    maker.part("churn", "under way", waiting.upload_id, 1, 6_000)
    for round_number in range(12):
        for number in range(40):
            key = f"key-{number:02}"
            if (number + round_number) % 5 == 0:
                maker.delete("churn", key)
            elif number % 8 == 3:
                maker.put("churn", key, 9_000 + number, f" in round {round_number}")
            else:
                maker.put("churn", key, 900 + number, f" in round {round_number}")
        if round_number == 6:
            for number in range(40, 90):
                maker.put("churn", f"dense-{number:02}", 3_500)
        if round_number in (2, 8):
            aborted = store.create_upload("churn", "aborted")
            store.abort_upload("churn", "aborted", aborted.upload_id)
        store.maintain()
    kept = [number for number in range(40) if number % 9 == 0]
    for number in set(range(40)) - set(kept):
        maker.delete("churn", f"key-{number:02}")
    store.maintain()


@dataclass(slots=True)
class RawRecords:
    """Records as they stand: the format has versions before the store has operations for them."""

    records: Sequence[Record]
    size_bound_bytes: int = 16 * KIB
    leaves_segments: int = FOR_WRITES

    def decide(self, decision: Decision) -> Sequence[Record]:
        return self.records


def make_versions(maker: Maker) -> None:
    """A bucket as versioning will leave it: older versions, null versions, delete markers."""
    store = maker.store
    store.create_bucket("versions")
    maker.put("versions", "null is older", 100)
    maker.put("versions", "null is current", 100)
    maker.put("versions", "null only", 100)

    def version(key: str, version_id: str, size_bytes: int, flags: int = 0, seq: int = 0) -> Record:
        maker.clock.advance(SECOND_NS)
        data = text(f"{key} {version_id}", size_bytes)
        md5 = hashlib.md5(data).digest()
        now_ms = maker.clock.now_ns() // 1_000_000
        body = schema.VersionBody(size_bytes, now_ms, md5, 0, "", "", [], {}, {}, {}, version_id)
        payload_xxh3 = xxh3_64_intdigest(data) if data else 0
        encoded = schema.encode(body)
        key_bytes = key.encode()
        record = Record(log.VERSION, 1, key_bytes, encoded, seq, flags, data, payload_xxh3)
        (placed,) = store._core.commit(RawRecords([record]))
        if flags & schema.FLAG_DELETE_MARKER:
            maker.expected.pop(("versions", key), None)
        else:
            maker.expected["versions", key] = data
        return placed

    for number in range(3):
        version("null is older", f"v{number}", 50 + number)
    version("three versions", "v0", 10)
    middle = version("three versions", "v1", 20)
    version("three versions", "v2", 30)
    version("a marker on top", "v0", 10)
    version("a marker on top", "v1", 0, schema.FLAG_DELETE_MARKER)
    version("null is current", "v0", 10)
    version("null is current", "null", 20, schema.FLAG_NULL)
    version("one is gone", "v0", 10)
    gone = version("one is gone", "v1", 20)
    gone_body = schema.encode(schema.GoneBody())
    gone_seq = gone.version_seq
    tombstone = Record(log.VERSION_GONE, 1, b"one is gone", gone_body, gone_seq)
    store._core.commit(RawRecords([tombstone]))
    maker.expected["versions", "one is gone"] = text("one is gone v0", 10)
    # New metadata of an older version: its number stays, and so does its place.
    body = msgspec.structs.replace(schema.decode_version(middle.body), tags={"changed": "yes"})
    again = Record(log.VERSION, 1, b"three versions", schema.encode(body), middle.version_seq)
    again.payload, again.payload_xxh3 = middle.payload, middle.payload_xxh3
    store._core.commit(RawRecords([again]))


MAKERS: dict[str, Callable[[Maker], None]] = {
    "format1-kinds": make_kinds,
    "format1-compacted": make_compacted,
    "format1-versions": make_versions,
}


def make(name: str) -> None:
    device = MemoryDevice(DEVICE_BYTES)
    clock = ManualClock()
    entropy = SeededEntropy(len(name))
    with (
        tempfile.TemporaryDirectory() as folder,
        ObjectStore.open(
            folder, config=CONFIG, clock=clock, entropy=entropy, device=device
        ) as store,
    ):
        maker = Maker(store, clock)
        MAKERS[name](maker)
        for (bucket, key), data in maker.expected.items():
            with store.get(bucket, key) as reader:
                assert reader.read() == data, key
        buckets = describe(store)
        listed = sum(len(bucket["objects"]) for bucket in buckets.values())
        assert listed == len(maker.expected)
        assert store.check() == []
        older = older_versions(store)
    note = {"buckets": buckets, "older": older, "records": records_of(device)}
    (images.FOLDER / f"{name}.zst").write_bytes(images.pack(device))
    (images.FOLDER / f"{name}.json").write_text(json.dumps(note, indent=1) + "\n")


def records_of(device: MemoryDevice) -> dict[str, int]:
    """How many records of each kind its log segments hold, and how many of them had moved."""
    superblock = read_superblock(device)
    assert superblock is not None
    layout = log.Layout.of(superblock)
    counts = {"segments": 0, "moved": 0, **{str(kind): 0 for kind in range(1, 11)}}
    for head in log_segments(device, layout, superblock.store_id):
        counts["segments"] += 1
        for batch in read_batches(device, layout, head):
            if isinstance(batch, log.FormatError):
                break
            for record in batch.records:
                counts[str(record.kind)] += 1
                is_moved = record.kind == log.VERSION and record.lsn != record.version_seq
                counts["moved"] += is_moved
    return counts


if __name__ == "__main__":
    for wanted in sys.argv[1:]:
        make(wanted)
