"""PutObject."""

from __future__ import annotations

from objstore.auth.payload import PayloadKind, decoded_length
from objstore.config import MAX_OBJECT_BYTES, MAX_PUT_BYTES
from objstore.model import NO_ENCRYPTION, NO_LOCK, Checksum, ObjectInfo
from objstore.s3 import digests
from objstore.s3.encryption import chosen_headers, customer_key
from objstore.s3.errors import S3Error, entity_too_large, invalid_argument
from objstore.s3.headers import attributes, integer, write_conditions
from objstore.s3.http import Context, Headers, Request, Response, WritePlan
from objstore.s3.object_lock import check_has_digest
from objstore.s3.public_access import check_writable, owner_of_new
from objstore.s3.refusals import WRITE_OFFSET
from objstore.s3.versions import version_headers


def put_object(ctx: Context, request: Request) -> WritePlan:
    """PutObject: everything but the body, checked."""
    size_bytes, aws_chunked = body_size(request, MAX_PUT_BYTES)
    return plan_of(ctx, request, size_bytes, aws_chunked)


def plan_of(ctx: Context, request: Request, size_bytes: int | None, aws_chunked: bool) -> WritePlan:
    """What to do with a body of this size, None for one that is not known beforehand."""
    wanted = attributes(request, owner_of_new(ctx, request))
    check_writable(ctx, request, wanted.encryption)
    found = digests.for_object(request)
    offset_bytes = _write_offset(request)
    if wanted.lock is not NO_LOCK or offset_bytes is not None:
        check_has_digest(ctx, request, found)
    return WritePlan(
        bucket=request.bucket,
        key=request.key,
        digests=found,
        respond=_respond if offset_bytes is None else _respond_appended,
        attributes=wanted,
        conditions=write_conditions(request),
        size_bytes=size_bytes,
        max_bytes=MAX_PUT_BYTES,
        aws_chunked=aws_chunked,
        trailer_names=trailer_names(request),
        customer_key=customer_key(request),
        write_offset_bytes=offset_bytes,
        has_digest=found.is_sent,
    )


def _write_offset(request: Request) -> int | None:
    """Where an append begins; None for a put.

    Raises:
        S3Error: InvalidArgument.
    """
    text = request.header(WRITE_OFFSET)
    if text is None:
        return None
    offset_bytes = integer(text, MAX_OBJECT_BYTES)
    if offset_bytes is None:
        raise invalid_argument(
            "The write offset is a number of bytes", WRITE_OFFSET.decode("ascii"), text
        )
    return offset_bytes


def _respond_appended(info: ObjectInfo) -> Response:
    response = _respond(info)
    response.headers.append((b"x-amz-object-size", b"%d" % info.size_bytes))
    return response


def _respond(info: ObjectInfo) -> Response:
    headers: Headers = [(b"etag", b'"%b"' % info.etag.encode("ascii"))]
    headers += written_headers(info)
    headers += checksum_headers(info.checksums)
    if info.checksums:
        headers.append((b"x-amz-checksum-type", info.checksums[0].type.encode("ascii")))
    headers.append((b"content-length", b"0"))
    return Response(200, headers)


def written_headers(info: ObjectInfo) -> Headers:
    """What every write of an object answers: its version, and how it is encrypted."""
    headers = version_headers(info)
    if info.attributes.encryption is not NO_ENCRYPTION:
        headers += chosen_headers(info.attributes.encryption)
    return headers


def checksum_headers(checksums: tuple[Checksum, ...]) -> Headers:
    """``x-amz-checksum-*`` for each checksum."""
    return [(digests.HEADERS[c.algorithm], c.value.encode("ascii")) for c in checksums]


def body_size(request: Request, limit_bytes: int) -> tuple[int, bool]:
    """The length of an upload once decoded, and whether it comes in aws-chunked frames.

    Raises:
        S3Error: MissingContentLength, EntityTooLarge, or InvalidArgument where the headers
            contradict each other.
        AuthError: MissingContentLength of the decoded length.
    """
    aws_chunked = request.auth is not None and request.auth.payload.aws_chunked
    if aws_chunked:
        size = decoded_length(request.header_map.get(b"x-amz-decoded-content-length"))
    elif request.body_length is None:
        raise S3Error("MissingContentLength")
    else:
        _check_unframed(request)
        size = request.body_length
    if size > limit_bytes:
        raise entity_too_large(size, limit_bytes)
    return size, aws_chunked


def _check_unframed(request: Request) -> None:
    """A client that announces frames may send them: they must not end up in the object."""
    if request.auth is None or request.auth.payload is not PayloadKind.UNSIGNED:
        return
    if "aws-chunked" in (request.header(b"content-encoding") or ""):
        raise invalid_argument(
            "aws-chunked encoding is not supported when x-amz-content-sha256 UNSIGNED-PAYLOAD is "
            "supplied.",
            "Content-Encoding",
            request.header(b"content-encoding") or "",
        )


def trailer_names(request: Request) -> tuple[str, ...]:
    """Names of the trailers that the client announced, in lower case."""
    value = request.header(b"x-amz-trailer")
    if value is None:
        return ()
    return tuple(name.strip().lower() for name in value.split(","))
