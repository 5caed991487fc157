"""Continuation tokens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from objstore.s3 import tokens
from objstore.s3.errors import S3Error


@given(st.text(st.characters(codec="utf-8"), max_size=50))
def test_tokens_hold_any_key(key: str) -> None:
    token = tokens.encode(key)
    assert token.isascii()
    assert tokens.decode(token) == key


@given(st.text(max_size=30) | st.from_regex(r"[A-Za-z0-9_-]{0,12}={0,2}", fullmatch=True))
def test_tokens_from_elsewhere_are_refused_or_hold_a_key(token: str) -> None:
    try:
        name: str | None = tokens.decode(token)
    except S3Error as error:
        name, code = None, error.code
    if name is None:
        assert code == "InvalidArgument"
    else:
        assert tokens.decode(tokens.encode(name)) == name
