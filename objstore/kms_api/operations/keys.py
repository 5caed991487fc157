"""Keys: made, described, listed, enabled, disabled, deleted."""

from __future__ import annotations

from typing import Final

from objstore.kms.changes import (
    LEAST_WAITING_DAYS,
    MAX_DESCRIPTION_CHARS,
    MOST_WAITING_DAYS,
)
from objstore.kms.model import ENABLED, STORE, KeyInfo
from objstore.kms_api.operation import Document, Job, Operation
from objstore.kms_api.pages import page

_MS_PER_S: Final = 1000
ALGORITHM: Final = "SYMMETRIC_DEFAULT"


def seconds(at_ms: int) -> float:
    """A time as JSON 1.1 has it."""
    return at_ms / _MS_PER_S


def metadata(key: KeyInfo) -> Document:
    """KeyMetadata."""
    document: Document = {
        "AWSAccountId": key.arn.split(":")[4],
        "KeyId": key.key_id,
        "Arn": key.arn,
        "CreationDate": seconds(key.created_ms),
        "Enabled": key.state == ENABLED,
        "Description": key.description,
        "KeyUsage": "ENCRYPT_DECRYPT",
        "KeyState": key.state,
        "Origin": "AWS_KMS",
        "KeyManager": key.manager,
        "CustomerMasterKeySpec": ALGORITHM,
        "KeySpec": ALGORITHM,
        "EncryptionAlgorithms": [ALGORITHM],
        "MultiRegion": False,
    }
    if key.deletion_ms:
        document["DeletionDate"] = seconds(key.deletion_ms)
    return document


def create(job: Job) -> Document:
    """CreateKey."""
    members = job.members
    members.only("KeyUsage", "ENCRYPT_DECRYPT")
    members.only("CustomerMasterKeySpec", ALGORITHM)
    members.only("KeySpec", ALGORITHM)
    members.only("Origin", "AWS_KMS")
    description = members.text("Description", most=MAX_DESCRIPTION_CHARS, default="")
    return {"KeyMetadata": metadata(job.service.create_key(description))}


def describe(job: Job) -> Document:
    """DescribeKey; AWS's own key for S3 is made when it is first asked for."""
    arn = job.service.resolve(job.members.key_id())
    return {"KeyMetadata": metadata(job.service.describe(arn))}


def list_keys(job: Job) -> Document:
    """ListKeys; the store's own key is not among them."""
    keys = {key.key_id: key for key in job.service.list_keys() if key.manager != STORE}
    names, ending = page(job.members, sorted(keys), default=100)
    return {"Keys": [{"KeyId": name, "KeyArn": keys[name].arn} for name in names], **ending}


def enable(job: Job) -> None:
    """EnableKey."""
    job.service.enable(job.service.resolve(job.members.key_itself()))


def disable(job: Job) -> None:
    """DisableKey."""
    job.service.disable(job.service.resolve(job.members.key_itself()))


def schedule_deletion(job: Job) -> Document:
    """ScheduleKeyDeletion."""
    arn = job.service.resolve(job.members.key_itself())
    days = job.members.integer(
        "PendingWindowInDays",
        least=LEAST_WAITING_DAYS,
        most=MOST_WAITING_DAYS,
        default=MOST_WAITING_DAYS,
    )
    key = job.service.schedule_deletion(arn, days)
    return {
        "KeyId": key.arn,
        "DeletionDate": seconds(key.deletion_ms),
        "KeyState": key.state,
        "PendingWindowInDays": days,
    }


def cancel_deletion(job: Job) -> Document:
    """CancelKeyDeletion."""
    arn = job.service.resolve(job.members.key_itself())
    return {"KeyId": job.service.cancel_deletion(arn).arn}


OPERATIONS: Final = (
    Operation(
        "CreateKey",
        create,
        ("Description", "KeyUsage", "CustomerMasterKeySpec", "KeySpec", "Origin"),
        refused=("Policy", "CustomKeyStoreId", "Tags", "MultiRegion", "XksKeyId"),
        ignored=("BypassPolicyLockoutSafetyCheck",),
    ),
    Operation("DescribeKey", describe, refused=("GrantTokens",)),
    Operation("ListKeys", list_keys, ("Limit", "Marker"), refused=("ResourceOwners",)),
    Operation("EnableKey", enable),
    Operation("DisableKey", disable),
    Operation("ScheduleKeyDeletion", schedule_deletion, ("KeyId", "PendingWindowInDays")),
    Operation("CancelKeyDeletion", cancel_deletion),
)
