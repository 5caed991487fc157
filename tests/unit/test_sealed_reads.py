"""Encrypted objects on a device that makes one wait, that fails, and that was changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from blockdev import MemoryDevice
from blockdev.filters import Fault, FaultDevice, FaultRule, Operation
from objstore import ObjectStore
from objstore.engine.sealed_get import SealedReader
from objstore.errors import CorruptionError, StoreUnavailableError
from objstore.index import schema
from objstore.model import ByteRange, CompletedPart, Encryption, ObjectAttributes
from tests.crash.tiny import TINY, pattern

BUCKET = "bucket"
SEALED = ObjectAttributes(encryption=Encryption("AES256"))
SIZES = [10, 70_000, 300_000]


class SlowDevice(MemoryDevice):
    """Never has anything at hand."""

    def try_read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> bool:
        return False


def open_store(path: Path, device: MemoryDevice | FaultDevice) -> ObjectStore:
    store = ObjectStore.open(path, config=TINY, device=device)
    store.create_bucket(BUCKET)
    return store


def put_parts(store: ObjectStore, sizes: tuple[int, ...]) -> bytes:
    upload_id = store.create_upload(BUCKET, "key", attributes=SEALED).upload_id
    done = []
    for number, size_bytes in enumerate(sizes, start=1):
        with store.open_part(BUCKET, "key", upload_id, number) as part:
            part.write(pattern(number, size_bytes))
            done.append(CompletedPart(number, part.commit().etag))
    store.complete_upload(BUCKET, "key", upload_id, done)
    return b"".join(pattern(number, size) for number, size in enumerate(sizes, start=1))


@pytest.mark.parametrize("size_bytes", SIZES)
def test_what_is_not_at_hand_is_waited_for(tmp_path: Path, size_bytes: int) -> None:
    with open_store(tmp_path, SlowDevice(TINY.device_bytes)) as store:
        data = pattern(1, size_bytes)
        store.put(BUCKET, "key", data, attributes=SEALED)
        with store.get(BUCKET, "key") as reader:
            assert isinstance(reader, SealedReader)
            assert reader.try_next() is None
            assert reader.read() == data
            assert reader.try_next() == b""


@pytest.mark.parametrize("sizes", [(70_000, 5, 65_536), (0, 0, 3), (1, 0, 1)])
def test_parts_are_read_at_once_or_waited_for(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    for name, device in [("a", MemoryDevice), ("b", SlowDevice)]:
        with open_store(tmp_path / name, device(TINY.device_bytes)) as store:
            data = put_parts(store, sizes)
            with store.get(BUCKET, "key") as reader:
                pieces: list[bytes] = []
                while len(b"".join(pieces)) < len(data):
                    pieces.append(bytes(reader.try_next() or reader.next()))
            assert b"".join(pieces) == data
            with store.get(BUCKET, "key", byte_range=ByteRange(1, 2)) as reader:
                assert reader.read() == data[1:3]


@pytest.mark.parametrize("size_bytes", SIZES)
def test_a_device_that_fails(tmp_path: Path, size_bytes: int) -> None:
    device = FaultDevice(SlowDevice(TINY.device_bytes))
    with open_store(tmp_path, device) as store:
        store.put(BUCKET, "key", pattern(1, size_bytes), attributes=SEALED)
        with store.get(BUCKET, "key") as reader:
            armed = device.arm(FaultRule(Fault.IO_ERROR, frozenset((Operation.READ,))))
            with pytest.raises(StoreUnavailableError):
                reader.read()
            device.disarm(armed)
        with store.get(BUCKET, "key") as reader:
            assert reader.read() == pattern(1, size_bytes)


@pytest.mark.parametrize("size_bytes", SIZES)
def test_bytes_that_were_changed_are_not_returned(tmp_path: Path, size_bytes: int) -> None:
    device = MemoryDevice(TINY.device_bytes)
    with open_store(tmp_path, device) as store:
        store.put(BUCKET, "key", pattern(1, size_bytes), attributes=SEALED)
        with store.get(BUCKET, "key") as reader:
            place = place_of(store, reader)
        changed = bytearray(1)
        device.read_into(place, changed)
        changed[0] ^= 1
        device.write(place, changed)
        with pytest.raises(CorruptionError, match="objstore check"):
            store.get(BUCKET, "key").read()
        assert store.check() != []
        changed[0] ^= 1
        device.write(place, changed)
        assert store.check() == []


def place_of(store: ObjectStore, reader: object) -> int:
    """Where a byte of the object lies on the device."""
    assert isinstance(reader, SealedReader)
    if reader._extents:
        return reader._extents[0][1].offset_bytes + 5
    with store._core.index.read() as txn:
        ((_key, row),) = txn.scan(b"o", b"p")
        return schema.unpack_head(row).payload_offset + 5
