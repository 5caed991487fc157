"""Condition operators, case by case as AWS documents them."""

from __future__ import annotations

from typing import Any

import pytest

from objstore.auth.conditions import ConditionError, parse_conditions
from objstore.auth.patterns import Context

CONTEXT: Context = {
    "aws:username": "ann",
    "s3:prefix": "home/ann/",
    "aws:sourceip": "192.0.2.7",
    "v6": "2001:db8::7",
    "aws:currenttime": "2026-11-27T06:30:00+00:00",
    "aws:epochtime": "1795761000",
    "s3:max-keys": "10",
    "size": "2.5",
    "aws:securetransport": "true",
    "aws:principalarn": "arn:aws:iam::123456789012:user/a/ann",
    "bytes": "QUJD",
    "tags": ("red", "blue"),
    "none": (),
    "word": "no number",
}
Y, N = True, False


@pytest.mark.parametrize(
    ("operator", "key", "values", "holds"),
    [
        ("StringEquals", "aws:username", "ann", Y),
        ("StringEquals", "AWS:UserName", "ann", Y),
        ("stringequals", "aws:username", "ann", Y),
        ("StringEquals", "aws:username", "Ann", N),
        ("StringEquals", "aws:username", ["bob", "ann"], Y),
        ("StringEquals", "aws:username", "a*", N),
        ("StringEquals", "s3:prefix", "home/${aws:username}/", Y),
        ("StringEquals", "s3:prefix", "home/${aws:other}/", N),
        ("StringEquals", "missing", "x", N),
        ("StringEqualsIfExists", "missing", "x", Y),
        ("StringEqualsIfExists", "aws:username", "x", N),
        ("StringNotEquals", "aws:username", "bob", Y),
        ("StringNotEquals", "aws:username", ["bob", "ann"], N),
        ("StringNotEquals", "missing", "x", Y),
        ("StringNotEqualsIfExists", "missing", "x", Y),
        ("StringEqualsIgnoreCase", "aws:username", "ANN", Y),
        ("StringEqualsIgnoreCase", "aws:username", "A*", N),
        ("StringNotEqualsIgnoreCase", "aws:username", "ANN", N),
        ("StringLike", "s3:prefix", "home/*", Y),
        ("StringLike", "s3:prefix", ["x", "home/???/"], Y),
        ("StringLike", "s3:prefix", "home/?/", N),
        ("StringLike", "s3:prefix", "home/${aws:username}*", Y),
        ("StringNotLike", "s3:prefix", "home/*", N),
        ("StringNotLike", "s3:prefix", "work/*", Y),
        ("NumericEquals", "s3:max-keys", "10", Y),
        ("NumericEquals", "s3:max-keys", 10, Y),
        ("NumericEquals", "s3:max-keys", ["9", "10.0"], Y),
        ("NumericNotEquals", "s3:max-keys", "10", N),
        ("NumericNotEquals", "s3:max-keys", "11", Y),
        ("NumericLessThan", "s3:max-keys", "10", N),
        ("NumericLessThan", "size", "2.6", Y),
        ("NumericLessThanEquals", "s3:max-keys", "10", Y),
        ("NumericGreaterThan", "s3:max-keys", "-1", Y),
        ("NumericGreaterThanEquals", "s3:max-keys", "10", Y),
        ("NumericGreaterThanEquals", "s3:max-keys", "11", N),
        ("NumericLessThan", "word", "5", N),
        ("NumericLessThan", "missing", "5", N),
        ("NumericLessThanIfExists", "missing", "5", Y),
        ("DateEquals", "aws:currenttime", "2026-11-27T06:30:00Z", Y),
        ("DateEquals", "aws:currenttime", "1795761000", Y),
        ("DateNotEquals", "aws:currenttime", "2026-11-27T06:30:00Z", N),
        ("DateLessThan", "aws:currenttime", "2027-01-01T00:00:00Z", Y),
        ("DateLessThan", "aws:epochtime", "2027-01-01", Y),
        ("DateLessThanEquals", "aws:currenttime", "2026-11-27T06:30:00Z", Y),
        ("DateGreaterThan", "aws:currenttime", "2027-01-01T00:00:00Z", N),
        ("DateGreaterThanEquals", "aws:currenttime", "2026-11-27T07:30:00+01:00", Y),
        ("DateGreaterThan", "word", "2026-01-01", N),
        ("Bool", "aws:securetransport", "true", Y),
        ("Bool", "aws:securetransport", True, Y),
        ("Bool", "aws:securetransport", "False", N),
        ("Bool", "missing", "false", N),
        ("BoolIfExists", "missing", "false", Y),
        ("BinaryEquals", "bytes", "QUJD", Y),
        ("BinaryEquals", "bytes", "QUJE", N),
        ("BinaryEquals", "word", "QUJD", N),
        ("IpAddress", "aws:sourceip", "192.0.2.0/24", Y),
        ("IpAddress", "aws:sourceip", "192.0.2.7", Y),
        ("IpAddress", "aws:sourceip", "192.0.2.1/24", Y),
        ("IpAddress", "aws:sourceip", ["10.0.0.0/8", "192.0.2.0/24"], Y),
        ("IpAddress", "aws:sourceip", "10.0.0.0/8", N),
        ("IpAddress", "aws:sourceip", "2001:db8::/32", N),
        ("IpAddress", "v6", "2001:db8::/32", Y),
        ("IpAddress", "word", "0.0.0.0/0", N),
        ("NotIpAddress", "aws:sourceip", "192.0.2.0/24", N),
        ("NotIpAddress", "aws:sourceip", "10.0.0.0/8", Y),
        ("NotIpAddress", "missing", "10.0.0.0/8", Y),
        ("ArnEquals", "aws:principalarn", "arn:aws:iam::123456789012:user/a/ann", Y),
        ("ArnLike", "aws:principalarn", "arn:aws:iam::*:user/*", Y),
        ("ArnLike", "aws:principalarn", "arn:aws:iam::12345678901?:user/a/ann", Y),
        ("ArnLike", "aws:principalarn", "arn:aws:iam::*:*", Y),
        ("ArnLike", "aws:principalarn", "arn:aws:*:user/*:x:y", N),
        ("ArnLike", "aws:principalarn", "arn:*:iam::123456789012:user/a/${aws:username}", Y),
        ("ArnNotLike", "aws:principalarn", "arn:aws:iam::*:role/*", Y),
        ("ArnNotEquals", "aws:principalarn", "arn:aws:iam::*:user/*", N),
        ("ArnLike", "word", "arn:aws:iam::*:user/*", N),
        ("Null", "missing", "true", Y),
        ("Null", "missing", True, Y),
        ("Null", "missing", "false", N),
        ("Null", "aws:username", "false", Y),
        ("Null", "aws:username", "true", N),
        ("Null", "none", "true", Y),
        ("ForAnyValue:StringEquals", "tags", "red", Y),
        ("ForAnyValue:StringEquals", "tags", "green", N),
        ("ForAnyValue:StringLike", "tags", ["g*", "b*"], Y),
        ("ForAnyValue:StringEquals", "missing", "x", N),
        ("ForAnyValue:StringEquals", "none", "x", N),
        ("ForAnyValue:StringNotEquals", "tags", "red", Y),
        ("ForAnyValue:StringNotEquals", "tags", ["red", "blue"], N),
        ("ForAllValues:StringEquals", "tags", ["red", "blue", "green"], Y),
        ("ForAllValues:StringEquals", "tags", "red", N),
        ("ForAllValues:StringEquals", "missing", "x", Y),
        ("ForAllValues:StringEquals", "none", "x", Y),
        ("ForAllValues:StringNotEquals", "tags", "green", Y),
        ("ForAllValues:StringNotEquals", "tags", "red", N),
        ("ForAllValues:StringEquals", "aws:username", "ann", Y),
        ("StringEquals", "tags", "red", Y),
        ("StringNotEquals", "tags", "red", N),
        ("StringNotEquals", "tags", "green", Y),
    ],
)
def test_operators(operator: str, key: str, values: Any, holds: bool) -> None:
    (condition,) = parse_conditions({operator: {key: values}})
    assert condition.holds(CONTEXT) == holds


def test_variables_are_text_where_there_are_none() -> None:
    tree = {"StringEquals": {"a": "${b}"}, "ArnLike": {"c": "arn:a:b:c:d:${b}"}}
    conditions = parse_conditions(tree, has_variables=False)
    context = {"a": "${b}", "b": "x", "c": "arn:a:b:c:d:${b}"}
    assert all(condition.holds(context) for condition in conditions)
    assert not any(condition.holds(context) for condition in parse_conditions(tree))


@pytest.mark.parametrize(
    "tree",
    [
        None,
        [],
        {"Bool": []},
        {"Bool": {"a": []}},
        {"Bool": {"a": None}},
        {"Bool": {"a": {"b": "c"}}},
        {"Bool": {"a": "perhaps"}},
        {"Null": {"a": "perhaps"}},
        {"Null": {"a": ["true", "false"]}},
        {"NumericEquals": {"a": "ten"}},
        {"DateEquals": {"a": "today"}},
        {"IpAddress": {"a": "300.0.0.1"}},
        {"IpAddress": {"a": "10.0.0.0/99"}},
        {"ArnLike": {"a": "user/*"}},
        {"ArnLike": {"a": "arn:aws:iam::*/ann"}},
        {"BinaryEquals": {"a": "x"}},
        {"StringStartsWith": {"a": "x"}},
        {"NullIfExists": {"a": "true"}},
        {"ForAllValues:Null": {"a": "true"}},
        {"ForAllValues:ForAnyValue:StringEquals": {"a": "x"}},
        {"ForAnyValue:ForAllValues:StringEquals": {"a": "x"}},
        {"ForSomeValues:StringEquals": {"a": "x"}},
    ],
)
def test_what_is_no_condition(tree: Any) -> None:
    with pytest.raises(ConditionError):
        parse_conditions(tree)
