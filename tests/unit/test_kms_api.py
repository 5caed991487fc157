"""The KMS API below HTTP: held against botocore's model, signed by botocore, and bad input."""

from __future__ import annotations

import base64
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from objstore import errors as store
from objstore.auth import errors as auth
from objstore.aws.http import Call
from objstore.config import MAX_KMS_BODY_BYTES
from objstore.entropy import SeededEntropy
from objstore.kms.errors import AliasExistsError, KeyLimitError
from objstore.kms_api.errors import from_exception, to_reply
from objstore.kms_api.face import KmsFace
from objstore.kms_api.operation import Operation
from objstore.kms_api.table import OPERATIONS
from tests.keys import CONTEXT, DAY_NS, MATERIAL, NOWHERE, Keys
from tests.unit.ec2_model import service_model
from tests.unit.service_requests import KEYS, sign

MODEL = service_model("kms")
OF_ALL_JSON_SERVICES = {
    *("ExpiredTokenException", "IncompleteSignatureException", "InvalidSignatureException"),
    *("SerializationException", "UnknownOperationException", "UnrecognizedClientException"),
    *("ValidationException", "RequestEntityTooLargeException"),
}
ASKED_FOR = {
    "CreateKey",
    "DescribeKey",
    "ListKeys",
    "CreateAlias",
    "DeleteAlias",
    "ListAliases",
    "EnableKey",
    "DisableKey",
    "RotateKeyOnDemand",
    "GetKeyRotationStatus",
    "EnableKeyRotation",
    "DisableKeyRotation",
    "ScheduleKeyDeletion",
    "CancelKeyDeletion",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "Encrypt",
    "Decrypt",
    "ReEncrypt",
}


class Api:
    """Calls the face as a client does."""

    def __init__(self, keys: Keys, seed: int) -> None:
        self.keys = keys
        self.service = keys.open(region="eu-west-1")
        entropy = SeededEntropy(seed + 77)
        self.face = KmsFace(self.service, "eu-west-1", KEYS, keys.clock, entropy)

    def send(
        self, target: str | None, body: bytes, *, method: str = "POST", region: str = "eu-west-1"
    ) -> tuple[int, dict[str, Any]]:
        """Status and document of an answer."""
        headers = {} if target is None else {"X-Amz-Target": target}
        signed = sign(
            self.keys.clock,
            method=method,
            body=body,
            service="kms",
            region=region,
            headers=headers,
        )
        call = Call(method, signed.path, signed.query, list(signed.headers), "ID", body)
        reply = self.face.answer(call)
        assert reply.headers == [(b"content-type", b"application/x-amz-json-1.1")]
        return reply.status, json.loads(reply.body or b"{}")

    def __call__(self, operation: str, **members: Any) -> dict[str, Any]:
        """The answer to a call that has to succeed."""
        status, document = self.send(f"TrentService.{operation}", json.dumps(members).encode())
        assert status == 200, document
        shape = MODEL.operation_model(operation).output_shape
        assert document.keys() <= (shape.members.keys() if shape else set())
        return document

    def fails(self, operation: str, **members: Any) -> str:
        """The code of the error that a call ends in; KMS has it in its model."""
        status, document = self.send(f"TrentService.{operation}", json.dumps(members).encode())
        assert document.keys() == {"__type", "message"}
        assert document["message"]
        code: str = document["__type"]
        assert status == 400
        names = {shape.name for shape in MODEL.operation_model(operation).error_shapes}
        assert code in names | OF_ALL_JSON_SERVICES
        return code


@pytest.fixture
def api(tmp_path: Path, seed: int) -> Api:
    return Api(Keys(tmp_path, seed), seed)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_the_operations_that_were_asked_for() -> None:
    assert OPERATIONS.keys() == ASKED_FOR


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda operation: operation.name)
def test_every_member_of_the_model_is_dealt_with(operation: Operation) -> None:
    named = [*operation.members, *operation.refused, *operation.ignored]
    assert sorted(named) == sorted(MODEL.operation_model(operation.name).input_shape.members)


def test_a_key_and_its_life(api: Api) -> None:
    made = api("CreateKey", Description="text")["KeyMetadata"]
    assert made["Arn"] == f"arn:aws:kms:eu-west-1:000000000000:key/{made['KeyId']}"
    assert (made["AWSAccountId"], made["Enabled"], made["KeyState"]) == (
        "000000000000",
        True,
        "Enabled",
    )
    assert (made["KeyManager"], made["Description"]) == ("CUSTOMER", "text")
    assert made["CreationDate"] == api.keys.clock.now_ns() / 1e9
    key = made["KeyId"]
    assert api("DescribeKey", KeyId=made["Arn"])["KeyMetadata"] == made
    assert api("DisableKey", KeyId=key) == {}
    assert api("DescribeKey", KeyId=key)["KeyMetadata"]["Enabled"] is False
    assert api.fails("Encrypt", KeyId=key, Plaintext="YQ==") == "DisabledException"
    assert api.fails("RotateKeyOnDemand", KeyId=key) == "DisabledException"
    assert api("EnableKey", KeyId=key) == {}
    planned = api("ScheduleKeyDeletion", KeyId=key, PendingWindowInDays=7)
    assert planned == {
        "KeyId": made["Arn"],
        "DeletionDate": made["CreationDate"] + 7 * 86_400,
        "KeyState": "PendingDeletion",
        "PendingWindowInDays": 7,
    }
    described = api("DescribeKey", KeyId=key)["KeyMetadata"]
    assert described["DeletionDate"] == planned["DeletionDate"]
    for operation in ("EnableKey", "DisableKey", "ScheduleKeyDeletion", "GetKeyRotationStatus"):
        assert api.fails(operation, KeyId=key) == "KMSInvalidStateException"
    assert api("CancelKeyDeletion", KeyId=key) == {"KeyId": made["Arn"]}
    assert api.fails("CancelKeyDeletion", KeyId=key) == "KMSInvalidStateException"
    assert api("ScheduleKeyDeletion", KeyId=key)["PendingWindowInDays"] == 30
    api.keys.clock.advance(30 * DAY_NS)
    assert api.fails("DescribeKey", KeyId=key) == "NotFoundException"
    assert api("ListKeys") == {"Keys": [], "Truncated": False}


def test_rotation(api: Api) -> None:
    key = api("CreateKey")["KeyMetadata"]["KeyId"]
    assert api("GetKeyRotationStatus", KeyId=key) == {"KeyId": key, "KeyRotationEnabled": False}
    assert api("EnableKeyRotation", KeyId=key) == {}
    status = api("GetKeyRotationStatus", KeyId=key)
    assert (status["KeyRotationEnabled"], status["RotationPeriodInDays"]) == (True, 365)
    assert status["NextRotationDate"] == api.keys.clock.now_ns() / 1e9 + 365 * 86_400
    api("EnableKeyRotation", KeyId=key, RotationPeriodInDays=90)
    assert api("GetKeyRotationStatus", KeyId=key)["RotationPeriodInDays"] == 90
    sealed = api("Encrypt", KeyId=key, Plaintext="YQ==")["CiphertextBlob"]
    assert api("RotateKeyOnDemand", KeyId=key) == {"KeyId": key}
    assert api.service.describe(key).versions == 2
    assert api("Decrypt", CiphertextBlob=sealed)["Plaintext"] == "YQ=="
    assert api("DisableKeyRotation", KeyId=key) == {}
    assert not api("GetKeyRotationStatus", KeyId=key)["KeyRotationEnabled"]
    assert (
        api.fails("EnableKeyRotation", KeyId=key, RotationPeriodInDays=89) == "ValidationException"
    )


def test_the_key_of_s3_is_the_services(api: Api) -> None:
    made = api("DescribeKey", KeyId="alias/aws/s3")["KeyMetadata"]
    assert made["KeyManager"] == "AWS"
    key = made["KeyId"]
    assert api("GetKeyRotationStatus", KeyId=key)["RotationPeriodInDays"] == 365
    assert api.fails("RotateKeyOnDemand", KeyId=key) == "UnsupportedOperationException"
    assert api.fails("DisableKey", KeyId=key) == "KMSInvalidStateException"
    assert api.fails("DeleteAlias", AliasName="alias/aws/s3") == "KMSInvalidStateException"


def test_the_stores_own_key_is_out_of_reach(api: Api) -> None:
    sealed = api.service.wrap("", MATERIAL, CONTEXT)
    (own,) = api.service.list_keys()
    assert api("ListKeys")["Keys"] == []
    for operation in ("DescribeKey", "DisableKey", "RotateKeyOnDemand", "ScheduleKeyDeletion"):
        assert api.fails(operation, KeyId=own.key_id) == "NotFoundException"
    assert api.fails("Decrypt", CiphertextBlob=b64(sealed)) == "InvalidCiphertextException"


def test_what_the_store_wrapped_is_not_for_the_api_to_unwrap(api: Api) -> None:
    """Nor the other way: whoever may decrypt here gets no data key of an object by that."""
    arn = api.service.resolve("alias/aws/s3")
    for context in (b"", b"{}", CONTEXT):
        sealed = api.service.wrap(arn, MATERIAL, context)
        assert api.fails("Decrypt", CiphertextBlob=b64(sealed)) == "InvalidCiphertextException"


def test_aliases(api: Api) -> None:
    one, other = (api("CreateKey")["KeyMetadata"]["KeyId"] for _ in range(2))
    for number in range(5):
        target = one if number % 2 else other
        assert api("CreateAlias", AliasName=f"alias/{number}", TargetKeyId=target) == {}
    api("DescribeKey", KeyId="alias/aws/s3")
    listed = api("ListAliases")["Aliases"]
    assert [alias["AliasName"] for alias in listed] == [
        *(f"alias/{number}" for number in range(5)),
        "alias/aws/s3",
    ]
    assert listed[1]["AliasArn"] == "arn:aws:kms:eu-west-1:000000000000:alias/1"
    of_one = api("ListAliases", KeyId=one)["Aliases"]
    assert [(alias["AliasName"], alias["TargetKeyId"]) for alias in of_one] == [
        ("alias/1", one),
        ("alias/3", one),
    ]
    for name in ("alias/1", listed[1]["AliasArn"]):
        assert api("DescribeKey", KeyId=name)["KeyMetadata"]["KeyId"] == one
        # These take keys themselves.
        assert api.fails("DisableKey", KeyId=name) == "NotFoundException"
    create = "CreateAlias"
    assert api.fails(create, AliasName="alias/1", TargetKeyId=other) == "AlreadyExistsException"
    bad = ("mine", "alias/aws/mine", "alias/a:b")
    for name in bad:
        assert api.fails(create, AliasName=name, TargetKeyId=one) == "InvalidAliasNameException"
    assert api.fails(create, AliasName="alias/x", TargetKeyId=NOWHERE) == "NotFoundException"
    assert api("DeleteAlias", AliasName="alias/1") == {}
    assert api.fails("DeleteAlias", AliasName="alias/1") == "NotFoundException"


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 1000])
def test_pages_hold_everything_once(api: Api, limit: int) -> None:
    made = {api("CreateKey")["KeyMetadata"]["KeyId"] for _ in range(6)}
    found: list[str] = []
    marker: dict[str, str] = {}
    while True:
        page = api("ListKeys", Limit=limit, **marker)
        assert len(page["Keys"]) <= limit
        found += [key["KeyId"] for key in page["Keys"]]
        if not page["Truncated"]:
            assert "NextMarker" not in page
            break
        marker = {"Marker": page["NextMarker"]}
    assert len(found) == len(set(found))
    assert set(found) == made
    assert api.fails("ListKeys", Marker="\n") == "InvalidMarkerException"


def test_encrypt_and_decrypt(api: Api) -> None:
    made = api("CreateKey")["KeyMetadata"]
    context = {"purpose": "test", "übung": "ja"}
    sealed = api(
        "Encrypt", KeyId=made["KeyId"], Plaintext=b64(b"x" * 4096), EncryptionContext=context
    )
    assert (sealed["KeyId"], sealed["EncryptionAlgorithm"]) == (made["Arn"], "SYMMETRIC_DEFAULT")
    blob = sealed["CiphertextBlob"]
    turned = dict(reversed(context.items()))
    opened = api("Decrypt", CiphertextBlob=blob, EncryptionContext=turned, KeyId=made["KeyId"])
    assert base64.b64decode(opened["Plaintext"]) == b"x" * 4096
    assert opened["KeyId"] == made["Arn"]
    for wrong in ({}, {"purpose": "test"}, {**context, "purpose": "other"}):
        code = api.fails("Decrypt", CiphertextBlob=blob, EncryptionContext=wrong)
        assert code == "InvalidCiphertextException"
    other = api("CreateKey")["KeyMetadata"]["KeyId"]
    right: dict[str, Any] = {"CiphertextBlob": blob, "EncryptionContext": context}
    assert api.fails("Decrypt", **right, KeyId=other) == "IncorrectKeyException"
    assert api.fails("Decrypt", **right, KeyId=NOWHERE) == "NotFoundException"
    assert api.fails("Decrypt", CiphertextBlob=b64(b"junk")) == "InvalidCiphertextException"
    api("DisableKey", KeyId=made["KeyId"])
    assert api.fails("Decrypt", **right) == "DisabledException"


def test_contexts_that_look_alike_differ(api: Api) -> None:
    key = api("CreateKey")["KeyMetadata"]["KeyId"]
    contexts: list[dict[str, str]] = [
        {},
        {"a": ""},
        {"": "a"},
        {"a": "b", "c": "d"},
        {"a": 'b","c":"d'},
    ]
    for context in contexts:
        blob = api("Encrypt", KeyId=key, Plaintext="YQ==", EncryptionContext=context)
        for other in contexts:
            asked = {"CiphertextBlob": blob["CiphertextBlob"], "EncryptionContext": other}
            if other == context:
                assert api("Decrypt", **asked)["Plaintext"] == "YQ=="
            else:
                assert api.fails("Decrypt", **asked) == "InvalidCiphertextException"


def test_re_encrypt(api: Api) -> None:
    one, other = (api("CreateKey")["KeyMetadata"]["Arn"] for _ in range(2))
    blob = api("Encrypt", KeyId=one, Plaintext="YQ==", EncryptionContext={"a": "b"})
    asked: dict[str, Any] = {
        "CiphertextBlob": blob["CiphertextBlob"],
        "SourceEncryptionContext": {"a": "b"},
        "DestinationKeyId": other,
        "DestinationEncryptionContext": {"c": "d"},
    }
    moved = api("ReEncrypt", **asked)
    assert (moved["SourceKeyId"], moved["KeyId"]) == (one, other)
    opened = api("Decrypt", CiphertextBlob=moved["CiphertextBlob"], EncryptionContext={"c": "d"})
    assert (opened["Plaintext"], opened["KeyId"]) == ("YQ==", other)
    assert api.fails("ReEncrypt", **asked, SourceKeyId=other) == "IncorrectKeyException"
    asked["SourceEncryptionContext"] = {}
    assert api.fails("ReEncrypt", **asked) == "InvalidCiphertextException"


@pytest.mark.parametrize(
    ("asked", "length"),
    [
        ({"KeySpec": "AES_256"}, 32),
        ({"KeySpec": "AES_128"}, 16),
        ({"NumberOfBytes": 1}, 1),
        ({"NumberOfBytes": 1024}, 1024),
    ],
)
def test_data_keys(api: Api, asked: dict[str, Any], length: int) -> None:
    made = api("CreateKey")["KeyMetadata"]
    seen = set()
    for _ in range(2):
        generated = api("GenerateDataKey", KeyId=made["KeyId"], **asked)
        plain = base64.b64decode(generated["Plaintext"])
        assert len(plain) == length
        opened = api("Decrypt", CiphertextBlob=generated["CiphertextBlob"])
        assert opened["Plaintext"] == generated["Plaintext"]
        seen.add(generated["CiphertextBlob"])
    hidden = api("GenerateDataKeyWithoutPlaintext", KeyId=made["KeyId"], **asked)
    assert hidden.keys() == {"CiphertextBlob", "KeyId"}
    opened = api("Decrypt", CiphertextBlob=hidden["CiphertextBlob"])
    assert len(base64.b64decode(opened["Plaintext"])) == length
    assert len(seen | {hidden["CiphertextBlob"]}) == 3


CRYPTO: list[tuple[str, dict[str, Any], str]] = [
    ("GenerateDataKey", {}, "ValidationException"),
    ("GenerateDataKey", {"KeySpec": "AES_256", "NumberOfBytes": 32}, "ValidationException"),
    ("GenerateDataKey", {"KeySpec": "AES_512"}, "ValidationException"),
    ("GenerateDataKey", {"NumberOfBytes": 0}, "ValidationException"),
    ("GenerateDataKey", {"NumberOfBytes": 1025}, "ValidationException"),
    ("GenerateDataKey", {"NumberOfBytes": True}, "ValidationException"),
    ("GenerateDataKey", {"NumberOfBytes": "32"}, "SerializationException"),
    ("GenerateDataKey", {"NumberOfBytes": 1, "DryRun": True}, "DryRunOperationException"),
    ("GenerateDataKey", {"NumberOfBytes": 1, "DryRun": "x"}, "SerializationException"),
    ("Encrypt", {}, "ValidationException"),
    ("Encrypt", {"Plaintext": ""}, "ValidationException"),
    ("Encrypt", {"Plaintext": b64(bytes(4097))}, "ValidationException"),
    ("Encrypt", {"Plaintext": "*"}, "SerializationException"),
    ("Encrypt", {"Plaintext": "ä"}, "SerializationException"),
    ("Encrypt", {"Plaintext": 5}, "SerializationException"),
    ("Encrypt", {"Plaintext": "YQ==", "EncryptionContext": []}, "SerializationException"),
    ("Encrypt", {"Plaintext": "YQ==", "EncryptionContext": {"a": 1}}, "ValidationException"),
    (
        "Encrypt",
        {"Plaintext": "YQ==", "EncryptionContext": {"a": "b" * 8192}},
        "ValidationException",
    ),
    ("Encrypt", {"Plaintext": "YQ==", "DryRun": True}, "DryRunOperationException"),
]


@pytest.mark.parametrize(("operation", "members", "code"), CRYPTO)
def test_bad_input(api: Api, operation: str, members: dict[str, Any], code: str) -> None:
    key = api("CreateKey")["KeyMetadata"]["KeyId"]
    assert api.fails(operation, KeyId=key, **members) == code


@pytest.mark.parametrize(
    ("operation", "members", "code"),
    [
        ("DescribeKey", {}, "ValidationException"),
        ("DescribeKey", {"KeyId": None}, "ValidationException"),
        ("DescribeKey", {"KeyId": ""}, "ValidationException"),
        ("DescribeKey", {"KeyId": "a" * 2049}, "ValidationException"),
        ("DescribeKey", {"KeyId": 7}, "SerializationException"),
        ("DescribeKey", {"KeyId": NOWHERE}, "NotFoundException"),
        ("CreateKey", {"Description": "a" * 8193}, "ValidationException"),
        ("ListKeys", {"Limit": 0}, "ValidationException"),
        ("ListKeys", {"Limit": 1001}, "ValidationException"),
        ("ListKeys", {"Marker": ""}, "ValidationException"),
        ("ScheduleKeyDeletion", {"KeyId": NOWHERE}, "NotFoundException"),
    ],
)
def test_bad_input_about_keys(api: Api, operation: str, members: dict[str, Any], code: str) -> None:
    assert api.fails(operation, **members) == code


@pytest.mark.parametrize(
    "members",
    [
        {"KeyUsage": "SIGN_VERIFY"},
        {"KeySpec": "RSA_2048"},
        {"CustomerMasterKeySpec": "HMAC_256"},
        {"Origin": "EXTERNAL"},
        {"MultiRegion": True},
        {"Policy": "{}"},
        {"Tags": [{"TagKey": "a", "TagValue": "b"}]},
    ],
)
def test_what_is_not_offered_is_refused(api: Api, members: dict[str, Any]) -> None:
    assert api.fails("CreateKey", **members) == "UnsupportedOperationException"
    assert api("ListKeys")["Keys"] == []


def test_what_asks_for_nothing_is_not_refused(api: Api) -> None:
    made = api("CreateKey", Tags=[], MultiRegion=False, KeySpec="SYMMETRIC_DEFAULT")
    assert api("Encrypt", KeyId=made["KeyMetadata"]["KeyId"], Plaintext="YQ==", GrantTokens=[])


def test_days_outside_the_window(api: Api) -> None:
    key = api("CreateKey")["KeyMetadata"]["KeyId"]
    for days in (6, 31):
        code = api.fails("ScheduleKeyDeletion", KeyId=key, PendingWindowInDays=days)
        assert code == "ValidationException"


@pytest.mark.parametrize(
    ("target", "body", "code"),
    [
        (None, b"{}", "UnknownOperationException"),
        ("TrentService.Nothing", b"{}", "UnknownOperationException"),
        ("TrentService.", b"{}", "UnknownOperationException"),
        ("ListKeys", b"{}", "UnknownOperationException"),
        ("Other.ListKeys", b"{}", "UnknownOperationException"),
        ("TrentService.ListKeys", b"{", "SerializationException"),
        ("TrentService.ListKeys", b"[]", "SerializationException"),
        ("TrentService.ListKeys", b"[" * 200_000, "SerializationException"),
        ("TrentService.ListKeys", b"\xff", "SerializationException"),
    ],
)
def test_requests_that_are_none(api: Api, target: str | None, body: bytes, code: str) -> None:
    status, document = api.send(target, body)
    assert (status, document["__type"]) == (400, code)


def test_only_posts_are_operations(api: Api) -> None:
    status, document = api.send("TrentService.ListKeys", b"", method="PUT")
    assert (status, document["__type"]) == (400, "UnknownOperationException")
    assert api.send("TrentService.ListKeys", b"")[0] == 200


def test_another_region_has_no_keys_here(api: Api) -> None:
    status, document = api.send("TrentService.ListKeys", b"{}", region="us-west-2")
    assert (status, document["__type"]) == (400, "InvalidSignatureException")
    assert "valid region" in document["message"]


def test_who_is_not_known_is_refused(api: Api) -> None:
    call = Call("POST", b"/", b"", [(b"x-amz-target", b"TrentService.ListKeys")], "ID", b"{}")
    reply = api.face.answer(call)
    assert json.loads(reply.body)["__type"] == "InvalidSignatureException"


def test_a_body_that_is_too_long(api: Api) -> None:
    assert api.face.max_body_bytes == MAX_KMS_BODY_BYTES
    reply = api.face.refuse_length(Call("POST", b"/", b"", [], "ID"))
    assert (reply.status, json.loads(reply.body)["__type"]) == (
        400,
        "RequestEntityTooLargeException",
    )


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (store.KeyNotFoundError("x"), 400, "NotFoundException"),
        (store.KeyDisabledError("x"), 400, "DisabledException"),
        (store.KeyPendingDeletionError("x"), 400, "KMSInvalidStateException"),
        (store.KeyStateError("x"), 400, "KMSInvalidStateException"),
        (AliasExistsError("x"), 400, "AlreadyExistsException"),
        (KeyLimitError("x"), 400, "LimitExceededException"),
        (store.InvalidArgumentError("x"), 400, "ValidationException"),
        (store.InvalidArgumentError("x", "AliasName"), 400, "InvalidAliasNameException"),
        (store.StoreLockedError("x"), 503, "DependencyTimeoutException"),
        (store.KeyServiceError("x"), 500, "KMSInternalException"),
        (ZeroDivisionError("x"), 500, "KMSInternalException"),
        (auth.ExpiredTokenError(), 400, "ExpiredTokenException"),
        (auth.InvalidAccessKeyIdError("A"), 400, "UnrecognizedClientException"),
        (auth.AuthorizationHeaderMalformedError("x"), 400, "IncompleteSignatureException"),
        (auth.AccessDeniedError("x"), 400, "InvalidSignatureException"),
    ],
)
def test_every_error_has_a_name(
    error: Exception, status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    names = {shape for shape in MODEL.shape_names if shape.endswith("Exception")}
    assert from_exception(error).code == code
    assert code in names | OF_ALL_JSON_SERVICES
    with caplog.at_level(logging.ERROR, "objstore.kms"):
        reply = to_reply(Call("POST", b"/", b"", [], "ID"), error)
    assert reply.status == status
    assert ("ID" in caplog.text) is (status >= 500)


def test_where_the_files_are_is_for_the_log_alone(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    api("CreateKey")
    api.service.close()
    api.keys.root.unlink()
    with caplog.at_level(logging.ERROR, "objstore.kms"):
        status, document = api.send("TrentService.ListKeys", b"{}")
    assert (status, document["__type"]) == (500, "KMSInternalException")
    assert str(api.keys.root) not in document["message"]
    assert str(api.keys.root) in caplog.text
