"""Policies: patterns against an independent matcher, and what a document may say."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from objstore.auth.patterns import Context, Glob
from objstore.auth.policy import (
    ALLOW,
    DENY,
    MAX_POLICY_BYTES,
    PolicyError,
    Request,
    arn,
    parse_bucket_policy,
    parse_identity_policy,
)
from objstore.auth.public import is_public


def by_expression(pattern: str) -> str:
    """The same as a regular expression, which takes for ever where there are many stars."""
    return re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")


@given(st.text("ab*?", max_size=8), st.text("ab\n", max_size=9))
@example("a*a", "a")
@example("*", "")
@example("a**?b", "ab")
def test_patterns(pattern: str, text: str) -> None:
    expected = re.fullmatch(by_expression(pattern), text, re.DOTALL) is not None
    assert Glob(pattern).matches(text, {}) == expected
    assert Glob(pattern, has_variables=False).matches(text, {}) == expected
    assert Glob(pattern, has_wildcards=False).matches(text, {}) == (pattern == text)
    assert Glob(pattern, ignores_case=True).matches(text.upper(), {}) == expected


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("a${*}b", "a*b", True),
        ("a${*}b", "axb", False),
        ("${?}${$}.", "?$.", True),
        ("${?}", "x", False),
        ("home/${aws:username}/*", "home/ann/x", True),
        ("home/${ AWS:UserName }/*", "home/ann/x", True),
        ("home/${aws:username}/*", "home/bob/x", False),
        ("${aws:star}", "*", True),
        ("${aws:star}", "x", False),  # what a variable holds is no pattern
        ("${aws:missing}", "", False),
        ("${aws:missing, 'all'}", "all", True),
        ("${aws:username, 'all'}", "ann", True),
        ("${aws:many}", "a", False),
    ],
)
def test_variables(pattern: str, text: str, matches: bool) -> None:
    context: Context = {"aws:username": "ann", "aws:star": "*", "aws:many": ("a", "b")}
    assert Glob(pattern).matches(text, context) == matches
    assert Glob(pattern).has_variables == ("aws" in pattern.lower())
    assert Glob(pattern, has_variables=False).matches(pattern, {})


def test_many_stars_end() -> None:
    """As one expression this would take longer than there is."""
    assert not Glob("*".join("a" * 200)).matches("a" * 5000 + "b", {})


def document(**changes: Any) -> bytes:
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::bucket/*",
    }
    statement |= changes
    kept = {name: value for name, value in statement.items() if value is not None}
    return json.dumps({"Version": "2012-10-17", "Statement": [kept]}).encode()


ANN = frozenset(("AWS:arn:aws:iam::1:user/ann", "AWS:1"))
KEY = arn("bucket", "k")


@pytest.mark.parametrize(
    ("changes", "action", "resource", "applies"),
    [
        ({}, "s3:GetObject", arn("bucket", "a/b"), True),
        ({}, "s3:getobject", KEY, True),
        ({}, "s3:GetObjectVersion", KEY, False),
        ({}, "s3:GetObject", arn("bucket"), False),
        ({"Action": "*"}, "s3:PutObject", KEY, True),
        ({"Action": ["s3:Put*", "s3:List*"]}, "s3:ListBucket", KEY, True),
        ({"Action": "S3:Get*"}, "s3:GetObject", KEY, True),
        ({"Action": None, "NotAction": "s3:Get*"}, "s3:GetObject", KEY, False),
        ({"Action": None, "NotAction": "s3:Get*"}, "s3:PutObject", KEY, True),
        ({"Resource": "*"}, "s3:GetObject", KEY, True),
        ({"Resource": "arn:aws:s3:::bucket*"}, "s3:GetObject", KEY, True),
        ({"Resource": "arn:aws:s3:::*"}, "s3:GetObject", KEY, True),
        ({"Resource": "arn:aws:s3:::buck?t/K"}, "s3:GetObject", KEY, False),
        (
            {"Resource": None, "NotResource": "arn:aws:s3:::bucket/secret/*"},
            "s3:GetObject",
            KEY,
            True,
        ),
        (
            {"Resource": None, "NotResource": "arn:aws:s3:::bucket/secret/*"},
            "s3:GetObject",
            arn("bucket", "secret/x"),
            False,
        ),
        ({"Principal": {"AWS": "*"}}, "s3:GetObject", KEY, True),
        ({"Principal": {"AWS": ["1", "2"]}}, "s3:GetObject", KEY, True),
        ({"Principal": {"AWS": "arn:aws:iam::1:user/ann"}}, "s3:GetObject", KEY, True),
        ({"Principal": {"AWS": "arn:aws:iam::1:user/bob"}}, "s3:GetObject", KEY, False),
        ({"Principal": {"CanonicalUser": "1"}}, "s3:GetObject", KEY, False),
        ({"Principal": None, "NotPrincipal": {"AWS": "1"}}, "s3:GetObject", KEY, False),
        ({"Principal": None, "NotPrincipal": {"AWS": "2"}}, "s3:GetObject", KEY, True),
        ({"Condition": {"Bool": {"aws:SecureTransport": True}}}, "s3:GetObject", KEY, False),
        ({"Condition": {"StringLike": {"aws:Referer": "x*"}}}, "s3:GetObject", KEY, True),
    ],
)
def test_what_a_statement_is_about(
    changes: dict[str, Any], action: str, resource: str, applies: bool
) -> None:
    policy = parse_bucket_policy(document(**changes), "bucket")
    context = {"aws:securetransport": "false", "aws:referer": "xyz"}
    request = Request(action, resource, ANN, context)
    assert (policy.find(ALLOW, request) is not None) == applies
    assert policy.find(DENY, request) is None


def test_a_policy_of_before_variables() -> None:
    old = json.loads(document(Resource="arn:aws:s3:::bucket/${aws:username}"))
    for version, resource, applies in (
        ("2008-10-17", "${aws:username}", True),
        ("2012-10-17", "${aws:username}", False),
        ("2012-10-17", "ann", True),
    ):
        text = json.dumps(old | {"Version": version}).encode()
        request = Request("s3:GetObject", arn("bucket", resource), context={"aws:username": "ann"})
        found = parse_bucket_policy(text, "bucket").find(ALLOW, request)
        assert (found is not None) == applies, version


def test_policies_of_identities() -> None:
    policy = parse_identity_policy(document(Principal=None, Resource="arn:aws:sqs:::x"))
    assert policy.statements[0].principals is None
    assert not is_public(policy)
    assert policy.find(ALLOW, Request("s3:GetObject", "arn:aws:sqs:::x")) is not None
    for changes in ({}, {"Principal": None, "NotPrincipal": "*"}):
        with pytest.raises(PolicyError, match="should not specify"):
            parse_identity_policy(document(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"Effect": None},
        {"Effect": "allow"},
        {"Principal": None},
        {"Principal": {}},
        {"Principal": {"Somebody": "*"}},
        {"Principal": {"AWS": []}},
        {"Principal": {"AWS": [1]}},
        {"Principal": {"AWS": ""}},
        {"Principal": ["*"]},
        {"NotPrincipal": "*"},
        {"Action": []},
        {"Action": ""},
        {"Action": [1]},
        {"Action": "GetObject"},
        {"Action": "ec2:RunInstances"},
        {"Action": "s3:RunInstances"},
        {"Action": "s3:ListB*"},
        {"Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket"},
        {"Condition": {"Bool": {"aws:Nothing": "true"}}},
        {"Condition": {"StringEquals": {"s3:max-keys": "1"}}},
        {"Action": None},
        {"NotAction": "s3:*"},
        {"Resource": {}},
        {"Resource": ""},
        {"Resource": None},
        {"Resource": "arn:aws:s3:::bucke/*"},
        {"Resource": "arn:aws:s3:::bucket-other/*"},
        {"Resource": "bucket/*"},
        {"Condition": []},
        {"Condition": {"Bool": "x"}},
        {"Condition": {"Sounds": {"a": "b"}}},
        {"Sid": 1},
        {"Extra": ""},
    ],
)
def test_what_is_no_policy(changes: dict[str, Any]) -> None:
    with pytest.raises(PolicyError):
        parse_bucket_policy(document(**changes), "bucket")


def test_the_document_as_a_whole() -> None:
    one = json.loads(document())["Statement"][0]
    assert parse_bucket_policy(json.dumps({"Statement": one}).encode(), "bucket").statements
    tree: dict[str, Any]
    for tree in (
        {"Statement": [one, one | {"Sid": "a"}, one | {"Sid": "a"}]},
        {"Statement": one, "Version": "2012-10-18"},
        {"Statement": one, "Id": 7},
        {"Statement": one, "id": "x"},
        {"Statement": [one, "x"]},
        {"Statement": []},
        {},
    ):
        with pytest.raises(PolicyError):
            parse_bucket_policy(json.dumps(tree).encode(), "bucket")
    for text in (b"", b"x", b"[]", b"{", b'{"a": 1, "a": 2}', b"{}]", b"{\xff}"):
        with pytest.raises(PolicyError):
            parse_bucket_policy(text, "bucket")
    with pytest.raises(PolicyError, match=str(MAX_POLICY_BYTES)):
        parse_bucket_policy(document(Sid="x" * MAX_POLICY_BYTES), "bucket")


@pytest.mark.parametrize(
    ("changes", "public"),
    [
        ({}, True),
        ({"Effect": "Deny"}, False),
        ({"Principal": {"AWS": "1"}}, False),
        ({"Principal": None, "NotPrincipal": {"AWS": "1"}}, True),
        ({"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}, False),
        ({"Condition": {"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "1.2.3.4"]}}}, False),
        ({"Condition": {"IpAddress": {"aws:SourceIp": "0.0.0.0/1"}}}, True),
        ({"Condition": {"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "0.0.0.0/0"]}}}, True),
        ({"Condition": {"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}, True),
        ({"Condition": {"StringEquals": {"aws:SourceVpc": "vpc-1"}}}, False),
        ({"Condition": {"StringLike": {"aws:SourceVpc": "vpc-*"}}}, True),
        ({"Condition": {"StringEquals": {"aws:SourceVpc": "${aws:username}"}}}, True),
        ({"Condition": {"StringEqualsIfExists": {"aws:SourceVpc": "vpc-1"}}}, True),
        ({"Condition": {"StringNotEquals": {"aws:SourceVpc": "vpc-1"}}}, True),
        ({"Condition": {"StringEquals": {"aws:Referer": "http://mine/"}}}, True),
        ({"Condition": {"Bool": {"aws:SecureTransport": "true"}}}, True),
        ({"Condition": {"ForAllValues:StringEquals": {"aws:SourceVpc": "vpc-1"}}}, True),
        ({"Condition": {"ForAllValues:IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}, True),
        ({"Condition": {"ForAnyValue:StringEquals": {"aws:SourceVpc": "vpc-1"}}}, False),
        ({"Condition": {"IpAddress": {"aws:SourceIp": "2001:db8::/32"}}}, False),
        ({"Condition": {"IpAddress": {"aws:SourceIp": "2001:d00::/24"}}}, True),
        ({"Condition": {"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "::/8"]}}}, True),
        ({"Condition": {"Null": {"aws:SourceVpc": "false"}}}, True),
    ],
)
def test_what_is_public(changes: dict[str, Any], public: bool) -> None:
    assert is_public(parse_bucket_policy(document(**changes), "bucket")) == public
