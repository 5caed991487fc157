"""The files of a new volume are there after a power loss: every name on the way to them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from blockdev.live import LiveVolume
from blockdev.model import GIB


def test_the_name_of_a_new_volume_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the folder was made by a process that was killed before it had synced it."""
    synced: list[tuple[int, frozenset[str]]] = []
    fsync = os.fsync

    def note_fsync(descriptor: int) -> None:
        fsync(descriptor)
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            synced.append((status.st_ino, frozenset(os.listdir(descriptor))))

    monkeypatch.setattr(os, "fsync", note_fsync)
    folder = tmp_path / "region" / "volumes" / "vol-1"
    (tmp_path / "region").mkdir()
    for _ in range(2):
        synced.clear()
        LiveVolume.create(folder, size_bytes=GIB, volume="vol-1")
        names = {(path.parent.stat().st_ino, path.name) for path in (folder, folder.parent)}
        for inode, name in names:
            assert any(inode == one and name in listed for one, listed in synced), name
