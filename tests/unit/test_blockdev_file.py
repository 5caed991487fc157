"""FileDevice: what the contract does not say, and what the kernel may do to it."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from blockdev import linux
from blockdev.errors import (
    DeviceClosedError,
    DeviceFullError,
    DeviceIOError,
    DeviceOpenError,
)
from blockdev.file import DIRECT_BYTES, DISCARD_BYTES, WRITEBACK_BYTES, FileDevice

MIB = 1024 * 1024


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "device"


@pytest.fixture
def device(path: Path) -> FileDevice:
    return FileDevice.open(path, size_bytes=8 * MIB)


def read(device: FileDevice, offset_bytes: int, length_bytes: int) -> bytes:
    buffer = bytearray(length_bytes)
    device.read_into(offset_bytes, buffer)
    return bytes(buffer)


def failing(code: int) -> Callable[..., int]:
    def call(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    return call


def test_a_new_file_is_sparse_and_private(path: Path) -> None:
    FileDevice.open(path, size_bytes=1 << 33).close()
    found = path.stat()
    assert found.st_size == 1 << 33
    assert found.st_blocks * 512 < MIB
    assert stat.S_IMODE(found.st_mode) == 0o600


def test_an_existing_file_keeps_its_bytes_and_its_size(path: Path) -> None:
    path.write_bytes(b"precious" * 1000)
    with_all = FileDevice.open(path)
    assert with_all.geometry.size_bytes == 8000
    first_part = FileDevice.open(path, size_bytes=4096)
    assert first_part.geometry.size_bytes == 4096
    first_part.write(4095, b"!")
    assert path.read_bytes() == (b"precious" * 512)[:-1] + b"!" + b"precious" * 488


def test_a_file_smaller_than_asked_is_refused_and_left_alone(path: Path) -> None:
    path.write_bytes(b"x" * 1000)
    with pytest.raises(DeviceOpenError, match="holds 1000 bytes, fewer than the 1001"):
        FileDevice.open(path, size_bytes=1001)
    assert path.read_bytes() == b"x" * 1000


def test_an_empty_file_counts_as_new(path: Path) -> None:
    path.touch()
    with pytest.raises(DeviceOpenError):
        FileDevice.open(path)
    assert FileDevice.open(path, size_bytes=5000).geometry.size_bytes == 5000


def test_what_is_no_file_or_disk_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", "missing", "no/such/directory", "."):
        with pytest.raises(DeviceOpenError):
            FileDevice.open(tmp_path / name)
    for wrong_size in (0, -1):
        with pytest.raises(DeviceOpenError):
            FileDevice.open(tmp_path / "new", size_bytes=wrong_size)
    assert not (tmp_path / "new").exists()


def test_several_objects_see_each_others_writes(path: Path, device: FileDevice) -> None:
    other = FileDevice.open(path)
    device.write(10, b"one")
    other.write(13, b"two", fua=True)
    assert read(device, 10, 6) == read(other, 10, 6) == b"onetwo"
    other.close()
    assert read(device, 10, 6) == b"onetwo"


def test_processes_may_make_and_use_the_same_file_at_once(path: Path) -> None:
    script = """
import sys
from blockdev.file import FileDevice
path, number = sys.argv[1], int(sys.argv[2])
device = FileDevice.open(path, size_bytes=1 << 20)
for at in range(number * 100, 1 << 20, 400):
    device.write(at, bytes([number]) * min(100, (1 << 20) - at), fua=at < 2000)
"""
    workers = [
        subprocess.Popen([sys.executable, "-c", script, str(path), str(number)])
        for number in range(4)
    ]
    assert [worker.wait(timeout=60) for worker in workers] == [0, 0, 0, 0]
    expected = b"".join(bytes([number]) * 100 for number in range(4)) * (MIB // 400 + 1)
    assert path.read_bytes() == expected[:MIB]


def test_a_new_file_gets_its_size_under_a_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or of two processes that make the same file, one could cut what the other made longer."""
    ftruncate = os.ftruncate
    refused: list[str] = []

    def with_a_rival(fd: int, size_bytes: int) -> None:
        with path.open("rb") as rival, pytest.raises(BlockingIOError):
            fcntl.flock(rival, fcntl.LOCK_EX | fcntl.LOCK_NB)
        refused.append(path.name)
        ftruncate(fd, size_bytes)

    monkeypatch.setattr(os, "ftruncate", with_a_rival)
    FileDevice.open(path, size_bytes=4096)
    assert refused == ["device"]
    with path.open("rb") as rival:
        fcntl.flock(rival, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_writes_survive_reopening(path: Path, device: FileDevice) -> None:
    device.write(123, b"kept")
    device.write(5 * MIB, b"kept too", fua=True)
    device.close()
    again = FileDevice.open(path, size_bytes=8 * MIB)
    assert read(again, 123, 4) == b"kept"
    assert read(again, 5 * MIB, 8) == b"kept too"


def test_zeroes_are_really_written_not_just_reserved(path: Path, device: FileDevice) -> None:
    """Space that is only reserved shows as a hole once it is on disk (SEEK_DATA)."""
    device.write_zeroes(MIB, 3 * MIB)
    device.flush()
    assert [extent.allocated for extent in device.extents(MIB, 3 * MIB)] == [True]
    assert path.stat().st_blocks * 512 >= 3 * MIB


def test_a_discard_gives_the_space_back(path: Path, device: FileDevice) -> None:
    device.write_zeroes(0, 8 * MIB)
    device.flush()
    device.discard(MIB, 6 * MIB)
    device.flush()
    assert path.stat().st_blocks * 512 <= 2 * MIB + 65_536
    assert path.stat().st_size == 8 * MIB


def test_short_writes_and_reads_are_gone_on_with(
    device: FileDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite, pwritev, preadv = os.pwrite, os.pwritev, os.preadv
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, data[:100], at))
    monkeypatch.setattr(
        os, "pwritev", lambda fd, data, at, flag: pwritev(fd, [data[0][:70]], at, flag)
    )
    monkeypatch.setattr(
        os, "preadv", lambda fd, data, at: preadv(fd, [memoryview(data[0])[:33]], at)
    )
    data = bytes(range(250)) * 4
    device.write(5, data)
    device.write(2005, data, fua=True)
    assert read(device, 5, 1000) == data
    assert read(device, 2005, 1000) == data


def test_a_real_short_write_ends_in_the_kernels_reason(path: Path) -> None:
    """Under a file size limit the kernel first writes less, then says why."""
    script = """
import resource, sys
from blockdev.errors import DeviceIOError
from blockdev.file import FileDevice
device = FileDevice.open(sys.argv[1], size_bytes=65536)
resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))
try:
    device.write(8000, b"x" * 4000)
except DeviceIOError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "write of 4000 bytes at 8000: File too large" in done.stdout
    assert path.read_bytes()[7999:10001] == b"\0" + b"x" * 2000 + b"\0"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ENOSPC, DeviceFullError),
        (errno.EDQUOT, DeviceFullError),
        (errno.EIO, DeviceIOError),
        (errno.ENODEV, DeviceIOError),
    ],
)
def test_each_reason_becomes_the_right_error(
    device: FileDevice, monkeypatch: pytest.MonkeyPatch, code: int, kind: type[Exception]
) -> None:
    for name in ("preadv", "pwrite", "pwritev", "fdatasync"):
        monkeypatch.setattr(os, name, failing(code))
    monkeypatch.setattr(linux, "punch_hole", failing(code))
    calls: list[Callable[[], object]] = [
        lambda: device.read_into(0, bytearray(10)),
        lambda: device.try_read_into(0, bytearray(10)),
        lambda: device.write(0, b"x"),
        lambda: device.write(0, b"x", fua=True),
        lambda: device.write_zeroes(0, 10),
        lambda: device.discard(0, 10),
        lambda: device.flush(),
    ]
    for call in calls:
        with pytest.raises(kind, match=os.strerror(code)):
            call()


def test_a_file_cut_short_by_others_is_an_io_error(path: Path, device: FileDevice) -> None:
    os.truncate(path, 100)
    with pytest.raises(DeviceIOError, match="cut short"):
        device.read_into(50, bytearray(100))
    assert device.try_read_into(50, bytearray(100)) is False


def test_fua_asks_the_kernel_for_a_durable_write(
    device: FileDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwritev = os.pwritev
    flags: list[int] = []

    def spy(fd: int, data: tuple[bytes, ...], at: int, flag: int) -> int:
        flags.append(flag)
        return pwritev(fd, data, at, flag)

    monkeypatch.setattr(os, "pwritev", spy)
    device.write(0, b"durable", fua=True)
    device.write(0, b"plain")
    assert flags == [os.RWF_DSYNC]


def test_fua_without_kernel_support_is_a_write_and_a_sync(
    device: FileDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwritev, fdatasync = os.pwritev, os.fdatasync
    story: list[str] = []

    def old_kernel(fd: int, data: tuple[bytes, ...], at: int, flag: int) -> int:
        if flag:
            story.append("refused")
            raise OSError(errno.EOPNOTSUPP, "not supported")
        story.append("written")
        return pwritev(fd, data, at, flag)

    def synced(fd: int) -> None:
        story.append("synced")
        fdatasync(fd)

    monkeypatch.setattr(os, "pwritev", old_kernel)
    monkeypatch.setattr(os, "fdatasync", synced)
    device.write(7, b"first", fua=True)
    device.write(12, b"second", fua=True)
    assert story == ["refused", "written", "synced", "written", "synced"]
    assert read(device, 7, 11) == b"firstsecond"


def test_try_read_says_no_where_the_page_cache_does(
    device: FileDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.write(0, b"x" * 100)
    monkeypatch.setattr(os, "preadv", failing(errno.EAGAIN))
    assert device.try_read_into(0, bytearray(100)) is False
    monkeypatch.setattr(os, "preadv", lambda *_: 60)
    assert device.try_read_into(0, bytearray(100)) is False


@pytest.mark.parametrize("in_memory", [False, True])
def test_try_read_where_the_file_system_cannot_promise(
    path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: bool
) -> None:
    """It reads where files live in memory; elsewhere it says no, and asks the kernel only once."""
    monkeypatch.setattr(linux, "is_in_memory", lambda fd: in_memory)
    device = FileDevice.open(path, size_bytes=4096)
    device.write(0, b"x" * 100)
    preadv = os.preadv
    asked: list[int] = []

    def no_nowait(fd: int, data: tuple[bytearray, ...], at: int, flag: int = 0) -> int:
        asked.append(flag)
        if flag:
            raise OSError(errno.EOPNOTSUPP, "not supported")
        return preadv(fd, data, at)

    monkeypatch.setattr(os, "preadv", no_nowait)
    for _ in range(3):
        buffer = bytearray(100)
        assert device.try_read_into(0, buffer) is in_memory
        assert buffer == (b"x" * 100 if in_memory else bytes(100))
    assert asked.count(os.RWF_NOWAIT) == 1


def test_writeback_starts_as_writes_gather(
    device: FileDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "_direct", None)  # some disks take memory at any address
    started: list[tuple[int, int]] = []
    monkeypatch.setattr(
        linux, "start_writeback", lambda fd, at, length: started.append((at, length))
    )
    device.write(4 * MIB, bytes(WRITEBACK_BYTES))
    assert started == [(4 * MIB, WRITEBACK_BYTES)]
    for number in range(15):
        device.write(number * 65_536, bytes(65_536))
    device.write(0, bytes(4 * MIB), fua=True)
    assert len(started) == 1
    device.write(15 * 65_536, bytes(65_536))
    assert started[1:] == [(0, 0)]
    device.write(0, bytes(WRITEBACK_BYTES - 1))
    device.flush()
    device.write(0, b"x")
    assert len(started) == 2


# --- writes past the page cache -------------------------------------------------------


def page_aligned(fill: bytes, size_bytes: int) -> memoryview:
    memory = mmap.mmap(-1, size_bytes)
    memory.write(fill * size_bytes)
    return memoryview(memory)


def test_large_writes_past_the_cache_and_small_ones_through_it_agree(device: FileDevice) -> None:
    block = page_aligned(b"d", MIB)
    expected = bytearray(8 * MIB)
    for offset_bytes, data in (
        (MIB - 100, b"c" * 5000),  # in the cache, dirty, and then written over
        (MIB, block),
        (2 * MIB - 3, b"tail"),
        (4 * MIB, block[:DIRECT_BYTES]),
        (4 * MIB + 4096, b"e" * 4096),
        (5 * MIB + 1, block),  # at no block's beginning
        (7 * MIB, block[: DIRECT_BYTES + 1]),  # to no block's end
    ):
        assert read(device, 0, 8 * MIB) == expected  # and now all of it is in the cache
        device.write(offset_bytes, data)
        expected[offset_bytes : offset_bytes + len(data)] = data
    device.flush()
    assert read(device, 0, 8 * MIB) == expected


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EOPNOTSUPP])
def test_a_write_that_the_disk_will_not_take_directly_goes_through_the_cache(
    code: int, device: FileDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite, refused = os.pwrite, []

    def refusing(fd: int, data: memoryview, offset_bytes: int) -> int:
        if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_DIRECT:
            refused.append(offset_bytes)
            raise OSError(code, os.strerror(code))
        return pwrite(fd, data, offset_bytes)

    monkeypatch.setattr(os, "pwrite", refusing)
    device.write(MIB, page_aligned(b"x", MIB))
    assert refused in ([MIB], [])  # none where the file lies in memory
    assert read(device, MIB, MIB) == b"x" * MIB


def test_a_direct_write_that_fails_is_a_failed_write(
    device: FileDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "pwrite", failing(errno.EIO))
    with pytest.raises(DeviceIOError, match="write of 1048576 bytes at 0"):
        device.write(0, page_aligned(b"x", MIB))
    monkeypatch.setattr(os, "pwrite", failing(errno.ENOSPC))
    with pytest.raises(DeviceFullError):
        device.write(0, page_aligned(b"x", MIB))


def test_a_direct_write_cut_short_is_finished(
    device: FileDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite = os.pwrite

    def short(fd: int, data: memoryview, offset_bytes: int) -> int:
        return pwrite(fd, data[:4096], offset_bytes)

    monkeypatch.setattr(os, "pwrite", short)
    device.write(MIB, page_aligned(b"x", MIB))
    assert read(device, MIB, MIB) == b"x" * MIB


def test_a_file_system_without_direct_writes_is_lived_with(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_open = os.open

    def refusing(name: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return real_open(name, flags, mode)

    monkeypatch.setattr(os, "open", refusing)
    device = FileDevice.open(path, size_bytes=4 * MIB)
    device.write(MIB, page_aligned(b"x", MIB))
    assert read(device, MIB, MIB) == b"x" * MIB


def test_a_large_discard_goes_in_pieces(
    device: FileDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.write(0, b"x" * 8 * MIB)
    punch, punched = linux.punch_hole, []

    def watched(fd: int, offset_bytes: int, length_bytes: int) -> None:
        punched.append(length_bytes)
        punch(fd, offset_bytes, length_bytes)

    monkeypatch.setattr(linux, "punch_hole", watched)
    device.discard(5, 5 * MIB)
    assert punched == [DISCARD_BYTES, DISCARD_BYTES, 5 * MIB - 2 * DISCARD_BYTES]
    assert read(device, 0, 8 * MIB) == b"x" * 5 + bytes(5 * MIB) + b"x" * (3 * MIB - 5)


def test_a_c_library_without_the_calls_is_lived_with(
    device: FileDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_sync_file_range", "_fallocate", "_fstatfs"):
        monkeypatch.setattr(linux, name, None)
    device.write(0, b"x" * 2 * MIB)
    device.discard(5, MIB)
    assert read(device, 0, 6) == b"x" * 5 + b"\0"
    assert read(device, MIB + 4, 2) == b"\0x"
    assert linux.is_in_memory(0) is False


def test_a_missing_c_function_is_none() -> None:
    assert linux._c_function("no_such_function_anywhere") is None


def test_a_hole_that_cannot_be_made_is_written_with_zeroes(
    device: FileDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.write(0, b"x" * 3 * MIB)
    monkeypatch.setattr(linux, "punch_hole", failing(errno.EOPNOTSUPP))
    device.discard(100, 2 * MIB)
    assert read(device, 99, 2 * MIB + 2) == b"x" + bytes(2 * MIB) + b"x"


def test_the_real_punch_hole_reports_errors(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "read-only", os.O_RDONLY | os.O_CREAT, 0o600)
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
            linux.punch_hole(fd, 0, 4096)
    finally:
        os.close(fd)


def test_a_closed_descriptors_number_is_not_given_away_during_a_call(
    tmp_path: Path, device: FileDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a write under way would land in the file that got the number next."""
    pwrite = os.pwrite
    bystander = tmp_path / "bystander"

    def close_meanwhile(fd: int, data: bytes, at: int) -> int:
        device.close()
        with bystander.open("wb") as file:
            assert file.fileno() != fd
            return pwrite(fd, data, at)

    monkeypatch.setattr(os, "pwrite", close_meanwhile)
    device.write(0, b"to the device")
    assert bystander.read_bytes() == b""
    assert Path(device.path).read_bytes()[:13] == b"to the device"
    with pytest.raises(DeviceClosedError):
        device.write(0, b"x")


def test_closing_gives_the_descriptor_back(path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        device = FileDevice.open(path, size_bytes=4096)
        device.write(0, b"x")
        device.close()
    with pytest.raises(DeviceOpenError):
        FileDevice.open(path, size_bytes=1 << 20)
    assert len(os.listdir("/proc/self/fd")) == before


def test_extents_being_walked_end_with_the_device(device: FileDevice) -> None:
    device.write(MIB, b"x")
    walk = device.extents(0, 8 * MIB)
    next(walk)
    device.close()
    with pytest.raises(DeviceClosedError):
        next(walk)
