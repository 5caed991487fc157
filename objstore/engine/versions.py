"""Version ids, and the look-up of one version of a key.

A version is named by its `version_seq`, the number of the record that first made it.
Its id carries that number, veiled by a hash that also knows the time: two stores that
share a past, such as a backup and what it was taken of, give the same number to different
objects, and must not take each other's ids for their own.
"""

from __future__ import annotations

import re
from struct import Struct

from xxhash import xxh3_64_intdigest

from objstore.errors import (
    InvalidArgumentError,
    IsDeleteMarkerError,
    NoSuchKeyError,
    NoSuchVersionError,
)
from objstore.index import keys, schema
from objstore.index.base import ReadTransaction
from objstore.index.schema import FLAG_DELETE_MARKER, FLAG_NULL, BucketBody, unpack_head

NULL = "null"
"""Id of the version of a key that was written while its bucket kept no versions."""

VERSIONING = "versioning"
ENABLED, SUSPENDED = b"Enabled", b"Suspended"
"""A bucket's setting, and what it can be besides absent."""

_SEED = 0x6F626A73746F7265
_NUMBERS = Struct("<QQ")
_ID = re.compile(r"[0-9a-f]{32}")
_ID_LENGTH = 32


def version_id(flags: int, version_seq: int, modified_ms: int) -> str:
    """The id of a version: ``null``, or 32 hexadecimal digits, as long as S3's."""
    if flags & FLAG_NULL:
        return NULL
    veil = xxh3_64_intdigest(_NUMBERS.pack(version_seq, modified_ms), _SEED)
    # Not formatted, which takes four times as long: listings make a thousand at a time.
    return (veil << 64 | version_seq ^ veil).to_bytes(16, "big").hex()


def parse_version_id(text: str) -> int | None:
    """The `version_seq` that an id names; None for the null version.

    Raises:
        InvalidArgumentError: no version can have this id.
    """
    if text == NULL:
        return None
    if not _ID.fullmatch(text):
        raise InvalidArgumentError("Invalid version id specified", "versionId", text)
    return int(text[:16], 16) ^ int(text[16:], 16)


def null_flag(bucket: BucketBody) -> int:
    """FLAG_NULL, unless the bucket keeps what is overwritten."""
    if not bucket.settings or bucket.settings.get(VERSIONING) != ENABLED:
        return FLAG_NULL
    return 0


def has_versions(bucket: BucketBody) -> bool:
    """Whether the bucket keeps versions, or did until that was suspended."""
    return VERSIONING in bucket.settings


def stored_id(flags: int) -> str:
    """What goes into the body of a version's record: only ``null`` is worth the bytes."""
    return NULL if flags & FLAG_NULL else ""


def row_version_id(row: bytes) -> str:
    """The version id of a row."""
    head = unpack_head(row)
    if head.flags & FLAG_NULL:
        return NULL
    modified_ms = schema.decode_listing(schema.row_body(row)).modified_ms
    return version_id(head.flags, head.version_seq, modified_ms)


def find_version(
    txn: ReadTransaction, bucket_id: int, key: bytes, wanted: str
) -> tuple[bytes, bytes]:
    """(key in the index, row) of a version, be it an object or a delete marker.

    Raises:
        InvalidArgumentError, NoSuchVersionError: there is no such version.
    """
    if len(wanted) == _ID_LENGTH and not _ID.fullmatch(wanted):
        raise NoSuchVersionError(key.decode(), wanted)  # another store's, such as S3's
    wanted_seq = parse_version_id(wanted)
    row_key = keys.current(bucket_id, key)
    row = txn.get(row_key)
    if row is not None and not _is_named(row, wanted_seq):
        row_key, row = _older(txn, bucket_id, key, wanted_seq)
    if row is None or (wanted_seq is not None and row_version_id(row) != wanted):
        raise NoSuchVersionError(key.decode(), wanted)
    return row_key, row


def seq_of_marker(
    txn: ReadTransaction, bucket_id: int, key: bytes, version_marker: str
) -> int | None:
    """Where in a key's versions, newest first, a listing stopped: what comes has less.

    The version may be gone by now, as it is for who deletes page by page: an id tells its
    place all the same.  None where that cannot be told, of a null version that is gone or
    of another store's id: all of the key is listed again, since that leaves out none.

    Raises:
        InvalidArgumentError: no version can have this id.
    """
    if version_marker != NULL:
        if len(version_marker) == _ID_LENGTH and not _ID.fullmatch(version_marker):
            return None
        return parse_version_id(version_marker) or None  # no record has the number 0
    row = txn.get(keys.current(bucket_id, key))
    if row is not None and _is_named(row, None):
        return unpack_head(row).version_seq
    position = txn.get(keys.null_position(bucket_id, key))
    return None if position is None else int.from_bytes(position, "big")


def _is_named(row: bytes, wanted_seq: int | None) -> bool:
    head = unpack_head(row)
    is_null = bool(head.flags & FLAG_NULL)
    return is_null if wanted_seq is None else not is_null and head.version_seq == wanted_seq


def _older(
    txn: ReadTransaction, bucket_id: int, key: bytes, wanted_seq: int | None
) -> tuple[bytes, bytes | None]:
    seq = wanted_seq
    if seq is None:
        position = txn.get(keys.null_position(bucket_id, key))
        if position is None:
            return b"", None
        seq = int.from_bytes(position, "big")
    row_key = keys.version(bucket_id, key, seq)
    row = txn.get(row_key)
    if row is not None and not _is_named(row, wanted_seq):
        row = None  # the null version is not to be had by its number
    return row_key, row


def find_object(
    txn: ReadTransaction, bucket: str, bucket_id: int, key: bytes, wanted: str
) -> bytes:
    """The row of the current object, or with `wanted`, a version id, of that version.

    Raises:
        NoSuchKeyError: there is none, or a delete marker is current.
        NoSuchVersionError, InvalidArgumentError: no such version.
        IsDeleteMarkerError: the version is a delete marker.
    """
    if not wanted:
        row = txn.get(keys.current(bucket_id, key))
        if row is None:
            raise NoSuchKeyError(f"bucket {bucket!r} has no object {key.decode()!r}")
        if row[schema.FLAGS_AT] & FLAG_DELETE_MARKER:
            raise NoSuchKeyError(
                f"the current version of {key.decode()!r} in bucket {bucket!r} is a delete marker",
                row_version_id(row),
            )
        return row
    _row_key, row = find_version(txn, bucket_id, key, wanted)
    if row[schema.FLAGS_AT] & FLAG_DELETE_MARKER:
        modified_ms = schema.decode_listing(schema.row_body(row)).modified_ms
        raise IsDeleteMarkerError(key.decode(), wanted, modified_ms)
    return row
