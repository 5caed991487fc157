"""What `wrap` makes of a data key: self-describing, and worthless without the key service.

Each wrapping has an AES key of its own, derived from the key's material and 16 random bytes:
then no number of wrappings brings two of them close to sharing a nonce, which random
nonces of 12 bytes under one key would after some 2^32.
"""

from __future__ import annotations

import hmac
from typing import Final, NamedTuple
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from objstore.errors import CorruptionError

FORMAT: Final = 1
SALT_BYTES: Final = 16
TAG_BYTES: Final = 16
HEAD_BYTES: Final = 21
OVERHEAD_BYTES: Final = HEAD_BYTES + SALT_BYTES + TAG_BYTES
"""How much longer a wrapped key is than the key."""

_LABEL: Final = b"objstore wrap v1"
_BODY_AT: Final = HEAD_BYTES + SALT_BYTES
# The AES key is used once.
_NONCE: Final = bytes(12)


class Origin(NamedTuple):
    """Which key, and which version of it, wrapped something."""

    key_id: str
    number: int


def make_head(key_id: str, number: int) -> bytes:
    """The bytes that name a version of a key."""
    return bytes((FORMAT,)) + UUID(key_id).bytes + number.to_bytes(4, "little")


def origin(wrapped: bytes) -> Origin:
    """Who wrapped it; nothing of it is checked but its form.

    Raises:
        CorruptionError: it is no wrapped key.
    """
    if len(wrapped) < OVERHEAD_BYTES or wrapped[0] != FORMAT:
        raise CorruptionError("this is not a wrapped key, or it was cut short")
    key_id = str(UUID(bytes=bytes(wrapped[1:17])))
    return Origin(key_id, int.from_bytes(wrapped[17:HEAD_BYTES], "little"))


def seal(material: bytes, head: bytes, salt: bytes, plaintext: bytes, context: bytes) -> bytes:
    """Wrap.  `head` is of `make_head`; `salt` has 16 random bytes."""
    cipher = AESGCM(hmac.digest(material, _LABEL + salt, "sha256"))
    return head + salt + cipher.encrypt(_NONCE, plaintext, head + context)


def unseal(material: bytes, wrapped: bytes, context: bytes) -> bytes:
    """The plaintext.

    Raises:
        CorruptionError: it was changed, or wrapped with another key or context.
    """
    head, salt = wrapped[:HEAD_BYTES], wrapped[HEAD_BYTES:_BODY_AT]
    cipher = AESGCM(hmac.digest(material, _LABEL + salt, "sha256"))
    try:
        return cipher.decrypt(_NONCE, wrapped[_BODY_AT:], head + context)
    except InvalidTag:
        raise CorruptionError(
            "a wrapped key does not match its tag: it was changed, or its context is another"
        ) from None
