"""What requests say of encryption, and what answers do; no store."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from functools import partial

import pytest

from objstore.config import MAX_ENCRYPTION_CONTEXT_BYTES
from objstore.model import NO_ENCRYPTION, Encryption, ObjectAttributes, UploadInfo
from objstore.s3 import encryption, encryption_checks
from objstore.s3.access_log import redacted
from objstore.s3.errors import S3Error
from objstore.s3.http import Request, WritePlan

KEY = bytes(range(200, 232))
OTHER_KEY = bytes(range(100, 132))
SSE = "x-amz-server-side-encryption"
KEY_ID = f"{SSE}-aws-kms-key-id"
CONTEXT = f"{SSE}-context"
BUCKET_KEY = f"{SSE}-bucket-key-enabled"
SOURCE = encryption.COPY_SOURCE


def text64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def md5_of(key: bytes) -> str:
    return text64(hashlib.md5(key).digest())


def sse_c(secret: bytes = KEY, prefix: str = "x-amz-", **changed: str | None) -> dict[str, str]:
    """The three headers of SSE-C; `algorithm`, `key` and `md5` replace a value, None a header."""
    base = f"{prefix}server-side-encryption-customer-"
    given: dict[str, str | None] = {
        "algorithm": "AES256",
        "key": text64(secret),
        "md5": md5_of(secret),
        **changed,
    }
    names = {"algorithm": "algorithm", "key": "key", "md5": "key-md5"}
    return {base + names[name]: value for name, value in given.items() if value is not None}


def request(headers: dict[str, str]) -> Request:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Request("PUT", b"/bucket/key", b"", pairs)


def refused(headers: dict[str, str], prefix: bytes = b"") -> S3Error:
    given = request(headers)
    parse: Callable[[], object] = partial(encryption.wanted_encryption, given)
    if prefix:
        parse = partial(encryption.customer_key, given, prefix)
    with pytest.raises(S3Error) as caught:
        parse()
    shown = f"{caught.value} {caught.value.extra}"
    assert text64(KEY) not in shown
    assert repr(KEY) not in shown
    return caught.value


def context_of(value: object) -> str:
    return text64(json.dumps(value).encode())


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({}, NO_ENCRYPTION),
        ({SSE: "AES256"}, Encryption("AES256")),
        ({SSE: "aws:kms"}, Encryption("aws:kms")),
        ({SSE: "aws:kms:dsse"}, Encryption("aws:kms:dsse")),
        ({SSE: "aws:kms", KEY_ID: "alias/a"}, Encryption("aws:kms", "alias/a")),
        ({SSE: "aws:kms", BUCKET_KEY: "True"}, Encryption("aws:kms", bucket_key=True)),
        ({SSE: "aws:kms", BUCKET_KEY: "false"}, Encryption("aws:kms")),
        # S3 has no bucket keys for these, and does not mind being asked
        ({SSE: "aws:kms:dsse", BUCKET_KEY: "true"}, Encryption("aws:kms:dsse")),
        ({SSE: "AES256", BUCKET_KEY: "true"}, Encryption("AES256")),
        ({BUCKET_KEY: "true"}, NO_ENCRYPTION),
        (
            {SSE: "aws:kms", CONTEXT: context_of({"a": "ä"})},
            Encryption("aws:kms", context='{"a": "\\u00e4"}'),
        ),
        (sse_c(), Encryption("SSE-C", md5_of(KEY))),
    ],
)
def test_what_a_write_asks_for(headers: dict[str, str], wanted: Encryption) -> None:
    assert encryption.wanted_encryption(request(headers)) == wanted


@pytest.mark.parametrize("value", ["", "aes256", "AES512", "aes:kms", "aws:fsx", "aws:backup"])
def test_a_method_that_is_not_offered(value: str) -> None:
    error = refused({SSE: value})
    assert (error.code, error.status) == ("InvalidArgument", 400)
    assert error.extra == {"ArgumentName": SSE, "ArgumentValue": value}


@pytest.mark.parametrize("algorithm", [{}, {SSE: "AES256"}])
@pytest.mark.parametrize("of_kms", [{KEY_ID: "alias/a"}, {CONTEXT: context_of({})}])
def test_what_belongs_to_kms_needs_kms(algorithm: dict[str, str], of_kms: dict[str, str]) -> None:
    error = refused(algorithm | of_kms)
    assert error.code == "InvalidArgument"
    assert "requires HTTP header x-amz-server-side-encryption : aws:kms" in error.message


@pytest.mark.parametrize("value", ["", "1", "yes"])
def test_a_bucket_key_is_true_or_false(value: str) -> None:
    assert refused({SSE: "aws:kms", BUCKET_KEY: value}).code == "InvalidArgument"


@pytest.mark.parametrize(
    "value",
    [
        "{}",
        "e30",  # base64 that was cut
        text64(b"\xff"),
        text64(b"[]"),
        text64(b"{"),
        text64(b"[" * 100_000),
        context_of({"a": 1}),
        context_of({"a": {"b": "c"}}),
        context_of({"a": None}),
        context_of({"a": "b" * MAX_ENCRYPTION_CONTEXT_BYTES}),
    ],
)
def test_a_context_is_a_map_of_texts(value: str) -> None:
    error = refused({SSE: "aws:kms", CONTEXT: value})
    assert error.code == "InvalidArgument"
    assert error.extra["ArgumentName"] == CONTEXT


BAD_KEYS = [
    (sse_c(algorithm=None), "InvalidArgument", "a valid encryption algorithm"),
    (sse_c(algorithm=None, key=None), "InvalidArgument", "a valid encryption algorithm"),
    (sse_c(algorithm=None, md5=None), "InvalidArgument", "a valid encryption algorithm"),
    (sse_c(algorithm="AES128"), "InvalidEncryptionAlgorithmError", "Supported value: AES256"),
    (sse_c(algorithm="aws:kms"), "InvalidEncryptionAlgorithmError", "Supported value: AES256"),
    (sse_c(key=None), "InvalidArgument", "an appropriate secret key"),
    (sse_c(key=""), "InvalidArgument", "an appropriate secret key"),
    (sse_c(key=None, md5=None), "InvalidArgument", "an appropriate secret key"),
    (sse_c(md5=None), "InvalidArgument", "the client calculated MD5"),
    (sse_c(md5=md5_of(OTHER_KEY)), "InvalidArgument", "did not match the hash"),
    (sse_c(md5="nonsense"), "InvalidArgument", "did not match the hash"),
    (sse_c(KEY[:10]), "InvalidArgument", "invalid for the specified algorithm"),
    (sse_c(KEY * 2), "InvalidArgument", "invalid for the specified algorithm"),
    (sse_c(key="?" * 44), "InvalidArgument", "invalid for the specified algorithm"),
    (sse_c(key=text64(KEY)[:-1]), "InvalidArgument", "invalid for the specified algorithm"),
]


@pytest.mark.parametrize(("headers", "code", "words"), BAD_KEYS)
def test_a_customers_key_that_is_none(headers: dict[str, str], code: str, words: str) -> None:
    error = refused(headers)
    assert (error.code, error.status) == (code, 400)
    assert words in error.message
    assert error.extra["ArgumentName"] == SSE


@pytest.mark.parametrize(("headers", "code", "words"), BAD_KEYS)
def test_the_same_of_a_copys_source(headers: dict[str, str], code: str, words: str) -> None:
    of_source = {name.replace("x-amz-", SOURCE.decode()): text for name, text in headers.items()}
    error = refused(of_source, SOURCE)
    assert (error.code, words in error.message) == (code, True)


def test_two_keys_of_one_copy_are_told_apart() -> None:
    both = request(sse_c() | sse_c(OTHER_KEY, SOURCE.decode()))
    assert encryption.customer_key(both) == KEY
    assert encryption.customer_key(both, SOURCE) == OTHER_KEY
    assert encryption.customer_key(request({SSE: "AES256"})) == b""
    assert encryption.customer_key(both, SOURCE) != encryption.customer_key(both)


@pytest.mark.parametrize("algorithm", ["AES256", "aws:kms", "nonsense"])
def test_a_customers_key_besides_another_encryption(algorithm: str) -> None:
    error = refused(sse_c() | {SSE: algorithm})
    assert error.code == "InvalidArgument"
    assert "is incompatible with the encryption method specified" in error.message
    assert error.extra["ArgumentValue"] == algorithm
    # of the source it says nothing of how the target is encrypted
    copy = request(sse_c(prefix=SOURCE.decode()) | {SSE: "AES256"})
    assert encryption.customer_key(copy, SOURCE) == KEY


ARN = "arn:aws:kms:us-east-1:000000000000:key/1"


@pytest.mark.parametrize(
    ("of_object", "shown"),
    [
        (NO_ENCRYPTION, {}),
        (Encryption("AES256"), {SSE: "AES256"}),
        (Encryption("aws:kms", ARN), {SSE: "aws:kms", KEY_ID: ARN}),
        (
            Encryption("aws:kms", ARN, "{}", bucket_key=True),
            {SSE: "aws:kms", KEY_ID: ARN, BUCKET_KEY: "true"},
        ),
        (
            Encryption("SSE-C", md5_of(KEY)),
            {f"{SSE}-customer-algorithm": "AES256", f"{SSE}-customer-key-md5": md5_of(KEY)},
        ),
    ],
)
def test_what_answers_say(of_object: Encryption, shown: dict[str, str]) -> None:
    found = encryption.encryption_headers(of_object)
    assert {name.decode(): value.decode() for name, value in found} == shown
    chosen = dict(encryption.chosen_headers(of_object))
    assert chosen.keys() - dict(found).keys() == (
        {CONTEXT.encode()} if of_object.context else set()
    )


def upload(of_upload: Encryption) -> UploadInfo:
    return UploadInfo("bucket", "key", "id", 0, ObjectAttributes(encryption=of_upload))


@pytest.mark.parametrize(
    ("of_upload", "key", "words"),
    [
        (Encryption("SSE-C", md5_of(KEY)), b"", "must include the appropriate"),
        (Encryption("SSE-C", md5_of(KEY)), OTHER_KEY, "did not match the ones used originally"),
        (Encryption("AES256"), KEY, "must include the appropriate"),
        (NO_ENCRYPTION, KEY, "must include the appropriate"),
    ],
)
def test_a_part_needs_its_uploads_key(of_upload: Encryption, key: bytes, words: str) -> None:
    with pytest.raises(S3Error, match=words) as caught:
        encryption_checks.check_part(upload(of_upload), key)
    assert caught.value.code == "InvalidRequest"
    encryption_checks.check_part(upload(of_upload), b"", is_needed=False)


def test_the_uploads_key_fits_its_parts() -> None:
    encryption_checks.check_part(upload(Encryption("SSE-C", md5_of(KEY))), KEY)
    encryption_checks.check_part(upload(Encryption("aws:kms", ARN)), b"")


@pytest.mark.parametrize(
    ("of_object", "key", "code"),
    [
        (Encryption("SSE-C", md5_of(KEY)), b"", "InvalidRequest"),
        (Encryption("SSE-C", md5_of(KEY)), OTHER_KEY, "AccessDenied"),
        (Encryption("AES256"), KEY, "InvalidRequest"),
        (NO_ENCRYPTION, KEY, "InvalidRequest"),
    ],
)
def test_who_may_read_attributes(of_object: Encryption, key: bytes, code: str) -> None:
    with pytest.raises(S3Error) as caught:
        encryption_checks.check_readable(of_object, key)
    assert caught.value.code == code


def test_neither_requests_nor_plans_nor_logs_show_a_key() -> None:
    given = request(sse_c())
    given.hoisted = list(given.headers)
    shown = repr(given)
    plan = repr(WritePlan("b", "k", None, None, customer_key=KEY))  # type: ignore[arg-type]
    assert text64(KEY) not in shown
    assert repr(KEY) not in shown + plan
    for prefix in ("X-Amz-", "x-amz-copy-source-"):
        name = f"{prefix}Server-Side-Encryption-Customer-Key"
        logged = redacted(f"a=1&{name}={text64(KEY)}&{name}-MD5=x".encode())
        assert logged == f"a=1&{name}=REDACTED&{name}-MD5=x".encode()
