"""CopyObject and UploadPartCopy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar
from urllib.parse import unquote_plus

from objstore.access_logs.record import Outcome
from objstore.config import MAX_COPY_BYTES, MAX_PART_BYTES
from objstore.errors import (
    CustomerKeyError,
    IsDeleteMarkerError,
    KeyTooLongError,
    NoSuchBucketError,
    NoSuchKeyError,
    NoSuchVersionError,
    PreconditionFailedError,
)
from objstore.model import (
    ByteRange,
    Checksum,
    Conditions,
    ObjectAttributes,
    ObjectInfo,
    PartInfo,
    UploadInfo,
)
from objstore.s3 import digests, encryption, versions, xml
from objstore.s3.access_log import COPY_SOURCES
from objstore.s3.authentication import check_owner, identity
from objstore.s3.checksums import (
    ALGORITHMS,
    DEFAULT_ALGORITHM,
    FULL_OBJECT,
    decode,
    encode,
    full_object,
    new_hasher,
)
from objstore.s3.encryption_checks import check_part
from objstore.s3.errors import (
    S3Error,
    invalid_argument,
    invalid_request,
    key_too_long,
    not_implemented,
)
from objstore.s3.formats import iso_date
from objstore.s3.headers import (
    REDIRECT_HEADER,
    attributes,
    copy_source_range,
    read_conditions,
    write_conditions,
)
from objstore.s3.http import Context, Headers, Request, Response
from objstore.s3.operations.multipart import checksum_elements, part_number
from objstore.s3.operations.put import written_headers

_PREFIX = b"x-amz-copy-source-"
_DIRECTIVES = ("COPY", "REPLACE")
# A source that is overwritten while it is copied is read again; this often.
_ATTEMPTS = 3
_PAGE = 1000

_Made = TypeVar("_Made", ObjectInfo, PartInfo)


@dataclass(frozen=True, slots=True)
class Source:
    """What x-amz-copy-source names; without a version id, the current version.

    `customer_key`: of SSE-C, 32 bytes; empty for none.
    """

    bucket: str
    key: str
    version_id: str = ""
    customer_key: bytes = field(default=b"", repr=False)


def parse_source(value: str) -> Source:
    """The source that is named by ``/bucket/key?versionId=...``, percent-encoded.

    A plus is a space, as S3 has it here: clients escape either as in a form or as in a path.

    Raises:
        S3Error: InvalidArgument, or NotImplemented for an access point.
    """
    path, names_version, version_id = value.partition("?versionId=")
    try:
        decoded = unquote_plus(path, errors="strict").removeprefix("/")
    except UnicodeDecodeError:
        raise invalid_argument("Invalid copy source encoding", "x-amz-copy-source", value) from None
    if decoded.startswith("arn:"):
        raise not_implemented("Copying through an access point is not implemented")
    bucket, _, key = decoded.partition("/")
    if not bucket or not key:
        raise invalid_argument(
            "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
            "x-amz-copy-source",
            value,
        )
    return Source(bucket, key, versions.checked(version_id) if names_version else "")


def copy_object(ctx: Context, request: Request, body: bytes) -> Response:
    """CopyObject: with the source's metadata and tags, or with those of the request."""
    conditions = write_conditions(request)
    source = _source(ctx, request)

    def copy(info: ObjectInfo) -> ObjectInfo:
        _check_copy(ctx, request, source, info)
        pinned = _pinned(source, info)
        return ctx.store.copy(
            source.bucket,
            source.key,
            request.bucket,
            request.key,
            source_version_id=pinned.version_id,
            attributes=_attributes(request, info),
            source_conditions=Conditions(if_match=(info.etag,)),
            conditions=conditions,
            checksums=_checksums(ctx, request, pinned, info),
            customer_key=encryption.customer_key(request),
            source_customer_key=source.customer_key,
        )

    info, copied = _of_source(ctx, request, source, copy)
    request.note_size(copied.size_bytes)
    kind = copied.checksums[0].type if copied.checksums else None
    response = _result("CopyObjectResult", copied, copied.checksums[:1], kind)
    response.headers += written_headers(copied) + _source_headers(info)
    return response


def _of_source(
    ctx: Context, request: Request, source: Source, copy: Callable[[ObjectInfo], _Made]
) -> tuple[ObjectInfo, _Made]:
    """The source as it is, and what `copy` makes of it.

    It is looked at again where it was replaced meanwhile, a few times.

    Raises:
        S3Error: OperationAborted where it never rests.
        PreconditionFailedError: a condition on the target.
    """
    for _attempt in range(_ATTEMPTS):
        info = _noted_source(ctx, request, source)
        try:
            return info, copy(info)
        except (PreconditionFailedError, NoSuchVersionError):
            now = _head_source(ctx, request, source)
            if (now.etag, now.version_id) == (info.etag, info.version_id):
                raise
    raise S3Error("OperationAborted")


def _noted_source(ctx: Context, request: Request, source: Source) -> ObjectInfo:
    """As `_head_source`; the access log of the source's bucket is told that it was read."""
    note, operation = request.note, request.operation
    if note is None or operation is None:
        return _head_source(ctx, request, source)
    read = Outcome(COPY_SOURCES[operation.name], source.bucket, source.key, 200)
    read.version_id = source.version_id
    note.also = [read]
    try:
        info = _head_source(ctx, request, source)
    except S3Error as error:
        read.status, read.error_code = error.status, error.code
        raise
    read.size_bytes = info.size_bytes
    return info


def _pinned(source: Source, info: ObjectInfo) -> Source:
    """The very version that was looked at, where versions have ids of their own."""
    if info.version_id == versions.NULL:
        return source
    return replace(source, version_id=info.version_id)


def _result(
    root: str, made: ObjectInfo | PartInfo, checksums: tuple[Checksum, ...], kind: str | None
) -> Response:
    return xml.response(
        xml.document(
            root,
            xml.element("LastModified", iso_date(made.modified_ms // 1000)),
            xml.element("ETag", f'"{made.etag}"'),
            checksum_elements(checksums),
            xml.element("ChecksumType", kind),
        )
    )


def _source_headers(info: ObjectInfo) -> Headers:
    """Which version was copied, where the source has versions."""
    return versions.version_headers(info, _PREFIX + b"version-id")


def _source(ctx: Context, request: Request) -> Source:
    source = parse_source(request.header(b"x-amz-copy-source") or "")
    source = replace(source, customer_key=encryption.customer_key(request, encryption.COPY_SOURCE))
    expected = request.header(b"x-amz-source-expected-bucket-owner")
    try:
        check_owner(ctx, source.bucket, expected)
    except NoSuchBucketError:
        raise S3Error("NoSuchBucket", extra={"BucketName": source.bucket}) from None
    return source


def _head_source(ctx: Context, request: Request, source: Source) -> ObjectInfo:
    """The source as it is, its conditions checked; errors name the source."""
    conditions = read_conditions(request, _PREFIX)
    try:
        return ctx.store.head(
            source.bucket,
            source.key,
            version_id=source.version_id,
            conditions=conditions,
            customer_key=source.customer_key,
        )
    except NoSuchBucketError:
        raise S3Error("NoSuchBucket", extra={"BucketName": source.bucket}) from None
    except NoSuchKeyError:
        raise S3Error("NoSuchKey", extra={"Key": source.key}) from None
    except KeyTooLongError:
        raise key_too_long(source.key) from None
    except NoSuchVersionError:
        extra = {"Key": source.key, "VersionId": source.version_id}
        raise S3Error("NoSuchVersion", extra=extra) from None
    except IsDeleteMarkerError:
        raise invalid_request(
            "The source of a copy request may not specifically refer to a delete marker by "
            "version id."
        ) from None
    except PreconditionFailedError as error:  # a source not modified is one of these, too
        condition = f"x-amz-copy-source-{error.condition}"
        raise S3Error("PreconditionFailed", extra={"Condition": condition}) from None


def _check_copy(ctx: Context, request: Request, source: Source, info: ObjectInfo) -> None:
    if info.size_bytes > MAX_COPY_BYTES:
        raise _too_large()
    if _changes_something(request, info) or not _is_target(ctx, request, source, info):
        return
    raise invalid_request(
        "This copy request is illegal because it is trying to copy an object to itself "
        "without changing the object's metadata, storage class, website redirect location or "
        "encryption attributes."
    )


def _changes_something(request: Request, info: ObjectInfo) -> bool:
    """Whether a copy onto itself would make any difference, as S3 counts it."""
    storage_class = request.header(b"x-amz-storage-class") or "STANDARD"
    return (
        _directive(request, b"x-amz-metadata-directive") == "REPLACE"
        or storage_class != info.attributes.storage_class
        or b"x-amz-checksum-algorithm" in request.header_map
        or REDIRECT_HEADER in request.header_map
        or not request.header_map.keys().isdisjoint(encryption.HEADERS)
    )


def _is_target(ctx: Context, request: Request, source: Source, info: ObjectInfo) -> bool:
    """Whether the source is what the target is now; an older version of it is not."""
    if (source.bucket, source.key) != (request.bucket, request.key):
        return False
    if not source.version_id:
        return True
    try:
        current = ctx.store.head(source.bucket, source.key, customer_key=source.customer_key)
    except (NoSuchKeyError, CustomerKeyError):  # a delete marker, or what has another key
        return False
    return current.version_id == info.version_id


def _too_large() -> S3Error:
    return invalid_request(
        "The specified copy source is larger than the maximum allowable size for a copy source: "
        f"{MAX_COPY_BYTES}"
    )


def _directive(request: Request, name: bytes) -> str:
    value = request.header(name) or "COPY"
    if value not in _DIRECTIVES:
        kind = "metadata" if b"metadata" in name else "tagging"
        raise invalid_argument(f"Unknown {kind} directive.", name.decode("ascii"), value)
    return value


def _attributes(request: Request, info: ObjectInfo) -> ObjectAttributes:
    asked = attributes(request, identity(request).id)
    kept = info.attributes
    replaces = _directive(request, b"x-amz-metadata-directive") == "REPLACE"
    replaces_tags = _directive(request, b"x-amz-tagging-directive") == "REPLACE"
    return ObjectAttributes(
        headers=_headers(asked.headers, asked.headers if replaces else kept.headers),
        metadata=asked.metadata if replaces else kept.metadata,
        tags=asked.tags if replaces_tags else kept.tags,
        storage_class=asked.storage_class,
        owner=asked.owner,
        lock=asked.lock,
        encryption=asked.encryption,
    )


def _headers(asked: Mapping[str, str], others: Mapping[str, str]) -> dict[str, str]:
    """The headers of a copy: where a website sends a browser is no part of what is copied."""
    name = REDIRECT_HEADER.decode("ascii")
    found = {each: value for each, value in others.items() if each != name}
    return found | {name: asked[name]} if name in asked else found


def _checksums(
    ctx: Context, request: Request, source: Source, info: ObjectInfo
) -> tuple[Checksum, ...]:
    """The source's checksums as they are of all its bytes, or one combined or computed.

    A copy is an object of one piece to S3, so a COMPOSITE checksum cannot go with it.
    """
    asked = request.header(b"x-amz-checksum-algorithm")
    algorithm = digests.parse_algorithm(asked) if asked else ""
    whole = tuple(c for c in info.checksums if c.type == FULL_OBJECT)
    if whole and (not algorithm or algorithm in [c.algorithm for c in whole]):
        return tuple(c for c in whole if not algorithm or c.algorithm == algorithm)
    if not algorithm:
        algorithm = info.checksums[0].algorithm if info.checksums else DEFAULT_ALGORITHM
    combined = _combined(ctx, source, info, algorithm)
    return (combined or _computed(ctx, source, info, algorithm),)


def _combined(ctx: Context, source: Source, info: ObjectInfo, algorithm: str) -> Checksum | None:
    """The CRC of all bytes from those of the parts; None where they do not say so much."""
    kind = ALGORITHMS[algorithm]
    if kind.combine is None or not info.part_count:
        return None
    found: list[tuple[bytes, int]] = []
    after: int | None = 0
    while after is not None:
        page = ctx.store.list_object_parts(
            source.bucket, source.key, version_id=source.version_id, after=after, limit=_PAGE
        )
        if (page.info.version_seq, page.info.etag) != (info.version_seq, info.etag):
            return None
        for part in page.parts:
            crc = next((c.value for c in part.checksums if c.algorithm == algorithm), None)
            if crc is None:
                return None
            found.append((decode(kind, crc), part.size_bytes))
        after = page.next_after
    return full_object(kind, found)


def _computed(ctx: Context, source: Source, info: ObjectInfo, algorithm: str) -> Checksum:
    running = new_hasher(algorithm)
    reader = ctx.store.get(
        source.bucket,
        source.key,
        version_id=source.version_id,
        conditions=Conditions(if_match=(info.etag,)),
        customer_key=source.customer_key,
    )
    try:
        while piece := reader.next():
            running.update(piece)
    finally:
        reader.close()
    return Checksum(algorithm, encode(running.digest()))


def upload_part_copy(ctx: Context, request: Request, body: bytes) -> Response:
    """UploadPartCopy: a part from an object, or from a range of it."""
    number = part_number(request)
    upload_id = request.query_value("uploadId") or ""
    upload = ctx.store.head_upload(request.bucket, request.key, upload_id)
    key = encryption.customer_key(request)
    check_part(upload, key)
    source = _source(ctx, request)

    def copy(info: ObjectInfo) -> PartInfo:
        return ctx.store.copy_part(
            source.bucket,
            source.key,
            request.bucket,
            request.key,
            upload_id,
            number,
            source_version_id=_pinned(source, info).version_id,
            byte_range=_part_range(request, info),
            source_conditions=Conditions(if_match=(info.etag,)),
            checksum_algorithms=_part_algorithms(upload),
            new_digest=new_hasher,
            customer_key=key,
            source_customer_key=source.customer_key,
        )

    info, part = _of_source(ctx, request, source, copy)
    request.note_size(part.size_bytes)
    # Of an upload that names no algorithm S3 says no checksum, though it has one.
    response = _result(
        "CopyPartResult", part, part.checksums if upload.checksum_algorithm else (), None
    )
    response.headers += _source_headers(info)
    response.headers += encryption.encryption_headers(upload.attributes.encryption)
    return response


def _part_algorithms(upload: UploadInfo) -> tuple[str, ...]:
    """The checksums that a part may have, so that its object gets one.

    Where the upload names none, that of the source will do: SDKs copy so, in parts as they
    uploaded, and nothing has to be read.
    """
    if upload.checksum_algorithm:
        return (upload.checksum_algorithm,)
    return (DEFAULT_ALGORITHM, *(name for name, kind in ALGORITHMS.items() if kind.combine))


def _part_range(request: Request, info: ObjectInfo) -> ByteRange | None:
    value = request.header(b"x-amz-copy-source-range")
    if value is None:
        if info.size_bytes > MAX_PART_BYTES:
            raise _too_large()
        return None
    wanted = copy_source_range(value)
    if wanted.last is None or wanted.last >= info.size_bytes:
        raise invalid_argument(
            f"Range specified is not valid for source object of size: {info.size_bytes}",
            "x-amz-copy-source-range",
            value,
        )
    if wanted.last - wanted.first + 1 > MAX_PART_BYTES:
        raise _too_large()
    return wanted
