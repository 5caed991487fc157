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


def check_target(conditions: Conditions, info: ObjectInfo | None) -> None:
    """For the target of a rename; `info` is of the object that it would replace.

    Raises:
        PreconditionFailedError: that is another than the conditions say, or not there.
    """
    etag = None if info is None else info.etag
    if conditions.if_match and (etag is None or not _matches(conditions.if_match, etag)):
        raise PreconditionFailedError("If-Match")
    if conditions.if_none_match and etag is not None and _matches(conditions.if_none_match, etag):
        raise PreconditionFailedError("If-None-Match")
    modified_s = None if info is None else info.modified_ms // 1000
    since_s, unmodified_s = conditions.if_modified_since_s, conditions.if_unmodified_since_s
    if since_s is not None and (modified_s is None or modified_s <= since_s):
        raise PreconditionFailedError("If-Modified-Since")
    if unmodified_s is not None and modified_s is not None and modified_s > unmodified_s:
        raise PreconditionFailedError("If-Unmodified-Since")


def check_delete(conditions: Conditions, row: bytes) -> None:
    """For a delete; `row` is of the version that it would remove or hide.

    A delete marker has neither ETag nor size.

    Raises:
        PreconditionFailedError: the version is another than the caller believes.
    """
    is_marker = bool(row[schema.FLAGS_AT] & schema.FLAG_DELETE_MARKER)
    body = schema.decode_listing(schema.row_body(row))
    etag = f"{body.etag.hex()}-{body.etag_parts}" if body.etag_parts else body.etag.hex()
    if conditions.if_match and (is_marker or not _matches(conditions.if_match, etag)):
        raise PreconditionFailedError("If-Match")
    size_bytes, modified_s = conditions.if_match_size_bytes, conditions.if_match_modified_s
    if size_bytes is not None and (is_marker or size_bytes != body.size_bytes):
        raise PreconditionFailedError("x-amz-if-match-size")
    if modified_s is not None and modified_s != body.modified_ms // 1000:
        raise PreconditionFailedError("x-amz-if-match-last-modified-time")


def check_delete_of_nothing(conditions: Conditions, key: str, *, is_hidden: bool) -> None:
    """For a delete of a key that has no object; `is_hidden`: a delete marker is current.

    Size and time have nothing to compare and are satisfied; If-Match asks for an object.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-deletes.html

    Raises:
        PreconditionFailedError: If-Match, and a delete marker is current (S3 answers 412).
        NoSuchKeyError: If-Match, and there is nothing (S3 answers 404).
    """
    if conditions.if_match and is_hidden:
        raise PreconditionFailedError("If-Match")
    if conditions.if_match:
        raise NoSuchKeyError(f"{key!r} does not exist, so that If-Match cannot hold")


def _matches(wanted: tuple[str, ...], etag: str) -> bool:
    return "*" in wanted or etag in wanted
