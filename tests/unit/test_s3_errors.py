"""Every error of the engine and of authentication has S3's words."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, cast

import pytest

from blockdev.clock import ManualClock
from objstore import errors as engine
from objstore.auth import errors as auth
from objstore.model import ObjectInfo
from objstore.s3.error_codes import ERRORS
from objstore.s3.errors import S3Error, from_exception, to_response
from objstore.s3.http import Context, Request

INFO = ObjectInfo("b", "k", 1, "e" * 32, 1_700_000_000_000)
CONTEXT = Context(store=cast(Any, None), clock=ManualClock(), authenticator=cast(Any, None))
REQUEST = Request("GET", b"/b/k", b"", [], request_id="ID")


def subclasses(base: type[Any]) -> Iterator[type[Any]]:
    for child in base.__subclasses__():
        yield child
        yield from subclasses(child)


def engine_errors() -> list[engine.StoreError]:
    special: dict[type, engine.StoreError] = {
        engine.PreconditionFailedError: engine.PreconditionFailedError("If-Match"),
        engine.NotModifiedError: engine.NotModifiedError("If-None-Match", INFO),
        engine.InvalidRangeError: engine.InvalidRangeError(5),
        engine.BadDigestError: engine.BadDigestError("CRC32", "a", "b"),
        engine.EntityTooLargeError: engine.EntityTooLargeError(2, 1),
        engine.EntityTooSmallError: engine.EntityTooSmallError(1, 2, 3, "e"),
        engine.NoSuchVersionError: engine.NoSuchVersionError("k", "v"),
        engine.NoSuchSettingError: engine.NoSuchSettingError("tagging"),
        engine.NoSuchPartError: engine.NoSuchPartError(2, 1),
        engine.IsDeleteMarkerError: engine.IsDeleteMarkerError("k", "v", 5),
        engine.EncryptionMismatchError: engine.EncryptionMismatchError(),
        engine.NoObjectLockError: engine.NoObjectLockError(),
        engine.AppendOffsetError: engine.AppendOffsetError(1, 5),
        engine.CustomerKeyMissingError: engine.CustomerKeyMissingError(),
        engine.CustomerKeyMismatchError: engine.CustomerKeyMismatchError(),
        engine.CustomerKeyUnexpectedError: engine.CustomerKeyUnexpectedError(),
    }
    public = [c for c in subclasses(engine.StoreError) if c.__module__ == engine.__name__]
    return [special.get(kind) or kind("why") for kind in public]


STATUS = {
    "NotFoundError": 500,
    "ConflictError": 500,
    "NoSuchBucketError": 404,
    "NoSuchKeyError": 404,
    "NoSuchUploadError": 404,
    "NoSuchVersionError": 404,
    "NoSuchSettingError": 404,
    "NoSuchPartError": 416,
    "IsDeleteMarkerError": 405,
    "ObjectLockedError": 403,
    "BucketStateError": 409,
    "NoObjectLockError": 400,
    "AppendOffsetError": 400,
    "TooManyPartsError": 400,
    "ObjectReplacedError": 409,
    "SettingChangedError": 409,
    "SourceChangedError": 409,
    "DigestRequiredError": 400,
    "TokenReusedError": 400,
    "CustomerKeyError": 500,
    "CustomerKeyMissingError": 400,
    "CustomerKeyUnexpectedError": 400,
    "CustomerKeyMismatchError": 403,
    "NotAppendableError": 400,
    "EncryptionMismatchError": 400,
    "RenameToItselfError": 400,
    "KeyNotFoundError": 400,
    "KeyDisabledError": 400,
    "KeyStateError": 400,
    "KeyPendingDeletionError": 400,
    "KeyServiceError": 503,
    "BucketExistsError": 409,
    "BucketNotEmptyError": 409,
    "PreconditionFailedError": 412,
    "NotModifiedError": 304,
    "InvalidRangeError": 416,
    "StoreUnavailableError": 503,
    "StoreFullError": 507,
    "StoreClosedError": 503,
    "StoreLockedError": 503,
    "StorePoisonedError": 503,
    "CorruptionError": 500,
}


@pytest.mark.parametrize("error", engine_errors(), ids=lambda e: type(e).__name__)
def test_every_engine_error_has_a_status(error: engine.StoreError) -> None:
    expected = STATUS.get(type(error).__name__, 400)
    response = to_response(CONTEXT, REQUEST, error)
    assert response.status == expected
    if type(error).__name__ not in STATUS:
        assert isinstance(error, engine.InvalidArgumentError)


@pytest.mark.parametrize("kind", list(subclasses(auth.AuthError)), ids=lambda kind: kind.__name__)
def test_every_authentication_error_is_in_the_table(kind: type[auth.AuthError]) -> None:
    assert kind.code in ERRORS
    error = kind.__new__(kind)
    auth.AuthError.__init__(error, "why", (("Detail", "text"),))
    mapped = from_exception(error, REQUEST)
    assert (mapped.code, mapped.message, mapped.extra) == (kind.code, "why", {"Detail": "text"})
    assert 400 <= mapped.status < 600


def test_a_subclass_is_treated_as_its_base() -> None:
    class Special(engine.NoSuchKeyError):
        pass

    assert from_exception(Special("x"), REQUEST).code == "NoSuchKey"


def test_what_nobody_foresaw_is_an_internal_error_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR, "objstore.s3"):
        response = to_response(CONTEXT, REQUEST, ZeroDivisionError("secret detail"))
    assert response.status == 500
    assert isinstance(response.body, bytes)
    assert b"secret detail" not in response.body
    assert b"<Code>InternalError</Code>" in response.body
    (record,) = caplog.records
    assert "ID GET /b/k" in record.getMessage()
    assert record.exc_info


def test_damage_says_so_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "objstore.s3"):
        response = to_response(CONTEXT, REQUEST, engine.CorruptionError("chunk 7 of extent 3"))
    assert isinstance(response.body, bytes)
    assert b"do not match their checksum" in response.body
    assert "chunk 7 of extent 3" in caplog.text


def test_errors_of_the_client_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "objstore.s3"):
        to_response(CONTEXT, REQUEST, S3Error("NoSuchKey"))
        to_response(CONTEXT, REQUEST, S3Error("NotImplemented"))
    assert not caplog.records


def test_the_document() -> None:
    response = to_response(CONTEXT, REQUEST, S3Error("NoSuchKey", "<why>", extra={"Key": "a\x01&"}))
    assert response.body == (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code>'
        b"<Message>&lt;why&gt;</Message><Key>a\xef\xbf\xbd&amp;</Key><Resource>/b/k</Resource>"
        b"<RequestId>ID</RequestId><HostId>objstore</HostId></Error>"
    )
    headers = dict(response.headers)
    assert headers[b"content-type"] == b"application/xml"
    assert int(headers[b"content-length"]) == len(response.body)


def test_not_modified_has_validators_and_no_body() -> None:
    response = to_response(CONTEXT, REQUEST, engine.NotModifiedError("If-None-Match", INFO))
    assert (response.status, response.body) == (304, b"")
    assert dict(response.headers)[b"etag"] == b'"' + b"e" * 32 + b'"'


def test_statuses_are_those_of_http() -> None:
    assert all(400 <= status <= 507 and message for status, message in ERRORS.values())
