"""HTTP conditions against an object, as RFC 9110 section 13.2.2 orders them."""

from __future__ import annotations

from objstore.errors import NoSuchKeyError, NotModifiedError, PreconditionFailedError
from objstore.index import schema
from objstore.model import Conditions, ObjectInfo


def check_read(conditions: Conditions, info: ObjectInfo) -> None:
    """For GET, HEAD and the source of a copy.

    Raises:
        PreconditionFailedError: If-Match or If-Unmodified-Since does not hold.
        NotModifiedError: If-None-Match or If-Modified-Since says so.
    """
    modified_s = info.modified_ms // 1000
    if conditions.if_match:
        if not _matches(conditions.if_match, info.etag):
            raise PreconditionFailedError("If-Match")
    elif (
        conditions.if_unmodified_since_s is not None
        and modified_s > conditions.if_unmodified_since_s
    ):
        raise PreconditionFailedError("If-Unmodified-Since")
    if conditions.if_none_match:
        if _matches(conditions.if_none_match, info.etag):
            raise NotModifiedError("If-None-Match", info)
    elif (
        conditions.if_modified_since_s is not None and modified_s <= conditions.if_modified_since_s
    ):
        raise NotModifiedError("If-Modified-Since", info)


def check_write(conditions: Conditions, key: str, etag: str | None) -> None:
    """For put and complete; `etag` is of the present object, None without one.

    Raises:
        PreconditionFailedError: the present object is not what the writer expects.
        NoSuchKeyError: If-Match, and there is no object (S3 answers 404).
    """
    if conditions.if_match:
        if etag is None:
            raise NoSuchKeyError(f"{key!r} does not exist, so that If-Match cannot hold")
        if not _matches(conditions.if_match, etag):
            raise PreconditionFailedError("If-Match")
    if conditions.if_none_match and etag is not None and _matches(conditions.if_none_match, etag):
        raise PreconditionFailedError("If-None-Match")


def check_delete(conditions: Conditions, row: bytes | None) -> bool:
    """For a delete; `row` is of the object that it would remove, None without one.

    Returns:
        Whether there is anything to delete: what is not there needs no conditions.

    Raises:
        PreconditionFailedError: the object is another than the caller believes.
    """
    if row is None:
        return False
    body = schema.decode_listing(schema.row_body(row))
    etag = f"{body.etag.hex()}-{body.etag_parts}" if body.etag_parts else body.etag.hex()
    if conditions.if_match and not _matches(conditions.if_match, etag):
        raise PreconditionFailedError("If-Match")
    size_bytes, modified_s = conditions.if_match_size_bytes, conditions.if_match_modified_s
    if size_bytes is not None and size_bytes != body.size_bytes:
        raise PreconditionFailedError("x-amz-if-match-size")
    if modified_s is not None and modified_s != body.modified_ms // 1000:
        raise PreconditionFailedError("x-amz-if-match-last-modified-time")
    return True


def _matches(wanted: tuple[str, ...], etag: str) -> bool:
    return "*" in wanted or etag in wanted
