"""What a volume does beyond the device contract: loading, tracking, snapshots, growing, crashes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from blockdev.block_codec import BLOCK_BYTES, BlockMissingError, digest_of
from blockdev.blocks import MemoryBlockStore
from blockdev.captures import CopyPlan, TooManyPendingError
from blockdev.clock import Clock, ManualClock
from blockdev.device import BlockDevice
from blockdev.errors import DeviceError, DeviceIOError, DeviceOpenError
from blockdev.filters.fault import Fault, FaultDevice, FaultRule, Operation
from blockdev.filters.metrics import MetricsDevice
from blockdev.filters.passthrough import Passthrough
from blockdev.folder_lock import is_held
from blockdev.live import LiveVolume, VolumeHeldError, format_volume
from blockdev.memory import MemoryDevice
from blockdev.volume_map import MAP_BYTES, REGION_BLOCKS, VolumeMap, read_header
from tests.volumes import WAIT_S, image_of, open_memory_volume, open_store, pattern_block, read

A, B, C = (pattern_block(number) for number in range(1001, 1004))
SIZE = 8 * BLOCK_BYTES
STEPWISE = CopyPlan(batch_blocks=1, background=False)


class Plugged(Passthrough):
    """A device that is there again after its volume was closed, or dropped."""

    def close(self) -> None:
        """Nothing is closed."""


class Bench:
    """A volume on two devices in memory, to be dropped and opened again as after a kill -9."""

    def __init__(self, path: Path, size_bytes: int = SIZE) -> None:
        self.blocks = MemoryBlockStore()
        self.store = open_store(path, self.blocks)
        self.data = MetricsDevice(Plugged(MemoryDevice(2 * size_bytes)), ManualClock())
        self.map: BlockDevice = Plugged(MemoryDevice(MAP_BYTES))
        self.size_bytes = size_bytes

    def create(self, origin_id: str = "") -> LiveVolume:
        format_volume(self.map, self.size_bytes, "vol-1", self.store, origin_id)
        return self.open()

    def open(self, clock: Clock | None = None) -> LiveVolume:
        volume = LiveVolume(
            self.data,
            self.map,
            clock=clock or ManualClock(),
            store=self.store,
            copy_plan=STEPWISE,
        )
        volume.start()
        return volume

    def read_bytes(self) -> int:
        return self.data.snapshot().reads.bytes

    def snapshot(self, volume: LiveVolume, name: str) -> None:
        volume.begin_snapshot(name)
        assert volume.wait_snapshots(WAIT_S)
        assert self.store.status(name).state == "completed", self.store.status(name)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.store.recover()
    assert made.store.check() == []
    made.store.close()


def block(volume: BlockDevice, index: int) -> bytes:
    return read(volume, index * BLOCK_BYTES, BLOCK_BYTES)


def put(volume: BlockDevice, index: int, plain: bytes) -> None:
    volume.write(index * BLOCK_BYTES, plain)


# Incremental snapshots.


def test_a_snapshot_reads_what_changed_and_nothing_else(bench: Bench) -> None:
    volume = bench.create()
    for index in range(8):
        put(volume, index, pattern_block(index))
    bench.snapshot(volume, "s1")
    assert bench.read_bytes() == 8 * BLOCK_BYTES
    put(volume, 3, A)
    bench.snapshot(volume, "s2")
    assert bench.read_bytes() == 9 * BLOCK_BYTES
    bench.snapshot(volume, "s3")
    assert bench.read_bytes() == 9 * BLOCK_BYTES
    assert bench.store.status("s2").added_blocks == 1
    assert bench.store.status("s3").added_blocks == 0
    assert image_of(bench.store, "s3") == read(volume, 0, SIZE)


def test_tracking_survives_an_orderly_close_exactly(bench: Bench) -> None:
    volume = bench.create()
    for index in range(8):
        put(volume, index, pattern_block(index))
    bench.snapshot(volume, "s1")
    put(volume, 3, A)
    volume.close()
    volume = bench.open()
    before = bench.read_bytes()
    bench.snapshot(volume, "s2")
    assert bench.read_bytes() - before == BLOCK_BYTES
    assert image_of(bench.store, "s2") == read(volume, 0, SIZE)


def test_tracking_survives_a_kill_and_compares_one_region(tmp_path: Path) -> None:
    """More than what changed is read, but not more than the regions that were written to."""
    bench = Bench(tmp_path, size_bytes=3 * REGION_BLOCKS * BLOCK_BYTES)
    volume = bench.create()
    for index in (0, 1, REGION_BLOCKS, 2 * REGION_BLOCKS + 5):
        put(volume, index, pattern_block(index + 1))
    bench.snapshot(volume, "s1")
    put(volume, REGION_BLOCKS + 1, A)
    volume = bench.open()  # and nobody closed it
    before = bench.read_bytes()
    bench.snapshot(volume, "s2")
    assert bench.read_bytes() - before == 2 * BLOCK_BYTES
    assert bench.store.read_block("s2", REGION_BLOCKS + 1) == A
    assert bench.store.read_block("s2", 2 * REGION_BLOCKS + 5) == pattern_block(
        2 * REGION_BLOCKS + 6
    )
    assert bench.store.status("s2").added_blocks == 1
    bench.store.close()


def test_what_was_discarded_is_zero_in_the_snapshot(bench: Bench) -> None:
    volume = bench.create()
    put(volume, 1, A)
    put(volume, 2, B)
    bench.snapshot(volume, "s1")
    volume.discard(BLOCK_BYTES, BLOCK_BYTES)
    volume.write_zeroes(2 * BLOCK_BYTES, BLOCK_BYTES)
    bench.snapshot(volume, "s2")
    assert list(bench.store.diff("s1", "s2")) == [
        (1, digest_of(A), None),
        (2, digest_of(B), None),
    ]


def test_discarding_a_large_empty_volume_marks_nothing(tmp_path: Path) -> None:
    """As mkfs does first of all."""
    bench = Bench(tmp_path, size_bytes=1 << 40)
    volume = bench.create()
    put(volume, 7, A)
    volume.discard(0, 1 << 40)
    volume.write_zeroes(0, 0)
    put(volume, 1 << 20, B)
    bench.snapshot(volume, "s1")
    assert bench.store.status("s1").blocks == 1
    assert bench.read_bytes() <= 2 * BLOCK_BYTES
    bench.store.close()


def test_the_base_may_be_deleted_meanwhile(bench: Bench) -> None:
    """Then there is nothing to build on: what is stored is read, and the image is right."""
    volume = bench.create()
    put(volume, 0, A)
    put(volume, 1, B)
    bench.snapshot(volume, "s1")
    bench.store.delete("s1")
    put(volume, 1, C)
    bench.snapshot(volume, "s2")
    assert image_of(bench.store, "s2") == read(volume, 0, SIZE)
    assert bench.store.status("s2").base_id == ""


def test_reading_is_the_same_with_two_hundred_snapshots(bench: Bench) -> None:
    volume = bench.create()
    put(volume, 0, A)
    for number in range(200):
        volume.write(BLOCK_BYTES, bytes([number]))
        bench.snapshot(volume, f"s{number}")
    before = bench.data.snapshot().reads.calls
    assert read(volume, 0, 4096) == A[:4096]
    assert bench.data.snapshot().reads.calls - before == 1


# The point in time.


def test_writes_after_the_call_are_not_in_it(bench: Bench) -> None:
    volume = bench.create()
    put(volume, 0, A)
    volume.begin_snapshot("s1")
    put(volume, 0, B)
    volume.write(100, b"later")
    volume.discard(0, 4096)
    put(volume, 5, C)
    assert volume.pending_snapshots == ["s1"]
    assert volume.wait_snapshots(WAIT_S)
    assert image_of(bench.store, "s1") == A + bytes(SIZE - BLOCK_BYTES)


def test_at_most_five_are_pending(bench: Bench) -> None:
    volume = bench.create()
    images = []
    for number in range(5):
        put(volume, number % 2, pattern_block(number + 1))
        images.append(read(volume, 0, SIZE))
        volume.begin_snapshot(f"s{number}")
    with pytest.raises(TooManyPendingError):
        volume.begin_snapshot("s5")
    with pytest.raises(KeyError):
        bench.store.status("s5")
    assert volume.wait_snapshots(WAIT_S)
    assert [image_of(bench.store, f"s{number}") for number in range(5)] == images
    bench.snapshot(volume, "s5")


def test_a_taken_id_is_refused_and_its_snapshot_unharmed(bench: Bench) -> None:
    volume = bench.create()
    put(volume, 0, A)
    volume.begin_snapshot("s1")
    with pytest.raises(ValueError, match="there already"):
        volume.begin_snapshot("s1")
    assert volume.wait_snapshots(WAIT_S)
    assert image_of(bench.store, "s1")[:BLOCK_BYTES] == A


def test_what_is_as_in_the_base_is_not_stored_and_stays_so_after_a_kill(bench: Bench) -> None:
    """Written with the same again, found to be the same, overwritten, and then the crash."""
    volume = bench.create()
    put(volume, 0, A)
    put(volume, 1, B)
    bench.snapshot(volume, "s1")
    put(volume, 0, A)
    put(volume, 1, C)
    volume.begin_snapshot("s2")
    volume.step_snapshots()
    put(volume, 0, C)
    volume = bench.open()
    assert volume.wait_snapshots(WAIT_S)
    assert image_of(bench.store, "s2")[: 2 * BLOCK_BYTES] == A + C


def test_a_copy_goes_on_after_a_kill(bench: Bench) -> None:
    volume = bench.create()
    for index in range(6):
        put(volume, index, pattern_block(index))
    image = read(volume, 0, SIZE)
    volume.begin_snapshot("s1")
    volume.step_snapshots()
    put(volume, 5, A)
    before = bench.read_bytes()
    volume = bench.open()
    put(volume, 4, B)
    assert volume.wait_snapshots(WAIT_S)
    assert image_of(bench.store, "s1") == image
    assert bench.read_bytes() - before == 4 * BLOCK_BYTES  # one was copied, one overwritten


def test_what_a_cancelled_one_had_copied_is_the_next_ones(bench: Bench) -> None:
    volume = bench.create()
    put(volume, 0, A)
    put(volume, 1, B)
    put(volume, 2, C)
    volume.begin_snapshot("s1")
    put(volume, 0, B)
    volume.begin_snapshot("s2")
    put(volume, 1, A)
    image = B + B + C + bytes(SIZE - 3 * BLOCK_BYTES)
    bench.store.delete("s1")
    assert volume.wait_snapshots(WAIT_S)
    assert image_of(bench.store, "s2") == image
    assert bench.store.status("s2").base_id == ""


def test_what_a_cancelled_one_was_to_copy_is_changed_again(bench: Bench) -> None:
    volume = bench.create()
    put(volume, 0, A)
    bench.snapshot(volume, "s0")
    put(volume, 1, B)
    volume.begin_snapshot("s1")
    bench.store.delete("s1")
    assert volume.wait_snapshots(WAIT_S)
    bench.snapshot(volume, "s2")
    assert image_of(bench.store, "s2") == read(volume, 0, SIZE)
    assert bench.store.status("s2").base_id == "s0"


def test_writers_go_on_while_a_thread_copies(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        volume = open_memory_volume(SIZE, store)
        stop = threading.Event()
        failures: list[BaseException] = []

        def write(stripe: int) -> None:
            number = 0
            try:
                while not stop.is_set():
                    number += 1
                    at = (number * 3 + stripe) % 8 * BLOCK_BYTES + stripe * 1000
                    volume.write(at, number.to_bytes(8, "little") * 100)
            except BaseException as error:
                failures.append(error)

        writers = [threading.Thread(target=write, args=(stripe,)) for stripe in range(3)]
        for writer in writers:
            writer.start()
        for number in range(10):
            volume.begin_snapshot(f"s{number}")
            assert volume.wait_snapshots(WAIT_S)
        stop.set()
        for writer in writers:
            writer.join()
        assert failures == []
        volume.begin_snapshot("last")
        assert volume.wait_snapshots(WAIT_S)
        assert image_of(store, "last") == read(volume, 0, SIZE)
        for number in range(10):  # whole writes of one point in time: numbers never run backwards
            image = image_of(store, f"s{number}")
            assert all(len(set(words(image, stripe))) == 1 for stripe in range(3))
        assert store.check() == []
        volume.close()


def words(image: bytes, stripe: int) -> list[bytes]:
    at = stripe * 1000
    return [image[at + 8 * number : at + 8 * number + 8] for number in range(100)]


# Restored volumes.


@pytest.fixture
def restored(bench: Bench) -> LiveVolume:
    draft = bench.store.begin("s1", size_bytes=SIZE)
    draft.put_many([(0, A), (2, B), (7, C)])
    draft.complete()
    return bench.create("s1")


def test_a_restored_volume_loads_what_is_touched_once(bench: Bench, restored: LiveVolume) -> None:
    touched: list[int] = []
    restored.set_first_touch(touched.append)
    assert restored.unloaded_bytes == 3 * BLOCK_BYTES
    assert read(restored, 2 * BLOCK_BYTES + 5, 10) == B[5:15]
    assert read(restored, 2 * BLOCK_BYTES, BLOCK_BYTES) == B
    assert read(restored, BLOCK_BYTES, 100) == bytes(100)
    assert touched == [2]
    restored.write(10, b"part of a block")
    assert touched == [2, 0]
    put(restored, 7, A)  # the whole of it: there is nothing to load
    assert touched == [2, 0]
    assert restored.unloaded_bytes == 0
    assert block(restored, 0) == A[:10] + b"part of a block" + A[25:]
    assert block(restored, 7) == A


def test_fast_restore_is_a_hook_that_is_not_there(restored: LiveVolume) -> None:
    touched: list[int] = []
    restored.set_first_touch(touched.append)
    restored.set_first_touch(None)
    assert block(restored, 0) == A
    assert touched == []


def test_a_first_touch_sleeps_on_the_clock(bench: Bench, restored: LiveVolume) -> None:
    clock = ManualClock()
    restored.set_first_touch(lambda index: clock.sleep_until(clock.monotonic_ns() + 50_000_000))
    read(restored, 0, 3 * BLOCK_BYTES)
    assert clock.monotonic_ns() == 100_000_000


def test_a_snapshot_of_a_restored_volume_reads_no_unloaded_block(
    bench: Bench, restored: LiveVolume
) -> None:
    put(restored, 1, C)
    before = bench.read_bytes()
    bench.snapshot(restored, "s2")
    assert bench.read_bytes() - before == BLOCK_BYTES
    assert restored.unloaded_bytes == 3 * BLOCK_BYTES
    assert image_of(bench.store, "s2") == A + C + B + bytes(4 * BLOCK_BYTES) + C
    assert bench.store.status("s2").added_blocks == 0
    assert bench.store.status("s2").base_id == "s1"


def test_the_origin_may_be_deleted_before_all_is_loaded(bench: Bench, restored: LiveVolume) -> None:
    bench.store.delete("s1")
    put(restored, 0, C)
    assert block(restored, 2) == B
    bench.snapshot(restored, "s2")
    assert block(restored, 7) == C
    restored.flush()
    assert image_of(bench.store, "s2") == read(restored, 0, SIZE)
    assert read_header(bench.map).origin_id == ""  # type: ignore[union-attr]
    assert set(bench.blocks.hashes()) == {digest_of(B), digest_of(C)}


def test_an_origin_that_is_wholly_loaded_is_let_go(bench: Bench, restored: LiveVolume) -> None:
    assert bench.store.status("s1").pinned_by == ("vol-1",)
    read(restored, 0, SIZE)
    restored.flush()
    assert bench.store.status("s1").pinned_by == ()
    bench.store.delete("s1")
    assert read(bench.open(), 0, BLOCK_BYTES) == A


def test_a_spoilt_block_is_an_error_and_no_data(bench: Bench, restored: LiveVolume) -> None:
    bench.blocks.delete(digest_of(B))
    with pytest.raises(BlockMissingError):
        read(restored, 2 * BLOCK_BYTES, 1)
    with pytest.raises(BlockMissingError):
        restored.write(2 * BLOCK_BYTES, b"x")
    assert block(restored, 0) == A
    bench.blocks.put(digest_of(B), B)
    assert block(restored, 2) == B


def test_initialization_keeps_to_its_rate_of_the_clock(bench: Bench, restored: LiveVolume) -> None:
    clock = ManualClock()
    volume = bench.open(clock)
    volume.initialize(BLOCK_BYTES)
    for loaded in (1, 2, 3):
        clock.advance(1_000_000_000)
        until(lambda left=3 - loaded: volume.unloaded_bytes == left * BLOCK_BYTES)
    until(lambda: bench.store.status("s1").pinned_by == ())
    volume.close()


def test_initialization_as_fast_as_it_goes(bench: Bench, restored: LiveVolume) -> None:
    restored.initialize(None)
    until(lambda: bench.store.status("s1").pinned_by == ())
    assert restored.unloaded_bytes == 0
    assert read(restored, 0, SIZE) == A + bytes(BLOCK_BYTES) + B + bytes(4 * BLOCK_BYTES) + C
    with pytest.raises(ValueError, match="no rate"):
        restored.initialize(0)
    restored.close()


def until(condition: object) -> None:
    """Wait for what another thread does."""
    assert callable(condition)
    waiting = threading.Event()
    for _ in range(int(WAIT_S * 100)):
        if condition():
            return
        waiting.wait(0.01)
    raise AssertionError("it did not come about")


# Growing, opening, failing.


def test_a_volume_grows_and_the_new_part_is_zero(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        folder = tmp_path / "vol"
        LiveVolume.create(folder, size_bytes=3 * BLOCK_BYTES - 100, volume="vol-1")
        volume = LiveVolume.open(folder, clock=ManualClock(), store=store)
        put(volume, 1, A)
        volume.write(3 * BLOCK_BYTES - 110, b"0123456789")
        volume.begin_snapshot("s1")
        volume.grow(6 * BLOCK_BYTES)
        assert volume.geometry.size_bytes == 6 * BLOCK_BYTES
        assert read(volume, 3 * BLOCK_BYTES - 110, 200) == b"0123456789" + bytes(190)
        put(volume, 5, B)
        volume.begin_snapshot("s2")
        assert volume.wait_snapshots(WAIT_S)
        with pytest.raises(ValueError, match="cannot become"):
            volume.grow(BLOCK_BYTES)
        volume.close()
        volume = LiveVolume.open(folder, clock=ManualClock(), store=store)
        assert block(volume, 5) == B
        assert len(image_of(store, "s1")) == 3 * BLOCK_BYTES - 100
        assert image_of(store, "s2") == read(volume, 0, 6 * BLOCK_BYTES)
        volume.close()
        assert store.check() == []


def test_a_volume_is_open_once(tmp_path: Path) -> None:
    folder = tmp_path / "vol"
    LiveVolume.create(folder, size_bytes=SIZE, volume="vol-1")
    assert not is_held(folder)
    volume = LiveVolume.open(folder, clock=ManualClock())
    assert is_held(folder)
    with pytest.raises(VolumeHeldError):
        LiveVolume.open(folder, clock=ManualClock())
    volume.close()
    volume.close()
    assert not is_held(folder)
    LiveVolume.open(folder, clock=ManualClock()).close()


def test_what_is_no_volume_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(DeviceOpenError):
        LiveVolume.open(tmp_path / "none", clock=ManualClock())
    (tmp_path / "map").write_bytes(bytes(100))
    with pytest.raises(DeviceOpenError):
        LiveVolume.open(tmp_path, clock=ManualClock())
    assert not is_held(tmp_path)


def test_making_a_volume_again_changes_nothing(tmp_path: Path) -> None:
    LiveVolume.create(tmp_path, size_bytes=SIZE, volume="vol-1")
    with contextlib.closing(LiveVolume.open(tmp_path, clock=ManualClock())) as volume:
        put(volume, 0, A)
    LiveVolume.create(tmp_path, size_bytes=SIZE, volume="vol-1")
    with contextlib.closing(LiveVolume.open(tmp_path, clock=ManualClock())) as volume:
        assert block(volume, 0) == A


def test_a_torn_header_leaves_the_one_before(bench: Bench) -> None:
    volume = bench.create()
    latest = read_header(bench.map)
    assert latest is not None
    bench.map.write(latest.sequence % 2 * 4096 + 100, b"torn")
    earlier = read_header(bench.map)
    assert earlier is not None
    assert earlier.sequence == latest.sequence - 1
    bench.map.write(earlier.sequence % 2 * 4096 + 100, b"torn")
    with pytest.raises(DeviceIOError, match="both headers"):
        VolumeMap.open(bench.map)
    volume.close()


def test_after_a_failed_flush_only_reopening_helps(tmp_path: Path) -> None:
    fault = FaultDevice(Plugged(MemoryDevice(SIZE)))
    map_device = Plugged(MemoryDevice(MAP_BYTES))
    format_volume(map_device, SIZE, "vol-1")
    volume = LiveVolume(fault, map_device, clock=ManualClock())
    volume.start()
    put(volume, 0, A)
    once = FaultRule(Fault.IO_ERROR, frozenset({Operation.FLUSH}), last_call=1)
    fault.arm(once)
    for _ in range(2):
        with pytest.raises(DeviceIOError):
            volume.flush()
    volume.close()
    header = read_header(map_device)
    assert header is not None
    assert not header.clean
    volume = LiveVolume(fault, map_device, clock=ManualClock())
    volume.start()
    volume.flush()
    assert block(volume, 0) == A


def test_a_write_whose_region_cannot_be_noted_is_not_done(tmp_path: Path) -> None:
    fault = FaultDevice(Plugged(MemoryDevice(MAP_BYTES)))
    format_volume(fault, SIZE, "vol-1")
    volume = LiveVolume(MemoryDevice(SIZE), fault, clock=ManualClock())
    volume.start()
    armed = fault.arm(FaultRule(Fault.FULL, frozenset({Operation.WRITE})))
    with pytest.raises(DeviceError):
        put(volume, 0, A)
    assert block(volume, 0) == bytes(BLOCK_BYTES)
    fault.disarm(armed)
    put(volume, 0, A)
    assert block(volume, 0) == A


def test_a_volume_without_a_store_has_no_snapshots() -> None:
    volume = open_memory_volume(SIZE)
    with pytest.raises(DeviceError, match="without a snapshot store"):
        volume.begin_snapshot("s1")
    assert volume.pending_snapshots == []
    assert volume.wait_snapshots(0)


def test_a_snapshot_that_is_larger_has_no_room(bench: Bench) -> None:
    draft = bench.store.begin("s1", size_bytes=SIZE + 1)
    draft.complete()
    with pytest.raises(ValueError, match="no room"):
        bench.create("s1")
    bench.store.unpin_all("vol-1")
    with pytest.raises(KeyError):
        bench.create("s2")


def test_a_store_closed_early_ends_the_copy_and_not_the_snapshot(tmp_path: Path) -> None:
    """The order of closing is a caller's mistake; the next open makes up for it."""
    bench = Bench(tmp_path)
    volume = bench.create()
    put(volume, 0, A)
    volume.begin_snapshot("s1")
    bench.store.close()
    volume.close()
    bench.store = open_store(tmp_path, bench.blocks)
    volume = bench.open()
    assert volume.wait_snapshots(WAIT_S)
    assert image_of(bench.store, "s1")[:BLOCK_BYTES] == A
    bench.store.close()
