"""New material for keys: at once, or every so many days."""

from __future__ import annotations

from typing import Final

from objstore.errors import KeyPendingDeletionError
from objstore.kms.changes import LEAST_ROTATION_DAYS, MOST_ROTATION_DAYS
from objstore.kms.model import AWS, PENDING_DELETION
from objstore.kms.service import YEAR_DAYS
from objstore.kms_api.errors import unsupported
from objstore.kms_api.operation import Document, Job, Operation
from objstore.kms_api.operations.keys import seconds


def rotate(job: Job) -> Document:
    """RotateKeyOnDemand."""
    key = job.service.describe(job.service.resolve(job.members.key_itself()))
    if key.manager == AWS:
        raise unsupported("RotateKeyOnDemand of a key that AWS manages")
    return {"KeyId": job.service.rotate(key.arn).key_id}


def status(job: Job) -> Document:
    """GetKeyRotationStatus."""
    key = job.service.describe(job.service.resolve(job.members.key_itself()))
    if key.state == PENDING_DELETION:
        raise KeyPendingDeletionError(f"{key.arn} is pending deletion.")
    document: Document = {"KeyId": key.key_id, "KeyRotationEnabled": key.rotation_days > 0}
    if key.rotation_days:
        document["RotationPeriodInDays"] = key.rotation_days
        document["NextRotationDate"] = seconds(key.next_rotation_ms)
    return document


def enable(job: Job) -> None:
    """EnableKeyRotation; yearly where no period is given."""
    days = job.members.integer(
        "RotationPeriodInDays",
        least=LEAST_ROTATION_DAYS,
        most=MOST_ROTATION_DAYS,
        default=YEAR_DAYS,
    )
    job.service.set_rotation(job.service.resolve(job.members.key_itself()), days)


def disable(job: Job) -> None:
    """DisableKeyRotation."""
    job.service.set_rotation(job.service.resolve(job.members.key_itself()), 0)


OPERATIONS: Final = (
    Operation("RotateKeyOnDemand", rotate),
    Operation("GetKeyRotationStatus", status),
    Operation("EnableKeyRotation", enable, ("KeyId", "RotationPeriodInDays")),
    Operation("DisableKeyRotation", disable),
)
