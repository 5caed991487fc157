"""An action: its parameters, and what does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from objstore.aws.regions import Regions
from objstore.aws.tokens import Sealer
from objstore.ec2.parameters import Kind, Parameters, Struct
from objstore.ec2.xml import Tree

if TYPE_CHECKING:
    from blockdev.service import Region


@dataclass(frozen=True, slots=True)
class Job:
    """What a handler works with."""

    region: Region
    regions: Regions
    sealer: Sealer
    parameters: Parameters
    endpoint: str


@dataclass(frozen=True, slots=True)
class Action:
    """One row of the table of actions.

    `table`: its parameters; Action and Version are none of them.
    `filters`: names of the filters that it takes, for the documentation and its test.
    """

    name: str
    table: Struct
    handler: Callable[[Job], Tree]
    filters: tuple[str, ...] = ()


def action(
    name: str,
    handler: Callable[[Job], Tree],
    members: Mapping[str, Kind],
    *,
    required: tuple[str, ...] = (),
    filters: Mapping[str, object] | None = None,
) -> Action:
    """A row whose parameters are `members`."""
    return Action(name, Struct(dict(members), required), handler, tuple(sorted(filters or ())))
