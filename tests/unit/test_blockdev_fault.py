"""FaultDevice really does what its rules say, and nothing else."""

from __future__ import annotations

import threading

import pytest

from blockdev.errors import DeviceFullError, DeviceIOError, OutOfRangeError
from blockdev.filters.fault import Fault, FaultDevice, FaultRule, Operation
from blockdev.memory import MemoryDevice

SIZE = 65_536
OLD, NEW = b"o", b"n"


def read(device: FaultDevice | MemoryDevice, offset_bytes: int, length_bytes: int) -> bytes:
    buffer = bytearray(length_bytes)
    device.read_into(offset_bytes, buffer)
    return bytes(buffer)


@pytest.fixture
def below() -> MemoryDevice:
    device = MemoryDevice(SIZE)
    device.write(0, OLD * SIZE)
    return device


@pytest.fixture
def device(below: MemoryDevice) -> FaultDevice:
    return FaultDevice(below, seed=1)


def perform(device: FaultDevice, operation: Operation, at: int = 0, length: int = 4096) -> None:
    if operation is Operation.READ:
        device.read_into(at, bytearray(length))
    elif operation is Operation.WRITE:
        device.write(at, NEW * length)
    elif operation is Operation.WRITE_ZEROES:
        device.write_zeroes(at, length)
    elif operation is Operation.DISCARD:
        device.discard(at, length)
    else:
        device.flush()


@pytest.mark.parametrize("operation", list(Operation))
@pytest.mark.parametrize("target", list(Operation))
def test_an_error_strikes_its_operation_only_and_nothing_is_done(
    device: FaultDevice, below: MemoryDevice, operation: Operation, target: Operation
) -> None:
    device.arm(FaultRule(Fault.IO_ERROR, frozenset({target})))
    if operation is not target:
        perform(device, operation)
        return
    with pytest.raises(DeviceIOError, match=f"injected: {operation.value}"):
        perform(device, operation)
    assert read(below, 0, SIZE) == OLD * SIZE


def test_a_full_device_refuses_changes_and_still_reads(
    device: FaultDevice, below: MemoryDevice
) -> None:
    device.arm(FaultRule(Fault.FULL))
    for operation in Operation:
        if operation is Operation.READ:
            assert read(device, 0, 10) == OLD * 10
            continue
        with pytest.raises(DeviceFullError):
            perform(device, operation)
    assert read(below, 0, SIZE) == OLD * SIZE


@pytest.mark.parametrize(
    ("at", "length", "strikes"),
    [(0, 1000, False), (0, 1001, True), (1999, 1, True), (2000, 10, False), (500, 5000, True)],
)
def test_a_range_is_struck_when_touched(
    device: FaultDevice, at: int, length: int, strikes: bool
) -> None:
    armed = device.arm(FaultRule(Fault.IO_ERROR, offset_bytes=1000, length_bytes=1000))
    if strikes:
        with pytest.raises(DeviceIOError):
            device.write(at, NEW * length)
    else:
        device.write(at, NEW * length)
    assert (armed.calls, armed.hits) == (int(strikes), int(strikes))


def test_the_nth_call_is_struck(device: FaultDevice) -> None:
    writes = frozenset({Operation.WRITE})
    armed = device.arm(FaultRule(Fault.IO_ERROR, writes, first_call=3, last_call=4))
    outcomes = []
    for _ in range(6):
        perform(device, Operation.READ)
        try:
            perform(device, Operation.WRITE)
            outcomes.append("ok")
        except DeviceIOError:
            outcomes.append("error")
    assert outcomes == ["ok", "ok", "error", "error", "ok", "ok"]
    assert (armed.calls, armed.hits) == (6, 2)


def test_try_read_counts_as_a_read(device: FaultDevice) -> None:
    device.arm(FaultRule(Fault.IO_ERROR, frozenset({Operation.READ}), last_call=1))
    with pytest.raises(DeviceIOError):
        device.try_read_into(0, bytearray(10))
    assert device.try_read_into(0, bytearray(10))


def test_chance_is_settled_by_the_seed(below: MemoryDevice) -> None:
    def story(seed: int) -> list[bool]:
        rule = FaultRule(Fault.IO_ERROR, probability=0.3)
        device = FaultDevice(below, [rule], seed=seed)
        outcomes = []
        for _ in range(300):
            try:
                device.read_into(0, bytearray(1))
                outcomes.append(False)
            except DeviceIOError:
                outcomes.append(True)
        return outcomes

    assert story(5) == story(5)
    assert story(5) != story(6)
    assert 50 < sum(story(5)) < 130


@pytest.mark.parametrize("sectors", range(5))
@pytest.mark.parametrize("operation", [Operation.WRITE, Operation.WRITE_ZEROES, Operation.DISCARD])
def test_a_torn_change_lands_in_its_first_sectors(
    device: FaultDevice, below: MemoryDevice, sectors: int, operation: Operation
) -> None:
    """Bytes 700 to 1999 touch three sectors: 512, 1024 and 1536."""
    device.arm(FaultRule(Fault.TEAR, sectors=sectors))
    with pytest.raises(DeviceIOError, match="torn"):
        perform(device, operation, 700, 1300)
    landed = [0, 324, 836, 1300, 1300][sectors]
    new = NEW if operation is Operation.WRITE else b"\0"
    assert read(below, 0, 3000) == OLD * 700 + new * landed + OLD * (2300 - landed)


def test_where_a_write_tears_is_settled_by_the_seed(below: MemoryDevice) -> None:
    def landed(seed: int) -> int:
        below.write(0, OLD * 4096)
        with pytest.raises(DeviceIOError):
            FaultDevice(below, [FaultRule(Fault.TEAR)], seed=seed).write(0, NEW * 4096)
        content = read(below, 0, 4096)
        count = content.count(NEW)
        assert content == NEW * count + OLD * (4096 - count)
        return count

    assert landed(3) == landed(3)
    assert {landed(seed) for seed in range(100)} == {512 * k for k in range(9)}


@pytest.mark.parametrize("operation", [Operation.WRITE, Operation.WRITE_ZEROES, Operation.DISCARD])
def test_a_lost_change_reports_success(
    device: FaultDevice, below: MemoryDevice, operation: Operation
) -> None:
    device.arm(FaultRule(Fault.LOSE, last_call=1))
    perform(device, operation)
    assert read(below, 0, SIZE) == OLD * SIZE
    perform(device, operation)
    assert read(below, 0, SIZE) != OLD * SIZE


def test_a_fault_does_not_hide_a_wrong_range(device: FaultDevice) -> None:
    device.arm(FaultRule(Fault.LOSE))
    device.arm(FaultRule(Fault.IO_ERROR))
    with pytest.raises(OutOfRangeError):
        device.write(SIZE, b"x")


def test_a_bit_flipped_on_a_read_is_not_stored(device: FaultDevice, below: MemoryDevice) -> None:
    reads = frozenset({Operation.READ})
    device.arm(FaultRule(Fault.FLIP_BIT, reads, offset_bytes=300, length_bytes=5, last_call=2))
    for call in (device.read_into, device.try_read_into):
        buffer = bytearray(1000)
        call(0, buffer)
        wrong = [at for at in range(1000) if buffer[at] != OLD[0]]
        assert len(wrong) == 1
        assert 300 <= wrong[0] < 305
        assert (buffer[wrong[0]] ^ OLD[0]).bit_count() == 1
    assert read(device, 0, 1000) == OLD * 1000
    assert read(below, 0, SIZE) == OLD * SIZE


def test_a_bit_flipped_on_a_write_stays_wrong(device: FaultDevice, below: MemoryDevice) -> None:
    data = bytearray(NEW * 1000)
    device.arm(FaultRule(Fault.FLIP_BIT, frozenset({Operation.WRITE}), last_call=1))
    device.write(2000, data)
    assert data == NEW * 1000
    stored = read(below, 2000, 1000)
    assert sum((a ^ NEW[0]).bit_count() for a in stored) == 1
    assert read(device, 2000, 1000) == stored


def test_a_stored_bit_can_be_flipped_now(device: FaultDevice, below: MemoryDevice) -> None:
    device.flip_bit(1234, 5)
    assert read(below, 1233, 3) == OLD + bytes([OLD[0] ^ 0x20]) + OLD


def test_rules_come_and_go_at_run_time(device: FaultDevice) -> None:
    first = device.arm(FaultRule(Fault.IO_ERROR))
    second = device.arm(FaultRule(Fault.FULL))
    with pytest.raises(DeviceIOError):
        device.write(0, b"x")
    device.disarm(first)
    device.disarm(first)
    with pytest.raises(DeviceFullError):
        device.write(0, b"x")
    assert (first.hits, second.hits, second.calls) == (1, 1, 2)
    device.disarm_all()
    device.write(0, b"x")


def test_rules_count_exactly_under_threads(device: FaultDevice) -> None:
    armed = device.arm(FaultRule(Fault.IO_ERROR, first_call=100, last_call=299))
    errors: list[int] = []

    def work() -> None:
        for _ in range(200):
            try:
                device.read_into(0, bytearray(1))
            except DeviceIOError:
                errors.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (armed.calls, armed.hits, len(errors)) == (800, 200, 200)


@pytest.mark.parametrize(
    "arguments",
    [
        {"fault": Fault.TEAR, "operations": frozenset({Operation.READ})},
        {"fault": Fault.LOSE, "operations": frozenset({Operation.READ})},
        {"fault": Fault.FLIP_BIT, "operations": frozenset({Operation.FLUSH})},
        {"fault": Fault.IO_ERROR, "probability": 1.5},
        {"fault": Fault.IO_ERROR, "first_call": 0},
        {"fault": Fault.IO_ERROR, "offset_bytes": -1},
    ],
)
def test_rules_without_meaning_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"no meaning|out of bounds"):
        FaultRule(**arguments)  # type: ignore[arg-type]
