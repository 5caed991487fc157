"""Frozen values that the engine takes and gives.  No storage, no HTTP.

Structs of msgspec, not dataclasses: a listing makes a thousand of them, and a
frozen dataclass takes eight times as long to make.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

EMPTY: Mapping[str, str] = MappingProxyType({})


class BucketInfo(msgspec.Struct, frozen=True, gc=False):
    """A bucket: name, creation time (ms since the epoch), region, owner's id."""

    name: str
    created_ms: int
    region: str = "us-east-1"
    owner: str = ""


class Checksum(msgspec.Struct, frozen=True, gc=False):
    """A digest of an object or part as S3 names it.

    `algorithm`: CRC32, CRC32C, CRC64NVME, SHA1, SHA256, SHA512, MD5, XXHASH64, XXHASH3 or
    XXHASH128.
    `value`: base64 of the big-endian digest; a composite one ends in ``-N``.
    `type`: FULL_OBJECT or COMPOSITE.
    """

    algorithm: str
    value: str
    type: str = "FULL_OBJECT"


class ObjectLock(msgspec.Struct, frozen=True, gc=False):
    """What keeps a version from being removed.

    `mode`: empty, GOVERNANCE (who may, can lift it) or COMPLIANCE (nobody can).
    `retain_until_ms`: until when, in milliseconds since the epoch.
    `legal_hold`: until somebody takes it off; None where nobody ever spoke of one.
    """

    mode: str = ""
    retain_until_ms: int = 0
    legal_hold: bool | None = None

    def __bool__(self) -> bool:
        """Whether there is anything to be said of it, if only that it was taken off."""
        return bool(self.mode) or self.legal_hold is not None


NO_LOCK = ObjectLock()


class DefaultRetention(msgspec.Struct, frozen=True, gc=False):
    """How long new versions of a bucket with object lock are kept: days, or years of 365.

    `mode`: as of `ObjectLock`; empty where versions are not locked by default.
    """

    mode: str = ""
    days: int = 0
    years: int = 0


class Encryption(msgspec.Struct, frozen=True, gc=False):
    """How an object is, or is to be, encrypted.  Keys are never in here.

    `algorithm`: empty for none, AES256, aws:kms, aws:kms:dsse, or SSE-C for a key that
    the customer keeps.  `key_id`: the ARN of a key of the key service, or for SSE-C the
    MD5 of the customer's key in base64.  `context`: encryption context as given.
    """

    algorithm: str = ""
    key_id: str = ""
    context: str = ""
    bucket_key: bool = False

    def __bool__(self) -> bool:
        return bool(self.algorithm)


NO_ENCRYPTION = Encryption()


class ObjectAttributes(msgspec.Struct, frozen=True, gc=False):
    """What a writer says of an object besides its bytes.

    `headers`: the standard headers that S3 stores, by lower-case name
    (content-type, cache-control, content-disposition, content-encoding,
    content-language, expires).
    `metadata`: user metadata, names lower-case and without ``x-amz-meta-``.
    `tags`: object tags.
    `lock`: object lock; without one, the bucket's default retention counts.
    `encryption`: without any, the bucket's default counts.
    """

    headers: Mapping[str, str] = EMPTY
    metadata: Mapping[str, str] = EMPTY
    tags: Mapping[str, str] = EMPTY
    storage_class: str = "STANDARD"
    owner: str = ""
    lock: ObjectLock = NO_LOCK
    encryption: Encryption = NO_ENCRYPTION


DEFAULT_ATTRIBUTES = ObjectAttributes()


class ObjectPart(msgspec.Struct, frozen=True, gc=False):
    """A part of a completed object: where its bytes are in it, and what they were sent with."""

    part_number: int
    start_byte: int
    size_bytes: int
    etag: str
    checksums: tuple[Checksum, ...] = ()


class ObjectInfo(msgspec.Struct, frozen=True, gc=False):
    """An object as stored.

    `etag`: hex MD5, or hex MD5 of the parts' MD5s and ``-N``; without quotes.
    `modified_ms`: milliseconds since the Unix epoch, UTC.
    `part_count`: 0 for an object that was put in one piece.
    `part`: the one that was asked for by its number.
    `has_versions`: whether the bucket's versioning is, or ever was, enabled: only then does
    `version_id` say anything.
    """

    bucket: str
    key: str
    size_bytes: int
    etag: str
    modified_ms: int
    attributes: ObjectAttributes = DEFAULT_ATTRIBUTES
    checksums: tuple[Checksum, ...] = ()
    part_count: int = 0
    version_id: str = "null"
    version_seq: int = 0
    part: ObjectPart | None = None
    has_versions: bool = False


class ByteRange(msgspec.Struct, frozen=True, gc=False):
    """A range as HTTP gives it: first and last byte inclusive, or a suffix.

    ``ByteRange(0, 99)`` the first hundred, ``ByteRange(500)`` from 500 on,
    ``ByteRange(suffix_bytes=100)`` the last hundred.
    """

    first: int = 0
    last: int | None = None
    suffix_bytes: int | None = None


class Conditions(msgspec.Struct, frozen=True, gc=False):
    """HTTP conditions; ETags without quotes, ``*`` for any; times in whole seconds.

    `if_match_size_bytes` and `if_match_modified_s` are S3's own, of a delete.
    """

    if_match: tuple[str, ...] = ()
    if_none_match: tuple[str, ...] = ()
    if_modified_since_s: int | None = None
    if_unmodified_since_s: int | None = None
    if_match_size_bytes: int | None = None
    if_match_modified_s: int | None = None

    def __bool__(self) -> bool:
        return self is not NO_CONDITIONS and self != NO_CONDITIONS


NO_CONDITIONS = Conditions()


class ListEntry(msgspec.Struct, frozen=True, gc=False):
    """One line of a listing."""

    key: str
    size_bytes: int
    etag: str
    modified_ms: int
    storage_class: str = "STANDARD"
    owner: str = ""
    checksum_algorithms: tuple[str, ...] = ()
    checksum_type: str = ""


class ListPage(msgspec.Struct, frozen=True, gc=False):
    """A page of a listing.

    `next_after`: pass as `start_after` for the next page; None at the end.  It
    is the last key or common prefix of this page.
    """

    entries: tuple[ListEntry, ...]
    common_prefixes: tuple[str, ...] = ()
    next_after: str | None = None


class VersionEntry(msgspec.Struct, frozen=True, gc=False):
    """One line of a listing of versions: an object's version, or a delete marker."""

    key: str
    version_id: str
    is_latest: bool
    is_delete_marker: bool
    size_bytes: int
    etag: str
    modified_ms: int
    storage_class: str = "STANDARD"
    owner: str = ""
    checksum_algorithms: tuple[str, ...] = ()
    checksum_type: str = ""


class VersionPage(msgspec.Struct, frozen=True, gc=False):
    """A page of versions, by key, newest first.

    `next_key`, `next_version_id`: the markers of the next page; None at the end.  After a
    common prefix, the version id is empty.
    """

    entries: tuple[VersionEntry, ...]
    common_prefixes: tuple[str, ...] = ()
    next_key: str | None = None
    next_version_id: str | None = None


class DeleteTarget(msgspec.Struct, frozen=True, gc=False):
    """What is to be deleted: a key, or with `version_id` one version of it for good."""

    key: str
    version_id: str = ""
    conditions: Conditions = NO_CONDITIONS


class DeleteResult(msgspec.Struct, frozen=True, gc=False):
    """What a delete did.  `existed`: whether there was anything to delete.

    `version_id`: of the version that was removed, or of the delete marker that was
    made; None where neither happened.  `delete_marker`: whether it is one.
    `error`: why this one of several was refused; nothing happened to it.
    """

    key: str
    existed: bool
    version_id: str | None = None
    delete_marker: bool = False
    error: Exception | None = None


class UploadInfo(msgspec.Struct, frozen=True, gc=False):
    """A multipart upload that is under way."""

    bucket: str
    key: str
    upload_id: str
    initiated_ms: int
    attributes: ObjectAttributes = DEFAULT_ATTRIBUTES
    checksum_algorithm: str = ""
    checksum_type: str = ""


class PartInfo(msgspec.Struct, frozen=True, gc=False):
    """An uploaded part; number 1-10,000."""

    part_number: int
    size_bytes: int
    etag: str
    modified_ms: int
    checksums: tuple[Checksum, ...] = ()


class CompletedPart(msgspec.Struct, frozen=True, gc=False):
    """A part as named in a completion; `etag` without quotes."""

    part_number: int
    etag: str
    checksums: tuple[Checksum, ...] = ()


class UploadPage(msgspec.Struct, frozen=True, gc=False):
    """A page of uploads, ordered by key and then by upload id.

    `next_key`, `next_upload_id`: the markers of the next page; None at the end.
    """

    uploads: tuple[UploadInfo, ...]
    common_prefixes: tuple[str, ...] = ()
    next_key: str | None = None
    next_upload_id: str | None = None


class PartPage(msgspec.Struct, frozen=True, gc=False):
    """A page of parts; `next_after` is the part number marker of the next page."""

    parts: tuple[PartInfo, ...]
    next_after: int | None = None
    upload: UploadInfo | None = None


class ObjectPartPage(msgspec.Struct, frozen=True, gc=False):
    """A page of an object's parts, by number.

    `next_after`: the part number marker of the next page; None at the end.
    """

    parts: tuple[ObjectPart, ...]
    next_after: int | None
    info: ObjectInfo
