"""Listing uploads under way, and the parts of one."""

from __future__ import annotations

from objstore.config import MAX_PARTS
from objstore.engine import rows
from objstore.engine.core import Core, encode_key
from objstore.engine.listing import fold
from objstore.engine.multipart import decode_upload_id, find_upload
from objstore.index import keys, schema
from objstore.model import PartInfo, PartPage, UploadInfo, UploadPage


def list_parts(
    core: Core, bucket: str, key: str, upload_id: str, after: int, limit: int
) -> PartPage:
    """See `ObjectStore.list_parts`."""
    upload = decode_upload_id(upload_id)
    with core.index.read() as txn:
        row = find_upload(core, txn, bucket, encode_key(key), upload)
        info = rows.upload_info(bucket, key, schema.decode_upload(schema.row_body(row)))
        if not 0 <= after < MAX_PARTS or limit <= 0:
            return PartPage((), None, info)
        parts: list[PartInfo] = []
        stop = keys.after(keys.parts_prefix(upload))
        for _key, part in txn.scan(keys.part(upload, after + 1), stop):
            if len(parts) == limit:
                return PartPage(tuple(parts), parts[-1].part_number, info)
            parts.append(rows.part_info(schema.decode_part(schema.row_body(part))))
    return PartPage(tuple(parts), None, info)


def list_uploads(
    core: Core,
    bucket: str,
    prefix: str,
    delimiter: str,
    key_marker: str,
    upload_id_marker: str,
    limit: int,
) -> UploadPage:
    """See `ObjectStore.list_uploads`."""
    fold_at, wanted, marker = delimiter.encode(), prefix.encode(), key_marker.encode()
    uploads: list[UploadInfo] = []
    prefixes: list[str] = []
    last: tuple[str, str] | None = None
    with core.index.read() as txn:
        base = keys.uploads_prefix(core.bucket(txn, bucket).bucket_id)
        for row_key, row in txn.scan(base, keys.after(base)):
            key, upload = keys.parse_upload(row_key)
            if not key.startswith(wanted) or _is_listed(
                key, upload.hex(), marker, upload_id_marker
            ):
                continue
            folded = fold(key, wanted, fold_at) if fold_at else None
            if folded is not None and (
                (prefixes and prefixes[-1] == folded.decode()) or folded <= marker
            ):
                continue
            if len(uploads) + len(prefixes) >= limit:
                if last is None:
                    break
                return UploadPage(tuple(uploads), tuple(prefixes), *last)
            if folded is not None:
                prefixes.append(folded.decode())
                last = (prefixes[-1], "")
            else:
                body = schema.decode_upload(schema.row_body(row))
                uploads.append(rows.upload_info(bucket, key.decode(), body))
                last = (uploads[-1].key, uploads[-1].upload_id)
    return UploadPage(tuple(uploads), tuple(prefixes))


def _is_listed(key: bytes, upload_id: str, marker: bytes, upload_id_marker: str) -> bool:
    """Whether a page that ended at the markers has shown this upload."""
    if not marker:
        return False
    return key < marker or (
        key == marker and (not upload_id_marker or upload_id <= upload_id_marker)
    )
