"""GetObjectAttributes: what HeadObject and ListParts say of an object, in one document.

Its form, the ETag without quotes and the order of its elements are S3's as it was seen on
the wire; the model of the SDKs has the root under another name.
"""

from __future__ import annotations

from objstore.config import MAX_LIST_KEYS
from objstore.model import ObjectInfo, ObjectPart, ObjectPartPage
from objstore.s3 import versions, xml
from objstore.s3.checksums import COMPOSITE
from objstore.s3.encryption import customer_key
from objstore.s3.encryption_checks import check_readable
from objstore.s3.errors import invalid_argument, invalid_request
from objstore.s3.formats import http_date
from objstore.s3.headers import integer, read_conditions
from objstore.s3.http import Context, Request, Response
from objstore.s3.operations.get import part_checksums
from objstore.s3.operations.multipart import checksum_elements

ATTRIBUTES = ("ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize")
_HEADER = b"x-amz-object-attributes"
_MAX_INT = 2**31 - 1


def get_attributes(ctx: Context, request: Request, body: bytes) -> Response:
    """GetObjectAttributes."""
    wanted = _wanted(request)
    limit = min(_number(request, b"x-amz-max-parts", MAX_LIST_KEYS), MAX_LIST_KEYS)
    marker = _number(request, b"x-amz-part-number-marker", 0)
    version_id = versions.version_id(request)
    page = ctx.store.list_object_parts(
        request.bucket,
        request.key,
        version_id=version_id,
        after=marker,
        limit=limit if "ObjectParts" in wanted else 0,
        conditions=read_conditions(request),
    )
    info = page.info
    check_readable(info.attributes.encryption, customer_key(request))
    elements = {
        "ETag": xml.element("ETag", info.etag),
        "Checksum": _checksum(info),
        "ObjectParts": _object_parts(page, marker, limit),
        "StorageClass": xml.element("StorageClass", info.attributes.storage_class),
        "ObjectSize": xml.element("ObjectSize", info.size_bytes),
    }
    asked = [elements[name] for name in ATTRIBUTES if name in wanted]
    response = xml.response(xml.document("GetObjectAttributesResponse", *asked))
    response.headers.append((b"last-modified", http_date(info.modified_ms // 1000)))
    response.headers += versions.version_headers(info)
    return response


def _wanted(request: Request) -> frozenset[str]:
    """The attributes named, in one header or in several, with commas between."""
    values = [value.decode("latin-1") for name, value in request.headers if name == _HEADER]
    values += [value.decode("latin-1") for name, value in request.hoisted if name == _HEADER]
    names = [name.strip() for name in ",".join(values).split(",")]
    wanted = frozenset(name for name in names if name)
    if not wanted:
        raise invalid_request(
            "The x-amz-object-attributes header specifying the attributes to be retrieved is "
            "either missing or empty"
        )
    for name in wanted.difference(ATTRIBUTES):
        raise invalid_argument("Invalid attribute name specified.", _HEADER.decode("ascii"), name)
    return wanted


def _number(request: Request, name: bytes, default: int) -> int:
    text = request.header(name)
    if not text:
        return default
    number = integer(text, _MAX_INT)
    if number is None:
        header = name.decode("ascii")
        raise invalid_argument(
            f"Argument {header} must be an integer between 0 and {_MAX_INT}", header, text
        )
    return number


def _checksum(info: ObjectInfo) -> str:
    if not info.checksums:
        return ""
    kind = xml.element("ChecksumType", info.checksums[0].type)
    return f"<Checksum>{checksum_elements(info.checksums)}{kind}</Checksum>"


def _object_parts(page: ObjectPartPage, after: int, limit: int) -> str:
    """Nothing of an object of one piece; the parts themselves where the checksum is of them.

    S3 lists them for a COMPOSITE checksum alone; with one of the full object it gives their
    number and no more.
    """
    info = page.info
    if not info.part_count:
        return ""
    count = xml.element("PartsCount", info.part_count)
    if not info.checksums or info.checksums[0].type != COMPOSITE:
        return f"<ObjectParts>{count}</ObjectParts>"
    last = page.parts[-1].part_number if page.parts else 0
    return "".join(
        [
            f"<ObjectParts>{count}",
            xml.element("PartNumberMarker", after),
            xml.element("NextPartNumberMarker", last),
            xml.element("MaxParts", limit),
            xml.element("IsTruncated", "false" if page.next_after is None else "true"),
            *[_part(info, part) for part in page.parts],
            "</ObjectParts>",
        ]
    )


def _part(info: ObjectInfo, part: ObjectPart) -> str:
    return (
        f"<Part><PartNumber>{part.part_number}</PartNumber><Size>{part.size_bytes}</Size>"
        f"{checksum_elements(part_checksums(info, part))}</Part>"
    )
