"""Reading objects: every byte is checked before anybody sees it.

A small object is one read from the log.  Between the look-up and the read its
segment may have been compacted and used again; the checksum shows it, and the
look-up is repeated.  Larger objects are read over a longer time: their reader
pins the segments, so that what was looked up stays where it is.
"""

from __future__ import annotations

from blockdev import DeviceError
from objstore.engine import encryption, rows, sealed_get, versions
from objstore.engine.apply import manifest_body
from objstore.engine.conditions import check_read
from objstore.engine.core import Core, encode_key, tail_of
from objstore.engine.reader import (
    LazyPayload,
    ObjectReader,
    check_payload_size,
    device_read_failure,
    payload_corruption,
    payload_is_whole,
)
from objstore.errors import InvalidRangeError
from objstore.index import keys, schema
from objstore.index.base import ReadTransaction
from objstore.index.schema import (
    FLAG_EXTENTS,
    FLAG_MANIFEST,
    Extent,
    Head,
    VersionBody,
)
from objstore.model import ByteRange, Conditions, ObjectInfo


def find(
    core: Core, txn: ReadTransaction, bucket: str, key: str, version_id: str
) -> tuple[bytes, bool]:
    """The index row of the current object, or of the version named; if the bucket has versions.

    Raises:
        NoSuchBucketError, NoSuchKeyError, NoSuchVersionError: there is no such thing.
        IsDeleteMarkerError: the version is a delete marker.
    """
    body = core.bucket(txn, bucket)
    row = versions.find_object(txn, bucket, body.bucket_id, encode_key(key), version_id)
    return row, versions.has_versions(body)


def find_row(core: Core, txn: ReadTransaction, bucket: str, key: str, version_id: str) -> bytes:
    """The row alone; see `find`."""
    return find(core, txn, bucket, key, version_id)[0]


def head(
    core: Core,
    bucket: str,
    key: str,
    conditions: Conditions,
    version_id: str = "",
    customer_key: bytes | None = b"",
) -> ObjectInfo:
    """See `ObjectStore.head`."""
    with core.index.read() as txn:
        row, has_versions = find(core, txn, bucket, key, version_id)
    head, body = schema.unpack_head(row), schema.decode_version(schema.row_body(row))
    if customer_key is not None and (body.seal is not None or customer_key):
        encryption.check_customer_key(body.seal, customer_key)
    info = rows.object_info(bucket, key, head, body, has_versions=has_versions)
    if conditions:
        check_read(conditions, info)
    return info


def resolve_range(byte_range: ByteRange | None, size_bytes: int) -> tuple[int, int]:
    """(first byte, length) of a range in an object.

    Raises:
        InvalidRangeError: it starts past the end, or is an empty suffix.
    """
    if byte_range is None:
        return 0, size_bytes
    if byte_range.suffix_bytes is not None:
        length_bytes = min(byte_range.suffix_bytes, size_bytes)
        if not length_bytes:
            raise InvalidRangeError(size_bytes)
        return size_bytes - length_bytes, length_bytes
    if byte_range.first >= size_bytes:
        raise InvalidRangeError(size_bytes)
    last = size_bytes - 1 if byte_range.last is None else min(byte_range.last, size_bytes - 1)
    return byte_range.first, last - byte_range.first + 1


def get(
    core: Core,
    bucket: str,
    key: str,
    byte_range: ByteRange | None,
    conditions: Conditions,
    version_id: str = "",
    customer_key: bytes = b"",
) -> ObjectReader:
    """Open an object for reading; see `ObjectStore.get`."""
    while True:
        with core.index.read() as txn:
            row, has_versions = find(core, txn, bucket, key, version_id)
        head = schema.unpack_head(row)
        if head.flags & (FLAG_EXTENTS | FLAG_MANIFEST):
            return _open_pinned(core, bucket, key, byte_range, conditions, version_id, customer_key)
        body = schema.decode_version(schema.row_body(row))
        if body.seal is not None or customer_key:
            encryption.check_customer_key(body.seal, customer_key)
        info = rows.object_info(bucket, key, head, body, has_versions=has_versions)
        if conditions:
            check_read(conditions, info)
        start, length = resolve_range(byte_range, info.size_bytes)
        if head.payload_bytes != body.size_bytes or body.seal is not None:
            check_payload_size(bucket, key, head, body)
        payload = bytearray(head.payload_bytes)
        try:
            is_read = core.device.try_read_into(head.payload_offset, payload)
        except DeviceError as error:
            raise device_read_failure(error) from error
        if not is_read:
            return _open_pinned(core, bucket, key, byte_range, conditions, version_id, customer_key)
        if payload_is_whole(head, payload):
            if body.seal is not None:
                return sealed_get.open_payload(
                    core, info, body, start, length, payload, customer_key
                )
            return ObjectReader(core, info, start, length, payload)
        with core.index.read() as txn:
            if find_row(core, txn, bucket, key, version_id) == row:
                raise payload_corruption(bucket, key, head)


def _open_pinned(
    core: Core,
    bucket: str,
    key: str,
    byte_range: ByteRange | None,
    conditions: Conditions,
    version_id: str,
    customer_key: bytes,
) -> ObjectReader:
    """A reader whose segments are not used again before it is closed."""
    with core.index.read() as txn:
        pin = tail_of(txn).next_seq
    core.slots.pin(pin)
    try:
        with core.index.read() as txn:  # from here on: what is found was alive after the pin
            row, has_versions = find(core, txn, bucket, key, version_id)
            head, body = schema.unpack_head(row), schema.decode_version(schema.row_body(row))
            encryption.check_customer_key(body.seal, customer_key)
            info = rows.object_info(bucket, key, head, body, has_versions=has_versions)
            if conditions:
                check_read(conditions, info)
            start, length = resolve_range(byte_range, info.size_bytes)
            sealed = None
            if body.seal is not None:
                sealed = sealed_get.place(txn, head, body, start, length)
            else:
                pieces = object_extents(txn, head, body, start, length)
        if head.flags & (FLAG_EXTENTS | FLAG_MANIFEST):
            if sealed is not None:
                return sealed_get.open_placed(
                    core, info, body, start, length, sealed, customer_key, pin
                )
            return ObjectReader(core, info, start, length, None, pieces, pin)
        check_payload_size(bucket, key, head, body)
        payload = LazyPayload(core, head, bucket, key)
        if sealed is not None:
            return sealed_get.open_payload(
                core, info, body, start, length, payload, customer_key, pin
            )
        return ObjectReader(core, info, start, length, None, payload=payload, pin=pin)
    except BaseException:
        core.slots.unpin(pin)
        raise


def object_extents(
    txn: ReadTransaction, head: Head, body: VersionBody, start: int, length: int
) -> list[tuple[int, Extent]]:
    """(first byte in the object, extent), ascending, for at least the bytes asked for."""
    placed: list[tuple[int, Extent]] = []
    if head.flags & FLAG_MANIFEST:
        prefix = keys.manifest_prefix(head.version_seq)
        first = txn.last(prefix, keys.manifest(head.version_seq, start) + b"\x00")
        if first is None:
            return []
        stop = keys.manifest(head.version_seq, start + max(length, 1))
        for _key, row in txn.scan(first[0], stop):
            manifest = schema.decode_manifest(manifest_body(row))
            position = manifest.start_byte
            for part in manifest.parts:
                for extent in part.extents:
                    placed.append((position, extent))
                    position += extent.size_bytes
        return placed
    position = 0
    for extent in body.extents:
        placed.append((position, extent))
        position += extent.size_bytes
    return placed
