"""Object lock on the wire: configuration, retention, legal hold, and what they forbid."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.s3.harness import S3, Reply, backend, md5_header
from tests.s3.test_operations_encryption import sse_c

__all__ = ["backend"]

MODE = "x-amz-object-lock-mode"
UNTIL = "x-amz-object-lock-retain-until-date"
HOLD = "x-amz-object-lock-legal-hold"
BYPASS = {"x-amz-bypass-governance-retention": "true"}
DATA = b"to be kept"
DAY_MS = 24 * 3600 * 1000


@pytest.fixture
def s3() -> S3:
    server = S3(min_part_bytes=1)
    headers = {"x-amz-bucket-object-lock-enabled": "true"}
    assert server("PUT", "/bucket", headers=headers).status == 200
    server("PUT", "/plain")
    return server


def date(s3: S3, days: float) -> str:
    """So many days from now."""
    moment = datetime.fromtimestamp(s3.clock.now_ns() / 1e9 + days * 86_400, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def send(s3: S3, path: str, query: str, body: str, headers: dict[str, str] | None = None) -> Reply:
    data = body.encode()
    given = {"content-md5": md5_header(data), **(headers or {})}
    return s3("PUT", path, data, query=query, headers=given)


def put(s3: S3, key: str = "key", bucket: str = "bucket", **headers: str) -> Reply:
    given = {"content-md5": md5_header(DATA), **headers}
    return s3("PUT", f"/{bucket}/{key}", DATA, headers=given)


def retain(s3: S3, mode: str, days: float, version: str = "", bypass: bool = False) -> Reply:
    body = (
        f"<Retention><Mode>{mode}</Mode><RetainUntilDate>{date(s3, days)}</RetainUntilDate>"
        "</Retention>"
    )
    query = "retention" + (f"&versionId={version}" if version else "")
    return send(s3, "/bucket/key", query, body, BYPASS if bypass else {})


def hold(s3: S3, status: str) -> Reply:
    return send(
        s3, "/bucket/key", "legal-hold", f"<LegalHold><Status>{status}</Status></LegalHold>"
    )


def configure(s3: S3, rule: str, bucket: str = "bucket", enabled: str = "Enabled") -> Reply:
    body = (
        f"<ObjectLockConfiguration><ObjectLockEnabled>{enabled}</ObjectLockEnabled>{rule}"
        "</ObjectLockConfiguration>"
    )
    return send(s3, f"/{bucket}", "object-lock", body)


def default(mode: str, **period: object) -> str:
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in period.items())
    return f"<Rule><DefaultRetention><Mode>{mode}</Mode>{inner}</DefaultRetention></Rule>"


def delete(s3: S3, version: str, headers: dict[str, str] | None = None) -> int:
    return s3("DELETE", "/bucket/key", query=f"versionId={version}", headers=headers).status


# --- buckets ------------------------------------------------------------------------


def test_a_bucket_with_object_lock(s3: S3) -> None:
    shown = s3("GET", "/bucket", query="object-lock")
    assert (shown.status, shown.text("ObjectLockEnabled")) == (200, "Enabled")
    assert shown.xml.find("Rule") is None
    assert s3("GET", "/bucket", query="versioning").text("Status") == "Enabled"
    suspended = "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>"
    refused = send(s3, "/bucket", "versioning", suspended)
    assert (refused.status, refused.code) == (409, "InvalidBucketState")
    missing = s3("GET", "/plain", query="object-lock")
    assert (missing.status, missing.code) == (404, "ObjectLockConfigurationNotFoundError")


@pytest.mark.parametrize("value", ["maybe", "1", ""])
def test_a_bucket_with_a_lock_or_not(s3: S3, value: str) -> None:
    headers = {"x-amz-bucket-object-lock-enabled": value}
    reply = s3("PUT", "/other", headers=headers)
    assert (reply.status, reply.code) == (400, "InvalidArgument")
    assert s3("HEAD", "/other").status == 404
    headers = {"x-amz-bucket-object-lock-enabled": "false"}
    assert s3("PUT", "/other", headers=headers).status == 200
    assert s3("GET", "/other", query="object-lock").status == 404


def test_object_lock_comes_to_a_bucket_later(s3: S3) -> None:
    refused = configure(s3, "", "plain")
    assert (refused.status, refused.code) == (409, "InvalidBucketState")
    enabled = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    send(s3, "/plain", "versioning", enabled)
    assert configure(s3, default("GOVERNANCE", Years=2), "plain").status == 200
    shown = s3("GET", "/plain", query="object-lock")
    assert shown.text("Rule/DefaultRetention/Mode") == "GOVERNANCE"
    assert shown.text("Rule/DefaultRetention/Years") == "2"
    assert shown.text("Rule/DefaultRetention/Days") is None
    assert configure(s3, "", "plain").status == 200
    assert s3("GET", "/plain", query="object-lock").xml.find("Rule") is None


def test_a_default_retention(s3: S3) -> None:
    configure(s3, default("GOVERNANCE", Days=3))
    version = put(s3).headers["x-amz-version-id"]
    head = s3("HEAD", "/bucket/key")
    assert (head.headers[MODE], head.headers[UNTIL][:10]) == ("GOVERNANCE", date(s3, 3)[:10])
    assert HOLD not in head.headers
    own = put(s3, **{MODE: "COMPLIANCE", UNTIL: date(s3, 1)})
    assert s3("HEAD", "/bucket/key").headers[MODE] == "COMPLIANCE"
    assert delete(s3, version) == 403
    s3.clock.advance(2 * DAY_MS * 1_000_000)
    assert delete(s3, own.headers["x-amz-version-id"]) == 204
    s3.clock.advance(2 * DAY_MS * 1_000_000)
    assert delete(s3, version) == 204


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        (default("GOVERNANCE", Days=0), "InvalidArgument"),
        (default("GOVERNANCE", Days=-1), "InvalidArgument"),
        (default("GOVERNANCE", Days=36_501), "InvalidArgument"),
        (default("GOVERNANCE", Years=10**12), "InvalidArgument"),
        (default("GOVERNANCE", Days="many"), "MalformedXML"),
        (default("GOVERNANCE", Days="٣"), "MalformedXML"),
        (default("GOVERNANCE"), "MalformedXML"),
        (default("GOVERNANCE", Days=1, Years=1), "MalformedXML"),
        (default("governance", Days=1), "MalformedXML"),
        (default("GOVERNANCE", Days=1) * 2, "MalformedXML"),
        ("<Rule/>", "MalformedXML"),
        ("<Rule><Unknown/></Rule>", "MalformedXML"),
    ],
)
def test_bad_defaults(s3: S3, rule: str, code: str) -> None:
    configure(s3, default("GOVERNANCE", Days=7))
    reply = configure(s3, rule)
    assert (reply.status, reply.code) == (400, code)
    assert s3("GET", "/bucket", query="object-lock").text("Rule/DefaultRetention/Days") == "7"


def test_bad_configurations(s3: S3) -> None:
    assert configure(s3, "", enabled="Disabled").code == "MalformedXML"
    assert send(s3, "/bucket", "object-lock", "").code == "MissingRequestBodyError"
    assert send(s3, "/bucket", "object-lock", "<Other/>").code == "MalformedXML"
    assert send(s3, "/bucket", "object-lock", "<Obj").code == "MalformedXML"
    assert configure(s3, "", "missing").code == "NoSuchBucket"
    assert s3("GET", "/missing", query="object-lock").code == "NoSuchBucket"


# --- headers of writes --------------------------------------------------------------


def locked(s3: S3) -> dict[str, str]:
    return {MODE: "COMPLIANCE", UNTIL: date(s3, 2), HOLD: "ON"}


def check_locked(s3: S3, key: str = "key") -> None:
    for method in ("GET", "HEAD"):
        reply = s3(method, f"/bucket/{key}")
        assert reply.headers[MODE] == "COMPLIANCE"
        assert reply.headers[UNTIL] == date(s3, 2).replace("Z", ".000Z")
        assert reply.headers[HOLD] == "ON"


def test_headers_of_a_put(s3: S3) -> None:
    assert put(s3, **locked(s3)).status == 200
    check_locked(s3)


def test_headers_of_a_copy(s3: S3) -> None:
    put(s3, "source", **locked(s3))
    headers = {"x-amz-copy-source": "/bucket/source"}
    assert s3("PUT", "/bucket/key", headers=headers).status == 200
    assert MODE not in s3("HEAD", "/bucket/key").headers
    assert s3("PUT", "/bucket/key", headers={**headers, **locked(s3)}).status == 200
    check_locked(s3)


def test_headers_of_an_upload(s3: S3) -> None:
    created = s3("POST", "/bucket/key", query="uploads", headers=locked(s3))
    upload_id = created.text("UploadId")
    part = s3("PUT", "/bucket/key", DATA, query=f"partNumber=1&uploadId={upload_id}")
    body = (
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber>"
        f"<ETag>{part.etag}</ETag></Part></CompleteMultipartUpload>"
    ).encode()
    assert s3("POST", "/bucket/key", body, query=f"uploadId={upload_id}").status == 200
    check_locked(s3)


@pytest.mark.parametrize(
    "headers",
    [
        {MODE: "COMPLIANCE"},
        {UNTIL: "2100-01-01T00:00:00Z"},
        {MODE: "compliance", UNTIL: "2100-01-01T00:00:00Z"},
        {MODE: "COMPLIANCE", UNTIL: "tomorrow"},
        {MODE: "COMPLIANCE", UNTIL: "2100-01-01"},
        {MODE: "COMPLIANCE", UNTIL: "2100-01-01T00:00:00"},
        {MODE: "COMPLIANCE", UNTIL: "0001-01-01T00:00:00+23:00"},
        {MODE: "COMPLIANCE", UNTIL: "1999-01-01T00:00:00Z"},
        {MODE: "COMPLIANCE", UNTIL: "9999-12-31T23:59:59-12:00"},
        {HOLD: "on"},
        {HOLD: ""},
    ],
)
def test_bad_headers(s3: S3, headers: dict[str, str]) -> None:
    reply = put(s3, **headers)
    assert (reply.status, reply.code) == (400, "InvalidArgument")
    created = s3("POST", "/bucket/key", query="uploads", headers=headers)
    assert (created.status, created.code) == (400, "InvalidArgument")
    assert s3("HEAD", "/bucket/key").status == 404
    assert s3("GET", "/bucket", query="uploads").texts("Upload") == []


def test_a_bucket_without_object_lock_takes_none(s3: S3) -> None:
    put(s3, "key", "plain")
    wanted = [
        put(s3, "other", "plain", **locked(s3)),
        s3("POST", "/plain/other", query="uploads", headers=locked(s3)),
        s3("GET", "/plain/key", query="retention"),
        s3("GET", "/plain/key", query="legal-hold"),
        send(s3, "/plain/key", "legal-hold", "<LegalHold><Status>ON</Status></LegalHold>"),
        send(
            s3,
            "/plain/key",
            "retention",
            "<Retention><Mode>GOVERNANCE</Mode>"
            f"<RetainUntilDate>{date(s3, 1)}</RetainUntilDate></Retention>",
        ),
    ]
    for reply in wanted:
        assert (reply.status, reply.code) == (400, "InvalidRequest")
        assert "Object Lock Configuration" in (reply.text("Message") or "")
    assert s3("HEAD", "/plain/other").status == 404


def test_a_locked_object_comes_with_a_digest(s3: S3) -> None:
    without = s3("PUT", "/bucket/key", DATA, headers={HOLD: "ON"})
    assert (without.status, without.code) == (400, "InvalidRequest")
    upload_id = s3("POST", "/bucket/key", query="uploads").text("UploadId")
    assert s3("PUT", "/bucket/key", DATA).status == 200
    configure(s3, default("GOVERNANCE", Days=1))
    part = f"partNumber=1&uploadId={upload_id}"
    for query in ("", part):
        refused = s3("PUT", "/bucket/key", DATA, query=query)
        assert (refused.status, refused.code) == (400, "InvalidRequest")
        headers = {"content-md5": md5_header(DATA)}
        assert s3("PUT", "/bucket/key", DATA, query=query, headers=headers).status == 200


# --- retention and legal hold of a version ------------------------------------------


def test_retention(s3: S3) -> None:
    version = put(s3).headers["x-amz-version-id"]
    missing = s3("GET", "/bucket/key", query="retention")
    assert (missing.status, missing.code) == (404, "NoSuchObjectLockConfiguration")
    assert retain(s3, "GOVERNANCE", 5).status == 200
    shown = s3("GET", "/bucket/key", query="retention")
    assert shown.text("Mode") == "GOVERNANCE"
    assert shown.text("RetainUntilDate") == date(s3, 5).replace("Z", ".000Z")
    put(s3)  # another version has none
    assert s3("GET", "/bucket/key", query="retention").status == 404
    assert s3("GET", "/bucket/key", query=f"retention&versionId={version}").status == 200
    assert retain(s3, "GOVERNANCE", 6, version).status == 200
    shorter = retain(s3, "GOVERNANCE", 1, version)
    assert (shorter.status, shorter.code) == (403, "AccessDenied")
    assert retain(s3, "GOVERNANCE", 1, version, bypass=True).status == 200
    assert retain(s3, "COMPLIANCE", 2, version, bypass=True).status == 200
    for bypass in (False, True):
        assert retain(s3, "COMPLIANCE", 1, version, bypass=bypass).status == 403
        query = f"retention&versionId={version}"
        assert send(s3, "/bucket/key", query, "<Retention/>", BYPASS).status == 403
        assert delete(s3, version, BYPASS) == 403
    s3.clock.advance(3 * DAY_MS * 1_000_000)
    assert delete(s3, version) == 204


def test_governance_is_lifted_by_a_bypass(s3: S3) -> None:
    version = put(s3, **{MODE: "GOVERNANCE", UNTIL: date(s3, 9)}).headers["x-amz-version-id"]
    assert send(s3, "/bucket/key", "retention", "<Retention/>").status == 403
    assert send(s3, "/bucket/key", "retention", "<Retention/>", BYPASS).status == 200
    assert s3("GET", "/bucket/key", query="retention").status == 404
    assert delete(s3, version) == 204


def test_a_legal_hold(s3: S3) -> None:
    version = put(s3).headers["x-amz-version-id"]
    missing = s3("GET", "/bucket/key", query="legal-hold")
    assert (missing.status, missing.code) == (404, "NoSuchObjectLockConfiguration")
    assert hold(s3, "ON").status == 200
    assert s3("GET", "/bucket/key", query="legal-hold").text("Status") == "ON"
    assert delete(s3, version, BYPASS) == 403
    assert hold(s3, "OFF").status == 200
    assert s3("GET", "/bucket/key", query="legal-hold").text("Status") == "OFF"
    assert s3("HEAD", "/bucket/key").headers[HOLD] == "OFF"
    assert delete(s3, version) == 204


@pytest.mark.parametrize(
    ("query", "body", "code"),
    [
        ("retention", "", "MissingRequestBodyError"),
        ("retention", "<Other/>", "MalformedXML"),
        ("retention", "<Retention><Mode>GOVERNANCE</Mode></Retention>", "MalformedXML"),
        (
            "retention",
            "<Retention><RetainUntilDate>2100-01-01T00:00:00Z</RetainUntilDate></Retention>",
            "MalformedXML",
        ),
        (
            "retention",
            "<Retention><Mode>X</Mode>"
            "<RetainUntilDate>2100-01-01T00:00:00Z</RetainUntilDate></Retention>",
            "MalformedXML",
        ),
        (
            "retention",
            "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>soon</RetainUntilDate></Retention>",
            "MalformedXML",
        ),
        (
            "retention",
            "<Retention><Mode>GOVERNANCE</Mode>"
            "<RetainUntilDate>1999-01-01T00:00:00Z</RetainUntilDate></Retention>",
            "InvalidArgument",
        ),
        ("retention&versionId=x", "<Retention/>", "InvalidArgument"),
        ("legal-hold", "", "MissingRequestBodyError"),
        ("legal-hold", "<LegalHold/>", "MalformedXML"),
        ("legal-hold", "<LegalHold><Status>on</Status></LegalHold>", "MalformedXML"),
        ("legal-hold", "<LegalHold><Other/></LegalHold>", "MalformedXML"),
        ("legal-hold&versionId=", "<LegalHold><Status>ON</Status></LegalHold>", "InvalidArgument"),
    ],
)
def test_bad_input(s3: S3, query: str, body: str, code: str) -> None:
    put(s3)
    reply = send(s3, "/bucket/key", query, body)
    assert (reply.status, reply.code) == (400, code)
    assert s3("GET", "/bucket/key", query="retention").status == 404
    assert s3("GET", "/bucket/key", query="legal-hold").status == 404


@pytest.mark.parametrize("what", ["retention", "legal-hold"])
def test_what_is_not_there(s3: S3, what: str) -> None:
    bodies = {
        "retention": "<Retention><Mode>GOVERNANCE</Mode>"
        f"<RetainUntilDate>{date(s3, 1)}</RetainUntilDate></Retention>",
        "legal-hold": "<LegalHold><Status>ON</Status></LegalHold>",
    }
    marker = s3("DELETE", "/bucket/hidden").headers["x-amz-version-id"]
    for path, query, status, code in [
        ("/bucket/missing", what, 404, "NoSuchKey"),
        ("/bucket/hidden", what, 404, "NoSuchKey"),
        ("/bucket/hidden", f"{what}&versionId={marker}", 405, "MethodNotAllowed"),
        ("/bucket/missing", f"{what}&versionId={'v' * 32}", 404, "NoSuchVersion"),
        ("/missing/key", what, 404, "NoSuchBucket"),
    ]:
        for reply in (s3("GET", path, query=query), send(s3, path, query, bodies[what])):
            assert (reply.status, reply.code) == (status, code)


def test_the_lock_of_what_a_customers_key_encrypts(s3: S3) -> None:
    put(s3, **sse_c())
    assert hold(s3, "ON").status == 200
    assert s3("GET", "/bucket/key", query="legal-hold").text("Status") == "ON"
    assert s3("GET", "/bucket/key", query="tagging").status == 200


# --- nothing removes a locked version -----------------------------------------------


@pytest.mark.parametrize("lock", ["retention", "hold"])
def test_no_request_removes_a_locked_version(s3: S3, lock: str) -> None:
    lock_headers = {HOLD: "ON"} if lock == "hold" else {MODE: "COMPLIANCE", UNTIL: date(s3, 30)}
    version = put(s3, **lock_headers).headers["x-amz-version-id"]
    before = s3("GET", "/bucket/key", query=f"versionId={version}")
    entry = f"<Object><Key>key</Key><VersionId>{version}</VersionId></Object>"
    batch = f"<Delete>{entry}</Delete>".encode()
    digest = {"content-md5": md5_header(batch), **BYPASS}
    suspended = "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>"
    assert delete(s3, version) == 403
    assert delete(s3, version, BYPASS) == 403
    failed = s3("POST", "/bucket", batch, query="delete", headers=digest)
    assert (failed.text("Error/Code"), failed.texts("Deleted")) == ("AccessDenied", [])
    assert send(s3, "/bucket", "versioning", suspended).status == 409
    assert s3("DELETE", "/bucket").status == 409
    assert put(s3).status == 200
    source = {"x-amz-copy-source": "/bucket/key"}
    assert s3("PUT", "/bucket/other", headers=source).status == 200
    copied = {"x-amz-copy-source": "/bucket/other"}
    assert s3("PUT", "/bucket/key", headers=copied).status == 200
    upload_id = s3("POST", "/bucket/key", query="uploads").text("UploadId")
    part = s3("PUT", "/bucket/key", DATA, query=f"partNumber=1&uploadId={upload_id}")
    body = (
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber>"
        f"<ETag>{part.etag}</ETag></Part></CompleteMultipartUpload>"
    ).encode()
    assert s3("POST", "/bucket/key", body, query=f"uploadId={upload_id}").status == 200
    assert s3("DELETE", "/bucket/key").status == 204
    after = s3("GET", "/bucket/key", query=f"versionId={version}")
    assert (after.body, after.headers) == (before.body, before.headers)
