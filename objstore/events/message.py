"""Events as S3 tells them.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote_plus

from objstore.engine.outbox import OutboxEvent
from objstore.engine.telling import TEST
from objstore.index.schema import EventBody

HOST_ID: Final = "objstore"
_VERSION: Final = "2.1"
_SCHEMA: Final = "1.0"

# What EventBridge calls them, and the reason that it gives.
_DETAILS: Final = {
    "ObjectCreated:Put": ("Object Created", "PutObject"),
    "ObjectCreated:Post": ("Object Created", "POST Object"),
    "ObjectCreated:Copy": ("Object Created", "CopyObject"),
    "ObjectCreated:CompleteMultipartUpload": ("Object Created", "CompleteMultipartUpload"),
    "ObjectRemoved:Delete": ("Object Deleted", "DeleteObject"),
    "ObjectRemoved:DeleteMarkerCreated": ("Object Deleted", "DeleteObject"),
    "LifecycleExpiration:Delete": ("Object Deleted", "Lifecycle Expiration"),
    "LifecycleExpiration:DeleteMarkerCreated": ("Object Deleted", "Lifecycle Expiration"),
    "ObjectRestore:Post": ("Object Restore Initiated", ""),
    "ObjectRestore:Completed": ("Object Restore Completed", ""),
    "ObjectRestore:Delete": ("Object Restore Expired", ""),
    "LifecycleTransition": ("Object Storage Class Changed", ""),
    "ObjectTagging:Put": ("Object Tags Added", ""),
    "ObjectTagging:Delete": ("Object Tags Deleted", ""),
    "ObjectAcl:Put": ("Object ACL Updated", ""),
}
_MARKERS: Final = ("ObjectRemoved:DeleteMarkerCreated", "LifecycleExpiration:DeleteMarkerCreated")


def is_test(event: OutboxEvent) -> bool:
    """Whether it is the one that a configuration sends: a message of its own."""
    return event.body.name == TEST


def s3_message(events: Sequence[OutboxEvent]) -> bytes:
    """The JSON of some events, or of one test event alone, on one line."""
    if len(events) == 1 and is_test(events[0]):
        return _encoded(_test(events[0].body))
    return _encoded({"Records": [_record(event.body) for event in events]})


def bridge_message(events: Sequence[OutboxEvent]) -> bytes:
    """As `s3_message`, in the form of EventBridge: ``{"Events": [...]}``."""
    return _encoded({"Events": [_bridged(event) for event in events]})


def _encoded(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


def _time(time_ms: int, *, with_ms: bool = True) -> str:
    moment = datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{moment}.{time_ms % 1000:03}Z" if with_ms else f"{moment}Z"


def _test(body: EventBody) -> dict[str, Any]:
    return {
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": _time(body.time_ms),
        "Bucket": body.bucket,
        "RequestId": body.request_id,
        "HostId": HOST_ID,
    }


def sequencer(body: EventBody) -> str:
    """Of two events of one key, the later has the greater text."""
    return f"{body.sequencer:018X}"


def _record(body: EventBody) -> dict[str, Any]:
    told: dict[str, Any] = {"key": quote_plus(body.key, safe="/")}
    if body.size_bytes >= 0:
        told |= {"size": body.size_bytes, "eTag": body.etag}
    if body.version_id:
        told["versionId"] = body.version_id
    told["sequencer"] = sequencer(body)
    return {
        "eventVersion": _VERSION,
        "eventSource": "aws:s3",
        "awsRegion": body.region,
        "eventTime": _time(body.time_ms),
        "eventName": body.name,
        "userIdentity": {"principalId": body.principal},
        "requestParameters": {"sourceIPAddress": body.source_ip},
        "responseElements": {"x-amz-request-id": body.request_id, "x-amz-id-2": HOST_ID},
        "s3": {
            "s3SchemaVersion": _SCHEMA,
            "configurationId": body.rule_id,
            "bucket": {
                "name": body.bucket,
                "ownerIdentity": {"principalId": body.owner},
                "arn": f"arn:aws:s3:::{body.bucket}",
            },
            "object": told,
        },
    }


def _bridged(event: OutboxEvent) -> dict[str, Any]:
    """An event of EventBridge; its id is the same each time that it is told."""
    body = event.body
    kind, reason = _DETAILS.get(body.name, (body.name, ""))
    told: dict[str, Any] = {"key": body.key}
    if body.size_bytes >= 0:
        told |= {"size": body.size_bytes, "etag": body.etag}
    if body.version_id:
        told["version-id"] = body.version_id
    told["sequencer"] = sequencer(body)
    detail: dict[str, Any] = {
        "version": "0",
        "bucket": {"name": body.bucket},
        "object": told,
        "request-id": body.request_id,
        "requester": body.principal,
        "source-ip-address": body.source_ip,
    }
    if reason:
        detail["reason"] = reason
    if kind == "Object Deleted":
        is_marker = body.name in _MARKERS
        detail["deletion-type"] = "Delete Marker Created" if is_marker else "Permanently Deleted"
    return {
        "version": "0",
        "id": f"{event.seq:032x}",
        "detail-type": kind,
        "source": "aws.s3",
        "account": "",
        "time": _time(body.time_ms, with_ms=False),
        "region": body.region,
        "resources": [f"arn:aws:s3:::{body.bucket}"],
        "detail": detail,
    }
