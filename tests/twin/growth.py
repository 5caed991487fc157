"""Appends and renames of the twin."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import BinaryIO

import msgspec

from objstore.crc import CRCS, new_crc
from objstore.engine.conditions import check_target
from objstore.errors import (
    AppendOffsetError,
    EncryptionMismatchError,
    NotAppendableError,
    NotModifiedError,
    PreconditionFailedError,
    RenameToItselfError,
    TokenReusedError,
    TooManyPartsError,
)
from objstore.model import (
    DEFAULT_ATTRIBUTES,
    NO_CONDITIONS,
    NO_LOCK,
    Checksum,
    Conditions,
    DeleteTarget,
    ObjectAttributes,
    ObjectInfo,
    ObjectPart,
    PartInfo,
)
from tests.twin import encryption, rules
from tests.twin.objects import ObjectCalls
from tests.twin.rules import Buffer
from tests.twin.state import Bucket, Hasher, ModelStream, Version

_MAX_PARTS = 10_000


class GrowthCalls(ObjectCalls):
    """As the engine's calls of that name."""

    def append(
        self,
        bucket: str,
        key: str,
        data: Buffer | BinaryIO | Iterable[Buffer],
        offset_bytes: int,
        *,
        attributes: ObjectAttributes = DEFAULT_ATTRIBUTES,
        conditions: Conditions = NO_CONDITIONS,
        checksums: tuple[Checksum, ...] = (),
        customer_key: bytes = b"",
    ) -> ObjectInfo:
        stream = self.open_append(
            bucket,
            key,
            offset_bytes,
            attributes=attributes,
            conditions=conditions,
            customer_key=customer_key,
        )
        stream.write(rules.collect(data))
        return stream.commit(checksums=checksums)

    def open_append(
        self,
        bucket: str,
        key: str,
        offset_bytes: int,
        *,
        size_bytes: int | None = None,
        attributes: ObjectAttributes = DEFAULT_ATTRIBUTES,
        conditions: Conditions = NO_CONDITIONS,
        hashers: Sequence[Hasher] = (),
        customer_key: bytes = b"",
    ) -> ModelStream[ObjectInfo]:
        found = self._bucket_for_write(bucket, key)
        if offset_bytes < 0:
            raise NotAppendableError("before the first byte")
        current = found.current(key)
        _check(current, key, offset_bytes, attributes, conditions)
        if current is not None:
            had = current.info.attributes.encryption
            asked = attributes.encryption
            if asked and asked.algorithm != had.algorithm:
                raise EncryptionMismatchError
            encryption.check_key(had, customer_key)

        def commit(body: bytes, checksums: tuple[Checksum, ...]) -> ObjectInfo:
            if not body:
                raise NotAppendableError("no bytes")
            now = found.current(key)
            _check(now, key, offset_bytes, attributes, conditions)
            if now is None:
                return self._store(
                    found,
                    key,
                    body,
                    attributes,
                    NO_CONDITIONS,
                    checksums,
                    customer_key=customer_key,
                )
            return self._grow(found, now, body, attributes, checksums)

        return ModelStream(commit, size_bytes, hashers)

    def _grow(
        self,
        bucket: Bucket,
        current: Version,
        body: bytes,
        attributes: ObjectAttributes,
        given: tuple[Checksum, ...],
    ) -> ObjectInfo:
        old = current.info
        whole = current.data + body
        own = _own_checksums(old, body, given)
        etag = encryption.etag(old.attributes.encryption, body)
        added = PartInfo(_next_number(current), len(body), etag, 0, own)
        parts = rules.placed([*_parts(current), added])
        now_ms = self._now_ms()
        lock = rules.new_lock(bucket.retention, attributes.lock, now_ms)
        info = msgspec.structs.replace(
            old,
            size_bytes=len(whole),
            etag=rules.multipart_etag([part.etag for part in parts]),
            part_count=len(parts),
            modified_ms=now_ms,
            checksums=_grown_checksums(old, whole, own, given),
            attributes=msgspec.structs.replace(old.attributes, lock=lock),
            version_id=self._new_version_id(bucket),
        )
        upload_id, renamed_by = current.upload_id, current.renamed_by
        bucket.add(Version(info, whole, parts, upload_id=upload_id, renamed_by=renamed_by))
        return bucket.shown(info)

    def rename(
        self,
        bucket: str,
        source_key: str,
        key: str,
        *,
        source_conditions: Conditions = NO_CONDITIONS,
        conditions: Conditions = NO_CONDITIONS,
        owner: str = "",
        client_token: str = "",
    ) -> ObjectInfo:
        if source_key == key:
            raise RenameToItselfError("onto itself")
        for name in (source_key, key):
            rules.check_key(name)
        found = self._bucket(bucket)
        said = repr((client_token, source_key, key, source_conditions, conditions))
        target = found.current(key)
        if client_token and target is not None and target.renamed_by:
            token, how = target.renamed_by
            if token == client_token:
                if how != said:
                    raise TokenReusedError("another request")
                return found.shown(target.info)
        source = self._version(bucket, source_key)
        try:
            rules.check_read(source_conditions, source.info)
        except NotModifiedError as error:
            raise PreconditionFailedError(error.condition) from None
        check_target(conditions, None if target is None else target.info)
        info = msgspec.structs.replace(
            source.info,
            key=key,
            version_id=self._new_version_id(found),
            attributes=msgspec.structs.replace(
                source.info.attributes,
                lock=rules.new_lock(found.retention, NO_LOCK, self._now_ms()),
            ),
        )
        self._delete(found, DeleteTarget(source_key), owner, False)
        found.add(Version(info, source.data, source.parts, renamed_by=(client_token, said)))
        return found.shown(info)


def _check(
    current: Version | None,
    key: str,
    offset_bytes: int,
    attributes: ObjectAttributes,
    conditions: Conditions,
) -> None:
    info = None if current is None else current.info
    rules.check_write(conditions, info, key)
    size_bytes = 0 if info is None else info.size_bytes
    if size_bytes != offset_bytes:
        raise AppendOffsetError(offset_bytes, size_bytes)
    if info is None:
        return
    if attributes.metadata or attributes.tags or attributes.headers.keys() - {"content-type"}:
        raise NotAppendableError("what only the making of an object can say")
    if attributes.storage_class not in ("STANDARD", info.attributes.storage_class):
        raise NotAppendableError("another storage class")
    if info.part_count >= _MAX_PARTS:
        raise TooManyPartsError("no more parts")


def _parts(version: Version) -> list[PartInfo]:
    if version.parts:
        return [_as_part(part) for part in version.parts]
    info = version.info
    return [PartInfo(1, info.size_bytes, info.etag, 0, info.checksums)] if info.size_bytes else []


def _as_part(part: ObjectPart) -> PartInfo:
    return PartInfo(part.part_number, part.size_bytes, part.etag, 0, part.checksums)


def _next_number(version: Version) -> int:
    parts = _parts(version)
    return parts[-1].part_number + 1 if parts else 1


def _crc(algorithm: str, data: bytes) -> Checksum:
    running = new_crc(algorithm)
    running.update(data)
    return Checksum(algorithm, base64.b64encode(running.digest()).decode("ascii"))


def _own_checksums(
    old: ObjectInfo, body: bytes, given: tuple[Checksum, ...]
) -> tuple[Checksum, ...]:
    """Those of the bytes appended: the client's, and the CRCs that the object has."""
    names = {checksum.algorithm for checksum in given}
    wanted = [c.algorithm for c in old.checksums if c.algorithm in CRCS]
    return given + tuple(_crc(name, body) for name in wanted if name not in names)


def _grown_checksums(
    old: ObjectInfo, whole: bytes, own: tuple[Checksum, ...], given: tuple[Checksum, ...]
) -> tuple[Checksum, ...]:
    if not old.size_bytes:
        return own
    names = [checksum.algorithm for checksum in old.checksums]
    if any(name not in CRCS for name in names):
        raise NotAppendableError("a checksum that cannot go on")
    if names and any(checksum.algorithm not in names for checksum in given):
        raise NotAppendableError("another checksum")
    return tuple(_crc(name, whole) for name in names)
