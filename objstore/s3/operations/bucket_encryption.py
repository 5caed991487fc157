"""The encryption that a bucket gives new objects, and the one that it refuses."""

from __future__ import annotations

from xml.etree.ElementTree import Element

import msgspec

from objstore.errors import NoSuchSettingError
from objstore.model import NO_ENCRYPTION, Encryption
from objstore.s3 import xml
from objstore.s3.encryption import AES256, CUSTOMER, DSSE, KMS, MAX_KEY_ID_CHARS
from objstore.s3.encryption_checks import BLOCKED_SETTING, is_blocked
from objstore.s3.errors import S3Error, invalid_argument
from objstore.s3.http import Context, Request, Response

_ROOT = "ServerSideEncryptionConfiguration"
_DEFAULT = "ApplyServerSideEncryptionByDefault"
_BLOCKED = "BlockedEncryptionTypes"
_NONE = "NONE"
_BLOCKABLE = frozenset((_NONE, CUSTOMER))


def get_encryption(ctx: Context, request: Request, body: bytes) -> Response:
    """GetBucketEncryption: the one rule, where anything was ever put."""
    default = ctx.store.bucket_encryption(request.bucket)
    blocked = is_blocked(ctx, request.bucket)
    if not default and not blocked:
        raise NoSuchSettingError("encryption")
    by_default = ""
    if default:
        by_default = (
            f"<{_DEFAULT}>{xml.element('SSEAlgorithm', default.algorithm)}"
            f"{xml.element('KMSMasterKeyID', default.key_id or None)}</{_DEFAULT}>"
        )
    types = xml.element("EncryptionType", CUSTOMER if blocked else _NONE)
    bucket_key = xml.element("BucketKeyEnabled", "true" if default.bucket_key else "false")
    rule = f"<Rule>{by_default}{bucket_key}<{_BLOCKED}>{types}</{_BLOCKED}></Rule>"
    return xml.response(xml.document(_ROOT, rule))


def put_encryption(ctx: Context, request: Request, body: bytes) -> Response:
    """PutBucketEncryption: what the rule does not speak of stays as it was.

    As in S3 a key is not looked up before an object is to be encrypted with it.
    """
    ctx.store.head_bucket(request.bucket)
    rule = _rule(body)
    default, blocks = _default(ctx, request, rule), _blocks(rule)
    if default is None and blocks is None:
        raise S3Error("MalformedXML")  # of a bucket key alone, where there is no default
    also: dict[str, bytes | None] = {}
    if blocks is not None:
        also[BLOCKED_SETTING] = CUSTOMER.encode("ascii") if blocks else None
    ctx.store.set_bucket_encryption(request.bucket, default, also=also)
    return Response(200, [(b"content-length", b"0")])


def delete_encryption(ctx: Context, request: Request, body: bytes) -> Response:
    """DeleteBucketEncryption: neither a default any more, nor anything refused."""
    ctx.store.set_bucket_encryption(request.bucket, NO_ENCRYPTION, also={BLOCKED_SETTING: None})
    return Response(204, [])


def _rule(body: bytes) -> Element:
    tree = xml.parse(body, _ROOT)
    rules = [] if tree is None else list(tree)
    if len(rules) != 1 or rules[0].tag != "Rule":
        raise S3Error("MalformedXML")
    _check_children(rules[0], (_DEFAULT, "BucketKeyEnabled", _BLOCKED))
    if not len(rules[0]):
        raise S3Error("MalformedXML")
    return rules[0]


def _check_children(node: Element, allowed: tuple[str, ...]) -> None:
    if not xml.has_only(node, allowed):
        raise S3Error("MalformedXML")


def _default(ctx: Context, request: Request, rule: Element) -> Encryption | None:
    """The default that the rule makes of what there is; None where there is none."""
    node, bucket_key = rule.find(_DEFAULT), _flag(rule)
    if node is not None:
        return _new_default(node, bool(bucket_key))
    current = ctx.store.bucket_encryption(request.bucket)
    if not current or bucket_key is None:
        return None
    return msgspec.structs.replace(current, bucket_key=bucket_key and current.algorithm == KMS)


def _new_default(node: Element, bucket_key: bool) -> Encryption:
    _check_children(node, ("SSEAlgorithm", "KMSMasterKeyID"))
    algorithm = (xml.child_text(node, "SSEAlgorithm") or "").strip()
    key_id = (xml.child_text(node, "KMSMasterKeyID") or "").strip()
    if algorithm not in (AES256, KMS, DSSE):
        raise S3Error("MalformedXML")
    if key_id and algorithm == AES256:
        raise invalid_argument(
            "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or "
            "aws:kms:dsse",
            _DEFAULT,
        )
    if len(key_id) > MAX_KEY_ID_CHARS:
        raise invalid_argument("The name of a key is too long", "KMSMasterKeyID")
    return Encryption(algorithm, key_id, bucket_key=bucket_key and algorithm == KMS)


def _flag(rule: Element) -> bool | None:
    text = xml.child_text(rule, "BucketKeyEnabled")
    if text is None:
        return None
    if text.strip() not in ("true", "false"):
        raise S3Error("MalformedXML")
    return text.strip() == "true"


def _blocks(rule: Element) -> bool | None:
    """Whether customers' keys are refused; None where the rule says nothing of it."""
    node = rule.find(_BLOCKED)
    if node is None:
        return None
    types = [(child.text or "").strip() for child in node if child.tag == "EncryptionType"]
    if not types or len(types) < len(node) or not set(types) <= _BLOCKABLE or len(set(types)) > 1:
        raise S3Error("MalformedXML")
    return types[0] == CUSTOMER
