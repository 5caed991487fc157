"""fio's iologs: written by the record filter and by fio itself, read, and refused by line."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockdev import iolog
from blockdev.clock import ManualClock
from blockdev.errors import OutOfRangeError
from blockdev.filters.record import RecordDevice
from blockdev.iolog import IologError, read_iolog
from blockdev.memory import MemoryDevice

Entry = tuple[int, int, int, int]


def entries(text: str) -> list[Entry]:
    return list(read_iolog(io.StringIO(text), "test").ios())


def test_version_3_has_times_and_files() -> None:
    log = read_iolog(
        io.StringIO(
            "fio version 3 iolog\n0 /a add\n3 /a open\n7 /a read 4096 512\n\n"
            "7 /b add\n12 /b write 0 1024\n15 /a sync 0 0\n9 /a write 8192 100\n20 /a close\n"
        ),
        "test",
    )
    b = 1 << 50
    assert list(log.ios()) == [
        (7_000, 4096, 512, 0),
        (12_000, b, 1024, 1),
        (15_000, 0, 0, 1),
        (15_000, 8192, 100, 1),  # a time that goes back is no pause
    ]
    assert log.is_paced
    assert log.count == 3
    assert log.span_bytes == 8292 + 1024


def test_version_2_has_waits() -> None:
    log = read_iolog(
        io.StringIO(
            "fio version 2 iolog\n/a add\n/a open\n/a read 0 4096\n/a wait 500 0\n"
            "/a write 0 4096\n/a wait 1500 0\n/a trim 0 4096\n/a read 4096 4096\n/a close\n"
        ),
        "test",
    )
    assert [asked_ns for asked_ns, *_ in log.ios()] == [0, 500_000, 2_000_000]
    assert not log.is_paced
    assert log.count == 3


V2, V3 = "fio version 2 iolog\n", "fio version 3 iolog\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'test, line 1: \'\' is not "fio version 2 iolog" or "fio version 3 iolog"'),
        ("fio version 1 iolog\n", "test, line 1"),
        (V3, "test: no read and no write in it"),
        (V3 + "0 f add\n0 f open\n", "no read and no write"),
        (V3 + "0 f read 0 4096\n1 f read 0\n", "test, line 3: '1 f read 0' is neither"),
        (V3 + "f read 0 4096\n", "test, line 2: timestamp 'f' is not a whole number"),
        (V3 + "-1 f read 0 4096\n", "test, line 2: timestamp '-1'"),
        (V3 + "0 f read 0x10 4096\n", "line 2: offset '0x10'"),
        (V3 + "0 f read 0 4096 9\n", "line 2"),
        (V3 + "0 f read ٣ 4096\n", "line 2: offset"),
        (V3 + "0 f read 0 " + "9" * 19 + "\n", "line 2: length"),
        (V3 + "0 f read 0 0\n", "line 2: an I/O of no length"),
        (V3 + "0 f wait 10 0\n", "line 2: a version 3 log has timestamps and no wait"),
        (V3 + "0 f erase 10 1\n", "line 2: unknown action 'erase'"),
        (V3 + "0 f remove\n", "line 2: unknown action 'remove' on a file"),
        (V3 + f"0 f read {1 << 50} 1\n", "line 2: reaches past"),
        (V2 + "0 f read 0 4096\n", "line 2"),
        (V2 + "f read 0 4096\n" + "x" * 5000 + "\n", "line 3: longer than 4096 characters"),
        ("\x00\x01\x02", "line 1"),
    ],
)
def test_a_broken_log_is_refused_by_line(text: str, message: str) -> None:
    with pytest.raises(IologError) as caught:
        entries(text)
    assert message in str(caught.value)


def test_a_log_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iolog, "MAX_IOS", 3)
    with pytest.raises(IologError, match="line 5: more than 3 I/Os"):
        entries(V2 + "f read 0 1\n" * 4)
    monkeypatch.setattr(iolog, "MAX_FILES", 2)
    with pytest.raises(IologError, match="line 4: more than 2 files"):
        entries(V2 + "a add\nb add\nc add\n")


@given(st.text(max_size=300))
def test_anything_is_read_or_refused(text: str) -> None:
    for header in (V2, V3):
        try:
            outcome = str(len(entries(header + text)))
        except IologError as error:
            outcome = str(error)
        assert outcome.startswith("test") or int(outcome) > 0


calls = st.lists(
    st.tuples(
        st.sampled_from(["read", "write", "fua", "zeroes", "discard", "flush"]),
        st.integers(0, 500).map(lambda n: n * 1000),
        st.integers(1, 5000),
        st.integers(0, 10**7),
    ),
    max_size=40,
)


@given(calls, st.sampled_from([2, 3]))
def test_what_is_recorded_is_read_back(
    calls: list[tuple[str, int, int, int]], version: int
) -> None:
    clock, sink = ManualClock(), io.StringIO()
    device = RecordDevice(
        MemoryDevice(1 << 20), sink, clock, name="vol-1", version=2 if version == 2 else 3
    )
    expected: list[Entry] = []
    for action, at, length, pause_ns in calls:
        clock.advance(pause_ns)
        if action == "read":
            device.read_into(at, bytearray(length))
        elif action in ("write", "fua"):
            device.write(at, bytes(length), fua=action == "fua")
        elif action == "zeroes":
            device.write_zeroes(at, length)
        elif action == "discard":
            device.discard(at, length)
        else:
            device.flush()
        if action in ("read", "write", "fua", "zeroes"):
            expected.append((clock.monotonic_ns(), at, length, int(action != "read")))
        if action in ("fua", "flush"):
            expected.append((clock.monotonic_ns(), 0, 0, 1))
    device.close()
    if not any(length for _, _, length, _ in expected):
        return
    found = entries(sink.getvalue())
    assert [entry[1:] for entry in found] == [entry[1:] for entry in expected]
    for (found_ns, *_), (asked_ns, *_) in zip(found, expected, strict=True):
        slack_ns = 1_000 if version == 3 else 101_000  # v2 has no waits under 100 µs
        assert 0 <= asked_ns - found_ns <= slack_ns


def test_only_what_takes_place_is_recorded() -> None:
    sink = io.StringIO()
    device = RecordDevice(MemoryDevice(4096), sink, ManualClock())
    with pytest.raises(OutOfRangeError):
        device.read_into(4096, bytearray(1))
    with pytest.raises(OutOfRangeError):
        device.write(-1, b"x")
    device.write(0, b"")
    assert device.try_read_into(0, bytearray(10))
    device.close()
    device.close()
    assert sink.getvalue().splitlines() == [
        "fio version 3 iolog",
        "0 disk add",
        "0 disk open",
        "0 disk read 0 10",
        "0 disk close",
    ]
    assert not sink.closed


def test_lines_are_not_held_back_without_bound() -> None:
    sink = io.StringIO()
    device = RecordDevice(MemoryDevice(4096), sink, ManualClock())
    for _ in range(1024):
        device.read_into(0, bytearray(1))
    assert len(sink.getvalue().splitlines()) == 1024


@pytest.mark.parametrize("name", ["", "two words", "a\n", " a"])
def test_a_name_that_would_break_the_log_is_refused(name: str) -> None:
    with pytest.raises(ValueError):
        RecordDevice(MemoryDevice(4096), io.StringIO(), ManualClock(), name=name)


def fio(folder: Path, *options: str) -> None:
    path = shutil.which("fio")
    if path is None:
        pytest.skip("fio is not installed")
    subprocess.run(
        [path, "--name=job", "--ioengine=psync", *options],
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=60,
    )


def test_what_fio_writes_is_read(tmp_path: Path) -> None:
    fio(
        tmp_path,
        *("--filename=data", "--size=256k", "--bs=4k", "--rw=randrw", "--fsync=8"),
        "--write_iolog=log",
    )
    with (tmp_path / "log").open() as file:
        log = read_iolog(file, "log")
    assert log.count == 64
    assert log.is_paced
    assert {offset for _, offset, length, _ in log.ios() if length} == set(
        range(0, 256 * 1024, 4096)
    )
    kinds = [(length > 0, is_write) for _, _, length, is_write in log.ios()]
    assert {(True, 0), (True, 1), (False, 1)} == set(kinds)


@pytest.mark.parametrize("version", [2, 3])
def test_what_is_recorded_fio_replays(tmp_path: Path, version: int) -> None:
    (tmp_path / "data").write_bytes(bytes(1 << 20))
    clock = ManualClock()
    with (tmp_path / "log").open("w") as sink:
        device = RecordDevice(
            MemoryDevice(1 << 20), sink, clock, name="data", version=2 if version == 2 else 3
        )
        for number in range(32):
            clock.advance(200_000)
            device.write(number * 8192, b"x" * 4096)
        device.flush()
        device.close()
    before = (tmp_path / "data").stat().st_mtime_ns
    fio(tmp_path, "--read_iolog=log", "--rw=write", "--output=report", "--output-format=terse")
    fields = (tmp_path / "report").read_text().strip().splitlines()[-1].split(";")
    assert (tmp_path / "data").stat().st_mtime_ns > before
    assert int(fields[46]) == 32 * 4  # KiB written
