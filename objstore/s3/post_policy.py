"""The policy of a browser's form: until when, and with which fields, it may be sent.

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from objstore.s3.errors import S3Error
from objstore.s3.formats import parse_iso_date_ms

_FREE: Final = frozenset(("x-amz-signature", "file", "policy"))
"""Fields that no condition has to name."""
_IGNORED: Final = "x-ignore-"
_LENGTH: Final = "content-length-range"


@dataclass(frozen=True, slots=True)
class Policy:
    """`conditions`: kind, field in lower case, and value; `least_bytes`, `most_bytes` of the
    file, None where the policy does not say.
    """

    expires_ms: int
    conditions: tuple[tuple[str, str, str], ...]
    least_bytes: int | None = None
    most_bytes: int | None = None


NO_POLICY: Final = Policy(0, ())
"""Of a form that nobody signed: it may say anything, if the bucket lets everybody write."""


def parse(encoded: str) -> Policy:
    """A policy from base64 of JSON.

    Raises:
        S3Error: InvalidPolicyDocument.
    """
    try:
        found = json.loads(base64.b64decode(encoded.encode("ascii"), validate=True))
    except (ValueError, binascii.Error, RecursionError):
        raise _invalid("Invalid JSON.") from None
    if not isinstance(found, dict):
        raise _invalid("Invalid JSON.")
    for name in ("expiration", "conditions"):
        if name not in found:
            raise _invalid(f"Policy missing {name}.")
    expires = found["expiration"]
    expires_ms = parse_iso_date_ms(expires) if isinstance(expires, str) else None
    if expires_ms is None:
        raise _invalid(f"Invalid 'expiration' value: '{expires}'")
    if not isinstance(found["conditions"], list):
        raise _invalid("Invalid 'conditions' value: must be a List.")
    return _with_conditions(expires_ms, found["conditions"])


def _with_conditions(expires_ms: int, listed: list[Any]) -> Policy:
    conditions: list[tuple[str, str, str]] = []
    least_bytes: int | None = None
    most_bytes: int | None = None
    for each in listed:
        if isinstance(each, dict):
            conditions += [_condition("eq", f"${name}", value) for name, value in each.items()]
            continue
        if not isinstance(each, list) or len(each) != 3:
            raise _invalid("Invalid Condition: must be a Map or a List of three.")
        kind = each[0].lower() if isinstance(each[0], str) else ""
        if kind == _LENGTH:
            least_bytes, most_bytes = _number(each[1]), _number(each[2])
        elif kind in ("eq", "starts-with"):
            conditions.append(_condition(kind, each[1], each[2]))
        else:
            raise _invalid(f"Invalid Condition: unknown operation '{each[0]}'.")
    return Policy(expires_ms, tuple(conditions), least_bytes, most_bytes)


def _condition(kind: str, name: Any, value: Any) -> tuple[str, str, str]:
    if not isinstance(name, str) or not name.startswith("$") or not isinstance(value, str):
        raise _invalid("Invalid Condition: a field begins with '$', and its value is a String.")
    return kind, name[1:].lower(), value


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise _invalid(f"Invalid '{_LENGTH}' value.")
    text = str(value)
    if not text.isascii() or not text.isdigit() or len(text) > 19:
        raise _invalid(f"Invalid '{_LENGTH}' value.")
    return int(text)


def check(policy: Policy, fields: Mapping[str, str], bucket: str, now_ms: int) -> None:
    """Whether a form keeps to its policy; `fields` by names in lower case.

    Raises:
        S3Error: AccessDenied.
    """
    if now_ms >= policy.expires_ms:
        raise _denied("Policy expired.")
    given = {**fields, "bucket": bucket}
    for kind, name, value in policy.conditions:
        text = given.get(name, "")
        holds = text.startswith(value) if kind == "starts-with" else text == value
        if not holds:
            raise _denied(f'Policy Condition failed: ["{kind}", "${name}", "{value}"]')
    named = {name for _kind, name, _value in policy.conditions}
    for name in fields:
        if name not in named and name not in _FREE and not name.startswith(_IGNORED):
            raise _denied(f"Extra input fields: {name}")


def _denied(why: str) -> S3Error:
    return S3Error("AccessDenied", f"Invalid according to Policy: {why}")


def _invalid(why: str) -> S3Error:
    return S3Error("InvalidPolicyDocument", f"Invalid Policy: {why}")
