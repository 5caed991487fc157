"""Encrypted streams: AES-256-GCM in frames, so that a range of a stream costs a range.

A frame is 65,536 bytes of plaintext, fewer in the last one, and 16 bytes of tag.  What
holds the frames of a stream together, so that none can be altered, moved, left out or
borrowed from another stream without a tag that fails:

- the key is the stream's own, ``HMAC-SHA256(data key, "objstore frames v1" + salt)``;
- the nonce is the frame's number, so that no two frames of a key share one;
- the last frame has a mark in its nonce, so that a stream cut at a frame's end is noticed.

An empty stream has no frame.  docs/encryption.md has the bytes.

`cryptography` lets the interpreter go while a frame is worked on.
"""

from __future__ import annotations

import hmac
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from objstore.errors import CorruptionError

FRAME_BYTES: Final = 65_536
TAG_BYTES: Final = 16
STORED_FRAME_BYTES: Final = FRAME_BYTES + TAG_BYTES
DATA_KEY_BYTES: Final = 32
SALT_BYTES: Final = 16

_LABEL: Final = b"objstore frames v1"
_NONCE_BYTES: Final = 12
_LAST: Final = 1 << 88
"""The mark of the last frame: the lowest bit of the nonce's first byte."""

Buffer = bytes | bytearray | memoryview


class StoredRange(NamedTuple):
    """The stored bytes that hold a range of plaintext: whole frames.

    `start`, `length`: of the stored bytes to read.
    `first_frame`: the number of the frame that they begin with.
    `skip`: bytes of its plaintext before the range.
    """

    start: int
    length: int
    first_frame: int
    skip: int


def frame_count(plain_bytes: int) -> int:
    """Frames of a stream of `plain_bytes`."""
    return -(-plain_bytes // FRAME_BYTES)


def stored_size(plain_bytes: int) -> int:
    """Bytes that a stream of `plain_bytes` takes when it is sealed."""
    return plain_bytes + TAG_BYTES * frame_count(plain_bytes)


def stored_range(start: int, length: int, plain_size: int) -> StoredRange:
    """Where the plaintext bytes `start` to `start + length` of a stream are stored.

    Args:
        plain_size: of the whole stream, in bytes of plaintext.

    Raises:
        ValueError: the range is not within the stream.
    """
    if start < 0 or length < 0 or start + length > plain_size:
        raise ValueError(f"{length} bytes at {start} are not within {plain_size} bytes")
    first_frame, skip = divmod(start, FRAME_BYTES)
    if not length:
        return StoredRange(first_frame * STORED_FRAME_BYTES, 0, first_frame, skip)
    frames_end = frame_count(start + length)
    plain_end = min(frames_end * FRAME_BYTES, plain_size)
    stored_start = first_frame * STORED_FRAME_BYTES
    stored_end = plain_end + frames_end * TAG_BYTES
    return StoredRange(stored_start, stored_end - stored_start, first_frame, skip)


def _cipher(data_key: Buffer, salt: Buffer) -> AESGCM:
    if len(data_key) != DATA_KEY_BYTES or len(salt) != SALT_BYTES:
        raise ValueError(f"a data key has {DATA_KEY_BYTES} bytes and a salt {SALT_BYTES}")
    return AESGCM(hmac.digest(data_key, _LABEL + salt, "sha256"))


class FrameSealer:
    """Seals one stream, which comes in pieces of any size.  One thread at a time.

    Only what is followed by more can be sealed, since the last frame differs from the
    others: up to one frame of plaintext is held here until more comes, or `finish`.

    Args:
        data_key: 32 bytes; may serve any number of streams.
        salt: 16 bytes, random, of this stream alone: two streams that share a data key
            and a salt would share nonces too, and with them lose what protects both.

    Raises:
        ValueError: the key or the salt is of another length.
    """

    def __init__(self, data_key: Buffer, salt: Buffer) -> None:
        self._cipher = _cipher(data_key, salt)
        self._held = bytearray(FRAME_BYTES)
        self._held_bytes = 0
        self._frame = 0
        self._plain_bytes = 0
        self._is_finished = False

    @property
    def plain_bytes(self) -> int:
        """Bytes of plaintext that have come."""
        return self._plain_bytes

    def room(self, length: int) -> int:
        """Bytes that `update` gives when the next piece has `length`."""
        available = self._held_bytes + length
        return max(0, available - 1) // FRAME_BYTES * STORED_FRAME_BYTES

    def update(self, data: Buffer) -> bytearray:
        """Take a piece of the stream; all frames that are sealed by it, maybe none.

        Raises:
            ValueError: the stream is finished.
        """
        sealed = bytearray(self.room(len(data)))
        self.update_into(data, sealed)
        return sealed

    def update_into(self, data: Buffer, target: bytearray | memoryview) -> int:
        """As `update`, into a buffer of `room(len(data))` bytes at least; the bytes written.

        Whole frames of `data` are sealed where they lie.

        Raises:
            ValueError: the stream is finished, or `target` is too small; nothing was taken.
        """
        if self._is_finished:
            raise ValueError("the stream is finished")
        needed = self.room(len(data))
        if len(target) < needed:
            raise ValueError(f"the target has {len(target)} of {needed} bytes")
        source, sink = memoryview(data), memoryview(target)
        self._plain_bytes += len(source)
        taken = written = 0
        if self._held_bytes:
            taken = self._hold(source)
            if taken == len(source):
                return 0
            written = self._seal(memoryview(self._held), sink, 0)
            self._held_bytes = 0
        while len(source) - taken > FRAME_BYTES:
            written += self._seal(source[taken : taken + FRAME_BYTES], sink, written)
            taken += FRAME_BYTES
        self._hold(source[taken:])
        return written

    def finish(self) -> bytes:
        """The last frame, or nothing where the stream is empty.

        Raises:
            ValueError: the stream is finished already.
        """
        if self._is_finished:
            raise ValueError("the stream is finished")
        self._is_finished = True
        if not self._held_bytes:
            return b""
        nonce = (_LAST | self._frame).to_bytes(_NONCE_BYTES, "big")
        return self._cipher.encrypt(nonce, memoryview(self._held)[: self._held_bytes], None)

    def _hold(self, source: memoryview) -> int:
        """Keep what fits of `source`; how much."""
        begin = self._held_bytes
        kept = min(len(source), FRAME_BYTES - begin)
        self._held[begin : begin + kept] = source[:kept]
        self._held_bytes = begin + kept
        return kept

    def _seal(self, plain: memoryview, sink: memoryview, at: int) -> int:
        nonce = self._frame.to_bytes(_NONCE_BYTES, "big")
        self._frame += 1
        return self._cipher.encrypt_into(nonce, plain, None, sink[at : at + STORED_FRAME_BYTES])


class FrameOpener:
    """Opens frames of one stream, in any order.  Safe to share between threads.

    Args:
        plain_size: of the whole stream, in bytes of plaintext.

    Raises:
        ValueError: the key or the salt is of another length than a `FrameSealer` takes.
    """

    def __init__(self, data_key: Buffer, salt: Buffer, plain_size: int) -> None:
        self._cipher = _cipher(data_key, salt)
        self._plain_size = plain_size
        self._frames = frame_count(plain_size)

    def open(self, first_frame: int, sealed: Buffer) -> bytearray:
        """The plaintext of whole frames, from number `first_frame` on.

        Raises:
            CorruptionError: a tag does not match, or these are no whole frames of the stream.
        """
        frames = -(-len(sealed) // STORED_FRAME_BYTES)
        plain = bytearray(max(0, len(sealed) - frames * TAG_BYTES))
        self.open_into(first_frame, sealed, plain)
        return plain

    def open_into(self, first_frame: int, sealed: Buffer, target: bytearray | memoryview) -> int:
        """As `open`, into a buffer that the plaintext fits in; the bytes written.

        After an error nothing in `target` may be used.

        Raises:
            ValueError: `target` is too small.
            CorruptionError: as `open`.
        """
        source, sink = memoryview(sealed), memoryview(target)
        self._check_whole(first_frame, len(source))
        taken = written = 0
        number = first_frame
        while taken < len(source):
            piece = source[taken : taken + STORED_FRAME_BYTES]
            room = len(piece) - TAG_BYTES
            written += self._open_frame(number, piece, sink[written : written + room])
            taken += len(piece)
            number += 1
        return written

    def _check_whole(self, first_frame: int, length: int) -> None:
        """Each frame has the length that the stream's size gives it."""
        end = first_frame + -(-length // STORED_FRAME_BYTES)
        if first_frame < 0 or end > self._frames:
            raise CorruptionError(
                f"frames {first_frame} to {end} of an encrypted stream that has {self._frames}"
            )
        plain_end = min(end * FRAME_BYTES, self._plain_size)
        if length and length != plain_end - first_frame * FRAME_BYTES + TAG_BYTES * (
            end - first_frame
        ):
            raise CorruptionError(
                f"{length} bytes are not whole frames of an encrypted stream from frame "
                f"{first_frame} on: it was cut, or its size is another"
            )

    def _open_frame(self, number: int, piece: memoryview, sink: memoryview) -> int:
        mark = _LAST if number == self._frames - 1 else 0
        nonce = (mark | number).to_bytes(_NONCE_BYTES, "big")
        try:
            return self._cipher.decrypt_into(nonce, piece, None, sink)
        except InvalidTag:
            raise CorruptionError(
                f"frame {number} of an encrypted stream does not match its tag: its bytes "
                "were changed, or are another stream's, or the key is"
            ) from None
