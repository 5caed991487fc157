"""Ranges, ETags and conditions as headers give them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.errors import InvalidRangeError
from objstore.model import NO_CONDITIONS, ByteRange
from objstore.s3.headers import byte_range, etag_list, integer, read_conditions
from objstore.s3.http import Request
from objstore.s3.operations.get import resolve
from tests.model_store import resolve_range


def request(**headers: str) -> Request:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request("GET", b"/b/k", b"", pairs)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bytes=0-9", ByteRange(0, 9)),
        ("bytes=5-", ByteRange(5)),
        ("bytes=-5", ByteRange(suffix_bytes=5)),
        (" BYTES = 1-1 ", ByteRange(1, 1)),
        ("bytes=00-09", ByteRange(0, 9)),
        ("bytes=0-9,20-29", None),
        ("bytes=9-0", None),
        ("bytes=+1-2", None),
        ("bytes=1-2-3", None),
        ("bytes=٣-٤", None),
        ("bytes=0-99999999999999999999", ByteRange(0, 2**63 - 1)),
        ("bytes=0-99999999999999999999999", ByteRange(0, 2**63 - 1)),
        ("bytes=99999999999999999999999-", ByteRange(2**63 - 1)),
        ("bytes=-99999999999999999999999", ByteRange(suffix_bytes=2**63 - 1)),
        ("bytes=99999999999999999999999-99999999999999999999998", None),
        (f"bytes={'0' * 6000}1-{'9' * 6000}", ByteRange(1, 2**63 - 1)),
        (f"bytes=-{'0' * 6000}", ByteRange(suffix_bytes=0)),
        ("items=0-9", None),
        ("", None),
        (None, None),
    ],
)
def test_ranges(text: str | None, expected: ByteRange | None) -> None:
    assert byte_range(text) == expected


@given(st.text(alphabet="bytes=0123456789-, ", max_size=20))
def test_no_range_makes_the_parser_fail(text: str) -> None:
    byte_range(text)
    byte_range("bytes=" + text)


@given(
    st.none()
    | st.builds(ByteRange, st.integers(0, 20), st.none() | st.integers(20, 40))
    | st.builds(lambda n: ByteRange(suffix_bytes=n), st.integers(0, 40)),
    st.integers(0, 30),
)
def test_a_head_resolves_ranges_as_the_model_does(wanted: ByteRange | None, size: int) -> None:
    def outcome(call: object) -> object:
        try:
            return call(wanted, size)  # type: ignore[operator]
        except InvalidRangeError as error:
            return error.size_bytes

    assert outcome(resolve) == outcome(resolve_range)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, ()),
        ("", ()),
        ('"a"', ("a",)),
        ("a", ("a",)),
        ('W/"a"', ("a",)),
        ('"a", "b-2" ,c', ("a", "b-2", "c")),
        ("*", ("*",)),
        ('""', ()),
    ],
)
def test_etags(text: str | None, expected: tuple[str, ...]) -> None:
    assert etag_list(text) == expected


def test_a_request_without_conditions() -> None:
    assert read_conditions(request(range="bytes=0-1")) is NO_CONDITIONS


def test_what_is_overridden_is_left_out() -> None:
    date = "Sun, 06 Nov 1994 08:49:37 GMT"
    both = read_conditions(
        request(if_match="a", if_none_match="b", if_modified_since=date, if_unmodified_since=date)
    )
    assert (both.if_match, both.if_none_match) == (("a",), ("b",))
    assert (both.if_modified_since_s, both.if_unmodified_since_s) == (None, None)
    dates = read_conditions(request(if_modified_since=date, if_unmodified_since=date))
    assert (dates.if_modified_since_s, dates.if_unmodified_since_s) == (784111777, 784111777)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("10", 10), ("11", None), ("-1", None), ("", None), ("1.0", None), ("٣", None)],
)
def test_integers(text: str, expected: int | None) -> None:
    assert integer(text, 10) == expected


def test_the_first_of_several_headers_of_a_name_counts() -> None:
    twice = Request("GET", b"/", b"", [(b"range", b"bytes=0-1"), (b"range", b"bytes=5-6")])
    assert twice.header(b"range") == "bytes=0-1"


def test_headers_that_are_not_utf_8_are_latin_1() -> None:
    assert Request("GET", b"/", b"", [(b"a", b"\xfc")]).header(b"a") == "ü"
    assert Request("GET", b"/", b"", [(b"a", "ü".encode())]).header(b"a") == "ü"
