"""Multipart uploads of the twin."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from objstore.errors import (
    EntityTooSmallError,
    InvalidArgumentError,
    InvalidPartError,
    InvalidPartOrderError,
    NoSuchUploadError,
)
from objstore.model import (
    DEFAULT_ATTRIBUTES,
    NO_CONDITIONS,
    ByteRange,
    Checksum,
    CompletedPart,
    Conditions,
    ObjectAttributes,
    ObjectInfo,
    PartInfo,
    PartPage,
    UploadInfo,
    UploadPage,
)
from tests.twin import encryption, rules
from tests.twin.objects import ObjectCalls
from tests.twin.state import Hasher, ModelStream, Part, Upload, Version

# `ObjectCalls.list` hides the built-in from annotations inside the class.
_Parts = list[Part]


def _known_of(source: Version, start: int, length: int) -> tuple[Checksum, ...]:
    """What an object says of a range that is all of it, or one of its parts."""
    known = [p.checksums for p in source.parts if (p.start_byte, p.size_bytes) == (start, length)]
    if not source.parts and length == source.info.size_bytes:
        known = [source.info.checksums]
    return tuple(c for c in (known[0] if known else ()) if c.type == "FULL_OBJECT")


class MultipartCalls(ObjectCalls):
    """As the engine's calls of that name."""

    def create_upload(
        self,
        bucket: str,
        key: str,
        *,
        attributes: ObjectAttributes = DEFAULT_ATTRIBUTES,
        checksum_algorithm: str = "",
        checksum_type: str = "",
        customer_key: bytes = b"",
    ) -> UploadInfo:
        found = self._bucket_for_write(bucket, key)
        how = encryption.wanted(found.encryption, attributes.encryption, customer_key)
        attributes = msgspec.structs.replace(attributes, encryption=how)
        # A lock that is not to be had is refused now, and made at the completion.
        rules.new_lock(found.retention, attributes.lock, self._now_ms())
        upload_id = self._new_id()
        info = UploadInfo(
            bucket, key, upload_id, self._now_ms(), attributes, checksum_algorithm, checksum_type
        )
        found.uploads[upload_id] = Upload(info)
        return info

    def head_upload(self, bucket: str, key: str, upload_id: str) -> UploadInfo:
        return self._upload(bucket, key, upload_id).info

    def open_part(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        part_number: int,
        *,
        size_bytes: int | None = None,
        hashers: Sequence[Hasher] = (),
        customer_key: bytes = b"",
    ) -> ModelStream[PartInfo]:
        rules.check_part_number(part_number)
        upload = self._upload(bucket, key, upload_id)
        encryption.check_key(upload.info.attributes.encryption, customer_key)

        def commit(body: bytes, checksums: tuple[Checksum, ...]) -> PartInfo:
            return self._store_part(bucket, key, upload_id, part_number, body, checksums)

        return ModelStream(commit, size_bytes, hashers)

    def _store_part(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        part_number: int,
        body: bytes,
        checksums: tuple[Checksum, ...],
    ) -> PartInfo:
        upload = self._upload(bucket, key, upload_id)
        etag = encryption.etag(upload.info.attributes.encryption, body)
        info = PartInfo(part_number, len(body), etag, self._now_ms(), checksums)
        upload.parts[part_number] = Part(info, body)
        return info

    def copy_part(
        self,
        source_bucket: str,
        source_key: str,
        bucket: str,
        key: str,
        upload_id: str,
        part_number: int,
        *,
        source_version_id: str = "",
        byte_range: ByteRange | None = None,
        source_conditions: Conditions = NO_CONDITIONS,
        checksum_algorithms: Sequence[str] = (),
        new_digest: Callable[[str], Any] | None = None,
        customer_key: bytes = b"",
        source_customer_key: bytes = b"",
    ) -> PartInfo:
        rules.check_part_number(part_number)
        upload = self._upload(bucket, key, upload_id)
        encryption.check_key(upload.info.attributes.encryption, customer_key)
        source = self._version(source_bucket, source_key, source_version_id)
        encryption.check_key(source.info.attributes.encryption, source_customer_key)
        rules.check_read(source_conditions, source.info)
        start, length = rules.resolve_range(byte_range, source.info.size_bytes)
        body = source.data[start : start + length]
        known = {c.algorithm: c for c in _known_of(source, start, length)}
        chosen = next((name for name in checksum_algorithms if name in known), None)
        checksums = (known[chosen],) if chosen else ()
        if not chosen and checksum_algorithms and new_digest is not None:
            running = new_digest(checksum_algorithms[0])
            running.update(body)
            value = base64.b64encode(running.digest()).decode("ascii")
            checksums = (Checksum(checksum_algorithms[0], value),)
        return self._store_part(bucket, key, upload_id, part_number, body, checksums)

    def list_parts(
        self, bucket: str, key: str, upload_id: str, *, after: int = 0, limit: int = 1000
    ) -> PartPage:
        upload = self._upload(bucket, key, upload_id)
        numbers = sorted(number for number in upload.parts if number > after)
        page = numbers[:limit]
        return PartPage(
            parts=tuple(upload.parts[number].info for number in page),
            next_after=page[-1] if page and len(numbers) > limit else None,
            upload=upload.info,
        )

    def list_uploads(
        self,
        bucket: str,
        *,
        prefix: str = "",
        delimiter: str = "",
        key_marker: str = "",
        upload_id_marker: str = "",
        limit: int = 1000,
    ) -> UploadPage:
        uploads = self._bucket(bucket).uploads
        # As in `list`: a row of (key, upload id) and (common prefix, "").
        rolled: set[tuple[bytes, str]] = set()
        for upload_id, upload in uploads.items():
            key = upload.info.key
            if key.startswith(prefix):
                item = rules.roll_up(key, prefix, delimiter)
                is_prefix = rules.is_rolled(key, prefix, delimiter)
                rolled.add((rules.utf8(item), "" if is_prefix else upload_id))
        row = sorted(item for item in rolled if _is_after(item, key_marker, upload_id_marker))
        page = row[:limit]
        more = len(row) > limit and bool(page)
        return UploadPage(
            uploads=tuple(uploads[upload_id].info for _, upload_id in page if upload_id),
            common_prefixes=tuple(key.decode("utf-8") for key, upload_id in page if not upload_id),
            next_key=page[-1][0].decode("utf-8") if more else None,
            next_upload_id=page[-1][1] if more else None,
        )

    def complete_upload(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        parts: Sequence[CompletedPart],
        *,
        conditions: Conditions = NO_CONDITIONS,
        checksums: tuple[Checksum, ...] = (),
        customer_key: bytes = b"",
    ) -> ObjectInfo:
        if not 1 <= len(parts) <= 10_000:
            raise InvalidArgumentError("a completion names 1 to 10,000 parts", "Part")
        found = self._bucket(bucket)
        try:
            upload = self._upload(bucket, key, upload_id)
        except NoSuchUploadError:
            wanted = [(part.part_number, part.etag) for part in parts]
            if wanted != sorted(wanted):
                raise InvalidPartOrderError("the parts do not ascend", "PartNumber") from None
            for version in found.keys.get(key, []):
                made_of = [(part.part_number, part.etag) for part in version.parts]
                if version.upload_id == upload_id and made_of == wanted:
                    if customer_key:
                        how = version.info.attributes.encryption
                        encryption.check_key(how, customer_key)
                    return found.shown(version.info)
            raise
        chosen = self._choose_parts(upload, parts)
        if customer_key:
            encryption.check_key(upload.info.attributes.encryption, customer_key)
        info = self._store(
            found,
            key,
            b"".join(part.data for part in chosen),
            upload.info.attributes,
            conditions,
            checksums,
            etag=rules.multipart_etag([part.info.etag for part in chosen]),
            parts=rules.placed([part.info for part in chosen]),
            is_resolved=True,
            upload_id=upload_id,
            lock_may_have_ended=True,
        )
        del found.uploads[upload_id]
        return info

    def abort_upload(self, bucket: str, key: str, upload_id: str) -> None:
        self._upload(bucket, key, upload_id)
        del self._buckets[bucket].uploads[upload_id]

    def _choose_parts(self, upload: Upload, parts: Sequence[CompletedPart]) -> _Parts:
        numbers = [part.part_number for part in parts]
        if numbers != sorted(set(numbers)):
            raise InvalidPartOrderError("the parts do not ascend", "PartNumber")
        for part in parts:
            stored = upload.parts.get(part.part_number)
            if stored is None or stored.info.etag != part.etag:
                raise InvalidPartError("no such part", "PartNumber", str(part.part_number))
            if not set(part.checksums) <= set(stored.info.checksums):
                raise InvalidPartError("another checksum", "PartNumber", str(part.part_number))
        chosen = [upload.parts[number] for number in numbers]
        least = self.config.min_part_bytes
        for stored in chosen[:-1]:
            if len(stored.data) < least:
                info = stored.info
                raise EntityTooSmallError(info.size_bytes, least, info.part_number, info.etag)
        return chosen


def _is_after(item: tuple[bytes, str], key_marker: str, upload_id_marker: str) -> bool:
    if upload_id_marker:
        return item > (rules.utf8(key_marker), upload_id_marker)
    return item[0] > rules.utf8(key_marker)
