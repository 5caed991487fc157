"""Completing an upload: its parts become an object, by their names alone, in one commit."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Sequence

from objstore.cause import present_cause
from objstore.config import (
    COMPLETED_VERSIONS_SEARCHED,
    MAX_OBJECT_BYTES,
    MAX_PARTS,
)
from objstore.engine import encryption, rows
from objstore.engine.apply import manifest_body
from objstore.engine.core import Core, encode_key
from objstore.engine.locks import new_lock
from objstore.engine.multipart import decode_upload_id, find_upload, upload_gone
from objstore.engine.operation import Decision
from objstore.engine.put import check_current, info_of
from objstore.engine.space import FOR_WRITES
from objstore.engine.telling import CREATED_COMPLETED
from objstore.engine.versions import has_versions, null_flag, stored_id
from objstore.errors import (
    EntityTooLargeError,
    EntityTooSmallError,
    InvalidArgumentError,
    InvalidPartError,
    InvalidPartOrderError,
    NoSuchUploadError,
)
from objstore.index import keys, schema
from objstore.index.base import ReadTransaction
from objstore.index.schema import (
    FLAG_MANIFEST,
    BucketBody,
    ManifestBody,
    ManifestPart,
    PartBody,
    UploadBody,
    VersionBody,
)
from objstore.log import format as log
from objstore.log.format import Record
from objstore.model import (
    NO_LOCK,
    Checksum,
    CompletedPart,
    Conditions,
    ObjectInfo,
)

_BODY_BOUND_BYTES = 512
_PARTS_A_MANIFEST = 32


class CompleteUpload:
    """Make an object of an upload's parts, and the upload go."""

    leaves_segments = FOR_WRITES
    event = CREATED_COMPLETED

    def __init__(
        self,
        core: Core,
        bucket: str,
        key: str,
        upload_id: str,
        parts: Sequence[CompletedPart],
        conditions: Conditions,
        checksums: Sequence[Checksum],
        customer_key: bytes = b"",
    ) -> None:
        self._core, self._bucket, self._key = core, bucket, encode_key(key)
        self._customer_key = customer_key
        self.cause = present_cause()
        self._upload = decode_upload_id(upload_id)
        self._parts = check_order(parts)
        self._conditions, self._checksums = conditions, checksums
        self.has_versions = False
        self.size_bound_bytes = self._bound()

    def _bound(self) -> int:
        with self._core.index.read() as txn:
            row = find_upload(self._core, txn, self._bucket, self._key, self._upload)
            prefix = keys.parts_prefix(self._upload)
            parts = sum(len(row) for _key, row in txn.scan(prefix, keys.after(prefix)))
        manifests = len(self._parts) // _PARTS_A_MANIFEST + 1
        overhead_bytes = log.RECORD_HEAD_BYTES + len(self._key) + 64
        return len(row) + parts + _BODY_BOUND_BYTES * 4 + (manifests + 2) * overhead_bytes

    def decide(self, decision: Decision) -> Sequence[Record]:
        row = find_upload(self._core, decision.txn, self._bucket, self._key, self._upload)
        bucket = self._core.bucket(decision.txn, self._bucket)
        bucket_id = bucket.bucket_id
        parts = self._stored_parts(decision.txn)
        if self._conditions:
            check_current(decision.txn, bucket_id, self._key, self._conditions)
        flags = null_flag(bucket)
        self.has_versions = has_versions(bucket)
        upload = schema.decode_upload(schema.row_body(row))
        if self._customer_key:  # it need not come: no bytes are read or written
            encryption.check_customer_key(upload.seal, self._customer_key)
        body = self._object_body(bucket, flags, upload, parts, decision.now_ms)
        if body.size_bytes > MAX_OBJECT_BYTES:
            raise EntityTooLargeError(body.size_bytes, MAX_OBJECT_BYTES)
        version_seq = decision.next_lsn
        encoded = schema.encode(body)
        flags |= FLAG_MANIFEST
        records = [Record(log.VERSION, bucket_id, self._key, encoded, version_seq, flags)]
        for manifest in manifests_of(parts):
            part_body = schema.encode(manifest)
            records.append(Record(log.MANIFEST, bucket_id, self._key, part_body, version_seq))
        records.append(upload_gone(bucket_id, self._key, self._upload))
        return records

    def _stored_parts(self, txn: ReadTransaction) -> list[PartBody]:
        stored = []
        for part in self._parts:
            row = txn.get(keys.part(self._upload, part.part_number))
            body = schema.decode_part(schema.row_body(row)) if row is not None else None
            if body is None or body.etag.hex() != part.etag or not _agree(part, body):
                raise InvalidPartError(
                    f"part {part.part_number} was not uploaded, or with another ETag or checksum",
                    "PartNumber",
                    str(part.part_number),
                )
            stored.append(body)
        least_bytes = self._core.config.min_part_bytes
        for body in stored[:-1]:
            if body.size_bytes < least_bytes:
                raise EntityTooSmallError(
                    body.size_bytes, least_bytes, body.part_number, body.etag.hex()
                )
        return stored

    def _object_body(
        self,
        bucket: BucketBody,
        flags: int,
        upload: UploadBody,
        parts: Sequence[PartBody],
        now_ms: int,
    ) -> VersionBody:
        digests = b"".join(part.etag for part in parts)
        lock = NO_LOCK if upload.lock is None else rows.lock_of(upload.lock)
        return VersionBody(
            sum(part.size_bytes for part in parts),
            now_ms,
            hashlib.md5(digests, usedforsecurity=False).digest(),
            len(parts),
            rows.stored_class(upload.storage_class),
            upload.owner,
            rows.checksum_rows(self._checksums),
            upload.headers,
            upload.metadata,
            upload.tags,
            stored_id(flags),
            [],
            self._upload,
            new_lock(bucket, lock, now_ms, may_have_ended=True),
            upload.seal,
        )


def check_order(parts: Sequence[CompletedPart]) -> Sequence[CompletedPart]:
    """Raises unless there are 1 to 10,000 parts with ascending numbers."""
    if not 1 <= len(parts) <= MAX_PARTS:
        raise InvalidArgumentError(f"a completion names 1 to {MAX_PARTS} parts", "Part")
    for before, after in itertools.pairwise(parts):
        if before.part_number >= after.part_number:
            raise InvalidPartOrderError(
                f"part {after.part_number} comes after part {before.part_number}",
                "PartNumber",
                str(after.part_number),
            )
    return parts


def _agree(part: CompletedPart, body: PartBody) -> bool:
    """Whether the checksums named in the completion are those of the upload."""
    stored = {row.algorithm: row.value for row in body.checksums}
    return all(stored.get(c.algorithm) == c.value for c in part.checksums)


def manifests_of(parts: Iterable[PartBody]) -> list[ManifestBody]:
    """The parts in runs of a row each; empty parts have no bytes to find.

    Rows are told apart by where they begin: a run of empty parts alone goes on, or the next
    one would take its place.
    """
    manifests: list[ManifestBody] = []
    position = 0
    for part in parts:
        is_full = not manifests or len(manifests[-1].parts) >= _PARTS_A_MANIFEST
        if is_full and (not manifests or position > manifests[-1].start_byte):
            manifests.append(ManifestBody(position, []))
        entry = ManifestPart(
            part.part_number, part.size_bytes, part.etag, part.checksums, part.extents, part.salt
        )
        manifests[-1].parts.append(entry)
        position += part.size_bytes
    return manifests


def complete(
    core: Core,
    bucket: str,
    key: str,
    upload_id: str,
    parts: Sequence[CompletedPart],
    conditions: Conditions,
    checksums: Sequence[Checksum],
    customer_key: bytes,
) -> ObjectInfo:
    """See `ObjectStore.complete_upload`."""
    try:
        operation = CompleteUpload(
            core, bucket, key, upload_id, parts, conditions, checksums, customer_key
        )
        record = core.commit(operation)[0]
        return info_of(bucket, record, has_versions=operation.has_versions)
    except NoSuchUploadError:
        done = _completed(core, bucket, key, upload_id, parts, customer_key)
        if done is None:
            raise
        return done


def _completed(
    core: Core,
    bucket: str,
    key: str,
    upload_id: str,
    parts: Sequence[CompletedPart],
    customer_key: bytes,
) -> ObjectInfo | None:
    """The object that the upload was completed to by these parts, if a version still is that.

    Raises:
        StoreError: as `check_order`; the customer's key is not the upload's.
    """
    upload = decode_upload_id(upload_id)
    wanted = [(part.part_number, part.etag) for part in check_order(parts)]
    with core.index.read() as txn:
        found = core.bucket(txn, bucket)
        current = txn.get(keys.current(found.bucket_id, encode_key(key)))
        stored = [] if current is None else [current]
        if has_versions(found):
            prefix = keys.versions_prefix(found.bucket_id, encode_key(key))
            older = txn.page(prefix, keys.after(prefix), COMPLETED_VERSIONS_SEARCHED)
            stored += [row for _key, row in older]
        for row in stored:
            head, body = schema.unpack_head(row), schema.decode_version(schema.row_body(row))
            if not head.flags & FLAG_MANIFEST or body.upload_id != upload:
                continue
            if _part_names(txn, head.version_seq) != wanted:
                continue  # of other parts, or an append has made it longer
            if customer_key:
                encryption.check_customer_key(body.seal, customer_key)
            return rows.object_info(bucket, key, head, body, has_versions=has_versions(found))
    return None


def _part_names(txn: ReadTransaction, version_seq: int) -> list[tuple[int, str]]:
    prefix = keys.manifest_prefix(version_seq)
    return [
        (part.part_number, part.etag.hex())
        for _key, row in txn.scan(prefix, keys.after(prefix))
        for part in schema.decode_manifest(manifest_body(row)).parts
    ]
