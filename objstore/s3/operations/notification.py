"""What a bucket tells of itself, and whom: the notification configuration of S3's API.

Destinations are the server's: a bucket names them by ARN, ``arn:objstore:sqs::name:kind``,
and in place of ``sqs`` stands ``sns`` for a topic and ``lambda`` for a function, which are
the same destination under another name.  See docs/events.md.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from typing import Final
from xml.etree.ElementTree import Element

from objstore.config import MAX_NOTIFICATION_RULES
from objstore.engine import notifications
from objstore.engine.notifications import BRIDGE, NOTIFICATION, Notifications, Rule, covers
from objstore.errors import NoSuchSettingError
from objstore.s3 import xml
from objstore.s3.errors import S3Error, invalid_argument
from objstore.s3.http import Context, Request, Response

SKIP_VALIDATION: Final = b"x-amz-skip-destination-validation"

_ROOT = "NotificationConfiguration"
_BRIDGE = "EventBridgeConfiguration"
# The element of a configuration: its kind here, the child that has the ARN, and the ARN's service.
_KINDS = {
    "TopicConfiguration": ("topic", "Topic", "sns"),
    "QueueConfiguration": ("queue", "Queue", "sqs"),
    "CloudFunctionConfiguration": ("function", "CloudFunction", "lambda"),
}
_ELEMENTS = {kind: (name, child) for name, (kind, child, _service) in _KINDS.items()}
_NOUNS = {"topic": "topic", "queue": "queue", "function": "cloud function"}
_MAX_ID_CHARS = 255
_MAX_VALUE_BYTES = 1024
_SIDES = ("prefix", "suffix")

# Of botocore's model of S3, shape `Event`.
EVENTS: Final = frozenset(
    f"s3:{name}"
    for name in (
        "ReducedRedundancyLostObject",
        *(f"ObjectCreated:{how}" for how in ("*", "Put", "Post", "Copy")),
        "ObjectCreated:CompleteMultipartUpload",
        *(f"ObjectRemoved:{how}" for how in ("*", "Delete", "DeleteMarkerCreated")),
        *(f"ObjectRestore:{how}" for how in ("*", "Post", "Completed", "Delete")),
        "Replication:*",
        "Replication:OperationFailedReplication",
        "Replication:OperationNotTracked",
        "Replication:OperationMissedThreshold",
        "Replication:OperationReplicatedAfterThreshold",
        "LifecycleTransition",
        "IntelligentTiering",
        "ObjectAcl:Put",
        *(f"LifecycleExpiration:{how}" for how in ("*", "Delete", "DeleteMarkerCreated")),
        *(f"ObjectTagging:{how}" for how in ("*", "Put", "Delete")),
        *(f"ObjectAnnotation:{how}" for how in ("*", "Put", "Delete")),
        "ObjectRetention:Put",
    )
)


def get_notification(ctx: Context, request: Request, body: bytes) -> Response:
    """GetBucketNotificationConfiguration: empty where there is none."""
    try:
        setting = ctx.store.bucket_setting(request.bucket, NOTIFICATION)
    except NoSuchSettingError:
        return xml.response(xml.document(_ROOT, ""))
    found = notifications.decode(setting)
    bridge = f"<{_BRIDGE}/>" if found.bridge else ""
    return xml.response(xml.document(_ROOT, *map(_rule_xml, found.rules), bridge))


def put_notification(ctx: Context, request: Request, body: bytes) -> Response:
    """PutBucketNotificationConfiguration: replaces what there was; an empty one ends it."""
    ctx.store.head_bucket(request.bucket)
    tree = xml.parse(body, _ROOT)
    if tree is None:
        raise S3Error("MalformedXML")
    found = _notifications(tree)
    if not _skips_validation(request):
        _check_destinations(ctx, found)
    is_empty = not found.rules and not found.bridge
    value = None if is_empty else notifications.encode(found)
    ctx.store.set_bucket_setting(request.bucket, NOTIFICATION, value)
    return Response(200, [(b"content-length", b"0")])


def _skips_validation(request: Request) -> bool:
    value = request.header(SKIP_VALIDATION)
    if value is not None and value.lower() not in ("true", "false"):
        raise invalid_argument("", SKIP_VALIDATION.decode("ascii"), value)
    return value is not None and value.lower() == "true"


def _rule_xml(rule: Rule) -> str:
    name, child = _ELEMENTS[rule.kind]
    sides = [
        f"<FilterRule>{xml.element('Name', side.capitalize())}{xml.element('Value', value)}"
        "</FilterRule>"
        for side, value in zip(_SIDES, (rule.prefix, rule.suffix), strict=True)
        if value is not None
    ]
    return "".join(
        (
            f"<{name}>",
            xml.element("Id", rule.id),
            xml.element(child, rule.arn),
            *(xml.element("Event", event) for event in rule.events),
            f"<Filter><S3Key>{''.join(sides)}</S3Key></Filter>" if sides else "",
            f"</{name}>",
        )
    )


def _notifications(tree: Element) -> Notifications:
    """The configuration of a document, all but whether its destinations exist."""
    nodes = [node for node in tree if node.tag in _KINDS]
    bridges = [node for node in tree if node.tag == _BRIDGE]
    if len(nodes) + len(bridges) < len(tree) or len(bridges) > 1:
        raise S3Error("MalformedXML")
    if len(nodes) > MAX_NOTIFICATION_RULES:
        raise S3Error("TooManyConfigurations")
    rules = [_rule(node, number) for number, node in enumerate(nodes)]
    ids = [rule.id for rule in rules]
    if len(set(ids)) < len(ids):
        raise invalid_argument(
            "Same ID used for multiple configurations. IDs must be unique", "Id", ""
        )
    for one, other in itertools.combinations(rules, 2):
        _check_apart(one, other)
    return Notifications(rules, bool(bridges))


def _rule(node: Element, number: int) -> Rule:
    kind, child, service = _KINDS[node.tag]
    tags = [each.tag for each in node if each.tag != "Event"]
    if not set(tags) <= {"Id", child, "Filter"} or len(set(tags)) < len(tags):
        raise S3Error("MalformedXML")
    arn = (xml.child_text(node, child) or "").strip()
    events = [(each.text or "").strip() for each in node.findall("Event")]
    if not arn or not events:
        raise S3Error("MalformedXML")
    for event in events:
        if event not in EVENTS:
            raise invalid_argument(
                "A specified event is not supported for notifications.", "Event", event
            )
    if not arn.startswith(f"arn:objstore:{service}:") or not notifications.destination_of(arn):
        raise invalid_argument("The ARN is not well formed", node.tag, arn)
    prefix, suffix = _filter(node.find("Filter"))
    rule_id = xml.child_text(node, "Id") or _made_id(node, number)
    if len(rule_id) > _MAX_ID_CHARS:
        raise invalid_argument("The Id is longer than 255 characters", "Id", rule_id)
    return Rule(kind, rule_id, arn, events, prefix, suffix)


def _made_id(node: Element, number: int) -> str:
    """An id for a configuration without one: the same for the same document."""
    texts = [str(number), *(each.text or "" for each in node.iter())]
    return hashlib.blake2b("\0".join(texts).encode(), digest_size=16).hexdigest()


def _filter(node: Element | None) -> tuple[str | None, str | None]:
    """The prefix and the suffix of a filter."""
    if node is None:
        return None, None
    if not xml.has_only(node, ("S3Key",)):
        raise S3Error("MalformedXML")
    found: dict[str, str] = {}
    for rule in [each for key in node for each in key]:
        if rule.tag != "FilterRule" or not xml.has_only(rule, ("Name", "Value")):
            raise S3Error("MalformedXML")
        side = (xml.child_text(rule, "Name") or "").strip().lower()
        if side not in _SIDES:
            raise invalid_argument(
                "filter rule name must be either prefix or suffix", "FilterRule.Name", side
            )
        if side in found:
            raise invalid_argument(
                f"Cannot specify more than one {side} rule in a filter.", "FilterRule.Name", side
            )
        value = xml.child_text(rule, "Value") or ""
        if len(value.encode("utf-8", "surrogatepass")) > _MAX_VALUE_BYTES:
            raise invalid_argument(
                "Size of filter rule value cannot exceed 1024 bytes in UTF-8 representation",
                "FilterRule.Value",
                value,
            )
        found[side] = value
    return found.get("prefix"), found.get("suffix")


def _check_apart(one: Rule, other: Rule) -> None:
    """Refuse two configurations of which one event of one key could meet both.

    Raises:
        S3Error: InvalidArgument.
    """
    if not _share_event(one.events, other.events):
        return
    texts = [(each.prefix or "", each.suffix or "") for each in (one, other)]
    (prefix, suffix), (other_prefix, other_suffix) = texts
    starts_alike = prefix.startswith(other_prefix) or other_prefix.startswith(prefix)
    ends_alike = suffix.endswith(other_suffix) or other_suffix.endswith(suffix)
    if not (starts_alike and ends_alike):
        return
    message = (
        "An object key name filtering rule defined with overlapping prefixes, suffixes, or "
        "overlapping combinations of prefixes and suffixes for the same event types."
    )
    if texts == [("", "")] * 2:
        message = (
            "Configurations overlap. Configurations on the same bucket cannot share a common "
            "event type."
        )
    raise invalid_argument(message, "Id", f"{one.id}, {other.id}")


def _share_event(one: Sequence[str], other: Sequence[str]) -> bool:
    return any(covers(a, b) or covers(b, a) for a in one for b in other)


def _check_destinations(ctx: Context, found: Notifications) -> None:
    """Refuse what this server does not deliver to.

    Raises:
        S3Error: InvalidArgument, naming the first that is missing.
    """
    message = "Unable to validate the following destination configurations"
    for rule in found.rules:
        if notifications.destination_of(rule.arn) not in ctx.destinations:
            noun = _NOUNS[rule.kind]
            raise invalid_argument(message, rule.arn, f"The destination {noun} does not exist")
    if found.bridge and BRIDGE not in ctx.destinations:
        reason = f"The server has no destination named {BRIDGE}"
        raise invalid_argument(message, _BRIDGE, reason)
