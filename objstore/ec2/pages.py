"""MaxResults and NextToken: a listing in pages, and tokens that nobody can make up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from objstore.aws.tokens import InvalidTokenError, Sealer
from objstore.ec2.errors import Ec2Error, combination, invalid_value
from objstore.ec2.parameters import INTEGER, STRING, Kind, Parameters

T = TypeVar("T")

MEMBERS: Final[dict[str, Kind]] = {"MaxResults": INTEGER, "NextToken": STRING}
"""The parameters of every action that answers in pages."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What MaxResults may be; more than `most` counts as `most`, as EC2 has it, if `clamps`."""

    least: int = 5
    most: int = 1000
    clamps: bool = True


DEFAULT_BOUNDS: Final = Bounds()


def page(
    action: str,
    parameters: Parameters,
    sealer: Sealer,
    items: Sequence[T],
    key: Callable[[T], str],
    bounds: Bounds = DEFAULT_BOUNDS,
) -> tuple[list[T], str | None]:
    """The items of the page that was asked for, and the token of the next one.

    Items are listed in the order of their keys, so that what is made or deleted between
    two pages neither doubles nor hides another.

    Raises:
        Ec2Error: InvalidParameterValue, InvalidNextToken.
    """
    limit = _limit(parameters, bounds)
    ordered = sorted(items, key=key)
    token = parameters.text("NextToken")
    if token:
        after = _open(sealer, action, token)
        ordered = [item for item in ordered if key(item) > after]
    if limit is None or len(ordered) <= limit:
        return ordered, None
    return ordered[:limit], sealer.seal(action, key(ordered[limit - 1]))


def refuse_with_ids(parameters: Parameters, ids: str) -> None:
    """EC2 takes MaxResults or ids, not both.

    Raises:
        Ec2Error: InvalidParameterCombination.
    """
    if parameters.texts(ids) and parameters.has("MaxResults"):
        raise combination(f"The parameter {ids} cannot be used with the parameter maxResults")


def _limit(parameters: Parameters, bounds: Bounds) -> int | None:
    asked = parameters.number("MaxResults")
    if asked is None:
        return None
    if asked < bounds.least or (asked > bounds.most and not bounds.clamps):
        raise invalid_value(
            asked, "maxResults", f"Expecting a value from {bounds.least} to {bounds.most}."
        )
    return min(asked, bounds.most) or bounds.most


def _open(sealer: Sealer, action: str, token: str) -> str:
    try:
        return sealer.open(action, token)
    except InvalidTokenError:
        raise Ec2Error("InvalidNextToken", "The specified NextToken is not valid") from None
