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
    common_prefixes,
    encode_all,
    encoder,
    page_limit,
)

_STATES = ("Enabled", "Suspended")


def get_versioning(ctx: Context, request: Request, body: bytes) -> Response:
    """GetBucketVersioning: an empty element for a bucket that never had it, as in S3."""
    status = ctx.store.versioning(request.bucket)
    return xml.response(
        xml.document("VersioningConfiguration", xml.element("Status", status or None))
    )


def put_versioning(ctx: Context, request: Request, body: bytes) -> Response:
    """PutBucketVersioning: Enabled or Suspended; it is never off again."""
    tree = xml.parse(body, "VersioningConfiguration")
    if tree is None:
        raise S3Error("MalformedXML")
    if xml.child_text(tree, "MfaDelete") == "Enabled":
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
    if id_marker:
        if not key_marker:
            raise invalid_argument(
                "A version-id marker cannot be specified without a key marker.",
                "version-id-marker",
                id_marker,
            )
        versions.checked(id_marker, "version-id-marker")
    limit = page_limit(request, "max-keys")
    encode, encoding = encoder(request)
    page = _page(ctx, request, key_marker, id_marker, limit)
    delimiter = request.query_value("delimiter") or ""
    return xml.response(
        xml.document(
            "ListVersionsResult",
            xml.element("Name", request.bucket),
            f"<Prefix>{encode(request.query_value('prefix') or '')}</Prefix>",
            f"<KeyMarker>{encode(key_marker)}</KeyMarker>",
            xml.element("VersionIdMarker", id_marker),
            ""
            if page.next_key is None
            else f"<NextKeyMarker>{encode(page.next_key)}</NextKeyMarker>",
            xml.element("NextVersionIdMarker", page.next_version_id or None),
            f"<MaxKeys>{limit}</MaxKeys>",
            f"<Delimiter>{encode(delimiter)}</Delimiter>" if delimiter else "",
            xml.element("EncodingType", encoding),
            f"<IsTruncated>{'false' if page.next_key is None else 'true'}</IsTruncated>",
            _entries(page.entries, encode, identity(request).id),
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


def _entries(entries: Sequence[VersionEntry], encode: Encode, fallback_owner: str) -> str:
    """A ``Version`` or ``DeleteMarker`` element for each, in their order."""
    keys = encode_all([entry.key for entry in entries], encode)
    owners: dict[str, str] = {}
    elements = []
    for key, entry in zip(keys, entries, strict=True):
        owner = owners.get(entry.owner)
        if owner is None:
            owner = f"<Owner>{xml.element('ID', entry.owner or fallback_owner)}</Owner>"
            owners[entry.owner] = owner
        common = (
            f"<Key>{key}</Key><VersionId>{entry.version_id}</VersionId>"
            f"<IsLatest>{'true' if entry.is_latest else 'false'}</IsLatest>"
            f"<LastModified>{iso_date(entry.modified_ms // 1000)}</LastModified>"
        )
        if entry.is_delete_marker:
            elements.append(f"<DeleteMarker>{common}{owner}</DeleteMarker>")
            continue
        checksums = "".join(
            [f"<ChecksumAlgorithm>{name}</ChecksumAlgorithm>" for name in entry.checksum_algorithms]
        )
        if checksums:
            checksums += f"<ChecksumType>{entry.checksum_type}</ChecksumType>"
        elements.append(
            f"<Version>{common}<ETag>&quot;{entry.etag}&quot;</ETag>{checksums}"
            f"<Size>{entry.size_bytes}</Size><StorageClass>{entry.storage_class}</StorageClass>"
            f"{owner}</Version>"
        )
    return "".join(elements)
