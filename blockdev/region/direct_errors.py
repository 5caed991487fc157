"""What the EBS direct APIs call errors: the ``ebs`` service model of botocore."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from blockdev.model import ServiceError


def invalid(reason: str, message: str) -> ServiceError:
    """What is wrong with a request."""
    return ServiceError("ValidationException", message, reason=reason)


def not_found(snapshot_id: str) -> ServiceError:
    """There is no such snapshot."""
    return ServiceError(
        "ResourceNotFoundException",
        f"The snapshot '{snapshot_id}' does not exist.",
        reason="SNAPSHOT_NOT_FOUND",
    )


def not_writable(snapshot_id: str) -> ServiceError:
    """It is completed, or has failed."""
    return invalid("INVALID_SNAPSHOT_ID", f"The snapshot '{snapshot_id}' is not pending.")


def internal(error: Exception) -> ServiceError:
    """The block store failed."""
    return ServiceError("InternalServerException", str(error))


_REASONS: Final = {
    "InvalidSnapshot.NotFound": ("ResourceNotFoundException", "SNAPSHOT_NOT_FOUND"),
    "IncorrectState": ("ValidationException", "INVALID_SNAPSHOT_ID"),
    "IdempotentParameterMismatch": ("ConflictException", ""),
    "InvalidParameterValue": ("ValidationException", "INVALID_PARAMETER_VALUE"),
    "TagLimitExceeded": ("ValidationException", "INVALID_TAG"),
    "SnapshotLimitExceeded": (
        "ServiceQuotaExceededException",
        "DEPENDENCY_SERVICE_QUOTA_EXCEEDED",
    ),
}
"""How the EBS direct APIs name what EC2 names otherwise."""


@contextmanager
def as_direct_errors() -> Iterator[None]:
    """Errors of the shared parts, as the EBS direct APIs tell them."""
    try:
        yield
    except ServiceError as error:
        code, reason = _REASONS.get(error.code, (error.code, error.reason))
        raise ServiceError(code, error.message, reason=reason) from error
