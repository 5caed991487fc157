"""The archive tier of snapshots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from blockdev.model import SnapshotTier
from objstore.ec2 import filters, pages
from objstore.ec2.action import Action, Job, action
from objstore.ec2.errors import combination, missing
from objstore.ec2.filters import Table
from objstore.ec2.operations.common import DRY_RUN, tag_set
from objstore.ec2.parameters import BOOLEAN, INTEGER, SNAPSHOT_ID, Scalar
from objstore.ec2.xml import Tree, iso_time

FILTERS: Final[Table[SnapshotTier]] = {
    "last-tiering-operation": lambda t: t.last_tiering_status or None,
    "snapshot-id": lambda t: t.snapshot_id,
    "volume-id": lambda t: t.volume_id,
}


def modify_tier(job: Job) -> Tree:
    """ModifySnapshotTier: into the archive, which is the only way that this one goes."""
    tier = job.region.archive_snapshot(job.parameters.text("SnapshotId"))
    return {
        "snapshotId": tier.snapshot_id,
        "tieringStartTime": iso_time(tier.last_tiering_start_ns),
    }


def restore_tier(job: Job) -> Tree:
    """RestoreSnapshotTier: for some days, or for good."""
    given = job.parameters
    days, permanent = given.number("TemporaryRestoreDays"), bool(given.flag("PermanentRestore"))
    if permanent and days is not None:
        raise combination("Specify TemporaryRestoreDays or PermanentRestore, not both")
    if not permanent and days is None:
        raise missing("TemporaryRestoreDays")
    tier = job.region.restore_snapshot_tier(
        given.text("SnapshotId"), days=days, permanent=permanent
    )
    return {
        "snapshotId": tier.snapshot_id,
        "restoreStartTime": iso_time(tier.last_tiering_start_ns),
        "restoreDuration": days,
        "isPermanentRestore": permanent,
    }


def _tree(tier: SnapshotTier) -> Tree:
    return {
        "snapshotId": tier.snapshot_id,
        "volumeId": tier.volume_id,
        "status": tier.status,
        "ownerId": tier.owner_id,
        "tagSet": tag_set(tier.tags),
        "storageTier": tier.tier,
        "lastTieringStartTime": iso_time(tier.last_tiering_start_ns),
        "lastTieringProgress": tier.last_tiering_progress,
        "lastTieringOperationStatus": tier.last_tiering_status or None,
        "archivalCompleteTime": iso_time(tier.archived_ns),
        "restoreExpiryTime": iso_time(tier.restore_expires_ns),
    }


def describe_tiers(job: Job) -> Tree:
    """DescribeSnapshotTierStatus."""
    given = job.parameters
    chosen = filters.select(given, job.region.snapshot_tiers(), FILTERS, _tags)
    shown, token = pages.page("DescribeSnapshotTierStatus", given, job.sealer, chosen, _key)
    return {"snapshotTierStatusSet": [_tree(tier) for tier in shown], "nextToken": token}


def _tags(tier: SnapshotTier) -> Mapping[str, str]:
    return tier.tags


def _key(tier: SnapshotTier) -> str:
    return tier.snapshot_id


ACTIONS: Final[tuple[Action, ...]] = (
    action(
        "ModifySnapshotTier",
        modify_tier,
        {"SnapshotId": SNAPSHOT_ID, "StorageTier": Scalar("string", ("archive",)), **DRY_RUN},
        required=("SnapshotId",),
    ),
    action(
        "RestoreSnapshotTier",
        restore_tier,
        {
            "SnapshotId": SNAPSHOT_ID,
            "TemporaryRestoreDays": INTEGER,
            "PermanentRestore": BOOLEAN,
            **DRY_RUN,
        },
        required=("SnapshotId",),
    ),
    action(
        "DescribeSnapshotTierStatus",
        describe_tiers,
        {**filters.MEMBERS, **pages.MEMBERS, **DRY_RUN},
        filters=FILTERS,
    ),
)
