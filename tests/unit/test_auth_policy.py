"""Policies: patterns against an independent matcher, and what a document may say."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from objstore.auth.policy import (
    MAX_POLICY_BYTES,
    Glob,
    PolicyError,
    PolicyNotOfferedError,
    arn,
    parse,
)


def by_expression(pattern: str) -> str:
    """The same as a regular expression, which takes for ever where there are many stars."""
    return re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")


@given(st.text("ab*?", max_size=8), st.text("ab\n", max_size=9))
@example("a*a", "a")
@example("*", "")
@example("a**?b", "ab")
def test_patterns(pattern: str, text: str) -> None:
    expected = re.fullmatch(by_expression(pattern), text, re.DOTALL) is not None
    assert Glob(pattern).matches(text) == expected


def test_characters_that_stand_for_themselves() -> None:
    assert Glob("a${*}b").matches("a*b")
    assert not Glob("a${*}b").matches("axb")
    assert Glob("${?}${$}.").matches("?$.")
    assert not Glob("${?}").matches("x")
    with pytest.raises(PolicyNotOfferedError, match="aws:username"):
        Glob("${aws:username}")


def test_many_stars_end() -> None:
    """As one expression this would take longer than there is."""
    assert not Glob("*".join("a" * 200)).matches("a" * 5000 + "b")


def document(**changes: Any) -> bytes:
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::bucket/*",
    }
    return json.dumps({"Statement": [statement | changes]}).encode()


@pytest.mark.parametrize(
    ("changes", "action", "resource", "allowed"),
    [
        ({}, "s3:GetObject", arn("bucket", "a/b"), True),
        ({}, "s3:getobject", arn("bucket", "k"), True),
        ({}, "s3:GetObjectVersion", arn("bucket", "k"), False),
        ({}, "s3:GetObject", arn("bucket"), False),
        ({"Action": "*"}, "s3:PutObject", arn("bucket", "k"), True),
        ({"Action": ["s3:Put*", "s3:List*"]}, "s3:ListBucket", arn("bucket", "k"), True),
        ({"Action": "S3:Get*"}, "s3:GetObject", arn("bucket", "k"), True),
        ({"Resource": "*"}, "s3:GetObject", arn("bucket", "k"), True),
        ({"Resource": "arn:aws:s3:::bucket*"}, "s3:GetObject", arn("bucket", "k"), True),
        ({"Resource": "arn:aws:s3:::*"}, "s3:GetObject", arn("bucket", "k"), True),
        ({"Resource": "arn:aws:s3:::buck?t/K"}, "s3:GetObject", arn("bucket", "k"), False),
        ({"Principal": {"AWS": "*"}}, "s3:GetObject", arn("bucket", "k"), True),
        ({"Principal": {"AWS": ["*"]}}, "s3:GetObject", arn("bucket", "k"), True),
    ],
)
def test_what_everybody_may(
    changes: dict[str, Any], action: str, resource: str, allowed: bool
) -> None:
    policy = parse(document(**changes), "bucket")
    assert policy.allows_everybody(action, resource) == allowed


@pytest.mark.parametrize(
    "changes",
    [
        {"Effect": None},
        {"Effect": "allow"},
        {"Principal": {}},
        {"Principal": {"Somebody": "*"}},
        {"Principal": ["*"]},
        {"Action": []},
        {"Action": ""},
        {"Action": "GetObject"},
        {"Resource": {}},
        {"Resource": ""},
        {"Resource": "arn:aws:s3:::bucke/*"},
        {"Resource": "arn:aws:s3:::bucket-other/*"},
        {"Sid": 1},
        {"Extra": ""},
    ],
)
def test_what_is_no_policy(changes: dict[str, Any]) -> None:
    with pytest.raises(PolicyError):
        parse(document(**changes), "bucket")


@pytest.mark.parametrize(
    "changes",
    [
        {"Effect": "Deny"},
        {"Condition": {}},
        {"NotResource": "x"},
        {"NotPrincipal": "*"},
        {"Principal": {"AWS": ["*", "1"]}},
        {"Principal": {"CanonicalUser": "x"}},
        {"Principal": {"Service": "logging.s3.amazonaws.com"}},
    ],
)
def test_what_is_not_honoured(changes: dict[str, Any]) -> None:
    with pytest.raises(PolicyNotOfferedError):
        parse(document(**changes), "bucket")


def test_the_document_as_a_whole() -> None:
    one = json.loads(document())["Statement"][0]
    tree: dict[str, Any]
    assert parse(json.dumps({"Statement": one}).encode(), "bucket").statements
    for tree in (
        {"Statement": [one, one | {"Sid": "a"}, one | {"Sid": "a"}]},
        {"Statement": one, "Version": "2012-10-18"},
        {"Statement": one, "Id": 7},
        {"Statement": one, "id": "x"},
        {"Statement": [one, "x"]},
        {"Statement": []},
        *({"Statement": {name: one[name] for name in one if name != gone}} for gone in one),
        {},
    ):
        with pytest.raises(PolicyError):
            parse(json.dumps(tree).encode(), "bucket")
    for text in (b"", b"x", b"[]", b"{", b'{"a": 1, "a": 2}', b"{}]", b"{\xff}"):
        with pytest.raises(PolicyError):
            parse(text, "bucket")
    with pytest.raises(PolicyError, match=str(MAX_POLICY_BYTES)):
        parse(document(Sid="x" * MAX_POLICY_BYTES), "bucket")
