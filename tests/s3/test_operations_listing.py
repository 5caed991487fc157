"""ListObjects and ListObjectsV2: order, pages, folding, encoding."""

from __future__ import annotations

import hashlib

import pytest

from tests.s3.harness import OTHER, ROOT, S3, Reply, backend  # noqa: F401

KEYS = ["a", "b/1", "b/2", "b/c/3", "d", "e/", "e/1", "é", "z z", "~"]


def bucket_with(keys: list[str]) -> S3:
    s3 = S3()
    s3("PUT", "/bucket")
    for key in keys:
        s3("PUT", f"/bucket/{key}", key.encode())
    return s3


def v2(s3: S3, **query: str) -> Reply:
    given = {name.replace("_", "-"): value for name, value in query.items()}
    return s3("GET", "/bucket", query={"list-type": "2", **given})


def keys_of(reply: Reply) -> list[str]:
    return reply.texts("Contents/Key")


def prefixes_of(reply: Reply) -> list[str]:
    return reply.texts("CommonPrefixes/Prefix")


def test_everything_about_an_entry() -> None:
    s3 = bucket_with(["key"])
    reply = v2(s3, fetch_owner="true")
    assert reply.headers["content-type"] == "application/xml"
    assert [node.tag for node in reply.xml.find("Contents") or []] == [
        "Key",
        "LastModified",
        "ETag",
        "ChecksumAlgorithm",
        "ChecksumType",
        "Size",
        "Owner",
        "StorageClass",
    ]
    etag = hashlib.md5(b"key").hexdigest()
    assert reply.text("Contents/ETag") == f'"{etag}"'
    assert reply.text("Contents/LastModified") == "2023-11-14T22:13:20.000Z"
    assert reply.text("Contents/ChecksumAlgorithm") == "CRC64NVME"
    assert reply.text("Contents/ChecksumType") == "FULL_OBJECT"
    assert (reply.text("Contents/Size"), reply.text("Contents/StorageClass")) == ("3", "STANDARD")
    assert reply.text("Contents/Owner/ID") == ROOT.id
    assert (reply.text("Name"), reply.text("Prefix")) == ("bucket", "")
    assert (reply.text("KeyCount"), reply.text("MaxKeys")) == ("1", "1000")
    assert reply.text("IsTruncated") == "false"
    for absent in ("Delimiter", "EncodingType", "NextContinuationToken", "StartAfter"):
        assert reply.text(absent) is None


def test_owners() -> None:
    s3 = bucket_with(["mine"])
    s3.authenticator.identity = OTHER
    s3("PUT", "/bucket/theirs", b"")
    assert v2(s3).texts("Contents/Owner/ID") == []
    assert v2(s3, fetch_owner="true").texts("Contents/Owner/ID") == [ROOT.id, OTHER.id]
    assert s3("GET", "/bucket").texts("Contents/Owner/ID") == [ROOT.id, OTHER.id]


def test_keys_come_in_the_order_of_their_bytes() -> None:
    shuffled = ["é", "z", "Z", "a/b", "a", "a-b", "aa", "\U0001f600", "\uffee"]
    assert keys_of(v2(bucket_with(shuffled))) == sorted(shuffled, key=str.encode)


@pytest.mark.parametrize(
    ("prefix", "delimiter", "keys", "prefixes"),
    [
        ("", "/", ["a", "d", "z z", "~", "é"], ["b/", "e/"]),
        ("b", "/", [], ["b/"]),
        ("b/", "/", ["b/1", "b/2"], ["b/c/"]),
        ("b/", "", ["b/1", "b/2", "b/c/3"], []),
        ("e/", "/", ["e/", "e/1"], []),
        ("", "c/", [*(k for k in sorted(KEYS, key=str.encode) if k != "b/c/3")], ["b/c/"]),
        ("x", "/", [], []),
        ("", " ", [k for k in sorted(KEYS, key=str.encode) if k != "z z"], ["z "]),
    ],
)
def test_folding(prefix: str, delimiter: str, keys: list[str], prefixes: list[str]) -> None:
    s3 = bucket_with(KEYS)
    for reply in (
        v2(s3, prefix=prefix, delimiter=delimiter),
        s3("GET", "/bucket", query={"prefix": prefix, "delimiter": delimiter}),
    ):
        assert keys_of(reply) == keys
        assert prefixes_of(reply) == prefixes
        assert reply.text("Prefix") == prefix
        assert reply.text("Delimiter") == (delimiter or None)


@pytest.mark.parametrize("delimiter", ["", "/"])
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_pages_join_to_the_whole(delimiter: str, size: int) -> None:
    s3 = bucket_with(KEYS)
    whole = v2(s3, delimiter=delimiter)
    keys: list[str] = []
    prefixes: list[str] = []
    query = {"delimiter": delimiter, "max_keys": str(size)}
    while True:
        page = v2(s3, **query)
        count = len(keys_of(page)) + len(prefixes_of(page))
        assert count == int(page.text("KeyCount") or "") <= size
        assert page.text("ContinuationToken") == query.get("continuation_token")
        keys += keys_of(page)
        prefixes += prefixes_of(page)
        token = page.text("NextContinuationToken")
        assert (page.text("IsTruncated") == "true") == (token is not None)
        if token is None:
            break
        query["continuation_token"] = token
    assert (keys, prefixes) == (keys_of(whole), prefixes_of(whole))


@pytest.mark.parametrize("size", [1, 2, 3])
def test_pages_by_marker(size: int) -> None:
    s3 = bucket_with(KEYS)
    found: list[str] = []
    marker = ""
    for _ in range(len(KEYS)):
        query = {"delimiter": "/", "max-keys": str(size), "marker": marker}
        page = s3("GET", "/bucket", query=query)
        assert page.text("Marker") == marker
        found += keys_of(page) + prefixes_of(page)
        if page.text("IsTruncated") == "false":
            assert page.text("NextMarker") is None
            break
        marker = page.text("NextMarker") or ""
    assert sorted(found) == sorted(["a", "b/", "d", "e/", "é", "z z", "~"])


def test_without_a_delimiter_there_is_no_next_marker() -> None:
    page = bucket_with(KEYS)("GET", "/bucket", query="max-keys=2")
    assert (page.text("IsTruncated"), page.text("NextMarker")) == ("true", None)


def test_start_after_and_the_token_that_overrides_it() -> None:
    s3 = bucket_with(KEYS)
    page = v2(s3, start_after="b/1", max_keys="1")
    assert (keys_of(page), page.text("StartAfter")) == (["b/2"], "b/1")
    token = page.text("NextContinuationToken") or ""
    assert keys_of(v2(s3, start_after="a", continuation_token=token, max_keys="1")) == ["b/c/3"]


def test_a_page_of_nothing() -> None:
    s3 = bucket_with(KEYS)
    page = v2(s3, max_keys="0")
    assert (keys_of(page), page.text("IsTruncated"), page.text("MaxKeys")) == ([], "false", "0")
    assert s3("GET", "/nowhere", query="list-type=2&max-keys=0").code == "NoSuchBucket"


def test_at_most_a_thousand() -> None:
    s3 = bucket_with([])
    for number in range(1001):
        s3.store.put("bucket", f"{number:04}", b"")
    page = v2(s3, max_keys="5000")
    assert (page.text("KeyCount"), page.text("MaxKeys")) == ("1000", "1000")
    assert page.text("IsTruncated") == "true"


@pytest.mark.parametrize(
    ("query", "argument"),
    [
        ({"max-keys": "-1"}, "max-keys"),
        ({"max-keys": "many"}, "max-keys"),
        ({"max-keys": str(2**31)}, "max-keys"),
        ({"encoding-type": "base64"}, "encoding-type"),
        ({"continuation-token": ""}, "continuation-token"),
        ({"continuation-token": "é"}, "continuation-token"),
        ({"continuation-token": "bm8"}, "continuation-token"),
        ({"list-type": "3"}, "list-type"),
    ],
)
def test_arguments_that_are_wrong(query: dict[str, str], argument: str) -> None:
    reply = bucket_with([])("GET", "/bucket", query={"list-type": "2", **query})
    assert (reply.status, reply.code) == (400, "InvalidArgument")
    assert reply.text("ArgumentName") == argument


def test_keys_that_xml_must_escape() -> None:
    keys = ["<&>", "a\"b'c", "ü"]
    assert keys_of(v2(bucket_with(keys))) == sorted(keys, key=str.encode)


def test_control_characters_are_numeric_references() -> None:
    body = v2(bucket_with(["a\x01b", "line\r\nbreak"])).body
    assert b"<Key>a&#1;b</Key>" in body
    assert b"<Key>line&#13;&#10;break</Key>" in body


def test_encoding_type_url() -> None:
    keys = ["a b", "a\x01b", "a/b+c", "%41", "ü&<"]
    s3 = bucket_with(keys)
    for reply in (
        v2(s3, encoding_type="url", prefix="", start_after="\x00", delimiter="&"),
        s3("GET", "/bucket", query={"encoding-type": "url", "marker": "\x00", "delimiter": "&"}),
    ):
        assert reply.text("EncodingType") == "url"
        assert keys_of(reply) == ["%2541", "a%01b", "a%20b", "a/b%2Bc"]
        assert prefixes_of(reply) == ["%C3%BC%26"]
        assert reply.text("Delimiter") == "%26"
    assert v2(s3, encoding_type="url", start_after="a b").text("StartAfter") == "a%20b"


@pytest.mark.parametrize(
    ("after", "first"), [("b", "b/"), ("b/", "d"), ("b/1", "d"), ("b/~", "d"), ("b0", "d")]
)
def test_a_start_inside_a_common_prefix_is_after_it(after: str, first: str) -> None:
    page = v2(bucket_with(KEYS), start_after=after, delimiter="/", max_keys="1")
    assert keys_of(page) + prefixes_of(page) == [first]
