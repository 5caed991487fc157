"""Dates as HTTP and S3 write them."""

from __future__ import annotations

import calendar
import email.utils

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.s3.formats import http_date, iso_date, parse_http_date

SECONDS = st.integers(0, 4_102_444_800)  # to 2100


@given(SECONDS)
def test_http_dates_agree_with_the_standard_library(seconds: int) -> None:
    text = http_date(seconds).decode("ascii")
    assert text == email.utils.formatdate(seconds, usegmt=True)
    assert parse_http_date(text) == seconds


@given(SECONDS)
def test_iso_dates(seconds: int) -> None:
    text = iso_date(seconds)
    assert text.endswith(".000Z")
    parts = [int(part) for part in text[:19].replace("T", "-").replace(":", "-").split("-")]
    assert calendar.timegm((*parts, 0, 0, 0)) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ],
)
def test_the_three_forms_of_an_http_date(text: str) -> None:
    assert parse_http_date(text) == 784111777


def test_two_digit_years_lie_between_1970_and_2069() -> None:
    assert parse_http_date("Thursday, 01-Jan-70 00:00:00 GMT") == 0
    assert parse_http_date("Tuesday, 01-Jan-69 00:00:00 GMT") == calendar.timegm(
        (2069, 1, 1, 0, 0, 0)
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "Sun, 06 Nov 1994 08:49:37 CET",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 25:49:37 GMT",
        "Sun, 06 Nov 1994 08:49 GMT",
        "Sun, 06 Xyz 1994 08:49:37 GMT",
        "1994-11-06T08:49:37Z",
        "a b c d e",
        "a b c d e f",
    ],
)
def test_what_is_no_date(text: str) -> None:
    assert parse_http_date(text) is None


@given(st.text(max_size=40))
def test_no_text_makes_the_parser_fail(text: str) -> None:
    parse_http_date(text)
