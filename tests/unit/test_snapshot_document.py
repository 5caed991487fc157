"""The page on snapshots against what is written: sizes, offsets and the worked example."""

from __future__ import annotations

import re
from pathlib import Path

from blockdev import volume_map
from blockdev.map_writer import write_map
from blockdev.snapshot_map import FOOTER, HEADER, ROW, SnapshotMap
from blockdev.volume_map import MAP_BYTES, Header, PendingRecord, unpack_header

PAGE = (Path(__file__).parents[2] / "docs" / "snapshots.md").read_text(encoding="utf-8")
DIGESTS = {1: b"\x11" * 16, 3: b"\x33" * 16}


def dumped() -> bytes:
    lines = re.findall(r"^[0-9a-f]{8}  ((?:[0-9a-f]{2} +)*[0-9a-f]{2})$", PAGE, re.MULTILINE)
    return bytes.fromhex("".join(lines))


def test_the_worked_example_is_a_map(tmp_path: Path) -> None:
    path = tmp_path / "page.map"
    path.write_bytes(dumped())
    with SnapshotMap.open(path) as map_:
        assert map_.size_bytes == 2 << 20
        assert dict(map_.entries()) == DIGESTS
        (row,) = map_.rows
    assert (row.offset_bytes, row.stored_bytes) == (0x10, 0x28 - 0x10)
    assert (0x28 + ROW.size, len(dumped())) == (0x50, 0x50 + FOOTER.size)


def test_a_map_written_today_reads_as_the_one_on_the_page(tmp_path: Path) -> None:
    """Compared by what they say, for another zstandard may pack them otherwise."""
    path = tmp_path / "today.map"
    write_map(path, size_bytes=2 << 20, base=None, changes=sorted(DIGESTS.items()))
    assert path.read_bytes()[: HEADER.size] == dumped()[: HEADER.size]
    (tmp_path / "page.map").write_bytes(dumped())
    with SnapshotMap.open(path) as today, SnapshotMap.open(tmp_path / "page.map") as page:
        assert today.rows[0].check == page.rows[0].check


def test_the_places_of_a_volumes_map() -> None:
    for at in (volume_map._REGIONS_AT, volume_map._REMOTE_AT, volume_map._SLOTS_AT):
        assert f"| {at:,} |" in PAGE
    assert f"{MAP_BYTES:,} bytes long" in PAGE


def test_the_header_of_a_volumes_map() -> None:
    """By the offsets that the page gives."""
    record = PendingRecord("snap-2", "snap-1", 7 << 19, 3, failed=True)
    header = Header(5 << 19, "vol-1", "snap-0", "snap-2", True, 4, (record,), 9)
    packed = header.pack()
    assert len(packed) == 4096
    assert packed[0:8] == b"OBSVMAP1"
    assert int.from_bytes(packed[8:16], "little") == 9
    assert int.from_bytes(packed[16:24], "little") == 5 << 19
    assert [packed[at : at + 64].rstrip(b"\0") for at in (24, 88, 152)] == [
        b"vol-1",
        b"snap-0",
        b"snap-2",
    ]
    assert tuple(packed[216:219]) == (1, 4, 1)
    assert packed[224:288].rstrip(b"\0") == b"snap-2"
    assert packed[288:352].rstrip(b"\0") == b"snap-1"
    assert int.from_bytes(packed[352:360], "little") == 7 << 19
    assert tuple(packed[360:362]) == (3, 1)
    assert unpack_header(packed) == header
    assert unpack_header(packed[:4000] + b"x" + packed[4001:]) is None
