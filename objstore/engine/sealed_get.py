"""Reading encrypted objects: whole frames around what was asked for, each with its tag checked.

An object that was put in one piece is one stream of frames, and so is each part of one that
was made of parts.  The stored bytes of all streams follow each other, as their extents do; a
reader finds the stream that its position is in, reads the stored bytes of the frames around
the next piece as any other bytes, checksums and all, and opens them.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from typing import NamedTuple

from blockdev import DeviceError
from objstore.engine import encryption
from objstore.engine.apply import manifest_body
from objstore.engine.core import Core
from objstore.engine.frames import FRAME_BYTES, FrameOpener, stored_range, stored_size
from objstore.engine.reader import LazyPayload, ObjectReader, ReadInto, device_read_failure
from objstore.errors import CorruptionError
from objstore.index import keys, schema
from objstore.index.base import ReadTransaction
from objstore.index.schema import FLAG_MANIFEST, Extent, Head, ManifestBody, VersionBody
from objstore.model import ObjectInfo


class Stream(NamedTuple):
    """A stream of frames.

    `start_byte`, `size_bytes`: of its plain bytes in the object.
    `stored_byte`: where its frames begin among the stored bytes that were looked up.
    """

    start_byte: int
    size_bytes: int
    stored_byte: int
    salt: bytes


class Sealed(NamedTuple):
    """Where an encrypted object, or what was asked for of it, lies.

    `extents`: (first stored byte, extent), ascending; none where it is a payload in the log.
    """

    streams: list[Stream]
    extents: list[tuple[int, Extent]]


def place(txn: ReadTransaction, head: Head, body: VersionBody, start: int, length: int) -> Sealed:
    """The streams and extents that hold at least the bytes asked for."""
    assert body.seal is not None
    sealed = Sealed([], [])
    if not head.flags & FLAG_MANIFEST:
        _add(sealed, 0, body.size_bytes, body.seal.salt, body.extents)
        return sealed
    for manifest in _manifests(txn, head.version_seq, start, length):
        position = manifest.start_byte
        for part in manifest.parts:
            _add(sealed, position, part.size_bytes, part.salt, part.extents)
            position += part.size_bytes
    return sealed


def _add(sealed: Sealed, start: int, size_bytes: int, salt: bytes, extents: list[Extent]) -> None:
    if not size_bytes:
        return
    last = sealed.streams[-1] if sealed.streams else None
    at = last.stored_byte + stored_size(last.size_bytes) if last is not None else 0
    sealed.streams.append(Stream(start, size_bytes, at, salt))
    for extent in extents:
        sealed.extents.append((at, extent))
        at += extent.size_bytes


def _manifests(
    txn: ReadTransaction, version_seq: int, start: int, length: int
) -> Iterator[ManifestBody]:
    """The runs of parts from the one that holds byte `start` on."""
    prefix = keys.manifest_prefix(version_seq)
    first = txn.last(prefix, keys.manifest(version_seq, start) + b"\x00")
    if first is None:
        return
    for _key, row in txn.scan(first[0], keys.manifest(version_seq, start + max(length, 1))):
        yield schema.decode_manifest(manifest_body(row))


class SealedReader(ObjectReader):
    """As `ObjectReader`, of an encrypted object.  It holds the data key until it is closed."""

    __slots__ = ("_data_key", "_opened", "_opener", "_scratch", "_starts_of_streams", "_streams")

    def __init__(
        self,
        core: Core,
        info: ObjectInfo,
        start_byte: int,
        length_bytes: int,
        data_key: bytes,
        sealed: Sealed,
        inline: bytearray | None = None,
        payload: LazyPayload | None = None,
        pin: int | None = None,
    ) -> None:
        super().__init__(core, info, start_byte, length_bytes, inline, sealed.extents, pin, payload)
        self._data_key = data_key
        self._streams = sealed.streams
        self._starts_of_streams = [stream.start_byte for stream in sealed.streams]
        self._opener: FrameOpener | None = None
        self._opened = -1
        self._scratch = bytearray()

    def _next(self, read: ReadInto) -> memoryview | bytes | None:
        left_bytes = self.start_byte + self.length_bytes - self._position
        if not left_bytes:
            return b""
        if self._payload is not None:
            return None
        stream, opener = self._stream_here()
        offset = self._position - stream.start_byte
        want_bytes = min(left_bytes, stream.size_bytes - offset, self._most_bytes(offset))
        frames = stored_range(offset, want_bytes, stream.size_bytes)
        sealed = self._stored(read, stream.stored_byte + frames.start, frames.length)
        if sealed is None:
            return None
        try:
            plain = opener.open(frames.first_frame, sealed)
        except CorruptionError as error:
            raise CorruptionError(f"{self._name()}: {error}; run `objstore check`") from None
        self._position += want_bytes
        return memoryview(plain)[frames.skip : frames.skip + want_bytes]

    def _buffer_of(self, length_bytes: int) -> bytearray:
        """The same as before, if it fits: nobody keeps encrypted bytes."""
        if len(self._scratch) != length_bytes:
            self._scratch = bytearray(length_bytes)
        return self._scratch

    def _most_bytes(self, offset: int) -> int:
        """How many bytes a piece from here on may have: as many frames as go into a block."""
        frames = max(1, self._core.config.io_bytes // FRAME_BYTES)
        return frames * FRAME_BYTES - offset % FRAME_BYTES

    def _stream_here(self) -> tuple[Stream, FrameOpener]:
        """The stream that the position is in, and what opens its frames."""
        number = bisect.bisect_right(self._starts_of_streams, self._position) - 1
        stream = self._streams[number] if number >= 0 else None
        if stream is None or self._position >= stream.start_byte + stream.size_bytes:
            raise self._nowhere(self._position)
        if self._opener is None or self._opened != number:
            if not stream.salt:
                raise CorruptionError(f"{self._name()}: it is encrypted, and a part of it is not")
            self._opener = FrameOpener(self._data_key, stream.salt, stream.size_bytes)
            self._opened = number
        return stream, self._opener

    def _stored(self, read: ReadInto, at: int, length: int) -> memoryview | None:
        """The stored bytes from `at` on, checked; as they were read, if they lie together."""
        if self._inline is not None:
            return memoryview(self._inline)[at : at + length]
        try:
            piece = self._read_at(read, at, length)
            if piece is None or len(piece) == length:
                return piece
            gathered = bytearray(piece)
            while len(gathered) < length:
                piece = self._read_at(read, at + len(gathered), length - len(gathered))
                if piece is None:
                    return None
                gathered += piece
        except DeviceError as error:
            raise device_read_failure(error) from error
        return memoryview(gathered)

    def close(self) -> None:
        """Let go of what the reader pins, and of the key; idempotent."""
        super().close()
        self._data_key, self._opener = b"", None


def open_payload(
    core: Core,
    info: ObjectInfo,
    body: VersionBody,
    start_byte: int,
    length_bytes: int,
    payload: bytearray | LazyPayload,
    customer_key: bytes,
    pin: int | None = None,
) -> SealedReader:
    """A reader of a small object, whose frames are the payload of its record.

    Raises:
        StoreError: as `encryption.data_key_of`.
    """
    assert body.seal is not None
    data_key = encryption.data_key_of(core, body.seal, customer_key)
    sealed = Sealed([Stream(0, body.size_bytes, 0, body.seal.salt)], [])
    inline = payload if isinstance(payload, bytearray) else None
    lazy = None if isinstance(payload, bytearray) else payload
    return SealedReader(core, info, start_byte, length_bytes, data_key, sealed, inline, lazy, pin)


def open_placed(
    core: Core,
    info: ObjectInfo,
    body: VersionBody,
    start_byte: int,
    length_bytes: int,
    sealed: Sealed,
    customer_key: bytes,
    pin: int,
) -> SealedReader:
    """A reader of a large object.

    Raises:
        StoreError: as `encryption.data_key_of`.
    """
    assert body.seal is not None
    data_key = encryption.data_key_of(core, body.seal, customer_key)
    return SealedReader(core, info, start_byte, length_bytes, data_key, sealed, pin=pin)
