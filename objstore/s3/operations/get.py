"""GetObject and HeadObject."""

from __future__ import annotations

import re

from objstore.config import MAX_PARTS
from objstore.errors import InvalidRangeError
from objstore.model import NO_CONDITIONS, ByteRange, Conditions, ObjectInfo
from objstore.s3 import versions
from objstore.s3.digests import HEADERS as CHECKSUM_HEADERS
from objstore.s3.errors import S3Error, invalid_argument, not_implemented
from objstore.s3.formats import http_date
from objstore.s3.headers import (
    DEFAULT_CONTENT_TYPE,
    byte_range,
    etag_list,
    integer,
    read_conditions,
)
from objstore.s3.http import Context, Headers, Request, Response
from objstore.s3.metadata import encode_value
from objstore.s3.store import BodyReader

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_BREAKS = re.compile(rb"[\r\n\x00]")
_OVERRIDES = {
    "response-content-type": b"content-type",
    "response-cache-control": b"cache-control",
    "response-content-disposition": b"content-disposition",
    "response-content-encoding": b"content-encoding",
    "response-content-language": b"content-language",
    "response-expires": b"expires",
}


def get_object(ctx: Context, request: Request) -> Response:
    """GetObject: the whole, or one range of it; the body is an open reader."""
    conditions = read_conditions(request)
    wanted = byte_range(request.header(b"range"))
    if request.query or b"if-range" in request.header_map:
        return _get_by_query(ctx, request, wanted, conditions)
    reader = ctx.store.get(request.bucket, request.key, byte_range=wanted, conditions=conditions)
    return _found(request, reader, partial=wanted is not None)


def _found(request: Request, reader: BodyReader, *, partial: bool) -> Response:
    info = reader.info
    headers = object_headers(info, reader.length_bytes)
    if partial:
        headers.append(content_range(reader.start_byte, reader.length_bytes, info))
    elif b"x-amz-checksum-mode" in request.header_map:
        headers += checksum_headers(request, info)
    return Response(206 if partial else 200, headers, reader)


def _get_by_query(
    ctx: Context, request: Request, wanted: ByteRange | None, conditions: Conditions
) -> Response:
    check_version(ctx, request)
    wanted = _if_range(ctx, request, wanted)
    part = part_number(request, wanted)
    reader = ctx.store.get(request.bucket, request.key, byte_range=wanted, conditions=conditions)
    try:
        if part is not None:
            check_part(reader.info, part)
        response = _found(request, reader, partial=wanted is not None)
        if part is not None:
            as_part(response, reader.info)
        response.headers = finish_headers(request, response.headers)
    except BaseException:
        reader.close()
        raise
    return response


def head_object(ctx: Context, request: Request) -> Response:
    """HeadObject: what GetObject would say, without the body; a range counts here too."""
    conditions = read_conditions(request)
    wanted = byte_range(request.header(b"range"))
    check_version(ctx, request)
    wanted = _if_range(ctx, request, wanted)
    part = part_number(request, wanted)
    info = ctx.store.head(request.bucket, request.key, conditions=conditions)
    if part is not None:
        check_part(info, part)
    start, length = resolve(wanted, info.size_bytes)
    headers = object_headers(info, length)
    if wanted is not None:
        headers.append(content_range(start, length, info))
    elif b"x-amz-checksum-mode" in request.header_map:
        headers += checksum_headers(request, info)
    response = Response(200 if wanted is None else 206, headers)
    if part is not None:
        as_part(response, info)
    if request.query:
        response.headers = finish_headers(request, response.headers)
    return response


def object_headers(info: ObjectInfo, length_bytes: int) -> Headers:
    """The headers that an object is served with."""
    stored = info.attributes
    headers: Headers = [
        (b"last-modified", http_date(info.modified_ms // 1000)),
        (b"etag", b'"%b"' % info.etag.encode("ascii")),
        (b"accept-ranges", b"bytes"),
        (b"content-length", b"%d" % length_bytes),
    ]
    if "content-type" not in stored.headers:
        headers.append((b"content-type", DEFAULT_CONTENT_TYPE))
    for name, value in stored.headers.items():
        headers.append((name.encode("ascii"), _value(value)))
    if stored.metadata:
        _add_metadata(headers, info)
    if stored.tags:
        headers.append((b"x-amz-tagging-count", b"%d" % len(stored.tags)))
    if stored.storage_class != "STANDARD":
        headers.append((b"x-amz-storage-class", stored.storage_class.encode("ascii")))
    return headers


def _add_metadata(headers: Headers, info: ObjectInfo) -> None:
    # Metadata of an embedding program may have names that no header can have.
    missing = 0
    for name, text in info.attributes.metadata.items():
        value = encode_value(text) if _TOKEN.fullmatch(name) else None
        if value is None:
            missing += 1
        else:
            headers.append((b"x-amz-meta-" + name.encode("ascii"), value))
    if missing:
        headers.append((b"x-amz-missing-meta", b"%d" % missing))


def _value(text: str) -> bytes:
    """A header value; a line break in it would end the header and begin another."""
    raw = text.encode("utf-8")
    return _BREAKS.sub(b" ", raw) if _BREAKS.search(raw) else raw


def checksum_headers(request: Request, info: ObjectInfo) -> Headers:
    """The checksums of the whole object, if x-amz-checksum-mode asks for them."""
    mode = request.header(b"x-amz-checksum-mode") or ""
    if mode.upper() != "ENABLED" or not info.checksums:
        return []
    headers = [
        (CHECKSUM_HEADERS[checksum.algorithm], checksum.value.encode("ascii"))
        for checksum in info.checksums
    ]
    headers.append((b"x-amz-checksum-type", info.checksums[0].type.encode("ascii")))
    return headers


def content_range(start: int, length: int, info: ObjectInfo) -> tuple[bytes, bytes]:
    """Content-Range of a non-empty part of an object."""
    return (
        b"content-range",
        b"bytes %d-%d/%d" % (start, start + length - 1, info.size_bytes),
    )


def resolve(wanted: ByteRange | None, size_bytes: int) -> tuple[int, int]:
    """First byte and length of a range, for HEAD; the engine does it for GET.

    Raises:
        InvalidRangeError: nothing of the object lies in the range.
    """
    if wanted is None:
        return 0, size_bytes
    if wanted.suffix_bytes is not None:
        length = min(wanted.suffix_bytes, size_bytes)
        start = size_bytes - length
    else:
        start = wanted.first
        last = size_bytes - 1 if wanted.last is None else min(wanted.last, size_bytes - 1)
        length = last - start + 1
    if length <= 0:
        raise InvalidRangeError(size_bytes)
    return start, length


def check_version(ctx: Context, request: Request) -> None:
    """Refuse a versionId that is not the object's one version.

    Raises:
        S3Error: NoSuchVersion or InvalidArgument.
        NoSuchBucketError: there is no such bucket.
    """
    version_id = request.query_value("versionId")
    if version_id is not None and not versions.names_current(version_id):
        ctx.store.head_bucket(request.bucket)
        raise versions.no_such_version(request, version_id)


def part_number(request: Request, wanted: ByteRange | None) -> int | None:
    """The part asked for by partNumber.

    Raises:
        S3Error: InvalidArgument, or InvalidRequest besides a range.
    """
    text = request.query_value("partNumber")
    if text is None:
        return None
    number = integer(text, MAX_PARTS)
    if not number:
        raise invalid_argument(
            "Part number must be an integer between 1 and 10000, inclusive", "partNumber", text
        )
    if wanted is not None:
        raise S3Error(
            "InvalidRequest", "Cannot specify both Range header and partNumber query parameter"
        )
    return number


def check_part(info: ObjectInfo, number: int) -> None:
    """Only an object put in one piece can be read by part: it has the one.

    Raises:
        S3Error: InvalidPartNumber, or NotImplemented for an object of several parts.
    """
    if info.part_count:
        raise not_implemented("partNumber on an object of several parts is not implemented")
    if number > 1:
        raise S3Error(
            "InvalidPartNumber",
            extra={"PartNumberRequested": str(number), "ActualPartCount": "1"},
        )


def as_part(response: Response, info: ObjectInfo) -> None:
    """A part is a range, even where it is the whole; of nothing there is no range."""
    if info.size_bytes:
        response.status = 206
        response.headers.append(content_range(0, info.size_bytes, info))


def _if_range(ctx: Context, request: Request, wanted: ByteRange | None) -> ByteRange | None:
    """Drop the range when If-Range names another state of the object (RFC 9110, 13.1.5)."""
    value = request.header(b"if-range")
    if wanted is None or value is None:
        return wanted
    info = ctx.store.head(request.bucket, request.key, conditions=NO_CONDITIONS)
    current = value.encode("latin-1", "replace") == http_date(info.modified_ms // 1000)
    return wanted if current or info.etag in etag_list(value) else None


def finish_headers(request: Request, headers: Headers) -> Headers:
    """What the query adds: overridden headers, and the version that was asked for."""
    overrides: dict[bytes, bytes] = {}
    for name, value in request.query:
        header = _OVERRIDES.get(name)
        if header is None:
            continue
        raw = value.encode("utf-8")
        if _BREAKS.search(raw):
            raise invalid_argument("A header value cannot hold a line break", name, value)
        overrides[header] = raw
    kept = [pair for pair in headers if pair[0] not in overrides]
    kept += overrides.items()
    if request.query_value("versionId") is not None:
        kept.append((b"x-amz-version-id", versions.NULL.encode("ascii")))
    return kept
