"""Whom a bucket tells of itself: the configuration as it is put, shown and refused."""

from __future__ import annotations

import pytest

from tests.s3.harness import S3, Reply, backend, md5_header

__all__ = ["backend"]

QUEUE, TOPIC, FUNCTION = "QueueConfiguration", "TopicConfiguration", "CloudFunctionConfiguration"
SERVICES = {QUEUE: ("Queue", "sqs"), TOPIC: ("Topic", "sns"), FUNCTION: ("CloudFunction", "lambda")}
CREATED, REMOVED = "s3:ObjectCreated:*", "s3:ObjectRemoved:*"


@pytest.fixture
def s3() -> S3:
    server = S3()
    server.ctx.destinations = frozenset(("hook:webhook", "log:file", "eventbridge"))
    server("PUT", "/bucket")
    return server


def side(name: str, value: str) -> str:
    return f"<FilterRule><Name>{name}</Name><Value>{value}</Value></FilterRule>"


def told(*events: str, kind: str = QUEUE, name: str = "hook:webhook", rest: str = "") -> str:
    child, service = SERVICES[kind]
    named = "".join(f"<Event>{event}</Event>" for event in events)
    arn = f"arn:objstore:{service}::{name}"
    return f"<{kind}><{child}>{arn}</{child}>{named}{rest}</{kind}>"


def filtered(*sides: str) -> str:
    return f"<Filter><S3Key>{''.join(sides)}</S3Key></Filter>"


def put(s3: S3, *inner: str, skip: str = "") -> Reply:
    body = f"<NotificationConfiguration>{''.join(inner)}</NotificationConfiguration>".encode()
    headers = {"content-md5": md5_header(body)}
    if skip:
        headers["x-amz-skip-destination-validation"] = skip
    return s3("PUT", "/bucket", body, query="notification", headers=headers)


def get(s3: S3) -> Reply:
    return s3("GET", "/bucket", query="notification")


def test_a_new_bucket_tells_nobody(s3: S3) -> None:
    reply = get(s3)
    assert (reply.status, reply.xml.tag, len(reply.xml)) == (200, "NotificationConfiguration", 0)


def test_what_was_put_is_shown(s3: S3) -> None:
    sides = filtered(side("prefix", "in/"), side("Suffix", ".jpg"))
    reply = put(
        s3,
        told(CREATED, "s3:ObjectTagging:Put", rest=f"<Id>mine</Id>{sides}"),
        told(REMOVED, kind=TOPIC, name="log:file"),
        told("s3:LifecycleTransition", kind=FUNCTION),
        "<EventBridgeConfiguration/>",
    )
    assert (reply.status, reply.body) == (200, b"")
    shown = get(s3)
    assert shown.text(f"{QUEUE}/Id") == "mine"
    assert shown.text(f"{QUEUE}/Queue") == "arn:objstore:sqs::hook:webhook"
    assert shown.texts(f"{QUEUE}/Event") == [CREATED, "s3:ObjectTagging:Put"]
    rules = f"{QUEUE}/Filter/S3Key/FilterRule"
    assert shown.texts(f"{rules}/Name") == ["Prefix", "Suffix"]
    assert shown.texts(f"{rules}/Value") == ["in/", ".jpg"]
    assert shown.text(f"{TOPIC}/Topic") == "arn:objstore:sns::log:file"
    assert shown.text(f"{TOPIC}/Filter") is None
    assert shown.text(f"{FUNCTION}/CloudFunction") == "arn:objstore:lambda::hook:webhook"
    assert shown.text("EventBridgeConfiguration") == ""
    made = [shown.text(f"{kind}/Id") for kind in (TOPIC, FUNCTION)]
    assert all(made)
    assert made[0] != made[1]


def test_an_empty_one_ends_it(s3: S3) -> None:
    assert put(s3, told(CREATED)).status == 200
    assert put(s3).status == 200
    assert len(get(s3).xml) == 0


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        (told("s3:ObjectRenamed"), "A specified event is not supported for notifications."),
        (told(CREATED, name="nobody:webhook"), "Unable to validate the following destination"),
        (told(CREATED, name="hook"), "The ARN is not well formed"),
        (told(CREATED, name="n" * 120 + ":webhook"), "The ARN is not well formed"),
        (told(CREATED, rest=filtered(side("infix", "x"))), "must be either prefix or suffix"),
        (told(CREATED, rest=filtered(side("prefix", "x") * 2)), "more than one prefix rule"),
        (told(CREATED, rest=filtered(side("suffix", "é" * 513))), "cannot exceed 1024 bytes"),
        (told(CREATED, rest="<Id>a</Id>") + told(REMOVED, rest="<Id>a</Id>"), "Same ID used"),
        (told(CREATED) + told("s3:ObjectCreated:Put", kind=TOPIC), "Configurations overlap."),
        (told(CREATED) + told(CREATED, rest=filtered(side("prefix", "a"))), "filtering rule"),
    ],
)
def test_what_is_refused_leaves_the_old(s3: S3, inner: str, message: str) -> None:
    put(s3, told(REMOVED, rest="<Id>old</Id>"))
    reply = put(s3, inner)
    assert (reply.status, reply.code) == (400, "InvalidArgument")
    assert message in (reply.text("Message") or "")
    assert get(s3).texts(f"{QUEUE}/Id") == ["old"]


@pytest.mark.parametrize(
    ("one", "other", "is_taken"),
    [
        (("prefix", "a/"), ("prefix", "b/"), True),
        (("prefix", "a/"), ("prefix", "a/b"), False),
        (("suffix", ".jpg"), ("suffix", ".png"), True),
        (("suffix", "g"), ("suffix", ".png"), False),
        (("prefix", "a/"), ("suffix", ".png"), False),
    ],
)
def test_filters_of_one_event_must_not_overlap(
    s3: S3, one: tuple[str, str], other: tuple[str, str], is_taken: bool
) -> None:
    rules = [told(CREATED, rest=filtered(side(*each))) for each in (one, other)]
    assert put(s3, *rules).status == (200 if is_taken else 400)
    assert put(s3, rules[0], told(REMOVED, rest=filtered(side(*other)))).status == 200


def test_a_missing_destination_is_named(s3: S3) -> None:
    reply = put(s3, told(CREATED, kind=TOPIC, name="nobody:file"))
    assert reply.text("ArgumentName") == "arn:objstore:sns::nobody:file"
    assert reply.text("ArgumentValue") == "The destination topic does not exist"
    assert put(s3, told(CREATED, kind=TOPIC, name="nobody:file"), skip="true").status == 200
    assert put(s3, told(CREATED, kind=TOPIC, name="nobody:file"), skip="false").status == 400


def test_the_bridge_needs_a_destination(s3: S3) -> None:
    s3.ctx.destinations = frozenset(("hook:webhook",))
    reply = put(s3, "<EventBridgeConfiguration/>")
    assert (reply.status, reply.code) == (400, "InvalidArgument")
    assert put(s3, told(CREATED)).status == 200


def test_a_hundred_at_most(s3: S3) -> None:
    rules = [told(CREATED, rest=filtered(side("prefix", f"{n:03}/"))) for n in range(101)]
    assert put(s3, *rules).code == "TooManyConfigurations"
    assert put(s3, *rules[:100]).status == 200
    assert len(get(s3).texts(QUEUE)) == 100
