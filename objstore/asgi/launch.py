"""From settings to a running server: one process, or several under a parent."""

from __future__ import annotations

import contextlib
import functools
import logging
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from blockdev import DeviceError
from blockdev.clock import SystemClock
from blockdev.model import ServiceError
from objstore.access_logs import AccessLogs
from objstore.asgi import process
from objstore.asgi.server import FrontServer
from objstore.asgi.state import FrontState
from objstore.asgi.workers import EXIT_NOT_STARTED, EXIT_POISONED, READY, Supervisor
from objstore.aws.regions import Regions, UnknownRegionError
from objstore.config import ACCESS_LOG_INTERVAL_S, ServerConfig
from objstore.entropy import SystemEntropy
from objstore.errors import BucketExistsError, StoreError
from objstore.events import Delivery, Destination
from objstore.kms.service import FOLDER_NAME, LocalKeyService
from objstore.volumes.placement import Placement, PlacementError, place

if TYPE_CHECKING:
    from blockdev.service import Region
    from objstore import ObjectStore
    from objstore.volumes.store_device import StoreDevice

logger = logging.getLogger("objstore.server")

_NOT_OPENED = (
    *(StoreError, DeviceError, PlacementError),
    *(ServiceError, UnknownRegionError, OSError),
)
"""What a store that cannot be opened, or the region of its volume, is told by."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What `objstore serve` was asked for.

    `placement`: the store's device; None for the one that it is on, or its own file.
    `snapshot_bucket`: where the regions keep the blocks of snapshots; empty for files.
    `root_key_file`: of the key service; None for the folder of its keys.
    `bucket_log_interval_s`: how long lines of buckets' access logs gather for an object.
    `destinations`: of events; `tokens`: of webhooks, by their names.
    `is_ending`: whether the server is about to stop, and is not to be called ready.
    `credits`: what the burst bucket of its volume is to hold, instead of what it has.
    """

    data_dir: Path
    access_key: str
    secret_key: str = field(repr=False)
    region: str = "us-east-1"
    workers: int = 1
    base_domains: tuple[str, ...] = ("localhost",)
    website_domains: tuple[str, ...] = ()
    access_log: bool = False
    config: ServerConfig = field(default_factory=ServerConfig)
    placement: Placement | None = None
    credits: float | None = None
    is_ending: bool = False
    snapshot_bucket: str = ""
    root_key_file: Path | None = None
    bucket_log_interval_s: float = ACCESS_LOG_INTERVAL_S
    destinations: tuple[Destination, ...] = ()
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)


def serve(settings: Settings, listener: socket.socket, *, on_ready: Callable[[], None]) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status."""
    if settings.workers == 1:
        return run_process(settings, listener=listener, on_ready=on_ready)
    supervisor = Supervisor(
        listener,
        settings.workers,
        functools.partial(_run_worker, settings),
        clock=SystemClock(),
        grace_s=settings.config.shutdown_grace_s,
        drain_s=settings.config.drain_s,
        on_ready=on_ready,
    )
    return supervisor.run()


def _run_worker(
    settings: Settings, channel: socket.socket, note_closed: Callable[[], None], is_ending: bool
) -> int:
    def on_ready() -> None:
        channel.send(READY)

    settings = replace(settings, is_ending=is_ending)
    return run_process(settings, handoff=channel, on_ready=on_ready, on_close=note_closed)


def run_process(
    settings: Settings,
    *,
    listener: socket.socket | None = None,
    handoff: socket.socket | None = None,
    on_ready: Callable[[], None],
    on_close: Callable[[], None] | None = None,
) -> int:
    """One process's server, from opening the store to closing it; returns the exit status.

    When the device fails, what runs is finished and the process ends with `EXIT_POISONED`:
    only a store that is opened anew takes writes again, after its recovery.
    """
    process.tune()
    regions = Regions(settings.data_dir, settings.region, SystemClock(), SystemEntropy())
    with contextlib.ExitStack() as stack:
        # What is entered later is left earlier: the store, its device, the region of that.
        stack.callback(regions.close)
        keys = _key_service(settings)
        stack.callback(keys.close)
        try:
            opened, store = _open_store(stack, settings, regions, keys)
        except _NOT_OPENED as error:
            logger.error("cannot open the store in %s: %s", settings.data_dir, error)
            return EXIT_NOT_STARTED
        if opened.is_throttled:
            # The loop must not wait for a device that lets its callers wait.
            config = replace(settings.config, commits_on_loop=False)
            settings = replace(settings, config=config)
        stack.enter_context(_watched(opened))
        return _serve_store(settings, store, regions, keys, listener, handoff, on_ready, on_close)


def _key_service(settings: Settings) -> LocalKeyService:
    """The keys of the store and of KMS's API; nothing is made before one is needed."""
    return LocalKeyService(
        settings.data_dir / FOLDER_NAME,
        SystemClock(),
        SystemEntropy(),
        settings.root_key_file,
        region=settings.region,
    )


def _open_store(
    stack: contextlib.ExitStack, settings: Settings, regions: Regions, keys: LocalKeyService
) -> tuple[StoreDevice, ObjectStore]:
    """The store on its device, both closed with `stack`."""
    from objstore import ObjectStore
    from objstore.volumes.store_device import open_to_serve

    def home() -> Region:
        return regions.get(settings.region).region

    placement = settings.placement or place(settings.data_dir, None)
    opened = stack.enter_context(open_to_serve(placement, home, SystemEntropy(), settings.credits))
    store = ObjectStore.open(
        settings.data_dir,
        config=opened.config(),
        device=opened.device,
        create_buckets=False,
        key_service=keys,
    )
    stack.enter_context(store)
    if settings.snapshot_bucket:
        _keep_blocks(store, settings, regions)
        # Its copies write to the store: the regions have to end before it.
        stack.callback(regions.close)
        home()  # whether its blocks can be there is told now, not to some caller
    return opened, store


def _keep_blocks(store: ObjectStore, settings: Settings, regions: Regions) -> None:
    """Have the regions put their blocks into a bucket, made now at the latest."""
    from objstore.volumes.bucket_blocks import BucketBlockStore

    bucket = settings.snapshot_bucket
    with contextlib.suppress(BucketExistsError):
        store.create_bucket(bucket, region=settings.region)
    regions.keep_blocks(lambda name: BucketBlockStore(store, bucket, f"ebs/{name}/"))


@contextlib.contextmanager
def _watched(opened: StoreDevice) -> Iterator[None]:
    """Have the log tell of the store's volume, if it is on one; at once upon SIGUSR1."""
    from objstore.volumes.device_watch import DeviceWatch

    if opened.region is None:
        yield
        return
    watch = DeviceWatch(opened.region, opened.volume_id)
    before = signal.signal(signal.SIGUSR1, watch.ask)
    watch.start()
    try:
        yield
    finally:
        watch.stop()
        signal.signal(signal.SIGUSR1, before)


def _serve_store(
    settings: Settings,
    store: ObjectStore,
    regions: Regions,
    keys: LocalKeyService,
    listener: socket.socket | None,
    handoff: socket.socket | None,
    on_ready: Callable[[], None],
    on_close: Callable[[], None] | None,
) -> int:
    """Serve an open store; returns the exit status."""
    from objstore.asgi.app import make_app, root_credentials

    is_poisoned = False

    def stop_poisoned() -> None:
        nonlocal is_poisoned
        if not is_poisoned:
            is_poisoned = True
            logger.error("the device failed: this process ends; the store has to be opened anew")
            server.should_exit = True

    def ready() -> None:
        process.settle()
        on_ready()

    delivery = Delivery(store, settings.data_dir, settings.destinations, tokens=settings.tokens)
    logs = AccessLogs(
        store,
        settings.data_dir,
        region=settings.region,
        interval_s=settings.bucket_log_interval_s,
    )
    app = make_app(
        store,
        [root_credentials(settings.access_key, settings.secret_key)],
        region=settings.region,
        config=settings.config,
        base_domains=settings.base_domains,
        on_poisoned=stop_poisoned,
        regions=regions,
        key_service=keys,
        destinations=delivery.names,
        website_domains=settings.website_domains,
        access_logs=logs,
    )
    if settings.is_ending:
        app.withdraw()
    state = FrontState(settings.config, clock=store.clock, access_log=settings.access_log)
    state.access_logs = logs
    server = FrontServer(
        app, state, handoff=handoff, on_ready=ready, on_close=on_close, on_drain=app.withdraw
    )
    with delivery, logs:
        server.run([listener] if listener is not None else [])
    if is_poisoned:
        return EXIT_POISONED
    return 0 if server.started else EXIT_NOT_STARTED
