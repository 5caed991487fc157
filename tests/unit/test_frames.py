"""Encrypted streams: the bytes by hand, pieces of any size, and every change noticed."""

from __future__ import annotations

import hashlib
import hmac
import random
import threading

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from objstore.engine.frames import (
    FRAME_BYTES,
    STORED_FRAME_BYTES,
    TAG_BYTES,
    FrameOpener,
    FrameSealer,
    frame_count,
    stored_range,
    stored_size,
)
from objstore.errors import CorruptionError

KEY = bytes(range(32))
SALT = bytes(range(100, 116))
SIZES = [
    *(1, 2, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1),
    *(2 * FRAME_BYTES, 2 * FRAME_BYTES + 1, 5 * FRAME_BYTES - 7),
]


def content(size: int, seed: int = 5) -> bytes:
    return random.Random(seed).randbytes(size)


def seal(data: bytes, key: bytes = KEY, salt: bytes = SALT) -> bytes:
    sealer = FrameSealer(key, salt)
    return bytes(sealer.update(data)) + sealer.finish()


def by_hand(data: bytes) -> bytes:
    """The format as its page has it, without the code under test."""
    stream_key = hmac.new(KEY, b"objstore frames v1" + SALT, hashlib.sha256).digest()
    pieces = [data[at : at + 65536] for at in range(0, len(data), 65536)]
    sealed = b""
    for number, piece in enumerate(pieces):
        mark = b"\x01" if number == len(pieces) - 1 else b"\x00"
        nonce = mark + bytes(3) + number.to_bytes(8, "big")
        sealed += AESGCM(stream_key).encrypt(nonce, piece, None)
    return sealed


def test_known_answers() -> None:
    """Computed by AESGCM alone, once, and written down."""
    assert seal(b"").hex() == ""
    assert seal(b"a").hex() == "8116bc2930a7993c0403ca9dbdf8ab7893"
    assert (
        seal(b"hello, frames").hex() == "885a272ee09460b69e10b68f01ac949bd286ba6586cebdae7cd13a8f42"
    )
    two = seal(bytes(FRAME_BYTES + 1))
    assert (
        hashlib.sha256(two).hexdigest()
        == "238082b6751d2ddc34ac88d1bd16191d6a68c168201361e4fe8921a4cade181b"
    )


@pytest.mark.parametrize("size", [0, *SIZES])
def test_the_bytes_are_those_of_the_page(size: int) -> None:
    data = content(size)
    sealed = seal(data)
    assert sealed == by_hand(data)
    assert len(sealed) == stored_size(size)
    assert FrameOpener(KEY, SALT, size).open(0, sealed) == data


def test_frames_are_counted() -> None:
    counts = [frame_count(size) for size in (0, 1, FRAME_BYTES, FRAME_BYTES + 1)]
    assert counts == [0, 1, 1, 2]
    # The largest object: every frame's number is far below what the nonce holds.
    assert frame_count(50 * 2**40) < 2**32


@given(st.lists(st.integers(0, 2 * FRAME_BYTES + 3), max_size=6), st.integers(0, 2**32), st.data())
def test_pieces_of_any_size_give_the_same_frames(
    lengths: list[int], seed: int, draw: st.DataObject
) -> None:
    data = content(sum(lengths), seed)
    sealer = FrameSealer(KEY, SALT)
    sealed, at = b"", 0
    for length in lengths:
        kind = draw.draw(st.sampled_from([bytes, bytearray, memoryview]))
        piece = kind(data[at : at + length])
        expected = sealer.room(length)
        if draw.draw(st.booleans()):
            made = sealer.update(piece)
        else:
            target = bytearray(expected + 5)
            written = sealer.update_into(piece, target)
            assert bytes(target[written:]) == bytes(5)
            made = target[:written]
        assert len(made) == expected
        sealed += made
        at += length
    sealed += sealer.finish()
    assert sealer.plain_bytes == len(data)
    assert sealed == by_hand(data)


@given(st.integers(1, 4 * FRAME_BYTES), st.data())
def test_a_range_costs_a_range(size: int, draw: st.DataObject) -> None:
    data = content(size)
    start = draw.draw(st.integers(0, size - 1))
    length = draw.draw(st.integers(1, size - start))
    sealed = seal(data)
    where = stored_range(start, length, size)
    assert where.start == where.first_frame * STORED_FRAME_BYTES
    assert where.length <= length + 2 * FRAME_BYTES + TAG_BYTES * (length // FRAME_BYTES + 2)
    piece = memoryview(sealed)[where.start : where.start + where.length]
    assert len(piece) == where.length
    plain = FrameOpener(KEY, SALT, size).open(where.first_frame, piece)
    assert plain[where.skip : where.skip + length] == data[start : start + length]


def test_the_whole_and_nothing_as_a_range() -> None:
    size = 3 * FRAME_BYTES + 10
    assert stored_range(0, size, size) == (0, stored_size(size), 0, 0)
    assert stored_range(0, 0, 0) == (0, 0, 0, 0)
    assert stored_range(FRAME_BYTES + 4, 0, size) == (STORED_FRAME_BYTES, 0, 1, 4)
    assert FrameOpener(KEY, SALT, size).open(1, b"") == b""
    assert FrameOpener(KEY, SALT, 0).open(0, b"") == b""


@pytest.mark.parametrize(("start", "length"), [(-1, 1), (0, -1), (0, 11), (11, 0), (10, 1)])
def test_a_range_outside_the_stream_is_refused(start: int, length: int) -> None:
    with pytest.raises(ValueError, match="are not within 10 bytes"):
        stored_range(start, length, 10)


def test_every_flipped_bit_is_noticed() -> None:
    data = b"every bit counts, those of the tag among them"
    sealed = seal(data)
    opener = FrameOpener(KEY, SALT, len(data))
    for bit in range(8 * len(sealed)):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptionError, match=r"frame 0 .* does not match its tag"):
            opener.open(0, changed)
    assert opener.open(0, sealed) == data


@given(st.integers(0, 8 * stored_size(2 * FRAME_BYTES + 100) - 1))
def test_a_flipped_bit_of_several_frames_names_its_frame(bit: int) -> None:
    size = 2 * FRAME_BYTES + 100
    changed = bytearray(seal(content(size)))
    changed[bit // 8] ^= 1 << bit % 8
    number = bit // 8 // STORED_FRAME_BYTES
    with pytest.raises(CorruptionError, match=f"frame {number} "):
        FrameOpener(KEY, SALT, size).open(0, changed)


def frames_of(sealed: bytes) -> list[bytes]:
    step = STORED_FRAME_BYTES
    return [sealed[at : at + step] for at in range(0, len(sealed), step)]


def test_frames_that_change_places_are_noticed() -> None:
    size = 4 * FRAME_BYTES
    frames = frames_of(seal(content(size)))
    opener = FrameOpener(KEY, SALT, size)
    for one in range(4):
        for other in range(4):
            if one != other:
                with pytest.raises(CorruptionError, match=f"frame {one} "):
                    opener.open(one, frames[other])
    with pytest.raises(CorruptionError):
        opener.open(0, frames[1] + frames[0] + frames[2] + frames[3])


@pytest.mark.parametrize("left", [1, 2, 3])
def test_a_stream_cut_at_a_frame_is_noticed_whatever_size_is_claimed(left: int) -> None:
    size = 4 * FRAME_BYTES
    cut = b"".join(frames_of(seal(content(size)))[:left])
    # Who cuts the stream may also have changed the size that is remembered: the mark tells.
    with pytest.raises(CorruptionError, match=f"frame {left - 1} "):
        FrameOpener(KEY, SALT, left * FRAME_BYTES).open(0, cut)


def test_a_stream_made_longer_is_noticed() -> None:
    data = content(2 * FRAME_BYTES)
    longer = seal(data) + seal(data)[:STORED_FRAME_BYTES]
    with pytest.raises(CorruptionError, match="frame 1 "):
        FrameOpener(KEY, SALT, 3 * FRAME_BYTES).open(0, longer)


@pytest.mark.parametrize("cut", [1, TAG_BYTES, TAG_BYTES + 1, FRAME_BYTES])
def test_what_is_no_whole_frame_is_refused(cut: int) -> None:
    size = 2 * FRAME_BYTES + 100
    sealed = seal(content(size))
    opener = FrameOpener(KEY, SALT, size)
    for part in (sealed[:-cut], sealed + bytes(cut)):
        with pytest.raises(CorruptionError):
            opener.open(0, part)
    with pytest.raises(CorruptionError, match="are not whole frames"):
        opener.open(0, sealed[:STORED_FRAME_BYTES][:-cut])


@pytest.mark.parametrize("first", [-1, 3, 2**70])
def test_frames_that_the_stream_does_not_have(first: int) -> None:
    size = 2 * FRAME_BYTES + 100
    with pytest.raises(CorruptionError, match="of an encrypted stream that has 3"):
        FrameOpener(KEY, SALT, size).open(first, bytes(116))


def test_another_key_salt_or_stream_is_noticed() -> None:
    data = content(100)
    sealed = seal(data)
    for key, salt in ((bytes(32), SALT), (KEY, bytes(16))):
        with pytest.raises(CorruptionError, match="or the key is"):
            FrameOpener(key, salt, 100).open(0, sealed)
    assert seal(data, salt=bytes(16)) != sealed


@pytest.mark.parametrize(("key", "salt"), [(KEY[:16], SALT), (KEY, SALT + b"1"), (b"", SALT)])
def test_keys_and_salts_have_their_lengths(key: bytes, salt: bytes) -> None:
    with pytest.raises(ValueError, match="a data key has 32 bytes and a salt 16"):
        FrameSealer(key, salt)
    with pytest.raises(ValueError, match="a data key has 32 bytes and a salt 16"):
        FrameOpener(key, salt, 1)


def test_what_is_finished_takes_nothing() -> None:
    sealer = FrameSealer(KEY, SALT)
    assert sealer.finish() == b""
    with pytest.raises(ValueError, match="finished"):
        sealer.update(b"more")
    with pytest.raises(ValueError, match="finished"):
        sealer.finish()


def test_a_target_that_is_too_small_takes_nothing() -> None:
    data = content(2 * FRAME_BYTES + 1)
    sealer = FrameSealer(KEY, SALT)
    with pytest.raises(ValueError, match="the target has 131103 of 131104 bytes"):
        sealer.update_into(data, bytearray(2 * STORED_FRAME_BYTES - 1))
    assert sealer.plain_bytes == 0
    assert sealer.update(data) + sealer.finish() == by_hand(data)
    with pytest.raises(ValueError):
        FrameOpener(KEY, SALT, len(data)).open_into(0, by_hand(data), bytearray(len(data) - 1))


def test_one_opener_serves_many_threads() -> None:
    size = 40 * FRAME_BYTES + 17
    data = content(size)
    frames = frames_of(seal(data))
    opener = FrameOpener(KEY, SALT, size)
    found: dict[int, bytes] = {}

    def read(first: int) -> None:
        for number in range(first, len(frames), 4):
            found[number] = bytes(opener.open(number, frames[number]))

    threads = [threading.Thread(target=read, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert b"".join(found[number] for number in range(len(frames))) == data
