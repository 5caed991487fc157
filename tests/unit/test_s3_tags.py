"""Tags in documents: S3's form, its limits and its errors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.config import MAX_BUCKET_TAGS, MAX_TAGS
from objstore.s3.errors import S3Error
from objstore.s3.tags import check_tags, tags_from_xml, tags_to_xml

allowed = st.text(
    st.characters(categories=("L", "Nd"), include_characters=" +-=._:/@"), max_size=60
)
keys = allowed.filter(lambda key: key != "" and not key.startswith("aws:"))


def document(*tags: str) -> bytes:
    return f"<Tagging><TagSet>{''.join(tags)}</TagSet></Tagging>".encode()


def tag(key: str, value: str) -> str:
    return f"<Tag><Key>{key}</Key><Value>{value}</Value></Tag>"


def refusal(body: bytes, limit: int = MAX_TAGS) -> tuple[str, str]:
    with pytest.raises(S3Error) as caught:
        tags_from_xml(body, limit=limit)
    return caught.value.code, caught.value.message


@given(st.dictionaries(keys, allowed, max_size=MAX_TAGS))
def test_round_trip(tags: dict[str, str]) -> None:
    parsed = tags_from_xml(tags_to_xml(tags), limit=MAX_TAGS)
    assert list(parsed.items()) == list(tags.items())


def test_the_document() -> None:
    assert tags_to_xml({"a": "1", "b": ""}) == (
        b'<?xml version="1.0" encoding="UTF-8"?>\n'
        b'<Tagging xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><TagSet>'
        b"<Tag><Key>a</Key><Value>1</Value></Tag><Tag><Key>b</Key><Value></Value></Tag>"
        b"</TagSet></Tagging>"
    )
    assert tags_from_xml(document("<Tag><Value>1</Value><Key>a</Key></Tag>"), limit=10) == {
        "a": "1"
    }
    assert tags_from_xml(document(), limit=10) == {}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<Tagging>",
        b"<Tagging/>",
        b"<Tagging><TagSet/><TagSet/></Tagging>",
        b"<Tagging><Tag/></Tagging>",
        b"<TagSet/>",
        document("<Tag/>"),
        document("<Tag><Key>a</Key></Tag>"),
        document("<Tag><Value>a</Value></Tag>"),
        document("<Tag><Key>a</Key><Key>b</Key><Value>1</Value></Tag>"),
        document("<Tag><Key><Key>a</Key></Key><Value>1</Value></Tag>"),
        document("<Other><Key>a</Key><Value>1</Value></Other>"),
        b'<!DOCTYPE Tagging [<!ENTITY a "b">]>' + document(tag("&a;", "1")),
    ],
)
def test_other_documents(body: bytes) -> None:
    assert refusal(body)[0] == "MalformedXML"


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        (MAX_TAGS, "Object tags cannot be greater than 10"),
        (MAX_BUCKET_TAGS, "Bucket tag count cannot be greater than 50"),
    ],
)
def test_too_many(limit: int, message: str) -> None:
    tags = [tag(f"k{index}", "v") for index in range(limit + 1)]
    assert refusal(document(*tags), limit) == ("BadRequest", message)
    assert len(tags_from_xml(document(*tags[1:]), limit=limit)) == limit
    with pytest.raises(S3Error, match=message):
        check_tags({f"k{index}": "" for index in range(limit + 1)}, limit)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ([tag("", "v")], "The TagKey you have provided is invalid"),
        ([tag("k" * 129, "v")], "The TagKey you have provided is invalid"),
        ([tag("k!", "v")], "The TagKey you have provided is invalid"),
        ([tag("a\nb", "v")], "The TagKey you have provided is invalid"),
        ([tag("aws:k", "v")], "System tags cannot be added/updated by requester"),
        ([tag("k", "v" * 257)], "The TagValue you have provided is invalid"),
        ([tag("k", "#")], "The TagValue you have provided is invalid"),
        ([tag("k", "1"), tag("k", "1")], "Cannot provide multiple Tags with the same key"),
    ],
)
def test_invalid_tags(tags: list[str], message: str) -> None:
    assert refusal(document(*tags)) == ("InvalidTag", message)


def test_the_longest_tag() -> None:
    longest = {"ö" * 128: "ü" * 256}
    assert tags_from_xml(tags_to_xml(longest), limit=MAX_TAGS) == longest
