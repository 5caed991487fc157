"""KMS by boto3 and by the `aws` command, against a server with two workers."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from objstore.commands.keys import ROOT_KEY_VARIABLE
from tests.clients.endpoint import Endpoint, ServerProcess
from tests.clients.errors import refused

KINDS: dict[str, Any] = {
    "string": str,
    "blob": str,
    "integer": int,
    "boolean": bool,
    "timestamp": (int, float),
    "structure": dict,
    "list": list,
}


def check(value: Any, shape: Any, path: str) -> None:
    """An answer holds nothing but what the model has, and of the model's types."""
    assert isinstance(value, KINDS[shape.type_name]), (path, value)
    if shape.type_name == "structure":
        assert value.keys() <= shape.members.keys(), (path, value)
        assert set(shape.required_members) <= value.keys(), (path, value)
        for name, member in value.items():
            check(member, shape.members[name], f"{path}.{name}")
    elif shape.type_name == "list":
        for member in value:
            check(member, shape.member, f"{path}[]")
    else:
        enum = getattr(shape, "enum", None)
        assert not enum or value in enum, (path, value)


def check_answer(operation_model: Any, response_dict: Any, **_: Any) -> None:
    if response_dict["status_code"] == 200:
        shape, body = operation_model.output_shape, response_dict["body"]
        if shape is None:
            assert body == b""
        else:
            check(json.loads(body), shape, operation_model.name)


def kms_client(endpoint: Endpoint, **options: Any) -> Any:
    """A client that tries once and holds every answer against the model."""
    client = boto3.client(
        "kms",
        endpoint_url=endpoint.url,
        aws_access_key_id=options.get("access_key", endpoint.access_key),
        aws_secret_access_key=endpoint.secret_key,
        region_name=options.get("region", endpoint.region),
        config=Config(connect_timeout=10, read_timeout=120, retries={"total_max_attempts": 1}),
    )
    client.meta.events.register("before-parse.kms", check_answer)
    return client


@pytest.fixture(scope="module")
def root_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stick") / "root.key"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, root_key: Path) -> Iterator[ServerProcess]:
    """A server whose root key is elsewhere."""
    from tests.stores import assert_whole

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ROOT_KEY_VARIABLE, str(root_key))
        process = ServerProcess(tmp_path_factory.mktemp("keys"))
    try:
        yield process
    finally:
        process.stop()
    assert_whole(process.data)


@pytest.fixture
def kms(server: ServerProcess) -> Any:
    return kms_client(server.endpoint)


def test_a_key_and_its_life(kms: Any, server: ServerProcess, root_key: Path) -> None:
    made = kms.create_key(Description="by boto3")["KeyMetadata"]
    assert made["Arn"] == f"arn:aws:kms:us-east-1:000000000000:key/{made['KeyId']}"
    assert root_key.stat().st_size == 32
    assert not (server.data / "kms" / "root.key").exists()
    key = made["KeyId"]
    kms.create_alias(AliasName="alias/life", TargetKeyId=key)
    assert kms.describe_key(KeyId="alias/life")["KeyMetadata"] == made
    assert [alias["AliasName"] for alias in kms.list_aliases(KeyId=key)["Aliases"]] == [
        "alias/life"
    ]
    kms.disable_key(KeyId=key)
    with refused(400, "DisabledException"):
        kms.encrypt(KeyId=key, Plaintext=b"x")
    kms.enable_key(KeyId=key)
    kms.enable_key_rotation(KeyId=key)
    status = kms.get_key_rotation_status(KeyId=key)
    assert (status["KeyRotationEnabled"], status["RotationPeriodInDays"]) == (True, 365)
    assert (status["NextRotationDate"] - made["CreationDate"]).days == 365
    kms.disable_key_rotation(KeyId=key)
    kms.rotate_key_on_demand(KeyId=key)
    planned = kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    assert (planned["DeletionDate"] - made["CreationDate"]).days == 7
    with refused(400, "KMSInvalidStateException"):
        kms.encrypt(KeyId=key, Plaintext=b"x")
    assert kms.cancel_key_deletion(KeyId=key)["KeyId"] == made["Arn"]
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Disabled"
    kms.delete_alias(AliasName="alias/life")
    with refused(400, "NotFoundException"):
        kms.describe_key(KeyId="alias/life")


def test_every_worker_sees_a_change_at_once(server: ServerProcess) -> None:
    clients = [kms_client(server.endpoint) for _ in range(4)]  # a connection each
    key = clients[0].create_key()["KeyMetadata"]["KeyId"]
    for number in range(20):
        sealed = clients[number % 4].encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
        clients[(number + 1) % 4].rotate_key_on_demand(KeyId=key)
        opened = clients[(number + 2) % 4].decrypt(CiphertextBlob=sealed)
        assert opened["Plaintext"] == b"x"
        clients[(number + 3) % 4].disable_key(KeyId=key)
        for client in clients:
            with refused(400, "DisabledException"):
                client.decrypt(CiphertextBlob=sealed)
        clients[number % 4].enable_key(KeyId=key)


def test_encrypt_decrypt_and_data_keys(kms: Any) -> None:
    one, other = (kms.create_key()["KeyMetadata"]["Arn"] for _ in range(2))
    context = {"purpose": "test"}
    blob = kms.encrypt(KeyId=one, Plaintext=b"\x00\xffx", EncryptionContext=context)
    moved = kms.re_encrypt(
        CiphertextBlob=blob["CiphertextBlob"],
        SourceEncryptionContext=context,
        DestinationKeyId=other,
    )
    assert (moved["SourceKeyId"], moved["KeyId"]) == (one, other)
    assert kms.decrypt(CiphertextBlob=moved["CiphertextBlob"])["Plaintext"] == b"\x00\xffx"
    with refused(400, "InvalidCiphertextException"):
        kms.decrypt(CiphertextBlob=blob["CiphertextBlob"])
    with refused(400, "IncorrectKeyException"):
        kms.decrypt(CiphertextBlob=blob["CiphertextBlob"], EncryptionContext=context, KeyId=other)
    data = kms.generate_data_key(KeyId=one, KeySpec="AES_256")
    assert len(data["Plaintext"]) == 32
    assert kms.decrypt(CiphertextBlob=data["CiphertextBlob"])["Plaintext"] == data["Plaintext"]
    hidden = kms.generate_data_key_without_plaintext(KeyId=one, NumberOfBytes=24)
    assert len(kms.decrypt(CiphertextBlob=hidden["CiphertextBlob"])["Plaintext"]) == 24
    with refused(400, "DryRunOperationException"):
        kms.encrypt(KeyId=one, Plaintext=b"x", DryRun=True)


def test_paginators_of_boto3(kms: Any) -> None:
    made = {kms.create_key()["KeyMetadata"]["KeyId"] for _ in range(5)}
    pages = kms.get_paginator("list_keys").paginate(PaginationConfig={"PageSize": 2})
    found = [key["KeyId"] for page in pages for key in page["Keys"]]
    assert made <= set(found)
    assert len(found) == len(set(found))
    names = {f"alias/page-{number}" for number in range(3)}
    for name in names:
        kms.create_alias(AliasName=name, TargetKeyId=min(made))
    aliases = kms.get_paginator("list_aliases").paginate(
        KeyId=min(made), PaginationConfig={"PageSize": 1}
    )
    assert {alias["AliasName"] for page in aliases for alias in page["Aliases"]} == names


def test_who_may_not(server: ServerProcess) -> None:
    with refused(400, "UnrecognizedClientException"):
        kms_client(server.endpoint, access_key="NOBODY").list_keys()
    with refused(400, "InvalidSignatureException"):
        kms_client(server.endpoint, region="eu-west-1").list_keys()
    with refused(400, "RequestEntityTooLargeException"):
        kms_client(server.endpoint).create_key(Policy="x" * 300_000)
    with refused(400, "UnsupportedOperationException"):
        kms_client(server.endpoint).create_key(KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")
    with refused(400, "UnknownOperationException"):
        kms_client(server.endpoint).generate_random(NumberOfBytes=5)


def test_s3_is_where_it_was(server: ServerProcess) -> None:
    s3 = server.endpoint.client()
    s3.create_bucket(Bucket="beside-kms")
    s3.put_object(Bucket="beside-kms", Key="k", Body=b"x")
    assert s3.get_object(Bucket="beside-kms", Key="k")["Body"].read() == b"x"


def test_the_aws_command(server: ServerProcess, tmp_path: Path) -> None:
    def aws(*arguments: str | Path) -> Any:
        done = server.endpoint.aws("kms", *arguments, "--output", "json")
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout or b"null")

    key = aws("create-key", "--description", "from the shell")["KeyMetadata"]["KeyId"]
    aws("create-alias", "--alias-name", "alias/shell", "--target-key-id", key)
    plain = tmp_path / "plain"
    plain.write_bytes(b"from a file")
    sealed = aws(
        *("encrypt", "--key-id", "alias/shell", "--plaintext", f"fileb://{plain}"),
        *("--encryption-context", "a=b"),
    )["CiphertextBlob"]
    (tmp_path / "sealed").write_bytes(base64.b64decode(sealed))
    opened = aws(
        *("decrypt", "--ciphertext-blob", f"fileb://{tmp_path / 'sealed'}"),
        *("--encryption-context", "a=b"),
    )
    assert base64.b64decode(opened["Plaintext"]) == b"from a file"
    assert aws("describe-key", "--key-id", "alias/shell")["KeyMetadata"]["KeyId"] == key
    listed = aws("list-keys")["Keys"]
    assert key in [entry["KeyId"] for entry in listed]
    aws("schedule-key-deletion", "--key-id", key, "--pending-window-in-days", "7")
    failed = server.endpoint.aws("kms", "enable-key", "--key-id", key)
    assert failed.returncode != 0
    assert b"KMSInvalidStateException" in failed.stderr
