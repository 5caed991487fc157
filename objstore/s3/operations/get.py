"""GetObject and HeadObject."""

from __future__ import annotations

import re

import msgspec

from objstore.config import MAX_PARTS
from objstore.errors import InvalidRangeError, NotFoundError
from objstore.model import (
    NO_CONDITIONS,
    NO_ENCRYPTION,
    NO_LOCK,
    ByteRange,
    Checksum,
    Conditions,
    ObjectInfo,
    ObjectPart,
)
from objstore.s3 import versions
from objstore.s3.checksums import COMPOSITE
from objstore.s3.digests import HEADERS as CHECKSUM_HEADERS
from objstore.s3.encryption import customer_key, encryption_headers
from objstore.s3.errors import S3Error, invalid_argument
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
from objstore.s3.object_lock import lock_headers
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
    reader = ctx.store.get(
        request.bucket,
        request.key,
        byte_range=wanted,
        conditions=conditions,
        customer_key=customer_key(request),
    )
    try:
        return _found(ctx, request, reader, partial=wanted is not None)
    except BaseException:
        reader.close()
        raise


def _found(ctx: Context, request: Request, reader: BodyReader, *, partial: bool) -> Response:
    info = reader.info
    headers = object_headers(info, reader.length_bytes)
    if info.part is not None:
        return _as_part(request, info, headers, reader)
    if partial:
        start, length = reader.start_byte, reader.length_bytes
        headers.append(content_range(start, length, info))
        headers += _range_checksum(ctx, request, info, start, length)
    elif b"x-amz-checksum-mode" in request.header_map:
        headers += checksum_headers(request, info)
    return Response(206 if partial else 200, headers, reader)


def _range_checksum(
    ctx: Context, request: Request, info: ObjectInfo, start: int, length: int
) -> Headers:
    """The checksum of a range that is a part: "a byte range that aligns to a single part".

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
    Any other range has none: that of the whole would fail who compares it with what it got.
    """
    if b"x-amz-checksum-mode" not in request.header_map or not info.checksums:
        return []
    if info.checksums[0].type != COMPOSITE:
        return []
    try:
        page = ctx.store.object_part_at(info.bucket, info.key, start, version_id=info.version_id)
    except NotFoundError:  # deleted since
        return []
    if page.info.version_seq != info.version_seq:  # replaced since
        return []
    aligned = [part for part in page.parts if part.size_bytes == length]
    if not aligned:
        return []
    return checksum_headers(request, msgspec.structs.replace(info, part=aligned[0]))


def _as_part(
    request: Request, info: ObjectInfo, headers: Headers, body: bytes | BodyReader = b""
) -> Response:
    """A part is a range, even where it is the whole; of nothing there is no range."""
    part = info.part
    assert part is not None
    if info.part_count:
        headers.append((b"x-amz-mp-parts-count", b"%d" % info.part_count))
    headers += checksum_headers(request, info)
    if not part.size_bytes:
        return Response(200, headers, body)
    headers.append(content_range(part.start_byte, part.size_bytes, info))
    return Response(206, headers, body)


def _get_by_query(
    ctx: Context, request: Request, wanted: ByteRange | None, conditions: Conditions
) -> Response:
    version_id = versions.version_id(request)
    wanted = _if_range(ctx, request, wanted, version_id)
    reader = ctx.store.get(
        request.bucket,
        request.key,
        byte_range=wanted,
        version_id=version_id,
        part_number=part_number(request, wanted),
        conditions=conditions,
        customer_key=customer_key(request),
    )
    try:
        response = _found(ctx, request, reader, partial=wanted is not None)
        response.headers = finish_headers(request, response.headers)
    except BaseException:
        reader.close()
        raise
    return response


def head_object(ctx: Context, request: Request) -> Response:
    """HeadObject: what GetObject would say, without the body; a range counts here too."""
    conditions = read_conditions(request)
    wanted = byte_range(request.header(b"range"))
    version_id = versions.version_id(request)
    wanted = _if_range(ctx, request, wanted, version_id)
    info = ctx.store.head(
        request.bucket,
        request.key,
        version_id=version_id,
        part_number=part_number(request, wanted),
        conditions=conditions,
        customer_key=customer_key(request),
    )
    request.note_size(info.size_bytes)
    response = _head_response(ctx, request, info, wanted)
    if request.query:
        response.headers = finish_headers(request, response.headers)
    return response


def _head_response(
    ctx: Context, request: Request, info: ObjectInfo, wanted: ByteRange | None
) -> Response:
    if info.part is not None:
        return _as_part(request, info, object_headers(info, info.part.size_bytes))
    start, length = resolve(wanted, info.size_bytes)
    headers = object_headers(info, length)
    if wanted is not None:
        headers.append(content_range(start, length, info))
        headers += _range_checksum(ctx, request, info, start, length)
        return Response(206, headers)
    if b"x-amz-checksum-mode" in request.header_map:
        headers += checksum_headers(request, info)
    return Response(200, headers)


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
    if info.has_versions:
        headers += versions.version_headers(info)
    if stored.encryption is not NO_ENCRYPTION:
        headers += encryption_headers(stored.encryption)
    if stored.lock is not NO_LOCK:
        headers += lock_headers(info)
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
    """What x-amz-checksum-mode asks for: checksums of the whole object, or of the part read.

    A part has its own value of the object's algorithm, so that who reads it can verify it.
    """
    mode = request.header(b"x-amz-checksum-mode") or ""
    if mode.upper() != "ENABLED" or not info.checksums:
        return []
    found = info.checksums if info.part is None else part_checksums(info, info.part)
    headers = [
        (CHECKSUM_HEADERS[checksum.algorithm], checksum.value.encode("ascii")) for checksum in found
    ]
    headers.append((b"x-amz-checksum-type", info.checksums[0].type.encode("ascii")))
    return headers


def part_checksums(info: ObjectInfo, part: ObjectPart) -> tuple[Checksum, ...]:
    """A part's checksums of the algorithms that the object has; others are left out."""
    algorithms = [checksum.algorithm for checksum in info.checksums]
    return tuple(c for c in part.checksums if c.algorithm in algorithms)


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


def part_number(request: Request, wanted: ByteRange | None) -> int:
    """The part asked for by partNumber; 0 for none.

    Raises:
        S3Error: InvalidArgument, or InvalidRequest besides a range.
    """
    text = request.query_value("partNumber")
    if text is None:
        return 0
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


def _if_range(
    ctx: Context, request: Request, wanted: ByteRange | None, version_id: str
) -> ByteRange | None:
    """Drop the range when If-Range names another state of the object (RFC 9110, 13.1.5)."""
    value = request.header(b"if-range")
    if wanted is None or value is None:
        return wanted
    info = ctx.store.head(
        request.bucket,
        request.key,
        version_id=version_id,
        conditions=NO_CONDITIONS,
        customer_key=customer_key(request),
    )
    current = value.encode("latin-1", "replace") == http_date(info.modified_ms // 1000)
    return wanted if current or info.etag in etag_list(value) else None


def finish_headers(request: Request, headers: Headers) -> Headers:
    """Headers with what the query overrides."""
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
    return kept
