"""Filters of listings: ``Filter.N.Name`` and ``Filter.N.Value.M``, wildcards included.

An item passes when it passes every filter, and a filter when any of its values matches
any of the item's.  ``*`` stands for any run of characters, ``?`` for one, and a
backslash takes its meaning from the character behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final, TypeAlias, TypeVar

from objstore.ec2.errors import Ec2Error, missing
from objstore.ec2.parameters import STRING, Kind, ListOf, Parameters, Struct
from objstore.ec2.xml import text_of

T = TypeVar("T")

Text: TypeAlias = str | int | bool | None
Values: TypeAlias = Text | Iterable[Text]
Table: TypeAlias = Mapping[str, Callable[[T], Values]]
"""What a filter of a name compares with, for an item."""

MAX_VALUES: Final = 200
"""Values of all filters of a request (EC2's limit)."""
MAX_PATTERN_CHARS: Final = 1024

MEMBERS: Final[dict[str, Kind]] = {
    "Filter": ListOf(Struct({"Name": STRING, "Value": ListOf(STRING)}))
}


def nothing(_: object) -> Values:
    """For filters on what nothing here ever has."""
    return ()


def select(
    parameters: Parameters,
    items: Sequence[T],
    table: Table[T],
    tags: Callable[[T], Mapping[str, str]] | None = None,
) -> list[T]:
    """The items that pass all filters of a request.

    Args:
        tags: an item's tags, for the filters ``tag:KEY`` and ``tag-key``.

    Raises:
        Ec2Error: InvalidParameterValue, MissingParameter, FilterLimitExceeded.
    """
    kept = list(items)
    values_left = MAX_VALUES
    for entry in parameters.structs("Filter"):
        name, values = entry.text("Name"), entry.texts("Value")
        if not name:
            raise missing("Filter.Name")
        if not values:
            raise missing(f"the values of the filter '{name}'")
        values_left -= len(values)
        if values_left < 0:
            raise Ec2Error("FilterLimitExceeded", f"The maximum number of values is {MAX_VALUES}")
        compared = _compared(name, table, tags)
        matches = [matcher(value) for value in values]
        kept = [item for item in kept if _passes(compared(item), matches)]
    return kept


def _compared(
    name: str, table: Table[T], tags: Callable[[T], Mapping[str, str]] | None
) -> Callable[[T], Values]:
    found = table.get(name)
    if found is not None:
        return found
    if tags is not None and name == "tag-key":
        return lambda item: tags(item).keys()
    if tags is not None and name.startswith("tag:"):
        key = name.removeprefix("tag:")
        return lambda item: tags(item).get(key)
    raise Ec2Error("InvalidParameterValue", f"The filter '{name}' is invalid")


def _passes(values: Values, matches: Sequence[Callable[[str], bool]]) -> bool:
    listed = [values] if values is None or isinstance(values, str | int) else values
    texts = [text_of(value) for value in listed if value is not None]
    return any(match(text) for text in texts for match in matches)


@lru_cache(maxsize=256)
def matcher(pattern: str) -> Callable[[str], bool]:
    """Compares with wildcards, in time proportional to pattern times text at most."""
    if len(pattern) > MAX_PATTERN_CHARS:
        raise Ec2Error("InvalidParameterValue", "A filter's value is too long")
    pieces: list[str] = []
    chars = iter(pattern)
    for char in chars:
        if char == "*":
            if pieces[-1:] != [_ANY]:
                pieces.append(_ANY)
        elif char == "?":
            pieces.append(_ONE)
        else:
            pieces.append(next(chars, char) if char == "\\" else char)
    if _ANY not in pieces and _ONE not in pieces:
        plain = "".join(pieces)
        return lambda text: text == plain
    return lambda text: _wild(pieces, text)


_ANY: Final = "any run"
_ONE: Final = "any char"


def _wild(pieces: Sequence[str], text: str) -> bool:
    """Whether text matches pieces; goes back to the last ``*`` only, so never exponential."""
    at = place = 0
    star, resumed = -1, 0
    while at < len(text):
        if place < len(pieces) and pieces[place] == _ANY:
            star, resumed = place, at
            place += 1
        elif place < len(pieces) and pieces[place] in (_ONE, text[at]):
            at, place = at + 1, place + 1
        elif star >= 0:
            resumed += 1
            at, place = resumed, star + 1
        else:
            return False
    return all(piece == _ANY for piece in pieces[place:])
