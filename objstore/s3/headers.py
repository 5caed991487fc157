"""What request headers say: stored headers, metadata, conditions, ranges, storage class."""

from __future__ import annotations

from functools import lru_cache

from objstore.config import MAX_USER_METADATA_BYTES
from objstore.model import NO_CONDITIONS, ByteRange, Conditions, ObjectAttributes
from objstore.s3.encryption import HEADERS as ENCRYPTION_HEADERS
from objstore.s3.encryption import wanted_encryption
from objstore.s3.errors import S3Error, header_not_implemented, invalid_argument
from objstore.s3.formats import parse_http_date, parse_iso_date_ms
from objstore.s3.http import Request
from objstore.s3.metadata import decode_value
from objstore.s3.object_lock import HEADERS as LOCK_HEADERS
from objstore.s3.object_lock import wanted_lock
from objstore.s3.tags import parse_tagging_header

REDIRECT_HEADER = b"x-amz-website-redirect-location"
MAX_REDIRECT_BYTES = 2048
DEFAULT_CONTENT_TYPE = b"binary/octet-stream"

# Stored with an object and given back with it, in this order.
STORED_HEADERS = (
    b"content-type",
    b"cache-control",
    b"content-disposition",
    b"content-encoding",
    b"content-language",
    b"expires",
    REDIRECT_HEADER,
)
METADATA_PREFIX = b"x-amz-meta-"

STORAGE_CLASSES = frozenset(
    (
        "STANDARD",
        "REDUCED_REDUNDANCY",
        "STANDARD_IA",
        "ONEZONE_IA",
        "INTELLIGENT_TIERING",
        "GLACIER_IR",
    )
)
# S3 takes these and then answers a read with 403 until a restore.  Without restores that
# would be a one-way street, so they are refused.
ARCHIVE_CLASSES = frozenset(("GLACIER", "DEEP_ARCHIVE"))

# No object reaches this offset, so a range may be cut to it; 19 digits, which also keep int()
# cheap on hostile input.
_MAX_OFFSET = 2**63 - 1
_MAX_DIGITS = 19

_ETAG_STRIP = ' \t"'


# Without any of these, and without user metadata, an object has no attributes of its own.
_ATTRIBUTE_HEADERS = (ENCRYPTION_HEADERS | LOCK_HEADERS).union(
    (*STORED_HEADERS, b"x-amz-tagging", b"x-amz-storage-class")
)
_WRITE_CONDITIONS = frozenset(
    (b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since")
)


@lru_cache(maxsize=1024)
def _plain_attributes(owner: str) -> ObjectAttributes:
    return ObjectAttributes(owner=owner)


def attributes(request: Request, owner: str) -> ObjectAttributes:
    """Everything a writer says of an object besides its bytes.

    Raises:
        S3Error: MetadataTooLarge, InvalidStorageClass, InvalidTag, InvalidArgument.
    """
    headers = request.header_map
    if headers.keys().isdisjoint(_ATTRIBUTE_HEADERS) and METADATA_PREFIX not in b"\n".join(headers):
        return _plain_attributes(owner)
    tagging = request.header(b"x-amz-tagging")
    return ObjectAttributes(
        headers=stored_headers(request),
        metadata=user_metadata(request),
        tags=parse_tagging_header(tagging) if tagging else {},
        storage_class=storage_class(request),
        owner=owner,
        lock=wanted_lock(request),
        encryption=wanted_encryption(request),
    )


def stored_headers(request: Request) -> dict[str, str]:
    """The standard headers that S3 keeps, by lower-case name."""
    found = {}
    for name in STORED_HEADERS:
        value = request.header(name)
        if value:
            found[name.decode("ascii")] = value
    if REDIRECT_HEADER in request.header_map:
        _check_redirect(request.header(REDIRECT_HEADER) or "")
    encoding = found.get("content-encoding")
    if encoding is not None and "aws-chunked" in encoding:
        # aws-chunked is how the body travelled, not a property of the object
        kept = [part.strip() for part in encoding.split(",")]
        kept = [part for part in kept if part and part != "aws-chunked"]
        del found["content-encoding"]
        if kept:
            found["content-encoding"] = ",".join(kept)
    return found


def _check_redirect(location: str) -> None:
    if not location.startswith(("/", "http://", "https://")):
        raise S3Error(
            "InvalidRedirectLocation",
            "The website redirect location must have a prefix of 'http://' or 'https://' or '/'."
            if location
            else "The website redirect location must be non-empty.",
        )
    if len(location.encode("utf-8", "surrogatepass")) > MAX_REDIRECT_BYTES:
        raise S3Error(
            "InvalidRedirectLocation",
            f"The website redirect location must not exceed {MAX_REDIRECT_BYTES} bytes.",
        )


def user_metadata(request: Request) -> dict[str, str]:
    """User metadata by name without its prefix; repeated headers are joined with commas.

    Raises:
        S3Error: MetadataTooLarge when names and values pass 2 KiB of UTF-8 together.
    """
    found: dict[str, str] = {}
    for name, raw in request.headers:
        if name.startswith(METADATA_PREFIX):
            _add_metadata(found, name, decode_value(raw))
    for name, raw in request.hoisted:  # of a presigned URL, whose text is UTF-8
        if name.startswith(METADATA_PREFIX):
            _add_metadata(found, name, raw.decode("utf-8", "replace"))
    size_bytes = sum(len(text.encode("utf-8")) for pair in found.items() for text in pair)
    if size_bytes > MAX_USER_METADATA_BYTES:
        raise S3Error(
            "MetadataTooLarge",
            extra={"Size": str(size_bytes), "MaxSizeAllowed": str(MAX_USER_METADATA_BYTES)},
        )
    return found


def _add_metadata(found: dict[str, str], name: bytes, value: str) -> None:
    short = name[len(METADATA_PREFIX) :].decode("latin-1")
    found[short] = f"{found[short]},{value}" if short in found else value


def storage_class(request: Request) -> str:
    """The storage class asked for; STANDARD when none is."""
    value = request.header(b"x-amz-storage-class")
    if value is None or value in STORAGE_CLASSES:
        return value or "STANDARD"
    if value in ARCHIVE_CLASSES:
        raise header_not_implemented("x-amz-storage-class")
    raise S3Error("InvalidStorageClass", extra={"StorageClassRequested": value})


def read_conditions(request: Request, prefix: bytes = b"") -> Conditions:
    """The four conditions of a read, or with `prefix` those of a copy's source.

    If-Match overrides If-Unmodified-Since, and If-None-Match If-Modified-Since (RFC 9110
    section 13.2.2), so what is overridden is left out.  Dates that are none are ignored.
    """
    headers = request.header_map
    if not (
        prefix + b"if-match" in headers
        or prefix + b"if-none-match" in headers
        or prefix + b"if-modified-since" in headers
        or prefix + b"if-unmodified-since" in headers
    ):
        return NO_CONDITIONS
    match = etag_list(request.header(prefix + b"if-match"))
    none_match = etag_list(request.header(prefix + b"if-none-match"))
    modified = request.header(prefix + b"if-modified-since")
    unmodified = request.header(prefix + b"if-unmodified-since")
    return Conditions(
        if_match=match,
        if_none_match=none_match,
        if_modified_since_s=parse_http_date(modified) if modified and not none_match else None,
        if_unmodified_since_s=parse_http_date(unmodified) if unmodified and not match else None,
    )


def write_conditions(request: Request) -> Conditions:
    """If-Match with one ETag, or ``If-None-Match: *``: all that S3 takes on a write.

    Raises:
        S3Error: NotImplemented for any other form, as S3.
    """
    if request.header_map.keys().isdisjoint(_WRITE_CONDITIONS):
        return NO_CONDITIONS
    match = request.header(b"if-match")
    none_match = request.header(b"if-none-match")
    for name in (b"if-modified-since", b"if-unmodified-since"):
        if name in request.header_map:
            raise header_not_implemented(name.decode("ascii").title())
    if none_match is not None and none_match.strip(_ETAG_STRIP) != "*":
        raise header_not_implemented("If-None-Match")
    etags = etag_list(match)
    if match is not None and (len(etags) != 1 or etags[0] == "*"):
        raise header_not_implemented("If-Match")
    return Conditions(if_match=etags, if_none_match=() if none_match is None else ("*",))


def delete_conditions(
    etag: str | None, modified: str | None, size: str | None, names: tuple[str, str] = ("", "")
) -> Conditions:
    """The conditions of a delete, by the texts that a request gives; None for none.

    Args:
        names: of `modified` and `size`, for errors.

    Raises:
        S3Error: NotImplemented for several ETags, InvalidArgument for what is no date or size.
    """
    if etag is None and modified is None and size is None:
        return NO_CONDITIONS
    etags = etag_list(etag)
    if etag is not None and len(etags) != 1:
        raise header_not_implemented("If-Match")
    modified_s = None if modified is None else _seconds(modified)
    if modified is not None and modified_s is None:
        raise invalid_argument("This is no HTTP date", names[0], modified)
    size_bytes = None if size is None else integer(size, _MAX_OFFSET)
    if size is not None and size_bytes is None:
        raise invalid_argument("This is no size in bytes", names[1], size)
    return Conditions(
        if_match=etags, if_match_size_bytes=size_bytes, if_match_modified_s=modified_s
    )


def _seconds(text: str) -> int | None:
    """Of a date as headers have it, or as documents do: SDKs send both in a document."""
    seconds = parse_http_date(text)
    if seconds is None and (milliseconds := parse_iso_date_ms(text)) is not None:
        seconds = milliseconds // 1000
    return seconds


def etag_list(value: str | None) -> tuple[str, ...]:
    """ETags of a condition without quotes; S3 takes them without quotes as well."""
    if not value:
        return ()
    etags = (part.strip().removeprefix("W/").strip(_ETAG_STRIP) for part in value.split(","))
    return tuple(etag for etag in etags if etag)


def byte_range(value: str | None) -> ByteRange | None:
    """One range of bytes; None for anything else, which S3 ignores: it sends the whole.

    That covers a malformed header, another unit and several ranges.
    """
    if value is None:
        return None
    unit, _, spec = value.partition("=")
    if unit.strip().lower() != "bytes":
        return None
    first, dash, last = spec.strip().partition("-")
    if not dash:
        return None
    if not first:
        suffix = _offset(last)
        return None if suffix is None else ByteRange(suffix_bytes=suffix)
    start, end = _offset(first), _offset(last) if last else None
    if start is None or (last and end is None):  # a second range ends up here
        return None
    if last and _magnitude(last) < _magnitude(first):
        return None
    return ByteRange(start, end)


def _offset(text: str) -> int | None:
    """A number of any length, cut to `_MAX_OFFSET`; None for what is no number."""
    if not text.isascii() or not text.isdigit():
        return None
    length, digits = _magnitude(text)
    return min(int(digits or "0"), _MAX_OFFSET) if length <= _MAX_DIGITS else _MAX_OFFSET


def _magnitude(text: str) -> tuple[int, str]:
    """What orders numbers by size without making integers of them."""
    digits = text.lstrip("0")
    return len(digits), digits


def copy_source_range(value: str) -> ByteRange:
    """The range of x-amz-copy-source-range, where both ends are required.

    Raises:
        S3Error: InvalidArgument.
    """
    found = byte_range(value)
    if found is None or found.last is None:
        raise invalid_argument(
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first "
            "and last are the zero-based offsets of the first and last bytes to copy",
            "x-amz-copy-source-range",
            value,
        )
    return found


def integer(text: str, limit: int) -> int | None:
    """A number of ASCII digits from 0 to `limit`, else None."""
    if not _is_number(text) or int(text) > limit:
        return None
    return int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
