"""User metadata: what S3 takes bytes for, and the encoded words (RFC 2047) that it answers with."""

from __future__ import annotations

from email.header import decode_header, make_header

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.s3.metadata import decode_value, decode_words, encode_value

# Texts that a header can carry once they are encoded: no control characters, no surrogates.
printable = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=300)


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        # S3's own: the user guide's example, and what was seen of it (see the module).
        ("ÄMÄZÕÑ S3", b"=?UTF-8?B?w4PChE3Dg8KEWsODwpXDg8KRIFMz?="),
        ("Miniö", b"=?UTF-8?Q?Mini=C3=83=C2=B6?="),
        ("ö", b"=?UTF-8?B?w4PCtg==?="),
        ("AMAZONS3", b"AMAZONS3"),
    ],
)
def test_bytes_of_utf_8_are_taken_for_latin_1(sent: str, answered: bytes) -> None:
    assert encode_value(decode_value(sent.encode("utf-8"))) == answered


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("=?UTF-8?B?w7Y=?=", "ö"),
        ("=?utf-8?q?Mini=C3=B6_2?=", "Miniö 2"),
        ("=?iso-8859-1*de?Q?=F6?=", "ö"),
        ("=?windows-1252?Q?=80?=", "€"),
        ("a =?utf-8?q?b?= c", "a b c"),
        ("=?utf-8?q?a?= \t =?utf-8?q?b?=", "ab"),
        ("=?utf-8?q?a?= b =?utf-8?q?c?=", "a b c"),
        ("=?utf-8?q??=", ""),
        # None of these is an encoded word that this server knows.
        ("a=?utf-8?q?b?=", "a=?utf-8?q?b?="),
        ("=?utf-8?q?a b?=", "=?utf-8?q?a b?="),
        ("=?utf-8?x?a?=", "=?utf-8?x?a?="),
        ("=?utf-8?b?w7Y?=", "=?utf-8?b?w7Y?="),
        ("=?utf-8?q?=F6?=", "=?utf-8?q?=F6?="),
        ("=?rot13?q?a?=", "=?rot13?q?a?="),
        ("=?unicode_escape?q?a?=", "=?unicode_escape?q?a?="),
        ("=??q?a?=", "=??q?a?="),
        ("=?utf-8?q?a?= =?no-charset?q?b?=", "a =?no-charset?q?b?="),
    ],
)
def test_encoded_words(sent: str, stored: str) -> None:
    assert decode_value(sent.encode("ascii")) == stored


@given(printable)
def test_a_value_that_is_sent_back_stays_the_same(text: str) -> None:
    answered = encode_value(text)
    assert answered is not None
    assert answered.isascii()
    if text.isascii():
        assert answered == text.encode()
        return
    assert decode_value(answered) == text
    assert encode_value(decode_value(answered)) == answered


@given(printable.filter(lambda text: not text.isascii()))
def test_words_are_those_that_mail_programs_read(text: str) -> None:
    answered = encode_value(text)
    assert answered is not None
    words = answered.decode("ascii").split(" ")
    assert all(len(word) <= 75 for word in words)
    assert str(make_header(decode_header(" ".join(words)))) == text


@pytest.mark.parametrize("text", ["a\nb", "\x00", "\x7f", "ö\r\nx-evil: 1", "\ud800"])
def test_what_no_header_can_hold(text: str) -> None:
    assert encode_value(text) is None


def test_a_tab_can_stand_in_a_header() -> None:
    assert encode_value("a\tb") == b"a\tb"


@given(st.text(st.sampled_from("=?utf-8QqBb F6_é\t"), max_size=80))
def test_anything_can_be_decoded(text: str) -> None:
    assert isinstance(decode_words(text), str)
