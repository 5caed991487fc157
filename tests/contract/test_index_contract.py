"""The contract of an index: LMDB and its plain twin answer alike, whatever is done to them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from objstore.index.base import Index, IndexUnusableError
from objstore.index.lmdb_index import LmdbIndex
from objstore.index.memory_index import MemoryIndex
from tests.crash.tiny import memory_folder

END = b"\xff" * 8
KEYS = st.one_of(
    st.sampled_from((b"\x00", b"a", b"a\x00", b"ab", b"b", b"b" * 511, b"b" * 1978, b"\xff")),
    st.binary(min_size=1, max_size=3),
)
VALUES = st.one_of(st.binary(max_size=8), st.integers(0, 20_000).map(bytes))
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, VALUES),
        st.tuples(st.just("replace"), KEYS, VALUES),
        st.tuples(st.just("delete"), KEYS, st.just(b"")),
        st.tuples(st.just("get"), KEYS, st.just(b"")),
        st.tuples(st.just("scan"), KEYS, KEYS),
        st.tuples(st.just("last"), KEYS, KEYS),
    ),
    max_size=30,
)


def open_lmdb(path: Path) -> LmdbIndex:
    return LmdbIndex(path, map_bytes=1 << 28, max_readers=16)


class RolledBackError(Exception):
    """Ends a transaction."""


class IndexMachine(RuleBasedStateMachine):
    """Random transactions on both; the same answers, then and after each of them."""

    @initialize()
    def begin(self) -> None:
        self.stack = ExitStack()
        self.path = self.stack.enter_context(memory_folder()) / "index"
        self.lmdb = open_lmdb(self.path)
        self.twin = MemoryIndex()

    def teardown(self) -> None:
        if hasattr(self, "lmdb"):
            self.lmdb.close()
            self.stack.close()

    @rule(changes=CHANGES, commits=st.booleans())
    def transaction(self, changes: list[tuple[str, bytes, bytes]], commits: bool) -> None:
        answers = []
        for index in (self.lmdb, self.twin):
            try:
                with index.write() as txn:
                    answers.append([_do(txn, *change) for change in changes])
                    if not commits:
                        raise RolledBackError
            except RolledBackError:
                pass
        assert answers[0] == answers[1]

    @rule(start=KEYS, stop=KEYS)
    def look(self, start: bytes, stop: bytes) -> None:
        with self.lmdb.read() as here, self.twin.read() as there:
            assert here.get(start) == there.get(start)
            rows = [*there.scan(start, stop)]
            assert [*here.scan(start, stop)] == rows
            assert all(
                view.page(start, stop, limit) == rows[:limit]
                for view in (here, there)
                for limit in range(len(rows) + 2)
            )
            assert here.last(start, stop) == there.last(start, stop)

    @rule()
    def reopen(self) -> None:
        self.lmdb.close()
        self.lmdb = open_lmdb(self.path)

    @rule()
    def restore_from_an_image(self) -> None:
        image = self.path.parent / "image"
        with image.open("wb") as sink:
            self.lmdb.copy_to(sink.fileno())
        self.lmdb.close()
        os.replace(image, self.path / "data.mdb")
        self.lmdb = open_lmdb(self.path)

    @invariant()
    def same_rows(self) -> None:
        if hasattr(self, "lmdb"):
            with self.lmdb.read() as here, self.twin.read() as there:
                assert [*here.scan(b"\x00", END)] == [*there.scan(b"\x00", END)]


def _do(txn: object, name: str, key: bytes, other: bytes) -> object:
    method = getattr(txn, name)
    if name in ("delete", "get"):
        return method(key)
    if name == "put":
        method(key, other)
        return None
    found = method(key, other)
    return list(found) if name == "scan" else found


TestIndexMachine = IndexMachine.TestCase


@pytest.fixture(params=["lmdb", "memory"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Index]:
    made: Index = open_lmdb(tmp_path / "index") if request.param == "lmdb" else MemoryIndex()
    yield made
    made.close()


def test_a_reader_sees_the_state_it_began_with(tmp_path: Path) -> None:
    index = open_lmdb(tmp_path / "index")
    with index.write() as txn:
        txn.put(b"key", b"before")
    with index.read() as view:
        with index.write() as txn:
            txn.put(b"key", b"after")
            txn.put(b"new", b"")
        assert view.get(b"key") == b"before"
        assert [*view.scan(b"a", b"z")] == [(b"key", b"before")]
    with index.read() as view:
        assert view.get(b"key") == b"after"
    index.close()


def test_a_writer_sees_its_own_changes(index: Index) -> None:
    with index.write() as txn:
        txn.put(b"b", b"1")
        assert txn.replace(b"b", b"2") == b"1"
        assert txn.replace(b"c", b"3") is None
        assert txn.get(b"b") == b"2"
        assert txn.last(b"a", b"z") == (b"c", b"3")
        assert txn.delete(b"c")
        assert not txn.delete(b"c")
        assert [*txn.scan(b"a", b"z")] == [(b"b", b"2")]


def test_an_exception_takes_everything_back(index: Index) -> None:
    with index.write() as txn:
        txn.put(b"a", b"1")
        txn.put(b"b", b"2")
    with pytest.raises(RolledBackError), index.write() as txn:  # noqa: PT012
        txn.put(b"a", b"changed")
        txn.replace(b"a", b"twice")
        txn.delete(b"b")
        txn.put(b"c", b"3")
        raise RolledBackError
    with index.read() as view:
        assert [*view.scan(b"\x00", END)] == [(b"a", b"1"), (b"b", b"2")]


def test_the_longest_key(index: Index) -> None:
    with index.write() as txn:
        txn.put(b"k" * 1978, b"value")
    with index.read() as view:
        assert view.get(b"k" * 1978) == b"value"


def test_closing_twice(index: Index) -> None:
    index.close()
    index.close()


def test_another_process_sees_each_commit(tmp_path: Path) -> None:
    index = open_lmdb(tmp_path / "index")
    with index.write() as txn:
        txn.put(b"from", b"here")
    program = (
        "from pathlib import Path; import sys\n"
        "from tests.contract.test_index_contract import open_lmdb\n"
        "index = open_lmdb(Path(sys.argv[1]))\n"
        "with index.write() as txn:\n"
        "    assert txn.get(b'from') == b'here'\n"
        "    txn.put(b'from', b'there')\n"
        "index.close()\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "index")], check=True)
    with index.read() as view:
        assert view.get(b"from") == b"there"
    index.close()


@pytest.mark.parametrize("damage", [b"garbage" * 5_000, b"\x00" * 8192])
def test_files_that_are_no_index(damage: bytes, tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "data.mdb").write_bytes(damage)
    with pytest.raises(IndexUnusableError):
        open_lmdb(tmp_path / "index")


def test_open_twice_in_one_process(tmp_path: Path) -> None:
    index = open_lmdb(tmp_path / "index")
    with pytest.raises(IndexUnusableError, match="already open in this process"):
        open_lmdb(tmp_path / "index")
    index.close()
    open_lmdb(tmp_path / "index").close()
