"""The bytes of the key file; docs/encryption.md has them one by one.

A checksum tells damage from a wrong root key, an HMAC under the root key tells both from
somebody who changed the file.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import xxhash

from objstore.errors import KeyServiceError
from objstore.kms.model import Document
from objstore.kms.root import ID_BYTES, MAC_BYTES, RootKey

MAGIC: Final = b"OBJSKEYS"
FORMAT: Final = 1
_HEAD: Final = struct.Struct(f"<8sII{ID_BYTES}sQ")
_CHECK: Final = struct.Struct("<Q")
_TAIL_BYTES: Final = MAC_BYTES + _CHECK.size


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A key file's contents.  `generation` counts how often it was written."""

    document: Document
    root: RootKey
    generation: int


def encode(file: KeyFile) -> bytes:
    """The file's bytes."""
    body = msgspec.json.encode(file.document)
    head = _HEAD.pack(MAGIC, FORMAT, len(body), file.root.id, file.generation)
    data = head + body
    data += file.root.mac(data)
    return data + _CHECK.pack(xxhash.xxh3_64_intdigest(data))


def decode(data: bytes, secrets: Sequence[bytes], name: str, root_name: str) -> KeyFile:
    """What the file holds.

    Args:
        secrets: root keys, of which one is the file's.
        name, root_name: of the two files, for the errors.

    Raises:
        KeyServiceError: the file is damaged, or no root key is the one that it needs.
    """
    root_id, generation = _check(data, name)
    root = next((key for key in map(RootKey, secrets) if key.id == root_id), None)
    if root is None:
        state = "another root key" if secrets else "no root key"
        raise KeyServiceError(
            f"the keys in {name} were wrapped under root key {root_id.hex()}, and there is {state} "
            f"in {root_name}; put it back: without it nothing that is encrypted can be read"
        )
    signed, mac = data[:-_TAIL_BYTES], data[-_TAIL_BYTES : -_CHECK.size]
    if not hmac.compare_digest(mac, root.mac(signed)):
        raise KeyServiceError(f"{name} was changed by somebody without the root key")
    document = msgspec.json.decode(signed[_HEAD.size :], type=Document)
    return KeyFile(document, root, generation)


def _check(data: bytes, name: str) -> tuple[bytes, int]:
    """The root key's id and the generation of a file that is as it was written."""
    if len(data) < _HEAD.size + _TAIL_BYTES or not data.startswith(MAGIC):
        raise KeyServiceError(f"{name} is not a key file, or was cut short; put back a copy of it")
    _, version, length, root_id, generation = _HEAD.unpack_from(data)
    (check,) = _CHECK.unpack(data[-_CHECK.size :])
    if xxhash.xxh3_64_intdigest(data[: -_CHECK.size]) != check:
        raise KeyServiceError(f"{name} is damaged; put back a copy of it")
    if version != FORMAT:
        raise KeyServiceError(f"{name} has format {version}, known is {FORMAT}")
    if length != len(data) - _HEAD.size - _TAIL_BYTES:
        raise KeyServiceError(f"{name} is not as long as it says")
    return root_id, generation
