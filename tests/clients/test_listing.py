"""Listings through boto3, compared with what sorting the keys in Python gives."""

from __future__ import annotations

import datetime
import hashlib
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.clients.errors import refused

KEYS = [
    "!bang", "A", "a", "a ", "a!", "a/", "a/1", "a/2", "a/b/", "a/b/1", "a/b/2", "a//", "a//x",
    "a0", "aa", "ab/c", "b", "b|c|d", "b|c|e", "é", "é/ü", "z" * 1024, "\uff61", "\U0001f600",
    "\U0001f600/x", "日本/東京", "日本/京都", "plus+and%25", "~tilde", "with\ttab", "new\nline",
]  # fmt: skip


def expected(
    keys: list[str], prefix: str = "", delimiter: str = "", after: str = ""
) -> tuple[list[str], list[str]]:
    """Keys and common prefixes of a whole listing, by the words of the API's documentation."""
    plain, common = [], set()
    for key in sorted(keys, key=str.encode):
        if not key.startswith(prefix) or key.encode() <= after.encode():
            continue
        end = key.find(delimiter, len(prefix)) if delimiter else -1
        if end < 0:
            plain.append(key)
        else:
            common.add(key[: end + len(delimiter)])
    return plain, sorted(common, key=str.encode)


@pytest.fixture(scope="module")
def filled(s3: Any) -> str:
    """A bucket with `KEYS` in it, put in another order than they are listed in."""
    name = f"listing-{random.getrandbits(64):x}"
    s3.create_bucket(Bucket=name)
    for key in random.Random(7).sample(KEYS, len(KEYS)):
        s3.put_object(Bucket=name, Key=key, Body=key.encode())
    return name


def collect(pages: Any) -> tuple[list[str], list[str]]:
    keys, common = [], []
    for page in pages:
        keys += [entry["Key"] for entry in page.get("Contents", [])]
        common += [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
    return keys, common


QUERIES = [
    {},
    {"prefix": "a"},
    {"prefix": "a/"},
    {"prefix": "absent"},
    {"delimiter": "/"},
    {"delimiter": "//"},
    {"delimiter": "|"},
    {"delimiter": "a"},
    {"prefix": "a/", "delimiter": "/"},
    {"prefix": "a", "delimiter": "/"},
    {"prefix": "b|", "delimiter": "|"},
    {"prefix": "日本/"},
    {"delimiter": "本"},
    {"prefix": "z" * 1024},
]


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: str(query)[:30])
@pytest.mark.parametrize("page_size", [1, 2, 5, 1000])
@pytest.mark.parametrize("operation", ["list_objects", "list_objects_v2"])
def test_pages(s3: Any, filled: str, operation: str, page_size: int, query: dict[str, str]) -> None:
    names = {"prefix": "Prefix", "delimiter": "Delimiter"}
    pages = list(
        s3.get_paginator(operation).paginate(
            Bucket=filled,
            PaginationConfig={"PageSize": page_size},
            **{names[name]: value for name, value in query.items()},
        )
    )
    assert collect(pages) == expected(KEYS, **query)
    sizes = [len(p.get("Contents", [])) + len(p.get("CommonPrefixes", [])) for p in pages]
    assert all(size == page_size for size in sizes[:-1])
    assert [page["IsTruncated"] for page in pages] == [True] * (len(pages) - 1) + [False]
    if operation == "list_objects_v2":
        assert [page["KeyCount"] for page in pages] == sizes


@pytest.mark.parametrize("after", ["", "A", "a/", "a/1x", "é", "\uff61", "zz", "\U0001f600/x"])
def test_start_after(s3: Any, filled: str, after: str) -> None:
    paginator = s3.get_paginator("list_objects_v2")
    pages = paginator.paginate(Bucket=filled, StartAfter=after, PaginationConfig={"PageSize": 4})
    assert collect(pages) == expected(KEYS, after=after)


def test_a_start_inside_a_common_prefix_skips_the_prefix(s3: Any, bucket: str) -> None:
    for key in ("a/1", "a/2", "b"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    page = s3.list_objects_v2(Bucket=bucket, Delimiter="/", StartAfter="a/1")
    assert collect([page]) == (["b"], [])


def test_a_whole_common_prefix_is_skipped_once_given(s3: Any, bucket: str) -> None:
    for key in ("a/1", "a/2", "b"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    first = s3.list_objects(Bucket=bucket, Delimiter="/", MaxKeys=1)
    assert collect([first]) == ([], ["a/"])
    second = s3.list_objects(Bucket=bucket, Delimiter="/", Marker=first["NextMarker"])
    assert collect([second]) == (["b"], [])


def test_an_entry_says_what_head_says(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"12345")
    [entry] = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert entry["Size"] == 5
    assert entry["ETag"] == f'"{hashlib.md5(b"12345").hexdigest()}"'
    assert entry["StorageClass"] == "STANDARD"
    head = s3.head_object(Bucket=bucket, Key="k")
    # a header has whole seconds, a listing milliseconds
    assert entry["LastModified"] - head["LastModified"] < datetime.timedelta(seconds=1)
    assert "Owner" not in entry
    [owned] = s3.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"]
    assert owned["Owner"]["ID"]
    [first_version] = s3.list_objects(Bucket=bucket)["Contents"]
    assert first_version["Owner"] == owned["Owner"]


def test_the_request_is_echoed(s3: Any, filled: str) -> None:
    page = s3.list_objects_v2(Bucket=filled, Prefix="a/", Delimiter="/", StartAfter="a", MaxKeys=2)
    echoed = ("Name", "Prefix", "Delimiter", "StartAfter", "MaxKeys")
    assert [page[name] for name in echoed] == [filled, "a/", "/", "a", 2]


def test_zero_keys_and_over_a_thousand(s3: Any, bucket: str) -> None:
    keys = [f"{number:04}" for number in range(1005)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: s3.put_object(Bucket=bucket, Key=key, Body=b""), keys))
    page = s3.list_objects_v2(Bucket=bucket, MaxKeys=0)
    assert (page["KeyCount"], page["IsTruncated"], page["MaxKeys"]) == (0, False, 0)
    page = s3.list_objects_v2(Bucket=bucket, MaxKeys=5000)
    assert (page["KeyCount"], page["IsTruncated"], page["MaxKeys"]) == (1000, True, 1000)
    assert collect([page]) == (keys[:1000], [])


def test_a_page_boundary_moves_with_the_data(
    s3: Any, bucket: str, make_bucket: Callable[[], str]
) -> None:
    for key in "abcdef":
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    page = s3.list_objects_v2(Bucket=bucket, MaxKeys=2)
    token = page["NextContinuationToken"]
    s3.delete_object(Bucket=bucket, Key="b")
    s3.delete_object(Bucket=bucket, Key="c")
    s3.put_object(Bucket=bucket, Key="bb", Body=b"")
    rest = s3.list_objects_v2(Bucket=bucket, ContinuationToken=token)
    assert collect([rest]) == (["bb", "d", "e", "f"], [])
    assert rest["ContinuationToken"] == token


@pytest.mark.parametrize(
    "arguments",
    [{"MaxKeys": -1}, {"ContinuationToken": "not a token"}, {"ContinuationToken": ""}],
    ids=str,
)
def test_bad_arguments(s3: Any, bucket: str, arguments: dict[str, Any]) -> None:
    with refused(400, "InvalidArgument"):
        s3.list_objects_v2(Bucket=bucket, **arguments)
