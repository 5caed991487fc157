"""Appending: the bytes become one more part of the object, and nothing else is written again.

An object of one piece becomes its own first part.  Where the present version is the null
one, and goes on to be, it grows in place: its record is written again, and with it the run
of parts at its end, so that an append costs the same however many parts there are.  Where
the bucket keeps versions, a new version is made, which shares the parts with the old one.

Whether the offset is the object's size is decided in the commit, under the writer lock: of
several who append at one offset, one has done so and the others see the new size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from blockdev import Buffer
from objstore.cause import Ask, present_cause
from objstore.config import MAX_OBJECT_BYTES, MAX_PARTS, MAX_PUT_BYTES
from objstore.engine import append_base, encryption, rows
from objstore.engine.append_base import Base, Target, check_append
from objstore.engine.apply import manifest_body
from objstore.engine.body_stream import BodyStream
from objstore.engine.core import Core, decided_bucket, encode_key
from objstore.engine.locks import new_lock
from objstore.engine.operation import Decision
from objstore.engine.part_digests import Digest
from objstore.engine.payload import VersionChangedError
from objstore.engine.put import PutObject, attributes_bound_bytes, info_of
from objstore.engine.space import FOR_WRITES
from objstore.engine.telling import CREATED_PUT
from objstore.engine.versions import has_versions, null_flag, stored_id
from objstore.errors import EntityTooLargeError, NotAppendableError, TooManyPartsError
from objstore.index import keys, schema
from objstore.index.base import ReadTransaction
from objstore.index.schema import (
    FLAG_MANIFEST,
    FLAG_NULL,
    BucketBody,
    Head,
    ManifestBody,
    ManifestPart,
    SealRow,
    VersionBody,
    unpack_head,
)
from objstore.log import format as log
from objstore.log.format import Record
from objstore.model import Checksum, Conditions, ObjectAttributes, ObjectInfo

_RUN_PARTS = 32
"""Parts in a row of the index: each append writes the last row again."""

_SLACK_BYTES = 1024 + encryption.SEAL_BOUND_BYTES
_PART_BOUND_BYTES = 96
_EXTENT_BOUND_BYTES = 48
_CHECKSUM_BOUND_BYTES = 160


class AppendObject:
    """Make `part` the last part of the present object, or an object of it if there is none."""

    leaves_segments = FOR_WRITES
    event = CREATED_PUT

    def __init__(
        self,
        core: Core,
        target: Target,
        part: ManifestPart,
        base: Base,
        seal: SealRow | None,
        cause: Ask | None = None,
    ) -> None:
        self.cause = cause
        self._core, self._target, self._part, self._base = core, target, part, base
        self._creation = PutObject(
            core,
            target.bucket,
            target.key,
            part.size_bytes,
            part.etag,
            target.attributes,
            target.conditions,
            rows.checksums_of(part.checksums),
            b"",
            0,
            part.extents,
            seal=None if seal is None else msgspec.structs.replace(seal, salt=part.salt),
            is_resolved=True,
        )
        self.digest: Digest = base.digest.copy()
        self.digest.update(part.etag)
        self.part_count = 1
        self.has_versions = False
        self.size_bound_bytes = self._bound()

    def _bound(self) -> int:
        extents = len(self._part.extents) + len(self._base.extents)
        checksums = len(self._part.checksums) + len(self._base.checksums)
        part_bytes = 2 * _PART_BOUND_BYTES + _EXTENT_BOUND_BYTES * extents
        part_bytes += 2 * _CHECKSUM_BOUND_BYTES * checksums
        attributes_bytes = attributes_bound_bytes(self._target.attributes)
        return _SLACK_BYTES + part_bytes + attributes_bytes + self._base.record_bytes

    def decide(self, decision: Decision) -> Sequence[Record]:
        target = self._target
        bucket = decided_bucket(self._core, decision, target.bucket)
        row = append_base.current_row(decision.txn, bucket.bucket_id, target.key)
        check_append(target, row)
        self.has_versions = has_versions(bucket)
        if not self._base.still_is(row):
            raise VersionChangedError
        if row is None:
            return self._creation.decide(decision)
        records = self._grown(decision, bucket, row)
        if sum(record.stored_bytes for record in records) > self.size_bound_bytes:
            raise VersionChangedError  # compaction has split extents meanwhile
        return records

    def _grown(self, decision: Decision, bucket: BucketBody, row: bytes) -> Sequence[Record]:
        head, body = unpack_head(row), schema.decode_version(schema.row_body(row))
        run = self._last_run(decision.txn, head, body)
        runs = self._with_part(run, body.size_bytes)
        self.part_count = max(body.etag_parts, len(run.parts)) + 1
        null = null_flag(bucket)
        version_seq = head.version_seq
        if not (null and head.flags & FLAG_NULL):
            version_seq = decision.next_lsn
            if head.flags & FLAG_MANIFEST:
                runs = [*self._runs_before(decision.txn, head, runs[0].start_byte), *runs]
        grown = self._new_body(bucket, null, body, decision.now_ms)
        if grown.size_bytes > MAX_OBJECT_BYTES:
            raise EntityTooLargeError(grown.size_bytes, MAX_OBJECT_BYTES)
        bucket_id, key = bucket.bucket_id, self._target.key
        flags = null | FLAG_MANIFEST
        # The version first: it lets go of its extents, then the parts take them over.
        version = Record(log.VERSION, bucket_id, key, schema.encode(grown), version_seq, flags)
        return [
            version,
            *(
                Record(log.MANIFEST, bucket_id, key, schema.encode(each), version_seq)
                for each in runs
            ),
        ]

    def _last_run(self, txn: ReadTransaction, head: Head, body: VersionBody) -> ManifestBody:
        """The parts at the object's end; of an object of one piece, itself."""
        if head.flags & FLAG_MANIFEST:
            prefix = keys.manifest_prefix(head.version_seq)
            last = txn.last(prefix, keys.after(prefix))
            if last is not None:
                return schema.decode_manifest(manifest_body(last[1]))
        if not body.size_bytes:
            return ManifestBody(0, [])
        extents = body.extents or self._base.extents
        salt = b"" if body.seal is None else body.seal.salt
        whole = ManifestPart(1, body.size_bytes, body.etag, body.checksums, extents, salt)
        return ManifestBody(0, [whole])

    def _with_part(self, run: ManifestBody, size_bytes: int) -> list[ManifestBody]:
        """The last run and the new part; where the run is full, a next one with the part alone."""
        number = run.parts[-1].part_number + 1 if run.parts else 1
        if number > MAX_PARTS:
            raise TooManyPartsError(f"the object has a part {MAX_PARTS} already")
        part = msgspec.structs.replace(self._part, part_number=number)
        # Runs are told apart by where they begin: behind empty parts alone, none can.
        if len(run.parts) < _RUN_PARTS or run.start_byte == size_bytes:
            return [ManifestBody(run.start_byte, [*run.parts, part])]
        return [ManifestBody(size_bytes, [part])]

    def _runs_before(self, txn: ReadTransaction, head: Head, start_byte: int) -> list[ManifestBody]:
        """The runs of the old version that its heir shares as they are."""
        stop = keys.manifest(head.version_seq, start_byte)
        prefix = keys.manifest_prefix(head.version_seq)
        return [schema.decode_manifest(manifest_body(row)) for _key, row in txn.scan(prefix, stop)]

    def _new_body(
        self, bucket: BucketBody, null: int, body: VersionBody, now_ms: int
    ) -> VersionBody:
        return msgspec.structs.replace(
            body,
            size_bytes=body.size_bytes + self._part.size_bytes,
            modified_ms=now_ms,
            etag=self.digest.digest(),
            etag_parts=self.part_count,
            checksums=self._base.checksums,
            version_id=stored_id(null),
            extents=[],
            lock=new_lock(bucket, self._target.attributes.lock, now_ms),
        )


class AppendStream(BodyStream):
    """An append under way; see `ObjectStore.open_append`."""

    limit_bytes = MAX_PUT_BYTES

    def __init__(
        self,
        core: Core,
        bucket: str,
        key: str,
        offset_bytes: int,
        size_bytes: int | None,
        attributes: ObjectAttributes,
        conditions: Conditions,
        hashers: Sequence[Callable[[Buffer], object]],
        customer_key: bytes = b"",
    ) -> None:
        name = encode_key(key)
        self._cause = present_cause()
        self._target = Target(bucket, name, offset_bytes, attributes, conditions, customer_key)
        if offset_bytes < 0:
            raise NotAppendableError("an object does not begin before its first byte")
        with core.index.read() as txn:
            found = core.bucket(txn, bucket)
            row = append_base.current_row(txn, found.bucket_id, name)
        check_append(self._target, row)  # again in the commit; now, before the bytes come
        self._seal, stream_key = append_base.seal_for(core, found, self._target, row)
        self._crcs = append_base.running_crcs(row)
        updates = [crc.update for crc in self._crcs.values()]
        # Always in extents, however few: parts of an object share them later.
        super().__init__(core, size_bytes, [*hashers, *updates], 0, stream_key)

    def commit(self, *, checksums: tuple[Checksum, ...] = ()) -> ObjectInfo:
        """Make the bytes the end of the object; durable on return.

        Args:
            checksums: digests of the bytes appended, which the caller has verified.

        Raises:
            AppendOffsetError: the object's size is another than the offset by now.
            StoreError: as `ObjectStore.open_append`; the bytes are given up.
        """
        try:
            self.finish()
            if not self.size_bytes:
                raise NotAppendableError(
                    "Request body cannot be empty when 'write offset' is specified."
                )
            record, has_versions = self._grow(checksums)
        finally:
            self.abort()
        return info_of(self._target.bucket, record, has_versions=has_versions)

    def _grow(self, checksums: tuple[Checksum, ...]) -> tuple[Record, bool]:
        """Prepare and commit; again whenever the object has changed in between.

        Returns:
            The version's record, and whether its bucket has versions.
        """
        part = ManifestPart(
            1,
            self.size_bytes,
            encryption.etag_of(self._core, self._seal, self.md5),
            append_base.part_checksums(checksums, self._crcs),
            self._durable_extents(),
            self._salt,
        )
        while True:
            base = append_base.prepare(self._core, self._target, part, checksums, self._seal)
            is_doubtful = False
            try:
                operation = AppendObject(
                    self._core, self._target, part, base, self._seal, self._cause
                )
                self._is_doubtful = is_doubtful = True
                record = self._core.commit(operation)[0]
                self._is_doubtful = is_doubtful = False
            except VersionChangedError:
                self._is_doubtful = is_doubtful = False
                continue
            finally:
                base.settle(is_doubtful=is_doubtful)
            if record.flags & FLAG_MANIFEST:
                digests = self._core.part_digests
                digests.note(record.version_seq, operation.part_count, operation.digest)
            return record, operation.has_versions
