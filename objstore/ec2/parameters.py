"""Parameters of actions: what they may hold, and what a request holds.

An action's table is a `Struct`: names as they stand in the query, each with its kind.  What
EC2 knows and this server does not is in the tables too: `Ignored` has no effect here
(there is no network to configure), `Refused` would change what the request means, and the
answer to it is UnsupportedOperation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from objstore.ec2.errors import Ec2Error, invalid_value, missing, unsupported
from objstore.ec2.query import Node

_INTEGERS: Final = range(-(2**31), 2**31)
_MAX_DIGITS: Final = 20
_HEX: Final = re.compile("[0-9a-f]+")
_ID_DIGITS: Final = (8, 17)
"""Of the ids of EC2's resources: until 2016, and since."""
_MALFORMED: Final = {
    "vol-": "InvalidVolumeID.Malformed",
    "snap-": "InvalidSnapshotID.Malformed",
    "i-": "InvalidInstanceID.Malformed",
}


@dataclass(frozen=True, slots=True)
class Scalar:
    """Text, a 32-bit integer, or a boolean, as `kind` says: string, integer, boolean.

    `prefix`: what an id has to begin with.
    """

    kind: str
    enum: tuple[str, ...] = ()
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class ListOf:
    """``Name.1``, ``Name.2`` and so on; at most `most` of them."""

    item: Kind
    most: int = 1000


@dataclass(frozen=True, slots=True)
class Struct:
    """Named members, those in `required` always."""

    members: Mapping[str, Kind] = field(default_factory=dict)
    required: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ignored:
    """Accepted in any form, and without effect."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Known to EC2 and not offered here, unless its value asks for what is so in any case."""

    harmless: tuple[str, ...] = ()


Kind: TypeAlias = Scalar | ListOf | Struct | Ignored | Refused

STRING: Final = Scalar("string")
INTEGER: Final = Scalar("integer")
BOOLEAN: Final = Scalar("boolean")
IGNORED: Final = Ignored()
REFUSED: Final = Refused()
STRINGS: Final = ListOf(STRING)
VOLUME_ID: Final = Scalar("string", prefix="vol-")
SNAPSHOT_ID: Final = Scalar("string", prefix="snap-")
INSTANCE_ID: Final = Scalar("string", prefix="i-")
VOLUME_IDS: Final = ListOf(VOLUME_ID)
SNAPSHOT_IDS: Final = ListOf(SNAPSHOT_ID)
INSTANCE_IDS: Final = ListOf(INSTANCE_ID)


class Parameters:
    """The decoded parameters of a request, by name.  Absent ones are None, "" or empty."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def has(self, name: str) -> bool:
        """Whether the parameter was given at all."""
        return name in self._values

    def text(self, name: str) -> str:
        """A string, "" when absent."""
        value: str = self._values.get(name, "")
        return value

    def number(self, name: str) -> int | None:
        """An integer."""
        value: int | None = self._values.get(name)
        return value

    def flag(self, name: str) -> bool | None:
        """A boolean."""
        value: bool | None = self._values.get(name)
        return value

    def texts(self, name: str) -> list[str]:
        """A list of strings."""
        value: list[str] = self._values.get(name, [])
        return value

    def struct(self, name: str) -> Parameters:
        """A structure, an empty one when absent."""
        value: Parameters = self._values.get(name) or Parameters({})
        return value

    def structs(self, name: str) -> list[Parameters]:
        """A list of structures."""
        value: list[Parameters] = self._values.get(name, [])
        return value


def decode(node: Mapping[str, Node], table: Struct, prefix: str = "") -> Parameters:
    """Read a structure by its table.

    Raises:
        Ec2Error: UnknownParameter, MissingParameter, InvalidParameterValue,
            UnsupportedOperation.
    """
    values: dict[str, Any] = {}
    for name, child in node.items():
        kind = table.members.get(name)
        if kind is None:
            raise Ec2Error("UnknownParameter", f"The parameter {prefix}{name} is not recognized")
        if not _is_void(child, kind):
            values[name] = _value(child, kind, prefix + name)
    for name in table.required:
        if name not in node:
            raise missing(prefix + name)
    return Parameters(values)


def _is_void(node: Node, kind: Kind) -> bool:
    """Whether a parameter has no effect, whatever it says or because of what it says."""
    return isinstance(kind, Ignored) or (isinstance(kind, Refused) and node in kind.harmless)


def _value(node: Node, kind: Kind, name: str) -> Any:
    if isinstance(kind, Refused):
        raise unsupported(f"The parameter {name}")
    if isinstance(kind, Scalar):
        if not isinstance(node, str):
            raise Ec2Error("UnknownParameter", f"The parameter {name} takes a single value")
        return _scalar(node, kind, name)
    if isinstance(node, str):
        raise Ec2Error("UnknownParameter", f"The parameter {name} does not take a single value")
    if isinstance(kind, ListOf):
        return _list(node, kind, name)
    assert isinstance(kind, Struct)
    return decode(node, kind, f"{name}.")


def _list(node: Mapping[str, Node], kind: ListOf, name: str) -> list[Any]:
    if len(node) > kind.most:
        raise invalid_value(f"{len(node)} members", name, f"At most {kind.most} can be given.")
    indexed = [(_index(key, name), child) for key, child in node.items()]
    indexed.sort(key=lambda pair: pair[0])
    return [_value(child, kind.item, f"{name}.{index}") for index, child in indexed]


def _index(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS and int(text) > 0):
        raise Ec2Error("UnknownParameter", f"The parameter {name}.{text} is not recognized")
    return int(text)


def _scalar(text: str, kind: Scalar, name: str) -> str | int | bool:
    if kind.kind == "boolean":
        if text.lower() not in ("true", "false"):
            raise invalid_value(text, name, "It must be true or false.")
        return text.lower() == "true"
    if kind.kind == "integer":
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= _MAX_DIGITS):
            raise invalid_value(text, name, "It must be an integer.")
        if int(text) not in _INTEGERS:
            raise invalid_value(text, name, "It does not fit into 32 bits.")
        return int(text)
    if kind.enum and text not in kind.enum:
        raise invalid_value(text, name, f"It must be one of: {', '.join(kind.enum)}.")
    if kind.prefix:
        _check_id(text, kind.prefix, name)
    return text


def _check_id(text: str, prefix: str, name: str) -> None:
    """Raise what EC2 answers to an id that no resource can have.

    What is no id at all is an invalid value; what is one, cut short or too long, is
    malformed ("Error codes for the Amazon EC2 API": give the full id, in the form
    vol-xxxxxxxx or vol-xxxxxxxxxxxxxxxxx).  Ids of instances are malformed either way.
    """
    digits = text.removeprefix(prefix)
    is_id = text.startswith(prefix) and _HEX.fullmatch(digits) is not None
    if is_id and len(digits) in _ID_DIGITS:
        return
    if not text:
        raise invalid_value(text, name, "Parameter may not be null or empty.")
    expected = "" if text.startswith(prefix) else f' (expecting "{prefix}...")'
    if is_id or prefix == INSTANCE_ID.prefix:
        raise Ec2Error(_MALFORMED[prefix], f'Invalid id: "{text}"{expected}')
    raise invalid_value(text, name, f"Expected: '{prefix}...'.")
