"""Objects of the twin: writing, reading, deleting, copying and listing them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, BinaryIO

import msgspec

from objstore.errors import DigestRequiredError, NoSuchPartError, NoSuchVersionError, StoreError
from objstore.model import (
    DEFAULT_ATTRIBUTES,
    NO_CONDITIONS,
    NO_LOCK,
    ByteRange,
    Checksum,
    Conditions,
    DeleteResult,
    DeleteTarget,
    ListPage,
    ObjectAttributes,
    ObjectInfo,
    ObjectPart,
    ObjectPartPage,
)
from tests.twin import encryption, rules
from tests.twin.rules import Buffer
from tests.twin.state import Bucket, Hasher, ModelReader, ModelStream, State, Version

# `ObjectCalls.list` hides the built-in from annotations inside the class.
_Deletes = list[DeleteResult]


class ObjectCalls(State):
    """As the engine's calls of that name."""

    is_being_written = False

    def commit_held(self) -> None:
        """Nothing is ever held."""

    # --- writing ----------------------------------------------------------------------

    def put(
        self,
        bucket: str,
        key: str,
        data: Buffer | BinaryIO | Iterable[Buffer],
        *,
        attributes: ObjectAttributes = DEFAULT_ATTRIBUTES,
        conditions: Conditions = NO_CONDITIONS,
        checksums: tuple[Checksum, ...] = (),
        customer_key: bytes = b"",
        has_digest: bool = True,
    ) -> ObjectInfo:
        body = rules.collect(data)
        found = self._bucket_for_write(bucket, key)
        return self._store(
            found,
            key,
            body,
            attributes,
            conditions,
            checksums,
            customer_key=customer_key,
            has_digest=has_digest,
        )

    def submit_put(
        self,
        bucket: str,
        key: str,
        body: Buffer,
        done: Callable[[ObjectInfo | None, BaseException | None], None],
        *,
        md5: bytes | None = None,
        hold: bool = False,
        **options: Any,
    ) -> None:
        try:
            info = self.put(bucket, key, body, **options)
        except Exception as error:
            done(None, error)
        else:
            done(info, None)

    def open_put(
        self,
        bucket: str,
        key: str,
        *,
        size_bytes: int | None = None,
        attributes: ObjectAttributes = DEFAULT_ATTRIBUTES,
        conditions: Conditions = NO_CONDITIONS,
        hashers: Sequence[Hasher] = (),
        customer_key: bytes = b"",
        has_digest: bool = True,
    ) -> ModelStream[ObjectInfo]:
        target = self._bucket_for_write(bucket, key)
        if not has_digest and target.retention is not None and target.retention.mode:
            raise DigestRequiredError("no digest")
        default = target.encryption
        how = encryption.wanted(default, attributes.encryption, customer_key)
        resolved = msgspec.structs.replace(attributes, encryption=how)

        def commit(body: bytes, checksums: tuple[Checksum, ...]) -> ObjectInfo:
            found = self._bucket(bucket)
            return self._store(
                found,
                key,
                body,
                resolved,
                conditions,
                checksums,
                customer_key=customer_key,
                is_resolved=True,
                has_digest=has_digest,
            )

        return ModelStream(commit, size_bytes, hashers)

    def _store(
        self,
        bucket: Bucket,
        key: str,
        body: bytes,
        attributes: ObjectAttributes,
        conditions: Conditions,
        checksums: tuple[Checksum, ...],
        *,
        customer_key: bytes = b"",
        is_resolved: bool = False,
        etag: str = "",
        parts: tuple[ObjectPart, ...] = (),
        upload_id: str = "",
        lock_may_have_ended: bool = False,
        has_digest: bool = True,
    ) -> ObjectInfo:
        """Make a version current, if conditions and lock allow it."""
        existing = bucket.current(key)
        rules.check_write(conditions, existing.info if existing else None, key)
        now_ms = self._now_ms()
        lock = rules.new_lock(
            bucket.retention, attributes.lock, now_ms, may_have_ended=lock_may_have_ended
        )
        if lock.mode and not has_digest:
            raise DigestRequiredError("no digest")
        how = attributes.encryption
        if not is_resolved:
            how = encryption.wanted(bucket.encryption, how, customer_key)
        info = ObjectInfo(
            bucket=bucket.info.name,
            key=key,
            size_bytes=len(body),
            etag=etag or encryption.etag(how, body),
            modified_ms=now_ms,
            attributes=msgspec.structs.replace(attributes, lock=lock, encryption=how),
            checksums=checksums,
            part_count=len(parts),
            version_id=self._new_version_id(bucket),
        )
        bucket.add(Version(info, body, parts, upload_id=upload_id))
        return bucket.shown(info)

    def _new_version_id(self, bucket: Bucket) -> str:
        return self._new_id() if bucket.versioning == "Enabled" else "null"

    # --- reading ----------------------------------------------------------------------

    def head(
        self,
        bucket: str,
        key: str,
        *,
        version_id: str = "",
        part_number: int = 0,
        conditions: Conditions = NO_CONDITIONS,
        customer_key: bytes | None = b"",
    ) -> ObjectInfo:
        found = self._version(bucket, key, version_id)
        encryption.check_key(found.info.attributes.encryption, customer_key)
        rules.check_read(conditions, found.info)
        info = self._bucket(bucket).shown(found.info)
        if not part_number:
            return info
        return msgspec.structs.replace(info, part=_part_of(found, part_number))

    def get(
        self,
        bucket: str,
        key: str,
        *,
        byte_range: ByteRange | None = None,
        version_id: str = "",
        part_number: int = 0,
        conditions: Conditions = NO_CONDITIONS,
        customer_key: bytes = b"",
    ) -> ModelReader:
        info = self.head(
            bucket,
            key,
            version_id=version_id,
            part_number=part_number,
            conditions=conditions,
            customer_key=customer_key,
        )
        if info.part is not None:
            start, length = info.part.start_byte, info.part.size_bytes
        else:
            start, length = rules.resolve_range(byte_range, info.size_bytes)
        data = self._version(bucket, key, version_id).data
        return ModelReader(info, data, start, length, self.config.io_bytes)

    def list_object_parts(
        self,
        bucket: str,
        key: str,
        *,
        version_id: str = "",
        after: int = 0,
        limit: int = 1000,
        conditions: Conditions = NO_CONDITIONS,
    ) -> ObjectPartPage:
        found = self._version(bucket, key, version_id)
        rules.check_read(conditions, found.info)
        left = [part for part in found.parts if part.part_number > after]
        page = tuple(left[:limit])
        next_after = page[-1].part_number if page and len(left) > limit else None
        return ObjectPartPage(page, next_after, self._bucket(bucket).shown(found.info))

    def object_part_at(
        self, bucket: str, key: str, start_byte: int, *, version_id: str = ""
    ) -> ObjectPartPage:
        found = self._version(bucket, key, version_id)
        parts = tuple(part for part in found.parts if part.start_byte == start_byte)
        return ObjectPartPage(parts, None, self._bucket(bucket).shown(found.info))

    def list(
        self,
        bucket: str,
        *,
        prefix: str = "",
        delimiter: str = "",
        start_after: str = "",
        limit: int = 1000,
    ) -> ListPage:
        found = self._bucket(bucket)
        objects = [key for key in found.keys if found.current(key) is not None]
        # A listing is a sorted row of keys and common prefixes; a page is what comes
        # after `start_after` in it.
        rolled = {rules.roll_up(key, prefix, delimiter) for key in objects if _has(key, prefix)}
        row = sorted(rules.utf8(item) for item in rolled if _is_after(item, start_after))
        page = [item.decode("utf-8") for item in row[:limit]]
        prefixes = {item for item in page if rules.is_rolled(item, prefix, delimiter)}
        return ListPage(
            entries=tuple(
                rules.list_entry(found.keys[item][0].info) for item in page if item not in prefixes
            ),
            common_prefixes=tuple(item for item in page if item in prefixes),
            next_after=page[-1] if page and len(row) > limit else None,
        )

    # --- deleting ---------------------------------------------------------------------

    def delete(
        self,
        bucket: str,
        key: str,
        *,
        version_id: str = "",
        conditions: Conditions = NO_CONDITIONS,
        owner: str = "",
        bypass_governance: bool = False,
    ) -> DeleteResult:
        target = DeleteTarget(key, version_id, conditions)
        return self._delete(self._bucket(bucket), target, owner, bypass_governance)

    def submit_delete(
        self,
        bucket: str,
        key: str,
        done: Callable[[DeleteResult | None, BaseException | None], None],
        *,
        hold: bool = False,
        **options: Any,
    ) -> None:
        try:
            result = self.delete(bucket, key, **options)
        except Exception as error:
            done(None, error)
        else:
            done(result, None)

    def delete_many(
        self,
        bucket: str,
        targets: Sequence[str | DeleteTarget],
        *,
        owner: str = "",
        bypass_governance: bool = False,
    ) -> _Deletes:
        found = self._bucket(bucket)
        results: _Deletes = []
        for each in targets:
            target = DeleteTarget(each) if isinstance(each, str) else each
            try:
                results.append(self._delete(found, target, owner, bypass_governance))
            except StoreError as error:
                named = target.version_id or None
                results.append(DeleteResult(target.key, False, named, False, error))
        return results

    def _delete(
        self, bucket: Bucket, target: DeleteTarget, owner: str, bypass: bool
    ) -> DeleteResult:
        if target.version_id:
            return self._delete_version(bucket, target, bypass)
        key = target.key
        current = bucket.current(key)
        if target.conditions:
            if current is None:
                is_hidden = key in bucket.keys
                rules.check_delete_of_nothing(target.conditions, key, is_hidden=is_hidden)
                return DeleteResult(key, False)
            rules.check_delete(target.conditions, current.info)
        if not bucket.versioning:
            return DeleteResult(key, bucket.remove(key, "null") is not None)
        marker = ObjectInfo(
            bucket=bucket.info.name,
            key=key,
            size_bytes=0,
            etag="",
            modified_ms=self._now_ms(),
            attributes=ObjectAttributes(owner=owner),
            version_id=self._new_version_id(bucket),
        )
        bucket.add(Version(marker, is_marker=True))
        return DeleteResult(key, True, marker.version_id, True)

    def _delete_version(self, bucket: Bucket, target: DeleteTarget, bypass: bool) -> DeleteResult:
        key, version_id = target.key, target.version_id
        try:
            found = bucket.find(key, version_id)
        except NoSuchVersionError:
            found = None
        if found is None:
            if target.conditions.if_match:
                raise NoSuchVersionError(key, version_id)
            return DeleteResult(key, False, version_id)
        rules.check_delete(target.conditions, found.info, is_marker=found.is_marker)
        rules.check_removable(found.info.attributes.lock, self._now_ms(), bypass=bypass)
        bucket.remove(key, version_id)
        return DeleteResult(key, True, version_id, found.is_marker)

    # --- copying ----------------------------------------------------------------------

    def copy(
        self,
        source_bucket: str,
        source_key: str,
        bucket: str,
        key: str,
        *,
        source_version_id: str = "",
        attributes: ObjectAttributes | None = None,
        source_conditions: Conditions = NO_CONDITIONS,
        conditions: Conditions = NO_CONDITIONS,
        checksums: tuple[Checksum, ...] | None = None,
        customer_key: bytes = b"",
        source_customer_key: bytes = b"",
    ) -> ObjectInfo:
        source = self._version(source_bucket, source_key, source_version_id)
        old = source.info.attributes.encryption
        encryption.check_key(old, source_customer_key)
        rules.check_read(source_conditions, source.info)
        found = self._bucket_for_write(bucket, key)
        if attributes is None:
            attributes = msgspec.structs.replace(source.info.attributes, lock=NO_LOCK)
            if old.algorithm == "SSE-C":
                customer_key = customer_key or source_customer_key
        how = encryption.wanted(found.encryption, attributes.encryption, customer_key)
        is_whole = encryption.keeps_parts(old, how) or not source.parts
        etag = source.info.etag
        if not source.parts or not is_whole:
            etag = encryption.etag(how, source.data)
        if checksums is None:
            checksums = source.info.checksums
        return self._store(
            found,
            key,
            source.data,
            msgspec.structs.replace(attributes, encryption=how),
            conditions,
            checksums if is_whole else tuple(c for c in checksums if c.type != "COMPOSITE"),
            customer_key=customer_key,
            is_resolved=True,
            etag=etag,
            parts=source.parts if is_whole else (),
        )


def _has(key: str, prefix: str) -> bool:
    return key.startswith(prefix)


def _is_after(item: str, start_after: str) -> bool:
    return rules.utf8(item) > rules.utf8(start_after)


def _part_of(found: Version, number: int) -> ObjectPart:
    info = found.info
    whole = ObjectPart(1, 0, info.size_bytes, info.etag, info.checksums)
    for part in found.parts or (whole,):
        if part.part_number == number:
            return part
    raise NoSuchPartError(number, len(found.parts) or 1)
