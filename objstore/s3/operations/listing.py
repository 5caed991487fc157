"""ListObjects and ListObjectsV2.

Written for speed: 1,000 entries are 1,000 f-strings and one join, about 0.3 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from objstore.config import MAX_LIST_KEYS
from objstore.model import ListEntry, ListPage
from objstore.s3 import tokens, xml
from objstore.s3.authentication import identity
from objstore.s3.errors import invalid_argument
from objstore.s3.formats import iso_date
from objstore.s3.headers import integer
from objstore.s3.http import Context, Request, Response

# S3 takes any 32-bit number and gives at most 1,000.
_MAX_INT = 2**31 - 1

Encode = Callable[[str], str]


def list_objects(ctx: Context, request: Request, body: bytes) -> Response:
    """ListObjects: by marker; NextMarker only with a delimiter, as in S3."""
    marker = request.query_value("marker") or ""
    delimiter = request.query_value("delimiter") or ""
    limit = page_limit(request, "max-keys")
    encode, encoding = encoder(request)
    page = _list(ctx, request, marker, limit)
    next_marker = page.next_after if delimiter else None
    return xml.response(
        xml.document(
            "ListBucketResult",
            xml.element("Name", request.bucket),
            encoded("Prefix", request.query_value("prefix") or "", encode),
            encoded("Marker", marker, encode),
            encoded("NextMarker", next_marker, encode),
            f"<MaxKeys>{limit}</MaxKeys>",
            encoded("Delimiter", delimiter or None, encode),
            xml.element("EncodingType", encoding),
            f"<IsTruncated>{boolean(page.next_after is not None)}</IsTruncated>",
            contents(page.entries, encode, Frames(request, True)),
            common_prefixes(page.common_prefixes, encode),
        )
    )


def list_objects_v2(ctx: Context, request: Request, body: bytes) -> Response:
    """ListObjectsV2: by continuation token, or from start-after."""
    token = request.query_value("continuation-token")
    start_after = request.query_value("start-after")
    delimiter = request.query_value("delimiter") or ""
    limit = page_limit(request, "max-keys")
    encode, encoding = encoder(request)
    fetch_owner = (request.query_value("fetch-owner") or "").lower() == "true"
    after = tokens.decode(token) if token is not None else start_after or ""
    page = _list(ctx, request, after, limit)
    next_token = None if page.next_after is None else tokens.encode(page.next_after)
    count = len(page.entries) + len(page.common_prefixes)
    return xml.response(
        xml.document(
            "ListBucketResult",
            xml.element("Name", request.bucket),
            encoded("Prefix", request.query_value("prefix") or "", encode),
            xml.element("ContinuationToken", token),
            xml.element("NextContinuationToken", next_token),
            encoded("StartAfter", start_after or None, encode),
            f"<KeyCount>{count}</KeyCount><MaxKeys>{limit}</MaxKeys>",
            encoded("Delimiter", delimiter or None, encode),
            xml.element("EncodingType", encoding),
            f"<IsTruncated>{boolean(page.next_after is not None)}</IsTruncated>",
            contents(page.entries, encode, Frames(request, fetch_owner)),
            common_prefixes(page.common_prefixes, encode),
        )
    )


def _list(ctx: Context, request: Request, start_after: str, limit: int) -> ListPage:
    if limit == 0:
        ctx.store.head_bucket(request.bucket)
        return ListPage(())
    return ctx.store.list(
        request.bucket,
        prefix=request.query_value("prefix") or "",
        delimiter=request.query_value("delimiter") or "",
        start_after=start_after,
        limit=limit,
    )


def page_limit(request: Request, name: str) -> int:
    """max-keys and its kin: 1,000 when absent, at most 1,000 in any case.

    Raises:
        S3Error: InvalidArgument.
    """
    text = request.query_value(name)
    if not text:
        return MAX_LIST_KEYS
    number = integer(text, _MAX_INT)
    if number is None:
        raise invalid_argument(
            f"Argument {name} must be an integer between 0 and {_MAX_INT}", name, text
        )
    return min(number, MAX_LIST_KEYS)


def encoder(request: Request) -> tuple[Encode, str | None]:
    """How to write keys, and the value of encoding-type.

    Raises:
        S3Error: InvalidArgument when it is not ``url``.
    """
    value = request.query_value("encoding-type")
    if not value:
        return xml.escape, None
    if value.lower() != "url":
        raise invalid_argument(
            "Invalid Encoding Method specified in Request", "encoding-type", value
        )
    return xml.url_encode, "url"


class Frames(dict[tuple[tuple[str, ...], str, str, str], tuple[str, str]]):
    """What stands before and after the size of an entry, by its checksums, owner and class.

    Nearly all entries of a page share theirs.  `name`: of the element that an entry is.
    """

    def __init__(self, request: Request, with_owner: bool, name: str = "Contents") -> None:
        super().__init__()
        self._end = f"</{name}>"
        self._with_owner = with_owner
        self._fallback_owner = identity(request).id

    def __missing__(self, shared: tuple[tuple[str, ...], str, str, str]) -> tuple[str, str]:
        algorithms, checksum_type, owner, storage_class = shared
        before = "".join([xml.element("ChecksumAlgorithm", name) for name in algorithms])
        if algorithms:
            before += xml.element("ChecksumType", checksum_type)
        after = xml.element("StorageClass", storage_class)
        if self._with_owner:
            after = f"<Owner>{xml.element('ID', owner or self._fallback_owner)}</Owner>{after}"
        frame = self[shared] = (f"&quot;</ETag>{before}<Size>", f"</Size>{after}{self._end}")
        return frame


def contents(entries: Sequence[ListEntry], encode: Encode, frames: Frames) -> str:
    """A ``Contents`` element for each entry."""
    keys = encode_all([entry.key for entry in entries], encode)
    elements = []
    for key, entry in zip(keys, entries, strict=True):
        before, after = frames[
            entry.checksum_algorithms, entry.checksum_type, entry.owner, entry.storage_class
        ]
        elements.append(
            f"<Contents><Key>{key}</Key>"
            f"<LastModified>{iso_date(entry.modified_ms // 1000)}</LastModified>"
            f"<ETag>&quot;{entry.etag}{before}{entry.size_bytes}{after}"
        )
    return "".join(elements)


def common_prefixes(prefixes: Sequence[str], encode: Encode) -> str:
    """A ``CommonPrefixes`` element for each prefix."""
    return "".join(
        [
            f"<CommonPrefixes><Prefix>{prefix}</Prefix></CommonPrefixes>"
            for prefix in encode_all(prefixes, encode)
        ]
    )


def encode_all(texts: Sequence[str], encode: Encode) -> list[str]:
    """`encode` of each, by way of one scan over all where nothing needs it."""
    if encode is xml.escape:
        return xml.escape_all(texts)
    return xml.url_encode_all(texts)


def encoded(name: str, text: str | None, encode: Encode) -> str:
    """An element whose text is written as the request asks; "" for None."""
    return "" if text is None else f"<{name}>{encode(text)}</{name}>"


def boolean(value: bool) -> str:
    """As XML writes it."""
    return "true" if value else "false"
