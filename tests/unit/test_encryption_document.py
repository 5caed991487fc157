"""The page on encryption: its examples are what its text makes of them, and what the code does."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import struct
from pathlib import Path
from uuid import UUID

import xxhash
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from objstore.engine.frames import FrameOpener, FrameSealer
from objstore.kms import wrapped
from tests.keys import Keys

PAGE = (Path(__file__).parents[2] / "docs" / "encryption.md").read_text(encoding="utf-8")
KEY = bytes(range(32))
SALT = b"\x5a" * 16


def example(name: str) -> bytes:
    """The bytes of an example of the page."""
    found = re.search(rf"```text\n{name}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return bytes.fromhex(found[1])


def mac(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()


def test_a_wrapped_key() -> None:
    key_id = UUID("00112233-4455-4677-8899-aabbccddeeff")
    head = b"\x01" + key_id.bytes + struct.pack("<I", 2)
    cipher = AESGCM(mac(KEY, b"objstore wrap v1" + SALT))
    sealed = cipher.encrypt(bytes(12), b"\x77" * 32, head + b"bucket/key")
    assert example("wrapped-key") == head + SALT + sealed
    made = wrapped.make_head(str(key_id), 2)
    assert wrapped.seal(KEY, made, SALT, b"\x77" * 32, b"bucket/key") == example("wrapped-key")
    assert wrapped.origin(example("wrapped-key")) == (str(key_id), 2)
    assert len(example("wrapped-key")) == 85
    assert wrapped.unseal(KEY, example("wrapped-key"), b"bucket/key") == b"\x77" * 32


def test_a_stream_in_frames() -> None:
    cipher = AESGCM(mac(KEY, b"objstore frames v1" + SALT))
    assert example("frames") == cipher.encrypt(b"\x01" + bytes(11), b"hello, frames", None)
    sealer = FrameSealer(KEY, SALT)
    assert sealer.update(b"hello, frames") + sealer.finish() == example("frames")
    assert FrameOpener(KEY, SALT, 13).open(0, example("frames")) == b"hello, frames"


def test_the_key_file_read_by_the_page_alone(tmp_path: Path, seed: int) -> None:
    keys = Keys(tmp_path, seed)
    service = keys.open()
    made = service.create_key("a key", "alias/mine")
    service.rotate(made.arn)
    sealed = service.wrap(made.arn, b"data", b"context")
    data, root = keys.file.read_bytes(), keys.root.read_bytes()
    magic, format_, length, root_id, generation = struct.unpack_from("<8sII8sQ", data)
    assert (magic, format_, generation) == (b"OBJSKEYS", 1, 2)
    assert root_id == mac(root, b"objstore root id v1")[:8]
    body, tail = data[32 : 32 + length], data[32 + length :]
    assert tail[:32] == mac(mac(root, b"objstore root mac v1"), data[: 32 + length])
    assert struct.unpack("<Q", tail[32:]) == (xxhash.xxh3_64_intdigest(data[:-8]),)
    (key,) = json.loads(body)["keys"]
    assert key["key_id"] == made.key_id
    number, entry = 2, base64.b64decode(key["versions"][1]["wrapped"])
    owner = b"objstore key v1" + UUID(made.key_id).bytes + struct.pack("<I", number)
    wrapper = AESGCM(mac(root, b"objstore root wrap v1"))
    material = wrapper.decrypt(entry[:12], entry[12:], owner)
    assert len(material) == 32
    cipher = AESGCM(mac(material, b"objstore wrap v1" + sealed[21:37]))
    assert cipher.decrypt(bytes(12), sealed[37:], sealed[:21] + b"context") == b"data"
