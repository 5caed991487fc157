"""The embedding API: `ObjectStore`."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

from blockdev import BlockDevice, Clock, SystemClock
from objstore.config import StoreConfig
from objstore.engine.append import AppendStream
from objstore.engine.append_calls import AppendCalls
from objstore.engine.bucket_calls import BucketCalls
from objstore.engine.check import Problem, check_core
from objstore.engine.copy_calls import CopyCalls
from objstore.engine.core import Core
from objstore.engine.maintenance import Maintenance, MaintenanceReport
from objstore.engine.membership import join, leave
from objstore.engine.multipart import PartStream
from objstore.engine.multipart_calls import MultipartCalls
from objstore.engine.object_calls import ObjectCalls
from objstore.engine.opening import Folder, Opened, open_folder
from objstore.engine.outbox_calls import OutboxCalls
from objstore.engine.put import PutStream
from objstore.engine.reader import ObjectReader
from objstore.engine.recovery import RebuildReport
from objstore.engine.version_calls import VersionCalls
from objstore.entropy import Entropy, SystemEntropy
from objstore.errors import StoreFullError
from objstore.kms.service import KeyService

# `ObjectStore.list` hides the builtin from what follows it in the class.
Problems: TypeAlias = list[Problem]


class ObjectStore(
    BucketCalls,
    ObjectCalls,
    CopyCalls,
    VersionCalls,
    MultipartCalls,
    AppendCalls,
    OutboxCalls,
):
    """A durable object store in a folder, or on a block device.

    Any number of threads may use one object, and any number of processes may open
    one folder at a time (each of them once; open it after a fork).  A write has
    been made durable when its method returns.

        with ObjectStore.open("data") as store:
            store.put("bucket", "key", b"bytes")
            print(store.get("bucket", "key").read())

    Besides what each method names, all raise `StoreUnavailableError` when the store
    itself is what fails: full, closed, damaged, poisoned by a device that failed.
    """

    def __init__(self, core: Core, opened: Opened, folder: Folder) -> None:
        """Use `ObjectStore.open`."""
        self._core = core
        self._opened = opened
        self._folder = folder
        self._maintenance = Maintenance(core, folder.checkpoints)
        core.make_room = core.space.on_full = self._maintenance.make_room
        self._is_closed = False

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        config: StoreConfig | None = None,
        clock: Clock | None = None,
        entropy: Entropy | None = None,
        device: BlockDevice | None = None,
        create_buckets: bool = True,
        key_service: KeyService | None = None,
    ) -> ObjectStore:
        """Open the store in folder `path`; make it, or recover it, if need be.

        Args:
            config: bounds; sizes that were fixed when the store was made stay so.
            device: where the log and the data lie, instead of the file ``device`` in
                the folder; it is not closed with the store.
            create_buckets: writing to a bucket that is missing makes it, as embedding
                programs like it; the server leaves that to CreateBucket.
            key_service: wraps the keys of encrypted objects; by default the folder's own
                keys do, in ``kms``.  It is not closed with the store.

        Raises:
            StoreLockedError: another process has been recovering it for a minute.
            CorruptionError: the log is damaged, or the device holds something else.
        """
        config = config or StoreConfig()
        clock, entropy = clock or SystemClock(), entropy or SystemEntropy()
        folder = Folder(Path(path))
        opened = open_folder(folder, config, clock, entropy, device)
        return cls._join(opened, folder, config, clock, entropy, create_buckets, key_service)

    @classmethod
    def _join(
        cls,
        opened: Opened,
        folder: Folder,
        config: StoreConfig,
        clock: Clock,
        entropy: Entropy,
        create_buckets: bool,
        key_service: KeyService | None = None,
    ) -> ObjectStore:
        try:
            core = join(opened, folder, config, clock, entropy, create_buckets, key_service)
            store = cls(core, opened, folder)
            store._maintenance.start()
            return store
        except BaseException as error:
            opened.release()
            if isinstance(error, OSError):
                raise StoreFullError(f"the store cannot be opened: {error}") from error
            raise

    @property
    def config(self) -> StoreConfig:
        return self._core.config

    @property
    def clock(self) -> Clock:
        return self._core.clock

    @property
    def entropy(self) -> Entropy:
        return self._core.entropy

    @property
    def recovery(self) -> RebuildReport | None:
        """What had to be replayed when this store was opened; None if nothing."""
        return self._opened.report

    @property
    def is_writable(self) -> bool:
        """Whether writes are taken: the store is open, and its device has not failed."""
        return not self._is_closed and self._core.committer.is_usable

    def close(self) -> None:
        """Finish what runs and let go; idempotent.

        The last process to close the store syncs its index, so that the next start
        need not replay anything even after a power loss.
        """
        if self._is_closed:
            return
        self._is_closed = True
        self._maintenance.stop()
        leave(self._core, self._opened, self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- the store itself -----------------------------------------------------------

    def check(self) -> Problems:
        """Every invariant, every checksum, as of now; empty when all is whole."""
        return check_core(self._open_core())

    def maintain(self) -> MaintenanceReport:
        """One round of maintenance now, besides those that run by themselves."""
        self._open_core()
        return self._maintenance.round()

    def checkpoint(self) -> int:
        """Take a checkpoint now; the number of the batch it holds."""
        self._open_core()
        return self._maintenance.take_checkpoint()


__all__ = ["AppendStream", "ObjectReader", "ObjectStore", "PartStream", "PutStream"]
