"""Tags of resources."""

from __future__ import annotations

from typing import Final, TypeAlias

from objstore.ec2 import filters, pages
from objstore.ec2.action import Action, Job, action
from objstore.ec2.errors import missing
from objstore.ec2.filters import Table
from objstore.ec2.operations.common import DRY_RUN, RETURN, TAG, read_tags
from objstore.ec2.parameters import STRINGS, ListOf
from objstore.ec2.xml import Tree

TagRow: TypeAlias = tuple[str, str, str, str]
"""Resource id, resource type, key and value."""

FILTERS: Final[Table[TagRow]] = {
    "key": lambda row: row[2],
    "resource-id": lambda row: row[0],
    "resource-type": lambda row: row[1],
    "value": lambda row: row[3],
}


def create_tags(job: Job) -> Tree:
    """CreateTags: adds them, or gives them new values."""
    given = job.parameters
    job.region.create_tags(given.texts("ResourceId"), read_tags(given.structs("Tag")))
    return RETURN


def delete_tags(job: Job) -> Tree:
    """DeleteTags: by key, by key and value, or all of them."""
    given = job.parameters
    wanted: dict[str, str | None] = {}
    for entry in given.structs("Tag"):
        if not entry.text("Key"):
            raise missing("Tag.Key")
        wanted[entry.text("Key")] = entry.text("Value") if entry.has("Value") else None
    job.region.delete_tags(given.texts("ResourceId"), wanted)
    return RETURN


def describe_tags(job: Job) -> Tree:
    """DescribeTags."""
    given = job.parameters
    rows = filters.select(given, job.region.describe_tags(), FILTERS, lambda row: {row[2]: row[3]})
    shown, token = pages.page(
        "DescribeTags", given, job.sealer, rows, lambda row: " ".join(row[:3])
    )
    listed = [
        {"resourceId": row[0], "resourceType": row[1], "key": row[2], "value": row[3]}
        for row in shown
    ]
    return {"tagSet": listed, "nextToken": token}


def _key(row: TagRow) -> str:
    return " ".join(row[:3])


ACTIONS: Final[tuple[Action, ...]] = (
    action(
        "CreateTags",
        create_tags,
        {"ResourceId": STRINGS, "Tag": ListOf(TAG), **DRY_RUN},
        required=("ResourceId", "Tag"),
    ),
    action(
        "DeleteTags",
        delete_tags,
        {"ResourceId": STRINGS, "Tag": ListOf(TAG), **DRY_RUN},
        required=("ResourceId",),
    ),
    action(
        "DescribeTags",
        describe_tags,
        {**filters.MEMBERS, **pages.MEMBERS, **DRY_RUN},
        filters=FILTERS,
    ),
)
