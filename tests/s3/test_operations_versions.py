"""Versions on the wire, over the engine."""

from __future__ import annotations

import pytest

from tests.s3.harness import S3, Reply, engine_s3, md5_header  # noqa: F401

UNKNOWN = "0" * 32


def set_versioning(s3: S3, status: str) -> Reply:
    body = f"<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>"
    return s3("PUT", "/bucket", body.encode(), query="versioning")


def put(s3: S3, key: str, data: bytes) -> str:
    reply = s3("PUT", f"/bucket/{key}", data)
    assert reply.status == 200
    return reply.headers["x-amz-version-id"]


def listed(s3: S3, **query: str) -> Reply:
    reply = s3("GET", "/bucket", query={"versions": "", **query})
    assert reply.status == 200
    return reply


def rows(reply: Reply) -> list[tuple[str, str, str, str]]:
    """Kind, key, version id and whether it is the latest, in the order of the document."""
    return [
        (
            node.tag,
            node.findtext("Key") or "",
            node.findtext("VersionId") or "",
            node.findtext("IsLatest") or "",
        )
        for node in reply.xml
        if node.tag in ("Version", "DeleteMarker")
    ]


def test_the_setting(s3: S3) -> None:
    assert list(s3("GET", "/bucket", query="versioning").xml) == []
    for status in ("Enabled", "Suspended", "Enabled"):
        assert set_versioning(s3, status).status == 200
        assert s3("GET", "/bucket", query="versioning").text("Status") == status


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "MalformedXML"),
        (b"<VersioningConfiguration>", "MalformedXML"),
        (b"<Other><Status>Enabled</Status></Other>", "MalformedXML"),
        (
            b"<VersioningConfiguration><Status>Off</Status></VersioningConfiguration>",
            "MalformedXML",
        ),
        (b"<VersioningConfiguration/>", "IllegalVersioningConfigurationException"),
        (
            b"<VersioningConfiguration><Status>Enabled</Status><MfaDelete>Enabled</MfaDelete>"
            b"</VersioningConfiguration>",
            "NotImplemented",
        ),
    ],
)
def test_a_setting_that_is_none(s3: S3, body: bytes, code: str) -> None:
    assert s3("PUT", "/bucket", body, query="versioning").code == code
    assert list(s3("GET", "/bucket", query="versioning").xml) == []


def test_of_a_bucket_that_is_not_there(s3: S3) -> None:
    body = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    for reply in (
        s3("PUT", "/other-bucket", body, query="versioning"),
        s3("GET", "/other-bucket", query="versioning"),
        s3("GET", "/other-bucket", query="versions"),
        s3("GET", "/other-bucket", query="versions&max-keys=0"),
    ):
        assert (reply.status, reply.code) == (404, "NoSuchBucket")


def test_each_version_by_its_id(s3: S3) -> None:
    s3("PUT", "/bucket/key", b"before")
    set_versioning(s3, "Enabled")
    ids = [put(s3, "key", data) for data in (b"one", b"two")]
    assert s3("GET", "/bucket/key").body == b"two"
    assert s3("GET", "/bucket/key").headers["x-amz-version-id"] == ids[1]
    for version_id, data in [("null", b"before"), (ids[0], b"one"), (ids[1], b"two")]:
        got = s3("GET", "/bucket/key", query={"versionId": version_id})
        assert (got.status, got.body) == (200, data)
        assert got.headers["x-amz-version-id"] == version_id
        head = s3("HEAD", "/bucket/key", query={"versionId": version_id})
        assert head.headers["content-length"] == str(len(data))
        ranged = s3(
            "GET", "/bucket/key", query={"versionId": version_id}, headers={"range": "bytes=1-2"}
        )
        assert (ranged.status, ranged.body) == (206, data[1:3])
        stale = {"range": "bytes=1-2", "if-range": '"0123"'}
        assert s3("GET", "/bucket/key", query={"versionId": version_id}, headers=stale).body == data


def test_a_version_that_is_none(s3: S3) -> None:
    set_versioning(s3, "Enabled")
    put(s3, "key", b"data")
    for version_id, status, code in [
        (UNKNOWN, 404, "NoSuchVersion"),
        ("null", 404, "NoSuchVersion"),
        ("v" * 32, 404, "NoSuchVersion"),
        ("", 400, "InvalidArgument"),
        ("short", 400, "InvalidArgument"),
    ]:
        reply = s3("GET", "/bucket/key", query={"versionId": version_id})
        assert (reply.status, reply.code) == (status, code), version_id


def test_a_marker_hides_and_its_removal_shows_again(s3: S3) -> None:
    set_versioning(s3, "Enabled")
    kept = put(s3, "key", b"data")
    gone = s3("DELETE", "/bucket/key")
    marker = gone.headers["x-amz-version-id"]
    assert (gone.status, gone.headers["x-amz-delete-marker"]) == (204, "true")
    hidden = s3("GET", "/bucket/key")
    assert (hidden.status, hidden.code) == (404, "NoSuchKey")
    assert (hidden.headers["x-amz-delete-marker"], hidden.headers["x-amz-version-id"]) == (
        "true",
        marker,
    )
    named = s3("GET", "/bucket/key", query={"versionId": marker})
    assert (named.status, named.code) == (405, "MethodNotAllowed")
    assert s3("HEAD", "/bucket/key", query={"versionId": marker}).status == 405
    assert s3("GET", "/bucket", query="list-type=2").texts("Contents/Key") == []
    assert s3("GET", "/bucket/key", query={"versionId": kept}).body == b"data"
    removed = s3("DELETE", "/bucket/key", query={"versionId": marker})
    assert (removed.status, removed.headers["x-amz-delete-marker"]) == (204, "true")
    assert removed.headers["x-amz-version-id"] == marker
    assert s3("GET", "/bucket/key").body == b"data"
    last = s3("DELETE", "/bucket/key", query={"versionId": kept})
    assert (last.headers["x-amz-version-id"], "x-amz-delete-marker" in last.headers) == (
        kept,
        False,
    )
    assert rows(listed(s3)) == []


def test_suspended_writes_replace_the_null_version(s3: S3) -> None:
    set_versioning(s3, "Enabled")
    kept = put(s3, "key", b"kept")
    set_versioning(s3, "Suspended")
    for data in (b"first", b"second"):
        s3("PUT", "/bucket/key", data)
    assert rows(listed(s3)) == [
        ("Version", "key", "null", "true"),
        ("Version", "key", kept, "false"),
    ]
    marker = s3("DELETE", "/bucket/key")
    assert marker.headers["x-amz-version-id"] == "null"
    assert [row[0] for row in rows(listed(s3))] == ["DeleteMarker", "Version"]


def test_pages_of_versions(s3: S3) -> None:
    set_versioning(s3, "Enabled")
    for _ in range(3):
        for key in ("a", "b", "dir/c", "dir/d"):
            put(s3, key, b"data")
    s3("DELETE", "/bucket/b")
    whole = rows(listed(s3))
    assert len(whole) == 13
    found: list[tuple[str, str, str, str]] = []
    query = {"max-keys": "2"}
    while True:
        page = listed(s3, **query)
        found += rows(page)
        if page.text("IsTruncated") == "false":
            break
        query["key-marker"] = page.text("NextKeyMarker") or ""
        query["version-id-marker"] = page.text("NextVersionIdMarker") or ""
    assert found == whole
    folded = listed(s3, delimiter="/")
    assert folded.texts("CommonPrefixes/Prefix") == ["dir/"]
    assert {row[1] for row in rows(folded)} == {"a", "b"}
    assert {row[1] for row in rows(listed(s3, prefix="dir/"))} == {"dir/c", "dir/d"}
    assert rows(listed(s3, **{"max-keys": "0"})) == []


def test_markers_that_are_none(s3: S3) -> None:
    for query in (
        {"version-id-marker": UNKNOWN},
        {"version-id-marker": "x", "key-marker": "k"},
        {"version-id-marker": "", "key-marker": "k"},
        {"version-id-marker": ""},
        {"max-keys": "many"},
        {"encoding-type": "other"},
    ):
        reply = s3("GET", "/bucket", query={"versions": "", **query})
        assert (reply.status, reply.code) == (400, "InvalidArgument"), query


def test_keys_in_url_encoding(s3: S3) -> None:
    set_versioning(s3, "Enabled")
    put(s3, "a b<>", b"data")
    assert listed(s3, **{"encoding-type": "url"}).texts("Version/Key") == ["a%20b%3C%3E"]


def test_a_batch_of_versions(s3: S3) -> None:
    set_versioning(s3, "Enabled")
    first, second = put(s3, "key", b"one"), put(s3, "key", b"two")
    entries = [("key", first), ("key", UNKNOWN), ("key", ""), ("new", "")]
    objects = "".join(
        f"<Object><Key>{key}</Key>{f'<VersionId>{version}</VersionId>' if version else ''}</Object>"
        for key, version in entries
    )
    body = f"<Delete>{objects}</Delete>".encode()
    reply = s3("POST", "/bucket", body, query="delete", headers={"content-md5": md5_header(body)})
    assert reply.texts("Deleted/Key") == ["key", "key", "key", "new"]
    assert reply.texts("Deleted/VersionId") == [first, UNKNOWN]
    assert reply.texts("Deleted/DeleteMarker") == ["true", "true"]
    markers = reply.texts("Deleted/DeleteMarkerVersionId")
    assert rows(listed(s3)) == [
        ("DeleteMarker", "key", markers[0], "true"),
        ("Version", "key", second, "false"),
        ("DeleteMarker", "new", markers[1], "true"),
    ]


def test_an_old_version_is_copied_to_the_front(s3: S3) -> None:
    set_versioning(s3, "Enabled")
    old = put(s3, "key", b"old")
    put(s3, "key", b"new")
    source = {"x-amz-copy-source": f"/bucket/key?versionId={old}"}
    reply = s3("PUT", "/bucket/key", headers=source)
    assert reply.status == 200
    assert reply.headers["x-amz-copy-source-version-id"] == old
    got = s3("GET", "/bucket/key")
    assert (got.body, got.headers["x-amz-version-id"]) == (
        b"old",
        reply.headers["x-amz-version-id"],
    )
    marker = s3("DELETE", "/bucket/key").headers["x-amz-version-id"]
    for source, status, code in [
        ({"x-amz-copy-source": f"/bucket/key?versionId={marker}"}, 400, "InvalidRequest"),
        ({"x-amz-copy-source": f"/bucket/key?versionId={UNKNOWN}"}, 404, "NoSuchVersion"),
        ({"x-amz-copy-source": "/bucket/key"}, 404, "NoSuchKey"),
    ]:
        refused = s3("PUT", "/bucket/other", headers=source)
        assert (refused.status, refused.code) == (status, code)
    assert [row[1] for row in rows(listed(s3)) if row[1] == "other"] == []


def test_a_part_is_copied_of_an_old_version(s3: S3) -> None:
    set_versioning(s3, "Enabled")
    old = put(s3, "key", b"old bytes")
    put(s3, "key", b"new")
    upload = s3("POST", "/bucket/whole", query="uploads").text("UploadId") or ""
    part = s3(
        "PUT",
        "/bucket/whole",
        query={"partNumber": "1", "uploadId": upload},
        headers={"x-amz-copy-source": f"/bucket/key?versionId={old}"},
    )
    assert part.headers["x-amz-copy-source-version-id"] == old
    etag = (part.text("ETag") or "").strip('"')
    body = (
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber>"
        f"<ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    )
    done = s3("POST", "/bucket/whole", body.encode(), query={"uploadId": upload})
    got = s3("GET", "/bucket/whole")
    assert (got.body, got.headers["x-amz-version-id"]) == (
        b"old bytes",
        done.headers["x-amz-version-id"],
    )
