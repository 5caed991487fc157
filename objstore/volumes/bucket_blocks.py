"""The blocks of EBS snapshots as the objects of a bucket."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from blockdev.block_codec import (
    DIGEST_BYTES,
    BlockCorruptError,
    BlockMissingError,
    decode,
    encode,
)
from blockdev.blocks import same_block
from blockdev.device import Buffer
from blockdev.errors import DeviceFullError, DeviceIOError
from objstore.engine.store import ObjectStore
from objstore.errors import CorruptionError, NotFoundError, StoreError, StoreFullError

PAGE_KEYS: Final = 1000


class BucketBlockStore:
    """A `blockdev.blocks.BlockStore` in a bucket: one object a block, ``<prefix><digest in hex>``.

    A put is durable when it returns, so that `sync` has nothing to do.  The bucket is made
    with the first put.  Objects of other names are left alone, and not listed.
    """

    def __init__(self, store: ObjectStore, bucket: str, prefix: str = "") -> None:
        self._store = store
        self._bucket = bucket
        self._prefix = prefix

    @property
    def location(self) -> str:
        """As S3 names it: ``s3://BUCKET/PREFIX``."""
        return f"s3://{self._bucket}/{self._prefix}"

    def put(self, digest: bytes, plain: Buffer) -> int:
        with _as_device_error("put", digest):
            try:
                present = self._read(digest)
            except (NotFoundError, CorruptionError):
                present = b""
            if present and same_block(present, digest, plain):
                return len(present)
            stored = encode(plain)
            self._store.put(self._bucket, self._key(digest), stored)
        return len(stored)

    def get(self, digest: bytes) -> bytes:
        with _as_device_error("get", digest):
            return decode(self._read(digest), digest)

    def delete(self, digest: bytes) -> None:
        with _as_device_error("delete", digest), contextlib.suppress(NotFoundError):
            self._store.delete(self._bucket, self._key(digest))

    def hashes(self) -> Iterator[bytes]:
        after: str | None = ""
        while after is not None:
            with _as_device_error("list", b""):
                try:
                    page = self._store.list(
                        self._bucket, prefix=self._prefix, start_after=after, limit=PAGE_KEYS
                    )
                except NotFoundError:  # the bucket: nothing was put yet
                    return
            for entry in page.entries:
                digest = _digest_in(entry.key[len(self._prefix) :])
                if digest is not None:
                    yield digest
            after = page.next_after

    def sync(self) -> None:
        """Nothing to do."""

    def _key(self, digest: bytes) -> str:
        return self._prefix + digest.hex()

    def _read(self, digest: bytes) -> bytes:
        with self._store.get(self._bucket, self._key(digest)) as reader:
            return reader.read()


@contextlib.contextmanager
def _as_device_error(action: str, digest: bytes) -> Iterator[None]:
    name = digest.hex()
    try:
        yield
    except NotFoundError as error:
        raise BlockMissingError(f"block {name} is not in the bucket") from error
    except CorruptionError as error:
        raise BlockCorruptError(f"block {name}: {error}") from error
    except StoreFullError as error:
        raise DeviceFullError(f"{action} of block {name}: {error}") from error
    except StoreError as error:
        raise DeviceIOError(f"{action} of block {name}: {error}") from error


def _digest_in(name: str) -> bytes | None:
    """The digest that an object is named for, None for an object that is no block."""
    if len(name) != 2 * DIGEST_BYTES or name != name.lower():
        return None
    try:
        return bytes.fromhex(name)
    except ValueError:
        return None
