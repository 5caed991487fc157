"""Filters and pages of EC2's listings."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockdev.clock import ManualClock
from blockdev.model import ServiceError
from objstore.aws.tokens import Sealer
from objstore.ec2 import filters, pages
from objstore.ec2.filters import Table
from objstore.ec2.parameters import Parameters, Struct, decode
from objstore.ec2.query import parse

TABLE: Table[dict[str, Any]] = {
    "size": lambda item: item["size"],
    "encrypted": lambda item: item["size"] > 2,
    "parts": lambda item: item["parts"],
    "never": filters.nothing,
}
ITEMS: list[dict[str, Any]] = [
    {"size": 1, "parts": ["a", "b"], "tags": {"Owner": "A"}},
    {"size": 2, "parts": [], "tags": {"Owner": "team*", "Stack": ""}},
    {"size": 3, "parts": ["a"], "tags": {}},
]


def chosen(encoded: str) -> list[int]:
    """Sizes of the items that pass."""
    given_filters = decode(parse(encoded.encode()), Struct(filters.MEMBERS))
    kept = filters.select(given_filters, ITEMS, TABLE, lambda item: item["tags"])
    return [item["size"] for item in kept]


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [
        ("", [1, 2, 3]),
        ("Filter.1.Name=size&Filter.1.Value.1=2", [2]),
        ("Filter.1.Name=size&Filter.1.Value.1=2&Filter.1.Value.2=3", [2, 3]),
        ("Filter.1.Name=encrypted&Filter.1.Value.1=true", [3]),
        ("Filter.1.Name=parts&Filter.1.Value.1=b", [1]),
        ("Filter.1.Name=parts&Filter.1.Value.1=*", [1, 3]),
        ("Filter.1.Name=never&Filter.1.Value.1=*", []),
        ("Filter.1.Name=tag:Owner&Filter.1.Value.1=A", [1]),
        ("Filter.1.Name=tag:Owner&Filter.1.Value.1=*", [1, 2]),
        ("Filter.1.Name=tag:Owner&Filter.1.Value.1=team%5C*", [2]),
        ("Filter.1.Name=tag:Stack&Filter.1.Value.1=", [2]),
        ("Filter.1.Name=tag-key&Filter.1.Value.1=St?ck", [2]),
        (
            "Filter.1.Name=parts&Filter.1.Value.1=a&Filter.2.Name=size&Filter.2.Value.1=3",
            [3],
        ),
    ],
)
def test_filters(encoded: str, expected: list[int]) -> None:
    assert chosen(encoded) == expected


@pytest.mark.parametrize(
    ("code", "encoded"),
    [
        ("InvalidParameterValue", "Filter.1.Name=colour&Filter.1.Value.1=red"),
        ("MissingParameter", "Filter.1.Value.1=red"),
        ("MissingParameter", "Filter.1.Name=size"),
        ("InvalidParameterValue", "Filter.1.Name=size&Filter.1.Value.1=" + "*a" * 600),
        (
            "FilterLimitExceeded",
            "&".join(f"Filter.{n}.Name=size&Filter.{n}.Value.1=1" for n in range(1, 202)),
        ),
    ],
)
def test_filters_that_are_refused(code: str, encoded: str) -> None:
    with pytest.raises(ServiceError) as caught:
        chosen(encoded)
    assert caught.value.code == code


def as_regex(pattern: str) -> str:
    """The same pattern for `re`, by another road."""
    out, at = "", 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\" and at + 1 < len(pattern):
            at += 1
            out += re.escape(pattern[at])
        else:
            out += {"*": ".*", "?": "."}.get(char, re.escape(char))
        at += 1
    return out


@given(st.text("ab*?\\", max_size=8), st.text("ab*\\", max_size=8))
def test_wildcards_are_those_of_a_regular_expression(pattern: str, text: str) -> None:
    expected = re.fullmatch(as_regex(pattern), text, re.DOTALL) is not None
    assert filters.matcher(pattern)(text) == expected


def test_wildcards_take_no_exponential_time() -> None:
    assert not filters.matcher("*a" * 500)("a" * 499 + "b" * 5000)


SEALER = Sealer(b"k" * 32, ManualClock())


def page_of(items: list[str], encoded: str, action: str = "Describe") -> tuple[list[str], str]:
    parameters = decode(parse(encoded.encode()), Struct(pages.MEMBERS))
    shown, token = pages.page(
        action, parameters, SEALER, items, lambda item: item, pages.Bounds(2, 4)
    )
    return shown, token or ""


def escaped(token: str) -> str:
    return token.replace("+", "%2B").replace("=", "%3D")


@given(st.sets(st.text("abc", max_size=4), max_size=20), st.integers(2, 9))
def test_pages_together_are_the_whole(items: set[str], size: int) -> None:
    seen: list[str] = []
    token = ""
    for _ in range(20):
        encoded = f"MaxResults={size}" + (f"&NextToken={escaped(token)}" if token else "")
        shown, token = page_of(list(items), encoded)
        assert len(shown) <= min(size, 4)
        seen += shown
        if not token:
            break
    assert seen == sorted(items)


def test_what_is_deleted_between_pages_hides_nothing() -> None:
    items = ["a", "b", "c", "d", "e"]
    shown, token = page_of(items, "MaxResults=2")
    assert shown == ["a", "b"]
    assert page_of(["a", "c", "d"], f"NextToken={escaped(token)}") == (["c", "d"], "")
    assert page_of(["aa", "b", "bb", "c"], f"NextToken={escaped(token)}") == (["bb", "c"], "")


@pytest.mark.parametrize("encoded", ["MaxResults=1", "MaxResults=0", "MaxResults=-5"])
def test_page_sizes_that_are_refused(encoded: str) -> None:
    with pytest.raises(ServiceError) as caught:
        page_of(["a"], encoded)
    assert caught.value.code == "InvalidParameterValue"


def test_tokens_of_another_action_or_of_nobody() -> None:
    _, token = page_of(["a", "b", "c"], "MaxResults=2")
    for encoded, action in ((token, "Other"), (token[:-4] + "AAA=", "Describe"), ("x", "Describe")):
        with pytest.raises(ServiceError) as caught:
            page_of(["a", "b", "c"], f"NextToken={escaped(encoded)}", action)
        assert caught.value.code == "InvalidNextToken"


def test_ids_and_a_page_size_do_not_go_together() -> None:
    both = Parameters({"VolumeId": ["vol-1"], "MaxResults": 5})
    with pytest.raises(ServiceError) as caught:
        pages.refuse_with_ids(both, "VolumeId")
    assert caught.value.code == "InvalidParameterCombination"
    pages.refuse_with_ids(Parameters({"MaxResults": 5}), "VolumeId")
    pages.refuse_with_ids(Parameters({"VolumeId": ["vol-1"]}), "VolumeId")
