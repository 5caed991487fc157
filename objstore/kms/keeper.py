"""The key file as several processes read and change it.

The story of a change to the keys:

1. the folder is locked, the key file read and authenticated under the root key;
2. what is due by now is done: keys whose time has come go, keys that rotate do;
3. the change, a function of `objstore.kms.changes`, makes the next document of it;
4. the file is written beside the old one, made durable, and takes its place.

Others see by the file's inode that it is another, and read it before their next use of a
key.  What was loaded stays usable while the root key is not there, until something changes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from blockdev.clock import Clock
from objstore.config import MAX_KEY_FILE_BYTES
from objstore.entropy import Entropy
from objstore.kms import changes
from objstore.kms.errors import KeyLimitError
from objstore.kms.folder import NO_FILE, KeyFolder
from objstore.kms.keyfile import KeyFile, decode, encode
from objstore.kms.model import Document, KeyRecord
from objstore.kms.ring import KeyRing
from objstore.kms.root import MATERIAL_BYTES, SECRET_BYTES, RootFile, RootKey

NS_PER_MS: Final = 1_000_000

Change = Callable[[Document, changes.Maker], Document]


class KeyKeeper:
    """The keys as they are now, and how they come to be others.  Safe to share between threads.

    Every method may raise `KeyServiceError` and `StoreLockedError`.
    """

    def __init__(self, folder: Path, root_path: Path, clock: Clock, entropy: Entropy) -> None:
        self._folder = KeyFolder(folder, clock)
        self._root_file = RootFile(root_path)
        self._clock = clock
        self._entropy = entropy
        self._lock = threading.Lock()
        self._ring: KeyRing | None = None

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return self._clock.now_ns() // NS_PER_MS

    def current(self) -> KeyRing:
        """The keys as they are now."""
        ring = self._ring
        if (
            ring is not None
            and self._folder.stamp() == ring.stamp
            and self._clock.now_ns() < ring.due_ns
        ):
            return ring
        with self._lock:
            with self._folder.locked(make=False):
                ring = self._ring = self._load()
            if self._clock.now_ns() < ring.due_ns:
                return ring
        return self.change(lambda document, make: document)

    def change(self, change: Change) -> KeyRing:
        """Make a change to the keys; see the module's text."""
        with self._lock, self._folder.locked(make=True):
            ring = self._load()
            root = RootKey(self._secret_of(ring))

            def make(key_id: str, number: int) -> bytes:
                material = self._entropy.token_bytes(MATERIAL_BYTES)
                return root.wrap(material, key_id, number, self._entropy)

            settled = changes.settle(ring.document, self.now_ms(), make)
            changed = change(settled, make)
            if changed != ring.document:
                generation = 0 if ring.file is None else ring.file.generation
                self._write(KeyFile(changed, root, generation))
                ring = self._load()
            self._ring = ring
            return ring

    def rotate_root(self) -> str:
        """Wrap every key anew under a new root key; the new one's id.

        At every moment the root key's file holds the one that the key file is under:

        1. the root key's file holds the old one and the new;
        2. the key file is under the new one;
        3. the root key's file holds the new one alone.
        """
        with self._lock, self._folder.locked(make=True):
            ring = self._load()
            old = self._secret_of(ring)
            new = self._entropy.token_bytes(SECRET_BYTES)
            root = RootKey(new)
            self._root_file.replace([old, new])
            if ring.file is not None:
                self._write(KeyFile(self._rewrapped(ring.file, root), root, ring.file.generation))
            self._root_file.replace([new])
            self._ring = self._load()
        return root.id.hex()

    def close(self) -> None:
        """Let go of the key file and forget what was unwrapped; the next call reads it anew."""
        with self._lock:
            self._ring = None
            self._folder.close()

    def _secret_of(self, ring: KeyRing) -> bytes:
        """The root key that the key file is under; a new one where there is neither.

        What an interrupted rotation left in the root key's file besides is removed.
        """
        secrets = self._root_file.read() or self._root_file.make(self._entropy)
        wanted = secrets[0]
        if ring.file is not None:
            root_id = ring.file.root.id
            wanted = next(secret for secret in secrets if RootKey(secret).id == root_id)
        if len(secrets) > 1:
            self._root_file.replace([wanted])
        return wanted

    def _rewrapped(self, file: KeyFile, root: RootKey) -> Document:
        """All keys of a file, their material wrapped by another root key."""

        def under_new(record: KeyRecord) -> KeyRecord:
            versions = []
            for version in record.versions:
                material = file.root.unwrap(version.wrapped, record.key_id, version.number)
                sealed = root.wrap(material, record.key_id, version.number, self._entropy)
                versions.append(replace(version, wrapped=sealed))
            return replace(record, versions=tuple(versions))

        return replace(file.document, keys=tuple(map(under_new, file.document.keys)))

    def _load(self) -> KeyRing:
        """The keys as the file has them.  Needs both locks."""
        stamp, data = self._folder.read()
        if stamp == NO_FILE:
            return KeyRing(None)
        names = str(self._folder.keys), str(self._root_file.path)
        return KeyRing(decode(data, self._root_file.read(), *names), stamp)

    def _write(self, file: KeyFile) -> None:
        """Write the next generation of the key file."""
        data = encode(KeyFile(file.document, file.root, file.generation + 1))
        if len(data) > MAX_KEY_FILE_BYTES:
            raise KeyLimitError(f"the key file would be longer than {MAX_KEY_FILE_BYTES} bytes")
        self._folder.replace(data)
