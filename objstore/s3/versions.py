"""Versions of objects in requests and answers."""

from __future__ import annotations

from objstore.model import ObjectInfo
from objstore.s3.errors import invalid_argument
from objstore.s3.http import Headers, Request

NULL = "null"
# S3's version ids are 32 characters; what is not is no version id at all.
_LENGTH = 32


def version_id(request: Request, name: str = "versionId") -> str:
    """The version that a request names; empty when it names none.

    Raises:
        S3Error: InvalidArgument when it cannot be a version id.
    """
    value = request.query_value(name)
    return "" if value is None else checked(value, name)


def checked(value: str, name: str = "versionId") -> str:
    """`value`, if it can be a version id.

    Raises:
        S3Error: InvalidArgument.
    """
    if value == NULL:
        return value
    if value == "":
        raise invalid_argument("Version id cannot be the empty string", name, "")
    if len(value) != _LENGTH:
        raise invalid_argument("Invalid version id specified", name, value)
    return value


def version_headers(info: ObjectInfo, header: bytes = b"x-amz-version-id") -> Headers:
    """Which version it is, of an object in a bucket whose versioning is, or was, enabled."""
    if info.version_id == NULL and not info.has_versions:
        return []
    return [(header, info.version_id.encode("ascii"))]
