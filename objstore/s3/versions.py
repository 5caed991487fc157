"""Version ids while no bucket has versioning: an object has one version, ``null``."""

from __future__ import annotations

from objstore.s3.errors import S3Error, invalid_argument
from objstore.s3.http import Request

NULL = "null"
# S3's version ids are 32 characters; what is not is no version id at all.
_LENGTH = 32


def names_current(version_id: str | None) -> bool:
    """Whether a version id means the one version that an object has here.

    Raises:
        S3Error: InvalidArgument when it cannot be a version id.
    """
    if version_id is None or version_id == NULL:
        return True
    if version_id == "":
        raise invalid_argument("Version id cannot be the empty string", "versionId", "")
    if len(version_id) != _LENGTH:
        raise invalid_argument("Invalid version id specified", "versionId", version_id)
    return False


def no_such_version(request: Request, version_id: str) -> S3Error:
    """The id is well-formed, but nothing was ever stored under it."""
    return S3Error("NoSuchVersion", extra={"Key": request.key, "VersionId": version_id})
