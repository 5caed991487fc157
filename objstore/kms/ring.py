"""The keys of one state of the key file, ready for use: names resolved, material unwrapped.

A ring never changes; another state of the file is another ring.  Material is unwrapped when
it is first needed and then stays in memory.  Safe to share between threads.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from objstore.errors import KeyNotFoundError
from objstore.kms.changes import due_ms, find, usable
from objstore.kms.folder import NO_FILE, Stamp
from objstore.kms.keyfile import KeyFile
from objstore.kms.model import NEVER_MS, Document, KeyRecord, names_of
from objstore.kms.wrapped import make_head, origin

_NS_PER_MS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Wrapper:
    """What wraps for a key: the name of its newest version, and its material."""

    head: bytes
    material: bytes = field(repr=False)


class KeyRing:
    """See the module's text.

    Args:
        file: the key file; None where there is none yet.
        stamp: of the file.
    """

    def __init__(self, file: KeyFile | None, stamp: Stamp = NO_FILE) -> None:
        self.file = file
        self.stamp = stamp
        self.document = Document() if file is None else file.document
        next_ms = due_ms(self.document)
        self.due_ns = NEVER_MS if next_ms == NEVER_MS else next_ms * _NS_PER_MS
        self._names = names_of(self.document)
        self.wrappers: dict[str, Wrapper] = {}
        self.materials: dict[bytes, bytes] = {}

    def __repr__(self) -> str:
        return f"KeyRing({len(self.document.keys)} keys)"

    def get(self, name: str) -> KeyRecord | None:
        """The key of that id, ARN, alias or alias's ARN; "" is the store's own."""
        return self._names.get(name)

    def find(self, name: str) -> KeyRecord:
        """As `get`.

        Raises:
            KeyNotFoundError
        """
        record = self._names.get(name)
        if record is None:
            raise KeyNotFoundError(f"there is no key {name!r}")
        return record

    def wrapper(self, record: KeyRecord, name: str) -> Wrapper:
        """What wraps for a key, kept under `name`.

        Raises:
            KeyDisabledError
            KeyPendingDeletionError
            KeyServiceError: its material is not the root key's.
        """
        usable(record)
        number = record.versions[-1].number
        head = make_head(record.key_id, number)
        made = Wrapper(head, self._material(record, number))
        self.wrappers[name] = made
        return made

    def material_of(self, wrapped: bytes, head: bytes) -> bytes:
        """The material of the version that wrapped something, kept under `head`.

        Raises:
            CorruptionError: it is no wrapped key.
            KeyNotFoundError: the key is gone, or was another store's.
            KeyDisabledError
            KeyPendingDeletionError
            KeyServiceError: its material is not the root key's.
        """
        key_id, number = origin(wrapped)
        record = find(self.document, key_id)
        usable(record)
        material = self.materials[head] = self._material(record, number)
        return material

    def _material(self, record: KeyRecord, number: int) -> bytes:
        assert self.file is not None
        for version in record.versions:
            if version.number == number:
                return self.file.root.unwrap(version.wrapped, record.key_id, number)
        raise KeyNotFoundError(f"key {record.key_id!r} has no version {number}")
