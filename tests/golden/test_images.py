"""Stores of every released format are opened, listed and read as they always were.

The index is not part of an image: it comes from the log alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from objstore import ObjectStore
from objstore.engine.check import check_store, rebuild_index
from objstore.index import keys
from tests.golden import images
from tests.golden.describe import describe, older_versions
from tests.golden.make_images import CONFIG, records_of

IMAGES = sorted(images.FOLDER.glob("*.zst"))


def note_of(image: Path) -> dict[str, Any]:
    note: dict[str, Any] = json.loads(image.with_suffix(".json").read_text())
    return note


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.stem)
def test_an_image_opens_and_reads_as_it_was_written(image: Path, tmp_path: Path) -> None:
    note = note_of(image)
    device = images.unpack(image)
    with ObjectStore.open(tmp_path, config=CONFIG, device=device) as store:
        assert describe(store) == note["buckets"]
        assert older_versions(store) == note["older"]
        assert store.check() == []


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.stem)
def test_an_image_is_rebuilt_from_a_device_file(image: Path, tmp_path: Path) -> None:
    device = images.unpack(image)
    data = bytearray(device.geometry.size_bytes)
    device.read_into(0, data)
    (tmp_path / "device").write_bytes(data)
    report = rebuild_index(tmp_path)
    assert report.problems == []
    counts = note_of(image)["records"]
    assert report.segments == counts["segments"]
    assert report.records == sum(counts[str(kind)] for kind in range(1, 11))
    assert check_store(tmp_path) == []


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.stem)
def test_an_image_goes_on_as_a_store(image: Path, tmp_path: Path) -> None:
    """Written to, emptied and compacted, as a store that was upgraded would be."""
    device = images.unpack(image)
    with ObjectStore.open(tmp_path, config=CONFIG, device=device) as store:
        for bucket in store.list_buckets():
            page = store.list(bucket.name)
            store.put(bucket.name, "new", b"new")
            store.delete_many(bucket.name, [entry.key for entry in page.entries[::2]])
            for upload in store.list_uploads(bucket.name).uploads:
                store.abort_upload(bucket.name, upload.key, upload.upload_id)
        store.maintain()
        assert store.check() == []
        with store._core.index.read() as txn:
            assert not list(txn.scan(b"p", keys.after(b"p"))), "parts outlived their uploads"


def test_the_images_hold_what_they_are_for() -> None:
    """Every kind of record, several log segments, and records that compaction moved."""
    totals: dict[str, int] = {}
    for image in IMAGES:
        counts = records_of(images.unpack(image))
        assert counts == note_of(image)["records"]
        for name, count in counts.items():
            totals[name] = max(totals.get(name, 0), count)
    assert [name for name, count in totals.items() if not count] == []
    assert totals["segments"] > 3
    assert totals["moved"] > 10
