"""The table of actions: every one that this server offers, by its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from objstore.ec2.action import Action
from objstore.ec2.operations import (
    fast_restores,
    instances,
    modifications,
    sharing,
    snapshots,
    statuses,
    tags,
    tiers,
    volumes,
    zones,
)

FAMILIES: Final[Mapping[str, tuple[Action, ...]]] = {
    "Volumes": (*volumes.ACTIONS, *modifications.ACTIONS, *statuses.ACTIONS),
    "Snapshots": (*snapshots.ACTIONS, *sharing.ACTIONS, *tiers.ACTIONS, *fast_restores.ACTIONS),
    "Instances": instances.ACTIONS,
    "Tags, zones, regions": (*tags.ACTIONS, *zones.ACTIONS),
}
"""For the documentation."""

ACTIONS: Final[Mapping[str, Action]] = {
    row.name: row for family in FAMILIES.values() for row in family
}
