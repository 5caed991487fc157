"""Joining the processes that have a store open, and leaving them."""

from __future__ import annotations

import contextlib

from blockdev import Clock
from objstore.config import StoreConfig
from objstore.engine.commit import Committer
from objstore.engine.core import Core
from objstore.engine.flush import FlushGate
from objstore.engine.opening import Folder, Opened, mark
from objstore.engine.sharing import Slots, SoleLock
from objstore.engine.space import Space, reap_leases
from objstore.entropy import Entropy
from objstore.errors import StoreError
from objstore.kms.service import FOLDER_NAME, KeyService, LocalKeyService
from objstore.log.format import Layout


def join(
    opened: Opened,
    folder: Folder,
    config: StoreConfig,
    clock: Clock,
    entropy: Entropy,
    makes_buckets: bool,
    key_service: KeyService | None = None,
) -> Core:
    """The parts of a store that was opened; what this process left behind earlier is ended.

    `key_service`: None for the folder's own, which makes nothing before a key is needed.
    """
    layout = Layout.of(opened.superblock)
    slots = Slots(folder.run / "slots")
    space_path = folder.path if opened.owns_device else None
    own_keys = LocalKeyService(folder.path / FOLDER_NAME, clock, entropy)
    core = Core(
        opened.device,
        opened.index,
        opened.superblock,
        layout,
        config,
        clock,
        entropy,
        slots,
        Space(opened.device, opened.index, layout, slots),
        Committer(opened.device, opened.index, opened.superblock, config, clock, space_path, slots),
        FlushGate(opened.device),
        SoleLock(folder.run / "maintenance"),
        makes_buckets,
        key_service or own_keys,
        close_keys=own_keys.close,
    )
    reap_leases(core.index, slots, own=True)
    return core


def leave(core: Core, opened: Opened, folder: Folder) -> None:
    """Finish what runs and let go; whoever is the last syncs the index and says so."""
    core.committer.close()
    core.close_pool()
    core.close_keys()
    with contextlib.suppress(StoreError):
        core.space.end_all()
    if opened.lock.try_exclusive():
        with contextlib.suppress(OSError):
            core.index.sync()
            mark(folder, opened.superblock, is_clean=True)
    core.slots.close()
    core.maintenance_lock.close()
    opened.release()
