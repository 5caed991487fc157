"""The engine's public API over plain dicts: naive, slow, and obviously right.

The model that the real engine is tested against, and a stand-in for it where a test is
about something else.  No durability, no concurrency, no bounds beyond S3's own.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Generic, TypeVar

import msgspec

from blockdev.clock import Clock, SystemClock
from objstore.config import MAX_KEY_BYTES, StoreConfig
from objstore.entropy import Entropy, SystemEntropy
from objstore.errors import (
    BucketExistsError,
    BucketNotEmptyError,
    EntityTooSmallError,
    IncompleteBodyError,
    InvalidArgumentError,
    InvalidBucketNameError,
    InvalidPartError,
    InvalidPartOrderError,
    InvalidRangeError,
    KeyTooLongError,
    NoSuchBucketError,
    NoSuchKeyError,
    NoSuchPartError,
    NoSuchUploadError,
    NoSuchVersionError,
    NotModifiedError,
    PreconditionFailedError,
)
from objstore.model import (
    DEFAULT_ATTRIBUTES,
    NO_CONDITIONS,
    BucketInfo,
    ByteRange,
    Checksum,
    CompletedPart,
    Conditions,
    DeleteResult,
    DeleteTarget,
    ListEntry,
    ListPage,
    ObjectAttributes,
    ObjectInfo,
    ObjectPart,
    ObjectPartPage,
    PartInfo,
    PartPage,
    UploadInfo,
    UploadPage,
)

Buffer = bytes | bytearray | memoryview
Hasher = Callable[[Buffer], object]
Info = TypeVar("Info", ObjectInfo, PartInfo)


@dataclass
class _Object:
    info: ObjectInfo
    data: bytes
    parts: tuple[ObjectPart, ...] = ()


@dataclass
class _Part:
    info: PartInfo
    data: bytes


@dataclass
class _Upload:
    info: UploadInfo
    parts: dict[int, _Part] = field(default_factory=dict)


# `ModelStore.list` hides the built-in from annotations inside the class.
_Parts = list[_Part]
_Buckets = list[BucketInfo]
_Deletes = list[DeleteResult]


@dataclass
class _Bucket:
    info: BucketInfo
    objects: dict[str, _Object] = field(default_factory=dict)
    uploads: dict[str, _Upload] = field(default_factory=dict)
    # upload id → what it was completed with, and what came of it
    completed: dict[str, tuple[str, tuple[CompletedPart, ...], ObjectInfo]] = field(
        default_factory=dict
    )


class ModelReader:
    """An open read of an object as it was when `get` was called."""

    def __init__(self, info: ObjectInfo, data: bytes, start: int, length: int, piece: int) -> None:
        self.info = info
        self.start_byte = start
        self.length_bytes = length
        self._left = data[start : start + length]
        self._piece = piece

    def try_next(self) -> bytes | memoryview | None:
        return self.next()

    def next(self) -> bytes | memoryview:
        piece, self._left = self._left[: self._piece], self._left[self._piece :]
        return piece

    def read(self) -> bytes:
        left, self._left = self._left, b""
        return left

    def __iter__(self) -> Iterator[bytes | memoryview]:
        while piece := self.next():
            yield piece

    def close(self) -> None:
        self._left = b""

    def __enter__(self) -> ModelReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class ModelStream(Generic[Info]):
    """`PutStream` and `PartStream`: collects, then hands everything to `commit`."""

    def __init__(
        self,
        commit: Callable[[bytes, tuple[Checksum, ...]], Info],
        size_bytes: int | None,
        hashers: Sequence[Hasher],
    ) -> None:
        self._commit: Callable[[bytes, tuple[Checksum, ...]], Info] = commit
        self._declared = size_bytes
        self._hashers = hashers
        self._pieces: list[bytes] = []
        self._closed = False

    def write(self, data: Buffer, done: Callable[[], object] | None = None) -> None:
        self._pieces.append(bytes(data))
        for hasher in self._hashers:
            hasher(data)
        if done is not None:
            done()

    def finish(self) -> None:
        if self._declared is not None and self._declared != self.size_bytes:
            raise IncompleteBodyError(f"{self.size_bytes} bytes came, {self._declared} declared")

    @property
    def size_bytes(self) -> int:
        return sum(len(piece) for piece in self._pieces)

    @property
    def md5(self) -> bytes:
        return hashlib.md5(b"".join(self._pieces)).digest()

    def commit(self, *, checksums: tuple[Checksum, ...] = ()) -> Info:
        self.finish()
        self._closed = True
        return self._commit(b"".join(self._pieces), checksums)

    def abort(self) -> None:
        self._closed = True
        self._pieces.clear()

    def __enter__(self) -> ModelStream[Info]:
        return self

    def __exit__(self, *exc: object) -> None:
        if not self._closed:
            self.abort()


class ModelStore:
    """See the engine's `ObjectStore`, whose signatures, results and errors these are."""

    def __init__(
        self,
        *,
        config: StoreConfig | None = None,
        clock: Clock | None = None,
        entropy: Entropy | None = None,
        create_buckets: bool = True,
    ) -> None:
        self.config = config or StoreConfig()
        self.clock: Clock = clock or SystemClock()
        self.entropy: Entropy = entropy or SystemEntropy()
        self._create_buckets = create_buckets
        self._buckets: dict[str, _Bucket] = {}

    @classmethod
    def open(cls, path: str | os.PathLike[str], **options: Any) -> ModelStore:
        options.pop("device", None)
        return cls(**options)

    def close(self) -> None:
        """Nothing to close."""

    def __enter__(self) -> ModelStore:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # buckets

    def create_bucket(
        self, bucket: str, *, region: str = "us-east-1", owner: str = ""
    ) -> BucketInfo:
        if not is_bucket_name(bucket):
            raise InvalidBucketNameError("not a bucket name", "bucket", bucket)
        if bucket in self._buckets:
            raise BucketExistsError(bucket)
        info = BucketInfo(bucket, self._now_ms(), region, owner)
        self._buckets[bucket] = _Bucket(info)
        return info

    def head_bucket(self, bucket: str) -> BucketInfo:
        return self._bucket(bucket).info

    def list_buckets(
        self, *, prefix: str = "", start_after: str = "", limit: int = 10_000
    ) -> _Buckets:
        names = sorted(n for n in self._buckets if n.startswith(prefix) and n > start_after)
        return [self._buckets[name].info for name in names[:limit]]

    def delete_bucket(self, bucket: str) -> None:
        found = self._bucket(bucket)
        if found.objects or found.uploads:
            raise BucketNotEmptyError(bucket)
        del self._buckets[bucket]

    # objects

    def put(
        self,
        bucket: str,
        key: str,
        data: Buffer | BinaryIO | Iterable[Buffer],
        *,
        attributes: ObjectAttributes = DEFAULT_ATTRIBUTES,
        conditions: Conditions = NO_CONDITIONS,
        checksums: tuple[Checksum, ...] = (),
    ) -> ObjectInfo:
        body = _collect(data)
        found = self._bucket_for_write(bucket, key)
        return self._store(found, key, body, attributes, conditions, checksums)

    def submit_put(
        self,
        bucket: str,
        key: str,
        body: Buffer,
        done: Callable[[ObjectInfo | None, BaseException | None], None],
        *,
        attributes: ObjectAttributes = DEFAULT_ATTRIBUTES,
        conditions: Conditions = NO_CONDITIONS,
        checksums: tuple[Checksum, ...] = (),
        md5: bytes | None = None,
        hold: bool = False,
    ) -> None:
        try:
            info = self.put(
                bucket,
                key,
                body,
                attributes=attributes,
                conditions=conditions,
                checksums=checksums,
            )
        except Exception as error:
            done(None, error)
        else:
            done(info, None)

    def submit_delete(
        self,
        bucket: str,
        key: str,
        done: Callable[[DeleteResult | None, BaseException | None], None],
        *,
        version_id: str = "",
        conditions: Conditions = NO_CONDITIONS,
        owner: str = "",
        bypass_governance: bool = False,
        hold: bool = False,
    ) -> None:
        try:
            result = self.delete(bucket, key, version_id=version_id, conditions=conditions)
        except Exception as error:
            done(None, error)
        else:
            done(result, None)

    is_being_written = False

    def commit_held(self) -> None:
        """Nothing is ever held."""

    def open_put(
        self,
        bucket: str,
        key: str,
        *,
        size_bytes: int | None = None,
        attributes: ObjectAttributes = DEFAULT_ATTRIBUTES,
        conditions: Conditions = NO_CONDITIONS,
        hashers: Sequence[Hasher] = (),
    ) -> ModelStream[ObjectInfo]:
        self._bucket_for_write(bucket, key)

        def commit(body: bytes, checksums: tuple[Checksum, ...]) -> ObjectInfo:
            found = self._bucket(bucket)
            return self._store(found, key, body, attributes, conditions, checksums)

        return ModelStream(commit, size_bytes, hashers)

    def head(
        self,
        bucket: str,
        key: str,
        *,
        version_id: str = "",
        part_number: int = 0,
        conditions: Conditions = NO_CONDITIONS,
    ) -> ObjectInfo:
        found = self._object(bucket, key, version_id)
        check_read(conditions, found.info)
        if not part_number:
            return found.info
        return msgspec.structs.replace(found.info, part=_part_of(found, part_number))

    def get(
        self,
        bucket: str,
        key: str,
        *,
        byte_range: ByteRange | None = None,
        version_id: str = "",
        part_number: int = 0,
        conditions: Conditions = NO_CONDITIONS,
    ) -> ModelReader:
        info = self.head(
            bucket, key, version_id=version_id, part_number=part_number, conditions=conditions
        )
        if info.part is not None:
            start, length = info.part.start_byte, info.part.size_bytes
        else:
            start, length = resolve_range(byte_range, info.size_bytes)
        data = self._object(bucket, key, version_id).data
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
        found = self._object(bucket, key, version_id)
        check_read(conditions, found.info)
        left = [part for part in found.parts if part.part_number > after]
        page = tuple(left[:limit])
        next_after = page[-1].part_number if page and len(left) > limit else None
        return ObjectPartPage(page, next_after, found.info)

    def object_part_at(
        self, bucket: str, key: str, start_byte: int, *, version_id: str = ""
    ) -> ObjectPartPage:
        found = self._object(bucket, key, version_id)
        parts = tuple(part for part in found.parts if part.start_byte == start_byte)
        return ObjectPartPage(parts, None, found.info)

    def delete(
        self,
        bucket: str,
        key: str,
        *,
        version_id: str = "",
        conditions: Conditions = NO_CONDITIONS,
    ) -> DeleteResult:
        objects = self._bucket(bucket).objects
        found = objects.get(key)
        if found is not None:
            _check_delete(conditions, found.info)
        if version_id not in ("", "null"):
            return DeleteResult(key, False, version_id)
        return DeleteResult(key, objects.pop(key, None) is not None, version_id or None)

    def delete_many(
        self,
        bucket: str,
        targets: Sequence[str | DeleteTarget],
        *,
        owner: str = "",
        bypass_governance: bool = False,
    ) -> _Deletes:
        self._bucket(bucket)
        named = [DeleteTarget(each) if isinstance(each, str) else each for each in targets]
        return [self._delete_one(bucket, each) for each in named]

    def _delete_one(self, bucket: str, target: DeleteTarget) -> DeleteResult:
        try:
            return self.delete(
                bucket, target.key, version_id=target.version_id, conditions=target.conditions
            )
        except PreconditionFailedError as error:
            return DeleteResult(target.key, False, target.version_id or None, False, error)

    def versioning(self, bucket: str) -> str:
        """A bucket of the twin keeps no versions."""
        self._bucket(bucket)
        return ""

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
    ) -> ObjectInfo:
        source = self._object(source_bucket, source_key, source_version_id)
        check_read(source_conditions, source.info)
        found = self._bucket_for_write(bucket, key)
        if attributes is None:
            attributes = source.info.attributes
        if checksums is None:
            checksums = source.info.checksums
        return self._store(
            found,
            key,
            source.data,
            attributes,
            conditions,
            checksums,
            etag=source.info.etag,
            parts=source.parts,
        )

    def list(
        self,
        bucket: str,
        *,
        prefix: str = "",
        delimiter: str = "",
        start_after: str = "",
        limit: int = 1000,
    ) -> ListPage:
        objects = self._bucket(bucket).objects
        # A listing is a sorted row of keys and common prefixes; a page is what comes
        # after `start_after` in it.
        rolled = {roll_up(key, prefix, delimiter) for key in objects if key.startswith(prefix)}
        row = sorted(_utf8(item) for item in rolled if _utf8(item) > _utf8(start_after))
        page = [item.decode("utf-8") for item in row[:limit]]
        prefixes = {item for item in page if is_rolled(item, prefix, delimiter)}
        return ListPage(
            entries=tuple(_entry(objects[item].info) for item in page if item not in prefixes),
            common_prefixes=tuple(item for item in page if item in prefixes),
            next_after=page[-1] if page and len(row) > limit else None,
        )

    # multipart

    def create_upload(
        self,
        bucket: str,
        key: str,
        *,
        attributes: ObjectAttributes = DEFAULT_ATTRIBUTES,
        checksum_algorithm: str = "",
        checksum_type: str = "",
    ) -> UploadInfo:
        found = self._bucket_for_write(bucket, key)
        upload_id = self.entropy.token_bytes(16).hex()
        info = UploadInfo(
            bucket, key, upload_id, self._now_ms(), attributes, checksum_algorithm, checksum_type
        )
        found.uploads[upload_id] = _Upload(info)
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
    ) -> ModelStream[PartInfo]:
        self._upload(bucket, key, upload_id)
        _check_part_number(part_number)

        def commit(body: bytes, checksums: tuple[Checksum, ...]) -> PartInfo:
            return self._store_part(bucket, key, upload_id, part_number, body, checksums)

        return ModelStream(commit, size_bytes, hashers)

    def copy_part(
        self,
        source_bucket: str,
        source_key: str,
        bucket: str,
        key: str,
        upload_id: str,
        part_number: int,
        *,
        byte_range: ByteRange | None = None,
        source_conditions: Conditions = NO_CONDITIONS,
    ) -> PartInfo:
        self._upload(bucket, key, upload_id)
        _check_part_number(part_number)
        source = self._object(source_bucket, source_key)
        check_read(source_conditions, source.info)
        start, length = resolve_range(byte_range, source.info.size_bytes)
        body = source.data[start : start + length]
        return self._store_part(bucket, key, upload_id, part_number, body, ())

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
                item = roll_up(key, prefix, delimiter)
                is_prefix = is_rolled(key, prefix, delimiter)
                rolled.add((_utf8(item), "" if is_prefix else upload_id))
        row = sorted(item for item in rolled if _after(item, key_marker, upload_id_marker))
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
    ) -> ObjectInfo:
        found = self._bucket(bucket)
        if upload_id in found.completed:
            done_key, done_parts, info = found.completed[upload_id]
            now = found.objects.get(key)
            is_there = now is not None and now.info is info
            if done_key == key and is_there and _same_parts(done_parts, parts):
                return info
        upload = self._upload(bucket, key, upload_id)
        chosen = self._choose_parts(upload, parts)
        digests = b"".join(bytes.fromhex(part.info.etag) for part in chosen)
        info = self._store(
            found,
            key,
            b"".join(part.data for part in chosen),
            upload.info.attributes,
            conditions,
            checksums,
            etag=f"{hashlib.md5(digests).hexdigest()}-{len(chosen)}",
            parts=_placed(chosen),
        )
        del found.uploads[upload_id]
        found.completed[upload_id] = (key, tuple(parts), info)
        return info

    def abort_upload(self, bucket: str, key: str, upload_id: str) -> None:
        self._upload(bucket, key, upload_id)
        del self._buckets[bucket].uploads[upload_id]

    # within

    def _now_ms(self) -> int:
        return self.clock.now_ns() // 1_000_000

    def _bucket(self, bucket: str) -> _Bucket:
        if bucket not in self._buckets:
            raise NoSuchBucketError(bucket)
        return self._buckets[bucket]

    def _bucket_for_write(self, bucket: str, key: str) -> _Bucket:
        if not key:
            raise InvalidArgumentError("the key is empty", "key")
        if len(_utf8(key)) > MAX_KEY_BYTES:
            raise KeyTooLongError(f"the key has over {MAX_KEY_BYTES} bytes", "key", key)
        if self._create_buckets and bucket not in self._buckets:
            self.create_bucket(bucket)
        return self._bucket(bucket)

    def _object(self, bucket: str, key: str, version_id: str = "") -> _Object:
        objects = self._bucket(bucket).objects
        if version_id not in ("", "null"):
            raise NoSuchVersionError(key, version_id)
        if key not in objects:
            raise NoSuchVersionError(key, version_id) if version_id else NoSuchKeyError(key)
        return objects[key]

    def _store(
        self,
        bucket: _Bucket,
        key: str,
        body: bytes,
        attributes: ObjectAttributes,
        conditions: Conditions,
        checksums: tuple[Checksum, ...],
        *,
        etag: str = "",
        parts: tuple[ObjectPart, ...] = (),
    ) -> ObjectInfo:
        existing = bucket.objects.get(key)
        check_write(conditions, existing.info if existing else None, key)
        info = ObjectInfo(
            bucket=bucket.info.name,
            key=key,
            size_bytes=len(body),
            etag=etag or hashlib.md5(body).hexdigest(),
            modified_ms=self._now_ms(),
            attributes=attributes,
            checksums=checksums,
            part_count=len(parts),
        )
        bucket.objects[key] = _Object(info, body, parts)
        return info

    def _upload(self, bucket: str, key: str, upload_id: str) -> _Upload:
        uploads = self._bucket(bucket).uploads
        if upload_id not in uploads or uploads[upload_id].info.key != key:
            raise NoSuchUploadError(upload_id)
        return uploads[upload_id]

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
        etag = hashlib.md5(body).hexdigest()
        info = PartInfo(part_number, len(body), etag, self._now_ms(), checksums)
        upload.parts[part_number] = _Part(info, body)
        return info

    def _choose_parts(self, upload: _Upload, parts: Sequence[CompletedPart]) -> _Parts:
        if not parts:
            raise InvalidPartError("no parts", "PartNumber", "")
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


def is_bucket_name(name: str) -> bool:
    """The rules of InvalidBucketNameError, spelled out."""
    allowed = set("abcdefghijklmnopqrstuvwxyz0123456789.-")
    if not 3 <= len(name) <= 63 or not set(name) <= allowed:
        return False
    if not (name[0].isalnum() and name[-1].isalnum()) or ".." in name:
        return False
    if name.startswith(("xn--", "sthree-", "amzn-s3-demo-")):
        return False
    if name.endswith(("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")):
        return False
    octets = name.split(".")
    return not (len(octets) == 4 and all(octet.isdigit() for octet in octets))


def roll_up(key: str, prefix: str, delimiter: str) -> str:
    """The common prefix that a key falls under, or the key itself."""
    if not is_rolled(key, prefix, delimiter):
        return key
    end = key.index(delimiter, len(prefix)) + len(delimiter)
    return key[:end]


def is_rolled(key: str, prefix: str, delimiter: str) -> bool:
    """Whether a key is listed as a common prefix; the prefix itself, listed again, is."""
    return delimiter != "" and delimiter in key[len(prefix) :]


def resolve_range(byte_range: ByteRange | None, size_bytes: int) -> tuple[int, int]:
    """First byte and length of a range in an object of `size_bytes`."""
    if byte_range is None:
        return 0, size_bytes
    if byte_range.suffix_bytes is not None:
        length = min(byte_range.suffix_bytes, size_bytes)
        if length == 0:
            raise InvalidRangeError(size_bytes)
        return size_bytes - length, length
    if byte_range.first >= size_bytes:
        raise InvalidRangeError(size_bytes)
    last = size_bytes - 1 if byte_range.last is None else min(byte_range.last, size_bytes - 1)
    return byte_range.first, last - byte_range.first + 1


def check_read(conditions: Conditions, info: ObjectInfo) -> None:
    """RFC 9110 section 13.2.2; times compare in whole seconds."""
    modified_s = info.modified_ms // 1000
    since, unmodified = conditions.if_modified_since_s, conditions.if_unmodified_since_s
    if conditions.if_match:
        if not _matches(conditions.if_match, info):
            raise PreconditionFailedError("If-Match")
    elif unmodified is not None and modified_s > unmodified:
        raise PreconditionFailedError("If-Unmodified-Since")
    if conditions.if_none_match:
        if _matches(conditions.if_none_match, info):
            raise NotModifiedError("If-None-Match", info)
    elif since is not None and modified_s <= since:
        raise NotModifiedError("If-Modified-Since", info)


def check_write(conditions: Conditions, existing: ObjectInfo | None, key: str) -> None:
    """Conditions of a write; If-Match on what does not exist is NoSuchKey, as in S3."""
    if conditions.if_match:
        if existing is None:
            raise NoSuchKeyError(key)
        if not _matches(conditions.if_match, existing):
            raise PreconditionFailedError("If-Match")
    if existing and conditions.if_none_match and _matches(conditions.if_none_match, existing):
        raise PreconditionFailedError("If-None-Match")


def _matches(etags: tuple[str, ...], info: ObjectInfo) -> bool:
    return "*" in etags or info.etag in etags


def _placed(parts: Sequence[_Part]) -> tuple[ObjectPart, ...]:
    """Parts of an object: where each begins in it."""
    starts = [0, *itertools.accumulate(part.info.size_bytes for part in parts)]
    return tuple(
        ObjectPart(
            part.info.part_number, start, part.info.size_bytes, part.info.etag, part.info.checksums
        )
        for start, part in zip(starts, parts, strict=False)
    )


def _part_of(found: _Object, number: int) -> ObjectPart:
    info = found.info
    whole = ObjectPart(1, 0, info.size_bytes, info.etag, info.checksums)
    for part in found.parts or (whole,):
        if part.part_number == number:
            return part
    raise NoSuchPartError(number, len(found.parts) or 1)


def _entry(info: ObjectInfo) -> ListEntry:
    return ListEntry(
        key=info.key,
        size_bytes=info.size_bytes,
        etag=info.etag,
        modified_ms=info.modified_ms,
        storage_class=info.attributes.storage_class,
        owner=info.attributes.owner,
        checksum_algorithms=tuple(checksum.algorithm for checksum in info.checksums),
        checksum_type=info.checksums[0].type if info.checksums else "",
    )


def _after(item: tuple[bytes, str], key_marker: str, upload_id_marker: str) -> bool:
    if upload_id_marker:
        return item > (_utf8(key_marker), upload_id_marker)
    return item[0] > _utf8(key_marker)


def _same_parts(done: Sequence[CompletedPart], parts: Sequence[CompletedPart]) -> bool:
    def stripped(row: Sequence[CompletedPart]) -> list[CompletedPart]:
        return [msgspec.structs.replace(part, checksums=()) for part in row]

    return stripped(done) == stripped(parts)


def _check_part_number(part_number: int) -> None:
    if not 1 <= part_number <= 10_000:
        raise InvalidArgumentError("part numbers go from 1 to 10,000", "partNumber")


def _collect(data: Buffer | BinaryIO | Iterable[Buffer]) -> bytes:
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    if hasattr(data, "read"):
        return bytes(data.read())
    return b"".join(bytes(piece) for piece in data)


def _utf8(text: str) -> bytes:
    return text.encode("utf-8")


def _check_delete(conditions: Conditions, info: ObjectInfo) -> None:
    """The conditions of a delete, against what is there."""
    wanted = conditions.if_match
    if wanted and "*" not in wanted and info.etag not in wanted:
        raise PreconditionFailedError("If-Match")
    if conditions.if_match_size_bytes not in (None, info.size_bytes):
        raise PreconditionFailedError("x-amz-if-match-size")
    if conditions.if_match_modified_s not in (None, info.modified_ms // 1000):
        raise PreconditionFailedError("x-amz-if-match-last-modified-time")
