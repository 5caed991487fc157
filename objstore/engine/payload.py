"""The bytes of a small object, read from the log to be written again in another record."""

from __future__ import annotations

from blockdev import DeviceError
from objstore.engine.core import Core
from objstore.engine.get import find_row
from objstore.engine.reader import (
    check_payload_size,
    device_read_failure,
    payload_corruption,
    payload_is_whole,
)
from objstore.errors import NoSuchKeyError
from objstore.index import schema
from objstore.index.schema import FLAG_EXTENTS, FLAG_MANIFEST


class VersionChangedError(NoSuchKeyError):
    """The version was rewritten or moved while its change was prepared; prepare it again."""

    def __init__(self) -> None:
        super().__init__("the version changed meanwhile")


def read_payload(core: Core, name: tuple[str, str, str], row: bytes) -> bytearray:
    """The payload of the record that `row` stands on, checked; empty if it has none.

    Args:
        name: bucket, key, and version id, which is empty for the current version.

    Raises:
        VersionChangedError: the row is another by now, and the bytes have moved.
        CorruptionError: they do not match their checksum, or are not all there.
        StoreUnavailableError: the device failed.
    """
    head = schema.unpack_head(row)
    if head.flags & (FLAG_EXTENTS | FLAG_MANIFEST):
        return bytearray()
    check_payload_size(name[0], name[1], head, schema.decode_version(schema.row_body(row)))
    payload = bytearray(head.payload_bytes)
    if not payload:
        return payload
    try:
        core.device.read_into(head.payload_offset, payload)
    except DeviceError as error:
        raise device_read_failure(error) from error
    if not payload_is_whole(head, payload):
        with core.index.read() as txn:
            if find_row(core, txn, *name) != row:
                raise VersionChangedError
        raise payload_corruption(name[0], name[1], head)
    return payload
