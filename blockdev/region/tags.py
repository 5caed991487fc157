"""CreateTags, DeleteTags, DescribeTags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from blockdev.model import ServiceError
from blockdev.region import rows
from blockdev.region.base import RegionBase, instance_not_found, volume_not_found
from blockdev.region.database import Connection

_KINDS: Final = {
    "vol": ("volume", "volumes", "volume_id"),
    "snap": ("snapshot", "snapshots", "snapshot_id"),
    "i": ("instance", "instances", "instance_id"),
}


class TagVerbs(RegionBase):
    """Tags of volumes, snapshots and instances."""

    def create_tags(self, resource_ids: Sequence[str], tags: Mapping[str, str]) -> None:
        """Set `tags` on each resource, in place of those with the same keys.

        Raises:
            ServiceError: InvalidID, Invalid….NotFound, TagLimitExceeded,
                InvalidParameterValue.
        """
        with self._write() as (connection, _):
            for resource_id in resource_ids:
                _check_exists(connection, resource_id)
                self._tag(connection, resource_id, tags)

    def delete_tags(
        self, resource_ids: Sequence[str], keys: Sequence[str] | Mapping[str, str | None] = ()
    ) -> None:
        """Remove the tags with these keys, or all of them when no key is named.

        A mapping removes a tag only if it has the value given there; None means any.

        Raises:
            ServiceError: InvalidID, Invalid….NotFound.
        """
        wanted = keys if isinstance(keys, Mapping) else dict.fromkeys(keys)
        with self._write() as (connection, _):
            for resource_id in resource_ids:
                _check_exists(connection, resource_id)
                if not wanted:
                    connection.execute("DELETE FROM tags WHERE resource_id = ?", (resource_id,))
                connection.executemany(
                    "DELETE FROM tags WHERE resource_id = ? AND key = ?"
                    " AND value = coalesce(?, value)",
                    [(resource_id, key, value) for key, value in wanted.items()],
                )

    def describe_tags(self) -> list[tuple[str, str, str, str]]:
        """Every tag as (resource id, resource type, key, value), sorted."""
        with self._write() as (connection, _):  # strikes off those of what is gone by now
            found = rows.select(connection, "tags", "key", None, "ORDER BY resource_id, key")
        return [
            (row["resource_id"], _kind(row["resource_id"])[0], row["key"], row["value"])
            for row in found
        ]


def _kind(resource_id: str) -> tuple[str, str, str]:
    """The resource type that an id tells, its table and its column."""
    found = _KINDS.get(resource_id.partition("-")[0])
    if found is None:
        raise ServiceError("InvalidID", f"The ID '{resource_id}' is not valid")
    return found


def _check_exists(connection: Connection, resource_id: str) -> None:
    kind, table, column = _kind(resource_id)
    query = f"SELECT 1 FROM {table} WHERE {column} = ?"
    if connection.execute(query, (resource_id,)).fetchone() is not None:
        return
    if kind == "volume":
        raise volume_not_found(resource_id)
    if kind == "instance":
        raise instance_not_found(resource_id)
    raise ServiceError("InvalidSnapshot.NotFound", f"The snapshot '{resource_id}' does not exist.")
