"""Snapshots written block by block: StartSnapshot, PutSnapshotBlock, CompleteSnapshot."""

from __future__ import annotations

import base64
import hmac
import json
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from blockdev.model import SNAPSHOT_BLOCK_BYTES, Snapshot
from objstore.aws.http import Reply
from objstore.ebs.errors import invalid
from objstore.ebs.operation import Job

MAX_SIZE_GIB: Final = 65_536
TIMEOUT_MINUTES: Final = range(10, 4_321)
DEFAULT_TIMEOUT_MINUTES: Final = 60
MAX_DESCRIPTION_CHARS: Final = 255
MAX_CLIENT_TOKEN_CHARS: Final = 255
MAX_TAGS: Final = 50
MAX_TAG_KEY_CHARS: Final = 127
MAX_TAG_VALUE_CHARS: Final = 255
_KEY_ARN: Final = re.compile(r"arn:aws[a-z-]*:kms:.*:[0-9]{12}:key/.*")
_MEMBERS: Final = frozenset(
    (
        *("VolumeSize", "ParentSnapshotId", "Tags", "Description", "ClientToken"),
        *("Encrypted", "KmsKeyArn", "Timeout"),
    )
)


def json_reply(status: int, document: Mapping[str, Any]) -> Reply:
    """A document without its absent members."""
    present = {name: value for name, value in document.items() if value is not None}
    body = json.dumps(present, separators=(",", ":")).encode()
    return Reply(status, body, [(b"content-type", b"application/json")])


def start_snapshot(job: Job) -> Reply:
    """StartSnapshot."""
    given = job.request.json()
    unknown = sorted(given.keys() - _MEMBERS)
    if unknown:
        raise invalid(f"{unknown[0][:64]} is not a member of this request.")
    size_gib = _integer(given, "VolumeSize")
    if size_gib is None or not 1 <= size_gib <= MAX_SIZE_GIB:
        raise invalid(f"VolumeSize must be from 1 to {MAX_SIZE_GIB} GiB.", "INVALID_VOLUME_SIZE")
    timeout_minutes = _integer(given, "Timeout")
    if timeout_minutes is not None and timeout_minutes not in TIMEOUT_MINUTES:
        raise invalid("Timeout must be from 10 to 4320 minutes.")
    parent = _text(given, "ParentSnapshotId")
    encrypted = given.get("Encrypted")
    if encrypted is not None and not isinstance(encrypted, bool):
        raise invalid("Encrypted must be true or false.")
    if parent:
        job.request.snapshot_id(parent, "ParentSnapshotId")
        if encrypted is not None:
            raise invalid("ParentSnapshotId and Encrypted cannot be given together.")
    key_arn = _text(given, "KmsKeyArn", 2048)
    if key_arn and not _KEY_ARN.fullmatch(key_arn):
        raise invalid("KmsKeyArn is not the ARN of a key.", "INVALID_CUSTOMER_KEY")
    snapshot = job.region.start_snapshot(
        volume_size_gib=size_gib,
        parent_snapshot_id=parent,
        description=_text(given, "Description", MAX_DESCRIPTION_CHARS),
        tags=_tags(given.get("Tags")),
        client_token=_text(given, "ClientToken", MAX_CLIENT_TOKEN_CHARS),
        timeout_minutes=timeout_minutes or DEFAULT_TIMEOUT_MINUTES,
        encrypted=bool(encrypted),
        kms_key_id=key_arn,
    )
    return json_reply(201, _started(job, snapshot))


def _started(job: Job, snapshot: Snapshot) -> dict[str, Any]:
    tags = [{"Key": key, "Value": value} for key, value in sorted(snapshot.tags.items())]
    return {
        "Description": snapshot.description or None,
        "SnapshotId": snapshot.snapshot_id,
        "OwnerId": snapshot.owner_id,
        "Status": snapshot.state,
        "StartTime": snapshot.started_ns // 1_000_000 / 1000,
        "VolumeSize": snapshot.volume_size_gib,
        "BlockSize": SNAPSHOT_BLOCK_BYTES,
        "Tags": tags or None,
        "ParentSnapshotId": snapshot.parent_id or None,
        "KmsKeyArn": _key_arn(job, snapshot.kms_key_id),
    }


def _key_arn(job: Job, key: str) -> str | None:
    """A key's name as the ARN that the model wants; None for no key."""
    if not key or key.startswith("arn:"):
        return key or None
    name = key.removeprefix("alias/")
    return f"arn:aws:kms:{job.region.name}:{job.region.account_id}:key/{name}"


def _integer(given: Mapping[str, Any], name: str) -> int | None:
    value = given.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise invalid(f"{name} must be an integer.")
    return value


def _text(given: Mapping[str, Any], name: str, most: int = 64) -> str:
    value = given.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or not 1 <= len(value) <= most:
        raise invalid(f"{name} must be text of 1 to {most} characters.")
    _check_unicode(value, name)
    return value


def _check_unicode(text: str, name: str) -> None:
    # JSON can hold half of a surrogate pair, which nothing else can.
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise invalid(f"{name} holds what is not Unicode.")


def _tags(entries: Any) -> dict[str, str]:
    if entries is None:
        return {}
    if not isinstance(entries, list) or len(entries) > MAX_TAGS:
        raise invalid(f"Tags must be a list of at most {MAX_TAGS}.", "INVALID_TAG")
    tags: dict[str, str] = {}
    for entry in entries:
        key, value = _tag(entry)
        if key in tags:
            raise invalid(f"The tag {key} is given twice.", "INVALID_TAG")
        tags[key] = value
    return tags


def _tag(entry: Any) -> tuple[str, str]:
    if not isinstance(entry, dict) or not entry.keys() <= {"Key", "Value"}:
        raise invalid("A tag has a Key and a Value.", "INVALID_TAG")
    key, value = entry.get("Key"), entry.get("Value", "")
    if not isinstance(key, str) or not 1 <= len(key) <= MAX_TAG_KEY_CHARS:
        raise invalid(f"A tag's key has 1 to {MAX_TAG_KEY_CHARS} characters.", "INVALID_TAG")
    if not isinstance(value, str) or len(value) > MAX_TAG_VALUE_CHARS:
        raise invalid(f"A tag's value has at most {MAX_TAG_VALUE_CHARS} characters.", "INVALID_TAG")
    if key.lower().startswith("aws:"):
        raise invalid("Tag keys that begin with aws: are reserved.", "INVALID_TAG")
    _check_unicode(key + value, "Tags")
    return key, value


def put_block(job: Job) -> Reply:
    """PutSnapshotBlock."""
    request = job.request
    snapshot_id = request.snapshot_id(request.segments[1])
    index = request.block_index()
    if request.call.header(b"content-encoding") not in (None, "", "identity"):
        raise invalid("Blocks are sent as they are.", "INVALID_CONTENT_ENCODING")
    request.integer_header(
        "x-amz-Data-Length", least=SNAPSHOT_BLOCK_BYTES, most=SNAPSHOT_BLOCK_BYTES
    )
    if request.call.header(b"x-amz-progress") is not None:
        request.integer_header("x-amz-Progress", least=0, most=100)
    expected = request.sha256_header()
    if expected is None or not request.choice_header("x-amz-Checksum-Algorithm", "SHA256"):
        raise invalid("x-amz-Checksum and x-amz-Checksum-Algorithm are required.")
    block = request.call.body
    if len(block) != SNAPSHOT_BLOCK_BYTES:
        raise invalid(f"A block has {SNAPSHOT_BLOCK_BYTES} bytes.", "INVALID_BLOCK")
    digest = sha256(block).digest()
    if not hmac.compare_digest(digest, expected):
        raise invalid("The block does not match its x-amz-Checksum.", "INVALID_BLOCK")
    job.region.put_snapshot_block(snapshot_id, index, block)
    return Reply(201, headers=checksum_headers(digest))


def checksum_headers(digest: bytes) -> list[tuple[bytes, bytes]]:
    """How an answer tells of a block's SHA-256."""
    return [
        (b"x-amz-checksum", base64.b64encode(digest)),
        (b"x-amz-checksum-algorithm", b"SHA256"),
    ]


def complete_snapshot(job: Job) -> Reply:
    """CompleteSnapshot."""
    request = job.request
    snapshot_id = request.snapshot_id(request.segments[2])
    count = request.integer_header("x-amz-ChangedBlocksCount", least=0)
    checksum = request.sha256_header()
    has_algorithm = request.choice_header("x-amz-Checksum-Algorithm", "SHA256")
    has_method = request.choice_header("x-amz-Checksum-Aggregation-Method", "LINEAR")
    if checksum is not None and not (has_algorithm and has_method):
        raise invalid(
            "x-amz-Checksum needs x-amz-Checksum-Algorithm and x-amz-Checksum-Aggregation-Method."
        )
    state = job.region.complete_snapshot(snapshot_id, count, checksum)
    return json_reply(202, {"Status": state})
