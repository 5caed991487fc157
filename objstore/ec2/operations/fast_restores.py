"""Fast snapshot restores: enabled and disabled snapshot by snapshot and zone by zone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from blockdev.model import FastRestore, ServiceError
from objstore.ec2 import filters, pages
from objstore.ec2.action import Action, Job, action
from objstore.ec2.errors import combination, missing
from objstore.ec2.filters import Table
from objstore.ec2.operations.common import DRY_RUN, zone_id, zone_of_id
from objstore.ec2.parameters import SNAPSHOT_ID, STRING, Kind, ListOf
from objstore.ec2.xml import Tree, Value, iso_time

PAGE_BOUNDS: Final = pages.Bounds(0, 200, clamps=False)

_SNAPSHOTS: Final = ListOf(SNAPSHOT_ID, 50)
_ZONES: Final = ListOf(STRING, 10)

FILTERS: Final[Table[FastRestore]] = {
    "availability-zone": lambda f: f.zone,
    "availability-zone-id": lambda f: zone_id(f.zone),
    "snapshot-id": lambda f: f.snapshot_id,
    "state": lambda f: f.state,
}


def _tree(job: Job, restore: FastRestore) -> Tree:
    reason = "Client.UserInitiated"
    if restore.state in ("optimizing", "enabled", "disabled"):
        reason += " - Lifecycle state transition"
    return {
        "snapshotId": restore.snapshot_id,
        "availabilityZone": restore.zone,
        "availabilityZoneId": zone_id(restore.zone),
        "state": restore.state,
        "stateTransitionReason": reason,
        "ownerId": job.region.account_id,
        f"{restore.state}Time": iso_time(restore.changed_ns),
    }


def _zones(job: Job) -> list[str]:
    given = job.parameters
    names, ids = given.texts("AvailabilityZone"), given.texts("AvailabilityZoneId")
    if names and ids:
        raise combination("Specify AvailabilityZone or AvailabilityZoneId, not both")
    if not names and not ids:
        raise missing("AvailabilityZone")
    return names or [zone_of_id(job.region, wanted) for wanted in ids]


def _each(job: Job, verb: Callable[[Sequence[str], Sequence[str]], list[FastRestore]]) -> Tree:
    """One snapshot and zone after the other: what one cannot have the others still get."""
    successful: list[Value] = []
    unsuccessful: list[Value] = []
    zones = _zones(job)
    for snapshot_id in job.parameters.texts("SourceSnapshotId"):
        errors: list[Value] = []
        for zone in zones:
            try:
                successful += [_tree(job, made) for made in verb([snapshot_id], [zone])]
            except ServiceError as error:
                told = {"code": error.code, "message": error.message}
                errors.append({"availabilityZone": zone, "error": told})
        if errors:
            unsuccessful.append(
                {"snapshotId": snapshot_id, "fastSnapshotRestoreStateErrorSet": errors}
            )
    return {"successful": successful, "unsuccessful": unsuccessful}


def enable(job: Job) -> Tree:
    """EnableFastSnapshotRestores."""
    return _each(job, job.region.enable_fast_restores)


def disable(job: Job) -> Tree:
    """DisableFastSnapshotRestores."""
    return _each(job, job.region.disable_fast_restores)


def describe(job: Job) -> Tree:
    """DescribeFastSnapshotRestores."""
    given, account = job.parameters, job.region.account_id
    table: Table[FastRestore] = {**FILTERS, "owner-id": lambda f: account}
    chosen = filters.select(given, job.region.describe_fast_restores(), table)
    shown, token = pages.page(
        "DescribeFastSnapshotRestores", given, job.sealer, chosen, _key, PAGE_BOUNDS
    )
    return {"fastSnapshotRestoreSet": [_tree(job, made) for made in shown], "nextToken": token}


def _key(restore: FastRestore) -> str:
    return f"{restore.snapshot_id} {restore.zone}"


_MEMBERS: Final[dict[str, Kind]] = {
    "AvailabilityZone": _ZONES,
    "AvailabilityZoneId": _ZONES,
    "SourceSnapshotId": _SNAPSHOTS,
    **DRY_RUN,
}

ACTIONS: Final[tuple[Action, ...]] = (
    action("EnableFastSnapshotRestores", enable, _MEMBERS, required=("SourceSnapshotId",)),
    action("DisableFastSnapshotRestores", disable, _MEMBERS, required=("SourceSnapshotId",)),
    action(
        "DescribeFastSnapshotRestores",
        describe,
        {**filters.MEMBERS, **pages.MEMBERS, **DRY_RUN},
        filters={**FILTERS, "owner-id": None},
    ),
)
