"""An event of the record, in CloudTrail's form.

https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from objstore.auth.keys import Identity

OFF: Final = "off"
MANAGEMENT: Final = "management"
ALL: Final = "all"
LEVELS: Final = (MANAGEMENT, ALL, OFF)
"""What is recorded: nothing; what changes or shows settings and identities; reads and writes of
objects and of blocks as well."""

VERSION: Final = "1.11"
_NS_PER_S: Final = 1_000_000_000
_NS_PER_MS: Final = 1_000_000
_MOST_TEXT_CHARS: Final = 1024
_READS: Final = ("Get", "Head", "List", "Describe", "Simulate")


@dataclass(slots=True)
class Call:
    """A call that has been answered.  Times are since the epoch, `latency_ns` a duration.

    `identity`: None where nobody was known.  `access_key`: that it was signed with.
    `parameters`: without secrets.  `resources`: ARNs.  `sent_bytes`, `received_bytes`: of bodies.
    """

    service: str
    name: str
    time_ns: int
    latency_ns: int
    request_id: str
    source_ip: str
    user_agent: str
    region: str
    status: int
    identity: Identity | None = None
    access_key: str = ""
    error_code: str = ""
    error_message: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    resources: tuple[str, ...] = ()
    is_data: bool = False
    sent_bytes: int = 0
    received_bytes: int = 0
    authentication: str = ""
    host: str = ""


def event(call: Call, event_id: bytes, account: str) -> dict[str, Any]:
    """The record of a call.

    Args:
        event_id: sixteen bytes that nobody else has.
        account: whose the store is.
    """
    moment = datetime.fromtimestamp(call.time_ns // _NS_PER_S, UTC)
    made: dict[str, Any] = {
        "eventVersion": VERSION,
        "userIdentity": _identity(call),
        "eventTime": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
        "eventSource": f"{call.service}.amazonaws.com",
        "eventName": call.name,
        "awsRegion": call.region,
        "sourceIPAddress": call.source_ip,
        "userAgent": call.user_agent[:_MOST_TEXT_CHARS],
    }
    if call.error_code:
        made["errorCode"] = call.error_code
        if call.error_message:
            made["errorMessage"] = call.error_message[:_MOST_TEXT_CHARS]
    more: dict[str, Any] = {
        "timeMs": call.time_ns // _NS_PER_MS,  # what order events of a second came in
        "httpStatus": call.status,
        "latencyMs": round(call.latency_ns / _NS_PER_MS, 3),
        "bytesTransferredIn": call.received_bytes,
        "bytesTransferredOut": call.sent_bytes,
    }
    if call.identity is not None and not call.identity.is_anonymous:
        more["SignatureVersion"] = "SigV4"
        more["AuthenticationMethod"] = call.authentication or "AuthHeader"
    parameters = {**call.parameters, "Host": call.host} if call.host else dict(call.parameters)
    made |= {
        "requestParameters": parameters or None,
        "responseElements": None,
        "additionalEventData": more,
        "requestID": call.request_id,
        "eventID": str(uuid.UUID(bytes=event_id, version=4)),
        "readOnly": call.name.startswith(_READS),
        "resources": [{"accountId": account, "ARN": arn} for arn in call.resources],
        "eventType": "AwsApiCall",
        "managementEvent": not call.is_data,
        "recipientAccountId": account,
        "eventCategory": "Data" if call.is_data else "Management",
    }
    return made


def _identity(call: Call) -> dict[str, Any]:
    identity = call.identity
    if identity is None:
        return {"type": "Unknown"}
    if identity.is_anonymous:
        return {"type": "AWSAccount", "principalId": "", "accountId": "anonymous"}
    context = identity.grants.context
    found: dict[str, Any] = {
        "type": "Root" if identity.is_root else "IAMUser",
        "principalId": str(context.get("aws:userid", identity.account)),
        "arn": identity.arn,
        "accountId": identity.account,
        "accessKeyId": call.access_key,
    }
    if "aws:username" in context:
        found["userName"] = context["aws:username"]
    kind = context.get("aws:principaltype")
    if kind in ("AssumedRole", "FederatedUser"):
        found["type"] = kind
    issued = context.get("aws:tokenissuetime")
    if isinstance(issued, str):
        moment = datetime.fromtimestamp(int(issued), UTC)
        session: dict[str, Any] = {"attributes": {"creationDate": f"{moment:%Y-%m-%dT%H:%M:%SZ}"}}
        if kind == "AssumedRole":
            role = str(context["aws:principalarn"])
            session["sessionIssuer"] = {
                "type": "Role",
                "arn": role,
                "accountId": identity.account,
                "userName": role.rpartition("/")[2],
            }
        found["sessionContext"] = session
    return found
