"""The record of calls: its form, what is never in it, and what becomes of its files."""

from __future__ import annotations

import gzip
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from blockdev.clock import ManualClock
from objstore import ObjectStore
from objstore.auth.keys import ANONYMOUS, ROOT_ID, Grants, Identity, root_identity
from objstore.aws.http import Call as ServiceCall
from objstore.entropy import SeededEntropy
from objstore.errors import NoSuchBucketError
from objstore.trail import ALL, MANAGEMENT, OFF, Call, Trail, recorder
from objstore.trail.parameters import parameters_of
from objstore.trail.reader import Wanted, events, who
from objstore.trail.record import event
from tests.stores import StoreFactory

S = 10**9
START_NS = 1_795_000_000 * S
CALL = Call(
    service="s3",
    name="CreateBucket",
    time_ns=START_NS,
    latency_ns=1_234_567,
    request_id="0123456789ABCDEF",
    source_ip="192.0.2.1",
    user_agent="agent",
    region="us-east-1",
    status=200,
    identity=root_identity(ROOT_ID, "root"),
    access_key="ROOTKEY",
    parameters={"bucketName": "b"},
    resources=("arn:aws:s3:::b",),
    host="h",
)


def user(name: str = "ann") -> Identity:
    arn = f"arn:aws:iam::000000000000:user/{name}"
    context = {"aws:username": name, "aws:userid": "AIDA1", "aws:principaltype": "User"}
    return Identity(ROOT_ID, name, arn=arn, grants=Grants(context=context))


def session() -> Identity:
    context = {
        "aws:userid": "AROA1:run",
        "aws:principaltype": "AssumedRole",
        "aws:principalarn": "arn:aws:iam::000000000000:role/job",
        "aws:tokenissuetime": "1795000000",
    }
    arn = "arn:aws:sts::000000000000:assumed-role/job/run"
    return Identity(ROOT_ID, "run", arn=arn, grants=Grants(context=context))


def test_an_event_has_the_fields_that_are_documented() -> None:
    made = event(CALL, bytes(16), "000000000000")
    assert made == {
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "Root",
            "principalId": "000000000000",
            "arn": "arn:aws:iam::000000000000:root",
            "accountId": "000000000000",
            "accessKeyId": "ROOTKEY",
        },
        "eventTime": "2026-11-18T11:06:40Z",
        "eventSource": "s3.amazonaws.com",
        "eventName": "CreateBucket",
        "awsRegion": "us-east-1",
        "sourceIPAddress": "192.0.2.1",
        "userAgent": "agent",
        "requestParameters": {"bucketName": "b", "Host": "h"},
        "responseElements": None,
        "additionalEventData": {
            "timeMs": 1_795_000_000_000,
            "httpStatus": 200,
            "latencyMs": 1.235,
            "bytesTransferredIn": 0,
            "bytesTransferredOut": 0,
            "SignatureVersion": "SigV4",
            "AuthenticationMethod": "AuthHeader",
        },
        "requestID": "0123456789ABCDEF",
        "eventID": "00000000-0000-4000-8000-000000000000",
        "readOnly": False,
        "resources": [{"accountId": "000000000000", "ARN": "arn:aws:s3:::b"}],
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": "000000000000",
        "eventCategory": "Management",
    }


def test_who_it_was() -> None:
    def told(identity: Identity | None) -> dict[str, Any]:
        CALL.identity = identity
        try:
            found: dict[str, Any] = event(CALL, bytes(16), "0")["userIdentity"]
            return found
        finally:
            CALL.identity = root_identity(ROOT_ID, "root")

    assert told(None) == {"type": "Unknown"}
    assert told(ANONYMOUS)["accountId"] == "anonymous"
    assert (told(user())["type"], told(user())["userName"]) == ("IAMUser", "ann")
    of_role = told(session())
    assert of_role["type"] == "AssumedRole"
    assert of_role["sessionContext"] == {
        "attributes": {"creationDate": "2026-11-18T11:06:40Z"},
        "sessionIssuer": {
            "type": "Role",
            "arn": "arn:aws:iam::000000000000:role/job",
            "accountId": "000000000000",
            "userName": "job",
        },
    }


def test_parameters_hold_no_secret() -> None:
    form = (
        b"Action=CreateUser&Version=1&UserName=ann&SecretAccessKey=s3cret&WebIdentityToken=t"
        b"&X-Amz-Signature=f00&Tags.member.1.Key=a&PolicyDocument=%7B%7D"
    )
    call = ServiceCall("POST", b"/", b"", [], "id", form)
    assert parameters_of("iam", call) == {
        "UserName": "ann",
        "SecretAccessKey": "REDACTED",
        "WebIdentityToken": "REDACTED",
        "X-Amz-Signature": "REDACTED",
        "Tags.member.1.Key": "a",
        "PolicyDocument": "{}",
    }
    document = b'{"KeyId": "k", "Plaintext": "secret", "CiphertextBlob": "x"}'
    call = ServiceCall("POST", b"/", b"", [], "id", document)
    assert parameters_of("kms", call) == {"KeyId": "k"}
    for odd in (b"[]", b"{", b"\xff"):
        assert parameters_of("kms", ServiceCall("POST", b"/", b"", [], "id", odd)) == {}
    block = ServiceCall("GET", b"/snapshots/snap-1/blocks/0", b"blockToken=t", [], "id")
    assert parameters_of("ebs", block) == {"path": "/snapshots/snap-1/blocks/0"}


class Recorded:
    """A store, its record, and time that passes when told."""

    def __init__(self, factory: StoreFactory, **options: Any) -> None:
        self.clock = ManualClock(START_NS)
        self.store: ObjectStore = factory(
            clock=self.clock, entropy=SeededEntropy(1), create_buckets=False
        )
        self.data: Path = factory.path()
        self.trail = Trail(self.store, self.data, **{"level": ALL, **options})

    def take(self, name: str = "CreateBucket", **changes: Any) -> None:
        call = Call(**{slot: getattr(CALL, slot) for slot in CALL.__slots__})
        call.name, call.time_ns = name, self.clock.now_ns()
        for each, value in changes.items():
            setattr(call, each, value)
        self.trail.take(call)

    def names(self, wanted: Wanted = Wanted()) -> list[str]:  # noqa: B008  (frozen)
        return [found["eventName"] for found in events(self.data, wanted)]

    def files(self) -> list[str]:
        found = [path for path in (self.data / "trail").glob("*/*") if path.name != "lock"]
        return sorted(path.suffix for path in found)


def test_events_are_lines_of_files_that_nobody_else_reads(store_factory: StoreFactory) -> None:
    made = Recorded(store_factory)
    assert not (made.data / "trail").exists()
    made.take("One")
    made.take("Two", identity=user(), error_code="AccessDenied", user_agent="half \ud800")
    made.trail.turn()
    assert made.files() == [".open"]
    assert made.names() == ["One", "Two"]
    for path in ((made.data / "trail"), *(made.data / "trail").rglob("*")):
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path
    made.trail.stop()
    assert made.files() == [".jsonl"]
    assert made.names() == ["One", "Two"]


@pytest.mark.parametrize(
    ("level", "of_data", "of_others"),
    [(OFF, False, False), (MANAGEMENT, False, True), (ALL, True, True)],
)
def test_levels(store_factory: StoreFactory, level: str, of_data: bool, of_others: bool) -> None:
    made = Recorded(store_factory, level=level)
    assert (made.trail.wants(True), made.trail.wants(False)) == (of_data, of_others)
    with made.trail:
        pass
    assert not (made.data / "trail").exists()


def test_files_are_sealed_by_age_and_size(
    store_factory: StoreFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Recorded(store_factory)
    made.take()
    made.trail.turn()
    made.clock.advance(299 * S)
    made.trail.turn()
    assert made.files() == [".open"]
    made.clock.advance(1 * S)
    made.trail.turn()
    assert made.files() == [".jsonl"]
    monkeypatch.setattr(recorder, "TRAIL_FILE_BYTES", 2000)
    for _ in range(4):
        made.take()
        made.trail.turn()
    assert made.files() == [".jsonl", ".jsonl", ".open"]
    monkeypatch.setattr(recorder, "TRAIL_TOTAL_BYTES", 4000)
    for _ in range(12):
        made.take()
        made.trail.turn()
        assert made.files().count(".jsonl") <= 2
    assert made.files().count(".jsonl") == 1  # the newest of them
    made.trail.stop()


def test_what_is_too_much_is_dropped_and_said(
    store_factory: StoreFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "TRAIL_WAITING", 3)
    made = Recorded(store_factory)
    for _ in range(5):
        made.take()
    made.trail.turn()
    found = list(events(made.data, Wanted()))
    assert [each["eventName"] for each in found] == ["CreateBucket"] * 3 + ["EventsDropped"]
    assert found[-1]["additionalEventData"]["count"] == 2
    made.trail.stop()


def test_a_disk_that_is_full_loses_nothing_that_may_wait(
    store_factory: StoreFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Recorded(store_factory)
    made.take("One")
    made.trail.turn()

    def full(fd: int, data: bytes) -> None:
        os.write(fd, data[:10])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(recorder, "write_all", full)
        made.take("Two")
        with pytest.raises(OSError, match="No space"):
            made.trail.turn()
        patch.setattr(recorder, "TRAIL_WAITING", 2)
        made.take("Three")
        made.take("Four")
        with pytest.raises(OSError, match="No space"):
            made.trail.turn()
    made.trail.turn()
    assert made.names() == ["One", "Three", "Four", "EventsDropped"]
    made.trail.stop()


def test_events_are_delivered_once_and_again_after_a_kill(store_factory: StoreFactory) -> None:
    made = Recorded(store_factory, bucket="records", prefix="p")
    made.store.create_bucket("records", owner=ROOT_ID)
    made.take("One")
    made.trail.turn(all_of_it=True)
    assert made.files() == [".sent"]
    (entry,) = made.store.list("records").entries
    assert entry.key.startswith(
        "p/AWSLogs/000000000000/CloudTrail/us-east-1/2026/11/18/"
        "000000000000_CloudTrail_us-east-1_20261118T1106Z_"
    )
    assert entry.key.endswith(".json.gz")
    document = json.loads(gzip.decompress(made.store.get("records", entry.key).read()))
    assert [record["eventName"] for record in document["Records"]] == ["One"]
    # killed between the object and the name that says so
    (sent,) = (made.data / "trail").glob("*/*.sent")
    sent.rename(sent.with_suffix(".jsonl"))
    made.trail.turn()
    assert len(made.store.list("records").entries) == 1
    # killed with a file open, in the middle of a line
    made.take("Two")
    made.trail.turn()
    (left,) = (made.data / "trail").glob("*/*.open")
    left.write_bytes(left.read_bytes() + b'{"half')
    assert made.trail._lock is not None
    made.trail._lock.close()  # as a kill does
    other = Trail(made.store, made.data, level=ALL, bucket="records", prefix="p")
    other.turn()
    assert len(made.store.list("records").entries) == 2
    assert made.names() == ["One", "Two"]
    other.stop()


def test_a_bucket_that_is_not_there_is_waited_for(store_factory: StoreFactory) -> None:
    made = Recorded(store_factory, bucket="records")
    made.take("One")
    with pytest.raises(NoSuchBucketError):
        made.trail.turn(all_of_it=True)
    made.store.create_bucket("records", owner=ROOT_ID)
    made.trail.turn()
    assert len(made.store.list("records").entries) == 1
    made.trail.stop()


def test_a_turn_that_fails_is_not_the_last(
    store_factory: StoreFactory,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = Recorded(store_factory)
    made.take("One")
    with monkeypatch.context() as patch:
        patch.setattr(recorder, "event", lambda *_: 1 // 0)
        made.trail._try(all_of_it=False)
    assert "a turn failed" in caplog.text
    made.take("Two")
    made.trail.stop()
    assert made.names() == ["Two"]


def test_events_are_found(store_factory: StoreFactory) -> None:
    made = Recorded(store_factory)
    made.take("CreateBucket")
    made.clock.advance(60 * S)
    made.take(
        "PutObject", identity=user(), error_code="AccessDenied", parameters={"bucketName": "c"}
    )
    made.take("CreateUser", service="iam", identity=session())
    made.trail.turn()
    for wanted, names in (
        (Wanted(since="2026-11-18T11:07:40Z"), ["PutObject", "CreateUser"]),
        (Wanted(user="ann"), ["PutObject"]),
        (Wanted(user="root"), ["CreateBucket"]),
        (Wanted(user="job/run"), ["CreateUser"]),
        (Wanted(event="CreateUser"), ["CreateUser"]),
        (Wanted(source="s3"), ["CreateBucket", "PutObject"]),
        (Wanted(bucket="c"), ["PutObject"]),
        (Wanted(only_errors=True), ["PutObject"]),
        (Wanted(user="ann", event="CreateUser"), []),
    ):
        assert made.names(wanted) == names, wanted
    assert [who(found) for found in events(made.data, Wanted())] == ["root", "ann", "job/run"]
    made.trail.stop()
