"""XML by hand out, and through a strict gate in."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.s3 import xml

# What XML 1.0 can hold, but a line break that parsers turn into another.
TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="\ufffe\uffff")
)


@given(TEXT)
def test_text_survives_a_document(text: str) -> None:
    tree = ET.fromstring(xml.document("Root", xml.element("Key", text)))
    child = tree[0]
    assert (tree.tag, child.text or "") == (f"{{{xml.NAMESPACE}}}Root", text)


@given(st.lists(st.text(st.characters(codec="utf-8")), max_size=5))
def test_escaping_many_is_escaping_each(texts: list[str]) -> None:
    assert xml.escape_all(texts) == [xml.escape(text) for text in texts]
    assert xml.url_encode_all(texts) == [xml.url_encode(text) for text in texts]


@given(st.text(st.characters(codec="utf-8")))
def test_url_encoding_is_undone_by_unquoting(text: str) -> None:
    encoded = xml.url_encode(text)
    assert unquote(encoded, errors="strict") == text
    assert xml.escape(encoded) == encoded


@pytest.mark.parametrize("code", [*range(9), 11, 12, *range(14, 32), 127])
def test_control_characters_become_references(code: int) -> None:
    assert xml.escape(f"a{chr(code)}") == f"a&#{code};"


def test_a_carriage_return_survives() -> None:
    tree = ET.fromstring(xml.document("Root", xml.element("Key", "a\rb\nc")))
    assert tree[0].text == "a\rb\nc"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<A>",
        b"<A/><A/>",
        b"text",
        b"<!DOCTYPE A><A/>",
        b'<!DOCTYPE A SYSTEM "file:///etc/passwd"><A/>',
        b'<!DOCTYPE A [<!ENTITY e SYSTEM "file:///etc/passwd">]><A>&e;</A>',
        b'<!DOCTYPE A [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><A>&b;</A>',
        '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE A><A/>'.encode("utf-16"),
        b"<A>&nothing;</A>",
        b"<A>\x00</A>",
        b"<A>\xff</A>",
        b'<?xml version="1.0" encoding="nonsense"?><A/>',
        b"<B/>",
        b'<B xmlns="A"/>',
    ],
)
def test_documents_that_are_refused(body: bytes) -> None:
    assert xml.parse(body, "A") is None


@pytest.mark.parametrize(
    "body",
    [
        b"<A><K>v</K></A>",
        b'<?xml version="1.0" encoding="UTF-8"?>\n<A><!-- c --><K>v</K></A>',
        b'<A xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><K>v</K></A>',
        b'<A xmlns="urn:other"><K>v</K></A>',
        b'<p:A xmlns:p="urn:other"><p:K>v</p:K></p:A>',
        b"\xef\xbb\xbf<A><K>v</K></A>",
        b"<A><K>&#118;</K></A>",
        b"<A><K><![CDATA[v]]></K></A>",
    ],
)
def test_documents_that_are_read(body: bytes) -> None:
    tree = xml.parse(body, "A")
    assert tree is not None
    assert xml.child_text(tree, "K") == "v"
    assert xml.child_text(tree, "L") is None


@given(st.binary(max_size=200))
def test_no_bytes_make_the_parser_fail(body: bytes) -> None:
    xml.parse(body, "A")
    xml.parse(b"<A>" + body + b"</A>", "A")


def test_deep_nesting_is_read_without_recursion() -> None:
    depth = 100_000
    assert xml.parse(b"<A>" * depth + b"</A>" * depth, "A") is not None
