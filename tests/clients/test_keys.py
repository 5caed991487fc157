"""Keys that a store gets wrong when it takes them for paths, text or XML."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.handlers import set_list_objects_encoding_type_url

from tests.clients.errors import refused

PATH_LIKE = [
    ".", "..", "/", "//", "/lead", "trail/", "a//b", "a/./b", "a/../b", "../../up", "./a", "a/.",
    "a/..", "\\", "C:\\x", "%", "%2F", "%2f", "%252F", "%zz", "+", " ", "a b", "a+b", "?", "a?b=c",
    "#", "a#b", "&", "=", ";", "a;b", ":", "@", "!$'()*,~^`|{}[]<>\"", "&amp;", "]]>", "soap",
    "versions", "uploads", "favicon.ico", "é", "e\u0301", "\ufeffbom", "\u200b", "\u2028",
    "\u202eltr", "\ud7ff", "\ue000", "\ufffd", "\uffff", "\U00010000", "\U0010ffff",
]  # fmt: skip

# One key for every ASCII character, then keys that hold each byte that can begin or continue a
# longer UTF-8 sequence: together every byte that UTF-8 allows.
ASCII = [f"c{chr(code)}x" for code in range(1, 128)]
LEADS = [
    "".join(map(chr, range(0x80, 0x800, 0x40))),  # C2 to DF
    "".join(chr(max(top << 12, 0x800)) for top in range(16)),  # E0 to EF
    "".join(chr(max(top << 18, 0x10000)) for top in range(5)),  # F0 to F4
]
CONTINUATIONS = ["".join(map(chr, range(0x400, 0x440)))]
EVERY_BYTE = [*ASCII, *LEADS, *CONTINUATIONS]


def test_the_keys_below_hold_every_byte_that_utf_8_allows_but_nul() -> None:
    allowed = {*range(1, 0x80), *range(0x80, 0xC0), *range(0xC2, 0xF5)}
    assert {byte for key in EVERY_BYTE for byte in key.encode()} == allowed


@pytest.mark.parametrize("keys", [PATH_LIKE, EVERY_BYTE], ids=["path-like", "every byte"])
def test_keys_stay_what_they_are(s3: Any, bucket: str, keys: list[str]) -> None:
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode(), Metadata={"n": str(len(key))})
    for key in keys:
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
        assert s3.head_object(Bucket=bucket, Key=key)["Metadata"] == {"n": str(len(key))}
    listed = [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert listed == sorted(keys, key=str.encode)
    for key in keys:
        s3.delete_object(Bucket=bucket, Key=key)
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_a_nul_in_a_key(s3: Any, bucket: str) -> None:
    keys = ["a", "a\0", "a\0b", "a\x01", "b"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == keys
    for key in keys:
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()


def test_listing_without_encoding_type_carries_what_xml_can(endpoint: Any, bucket: str) -> None:
    s3 = endpoint.client()
    event = "before-parameter-build.s3.ListObjectsV2"
    s3.meta.events.unregister(event, set_list_objects_encoding_type_url)
    keys = ["a&b<c>d\"e'f", "tab\there", "line\nfeed", "carriage\rreturn", "]]>", "é😀"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    page = s3.list_objects_v2(Bucket=bucket, Delimiter="\x7f")
    assert "EncodingType" not in page
    assert [entry["Key"] for entry in page["Contents"]] == sorted(keys, key=str.encode)


def test_delete_many_takes_the_keys_that_xml_can_carry(s3: Any, bucket: str) -> None:
    # Python's writer leaves a bare CR in text, which an XML reader then turns into LF
    xml = [key for key in [*PATH_LIKE, *EVERY_BYTE] if _in_xml(key) and "\r" not in key]
    for key in xml:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in xml]})
    assert sorted(entry["Key"] for entry in answer["Deleted"]) == sorted(xml)
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def _in_xml(key: str) -> bool:
    return all(char >= " " or char in "\t\n\r" for char in key) and "\uffff" not in key


@pytest.mark.parametrize("unit", ["a", "é", "日", "😀", "/"])
def test_the_longest_key_and_one_byte_more(s3: Any, bucket: str, unit: str) -> None:
    longest = unit * (1024 // len(unit.encode()))
    longest += "a" * (1024 - len(longest.encode()))
    s3.put_object(Bucket=bucket, Key=longest, Body=b"long")
    assert s3.get_object(Bucket=bucket, Key=longest)["Body"].read() == b"long"
    assert s3.list_objects_v2(Bucket=bucket, Prefix=longest)["KeyCount"] == 1
    calls: list[Callable[[str], Any]] = [
        lambda key: s3.put_object(Bucket=bucket, Key=key, Body=b""),
        lambda key: s3.get_object(Bucket=bucket, Key=key),
        lambda key: s3.create_multipart_upload(Bucket=bucket, Key=key),
        lambda key: s3.copy_object(
            Bucket=bucket, Key=key, CopySource={"Bucket": bucket, "Key": longest}
        ),
    ]
    for call in calls:
        with refused(400, "KeyTooLongError"):
            call(longest + "a")
