"""A reader that begins while others commit: LMDB calls a newer root damage, and it is none."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lmdb
import pytest

from blockdev.clock import SystemClock
from objstore.config import CHECKPOINT_ATTEMPTS
from objstore.engine.checkpoint import _copy_whole
from objstore.index.base import CopyRacedError
from objstore.index.lmdb_index import READ_ATTEMPTS, LmdbIndex

ROWS = {b"k%d" % number: b"v%d" % number for number in range(5)}


class Raced:
    """A transaction whose root is of a later commit, whatever reads it."""

    def __init__(self, txn: Any) -> None:
        self._txn = txn
        self.abort = txn.abort

    def _fail(self, *_arguments: Any) -> Any:
        raise lmdb.CorruptedError("Located page was wrong type")

    get = set_range = put = delete = replace = _fail

    def cursor(self) -> Any:
        return self

    def close(self) -> None:
        pass


class RacedEnvironment:
    """An environment of which the next `left` transactions to read are raced."""

    def __init__(self, env: Any) -> None:
        self._env = env
        self.left = 0

    def begin(self, write: bool = False) -> Any:
        txn = self._env.begin(write=write)
        if write or not self.left:
            return txn
        self.left -= 1
        return Raced(txn)

    def copyfd(self, fd: int, compact: bool) -> None:
        if self.left:
            self.left -= 1
            os.write(fd, b"half of a copy")
            raise lmdb.CorruptedError("Located page was wrong type")
        self._env.copyfd(fd, compact=compact)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[LmdbIndex]:
    found = LmdbIndex(tmp_path / "index", map_bytes=2**24, max_readers=8)
    with found.write() as txn:
        for key, value in ROWS.items():
            txn.put(key, value)
    found._env = RacedEnvironment(found._env)
    yield found
    found.close()


READS: list[tuple[Callable[[Any], Any], Any]] = [
    (lambda txn: txn.get(b"k1"), b"v1"),
    (lambda txn: txn.get(b"none"), None),
    (lambda txn: list(txn.scan(b"k3", b"l")), [(b"k3", b"v3"), (b"k4", b"v4")]),
    (lambda txn: list(txn.scan(b"x", b"y")), []),
    (lambda txn: txn.page(b"k", b"l", 1), [(b"k0", b"v0")]),
    (lambda txn: txn.page(b"x", b"y", 1), []),
    (lambda txn: txn.last(b"k", b"l"), (b"k4", b"v4")),
]


@pytest.mark.parametrize("raced", [0, 1, 3])
@pytest.mark.parametrize(("read", "expected"), READS)
def test_who_reads_first_begins_again(
    index: LmdbIndex, raced: int, read: Callable[[Any], Any], expected: Any
) -> None:
    index._env.left = raced
    with index.read() as txn:
        assert read(txn) == expected
        assert txn.get(b"k2") == b"v2"
        assert read(txn) == expected
    assert index._env.left == 0


@pytest.mark.parametrize(("read", "_expected"), READS)
def test_what_stays_damaged_is_damage(
    index: LmdbIndex, read: Callable[[Any], Any], _expected: Any
) -> None:
    index._env.left = READ_ATTEMPTS + 1
    with pytest.raises(lmdb.CorruptedError), index.read() as txn:
        read(txn)
    assert index._env.left == 0


def test_nobody_who_has_read_goes_on_in_another_view(index: LmdbIndex) -> None:
    with index.read() as txn:
        hoisted = txn.get
        assert hoisted(b"k1") == b"v1"
        txn._txn.abort()
        txn._txn = Raced(index._env.begin())
        for read in (
            lambda: hoisted(b"k1"),
            lambda: txn.page(b"k", b"l", 1),
            lambda: txn.last(b"k", b"l"),
            lambda: list(txn.scan(b"k", b"l")),
        ):
            with pytest.raises(lmdb.CorruptedError):
                read()


@pytest.mark.parametrize("raced", [0, 1, 4, 5])
def test_an_image_begins_again(index: LmdbIndex, tmp_path: Path, raced: int) -> None:
    index._env.left = raced
    path = tmp_path / "copy" / "data.mdb"
    path.parent.mkdir()

    def copy() -> tuple[int, int]:
        return _copy_whole(index, path, SystemClock(), 2**30)

    if raced == CHECKPOINT_ATTEMPTS:
        with pytest.raises(CopyRacedError):
            copy()
        assert not path.exists()
        return
    length_bytes, _digest = copy()
    assert path.stat().st_size == length_bytes
    found = LmdbIndex(path.parent, map_bytes=2**24, max_readers=8)
    with found.read() as txn:
        assert dict(txn.scan(b"", b"\xff")) == ROWS
    found.close()


def test_a_transaction_is_gone_when_it_ends(index: LmdbIndex) -> None:
    """Without the collector, which would have to find it first."""
    gc.collect()
    gc.disable()
    try:
        with index.read() as txn:
            pass
        assert sys.getrefcount(txn) == 2
    finally:
        gc.enable()


def test_readers_beside_a_writer(tmp_path: Path) -> None:
    """The race itself, as often as it comes in some seconds: mostly not, and never as an error."""
    program = (
        "import sys; from pathlib import Path; from objstore.index.lmdb_index import LmdbIndex\n"
        "index = LmdbIndex(Path(sys.argv[1]), map_bytes=2**24, max_readers=8)\n"
        "for number in range(2000):\n"
        "    with index.write() as txn:\n"
        "        for key in (b'a', b'z', b'k%d' % (number % 500)):\n"
        "            txn.put(key, b'%d' % number)\n"
    )
    path = tmp_path / "shared"
    index = LmdbIndex(path, map_bytes=2**24, max_readers=8)
    writer = subprocess.Popen([sys.executable, "-c", program, str(path)])
    while writer.poll() is None:
        for _ in range(1000):
            with index.read() as txn:
                first, last = txn.get(b"a"), txn.get(b"z")
            assert first == last
    assert writer.returncode == 0
    index.close()
