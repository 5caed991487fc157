"""Tokens that clients carry and cannot make."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockdev.clock import ManualClock
from objstore.aws.tokens import InvalidTokenError, Sealer

KEY = b"k" * 32
SECOND_NS = 1_000_000_000


@given(st.text(max_size=30), st.text(max_size=30))
def test_what_was_sealed_opens_for_its_purpose_only(purpose: str, text: str) -> None:
    try:
        purpose.encode(), text.encode()
    except UnicodeEncodeError:
        return
    sealer = Sealer(KEY, ManualClock())
    token = sealer.seal(purpose, text)
    assert sealer.open(purpose, token) == text
    with pytest.raises(InvalidTokenError):
        sealer.open(purpose + "x", token)
    with pytest.raises(InvalidTokenError):
        Sealer(b"another key", ManualClock()).open(purpose, token)


def test_purpose_and_text_are_told_apart() -> None:
    sealer = Sealer(KEY, ManualClock())
    with pytest.raises(InvalidTokenError):
        sealer.open("ab", sealer.seal("a", "b"))


def test_every_flipped_bit_is_found() -> None:
    sealer = Sealer(KEY, ManualClock())
    raw = base64.b64decode(sealer.seal("p", "text", lifetime_s=60))
    for bit in range(len(raw) * 8):
        forged = bytearray(raw)
        forged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(InvalidTokenError):
            sealer.open("p", base64.b64encode(bytes(forged)).decode())


def test_a_token_ends_when_its_time_is_over() -> None:
    clock = ManualClock()
    sealer = Sealer(KEY, clock)
    token, endless = sealer.seal("p", lifetime_s=60), sealer.seal("p")
    clock.advance(59 * SECOND_NS)
    assert sealer.open("p", token) == ""
    clock.advance(2 * SECOND_NS)
    with pytest.raises(InvalidTokenError):
        sealer.open("p", token)
    assert sealer.open("p", endless) == ""


@pytest.mark.parametrize("token", ["", "A", "ä", "AAAA", "A" * 2000, "not base64!", "\ud800"])
def test_what_is_no_token(token: str) -> None:
    with pytest.raises(InvalidTokenError):
        Sealer(KEY, ManualClock()).open("p", token)


def test_block_tokens_fit_into_the_model() -> None:
    """BlockToken and PageToken: at most 256 characters of ``[A-Za-z0-9+/=]``."""
    token = Sealer(KEY, ManualClock()).seal("block", "2147483647", lifetime_s=7 * 86400)
    assert len(token) <= 256
    assert token.replace("+", "").replace("/", "").rstrip("=").isalnum()
