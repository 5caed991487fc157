"""Block stores: where the 512 KiB blocks of snapshots are kept, each under its digest.

A store knows nothing of snapshots and counts no references: `refs.py` decides what is put
and what is deleted.  A put is not durable before the next `sync`: a snapshot syncs once for
many blocks.  Whoever puts a block that is there already gets it compared with what is
there, so a spoilt block is mended by whoever puts it again.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from blockdev.block_codec import (
    DIGEST_BYTES,
    BlockCollisionError,
    BlockCorruptError,
    BlockMissingError,
    decode,
    digest_of,
    encode,
)
from blockdev.device import Buffer
from blockdev.errors import DeviceError, DeviceFullError, DeviceIOError

SYNC_FILES_MAX: Final = 128
"""Files put, not yet synced and therefore still open, at most: the put that reaches it syncs."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_SERIALS: Final = itertools.count()
_NEW: Final = "new"
"""The folder of files that are not whole yet."""


@runtime_checkable
class BlockStore(Protocol):
    """Blocks by digest.  Safe to use from any thread, and from several processes."""

    def put(self, digest: bytes, plain: Buffer) -> int:
        """Keep a block; return its stored bytes.  Idempotent, durable after the next `sync`.

        Raises:
            DeviceFullError: no room; nothing was stored.
            BlockCollisionError: another block is there under the same digest.
            DeviceIOError: the medium failed.
        """
        ...

    def get(self, digest: bytes) -> bytes:
        """The plain bytes of a block, verified.

        Raises:
            BlockMissingError: there is none.
            BlockCorruptError: what is there does not match the digest.
        """
        ...

    def delete(self, digest: bytes) -> None:
        """Drop a block, if it is there; durable after the next `sync`."""
        ...

    def hashes(self) -> Iterator[bytes]:
        """The digests of all blocks, in any order; what changes meanwhile may or may not show."""
        ...

    def sync(self) -> None:
        """Make all that was put or deleted by calls that returned durable."""
        ...


FILES: Final = "files of the region's folder"
"""Where a `FileBlockStore` says that its blocks are."""


def location_of(blocks: BlockStore) -> str:
    """Where the blocks are, in words that a region keeps and compares when it is next opened.

    A store says it by an attribute `location`; one without counts by its kind.
    """
    return str(getattr(blocks, "location", type(blocks).__name__))


class MemoryBlockStore:
    """The twin that the others are tested against; gone with the process."""

    def __init__(self) -> None:
        self._stored: dict[bytes, bytes] = {}

    def put(self, digest: bytes, plain: Buffer) -> int:
        present = self._stored.get(digest)
        if present is not None and same_block(present, digest, plain):
            return len(present)
        stored = encode(plain)
        self._stored[digest] = stored
        return len(stored)

    def get(self, digest: bytes) -> bytes:
        stored = self._stored.get(digest)
        if stored is None:
            raise BlockMissingError(f"block {digest.hex()} is not in the store")
        return decode(stored, digest)

    def delete(self, digest: bytes) -> None:
        self._stored.pop(digest, None)

    def hashes(self) -> Iterator[bytes]:
        return iter(list(self._stored))

    def sync(self) -> None:
        """Nothing to do."""


def same_block(stored: bytes, digest: bytes, plain: Buffer) -> bool:
    """Whether what is stored already is the block to be put; False if it is spoilt.

    Raises:
        BlockCollisionError: it is whole, and another block.
    """
    try:
        present = decode(stored, digest)
    except BlockCorruptError:
        return False
    if present != plain:
        raise BlockCollisionError(f"block {digest.hex()}: two different blocks have this digest")
    return True


class FileBlockStore:
    """One file a block, in 256 folders named for the first byte of the digest.

    A file appears whole under its name: written in a folder for new ones, then renamed.  What
    a process that was killed left there bears its number, and goes when the store is opened.
    """

    location: Final = FILES

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._sync_lock = threading.Lock()
        self._failure: DeviceError | None = None
        self._unsynced: dict[bytes, int] = {}
        self._folders: set[str] = set()

    @classmethod
    def open(cls, folder: Path) -> FileBlockStore:
        """The store in `folder`, which is made with its 256 folders if it is not there.

        Raises:
            DeviceError: it cannot be made.
        """
        with _as_device_error("open", folder.name):
            if not (folder / _NEW).is_dir():
                for number in range(256):
                    (folder / f"{number:02x}").mkdir(parents=True, exist_ok=True)
                (folder / _NEW).mkdir(exist_ok=True)
                _sync_folder(folder)
                _sync_folder(folder.parent)
            _remove_leftovers(folder / _NEW)
        return cls(folder)

    @property
    def folder(self) -> Path:
        """Where the blocks are."""
        return self._folder

    def put(self, digest: bytes, plain: Buffer) -> int:
        path = self._path(digest)
        with _as_device_error("put", digest.hex()):
            present = _read(path)
            if present is not None and same_block(present, digest, plain):
                # Somebody else may have put it and not synced it yet.
                self._keep(digest, os.open(path, os.O_RDONLY | os.O_CLOEXEC))
                return len(present)
            stored = encode(plain)
            self._keep(digest, self._write(path, stored))
        return len(stored)

    def get(self, digest: bytes) -> bytes:
        with _as_device_error("get", digest.hex()):
            stored = _read(self._path(digest))
        if stored is None:
            raise BlockMissingError(f"block {digest.hex()} is not in the store")
        return decode(stored, digest)

    def delete(self, digest: bytes) -> None:
        with _as_device_error("delete", digest.hex()), self._lock:
            self._path(digest).unlink(missing_ok=True)
            self._folders.add(digest[:1].hex())
            descriptor = self._unsynced.pop(digest, None)
            if descriptor is not None:
                os.close(descriptor)

    def hashes(self) -> Iterator[bytes]:
        for number in range(256):
            with _as_device_error("list", f"{number:02x}"):
                names = sorted(os.listdir(self._folder / f"{number:02x}"))
            for name in names:
                if _is_digest(name):
                    yield bytes.fromhex(name)

    def sync(self) -> None:
        # One at a time, files and all: whoever comes second may have put what the first is
        # at, and must neither return before it is durable nor miss that it failed.
        with self._sync_lock:
            if self._failure is not None:
                raise self._failure
            self._sync_all()

    def _sync_all(self) -> None:
        with self._lock:
            unsynced, self._unsynced = self._unsynced, {}
            folders, self._folders = self._folders, set()
        try:
            with _as_device_error("sync", self._folder.name):
                for descriptor in unsynced.values():
                    os.fsync(descriptor)
                for name in folders | {digest[:1].hex() for digest in unsynced}:
                    _sync_folder(self._folder / name)
        except DeviceError as error:
            # Another try would succeed and prove nothing: the kernel has dropped the pages.
            self._failure = DeviceIOError(f"{error}; what was put may be lost: open it again")
            raise
        finally:
            for descriptor in unsynced.values():
                os.close(descriptor)

    def close(self) -> None:
        """Give the open files back, unsynced; the store may be used on."""
        with self._lock:
            unsynced, self._unsynced = self._unsynced, {}
        for descriptor in unsynced.values():
            os.close(descriptor)

    def _path(self, digest: bytes) -> Path:
        name = digest.hex()
        return self._folder / name[:2] / name

    def _write(self, path: Path, stored: bytes) -> int:
        """Write a file whole; return it open, for `sync`."""
        beside = self._folder / _NEW / f"{path.name}.{os.getpid()}.{next(_SERIALS)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(beside, flags, 0o600)
        try:
            _write_all(descriptor, stored)
            os.rename(beside, path)
        except BaseException:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                os.unlink(beside)
            raise
        return descriptor

    def _keep(self, digest: bytes, descriptor: int) -> None:
        """Note a file for the next sync."""
        with self._lock:
            earlier = self._unsynced.pop(digest, None)
            self._unsynced[digest] = descriptor
            crowded = len(self._unsynced) >= SYNC_FILES_MAX
        if earlier is not None:
            os.close(earlier)
        if crowded:
            self.sync()


@contextlib.contextmanager
def _as_device_error(action: str, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind: type[DeviceError] = DeviceFullError if error.errno in _FULL else DeviceIOError
        raise kind(f"block store: {action} {what}: {error.strerror}") from error


def _remove_leftovers(new: Path) -> None:
    """Remove what killed processes left half written."""
    for path in new.iterdir():
        if not _is_running(path.name.split(".")[1]):
            path.unlink(missing_ok=True)


def _is_running(process: str) -> bool:
    """Whether a process of that number is there; that of another user counts."""
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, ValueError):
        return True
    return True


def _is_digest(name: str) -> bool:
    return len(name) == 2 * DIGEST_BYTES and all(c in "0123456789abcdef" for c in name)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _write_all(descriptor: int, stored: bytes) -> None:
    view = memoryview(stored)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


__all__ = [
    "FILES",
    "BlockStore",
    "FileBlockStore",
    "MemoryBlockStore",
    "digest_of",
    "location_of",
    "same_block",
]
