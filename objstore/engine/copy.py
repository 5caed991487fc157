"""Copying inside the store: small objects are written again, large ones shared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from objstore.engine import rows
from objstore.engine.apply import manifest_body
from objstore.engine.buckets import ensure
from objstore.engine.conditions import check_read
from objstore.engine.core import Core, encode_key
from objstore.engine.get import find_row, get
from objstore.engine.locks import new_lock
from objstore.engine.operation import Decision
from objstore.engine.put import (
    attributes_bound_bytes,
    check_current,
    info_of,
    small_put,
)
from objstore.engine.space import FOR_WRITES
from objstore.engine.versions import has_versions, null_flag, stored_id
from objstore.errors import NoSuchKeyError
from objstore.index import keys, schema
from objstore.index.schema import FLAG_EXTENTS, FLAG_MANIFEST, BucketBody, VersionBody
from objstore.log import format as log
from objstore.log.format import Record
from objstore.model import NO_LOCK, Checksum, Conditions, ObjectAttributes, ObjectInfo

_ROW_BOUND_BYTES = 8192

Source: TypeAlias = tuple[str, str, str]
"""Bucket, key, and version id, which is empty for the current version."""


class CopyShared:
    """Make an object of another's extents, which both use from then on."""

    leaves_segments = FOR_WRITES

    def __init__(
        self,
        core: Core,
        source: Source,
        target: tuple[str, str],
        attributes: ObjectAttributes | None,
        source_conditions: Conditions,
        conditions: Conditions,
        checksums: Sequence[Checksum] | None,
    ) -> None:
        self._core = core
        self._source, self._bucket = source, target[0]
        self._key = encode_key(target[1])
        self._attributes = attributes
        self._source_conditions, self._conditions = source_conditions, conditions
        self._checksums = checksums
        self.has_versions = False
        self.size_bound_bytes = self._bound()

    def _bound(self) -> int:
        """From the source as it is now; a change before the commit is noticed there."""
        with self._core.index.read() as txn:
            row = find_row(self._core, txn, *self._source)
            seq = schema.unpack_head(row).version_seq
            prefix = keys.manifest_prefix(seq)
            manifests = sum(len(row) for _key, row in txn.scan(prefix, keys.after(prefix)))
        self._expected_seq = seq
        bound_bytes = len(row) + manifests + _ROW_BOUND_BYTES + len(self._key)
        # Each manifest row becomes a record with the new key.
        bound_bytes += manifests // 256 * (len(self._key) + log.RECORD_HEAD_BYTES)
        return bound_bytes + attributes_bound_bytes(self._attributes or ObjectAttributes())

    def decide(self, decision: Decision) -> Sequence[Record]:
        row = find_row(self._core, decision.txn, *self._source)
        head, body = schema.unpack_head(row), schema.decode_version(schema.row_body(row))
        if head.version_seq != self._expected_seq:
            raise SourceChangedError
        check_read(self._source_conditions, rows.object_info(*self._source[:2], head, body))
        bucket = self._core.bucket(decision.txn, self._bucket)
        bucket_id = bucket.bucket_id
        if self._conditions:
            check_current(decision.txn, bucket_id, self._key, self._conditions)
        flags = null_flag(bucket)
        self.has_versions = has_versions(bucket)
        version_seq = decision.next_lsn
        encoded = schema.encode(self._new_body(bucket, flags, body, decision.now_ms))
        flags |= head.flags & (FLAG_EXTENTS | FLAG_MANIFEST)
        records = [Record(log.VERSION, bucket_id, self._key, encoded, version_seq, flags)]
        prefix = keys.manifest_prefix(head.version_seq)
        for _key, manifest in decision.txn.scan(prefix, keys.after(prefix)):
            part_body = manifest_body(manifest)
            records.append(Record(log.MANIFEST, bucket_id, self._key, part_body, version_seq))
        return records

    def _new_body(
        self, bucket: BucketBody, flags: int, body: VersionBody, now_ms: int
    ) -> VersionBody:
        attributes = self._attributes or kept_attributes(rows.attributes_of(body))
        checksums = (
            body.checksums if self._checksums is None else rows.checksum_rows(self._checksums)
        )
        return VersionBody(
            body.size_bytes,
            now_ms,
            body.etag,
            body.etag_parts,
            rows.stored_class(attributes.storage_class),
            attributes.owner,
            checksums,
            dict(attributes.headers),
            dict(attributes.metadata),
            dict(attributes.tags),
            stored_id(flags),
            body.extents,
            b"",
            new_lock(bucket, attributes.lock, now_ms),
            body.seal,
        )


def kept_attributes(attributes: ObjectAttributes) -> ObjectAttributes:
    """What a copy has of its source: all but the lock, which is the version's own."""
    return msgspec.structs.replace(attributes, lock=NO_LOCK)


class SourceChangedError(NoSuchKeyError):
    """The source was replaced while the copy was prepared; prepare it again."""

    def __init__(self) -> None:
        super().__init__("the source of the copy changed meanwhile")


def copy(
    core: Core,
    source: Source,
    target: tuple[str, str],
    attributes: ObjectAttributes | None,
    source_conditions: Conditions,
    conditions: Conditions,
    checksums: Sequence[Checksum] | None,
) -> ObjectInfo:
    """See `ObjectStore.copy`."""
    bucket, key, version_id = source
    while True:
        with get(core, bucket, key, None, source_conditions, version_id) as reader:
            info = reader.info
            payload = reader.read() if info.size_bytes <= core.config.log_inline_bytes else None
            is_small = payload is not None and not info.part_count
        ensure(core, *target)
        if is_small:
            assert payload is not None
            operation = small_put(
                core,
                *target,
                payload,
                attributes or kept_attributes(info.attributes),
                conditions,
                info.checksums if checksums is None else checksums,
                bytes.fromhex(info.etag),
            )
            (record,) = core.commit(operation)
            return info_of(target[0], record, has_versions=operation.has_versions)
        try:
            shared = CopyShared(
                core, source, target, attributes, source_conditions, conditions, checksums
            )
            record = core.commit(shared)[0]
            return info_of(target[0], record, has_versions=shared.has_versions)
        except SourceChangedError:
            continue
