"""Aliases: made, deleted, listed."""

from __future__ import annotations

from typing import Final

from objstore.kms_api.operation import Document, Job, Operation
from objstore.kms_api.operations.keys import seconds
from objstore.kms_api.pages import page

_MAX_CHARS: Final = 256


def create(job: Job) -> None:
    """CreateAlias."""
    alias = job.members.text("AliasName", least=1, most=_MAX_CHARS)
    job.service.create_alias(alias, job.service.resolve(job.members.key_itself("TargetKeyId")))


def delete(job: Job) -> None:
    """DeleteAlias."""
    job.service.delete_alias(job.members.text("AliasName", least=1, most=_MAX_CHARS))


def list_aliases(job: Job) -> Document:
    """ListAliases, of one key or of all."""
    found = {alias.name: alias for alias in job.service.list_aliases()}
    if job.members.has("KeyId"):
        arn = job.service.resolve(job.members.key_itself())
        key_id = arn.rpartition("/")[2]
        found = {name: alias for name, alias in found.items() if alias.key_id == key_id}
    names, ending = page(job.members, sorted(found), default=50)
    listed = [
        {
            "AliasName": name,
            "AliasArn": found[name].arn,
            "TargetKeyId": found[name].key_id,
            "CreationDate": seconds(found[name].created_ms),
            "LastUpdatedDate": seconds(found[name].created_ms),
        }
        for name in names
    ]
    return {"Aliases": listed, **ending}


OPERATIONS: Final = (
    Operation("CreateAlias", create, ("AliasName", "TargetKeyId")),
    Operation("DeleteAlias", delete, ("AliasName",)),
    Operation("ListAliases", list_aliases, ("KeyId", "Limit", "Marker")),
)
