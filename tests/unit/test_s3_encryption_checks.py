"""Which operations take headers of encryption, and the encryption of a bucket, over a stub."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from objstore.errors import NoSuchBucketError, NoSuchSettingError
from objstore.model import NO_ENCRYPTION, Encryption
from objstore.s3 import encryption, encryption_checks
from objstore.s3.errors import S3Error
from objstore.s3.http import Context, Request, Response
from objstore.s3.operations import bucket_encryption

SSE = "x-amz-server-side-encryption"
CHOOSING = ("PutObject", "CopyObject", "CreateMultipartUpload")
CARRYING = (
    "GetObject",
    "HeadObject",
    "GetObjectAttributes",
    "UploadPart",
    "UploadPartCopy",
    "ListParts",
    "CompleteMultipartUpload",
)


class Settings:
    """The settings of one bucket, ``bucket``."""

    def __init__(self) -> None:
        self.default = NO_ENCRYPTION
        self.settings: dict[str, bytes] = {}

    def head_bucket(self, bucket: str) -> None:
        if bucket != "bucket":
            raise NoSuchBucketError(bucket)

    def bucket_encryption(self, bucket: str) -> Encryption:
        self.head_bucket(bucket)
        return self.default

    def set_bucket_encryption(
        self, bucket: str, wanted: Encryption | None, *, also: dict[str, bytes | None]
    ) -> None:
        self.head_bucket(bucket)
        if wanted is not None:
            self.default = wanted
        for name, value in also.items():
            self.set_bucket_setting(bucket, name, value)

    def bucket_setting(self, bucket: str, name: str) -> bytes:
        self.head_bucket(bucket)
        if name not in self.settings:
            raise NoSuchSettingError(name)
        return self.settings[name]

    def set_bucket_setting(self, bucket: str, name: str, value: bytes | None) -> None:
        self.head_bucket(bucket)
        self.settings.pop(name, None)
        if value is not None:
            self.settings[name] = value


@pytest.fixture
def settings() -> Settings:
    return Settings()


def context(settings: Settings) -> Context:
    made: Any = SimpleNamespace(store=settings)
    context: Context = made
    return context


def request(headers: tuple[bytes, ...] = (), bucket: str = "bucket") -> Request:
    made = Request("PUT", b"/bucket/key", b"", [(name, b"AES256") for name in headers])
    made.bucket = bucket
    return made


def check(settings: Settings, operation: str, *headers: bytes) -> None:
    encryption_checks.check_operation(context(settings), operation, request(headers))


@pytest.mark.parametrize("name", sorted(encryption.HEADERS))
@pytest.mark.parametrize("operation", CHOOSING)
def test_a_write_may_choose(settings: Settings, operation: str, name: bytes) -> None:
    check(settings, operation, name)


@pytest.mark.parametrize("operation", CARRYING)
def test_what_is_encrypted_already_takes_a_customers_key_and_no_more(
    settings: Settings, operation: str
) -> None:
    for name in encryption.OF_CUSTOMER:
        check(settings, operation, name)
    for name in encryption.MANAGED:
        with pytest.raises(S3Error, match="not supported for this operation") as caught:
            check(settings, operation, name)
        assert caught.value.code == "InvalidArgument"
        assert caught.value.extra == {"ArgumentName": name.decode(), "ArgumentValue": "AES256"}


@pytest.mark.parametrize("operation", ["DeleteObject", "ListObjects", "PutBucketTagging"])
def test_others_refuse_all_of_it(settings: Settings, operation: str) -> None:
    check(settings, operation)
    for name in encryption.ALL_HEADERS:
        with pytest.raises(S3Error) as caught:
            check(settings, operation, name)
        assert (caught.value.code, caught.value.status) == ("NotImplemented", 501)
        assert caught.value.extra == {"Header": name.decode()}


@pytest.mark.parametrize("operation", [*CHOOSING, *CARRYING])
def test_only_copies_have_a_source(settings: Settings, operation: str) -> None:
    for name in encryption.OF_SOURCE:
        if "Copy" in operation:
            check(settings, operation, name)
        else:
            with pytest.raises(S3Error) as caught:
                check(settings, operation, name)
            assert caught.value.code == "NotImplemented"


ROOT = "ServerSideEncryptionConfiguration"
DEFAULT = "ApplyServerSideEncryptionByDefault"


def rule(inner: str) -> bytes:
    namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
    return f'<{ROOT} xmlns="{namespace}"><Rule>{inner}</Rule></{ROOT}>'.encode()


def default(algorithm: str, key_id: str = "") -> str:
    key = f"<KMSMasterKeyID>{key_id}</KMSMasterKeyID>" if key_id else ""
    return f"<{DEFAULT}><SSEAlgorithm>{algorithm}</SSEAlgorithm>{key}</{DEFAULT}>"


def blocked(*types: str) -> str:
    inner = "".join(f"<EncryptionType>{name}</EncryptionType>" for name in types)
    return f"<BlockedEncryptionTypes>{inner}</BlockedEncryptionTypes>"


FLAG = "<BucketKeyEnabled>true</BucketKeyEnabled>"


def put(settings: Settings, body: bytes, bucket: str = "bucket") -> Response:
    return bucket_encryption.put_encryption(context(settings), request(bucket=bucket), body)


def get(settings: Settings) -> bytes:
    answer = bucket_encryption.get_encryption(context(settings), request(), b"")
    assert isinstance(answer.body, bytes)
    return answer.body


@pytest.mark.parametrize(
    ("inner", "wanted"),
    [
        (default("AES256"), Encryption("AES256")),
        (default("aws:kms"), Encryption("aws:kms")),
        (default("aws:kms", "alias/a"), Encryption("aws:kms", "alias/a")),
        (default("aws:kms", "alias/a") + FLAG, Encryption("aws:kms", "alias/a", bucket_key=True)),
        (default("aws:kms:dsse") + FLAG, Encryption("aws:kms:dsse")),
        (default("AES256") + FLAG, Encryption("AES256")),
    ],
)
def test_a_default_is_kept_and_told(settings: Settings, inner: str, wanted: Encryption) -> None:
    assert put(settings, rule(inner)).status == 200
    assert settings.default == wanted
    told = get(settings)
    flag = b"true" if wanted.bucket_key else b"false"
    assert b"<BucketKeyEnabled>" + flag in told
    assert blocked("NONE").encode() in told
    settings.default = NO_ENCRYPTION
    put(settings, told)  # what was told can be put again
    assert settings.default == wanted


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        f"<{ROOT}/>".encode(),
        rule(""),
        rule(default("AES256")).replace(b"</Rule>", b"</Rule><Rule/>"),
        rule("<Other/>"),
        rule(default("AES256") * 2),
        rule(f"<{DEFAULT}/>"),
        rule(default("AES512")),
        rule(default("aws:fsx")),
        rule(default("SSE-C")),
        rule(default("AES256") + "<BucketKeyEnabled>yes</BucketKeyEnabled>"),
        rule(default("AES256") + blocked()),
        rule(default("AES256") + blocked("AES256")),
        rule(default("AES256") + blocked("NONE", "SSE-C")),
    ],
)
def test_a_document_that_is_none_changes_nothing(settings: Settings, body: bytes) -> None:
    put(settings, rule(default("aws:kms") + blocked("SSE-C")))
    with pytest.raises(S3Error) as caught:
        put(settings, body)
    assert caught.value.code == "MalformedXML"
    assert settings.default == Encryption("aws:kms")
    assert encryption_checks.is_blocked(context(settings), "bucket")


@pytest.mark.parametrize("key_id", ["alias/a", "k" * 3000])
def test_a_key_that_does_not_belong_there(settings: Settings, key_id: str) -> None:
    algorithm = "AES256" if len(key_id) < 100 else "aws:kms"
    with pytest.raises(S3Error) as caught:
        put(settings, rule(default(algorithm, key_id)))
    assert caught.value.code == "InvalidArgument"
    assert settings.default == NO_ENCRYPTION


def test_what_a_rule_does_not_speak_of_stays(settings: Settings) -> None:
    put(settings, rule(default("aws:kms", "alias/a")))
    put(settings, rule(blocked("SSE-C")))
    assert settings.default == Encryption("aws:kms", "alias/a")
    put(settings, rule(FLAG))
    assert settings.default == Encryption("aws:kms", "alias/a", bucket_key=True)
    put(settings, rule(default("AES256")))
    assert encryption_checks.is_blocked(context(settings), "bucket")
    put(settings, rule(blocked("NONE")))
    assert settings.settings == {}
    put(settings, rule(FLAG))  # of no use to AES256
    assert settings.default == Encryption("AES256")


def test_a_bucket_without_any(settings: Settings) -> None:
    with pytest.raises(NoSuchSettingError) as caught:
        get(settings)
    assert caught.value.setting == "encryption"  # which S3's codes are looked up by
    with pytest.raises(S3Error, match="MalformedXML"):
        put(settings, rule(FLAG))  # a bucket key of no key
    assert settings.default == NO_ENCRYPTION
    put(settings, rule(blocked("SSE-C")))
    assert blocked("SSE-C").encode() in get(settings)
    assert DEFAULT.encode() not in get(settings)


def test_deleting_removes_both_and_may_be_repeated(settings: Settings) -> None:
    put(settings, rule(default("AES256") + blocked("SSE-C")))
    for _ in range(2):
        answer = bucket_encryption.delete_encryption(context(settings), request(), b"")
        assert answer.status == 204
    assert (settings.default, settings.settings) == (NO_ENCRYPTION, {})


def test_the_bucket_is_looked_for_before_the_document_is_read(settings: Settings) -> None:
    with pytest.raises(NoSuchBucketError):
        put(settings, b"nonsense", "elsewhere")


@pytest.mark.parametrize("operation", [*CHOOSING, *CARRYING])
def test_a_bucket_that_refuses_customers_keys(settings: Settings, operation: str) -> None:
    put(settings, rule(blocked("SSE-C")))
    writes = operation in (*CHOOSING, "UploadPart", "UploadPartCopy")
    for name in encryption.OF_CUSTOMER:
        if not writes:
            check(settings, operation, name)
            continue
        with pytest.raises(S3Error, match="has blocked upload requests") as caught:
            check(settings, operation, name)
        assert (caught.value.code, caught.value.status) == ("AccessDenied", 403)
    check(settings, operation, *(() if operation in CARRYING else (SSE.encode(),)))
    put(settings, rule(blocked("NONE")))
    check(settings, operation, *encryption.OF_CUSTOMER)
