"""The root key: 32 random bytes in a file of its own, which everything else hangs on.

Three keys come of it, so that none is used for two things: one wraps the material of keys,
one authenticates the key file, one gives the id by which the key file says which root key
it needs.

While a root key is replaced its file holds two, the old one first: whatever the key file
was last written under is there, at whatever moment the power goes.
"""

from __future__ import annotations

import contextlib
import hmac
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from objstore.entropy import Entropy
from objstore.errors import KeyServiceError
from objstore.kms.files import appear, make_folder, replace

logger = logging.getLogger("objstore.kms")

SECRET_BYTES: Final = 32
MATERIAL_BYTES: Final = 32
ID_BYTES: Final = 8
MAC_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_MAX_SECRETS: Final = 2


class RootKey:
    """What a root key can do.  Its bytes are in no repr."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESGCM(_derive(secret, b"objstore root wrap v1"))
        self._mac_key = _derive(secret, b"objstore root mac v1")
        self.id = _derive(secret, b"objstore root id v1")[:ID_BYTES]
        """Tells root keys apart; says nothing of the key."""

    def __repr__(self) -> str:
        return f"RootKey({self.id.hex()})"

    def wrap(self, material: bytes, key_id: str, number: int, entropy: Entropy) -> bytes:
        """A key's material, sealed: nonce, ciphertext and tag, 60 bytes."""
        nonce = entropy.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, material, _owner(key_id, number))

    def unwrap(self, wrapped: bytes, key_id: str, number: int) -> bytes:
        """The material.

        Raises:
            KeyServiceError: it is not what this root key wrapped for that version.
        """
        nonce, sealed = wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, sealed, _owner(key_id, number))
        except (InvalidTag, ValueError):
            raise KeyServiceError(
                f"version {number} of key {key_id} was not wrapped under root key {self.id.hex()}"
            ) from None

    def mac(self, data: bytes) -> bytes:
        """The authentication of the key file's bytes."""
        return hmac.digest(self._mac_key, data, "sha256")


def _derive(secret: bytes, label: bytes) -> bytes:
    return hmac.digest(secret, label, "sha256")


def _owner(key_id: str, number: int) -> bytes:
    return b"objstore key v1" + UUID(key_id).bytes + number.to_bytes(4, "little")


class RootFile:
    """The file that a root key is in, wherever that is."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[bytes]:
        """The secrets in it: one, two while a rotation is under way, none without a file.

        Raises:
            KeyServiceError: the file cannot be read, or does not hold a root key.
        """
        try:
            with open(self.path, "rb") as file:
                held = file.read(_MAX_SECRETS * SECRET_BYTES + 1)
                mode = os.fstat(file.fileno()).st_mode
        except FileNotFoundError:
            return []
        except OSError as error:
            raise KeyServiceError(
                f"cannot read the root key {self.path}: {error.strerror}"
            ) from error
        count, rest = divmod(len(held), SECRET_BYTES)
        if rest or not 1 <= count <= _MAX_SECRETS:
            raise KeyServiceError(
                f"{self.path} holds no root key: it has {len(held)} bytes or more and not "
                f"{SECRET_BYTES}; put back the one that the keys were wrapped under"
            )
        if stat.S_IMODE(mode) & 0o077:
            logger.warning("others than its owner may use the root key %s: chmod 600", self.path)
        return [held[at : at + SECRET_BYTES] for at in range(0, len(held), SECRET_BYTES)]

    def make(self, entropy: Entropy) -> list[bytes]:
        """Make a root key, unless there is one by now; what is in the file then.

        Raises:
            KeyServiceError: the file cannot be made.
        """
        with self._told():
            # A mounted secret is often a link to where it really is.
            path = self.path.resolve()
            make_folder(path.parent)
            appear(path, entropy.token_bytes(SECRET_BYTES))
        return self.read()

    def replace(self, secrets: list[bytes]) -> None:
        """Have it hold these, durably, or remain as it was.

        Raises:
            KeyServiceError: it cannot be written.
        """
        with self._told():
            replace(self.path.resolve(), b"".join(secrets))

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise KeyServiceError(
                f"cannot write the root key {self.path}: {error.strerror}"
            ) from error
