"""Multipart uploads: create, upload a part, list parts and uploads, complete, abort."""

from __future__ import annotations

from functools import partial
from urllib.parse import quote
from xml.etree.ElementTree import Element

from objstore.config import MAX_PART_BYTES, MAX_PARTS
from objstore.errors import NoSuchUploadError
from objstore.model import Checksum, CompletedPart, PartInfo, UploadInfo
from objstore.s3 import composite, digests, xml
from objstore.s3.authentication import identity
from objstore.s3.checksums import ALGORITHMS, COMPOSITE, DEFAULT_ALGORITHM, FULL_OBJECT
from objstore.s3.encryption import CUSTOMER, chosen_headers, customer_key, encryption_headers
from objstore.s3.encryption_checks import check_part
from objstore.s3.errors import S3Error, invalid_argument, invalid_request
from objstore.s3.formats import iso_date
from objstore.s3.headers import attributes, integer, write_conditions
from objstore.s3.http import Context, Headers, Request, Response, WritePlan
from objstore.s3.object_lock import check_has_digest
from objstore.s3.operations.listing import common_prefixes, encoder, page_limit
from objstore.s3.operations.put import body_size, checksum_headers, trailer_names
from objstore.s3.versions import version_headers

_PAGE = 1000
_PART = ("PartNumber", "ETag", *(f"Checksum{name}" for name in ALGORITHMS))


def create_upload(ctx: Context, request: Request, body: bytes) -> Response:
    """CreateMultipartUpload: attributes and the kind of checksum are settled here."""
    algorithm = request.header(b"x-amz-checksum-algorithm") or ""
    checksum_type = request.header(b"x-amz-checksum-type")
    if algorithm:
        algorithm = digests.parse_algorithm(algorithm)
        checksum_type = composite.upload_type(algorithm, checksum_type)
    elif checksum_type:
        raise invalid_request(
            "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm "
            "header."
        )
    upload = ctx.store.create_upload(
        request.bucket,
        request.key,
        attributes=attributes(request, identity(request).id),
        checksum_algorithm=algorithm,
        checksum_type=checksum_type or "",
        customer_key=customer_key(request),
    )
    response = xml.response(
        xml.document(
            "InitiateMultipartUploadResult",
            xml.element("Bucket", upload.bucket),
            xml.element("Key", upload.key),
            xml.element("UploadId", upload.upload_id),
        )
    )
    response.headers += chosen_headers(upload.attributes.encryption)
    if algorithm:
        response.headers.append((b"x-amz-checksum-algorithm", algorithm.encode("ascii")))
        response.headers.append((b"x-amz-checksum-type", upload.checksum_type.encode("ascii")))
    return response


def upload_part(ctx: Context, request: Request) -> WritePlan:
    """UploadPart: everything but the body, checked."""
    number = part_number(request)
    upload_id = request.query_value("uploadId") or ""
    size_bytes, aws_chunked = body_size(request, MAX_PART_BYTES)
    upload = ctx.store.head_upload(request.bucket, request.key, upload_id)
    key = customer_key(request)
    check_part(upload, key)
    found = _part_digests(request, upload)
    check_has_digest(ctx, request, found)
    return WritePlan(
        bucket=request.bucket,
        key=request.key,
        digests=found,
        respond=partial(
            _part_response, upload, found.checksum_algorithm or upload.checksum_algorithm
        ),
        size_bytes=size_bytes,
        max_bytes=MAX_PART_BYTES,
        aws_chunked=aws_chunked,
        trailer_names=trailer_names(request),
        upload_id=upload_id,
        part_number=number,
        customer_key=key,
    )


def part_number(request: Request) -> int:
    """partNumber of an upload.

    Raises:
        S3Error: InvalidArgument.
    """
    text = request.query_value("partNumber") or ""
    number = integer(text, MAX_PARTS)
    if not number:
        raise invalid_argument(
            "Part number must be an integer between 1 and 10000, inclusive", "partNumber", text
        )
    return number


def _part_digests(request: Request, upload: UploadInfo) -> digests.BodyDigests:
    """A part is stored with the upload's kind of checksum.

    CRC64NVME where the upload names none, so that the object gets one in the end.
    """
    algorithm = upload.checksum_algorithm
    found = digests.for_write(request, default=algorithm or DEFAULT_ALGORITHM)
    given = found.checksum_algorithm
    if algorithm and given != algorithm and (given or upload.checksum_type == COMPOSITE):
        raise invalid_request(
            "Checksum Type mismatch occurred, expected checksum Type: "
            f"{algorithm.lower()}, actual checksum Type: {given.lower() or 'null'}"
        )
    return found


def _part_response(upload: UploadInfo, algorithm: str, info: PartInfo) -> Response:
    """The ETag, and the checksum that the client or the upload named; S3 says no other."""
    headers: Headers = [(b"etag", b'"%b"' % info.etag.encode("ascii"))]
    headers += encryption_headers(upload.attributes.encryption)
    headers += checksum_headers(tuple(c for c in info.checksums if c.algorithm == algorithm))
    headers.append((b"content-length", b"0"))
    return Response(200, headers)


def list_parts(ctx: Context, request: Request, body: bytes) -> Response:
    """ListParts: by part number."""
    upload_id = request.query_value("uploadId") or ""
    limit = page_limit(request, "max-parts")
    marker_text = request.query_value("part-number-marker") or "0"
    marker = integer(marker_text, 2**31 - 1)
    if marker is None:
        raise invalid_argument(
            "Argument part-number-marker must be an integer between 0 and 2147483647",
            "part-number-marker",
            marker_text,
        )
    upload = ctx.store.head_upload(request.bucket, request.key, upload_id)
    check_part(upload, customer_key(request), is_needed=False)
    page_parts: tuple[PartInfo, ...] = ()
    next_after: int | None = None
    if limit:
        page = ctx.store.list_parts(
            request.bucket, request.key, upload_id, after=marker, limit=limit
        )
        page_parts, next_after = page.parts, page.next_after
    last = page_parts[-1].part_number if page_parts else 0
    return xml.response(
        xml.document(
            "ListPartsResult",
            xml.element("Bucket", upload.bucket),
            xml.element("Key", upload.key),
            xml.element("UploadId", upload.upload_id),
            _people(request, upload),
            xml.element("StorageClass", upload.attributes.storage_class),
            xml.element("PartNumberMarker", marker),
            xml.element("NextPartNumberMarker", last),
            xml.element("MaxParts", limit),
            xml.element("IsTruncated", "false" if next_after is None else "true"),
            "".join([_part(part, upload) for part in page_parts]),
            _upload_checksum(upload),
        )
    )


def _part(part: PartInfo, upload: UploadInfo) -> str:
    shown = [c for c in part.checksums if c.algorithm == upload.checksum_algorithm]
    return (
        f"<Part><PartNumber>{part.part_number}</PartNumber>"
        f"<LastModified>{iso_date(part.modified_ms // 1000)}</LastModified>"
        f"<ETag>&quot;{part.etag}&quot;</ETag><Size>{part.size_bytes}</Size>"
        f"{checksum_elements(shown)}</Part>"
    )


def checksum_elements(checksums: list[Checksum] | tuple[Checksum, ...]) -> str:
    """``ChecksumCRC32`` and its kin, as results carry them."""
    return "".join(xml.element(f"Checksum{c.algorithm}", c.value) for c in checksums)


def _people(request: Request, upload: UploadInfo) -> str:
    owner = xml.element("ID", upload.attributes.owner or identity(request).id)
    return f"<Initiator>{owner}</Initiator><Owner>{owner}</Owner>"


def _upload_checksum(upload: UploadInfo) -> str:
    if not upload.checksum_algorithm:
        return ""
    return xml.element("ChecksumAlgorithm", upload.checksum_algorithm) + xml.element(
        "ChecksumType", upload.checksum_type
    )


def list_uploads(ctx: Context, request: Request, body: bytes) -> Response:
    """ListMultipartUploads: by key, then by upload id."""
    limit = page_limit(request, "max-uploads")
    encode, encoding = encoder(request)
    prefix = request.query_value("prefix") or ""
    delimiter = request.query_value("delimiter") or ""
    key_marker = request.query_value("key-marker") or ""
    # S3 ignores the second marker without the first.
    id_marker = (request.query_value("upload-id-marker") or "") if key_marker else ""
    page = ctx.store.list_uploads(
        request.bucket,
        prefix=prefix,
        delimiter=delimiter,
        key_marker=key_marker,
        upload_id_marker=id_marker,
        limit=max(limit, 1),
    )
    uploads = page.uploads if limit else ()
    prefixes = page.common_prefixes if limit else ()
    truncated = page.next_key is not None and limit > 0
    markers = ""
    if truncated:
        markers = f"<NextKeyMarker>{encode(page.next_key or '')}</NextKeyMarker>"
        markers += xml.element("NextUploadIdMarker", page.next_upload_id)
    return xml.response(
        xml.document(
            "ListMultipartUploadsResult",
            xml.element("Bucket", request.bucket),
            f"<KeyMarker>{encode(key_marker)}</KeyMarker>",
            xml.element("UploadIdMarker", id_marker),
            markers,
            f"<Prefix>{encode(prefix)}</Prefix>",
            f"<Delimiter>{encode(delimiter)}</Delimiter>" if delimiter else "",
            xml.element("MaxUploads", limit),
            xml.element("EncodingType", encoding),
            xml.element("IsTruncated", "true" if truncated else "false"),
            "".join([_upload(request, upload, encode(upload.key)) for upload in uploads]),
            common_prefixes(prefixes, encode),
        )
    )


def _upload(request: Request, upload: UploadInfo, key: str) -> str:
    return (
        f"<Upload><Key>{key}</Key>{xml.element('UploadId', upload.upload_id)}"
        f"{_people(request, upload)}"
        f"{xml.element('StorageClass', upload.attributes.storage_class)}"
        f"<Initiated>{iso_date(upload.initiated_ms // 1000)}</Initiated>"
        f"{_upload_checksum(upload)}</Upload>"
    )


def complete_upload(ctx: Context, request: Request, body: bytes) -> Response:
    """CompleteMultipartUpload: the parts named become the object, in one commit."""
    upload_id = request.query_value("uploadId") or ""
    wanted = _parse_parts(body)
    conditions = write_conditions(request)
    key = customer_key(request)
    checksums: tuple[Checksum, ...] = ()
    try:
        upload = ctx.store.head_upload(request.bucket, request.key, upload_id)
    except NoSuchUploadError:
        # Perhaps it was completed already, with the answer lost: the engine knows.
        pass
    else:
        check_part(upload, key, is_needed=False)
        checksums = _object_checksum(ctx, request, upload, wanted)
    info = ctx.store.complete_upload(
        request.bucket,
        request.key,
        upload_id,
        [CompletedPart(part.part_number, part.etag) for part in wanted],
        conditions=conditions,
        checksums=checksums,
        customer_key=key,
    )
    checksum_type = info.checksums[0].type if info.checksums else None
    response = xml.response(
        xml.document(
            "CompleteMultipartUploadResult",
            xml.element("Location", _location(request)),
            xml.element("Bucket", request.bucket),
            xml.element("Key", request.key),
            xml.element("ETag", f'"{info.etag}"'),
            checksum_elements(info.checksums),
            xml.element("ChecksumType", checksum_type),
        )
    )
    response.headers += version_headers(info)
    if info.attributes.encryption.algorithm != CUSTOMER:  # S3 says nothing of a customer's here
        response.headers += encryption_headers(info.attributes.encryption)
    return response


def _parse_parts(body: bytes) -> list[CompletedPart]:
    if not body.strip():
        raise invalid_request("You must specify at least one part")
    tree = xml.parse(body, "CompleteMultipartUpload")
    nodes = [] if tree is None else tree.findall("Part")
    if tree is None or not 1 <= len(nodes) <= MAX_PARTS or len(tree) > len(nodes):
        raise S3Error("MalformedXML")
    return [_parse_part(node) for node in nodes]


def _parse_part(node: Element) -> CompletedPart:
    etag = xml.child_text(node, "ETag")
    text = (xml.child_text(node, "PartNumber") or "").strip()
    number = integer(text, 2**31 - 1)
    if etag is None or number is None or not xml.has_only(node, _PART):
        raise S3Error("MalformedXML")
    if number < 1:
        raise invalid_argument("PartNumber must be >= 1", "PartNumber", text)
    checksums = []
    for child in node:
        name = child.tag.removeprefix("Checksum") if isinstance(child.tag, str) else ""
        if name != child.tag and name in ALGORITHMS:
            checksums.append(Checksum(name, (child.text or "").strip()))
    return CompletedPart(number, etag.strip().strip('"'), tuple(checksums))


def _object_checksum(
    ctx: Context, request: Request, upload: UploadInfo, wanted: list[CompletedPart]
) -> tuple[Checksum, ...]:
    """The checksum of the object to be, compared with all that the client says of it.

    Empty where the parts do not carry what it takes.
    """
    _check_type(request, upload)
    stored = _stored_parts(ctx, request, upload.upload_id)
    chosen = [stored[part.part_number] for part in wanted if part.part_number in stored]
    if len(chosen) < len(wanted):
        return ()  # a part is missing: the engine says which
    for part in wanted:
        _check_part(part, stored[part.part_number], upload)
    _check_size(request, chosen)
    given = digests.full_checksum(request)
    algorithm = upload.checksum_algorithm or (given.algorithm if given else _common(chosen))
    if given and given.algorithm != algorithm:
        raise invalid_request(
            "Checksum Type mismatch occurred, expected checksum Type: "
            f"{algorithm.lower()}, actual checksum Type: {given.algorithm.lower()}"
        )
    joined = composite.join(chosen, algorithm, upload.checksum_type or FULL_OBJECT)
    if given and (joined is None or given.value not in (joined.value, _plain(joined))):
        raise digests.mismatch(algorithm)
    return (joined,) if joined else ()


def _common(chosen: list[PartInfo]) -> str:
    """A CRC that all parts have: the default, or else that of what they were copied from."""
    names = (DEFAULT_ALGORITHM, *(name for name, kind in ALGORITHMS.items() if kind.combine))
    had = [{checksum.algorithm for checksum in part.checksums} for part in chosen]
    return next((name for name in names if all(name in each for each in had)), DEFAULT_ALGORITHM)


def _plain(joined: Checksum) -> str:
    """A composite checksum without the number of parts, which clients may leave out."""
    return joined.value.partition("-")[0]


def _check_type(request: Request, upload: UploadInfo) -> None:
    asked = request.header(b"x-amz-checksum-type")
    actual = upload.checksum_type or FULL_OBJECT
    if asked is not None and asked.upper() != actual:
        raise invalid_request(
            f"The upload was created using the {actual} checksum mode. The complete request must "
            "use the same checksum mode."
        )


def _check_part(part: CompletedPart, stored: PartInfo, upload: UploadInfo) -> None:
    algorithm = upload.checksum_algorithm
    for checksum in part.checksums:
        if checksum not in stored.checksums:
            raise S3Error(
                "InvalidPart",
                extra={
                    "UploadId": upload.upload_id,
                    "PartNumber": str(part.part_number),
                    "ETag": part.etag,
                },
            )
    if upload.checksum_type == COMPOSITE and not part.checksums:
        raise invalid_request(
            f"The upload was created using a {algorithm.lower()} checksum. The complete request "
            f"must include the checksum for each part. It was missing for part "
            f"{part.part_number} in the request."
        )


def _check_size(request: Request, chosen: list[PartInfo]) -> None:
    declared = request.header(b"x-amz-mp-object-size")
    if declared is None:
        return
    wanted_bytes = integer(declared, 2**63 - 1)
    if wanted_bytes is None:
        raise invalid_request("Value for x-amz-mp-object-size header is invalid.")
    size_bytes = sum(part.size_bytes for part in chosen)
    if wanted_bytes != size_bytes:
        raise invalid_request(
            f"The provided 'x-amz-mp-object-size' header value {wanted_bytes} does not match "
            f"what was computed: {size_bytes}"
        )


def _stored_parts(ctx: Context, request: Request, upload_id: str) -> dict[int, PartInfo]:
    found: dict[int, PartInfo] = {}
    after: int | None = 0
    while after is not None:
        page = ctx.store.list_parts(
            request.bucket, request.key, upload_id, after=after, limit=_PAGE
        )
        found.update((part.part_number, part) for part in page.parts)
        after = page.next_after
    return found


def _location(request: Request) -> str:
    host = request.header(b"host") or "localhost"
    path = quote(f"/{request.bucket}/{request.key}")
    if host.partition(":")[0].startswith(f"{request.bucket}."):
        path = quote(f"/{request.key}")
    return f"{request.scheme}://{host}{path}"


def abort_upload(ctx: Context, request: Request, body: bytes) -> Response:
    """AbortMultipartUpload: the parts are gone."""
    ctx.store.abort_upload(request.bucket, request.key, request.query_value("uploadId") or "")
    return Response(204, [])
