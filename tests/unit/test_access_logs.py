"""Access logs: lines nobody can forge, a spool that outlives its process, delivery that retries."""

from __future__ import annotations

import itertools
import os
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockdev.clock import ManualClock
from objstore import ObjectStore
from objstore.access_logs import AccessLogs, delivery, settings
from objstore.access_logs.record import Entry
from objstore.access_logs.settings import SETTING, Logging
from objstore.access_logs.spool import FOLDER_NAME, Batch, Spool
from objstore.entropy import SeededEntropy
from objstore.errors import StoreFullError, StoreUnavailableError
from objstore.model import DefaultRetention
from objstore.s3.access_log import redacted_url
from tests.stores import StoreFactory

S = 1_000_000_000
START_NS = 1_795_000_000 * S
ENTRY = Entry(
    owner="a" * 64,
    bucket="source",
    time_ns=START_NS,
    remote_ip="127.0.0.1",
    requester="b" * 64,
    request_id="0123456789ABCDEF",
    operation="REST.GET.OBJECT",
    key="key",
    uri="GET /source/key HTTP/1.1",
    status=200,
    error_code="",
    sent_bytes=10,
    size_bytes=100,
    total_ns=7_999_999,
    turn_around_ns=3_000_000,
    referer="",
    user_agent="agent",
    version_id="",
    host_id="objstore",
    signature="SigV4",
    authentication="AuthHeader",
    host="localhost:9000",
)


def test_a_line() -> None:
    assert ENTRY.line() == (
        f"{'a' * 64} source [18/Nov/2026:11:06:40 +0000] 127.0.0.1 {'b' * 64} 0123456789ABCDEF "
        'REST.GET.OBJECT key "GET /source/key HTTP/1.1" 200 - 10 100 7 3 "-" "agent" - objstore '
        "SigV4 - AuthHeader localhost:9000 - - - -\n"
    )


TEXT = st.text(st.characters(exclude_categories=()), max_size=30)


@given(TEXT, TEXT, TEXT, TEXT, TEXT, TEXT)
def test_nobody_who_sends_a_request_makes_a_line(
    key: str, uri: str, referer: str, agent: str, version: str, host: str
) -> None:
    entry = replace(
        ENTRY,
        key=key,
        uri=uri,
        referer=referer,
        user_agent=agent,
        version_id=version,
        host=host,
    )
    line = entry.line()
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert re.fullmatch(r'(?:(?:\[[^]]*\]|"[^"]*"|[^" ]+)(?: |\n)){27}', line), line


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("", ""),
        ("http://h/page", "http://h/page"),
        ("http://h/page?a=b", "http://h/page?a=b"),
        (
            "http://h/p?X-Amz-Credential=K%2F1&a=b&X-Amz-Signature=f00&x%2Damz-Security-Token=t#f",
            "http://h/p?X-Amz-Credential=REDACTED&a=b&X-Amz-Signature=REDACTED"
            "&x%2Damz-Security-Token=REDACTED#f",
        ),
        ("http://h/p#a=b&X-Amz-Signature=f00", "http://h/p#a=b&X-Amz-Signature=REDACTED"),
        (
            "http://h/p?a=b#/at?AWSAccessKeyId=K&Signature=f00",
            "http://h/p?a=b#/at?AWSAccessKeyId=REDACTED&Signature=REDACTED",
        ),
        ("?Signature=\udcff\ud800&é", "?Signature=REDACTED&é"),
    ],
)
def test_what_signs_a_link_is_not_told_of_a_referer(url: str, shown: str) -> None:
    assert redacted_url(url) == shown


def test_names_of_objects() -> None:
    stamp = settings.new_stamp(START_NS, bytes(range(8)))
    assert stamp == "2026-11-18-11-06-40-0001020304050607"

    def key(source: str) -> str:
        logging = Logging("t", "p/", source)
        return settings.object_key(logging, "b", "r", "1", "2026-11-17", stamp)

    assert key("") == "p/" + stamp
    assert key("DeliveryTime") == f"p/1/r/b/2026/11/18/{stamp}"
    assert key("EventTime") == "p/1/r/b/2026/11/17/2026-11-17-00-00-00-0001020304050607"


def contents(spool: Spool) -> list[tuple[str, str, bytes]]:
    return [(batch.bucket, batch.stamp, batch.read()) for batch in spool.batches()]


def test_the_spool_of_a_process_that_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / FOLDER_NAME
    first = Spool(folder, "first")
    assert first.add("b", "2026-11-18", b"one\n") == 4
    assert first.add("b", "2026-11-18", b"two\n") == 8
    assert first.open_ones() == [("b", "2026-11-18")]
    first.seal("b", "2026-11-18", "stamp")
    first.add("b", "2026-11-18", b"three\nhalf a li")
    second = Spool(folder, "second")
    assert not second.adopt(lambda: "new")  # the first one lives
    assert contents(first) == [("b", "stamp", b"one\ntwo\n")]
    first.close()
    assert second.adopt(lambda: "new")
    assert contents(second) == [("b", "new", b"three\n"), ("b", "stamp", b"one\ntwo\n")]
    assert [path.name for path in folder.iterdir()] == ["second"]
    for batch in second.batches():
        batch.path.unlink()
    second.close()
    assert list(folder.iterdir()) == []


def test_a_line_that_does_not_fit_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / FOLDER_NAME, "mine")
    spool.add("b", "d", b"one\n")
    write = os.write

    def full(fd: int, data: Any) -> int:
        if len(data) > 3:
            return int(write(fd, data[:3]))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.write", full)
    with pytest.raises(OSError, match="No space"):
        spool.add("b", "d", b"tw\no\n")
    monkeypatch.setattr("os.write", write)
    assert spool.add("b", "d", b"three\n") == 10
    spool.seal("b", "d", "s")
    assert contents(spool) == [("b", "s", b"one\nthree\n")]
    spool.close()


class Logs:
    """A store with a bucket that wants a log, and time that passes when told."""

    def __init__(self, factory: StoreFactory, **options: Any) -> None:
        self.clock = ManualClock(START_NS)
        self.store: ObjectStore = factory(
            clock=self.clock, entropy=SeededEntropy(1), create_buckets=False
        )
        for name in ("source", "target"):
            self.store.create_bucket(name, owner="o")
        self.want(Logging("target", "logs/"))
        self.logs = AccessLogs(self.store, factory.path(), **options)
        self.logs.activate()

    def want(self, logging: Logging | None) -> None:
        value = None if logging is None else settings.encode(logging)
        self.store.set_bucket_setting("source", SETTING, value)

    def note(self, count: int = 1, **fields: Any) -> None:
        assert self.logs.wanted("source") == "o"
        for _ in range(count):
            self.logs.note(replace(ENTRY, **{"owner": "o", **fields}))

    def delivered(self) -> dict[str, int]:
        """Lines by key."""
        keys = [entry.key for entry in self.store.list("target").entries]
        return {key: self.store.get("target", key).read().count(b"\n") for key in keys}


def test_lines_gather_for_an_interval(store_factory: StoreFactory) -> None:
    made = Logs(store_factory, interval_s=60)
    made.note(3)
    made.logs.turn()
    made.clock.advance(59 * S)
    made.note(2)
    made.logs.turn()
    assert made.delivered() == {}
    made.clock.advance(1 * S)
    made.logs.turn()
    assert list(made.delivered().values()) == [5]
    (key,) = made.delivered()
    info = made.store.head("target", key)
    assert info.attributes.owner == "o"
    assert info.attributes.headers == {"content-type": "text/plain"}
    made.clock.advance(100 * S)
    made.logs.turn()
    assert len(made.delivered()) == 1
    made.logs.stop()


def test_days_are_objects_of_their_own(store_factory: StoreFactory) -> None:
    made = Logs(store_factory)
    made.note(1)
    made.note(2, time_ns=START_NS + 86_400 * S)
    made.logs.stop()
    assert sorted(made.delivered().values()) == [1, 2]


def test_much_is_delivered_at_once(
    store_factory: StoreFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "ACCESS_LOG_OBJECT_BYTES", 1000)
    made = Logs(store_factory, interval_s=3600)
    made.note(10)
    made.logs.turn()
    assert list(made.delivered().values()) == [10]
    made.logs.stop()


def test_a_store_that_is_full_is_tried_again(
    store_factory: StoreFactory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = Logs(store_factory, interval_s=0)
    put = made.store.put

    def full(*arguments: Any, **named: Any) -> None:
        raise StoreFullError("full")

    monkeypatch.setattr(made.store, "put", full)
    made.note(4)
    for seconds in (1, 2, 4, 8):  # for which it is left in peace then
        caplog.clear()
        made.logs.turn()
        made.clock.advance(seconds * S - 1)
        made.logs.turn()
        made.clock.advance(1)
        assert caplog.messages == [f"the access log of 'source' waits {seconds} s: full"]
    monkeypatch.setattr(made.store, "put", put)
    made.logs.turn()
    assert list(made.delivered().values()) == [4]
    made.logs.stop()


def test_patience_has_an_end_and_a_stop_has_none(
    store_factory: StoreFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Logs(store_factory, interval_s=0)
    refused = []
    put = made.store.put

    def full(*arguments: Any, **named: Any) -> None:
        refused.append(made.clock.monotonic_ns() // S)
        raise StoreFullError("full")

    monkeypatch.setattr(made.store, "put", full)
    made.note(4)
    for _ in range(2000):
        made.logs.turn()
        made.clock.advance(1 * S)
    gaps = [later - earlier for earlier, later in itertools.pairwise(refused)]
    assert gaps == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300]
    monkeypatch.setattr(made.store, "put", put)
    made.logs.stop()
    assert list(made.delivered().values()) == [4]


def refuse_to_write(monkeypatch: pytest.MonkeyPatch, *buckets: str) -> None:
    """The disk has no room for lines of these buckets."""
    add = Spool.add

    def full(spool: Spool, bucket: str, day: str, lines: bytes) -> int:
        if bucket in buckets:
            raise OSError(28, "No space left on device")
        return add(spool, bucket, day, lines)

    monkeypatch.setattr(Spool, "add", full)


def test_lines_that_no_file_takes_are_kept(
    store_factory: StoreFactory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(delivery, "ACCESS_LOG_WAITING_ENTRIES", 5)
    made = Logs(store_factory, interval_s=0)
    made.store.create_bucket("another", owner="o")
    made.store.set_bucket_setting("another", SETTING, settings.encode(Logging("target", "a/")))
    with monkeypatch.context() as patch:
        refuse_to_write(patch, "source")
        for count in (2, 1):
            made.note(count)
            made.note(1, bucket="another")
            with pytest.raises(OSError, match="No space"):
                made.logs.turn()
        assert [key[:2] for key in made.delivered()] == ["a/", "a/"]
        made.note(4)  # of which two are more than may wait
        with pytest.raises(OSError, match="No space"):
            made.logs.turn()
    assert "2 lines of access logs were dropped" in caplog.text
    made.logs.turn()
    assert sum(made.delivered().values()) == 5 + 2
    made.logs.stop()


def test_lines_that_no_file_takes_at_the_end_are_counted(
    store_factory: StoreFactory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = Logs(store_factory, interval_s=0)
    made.note(3)
    with monkeypatch.context() as patch:
        refuse_to_write(patch, "source")
        made.logs.stop()
    assert "3 lines of access logs are lost" in caplog.text


def test_others_files_that_cannot_be_had_lose_nothing_of_ones_own(
    store_factory: StoreFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Logs(store_factory, interval_s=0)
    made.note(3)

    def broken(*arguments: Any) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Spool, "adopt", broken)
    made.logs.stop()
    assert list(made.delivered().values()) == [3]


def failing_once(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str, error: Exception
) -> None:
    """The first call of a method fails, the others do not."""
    method, errors = getattr(owner, name), [error]

    def broken(*arguments: Any, **named: Any) -> Any:
        if errors:
            raise errors.pop()
        return method(*arguments, **named)

    monkeypatch.setattr(owner, name, broken)


def wait_for_lines(made: Logs, count: int) -> None:
    deadline_s = time.monotonic() + 30
    while sum(made.delivered().values()) < count:
        assert time.monotonic() < deadline_s
        time.sleep(0.002)


@pytest.mark.parametrize(
    ("owner", "name"),
    [(AccessLogs, "turn"), (AccessLogs, "_is_wanted"), (AccessLogs, "_seal_due"), (Spool, "add")],
)
@pytest.mark.parametrize("error", [ZeroDivisionError("a defect"), PermissionError(13, "no")])
def test_a_turn_that_fails_is_not_the_last(
    store_factory: StoreFactory,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    owner: type,
    name: str,
    error: Exception,
) -> None:
    monkeypatch.setattr(delivery, "ACCESS_LOG_TURN_NS", 1_000_000)
    made = Logs(store_factory, interval_s=0)
    made.logs.is_active = name != "_is_wanted"
    failing_once(monkeypatch, owner, name, error)
    with made.logs:
        made.note(2)
        wait_for_lines(made, 2)
    is_defect = isinstance(error, ZeroDivisionError)
    message = "access logs: a turn failed" if is_defect else "access logs wait: [Errno 13] no"
    (record,) = caplog.records
    assert (record.message, bool(record.exc_info)) == (message, is_defect)


def test_what_lasts_is_told_once(
    store_factory: StoreFactory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(delivery, "ACCESS_LOG_TURN_NS", 1_000_000)
    made = Logs(store_factory, interval_s=0)
    with monkeypatch.context() as patch, made.logs:
        refuse_to_write(patch, "source")
        made.note(1)
        time.sleep(0.1)
        patch.undo()
        wait_for_lines(made, 1)
    assert [record.message for record in caplog.records] == [
        "access logs wait: [Errno 28] No space left on device"
    ]


def test_a_line_that_cannot_be_made_costs_itself(
    store_factory: StoreFactory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = Logs(store_factory, interval_s=0)
    failing_once(monkeypatch, Entry, "line", ZeroDivisionError("a defect"))
    made.note(3)
    made.logs.turn()
    assert list(made.delivered().values()) == [2]
    assert "1 lines of access logs were dropped" in caplog.text
    made.logs.stop()


def test_a_stop_that_fails_lets_go_of_the_files(
    store_factory: StoreFactory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = Logs(store_factory, interval_s=0)
    made.note(1)
    failing_once(monkeypatch, AccessLogs, "_deliver", ZeroDivisionError("a defect"))
    made.logs.stop()
    assert "the last turn failed" in caplog.text
    with AccessLogs(made.store, store_factory.path()):  # finds what the other one left
        pass
    assert list(made.delivered().values()) == [1]


def test_a_stop_says_what_waits(
    store_factory: StoreFactory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = Logs(store_factory, interval_s=0)
    made.note(1)
    with monkeypatch.context() as patch:
        failing_once(patch, made.store, "put", StoreFullError("full"))
        made.logs.stop()
    size_bytes = len(replace(ENTRY, owner="o").line())
    assert f"{size_bytes} bytes of access logs wait for the next start" in caplog.text
    with AccessLogs(made.store, store_factory.path()):
        pass
    assert list(made.delivered().values()) == [1]


def test_one_folder_that_cannot_be_had_is_in_nobodys_way(tmp_path: Path) -> None:
    folder = tmp_path / FOLDER_NAME
    for name in ("first", "second"):
        left = Spool(folder, name)
        left.add("b", "2026-11-18", b"line\n")
        left.close()
    (folder / "first" / "lock").unlink()
    (folder / "first" / "lock").mkdir()  # which is no file
    mine = Spool(folder, "third")
    with pytest.raises(IsADirectoryError):
        mine.adopt(lambda: "new")
    assert contents(mine) == [("b", "new", b"line\n")]
    mine.close()


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), ZeroDivisionError("a defect")])
def test_a_file_that_cannot_be_read_is_in_nobodys_way(
    store_factory: StoreFactory,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    made = Logs(store_factory, interval_s=0)
    made.note(1)
    made.note(2, time_ns=START_NS + 86_400 * S)
    failing_once(monkeypatch, Batch, "read", error)
    made.logs.turn()
    assert list(made.delivered().values()) == [2]
    assert f"the access log of 'source' waits 1 s: {error}" in caplog.text
    made.logs.turn()
    assert len(made.delivered()) == 1
    made.clock.advance(1 * S)
    made.logs.turn()
    assert sorted(made.delivered().values()) == [1, 2]
    made.logs.stop()


def test_what_was_delivered_and_stays_is_not_delivered_every_second(
    store_factory: StoreFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Logs(store_factory, interval_s=0)
    made.store.set_versioning("target", "Enabled")
    made.note(1)
    failing_once(monkeypatch, Path, "unlink", OSError(30, "Read-only file system"))
    for _ in range(5):
        made.logs.turn()
    assert len(made.store.list_versions("target").entries) == 1
    made.clock.advance(1 * S)
    made.logs.turn()
    assert len(made.delivered()) == 1  # under the same key
    made.logs.stop()


def test_odd_bytes_are_written(store_factory: StoreFactory) -> None:
    made = Logs(store_factory, interval_s=0)
    odd = "a\ud800b\udcff"
    made.note(1, referer=f"half a pair: {odd}", user_agent=odd, uri=odd, key=odd, host=odd)
    made.note(1, version_id=odd)
    made.logs.turn()
    (key,) = made.delivered()
    first, second, _ = made.store.get("target", key).read().split(b"\n")
    assert b' a%ED%A0%80b%ED%B3%BF "a\\ud800b\\udcff" ' in first
    assert b'"half a pair: a\\ud800b\\udcff" "a\\ud800b\\udcff"' in first
    assert b" a%ED%A0%80b%ED%B3%BF objstore SigV4 " in second
    made.logs.stop()


@pytest.mark.parametrize("change", ["owner", "retention"])
@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_target_that_is_none_any_more(
    store_factory: StoreFactory,
    caplog: pytest.LogCaptureFixture,
    change: str,
    is_restarted: bool,
) -> None:
    made = Logs(store_factory, interval_s=3600)
    made.note(1)
    made.logs.turn()
    if is_restarted:  # after a kill, the files are all that tells whose lines they are
        made.logs._spool.close()
        made.logs = AccessLogs(made.store, store_factory.path())
    made.store.delete_bucket("target")
    if change == "owner":
        made.store.delete_bucket("source")
        for name in ("source", "target"):
            made.store.create_bucket(name, owner="somebody else")
        made.want(Logging("target"))
    else:
        made.store.create_bucket("target", owner="o", object_lock=True)
        made.store.set_object_lock("target", DefaultRetention("GOVERNANCE", days=1))
    made.logs.stop()
    assert made.delivered() == {}
    reason = {"owner": "is somebody else's", "retention": "has a default retention"}[change]
    assert reason in caplog.text


@pytest.mark.parametrize(
    ("source", "target", "lines"), [("", "x", 1), ("x", "", 1), ("x", "x", 1), ("x", "y", 0)]
)
def test_owners_that_are_not_known_exclude_nobody(
    store_factory: StoreFactory, source: str, target: str, lines: int
) -> None:
    made = Logs(store_factory)
    made.store.delete_bucket("target")
    made.store.create_bucket("target", owner=target)
    made.logs.note(replace(ENTRY, owner=source))
    made.logs.stop()
    assert sum(made.delivered().values()) == lines


def test_lines_of_several_owners(store_factory: StoreFactory) -> None:
    made = Logs(store_factory)
    for owner in ("o", "p", "o", "", "oo"):
        made.logs.note(replace(ENTRY, owner=owner))
    made.logs.stop()
    (key,) = made.delivered()
    text = made.store.get("target", key).read().decode()
    assert [line.partition(" ")[0] for line in text.splitlines()] == ["o", "o", "-"]


def test_a_store_that_cannot_be_asked_drops_nothing(
    store_factory: StoreFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Logs(store_factory)
    left = Spool(store_factory.path() / "run" / FOLDER_NAME, "killed")
    left.add("source", "2026-11-18", b"o line\n")
    left.close()
    failing_once(monkeypatch, made.store, "bucket_setting", StoreUnavailableError("busy"))
    made.logs.turn()
    assert made.delivered() == {}
    made.logs.stop()
    assert list(made.delivered().values()) == [1]


def test_what_waits_has_an_end(
    store_factory: StoreFactory,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(delivery, "ACCESS_LOG_WAITING_ENTRIES", 3)
    made = Logs(store_factory, interval_s=0)
    made.note(5)
    made.logs.turn()
    assert list(made.delivered().values()) == [3]
    assert "2 lines of access logs were dropped" in caplog.text
    monkeypatch.setattr(delivery, "ACCESS_LOG_WAITING_BYTES", 100)

    def full(*arguments: Any, **named: Any) -> None:
        raise StoreFullError("full")

    monkeypatch.setattr(made.store, "put", full)
    for _ in range(2):
        made.note(1)
        made.logs.turn()
        made.clock.advance(1 * S)
    assert "1 lines of access logs were dropped" in caplog.text
    monkeypatch.undo()
    made.logs.stop()
    assert sorted(made.delivered().values()) == [1, 3]


def test_a_target_that_is_gone(
    store_factory: StoreFactory, caplog: pytest.LogCaptureFixture
) -> None:
    made = Logs(store_factory, interval_s=0)
    made.note(1)
    made.store.delete_bucket("target")
    made.logs.turn()
    assert "there is no bucket 'target'" in caplog.text
    made.logs.stop()


def test_a_log_that_is_not_wanted_any_more(
    store_factory: StoreFactory, caplog: pytest.LogCaptureFixture
) -> None:
    made = Logs(store_factory, interval_s=3600)
    made.note(1)
    made.want(None)
    made.clock.advance(2 * S)
    assert made.logs.wanted("source") is None
    made.logs.stop()  # what was noted before goes where it was to go
    assert list(made.delivered().values()) == [1]
    assert "dropped" not in caplog.text
    # another process noted something before the end, and was killed
    left = Spool(store_factory.path() / "run" / FOLDER_NAME, "killed")
    left.add("source", "2026-11-18", b"line\n")
    left.close()
    with AccessLogs(made.store, store_factory.path()):
        pass
    assert "the bucket wants none any more" in caplog.text
    assert list(made.delivered().values()) == [1]


def test_a_process_finds_out_that_a_bucket_wants_a_log(
    store_factory: StoreFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "ACCESS_LOG_TURN_NS", 1_000_000)
    made = Logs(store_factory)
    (store_factory.path() / "run" / FOLDER_NAME / "wanted").unlink()
    other = AccessLogs(made.store, store_factory.path())
    assert not other.is_active
    with other:  # by what buckets say
        while not other.is_active:
            pass
    third = AccessLogs(made.store, store_factory.path())
    made.want(None)
    with third:  # by what the others left
        while not third.is_active:
            pass
