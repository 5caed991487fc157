"""Snapshots: create, copy, describe, delete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from blockdev.model import ServiceError, Snapshot
from objstore.ec2 import filters, pages
from objstore.ec2.action import Action, Job, action
from objstore.ec2.errors import invalid_value
from objstore.ec2.filters import Table, nothing
from objstore.ec2.operations.common import (
    DRY_RUN,
    RETURN,
    TAG_SPECIFICATIONS,
    instant_key,
    specified_tags,
    tag_set,
)
from objstore.ec2.parameters import (
    BOOLEAN,
    IGNORED,
    INSTANCE_ID,
    REFUSED,
    SNAPSHOT_ID,
    SNAPSHOT_IDS,
    STRING,
    STRINGS,
    VOLUME_ID,
    VOLUME_IDS,
    Scalar,
    Struct,
)
from objstore.ec2.xml import Tree, iso_time

FILTERS: Final[Table[Snapshot]] = {
    "description": lambda s: s.description,
    "encrypted": lambda s: s.encrypted,
    "owner-alias": nothing,
    "owner-id": lambda s: s.owner_id,
    "progress": lambda s: f"{s.progress_percent}%",
    "snapshot-id": lambda s: s.snapshot_id,
    "start-time": lambda s: iso_time(s.started_ns),
    "status": lambda s: s.state,
    "storage-tier": lambda s: s.tier,
    "transfer-type": lambda s: "standard",
    "volume-id": lambda s: s.volume_id,
    "volume-size": lambda s: s.volume_size_gib,
}


def snapshot_tree(snapshot: Snapshot) -> Tree:
    """A Snapshot."""
    return {
        "snapshotId": snapshot.snapshot_id,
        "volumeId": snapshot.volume_id,
        "status": snapshot.state,
        "statusMessage": snapshot.state_message or None,
        "startTime": iso_time(snapshot.started_ns),
        "completionTime": iso_time(snapshot.completed_ns),
        "progress": f"{snapshot.progress_percent}%",
        "ownerId": snapshot.owner_id,
        "volumeSize": snapshot.volume_size_gib,
        "description": snapshot.description,
        "tagSet": tag_set(snapshot.tags),
        "encrypted": snapshot.encrypted,
        "kmsKeyId": snapshot.kms_key_id or None,
        "storageTier": snapshot.tier,
        "restoreExpiryTime": iso_time(snapshot.restore_expires_ns),
        "fullSnapshotSizeInBytes": snapshot.full_bytes,
    }


def _info_tree(snapshot: Snapshot) -> Tree:
    """A SnapshotInfo, which is how CreateSnapshots tells of one."""
    return {
        "description": snapshot.description,
        "tagSet": tag_set(snapshot.tags),
        "encrypted": snapshot.encrypted,
        "volumeId": snapshot.volume_id,
        "state": snapshot.state,
        "volumeSize": snapshot.volume_size_gib,
        "startTime": iso_time(snapshot.started_ns),
        "progress": f"{snapshot.progress_percent}%",
        "ownerId": snapshot.owner_id,
        "snapshotId": snapshot.snapshot_id,
    }


def tags_of(snapshot: Snapshot) -> Mapping[str, str]:
    """For the filters on tags."""
    return snapshot.tags


def snapshot_key(snapshot: Snapshot) -> str:
    """What snapshots are listed by."""
    return instant_key(snapshot.started_ns, snapshot.snapshot_id)


def create_snapshot(job: Job) -> Tree:
    """CreateSnapshot."""
    given = job.parameters
    snapshot = job.region.create_snapshot(
        given.text("VolumeId"),
        description=given.text("Description"),
        tags=specified_tags(given, "snapshot").get("snapshot", {}),
    )
    return snapshot_tree(snapshot)


def create_snapshots(job: Job) -> Tree:
    """CreateSnapshots: of all volumes of an instance, at one point in time."""
    given = job.parameters
    of = given.struct("InstanceSpecification")
    made = job.region.create_snapshots(
        of.text("InstanceId"),
        exclude_boot=bool(of.flag("ExcludeBootVolume")),
        exclude_volume_ids=of.texts("ExcludeDataVolumeId"),
        description=given.text("Description"),
        tags=specified_tags(given, "snapshot").get("snapshot", {}),
        copy_volume_tags=bool(given.text("CopyTagsFromSource")),
    )
    return {"snapshotSet": [_info_tree(snapshot) for snapshot in made]}


def copy_snapshot(job: Job) -> Tree:
    """CopySnapshot: within a region, or from another one of this server."""
    given = job.parameters
    wanted = given.text("DestinationRegion")
    if wanted and wanted != job.region.name:
        raise invalid_value(wanted, "DestinationRegion", f"This is {job.region.name}.")
    source_name, source_id = given.text("SourceRegion"), given.text("SourceSnapshotId")
    source = job.regions.find(source_name)
    if source is None:
        raise ServiceError(
            "InvalidSnapshot.NotFound", f"The snapshot '{source_id}' does not exist."
        )
    tags = specified_tags(given, "snapshot").get("snapshot", {})
    copy = job.region.copy_snapshot(
        source_id,
        source_region=None if source_name == job.region.name else source.region,
        description=given.text("Description"),
        encrypted=bool(given.flag("Encrypted")),
        kms_key_id=given.text("KmsKeyId"),
        tags=tags,
    )
    return {"snapshotId": copy.snapshot_id, "tagSet": tag_set(copy.tags)}


def describe_snapshots(job: Job) -> Tree:
    """DescribeSnapshots."""
    given = job.parameters
    pages.refuse_with_ids(given, "SnapshotId")
    found = job.region.describe_snapshots(given.texts("SnapshotId"))
    account = job.region.account_id
    owners, restorers = given.texts("Owner"), given.texts("RestorableBy")
    if owners:
        ids = {account if owner == "self" else owner for owner in owners}
        found = [snapshot for snapshot in found if snapshot.owner_id in ids]
    if restorers:
        found = [s for s in found if any(_may_restore(s, who, account) for who in restorers)]
    chosen = filters.select(given, found, FILTERS, tags_of)
    shown, token = pages.page("DescribeSnapshots", given, job.sealer, chosen, snapshot_key)
    return {"snapshotSet": [snapshot_tree(snapshot) for snapshot in shown], "nextToken": token}


def _may_restore(snapshot: Snapshot, who: str, account: str) -> bool:
    """RestorableBy: ``all`` means those that are public."""
    if who == "all":
        return snapshot.is_public
    account_id = account if who == "self" else who
    return (
        snapshot.is_public or snapshot.owner_id == account_id or account_id in snapshot.shared_with
    )


def delete_snapshot(job: Job) -> Tree:
    """DeleteSnapshot."""
    job.region.delete_snapshot(job.parameters.text("SnapshotId"))
    return RETURN


LOCATION: Final = Scalar("string", ("regional",))
"""``local`` is for local zones and outposts, of which there are none."""

ACTIONS: Final[tuple[Action, ...]] = (
    action(
        "CreateSnapshot",
        create_snapshot,
        {
            "Description": STRING,
            "OutpostArn": REFUSED,
            "VolumeId": VOLUME_ID,
            "TagSpecification": TAG_SPECIFICATIONS,
            "Location": LOCATION,
            **DRY_RUN,
        },
        required=("VolumeId",),
    ),
    action(
        "CreateSnapshots",
        create_snapshots,
        {
            "Description": STRING,
            "InstanceSpecification": Struct(
                {
                    "InstanceId": INSTANCE_ID,
                    "ExcludeBootVolume": BOOLEAN,
                    "ExcludeDataVolumeId": VOLUME_IDS,
                },
                required=("InstanceId",),
            ),
            "OutpostArn": REFUSED,
            "TagSpecification": TAG_SPECIFICATIONS,
            "CopyTagsFromSource": Scalar("string", ("volume",)),
            "Location": LOCATION,
            **DRY_RUN,
        },
        required=("InstanceSpecification",),
    ),
    action(
        "CopySnapshot",
        copy_snapshot,
        {
            "Description": STRING,
            "DestinationOutpostArn": REFUSED,
            "DestinationRegion": STRING,
            "Encrypted": BOOLEAN,
            "KmsKeyId": STRING,
            # The source region would have the copy authorised by it.  Here, both are this server.
            "PresignedUrl": IGNORED,
            "SourceRegion": STRING,
            "SourceSnapshotId": SNAPSHOT_ID,
            "TagSpecification": TAG_SPECIFICATIONS,
            "CompletionDurationMinutes": REFUSED,
            "DestinationAvailabilityZone": REFUSED,
            **DRY_RUN,
        },
        required=("SourceRegion", "SourceSnapshotId"),
    ),
    action(
        "DescribeSnapshots",
        describe_snapshots,
        {
            "Owner": STRINGS,
            "RestorableBy": STRINGS,
            "SnapshotId": SNAPSHOT_IDS,
            **filters.MEMBERS,
            **pages.MEMBERS,
            **DRY_RUN,
        },
        filters=FILTERS,
    ),
    action(
        "DeleteSnapshot",
        delete_snapshot,
        {"SnapshotId": SNAPSHOT_ID, **DRY_RUN},
        required=("SnapshotId",),
    ),
)
