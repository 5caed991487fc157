"""Who may make volumes of a snapshot: its attribute createVolumePermission."""

from __future__ import annotations

import re
from typing import Final

from objstore.ec2.action import Action, Job, action
from objstore.ec2.errors import combination, invalid_value, missing
from objstore.ec2.operations.common import DRY_RUN, RETURN
from objstore.ec2.parameters import SNAPSHOT_ID, STRING, STRINGS, ListOf, Parameters, Scalar, Struct
from objstore.ec2.xml import Tree

PERMISSION: Final = "createVolumePermission"
ATTRIBUTES: Final = Scalar("string", ("productCodes", PERMISSION))
EVERYBODY: Final = "all"
_ACCOUNT: Final = re.compile(r"\d{12}")
_PERMISSIONS: Final = ListOf(Struct({"UserId": STRING, "Group": Scalar("string", (EVERYBODY,))}))


def modify_attribute(job: Job) -> Tree:
    """ModifySnapshotAttribute, in either of its two forms."""
    given = job.parameters
    if given.text("Attribute") == "productCodes":
        raise invalid_value("productCodes", "Attribute", "It cannot be changed.")
    modern, kind = given.struct("CreateVolumePermission"), given.text("OperationType")
    if given.has("CreateVolumePermission") and kind:
        raise combination("Specify CreateVolumePermission or OperationType, not both")
    if given.has("CreateVolumePermission"):
        add, adds_all = _permissions(modern.structs("Add"))
        remove, removes_all = _permissions(modern.structs("Remove"))
    elif kind:
        accounts, everybody = given.texts("UserId"), _has_all(given.texts("UserGroup"))
        add, adds_all = (accounts, everybody) if kind == "add" else ([], False)
        remove, removes_all = (accounts, everybody) if kind == "remove" else ([], False)
    else:
        raise missing("CreateVolumePermission")
    if not (add or remove or adds_all or removes_all):
        raise missing("UserId or Group")
    if adds_all and removes_all:
        raise combination("The group all cannot be added and removed in one request")
    for account in (*add, *remove):
        if not _ACCOUNT.fullmatch(account):
            raise invalid_value(account, "UserId", "An account id has twelve digits.")
    public = True if adds_all else False if removes_all else None
    job.region.share_snapshot(given.text("SnapshotId"), add=add, remove=remove, public=public)
    return RETURN


def _permissions(entries: list[Parameters]) -> tuple[list[str], bool]:
    """Accounts, and whether everybody is meant as well."""
    accounts = [entry.text("UserId") for entry in entries if entry.has("UserId")]
    return accounts, any(entry.has("Group") for entry in entries)


def _has_all(groups: list[str]) -> bool:
    for group in groups:
        if group != EVERYBODY:
            raise invalid_value(group, "UserGroup", f"The only group is {EVERYBODY}.")
    return bool(groups)


def describe_attribute(job: Job) -> Tree:
    """DescribeSnapshotAttribute."""
    given = job.parameters
    (snapshot,) = job.region.describe_snapshots([given.text("SnapshotId")])
    if given.text("Attribute") == "productCodes":
        return {"snapshotId": snapshot.snapshot_id, "productCodes": []}
    listed: list[Tree] = [{"userId": account} for account in snapshot.shared_with]
    if snapshot.is_public:
        listed.append({"group": EVERYBODY})
    return {"snapshotId": snapshot.snapshot_id, PERMISSION: listed}


def reset_attribute(job: Job) -> Tree:
    """ResetSnapshotAttribute: private again."""
    given = job.parameters
    if given.text("Attribute") != PERMISSION:
        raise invalid_value(given.text("Attribute"), "Attribute", f"It must be {PERMISSION}.")
    job.region.reset_snapshot_sharing(given.text("SnapshotId"))
    return RETURN


ACTIONS: Final[tuple[Action, ...]] = (
    action(
        "ModifySnapshotAttribute",
        modify_attribute,
        {
            "Attribute": ATTRIBUTES,
            "CreateVolumePermission": Struct({"Add": _PERMISSIONS, "Remove": _PERMISSIONS}),
            "UserGroup": STRINGS,
            "OperationType": Scalar("string", ("add", "remove")),
            "SnapshotId": SNAPSHOT_ID,
            "UserId": STRINGS,
            **DRY_RUN,
        },
        required=("SnapshotId",),
    ),
    action(
        "DescribeSnapshotAttribute",
        describe_attribute,
        {"Attribute": ATTRIBUTES, "SnapshotId": SNAPSHOT_ID, **DRY_RUN},
        required=("Attribute", "SnapshotId"),
    ),
    action(
        "ResetSnapshotAttribute",
        reset_attribute,
        {"Attribute": ATTRIBUTES, "SnapshotId": SNAPSHOT_ID, **DRY_RUN},
        required=("Attribute", "SnapshotId"),
    ),
)
