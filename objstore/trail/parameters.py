"""What the record tells of the parameters of a call to a service beside S3: never a secret."""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import parse_qsl

from objstore.aws.http import Call

_MOST: Final = 100
_MOST_CHARS: Final = 2048
# Of what is sent as a form: how one authenticates, what is a secret, and what the event has.
_SECRET: Final = ("secret", "token", "password", "signature", "credential", "x-amz-")
_KNOWN: Final = frozenset(("Action", "Version"))
# KMS's documents hold keys and what they are to encrypt: only these are told.
_OF_KMS: Final = frozenset(
    (
        *("KeyId", "TargetKeyId", "AliasName", "Description", "KeySpec", "KeyUsage"),
        *("NumberOfBytes", "EncryptionContext", "EncryptionAlgorithm", "PendingWindowInDays"),
        *("RotationPeriodInDays", "Limit", "SourceKeyId", "DestinationKeyId"),
    )
)


def parameters_of(service: str, call: Call) -> dict[str, Any]:
    """The parameters of a call, as far as they may be told."""
    if service == "kms":
        return _of_kms(call.body)
    if service == "ebs":
        return {"path": call.raw_path.decode("latin-1")}
    encoded = b"&".join(part for part in (call.raw_query, call.body) if part)
    text = encoded.decode("latin-1")
    found: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True, encoding="utf-8")[:_MOST]:
        if name not in _KNOWN:
            is_secret = any(part in name.lower() for part in _SECRET)
            found[name] = "REDACTED" if is_secret else value[:_MOST_CHARS]
    return found


def _of_kms(body: bytes) -> dict[str, Any]:
    try:
        tree = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return {}
    if not isinstance(tree, dict):
        return {}
    return {name: value for name, value in tree.items() if name in _OF_KMS}
