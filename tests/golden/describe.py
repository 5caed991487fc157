"""Everything that a store's callers can see of it, as plain JSON values."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from objstore import ObjectStore
from objstore.index import keys, schema
from objstore.model import Checksum, ObjectAttributes


def describe(store: ObjectStore) -> dict[str, Any]:
    """Buckets with their objects, whose bytes are read and hashed, and uploads with parts."""
    return {
        info.name: {
            "created_ms": info.created_ms,
            "region": info.region,
            "owner": info.owner,
            "objects": _objects(store, info.name),
            "uploads": _uploads(store, info.name),
        }
        for info in store.list_buckets()
    }


def older_versions(store: ObjectStore) -> list[dict[str, Any]]:
    """What is not current, which no operation shows yet: newest first of each key."""
    found = []
    with store._core.index.read() as txn:
        for key, row in txn.scan(b"v", keys.after(b"v")):
            head, body = schema.unpack_head(row), schema.decode_version(schema.row_body(row))
            name, _end = keys.unterminated(key, 5)
            null = txn.get(keys.null_position(int.from_bytes(key[1:5], "big"), name))
            found.append(
                {
                    "key": name.decode(),
                    "version_id": body.version_id,
                    "version_seq": head.version_seq,
                    "flags": head.flags,
                    "size_bytes": body.size_bytes,
                    "tags": body.tags,
                    "is_null": null == head.version_seq.to_bytes(8, "big"),
                }
            )
    return found


def _objects(store: ObjectStore, bucket: str) -> list[dict[str, Any]]:
    found = []
    after = ""
    while True:
        page = store.list(bucket, start_after=after, limit=7)
        for entry in page.entries:
            with store.get(bucket, entry.key) as reader:
                info, data = reader.info, reader.read()
            found.append(
                {
                    "key": info.key,
                    "size_bytes": info.size_bytes,
                    "etag": info.etag,
                    "modified_ms": info.modified_ms,
                    "part_count": info.part_count,
                    "version_id": info.version_id,
                    "version_seq": info.version_seq,
                    "attributes": _attributes(info.attributes),
                    "checksums": _checksums(info.checksums),
                    "sha256": hashlib.sha256(data).hexdigest(),
                }
            )
        if page.next_after is None:
            return found
        after = page.next_after


def _uploads(store: ObjectStore, bucket: str) -> list[dict[str, Any]]:
    return [
        {
            "key": upload.key,
            "upload_id": upload.upload_id,
            "initiated_ms": upload.initiated_ms,
            "attributes": _attributes(upload.attributes),
            "checksum_algorithm": upload.checksum_algorithm,
            "checksum_type": upload.checksum_type,
            "parts": [
                {**msgspec.structs.asdict(part), "checksums": _checksums(part.checksums)}
                for part in store.list_parts(bucket, upload.key, upload.upload_id).parts
            ],
        }
        for upload in store.list_uploads(bucket).uploads
    ]


def _attributes(attributes: ObjectAttributes) -> dict[str, Any]:
    return {
        "headers": dict(attributes.headers),
        "metadata": dict(attributes.metadata),
        "tags": dict(attributes.tags),
        "storage_class": attributes.storage_class,
        "owner": attributes.owner,
    }


def _checksums(checksums: tuple[Checksum, ...]) -> list[dict[str, str]]:
    return [msgspec.structs.asdict(checksum) for checksum in checksums]
