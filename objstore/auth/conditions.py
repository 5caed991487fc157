"""Conditions of policies: operators, what they compare, and what a missing key means.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeAlias

from objstore.auth.patterns import Context, Glob

Test: TypeAlias = Callable[[str, Context], bool]
"""Whether one value of a request is one of the policy's."""

FOR_ALL: Final = "forallvalues:"
FOR_ANY: Final = "foranyvalue:"
"""What goes before an operator on a key with several values, in lower case."""

_IF_EXISTS: Final = "ifexists"
_ORDERS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "equals": lambda a, b: bool(a == b),
    "lessthan": lambda a, b: bool(a < b),
    "lessthanequals": lambda a, b: bool(a <= b),
    "greaterthan": lambda a, b: bool(a > b),
    "greaterthanequals": lambda a, b: bool(a >= b),
}


class ConditionError(Exception):
    """What is no condition; the text says why."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One operator on one key.

    `tests`: of which one has to hold for a value, or none where `is_negated`.
    `quantifier`: `FOR_ALL`, `FOR_ANY`, or empty for keys with one value.
    `null`: of the operator Null, whether the key has to be missing; else None.
    `operator`, in lower case without what goes around it, and `values`: as they were given.
    """

    key: str
    tests: tuple[Test, ...]
    is_negated: bool = False
    if_exists: bool = False
    quantifier: str = ""
    null: bool | None = None
    operator: str = ""
    values: tuple[str, ...] = ()

    def holds(self, context: Context) -> bool:
        """Whether a request meets it."""
        found = context.get(self.key)
        values = (found,) if isinstance(found, str) else found or ()
        if self.null is not None:
            return self.null == (not values)
        if not values:
            if self.quantifier:
                return self.if_exists or self.quantifier == FOR_ALL
            return self.if_exists or self.is_negated
        outcomes = (self._holds_for(value, context) for value in values)
        if self.quantifier == FOR_ALL or (self.is_negated and not self.quantifier):
            return all(outcomes)
        return any(outcomes)

    def _holds_for(self, value: str, context: Context) -> bool:
        return any(test(value, context) for test in self.tests) != self.is_negated


def parse_conditions(tree: Any, *, has_variables: bool = True) -> tuple[Condition, ...]:
    """The conditions of a statement, all of which have to hold.

    Args:
        has_variables: whether ``${...}`` stands for anything; not before version 2012-10-17.

    Raises:
        ConditionError: an unknown operator, or a value that is none of its kind.
    """
    if not isinstance(tree, dict):
        raise ConditionError("Conditions must be a map of operators")
    found = []
    for operator, keys in tree.items():
        if not isinstance(keys, dict):
            raise ConditionError(f"Condition {operator} must be a map of keys")
        for key, values in keys.items():
            texts = _texts(operator, values)
            found.append(_condition(operator, key, texts, has_variables))
    return tuple(found)


def _texts(operator: str, values: Any) -> list[str]:
    listed = values if isinstance(values, list) else [values]
    if not listed or not all(isinstance(each, str | bool | int | float) for each in listed):
        raise ConditionError(f"Condition {operator} has an invalid value")
    return [str(each).lower() if isinstance(each, bool) else str(each) for each in listed]


def _condition(operator: str, key: str, texts: list[str], has_variables: bool) -> Condition:
    name, quantifier = operator.lower(), ""
    for prefix in (FOR_ALL, FOR_ANY):
        if operator.lower().startswith(prefix):
            name, quantifier = name.removeprefix(prefix), prefix
    if name == "null" and not quantifier:
        if len(texts) != 1 or texts[0].lower() not in ("true", "false"):
            raise ConditionError("Null is true or false")
        is_missing = texts[0].lower() == "true"
        return Condition(key.lower(), (), null=is_missing, operator=name, values=tuple(texts))
    if_exists = name.endswith(_IF_EXISTS)
    name = name.removesuffix(_IF_EXISTS)
    make, is_negated = _OPERATORS.get(name, (None, False))
    if name in _WITH_VARIABLES and make is not None:
        make = partial(make, has_variables=has_variables)
    if make is None:
        raise ConditionError(f"Invalid Condition type : {operator}")
    try:
        tests = tuple(make(text) for text in texts)
    except (ValueError, binascii.Error):
        raise ConditionError(f"Condition {operator} has an invalid value") from None
    return Condition(
        key.lower(), tests, is_negated, if_exists, quantifier, None, name, tuple(texts)
    )


def _string(
    text: str, *, has_variables: bool = True, like: bool = False, ignores_case: bool = False
) -> Test:
    glob = Glob(text, has_wildcards=like, has_variables=has_variables, ignores_case=ignores_case)
    return glob.matches


def _arn(text: str, *, has_variables: bool = True) -> Test:
    """Patterns of ARNs match field by field: a star does not reach beyond a colon."""
    split = re.split(r":(?![^{]*\})", text, maxsplit=5)  # and a variable's name has colons
    fields = [Glob(field, has_variables=has_variables) for field in split]
    if len(fields) != 6:
        raise ValueError("this is no ARN")

    def test(value: str, context: Context) -> bool:
        parts = value.split(":", 5)
        return len(parts) == 6 and all(
            field.matches(part, context) for field, part in zip(fields, parts, strict=True)
        )

    return test


def _ordered(read: Callable[[str], Any], order: str, text: str) -> Test:
    wanted, compare = read(text), _ORDERS[order]

    def test(value: str, context: Context) -> bool:
        try:
            return compare(read(value), wanted)
        except ValueError:
            return False

    return test


def _number(text: str) -> float:
    return int(text) if text.lstrip("+-").isdigit() else float(text)


def _date(text: str) -> float:
    """Seconds since the epoch, from ISO 8601 or as they are."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return float(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _bool(text: str) -> Test:
    if text.lower() not in ("true", "false"):
        raise ValueError("this is neither true nor false")
    return lambda value, context: value.lower() == text.lower()


def _binary(text: str) -> Test:
    wanted = base64.b64decode(text, validate=True)

    def test(value: str, context: Context) -> bool:
        try:
            return base64.b64decode(value, validate=True) == wanted
        except ValueError:
            return False

    return test


def _address(text: str) -> Test:
    network = ipaddress.ip_network(text, strict=False)

    def test(value: str, context: Context) -> bool:
        try:
            return ipaddress.ip_address(value) in network
        except ValueError:
            return False

    return test


def _pairs(name: str, make: Callable[..., Test], negated: str) -> dict[str, tuple[Any, bool]]:
    return {name: (make, False), negated: (make, True)}


_OPERATORS: Final[dict[str, tuple[Callable[..., Test] | None, bool]]] = {
    **_pairs("stringequals", _string, "stringnotequals"),
    **_pairs(
        "stringequalsignorecase",
        partial(_string, ignores_case=True),
        "stringnotequalsignorecase",
    ),
    **_pairs("stringlike", partial(_string, like=True), "stringnotlike"),
    **_pairs("arnequals", _arn, "arnnotequals"),
    **_pairs("arnlike", _arn, "arnnotlike"),
    **_pairs("ipaddress", _address, "notipaddress"),
    **_pairs("numericequals", partial(_ordered, _number, "equals"), "numericnotequals"),
    **_pairs("dateequals", partial(_ordered, _date, "equals"), "datenotequals"),
    **{
        f"{kind}{order}": (partial(_ordered, read, order), False)
        for kind, read in (("numeric", _number), ("date", _date))
        for order in _ORDERS
        if order != "equals"
    },
    "bool": (_bool, False),
    "binaryequals": (_binary, False),
}
_WITH_VARIABLES: Final = frozenset(
    name for name in _OPERATORS if name.startswith(("string", "arn"))
)
