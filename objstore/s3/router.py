"""Which S3 operation a request names: a pure table, and nothing that falls through.

Every operation of S3's published model has a row, offered or not.  A request is resolved
by method, level (service, bucket, object) and the query parameters that select a
sub-resource; the rows with most selectors come first.  Whatever is left in the query must
be a parameter that the row knows.  If it is not, the request names an operation that nobody
here knows, and the answer is 501: ``DELETE /bucket?something`` is never DeleteBucket.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from objstore.auth.masking import masked
from objstore.config import MAX_KEY_BYTES
from objstore.s3.errors import S3Error, invalid_argument, key_too_long
from objstore.s3.headers import METADATA_PREFIX
from objstore.s3.http import Context, Request
from objstore.s3.names import bucket_of_host, decode, split_path
from objstore.s3.operation import Kind, Level, Operation
from objstore.s3.refusals import SUSPECT_HEADERS
from objstore.s3.table import OPERATIONS, PREFLIGHT, SUBRESOURCES

# Authentication in the query string, in the case that objstore.auth reads, and judges.
_CLAIMS = frozenset(("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature"))
_PRESIGN = _CLAIMS | {
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Security-Token",
}
_SIGNATURE = "X-Amz-Signature"

# Headers of the offered operations that a presigner may move into the query, with those that
# are refused wherever they stand, and those that say how a body is sent.  All others of the
# model belong to operations that are not offered.
HOISTABLE = frozenset(name for name in SUSPECT_HEADERS if name.startswith(b"x-amz-")) | {
    b"x-amz-bypass-governance-retention",
    b"x-amz-checksum-algorithm",
    b"x-amz-checksum-mode",
    b"x-amz-checksum-type",
    b"x-amz-content-sha256",
    b"x-amz-confirm-remove-self-bucket-access",
    b"x-amz-copy-source-if-match",
    b"x-amz-copy-source-if-modified-since",
    b"x-amz-copy-source-if-none-match",
    b"x-amz-copy-source-if-unmodified-since",
    b"x-amz-decoded-content-length",
    b"x-amz-max-parts",
    b"x-amz-metadata-directive",
    b"x-amz-mfa",
    b"x-amz-mp-object-size",
    b"x-amz-object-annotation-directive",
    b"x-amz-object-attributes",
    b"x-amz-optional-object-attributes",
    b"x-amz-part-number-marker",
    b"x-amz-bucket-object-lock-token",
    b"x-amz-client-token",
    b"x-amz-rename-source-if-match",
    b"x-amz-rename-source-if-modified-since",
    b"x-amz-rename-source-if-none-match",
    b"x-amz-rename-source-if-unmodified-since",
    b"x-amz-request-payer",
    b"x-amz-sdk-checksum-algorithm",
    b"x-amz-skip-destination-validation",
    b"x-amz-source-expected-bucket-owner",
    b"x-amz-storage-class",
    b"x-amz-tagging",
    b"x-amz-tagging-directive",
    b"x-amz-trailer",
    b"x-amz-user-agent",
    b"x-amz-website-redirect-location",
    *(
        b"x-amz-checksum-" + name
        for name in (
            b"crc32",
            b"crc32c",
            b"crc64nvme",
            b"md5",
            b"sha1",
            b"sha256",
            b"sha512",
            b"xxhash3",
            b"xxhash64",
            b"xxhash128",
        )
    ),
}


def _index(rows: Iterable[Operation]) -> dict[tuple[str, str], tuple[Operation, ...]]:
    found: dict[tuple[str, str], list[Operation]] = {}
    for row in rows:
        found.setdefault((row.method, row.level), []).append(row)
    return {
        # most specific first: more selectors, then those told apart by a header
        place: tuple(sorted(group, key=lambda o: (-len(o.selectors), not o.header_selector)))
        for place, group in found.items()
    }


_ROWS = _index(OPERATIONS)
_METHODS = frozenset(row.method for row in OPERATIONS)
# The row of a request without any query and without a selecting header: nearly all of them.
_PLAIN = {
    place: next(row for row in rows if not row.selectors and not row.header_selector)
    for place, rows in _ROWS.items()
    if any(not row.selectors and not row.header_selector for row in rows)
}
_SELECTING_HEADERS = frozenset(row.header_selector for row in OPERATIONS if row.header_selector)


def route(ctx: Context, request: Request) -> Operation:
    """Fill in bucket, key, query and operation of a request.

    Headers that a presigned URL carries in its query (``X-Amz-Acl=...``) join the headers.

    Raises:
        S3Error: InvalidURI, KeyTooLongError, InvalidArgument, MethodNotAllowed.
    """
    _locate(ctx, request)
    if request.raw_query:
        _read_query(request)
    is_preflight = request.method == "OPTIONS" and request.bucket
    operation = PREFLIGHT if is_preflight else resolve(request)
    request.operation = operation
    return operation


def resolve(request: Request) -> Operation:
    """The row for a request whose bucket, key and query are known."""
    level: Level = "object" if request.key else "bucket" if request.bucket else "service"
    place = (request.method, level)
    if not request.query and request.header_map.keys().isdisjoint(_SELECTING_HEADERS):
        plain = _PLAIN.get(place)
        if plain is not None:
            return plain
    names = {name for name, _ in request.query}
    for row in _ROWS.get(place, ()):
        if _selects(row, names, request):
            break
    else:
        return _nothing_selected(request, level, names)
    left = names - row.params - _selector_names(row)
    return _unknown(request.method, level, left, names) if left else row


def _selects(row: Operation, names: set[str], request: Request) -> bool:
    if row.header_selector and row.header_selector not in request.header_map:
        return False
    for selector in row.selectors:
        name, equals, value = selector.partition("=")
        if name not in names or (equals and request.query_value(name) != value):
            return False
    return True


def _selector_names(row: Operation) -> set[str]:
    return {selector.partition("=")[0] for selector in row.selectors}


def _nothing_selected(request: Request, level: Level, names: set[str]) -> Operation:
    if names:
        return _unknown(request.method, level, names, names)
    allowed = sorted(method for method, where in _ROWS if where == level)
    raise S3Error(
        "MethodNotAllowed",
        extra={"Method": request.method, "ResourceType": level.upper()},
        headers=[(b"allow", ", ".join(allowed).encode("ascii"))],
    )


def _unknown(method: str, level: Level, left: set[str], names: set[str]) -> Operation:
    """What to make of parameters that no row takes: an error, or an operation not offered."""
    known = sorted(names & SUBRESOURCES)
    if len(known) > 1:
        raise invalid_argument(
            f"Conflicting query string parameters: {', '.join(known)}",
            "ResourceType",
            known[0],
        )
    if left == {"partNumber"} and method == "PUT":
        raise invalid_argument(
            "This operation does not accept partNumber without uploadId", "partNumber"
        )
    if left == {"uploadId"} and method == "PUT":
        raise invalid_argument("This operation needs a partNumber besides uploadId", "uploadId")
    if left == {"list-type"}:
        raise invalid_argument("Invalid List Type specified in Request", "list-type")
    kind: Kind = "plain"
    return Operation(f"{method} ?{'&'.join(sorted(left))}", method, level, kind=kind)


# A key can have a percent sign, and then has to escape it.
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def _locate(ctx: Context, request: Request) -> None:
    host = request.header_map.get(b"host", b"")
    raw_path = request.raw_path
    if b"%" in raw_path and _BROKEN_ESCAPE.search(raw_path):
        raise _invalid_uri(raw_path)
    try:
        bucket = bucket_of_host(host.decode("latin-1"), ctx.base_domains) if host else ""
        if bucket:
            request.bucket, request.key = bucket, decode(raw_path[1:])
        else:
            request.bucket, request.key = split_path(raw_path)
    except UnicodeDecodeError:
        raise _invalid_uri(raw_path) from None
    if not raw_path.startswith(b"/") or (request.key and not request.bucket):
        raise _invalid_uri(raw_path)
    # a byte of the key takes one to three bytes of the path
    if len(raw_path) > MAX_KEY_BYTES and len(request.key.encode("utf-8")) > MAX_KEY_BYTES:
        raise key_too_long(request.key)


def _invalid_uri(raw_path: bytes) -> S3Error:
    return S3Error("InvalidURI", extra={"URI": masked(raw_path).decode("utf-8", "replace")})


def _read_query(request: Request) -> None:
    """Take the query apart: authentication, hoisted headers, and what selects or parametrises.

    Without a signature nobody hoisted anything: then an ``x-amz-*`` is a parameter like
    any other, and one that no operation knows.
    """
    found = _decoded_pairs(request.raw_query)
    names = {name for name, _ in found}
    is_presigned = _SIGNATURE in names
    ignored = {"x-id"} if names.isdisjoint(_CLAIMS) else {"x-id", *_PRESIGN}
    for name, value in found:
        if name in ignored:
            continue
        lower = name.lower()
        if lower.startswith("x-") and not lower.startswith("x-amz-"):
            continue  # somebody's own, for the access log
        if is_presigned and _is_hoistable(lower):
            _hoisted_header(request, lower, value)
        else:
            request.query.append((name, value))


def _decoded_pairs(raw_query: bytes) -> list[tuple[str, str]]:
    found = []
    for raw_pair in raw_query.split(b"&"):
        if not raw_pair:
            continue
        raw_name, _, raw_value = raw_pair.partition(b"=")
        try:
            found.append((_decode_query(raw_name), _decode_query(raw_value)))
        except UnicodeDecodeError:
            raise _invalid_uri(raw_query) from None
    return found


def _is_hoistable(name: str) -> bool:
    raw = name.encode("utf-8")
    return raw in HOISTABLE or raw.startswith(METADATA_PREFIX)


def _hoisted_header(request: Request, name: str, value: str) -> None:
    """A header that a presigner moved into the query: it means what the header would."""
    pair = (name.encode("utf-8"), value.encode("utf-8"))
    if pair[0] not in request.header_map:
        request.hoisted.append(pair)
        request.header_map[pair[0]] = pair[1]


def _decode_query(raw: bytes) -> str:
    if b"+" in raw:
        raw = raw.replace(b"+", b" ")
    if b"%" in raw:
        raw = unquote_to_bytes(raw)
    return raw.decode("utf-8")
