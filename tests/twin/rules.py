"""S3's rules as pure functions, spelled out: names, ranges, conditions, listings, locks."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Sequence
from typing import BinaryIO

from objstore.config import MAX_KEY_BYTES
from objstore.errors import (
    InvalidArgumentError,
    InvalidRangeError,
    KeyTooLongError,
    NoObjectLockError,
    NoSuchKeyError,
    NoSuchVersionError,
    NotModifiedError,
    ObjectLockedError,
    PreconditionFailedError,
)
from objstore.model import (
    NO_LOCK,
    ByteRange,
    Conditions,
    DefaultRetention,
    ListEntry,
    ObjectInfo,
    ObjectLock,
    ObjectPart,
    PartInfo,
    VersionEntry,
)

Buffer = bytes | bytearray | memoryview

DAY_MS = 24 * 3600 * 1000
HEX_ID = re.compile(r"[0-9a-f]{32}")


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


def check_version_id(key: str, version_id: str) -> None:
    """An id is ``null`` or 32 characters; what is no number names nothing."""
    if version_id == "null" or HEX_ID.fullmatch(version_id):
        return
    if len(version_id) == 32:
        raise NoSuchVersionError(key, version_id)
    raise InvalidArgumentError("Invalid version id specified", "versionId", version_id)


# --- listings ------------------------------------------------------------------------


def roll_up(key: str, prefix: str, delimiter: str) -> str:
    """The common prefix that a key falls under, or the key itself."""
    if not is_rolled(key, prefix, delimiter):
        return key
    end = key.index(delimiter, len(prefix)) + len(delimiter)
    return key[:end]


def is_rolled(key: str, prefix: str, delimiter: str) -> bool:
    """Whether a key is listed as a common prefix; the prefix itself, listed again, is."""
    return delimiter != "" and delimiter in key[len(prefix) :]


def is_past_marker(key: str, prefix: str, delimiter: str, marker: str) -> bool:
    """Whether a key comes after `marker`, a key or common prefix, and after all it stands for."""
    if not marker:
        return True
    if delimiter and marker.startswith(prefix) and is_rolled(marker, prefix, delimiter):
        shown = roll_up(marker, prefix, delimiter)
        return utf8(key) > utf8(marker) and not key.startswith(shown)
    return utf8(key) > utf8(marker)


# --- ranges and conditions --------------------------------------------------------------


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


def check_key(key: str) -> None:
    """Whether an object can have this key."""
    if not key:
        raise InvalidArgumentError("the key is empty", "key")
    if len(utf8(key)) > MAX_KEY_BYTES:
        raise KeyTooLongError(f"the key has over {MAX_KEY_BYTES} bytes", "key", key)


def check_write(conditions: Conditions, existing: ObjectInfo | None, key: str) -> None:
    """Conditions of a write; If-Match on what does not exist is NoSuchKey, as in S3."""
    if conditions.if_match:
        if existing is None:
            raise NoSuchKeyError(key)
        if not _matches(conditions.if_match, existing):
            raise PreconditionFailedError("If-Match")
    if existing and conditions.if_none_match and _matches(conditions.if_none_match, existing):
        raise PreconditionFailedError("If-None-Match")


def check_delete(conditions: Conditions, existing: ObjectInfo, *, is_marker: bool = False) -> None:
    """Conditions of a delete of something that is there; a marker has neither ETag nor size."""
    if conditions.if_match and (is_marker or not _matches(conditions.if_match, existing)):
        raise PreconditionFailedError("If-Match")
    size_bytes = None if is_marker else existing.size_bytes
    if conditions.if_match_size_bytes not in (None, size_bytes):
        raise PreconditionFailedError("x-amz-if-match-size")
    if conditions.if_match_modified_s not in (None, existing.modified_ms // 1000):
        raise PreconditionFailedError("x-amz-if-match-last-modified-time")


def check_delete_of_nothing(conditions: Conditions, key: str, *, is_hidden: bool) -> None:
    """Conditions of a delete where no object is; `is_hidden` behind a marker."""
    if conditions.if_match:
        raise PreconditionFailedError("If-Match") if is_hidden else NoSuchKeyError(key)


def _matches(etags: tuple[str, ...], info: ObjectInfo) -> bool:
    return "*" in etags or info.etag in etags


# --- object lock --------------------------------------------------------------------------


def check_default_retention(default: DefaultRetention) -> None:
    """A mode with either days or years, a hundred years at most; or nothing at all."""
    if default == DefaultRetention():
        return
    spans = [span for span in (default.days, default.years) if span]
    is_one_span = len(spans) == 1 and spans[0] > 0
    if default.mode not in ("GOVERNANCE", "COMPLIANCE") or not is_one_span:
        raise InvalidArgumentError("not a default retention", "Mode")
    if default.days > 36_500 or default.years > 100:
        named = "Years" if default.years else "Days"
        raise InvalidArgumentError("Default retention period value is too large.", named)


def check_retention(mode: str, until_ms: int, now_ms: int) -> None:
    """A retention has one of two modes and ends in the future."""
    if mode not in ("GOVERNANCE", "COMPLIANCE") or until_ms <= now_ms:
        raise InvalidArgumentError("not a retention to come", "x-amz-object-lock-mode")


def new_lock(
    default: DefaultRetention | None,
    wanted: ObjectLock,
    now_ms: int,
    *,
    may_have_ended: bool = False,
) -> ObjectLock:
    """The lock of a new version; `default` is None where the bucket has no object lock.

    `may_have_ended`: of an upload, whose retention was to come when it began.
    """
    if default is None:
        if wanted:
            raise NoObjectLockError
        return NO_LOCK
    if wanted.mode:
        if not may_have_ended:
            check_retention(wanted.mode, wanted.retain_until_ms, now_ms)
        return wanted
    if not default.mode:
        return ObjectLock(legal_hold=wanted.legal_hold)
    until_ms = now_ms + (default.days + 365 * default.years) * DAY_MS
    return ObjectLock(default.mode, until_ms, wanted.legal_hold)


def is_retained(lock: ObjectLock, now_ms: int, *, bypass: bool) -> bool:
    """Whether retention, legal hold aside, keeps a version."""
    if not lock.mode or lock.retain_until_ms <= now_ms:
        return False
    return lock.mode == "COMPLIANCE" or not bypass


def check_removable(lock: ObjectLock, now_ms: int, *, bypass: bool) -> None:
    """Raises `ObjectLockedError` if the version has to stay."""
    if lock.legal_hold or is_retained(lock, now_ms, bypass=bypass):
        raise ObjectLockedError("Access Denied because object protected by object lock.")


def check_retention_change(
    old: ObjectLock, mode: str, until_ms: int, now_ms: int, *, bypass: bool
) -> None:
    """A retention that still runs may be made longer; another mode takes a bypass, too."""
    if mode:
        check_retention(mode, until_ms, now_ms)
    is_looser = mode != old.mode or until_ms < old.retain_until_ms
    if is_looser and is_retained(old, now_ms, bypass=bypass):
        raise ObjectLockedError("Access Denied because object protected by object lock.")


# --- parts and entries ----------------------------------------------------------------------


def multipart_etag(etags: Sequence[str]) -> str:
    """MD5 of the parts' MD5s, and their number."""
    digests = b"".join(bytes.fromhex(etag) for etag in etags)
    return f"{hashlib.md5(digests).hexdigest()}-{len(etags)}"


def placed(parts: Sequence[PartInfo]) -> tuple[ObjectPart, ...]:
    """Parts of an object: where each begins in it."""
    starts = [0, *itertools.accumulate(part.size_bytes for part in parts)]
    return tuple(
        ObjectPart(part.part_number, start, part.size_bytes, part.etag, part.checksums)
        for start, part in zip(starts, parts, strict=False)
    )


def list_entry(info: ObjectInfo) -> ListEntry:
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


def version_entry(info: ObjectInfo, *, is_latest: bool, is_marker: bool) -> VersionEntry:
    entry = list_entry(info)
    return VersionEntry(
        key=info.key,
        version_id=info.version_id,
        is_latest=is_latest,
        is_delete_marker=is_marker,
        size_bytes=entry.size_bytes,
        etag=entry.etag,
        modified_ms=entry.modified_ms,
        storage_class=entry.storage_class,
        owner=entry.owner,
        checksum_algorithms=entry.checksum_algorithms,
        checksum_type=entry.checksum_type,
    )


def check_part_number(part_number: int) -> None:
    if not 1 <= part_number <= 10_000:
        raise InvalidArgumentError("part numbers go from 1 to 10,000", "partNumber")


def collect(data: Buffer | BinaryIO | Iterable[Buffer]) -> bytes:
    """The bytes of a body, in whatever form it came."""
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    if hasattr(data, "read"):
        return bytes(data.read())
    return b"".join(bytes(piece) for piece in data)


def utf8(text: str) -> bytes:
    return text.encode("utf-8")
