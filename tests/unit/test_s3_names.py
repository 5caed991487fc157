"""Bucket names and how they are read from hosts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.s3.names import bucket_of_host, is_bucket_name
from tests import model_store

BASES = ("localhost", "s3.example.com")


@pytest.mark.parametrize(
    "name", ["abc", "a1b", "0-9", "my.bucket", "a" * 63, "1.2.3", "1.2.3.4.5", "a.b-c"]
)
def test_names_that_a_bucket_can_have(name: str) -> None:
    assert is_bucket_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "ab",
        "a" * 64,
        "-ab",
        "ab-",
        ".ab",
        "a..b",
        "Abc",
        "a_b",
        "a b",
        "abc\n",
        "äbc",
        "192.168.0.1",
        "xn--abc",
        "sthree-abc",
        "amzn-s3-demo-x",
        "abc-s3alias",
        "abc--ol-s3",
        "abc--x-s3",
        "abc.mrap",
        "٣٣٣",
    ],
)
def test_names_that_no_bucket_can_have(name: str) -> None:
    assert not is_bucket_name(name)


@given(st.text(alphabet="ab0.-xn", max_size=8) | st.from_regex(r"[a-z0-9.-]{1,66}"))
def test_the_model_draws_the_same_line(name: str) -> None:
    assert is_bucket_name(name) == model_store.is_bucket_name(name)


@pytest.mark.parametrize(
    ("host", "bucket"),
    [
        ("", ""),
        ("localhost", ""),
        ("localhost:9000", ""),
        ("notlocalhost", ""),
        ("bucket.localhost", "bucket"),
        ("Bucket.LocalHost:80", "bucket"),
        ("a.b.s3.example.com", "a.b"),
        ("example.com", ""),
        ("10.0.0.1", ""),
        ("10.0.0.1:9000", ""),
        ("[::1]", ""),
        ("[fe80::1]:9000", ""),
    ],
)
def test_buckets_of_hosts(host: str, bucket: str) -> None:
    assert bucket_of_host(host, BASES) == bucket


def test_an_address_names_no_bucket_even_below_a_base() -> None:
    assert bucket_of_host("1.2.3.4", ("3.4",)) == ""
