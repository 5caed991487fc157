"""The EBS direct APIs against botocore's model: operations, errors, bounds and patterns."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from blockdev.model import ServiceError
from objstore.auth import errors as auth
from objstore.aws.http import Call
from objstore.aws.regions import UnknownRegionError
from objstore.ebs import reading, request, writing
from objstore.ebs.errors import STATUSES, from_exception, to_reply
from objstore.ebs.table import OPERATIONS, find
from tests.unit.ec2_model import service_model

MODEL = service_model("ebs")
OF_ALL_JSON_SERVICES = {
    "ExpiredTokenException",
    "IncompleteSignatureException",
    "InvalidSignatureException",
    "UnknownOperationException",
    "UnrecognizedClientException",
}


def test_all_operations_of_the_model_and_no_others() -> None:
    offered = {(o.name, o.method, "/" + "/".join(o.path), o.unsigned_body) for o in OPERATIONS}
    expected = set()
    for name in MODEL.operation_names:
        model = MODEL.operation_model(name)
        path = re.sub(r"\{\w+\}", "{}", model.http["requestUri"])
        unsigned = model.auth_type == "v4-unsigned-body"
        expected.add((name, model.http["method"], path, unsigned))
    assert offered == expected


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("POST", b"/snapshots", "StartSnapshot"),
        ("POST", b"/snapshots/completion/snap-1", "CompleteSnapshot"),
        ("PUT", b"/snapshots/snap-1/blocks/7", "PutSnapshotBlock"),
        ("GET", b"/snapshots/snap-1/blocks/7", "GetSnapshotBlock"),
        ("GET", b"/snapshots/snap-1/blocks", "ListSnapshotBlocks"),
        ("GET", b"/snapshots/snap-1/changedblocks", "ListChangedBlocks"),
        ("GET", b"/snapshots", None),
        ("POST", b"/snapshots/", None),
        ("DELETE", b"/snapshots/snap-1", None),
        ("GET", b"/snapshots/snap-1/blocks/7/8", None),
        ("GET", b"/snapshotsx/snap-1/blocks", None),
        ("GET", b"", None),
        ("GET", b"\xff\xfe", None),
    ],
)
def test_which_operation_a_request_names(method: str, path: bytes, name: str | None) -> None:
    found = find(method, path)
    assert (found.name if found else None) == name


def test_errors_have_the_models_statuses() -> None:
    shapes = {
        shape.name: shape.metadata["error"]["httpStatusCode"]
        for name in MODEL.operation_names
        for shape in MODEL.operation_model(name).error_shapes
    }
    own = {name: s for name, s in STATUSES.items() if name not in OF_ALL_JSON_SERVICES}
    assert own == shapes


def member(operation: str, name: str) -> Any:
    return MODEL.operation_model(operation).input_shape.members[name].metadata


def test_bounds_are_the_models() -> None:
    results = member("ListSnapshotBlocks", "MaxResults")
    assert (results["min"], results["max"]) == (reading.LEAST_RESULTS, reading.MOST_RESULTS)
    timeout = member("StartSnapshot", "Timeout")
    minutes = writing.TIMEOUT_MINUTES
    assert (minutes.start, minutes.stop - 1) == (timeout["min"], timeout["max"])
    assert member("StartSnapshot", "Description")["max"] == writing.MAX_DESCRIPTION_CHARS
    assert member("StartSnapshot", "ClientToken")["max"] == writing.MAX_CLIENT_TOKEN_CHARS
    assert member("GetSnapshotBlock", "BlockToken")["max"] == request.MAX_TOKEN_CHARS
    assert member("ListSnapshotBlocks", "NextToken")["pattern"] == f"^{request.TOKEN.pattern}$"
    snapshot = member("GetSnapshotBlock", "SnapshotId")
    assert (snapshot["max"], snapshot["pattern"]) == (
        request.MAX_SNAPSHOT_ID_CHARS,
        f"^{request.SNAPSHOT_ID.pattern}$",
    )
    tag = MODEL.operation_model("StartSnapshot").input_shape.members["Tags"].member.members
    assert tag["Key"].metadata["max"] == writing.MAX_TAG_KEY_CHARS
    assert tag["Value"].metadata["max"] == writing.MAX_TAG_VALUE_CHARS


def test_reasons_are_the_models() -> None:
    """Those that the face gives; the region's are under test where it is."""
    shape = MODEL.shape_for("ValidationException").members["Reason"]
    source = "".join(map(inspect.getsource, (reading, request, writing)))
    named = set(re.findall(r'"(INVALID_[A-Z_]+)"', source))
    assert named
    assert named <= set(shape.enum)


@pytest.mark.parametrize(
    ("error", "name", "reason"),
    [
        (ServiceError("ConflictException", "x"), "ConflictException", ""),
        (ServiceError("IdempotentParameterMismatch", "x"), "ConflictException", ""),
        (
            ServiceError("InvalidSnapshot.NotFound", "x"),
            "ResourceNotFoundException",
            "SNAPSHOT_NOT_FOUND",
        ),
        (ServiceError("IncorrectState", "x"), "ValidationException", "INVALID_PARAMETER_VALUE"),
        (
            ServiceError("SnapshotLimitExceeded", "x"),
            "ServiceQuotaExceededException",
            "DEPENDENCY_SERVICE_QUOTA_EXCEEDED",
        ),
        (ServiceError("InternalError", "x"), "InternalServerException", ""),
        (ServiceError("Unavailable", "x"), "InternalServerException", ""),
        (RuntimeError("a secret"), "InternalServerException", ""),
        (auth.ExpiredTokenError(), "ExpiredTokenException", ""),
        (auth.InvalidTokenError(), "UnrecognizedClientException", ""),
        (auth.AuthorizationHeaderMalformedError("x"), "IncompleteSignatureException", ""),
        (auth.RequestExpiredError(1, "a", "b"), "InvalidSignatureException", ""),
        (UnknownRegionError("x"), "UnrecognizedClientException", ""),
    ],
)
def test_errors_of_the_region(error: Exception, name: str, reason: str) -> None:
    mapped = from_exception(error)
    assert (mapped.code, mapped.reason) == (name, reason)
    assert "secret" not in mapped.message


def test_messages_are_no_longer_than_the_model_has_it() -> None:
    call = Call("GET", b"/", b"", [], "ID")
    reply = to_reply(call, ServiceError("ValidationException", "x" * 5000))
    assert len(reply.body) < 400
    assert to_reply(Call("HEAD", b"/", b"", [], "ID"), ServiceError("X", "y")).body == b""
