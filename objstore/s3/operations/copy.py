"""CopyObject and UploadPartCopy."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

from objstore.config import MAX_COPY_BYTES, MAX_PART_BYTES
from objstore.errors import (
    IsDeleteMarkerError,
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
from objstore.s3 import digests, versions, xml
from objstore.s3.authentication import check_owner, identity
from objstore.s3.checksums import DEFAULT_ALGORITHM, FULL_OBJECT, encode, new_hasher
from objstore.s3.errors import S3Error, invalid_argument, invalid_request, not_implemented
from objstore.s3.formats import iso_date
from objstore.s3.headers import (
    attributes,
    copy_source_range,
    read_conditions,
    write_conditions,
)
from objstore.s3.http import Context, Headers, Request, Response
from objstore.s3.operations.multipart import checksum_elements, part_number
from objstore.s3.store import BodyReader

_PREFIX = b"x-amz-copy-source-"
_DIRECTIVES = ("COPY", "REPLACE")
# A source that is overwritten while it is copied is read again; this often.
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Source:
    """What x-amz-copy-source names; without a version id, the current version."""

    bucket: str
    key: str
    version_id: str = ""


def parse_source(value: str) -> Source:
    """The source that is named by ``/bucket/key?versionId=...``, percent-encoded.

    Raises:
        S3Error: InvalidArgument, or NotImplemented for an access point.
    """
    path, _, version_id = value.partition("?versionId=")
    try:
        decoded = unquote(path, errors="strict").removeprefix("/")
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
    return Source(bucket, key, versions.checked(version_id) if version_id else "")


def copy_object(ctx: Context, request: Request, body: bytes) -> Response:
    """CopyObject: with the source's metadata and tags, or with those of the request."""
    conditions = write_conditions(request)
    source = _source(ctx, request)
    for attempt in range(_ATTEMPTS):
        info = _head_source(ctx, request, source)
        _check_copy(request, source, info)
        pinned = Conditions(if_match=(info.etag,))
        try:
            copied = ctx.store.copy(
                source.bucket,
                source.key,
                request.bucket,
                request.key,
                source_version_id=source.version_id,
                attributes=_attributes(request, info),
                source_conditions=pinned,
                conditions=conditions,
                checksums=_checksums(ctx, request, source, info),
            )
            kind = copied.checksums[0].type if copied.checksums else None
            response = _result("CopyObjectResult", copied, copied.checksums[:1], kind)
            response.headers += versions.version_headers(copied) + _source_headers(source, info)
            return response
        except PreconditionFailedError:
            # either the condition on the target, or the source has changed under us
            changed = _head_source(ctx, request, source).etag != info.etag
            if not changed or attempt == _ATTEMPTS - 1:
                raise
    raise S3Error("ConditionalRequestConflict")


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


def _source_headers(source: Source, info: ObjectInfo) -> Headers:
    """Which version was copied, where the source has versions."""
    return versions.version_headers(info, source.version_id, _PREFIX + b"version-id")


def _source(ctx: Context, request: Request) -> Source:
    source = parse_source(request.header(b"x-amz-copy-source") or "")
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
            source.bucket, source.key, version_id=source.version_id, conditions=conditions
        )
    except NoSuchBucketError:
        raise S3Error("NoSuchBucket", extra={"BucketName": source.bucket}) from None
    except NoSuchKeyError:
        raise S3Error("NoSuchKey", extra={"Key": source.key}) from None
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


def _check_copy(request: Request, source: Source, info: ObjectInfo) -> None:
    if info.size_bytes > MAX_COPY_BYTES:
        raise _too_large()
    if (source.bucket, source.key) != (request.bucket, request.key):
        return
    if source.version_id not in ("", versions.NULL):
        return  # an older version becomes the current one
    changes_class = (
        request.header(b"x-amz-storage-class") or "STANDARD"
    ) != info.attributes.storage_class
    changes_checksum = request.header(b"x-amz-checksum-algorithm") is not None
    if _directive(request, b"x-amz-metadata-directive") == "COPY" and not (
        changes_class or changes_checksum
    ):
        raise invalid_request(
            "This copy request is illegal because it is trying to copy an object to itself "
            "without changing the object's metadata, storage class, website redirect location or "
            "encryption attributes."
        )


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
        headers=asked.headers if replaces else kept.headers,
        metadata=asked.metadata if replaces else kept.metadata,
        tags=asked.tags if replaces_tags else kept.tags,
        storage_class=asked.storage_class,
        owner=asked.owner,
    )


def _checksums(
    ctx: Context, request: Request, source: Source, info: ObjectInfo
) -> tuple[Checksum, ...]:
    """The source's checksums, or one computed by reading it.

    A copy is an object of one piece, so a COMPOSITE checksum cannot go with it.
    """
    asked = request.header(b"x-amz-checksum-algorithm")
    algorithm = digests.parse_algorithm(asked) if asked else ""
    whole = tuple(c for c in info.checksums if c.type == FULL_OBJECT)
    if whole and (not algorithm or algorithm in [c.algorithm for c in whole]):
        return tuple(c for c in whole if not algorithm or c.algorithm == algorithm)
    if not algorithm:
        algorithm = info.checksums[0].algorithm if info.checksums else DEFAULT_ALGORITHM
    running = new_hasher(algorithm)
    reader = ctx.store.get(
        source.bucket,
        source.key,
        version_id=source.version_id,
        conditions=Conditions(if_match=(info.etag,)),
    )
    try:
        while piece := reader.next():
            running.update(piece)
    finally:
        reader.close()
    return (Checksum(algorithm, encode(running.digest())),)


def upload_part_copy(ctx: Context, request: Request, body: bytes) -> Response:
    """UploadPartCopy: a part from an object, or from a range of it."""
    number = part_number(request)
    upload_id = request.query_value("uploadId") or ""
    upload = ctx.store.head_upload(request.bucket, request.key, upload_id)
    source = _source(ctx, request)
    info = _head_source(ctx, request, source)
    wanted = _part_range(request, info)
    algorithm = upload.checksum_algorithm or DEFAULT_ALGORITHM
    reader = ctx.store.get(
        source.bucket,
        source.key,
        byte_range=wanted,
        version_id=source.version_id,
        conditions=Conditions(if_match=(info.etag,)),
    )
    try:
        part = _copy_part(ctx, upload, number, reader, algorithm)
    finally:
        reader.close()
    # Of an upload that names no algorithm S3 says no checksum, though it has one.
    response = _result(
        "CopyPartResult", part, part.checksums if upload.checksum_algorithm else (), None
    )
    response.headers += _source_headers(source, info)
    return response


def _copy_part(
    ctx: Context,
    upload: UploadInfo,
    number: int,
    reader: BodyReader,
    algorithm: str,
) -> PartInfo:
    """Read, sum and write: a part needs its checksum, or the object would lack its own."""
    running = None if algorithm == "MD5" else new_hasher(algorithm)
    writer = ctx.store.open_part(
        upload.bucket,
        upload.key,
        upload.upload_id,
        number,
        size_bytes=reader.length_bytes,
        hashers=[] if running is None else [running.update],
    )
    try:
        while piece := reader.next():
            writer.write(piece)
        writer.finish()
        digest = writer.md5 if running is None else running.digest()  # the ETag is an MD5, too
        return writer.commit(checksums=(Checksum(algorithm, encode(digest)),))
    except BaseException:
        writer.abort()
        raise


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
