"""GetBucketVersioning, PutBucketVersioning and ListObjectVersions."""

from __future__ import annotations

from collections.abc import Sequence

from objstore.model import VersionEntry, VersionPage
from objstore.s3 import versions, xml
from objstore.s3.authentication import identity
from objstore.s3.errors import S3Error, invalid_argument, not_implemented
from objstore.s3.formats import iso_date
from objstore.s3.http import Context, Request, Response
from objstore.s3.operations.listing import (
    Encode,
    Frames,
    boolean,
    common_prefixes,
    encode_all,
    encoded,
    encoder,
    page_limit,
)

_STATES = ("Enabled", "Suspended")
_MFA_STATES = ("Enabled", "Disabled")


def get_versioning(ctx: Context, request: Request, body: bytes) -> Response:
    """GetBucketVersioning: an empty element for a bucket that never had it, as in S3."""
    status = ctx.store.versioning(request.bucket)
    return xml.response(
        xml.document("VersioningConfiguration", xml.element("Status", status or None))
    )


def put_versioning(ctx: Context, request: Request, body: bytes) -> Response:
    """PutBucketVersioning: Enabled or Suspended; it is never off again."""
    tree = xml.parse(body, "VersioningConfiguration")
    if tree is None or not xml.has_only(tree, ("Status", "MfaDelete")):
        raise S3Error("MalformedXML")
    mfa_delete = xml.child_text(tree, "MfaDelete")
    if mfa_delete not in (None, *_MFA_STATES):
        raise S3Error("MalformedXML")
    if mfa_delete == "Enabled":
        raise not_implemented("MfaDelete is not implemented")
    status = xml.child_text(tree, "Status")
    if status is None:
        raise S3Error(
            "IllegalVersioningConfigurationException",
            "The Versioning element must be specified",
        )
    if status not in _STATES:
        raise S3Error("MalformedXML")
    ctx.store.set_versioning(request.bucket, status)
    return Response(200, [(b"content-length", b"0")])


def list_versions(ctx: Context, request: Request, body: bytes) -> Response:
    """ListObjectVersions: versions and delete markers by key, newest first."""
    key_marker = request.query_value("key-marker") or ""
    id_marker = request.query_value("version-id-marker") or ""
    if request.query_value("version-id-marker") is not None:
        if not key_marker:
            raise invalid_argument(
                "A version-id marker cannot be specified without a key marker.",
                "version-id-marker",
                id_marker,
            )
        if not id_marker:
            raise invalid_argument(
                "A version-id marker cannot be empty.", "version-id-marker", id_marker
            )
        versions.checked(id_marker, "version-id-marker")
    limit = page_limit(request, "max-keys")
    encode, encoding = encoder(request)
    page = _page(ctx, request, key_marker, id_marker, limit)
    return xml.response(
        xml.document(
            "ListVersionsResult",
            xml.element("Name", request.bucket),
            encoded("Prefix", request.query_value("prefix") or "", encode),
            encoded("KeyMarker", key_marker, encode),
            xml.element("VersionIdMarker", id_marker),
            encoded("NextKeyMarker", page.next_key, encode),
            xml.element("NextVersionIdMarker", page.next_version_id or None),
            f"<MaxKeys>{limit}</MaxKeys>",
            encoded("Delimiter", request.query_value("delimiter") or None, encode),
            xml.element("EncodingType", encoding),
            f"<IsTruncated>{boolean(page.next_key is not None)}</IsTruncated>",
            _entries(request, page.entries, encode),
            common_prefixes(page.common_prefixes, encode),
        )
    )


def _page(
    ctx: Context, request: Request, key_marker: str, id_marker: str, limit: int
) -> VersionPage:
    if limit == 0:
        ctx.store.head_bucket(request.bucket)
        return VersionPage(())
    return ctx.store.list_versions(
        request.bucket,
        prefix=request.query_value("prefix") or "",
        delimiter=request.query_value("delimiter") or "",
        key_marker=key_marker,
        version_id_marker=id_marker,
        limit=limit,
    )


def _entries(request: Request, entries: Sequence[VersionEntry], encode: Encode) -> str:
    """A ``Version`` or ``DeleteMarker`` element for each, in their order."""
    keys = encode_all([entry.key for entry in entries], encode)
    fallback_owner = identity(request).id
    frames = Frames(request, True, "Version")
    elements = []
    for key, entry in zip(keys, entries, strict=True):
        common = (
            f"<Key>{key}</Key><VersionId>{entry.version_id}</VersionId>"
            f"<IsLatest>{boolean(entry.is_latest)}</IsLatest>"
            f"<LastModified>{iso_date(entry.modified_ms // 1000)}</LastModified>"
        )
        if entry.is_delete_marker:
            owner = xml.element("ID", entry.owner or fallback_owner)
            elements.append(f"<DeleteMarker>{common}<Owner>{owner}</Owner></DeleteMarker>")
            continue
        before, after = frames[
            entry.checksum_algorithms, entry.checksum_type, entry.owner, entry.storage_class
        ]
        elements.append(
            f"<Version>{common}<ETag>&quot;{entry.etag}{before}{entry.size_bytes}{after}"
        )
    return "".join(elements)
