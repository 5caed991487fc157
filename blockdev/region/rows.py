"""Rows as the values of `blockdev.model`, at a moment of the clock."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from blockdev import instance as instance_rules
from blockdev import volume as volume_rules
from blockdev.model import (
    Attachment,
    FastRestore,
    Instance,
    InstanceDisk,
    Modification,
    Volume,
    VolumeSpec,
)
from blockdev.region.database import Connection

Row = sqlite3.Row
_Described = TypeVar("_Described", Volume, Attachment, Instance, FastRestore, Modification)
_Grouped = Mapping[str, tuple[Any, ...]]


def select(
    connection: Connection, table: str, key: str, ids: Iterable[str] | None, tail: str = ""
) -> list[Row]:
    """The rows of `table`, all of them or those whose `key` is among `ids`."""
    if ids is None:
        return connection.execute(f"SELECT * FROM {table} {tail}").fetchall()
    wanted = json.dumps(list(ids))
    query = f"SELECT * FROM {table} WHERE {key} IN (SELECT value FROM json_each(?)) {tail}"
    return connection.execute(query, (wanted,)).fetchall()


def with_state(described: _Described, state: str) -> _Described:
    """The same, in the state in which the answer to a verb shows it."""
    return replace(described, state=state)


def load_tags(connection: Connection, ids: Iterable[str]) -> dict[str, dict[str, str]]:
    """The tags of resources; one without any has an empty dictionary."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for row in select(connection, "tags", "resource_id", ids, "ORDER BY resource_id, key"):
        found[row["resource_id"]][row["key"]] = row["value"]
    return found


def load_volumes(
    connection: Connection, now_ns: int, ids: Sequence[str] | None = None
) -> list[Volume]:
    """Volumes in the order of their creation; those that are deleted are left out."""
    rows = [
        row
        for row in select(connection, "volumes", "volume_id", ids, "ORDER BY created_ns, rowid")
        if row["deleted_ns"] is None or row["files_made"] or now_ns < row["deleted_ns"]
    ]
    found = [row["volume_id"] for row in rows]
    attachments = load_attachments(connection, now_ns, "volume_id", found)
    latest = _latest_modifications(connection, found)
    tags = load_tags(connection, found)
    return [
        _volume(
            row,
            now_ns,
            attachments.get(row["volume_id"], ()),
            latest.get(row["volume_id"]),
            tags[row["volume_id"]],
        )
        for row in rows
    ]


def _volume(
    row: Row,
    now_ns: int,
    attachments: tuple[Attachment, ...],
    latest: Row | None,
    tags: Mapping[str, str],
) -> Volume:
    spec, multi_attach = spec_of(row), bool(row["multi_attach"])
    if latest is not None and now_ns < latest["optimizing_ns"]:
        spec, multi_attach = original_of(latest), bool(latest["original_multi_attach"])
    state = volume_rules.volume_state(
        now_ns,
        available_ns=row["available_ns"] if row["files_made"] else now_ns + 1,
        is_deleted=row["deleted_ns"] is not None,
        is_failed=bool(row["failure"]),
        is_attached=bool(attachments),
    )
    return Volume(
        volume_id=row["volume_id"],
        spec=spec,
        state=state,
        zone=row["zone"],
        created_ns=row["created_ns"],
        snapshot_id=row["snapshot_id"],
        encrypted=bool(row["encrypted"]),
        kms_key_id=row["kms_key_id"],
        multi_attach=multi_attach,
        fast_restored=bool(row["fast_restored"]),
        initialization_mibps=row["initialization_mibps"],
        attachments=attachments,
        tags=tags,
    )


def spec_of(row: Row) -> VolumeSpec:
    """What a volume's row says that it is, or becomes by its latest modification."""
    return VolumeSpec(row["volume_type"], row["size_gib"], row["iops"], row["throughput_mibps"])


def original_of(row: Row) -> VolumeSpec:
    """What a volume was before a modification."""
    return VolumeSpec(
        row["original_type"],
        row["original_size_gib"],
        row["original_iops"],
        row["original_throughput_mibps"],
    )


def target_of(row: Row) -> VolumeSpec:
    """What a volume is to be by a modification."""
    return VolumeSpec(
        row["target_type"],
        row["target_size_gib"],
        row["target_iops"],
        row["target_throughput_mibps"],
    )


def _latest_modifications(connection: Connection, ids: Iterable[str]) -> dict[str, Row]:
    rows = select(connection, "modifications", "volume_id", ids, "ORDER BY modification_id")
    return {row["volume_id"]: row for row in rows}


def load_modifications(
    connection: Connection, now_ns: int, ids: Sequence[str] | None = None
) -> list[Modification]:
    """Every modification that is on record, the oldest first."""
    rows = select(connection, "modifications", "volume_id", ids, "ORDER BY modification_id")
    return [modification_of(row, now_ns) for row in rows]


def modification_of(row: Row, now_ns: int) -> Modification:
    """One modification as it is at `now_ns`."""
    times = {"optimizing_ns": row["optimizing_ns"], "completed_ns": row["completed_ns"]}
    state = volume_rules.modification_state(now_ns, **times)
    return Modification(
        volume_id=row["volume_id"],
        state=state,
        original=original_of(row),
        target=target_of(row),
        progress_percent=volume_rules.modification_progress(
            now_ns, started_ns=row["started_ns"], **times
        ),
        started_ns=row["started_ns"],
        ended_ns=row["completed_ns"] if state == "completed" else None,
        original_multi_attach=bool(row["original_multi_attach"]),
        target_multi_attach=bool(row["target_multi_attach"]),
    )


def load_attachments(
    connection: Connection, now_ns: int, key: str, ids: Iterable[str]
) -> dict[str, tuple[Attachment, ...]]:
    """Attachments that are not over, grouped by `key`: volume_id or instance_id."""
    wanted = list(ids)
    rows = select(connection, "attachments", key, wanted, "ORDER BY requested_ns, rowid")
    busy = {
        (row["volume_id"], row["instance_id"]) for row in select(connection, "opens", key, wanted)
    }
    found: dict[str, list[Attachment]] = defaultdict(list)
    for row in rows:
        attachment = _attachment(row, now_ns, busy)
        if attachment.state != "detached":
            found[row[key]].append(attachment)
    return {one: tuple(several) for one, several in found.items()}


def _attachment(row: Row, now_ns: int, busy: set[tuple[str, str]]) -> Attachment:
    return Attachment(
        volume_id=row["volume_id"],
        instance_id=row["instance_id"],
        device=row["device"],
        state=volume_rules.attachment_state(
            now_ns,
            attached_ns=row["attached_ns"],
            detached_ns=row["detached_ns"],
            busy=(row["volume_id"], row["instance_id"]) in busy,
        ),
        attached_ns=row["requested_ns"],
        delete_on_termination=bool(row["delete_on_termination"]),
    )


def load_instances(
    connection: Connection, now_ns: int, ids: Sequence[str] | None = None
) -> list[Instance]:
    """Instances in the order of their launch; terminated ones for an hour."""
    order = "ORDER BY launched_ns, launch_index, rowid"
    rows = [
        row
        for row in select(connection, "instances", "instance_id", ids, order)
        if row["target"] != "terminated"
        or now_ns < row["reached_ns"] + instance_rules.TERMINATED_VISIBLE_NS
    ]
    found = [row["instance_id"] for row in rows]
    attachments = load_attachments(connection, now_ns, "instance_id", found)
    disks = _load_disks(connection, now_ns, rows)
    tags = load_tags(connection, found)
    return [
        Instance(
            instance_id=row["instance_id"],
            instance_type=row["instance_type"],
            image_id=row["image_id"],
            state=_instance_state(row, now_ns),
            zone=row["zone"],
            launched_ns=row["launched_ns"],
            reservation_id=row["reservation_id"],
            root_device=row["root_device"],
            attachments=attachments.get(row["instance_id"], ()),
            disks=disks.get(row["instance_id"], ()),
            tags=tags[row["instance_id"]],
            state_reason=row["state_reason"],
            launch_index=row["launch_index"],
        )
        for row in rows
    ]


def _instance_state(row: Row, now_ns: int) -> str:
    return instance_rules.instance_state(now_ns, target=row["target"], reached_ns=row["reached_ns"])


def _load_disks(connection: Connection, now_ns: int, instances: Sequence[Row]) -> _Grouped:
    """Instance-store disks: gone while the instance is not running, or for good."""
    present = {
        row["instance_id"]: _instance_state(row, now_ns) in ("pending", "running")
        for row in instances
    }
    found: dict[str, list[InstanceDisk]] = defaultdict(list)
    for row in select(
        connection, "instance_disks", "instance_id", present, "ORDER BY instance_id, disk_index"
    ):
        failed_or_present = "failed" if row["failed"] else "present"
        found[row["instance_id"]].append(
            InstanceDisk(
                instance_id=row["instance_id"],
                device=row["device"],
                disk_index=row["disk_index"],
                size_bytes=row["size_bytes"],
                state=failed_or_present if present[row["instance_id"]] else "gone",
            )
        )
    return {one: tuple(several) for one, several in found.items()}
