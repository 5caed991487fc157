"""The query protocol's encoding, and what parameters may hold."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockdev.model import ServiceError
from objstore.auth import errors as auth
from objstore.ec2 import query
from objstore.ec2.errors import from_exception
from objstore.ec2.face import find_action
from objstore.ec2.parameters import (
    BOOLEAN,
    IGNORED,
    INTEGER,
    REFUSED,
    STRING,
    STRINGS,
    ListOf,
    Refused,
    Scalar,
    Struct,
    decode,
)
from objstore.ec2.query import parse
from objstore.ec2.xml import escape, is_text, iso_time, render

TABLE = Struct(
    {
        "Name": STRING,
        "Size": INTEGER,
        "DryRun": BOOLEAN,
        "VolumeId": STRINGS,
        "Few": ListOf(STRING, 2),
        "Kind": Scalar("string", ("a", "b")),
        "Filter": ListOf(Struct({"Name": STRING, "Value": STRINGS})),
        "Of": Struct({"Id": STRING, "Deep": Struct({"Er": INTEGER})}, required=("Id",)),
        "Network": IGNORED,
        "Outpost": REFUSED,
        "Protected": Refused(harmless=("false",)),
    }
)


def refused(code: str, encoded: str | bytes) -> str:
    """Parsing and decoding has to end in this error; its message."""
    raw = encoded.encode() if isinstance(encoded, str) else encoded
    with pytest.raises(ServiceError) as caught:
        decode(parse(raw), TABLE)
    assert caught.value.code == code, caught.value
    return caught.value.message


def test_nested_lists_and_structures() -> None:
    found = decode(
        parse(
            b"Filter.1.Name=size&Filter.1.Value.1=1&Filter.1.Value.2=2&Filter.2.Name=x"
            b"&VolumeId.1=vol-1&VolumeId.2=vol-2&Of.Id=i&Of.Deep.Er=-7&Size=12&DryRun=TRUE"
        ),
        TABLE,
    )
    first, second = found.structs("Filter")
    assert (first.text("Name"), first.texts("Value")) == ("size", ["1", "2"])
    assert (second.text("Name"), second.texts("Value")) == ("x", [])
    assert found.texts("VolumeId") == ["vol-1", "vol-2"]
    assert found.struct("Of").struct("Deep").number("Er") == -7
    assert (found.number("Size"), found.flag("DryRun"), found.text("Name")) == (12, True, "")


def test_list_members_come_in_the_order_of_their_numbers() -> None:
    pairs = [(f"VolumeId.{number}", f"v{number}") for number in (10, 9, 2, 1, 33)]
    found = decode(parse(urlencode(pairs).encode()), TABLE)
    assert found.texts("VolumeId") == ["v1", "v2", "v9", "v10", "v33"]


def test_values_are_decoded_once() -> None:
    found = decode(parse(b"Name=a%2Bb+c%2525%26%3D%c3%a4"), TABLE)
    assert found.text("Name") == "a+b c%25&=ä"


def test_authentication_in_the_query_is_no_parameter() -> None:
    encoded = b"X-Amz-Signature=1&X-Amz-Date=2&AWSAccessKeyId=3&Signature=4&Name=n"
    assert parse(encoded) == {"Name": "n"}


@pytest.mark.parametrize(
    ("code", "encoded"),
    [
        ("UnknownParameter", "Colour=red"),
        ("UnknownParameter", "Of.Id=1&Of.Colour=red"),
        ("UnknownParameter", "Filter.1.Colour=red"),
        ("UnknownParameter", "VolumeId=vol-1"),
        ("UnknownParameter", "VolumeId.one=vol-1"),
        ("UnknownParameter", "VolumeId.0=vol-1"),
        ("UnknownParameter", "VolumeId.-1=vol-1"),
        ("UnknownParameter", "VolumeId." + "9" * 30 + "=vol-1"),
        ("UnknownParameter", "VolumeId.1.2=vol-1"),
        ("UnknownParameter", "Name.1=n"),
        ("UnknownParameter", "Of=1"),
        ("MissingParameter", "Of.Deep.Er=1"),
        ("InvalidParameterValue", "Size=ten"),
        ("InvalidParameterValue", "Size="),
        ("InvalidParameterValue", "Size=1.5"),
        ("InvalidParameterValue", "Size=%D9%A1"),
        ("InvalidParameterValue", "Size=2147483648"),
        ("InvalidParameterValue", "Size=" + "1" * 5000),
        ("InvalidParameterValue", "DryRun=yes"),
        ("InvalidParameterValue", "Kind=c"),
        ("InvalidParameterValue", "Few.1=a&Few.2=b&Few.3=c"),
        ("UnsupportedOperation", "Outpost=arn"),
        ("UnsupportedOperation", "Protected=true"),
        ("UnsupportedOperation", "Protected.1=false"),
        ("UnsupportedOperation", "Outpost.1.Deep=arn"),
        ("MalformedQueryString", "Name=1&Name=2"),
        ("MalformedQueryString", "Name=1&Name.1=2"),
        ("MalformedQueryString", "Name..1=2"),
        ("MalformedQueryString", ".Name=2"),
        ("MalformedQueryString", "=2"),
        ("MalformedQueryString", "a.b.c.d.e.f.g.h.i=1"),
        ("MalformedQueryString", "N" * 300 + "=1"),
        ("InvalidCharacter", b"Name=%ff"),
        ("InvalidCharacter", b"Name=\xff"),
        ("InvalidCharacter", b"Name=%00"),
        ("InvalidCharacter", b"Name=%EF%BF%BF"),
        ("InvalidCharacter", b"%1b=1"),
    ],
)
def test_what_is_refused(code: str, encoded: str | bytes) -> None:
    assert refused(code, encoded)


def test_what_is_ignored_may_have_any_form() -> None:
    found = decode(parse(b"Network=1"), TABLE)
    assert not found.has("Network")
    assert not decode(parse(b"Network.1.Deeper.3=1"), TABLE).has("Network")


def test_what_is_refused_may_be_turned_off() -> None:
    assert not decode(parse(b"Protected=false"), TABLE).has("Protected")


def test_the_number_of_parameters_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "MAX_PAIRS", 3)
    assert parse(b"a=1&b=2&c=3") == {"a": "1", "b": "2", "c": "3"}
    assert "More than 3" in refused("MalformedQueryString", "a=1&b=2&c=3&d=4")


@pytest.mark.parametrize(
    ("code", "encoded"),
    [
        ("MissingAction", b""),
        ("MissingAction", b"Action="),
        ("InvalidAction", b"Action=MakeCoffee"),
        ("InvalidAction", b"Action=createVolume"),
        ("UnsupportedOperation", b"Action=CreateVpc"),
        ("MalformedQueryString", b"Action.1=CreateVolume"),
        ("NoSuchVersion", b"Action=CreateVolume&Version=2099-01-01"),
        ("NoSuchVersion", b"Action=CreateVolume&Version=new"),
    ],
)
def test_actions_that_are_none(code: str, encoded: bytes) -> None:
    with pytest.raises(ServiceError) as caught:
        find_action(parse(encoded))
    assert caught.value.code == code


@pytest.mark.parametrize("version", ["", "&Version=2016-11-15", "&Version=2014-06-15"])
def test_an_action_of_any_version_so_far(version: str) -> None:
    node = parse(f"Action=DeleteVolume&VolumeId=v{version}".encode())
    assert find_action(node).name == "DeleteVolume"
    assert node == {"VolumeId": "v"}


NAMES = st.text("abzAZ.0129", min_size=0, max_size=12)


@given(st.lists(st.tuples(NAMES, st.text(max_size=8)), max_size=12))
def test_any_form_is_read_or_refused(pairs: list[tuple[str, str]]) -> None:
    with suppress(ServiceError):
        decode(parse(urlencode(pairs, errors="surrogatepass").encode()), TABLE)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(encoded: bytes) -> None:
    with suppress(ServiceError):
        decode(parse(encoded), TABLE)


@given(st.dictionaries(st.sampled_from("abcdef"), st.text(max_size=5).filter(is_text)))
def test_strings_come_back_as_they_were(values: dict[str, str]) -> None:
    table = Struct(dict.fromkeys("abcdef", STRING))
    found = decode(parse(urlencode(values).encode()), table)
    assert {name: found.text(name) for name in values} == values


def test_the_answer_in_xml() -> None:
    tree: dict[str, Any] = {
        "a": "<&\r\x00>",
        "b": [{"c": 1}, {"c": True, "d": None}],
        "e": [],
        "f": None,
        "g": {"h": False},
    }
    assert render("Do", "ID", tree).decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<DoResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>ID</requestId>'
        "<a>&lt;&amp;&#13;\ufffd&gt;</a><b><item><c>1</c></item><item><c>true</c></item></b>"
        "<e></e><g><h>false</h></g></DoResponse>"
    )


def test_times_in_milliseconds() -> None:
    assert iso_time(None) is None
    assert iso_time(0) == "1970-01-01T00:00:00.000Z"
    assert iso_time(1_700_000_000_123_999_999) == "2023-11-14T22:13:20.123Z"


def test_text_that_xml_cannot_carry() -> None:
    assert is_text("tab\t line\n ä \U0001f600")
    assert not any(is_text(text) for text in ("\0", "\x1f", "\ud800", "\uffff"))
    assert escape("a\ud800b") == "a\ufffdb"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("AuthFailure", auth.InvalidAccessKeyIdError("KEY")),
        ("AuthFailure", auth.SignatureDoesNotMatchError("KEY", b"s", b"t")),
        ("AuthFailure", auth.ContentSHA256MismatchError("a", "b")),
        ("AuthFailure", auth.AccessDeniedError("not signed")),
        ("RequestExpired", auth.RequestTimeTooSkewedError("a", "b", 900)),
        ("RequestExpired", auth.RequestExpiredError(1, "a", "b")),
        ("RequestExpired", auth.RequestNotYetValidError()),
        ("IncompleteSignature", auth.AuthorizationHeaderMalformedError("no")),
        ("IncompleteSignature", auth.HeadersNotSignedError(["x-amz-a"])),
        ("IncompleteSignature", auth.UnsupportedSignatureError()),
        ("InternalError", RuntimeError("a secret")),
    ],
)
def test_errors_that_are_not_the_regions(code: str, error: Exception) -> None:
    mapped = from_exception(error)
    assert mapped.code == code
    assert "secret" not in mapped.message
