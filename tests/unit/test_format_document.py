"""docs/format.md says what is on the device: its hexdumps, tables and figures."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from blockdev import MemoryDevice
from objstore import ObjectStore
from objstore.index import keys, schema
from objstore.log import format as log
from tests.golden.dump import DEVICE_BYTES, KINDS, dump, make_example

PAGE = (Path(__file__).parents[2] / "docs" / "format.md").read_text()
LINE = re.compile(r"^([0-9a-f]{8})  ((?:[0-9a-f]{2} ?)+)")
BLOCK = re.compile(r"^```text\n(.*?)\n```", re.MULTILINE | re.DOTALL)

BODIES: dict[int, type[msgspec.Struct]] = {
    log.BUCKET: schema.BucketBody,
    log.BUCKET_GONE: schema.GoneBody,
    log.VERSION: schema.VersionBody,
    log.VERSION_GONE: schema.GoneBody,
    log.MANIFEST: schema.ManifestBody,
    log.UPLOAD: schema.UploadBody,
    log.UPLOAD_GONE: schema.GoneBody,
    log.PART: schema.PartBody,
    log.SEGMENTS: schema.SegmentsBody,
    log.SEGMENT_FREED: schema.SegmentFreedBody,
    log.EVENT: schema.EventBody,
    log.DELIVERED: schema.DeliveredBody,
}


@pytest.fixture
def device(tmp_path: Path) -> MemoryDevice:
    return make_example(str(tmp_path))


def shown_bytes() -> dict[int, int]:
    """Every byte that the page's hexdumps give, by its offset."""
    found: dict[int, int] = {}
    for block in BLOCK.findall(PAGE):
        for line in block.splitlines():
            match = LINE.match(line)
            if match is None:
                continue
            for position, byte in enumerate(bytes.fromhex(match[2])):
                offset_bytes = int(match[1], 16) + position
                assert offset_bytes not in found, f"{offset_bytes:08x} is shown twice"
                found[offset_bytes] = byte
    return found


def test_the_dumps_are_what_a_second_reader_finds(device: MemoryDevice) -> None:
    """The notes as well; `python -m tests.golden.dump` prints what belongs there."""
    assert BLOCK.findall(PAGE) == [text for _name, text in dump(device)]


def test_the_dumps_are_the_whole_store(device: MemoryDevice, tmp_path: Path) -> None:
    """The page alone is a store: its bytes, the second superblock, zeroes elsewhere."""
    written = MemoryDevice(DEVICE_BYTES)
    for offset_bytes, byte in shown_bytes().items():
        written.write(offset_bytes, bytes([byte]))
        if offset_bytes < 4096:
            written.write(4096 + offset_bytes, bytes([byte]))
    images = []
    for each in (written, device):
        image = bytearray(DEVICE_BYTES)
        each.read_into(0, image)
        images.append(image)
    assert images[0] == images[1]
    with ObjectStore.open(tmp_path / "from-the-page", device=written) as store:
        assert [bucket.name for bucket in store.list_buckets()] == ["photos"]
        assert store.list("photos").entries == ()
        assert store.check() == []


def tables() -> list[list[list[str]]]:
    """Every table of the page: rows of cells, headings first."""
    found: list[list[list[str]]] = []
    for block in re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.split("\n")]
        found.append([row for row in rows if row != [""]])
    return found


def table(*headings: str) -> list[list[str]]:
    (match,) = [rows for rows in tables() if rows[0] == list(headings)]
    return match[2:]


def names_in(cell: str) -> list[str]:
    """Names in code style, without what stands in parentheses."""
    return re.findall(r"`([^`]+)`", re.sub(r"\([^)]*\)", "", cell))


def test_the_table_of_kinds_names_every_field_in_order() -> None:
    rows = table("kind", "name", "says", "body")
    assert {int(row[0]): row[1] for row in rows} == KINDS
    for row in rows:
        assert names_in(row[3]) == list(BODIES[int(row[0])].__struct_fields__), row[1]
        assert getattr(log, row[1]) == int(row[0])


def test_the_parts_of_bodies_name_every_field_in_order() -> None:
    structs = {
        "extent": schema.Extent,
        "checksum": schema.ChecksumRow,
        "part of a manifest": schema.ManifestPart,
        "lock": schema.LockRow,
        "seal": schema.SealRow,
    }
    rows = {row[0]: row[1] for row in table("", "fields")}
    assert rows.keys() == structs.keys()
    for name, cell in rows.items():
        assert names_in(cell) == list(structs[name].__struct_fields__), name


def test_the_layouts_leave_no_gap() -> None:
    """In each table of fields an offset is the one before and its length."""
    checked = 0
    for rows in tables():
        if rows[0][:2] != ["offset", "bytes"]:
            continue
        position = 0
        for row in rows[2:]:
            if row[0]:
                assert int(row[0]) == position, row
                position += int(row[1]) if row[1] else 0
        checked += 1
    assert checked == 5


def test_the_table_of_rows_is_that_of_the_module() -> None:
    described = re.findall(r"^``(.+?)``\s{2,}", keys.__doc__ or "", re.MULTILINE)
    assert [names_in(row[0])[0] for row in table("key", "row")] == described


def test_flags_are_those_of_the_schema() -> None:
    flags = {int(row[0]): row[1] for row in table("bit", "name", "")}
    assert flags == {
        schema.FLAG_NULL: "null",
        schema.FLAG_DELETE_MARKER: "delete marker",
        schema.FLAG_MANIFEST: "manifest",
        schema.FLAG_EXTENTS: "extents",
    }
