"""The device of a store, opened: what a server or a tool puts the engine on.

A new volume is attached to an instance made for it, so that EC2 describes it as in use and
snapshots of it are taken while the server writes.  Both are made once, under a token in the
folder's note; what became of them by EC2's verbs meanwhile is looked at on each start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from blockdev.device import BlockDevice
from blockdev.errors import DeviceError
from blockdev.file import FileDevice
from blockdev.memory import MemoryDevice
from blockdev.model import BlockDeviceMapping, Instance, ServiceError
from objstore.config import MIB, StoreConfig
from objstore.engine.sharing import FileLock
from objstore.entropy import Entropy
from objstore.volumes.device_spec import ExistingVolume, InstanceDisk, Memory, NewVolume, RawPath
from objstore.volumes.placement import (
    Placement,
    PlacementError,
    has_volume,
    is_throttled,
    write_note,
)

if TYPE_CHECKING:
    from blockdev.service import Region

HomeRegion: TypeAlias = "Callable[[], Region]"
"""The region in the server's own folder, opened when it is first needed."""

LOCK_NAME: Final = "device.lock"
IMAGE_ID: Final = "ami-0b1ec75702e000000"
INSTANCE_TYPE: Final = "m5.large"
DEVICE_NAME: Final = "/dev/sdf"
TAGS: Final = {"Name": "objstore"}
TOKEN_BYTES: Final = 16

MIN_SEGMENT_BYTES: Final = 16 * MIB
SEGMENTS: Final = 64
"""A small device gets smaller segments, so that it has about so many: a store with few of
them is full while much of it is empty."""


@dataclass(frozen=True, slots=True)
class StoreDevice:
    """An open device; `device` is None for the store's own file, which the engine opens.

    `is_throttled`: its calls wait for the limits of what it simulates.  `region` and
    `volume_id` are set if it is a volume; the region is not this object's to close.
    """

    placement: Placement
    device: BlockDevice | None = None
    region: Region | None = None

    @property
    def volume_id(self) -> str:
        """The volume, or ""."""
        return self.placement.volume_id

    @property
    def is_throttled(self) -> bool:
        return is_throttled(self.placement.spec)

    def config(self) -> StoreConfig:
        """Bounds for a store on this device."""
        if self.device is None:
            return StoreConfig()
        segment_bytes = segment_bytes_of(self.device.geometry.size_bytes)
        if not self.is_throttled:
            return StoreConfig(segment_bytes=segment_bytes)
        # Writing zeroes ahead spares a file system work; of a volume it only takes I/Os.
        return StoreConfig(segment_bytes=segment_bytes, zero_ahead_bytes=0)


def segment_bytes_of(size_bytes: int) -> int:
    """The segments that a new store on a device of `size_bytes` gets."""
    most_bytes = StoreConfig().segment_bytes
    fitting_bytes = 1 << max(0, (size_bytes // SEGMENTS).bit_length() - 1)
    return max(MIN_SEGMENT_BYTES, min(most_bytes, fitting_bytes))


def open_to_serve(
    placement: Placement, home: HomeRegion, entropy: Entropy, credits: float | None = None
) -> AbstractContextManager[StoreDevice]:
    """Open the device of a store for a server; at the end it is closed.

    `credits`: what the burst bucket of its volume is to hold, instead of what it has.

    Raises, on entering:
        PlacementError: it cannot be opened, or another process has it open.
    """
    return _translated(lambda stack: _to_serve(stack, placement, home, entropy, credits))


def open_to_look(placement: Placement) -> AbstractContextManager[StoreDevice]:
    """Open the device of a store for a tool: unthrottled, attached to nothing, made by nobody.

    Raises, on entering:
        PlacementError: it cannot be opened, or another process has it open.
    """
    return _translated(lambda stack: _to_look(stack, placement))


@contextmanager
def _translated(enter: Callable[[ExitStack], StoreDevice]) -> Iterator[StoreDevice]:
    with ExitStack() as stack:
        try:
            found = enter(stack)
        except ServiceError as error:
            raise PlacementError(f"{error.code}: {error.message}") from error
        except DeviceError as error:
            raise PlacementError(str(error)) from error
        yield found


def _to_serve(
    stack: ExitStack,
    placement: Placement,
    home: HomeRegion,
    entropy: Entropy,
    credits: float | None,
) -> StoreDevice:
    spec = placement.spec
    if credits is not None and not has_volume(spec):
        raise PlacementError(f"{spec} has no burst credits; gp2, st1 and sc1 volumes have")
    if not placement.is_shared:
        _lock(stack, placement)
    if isinstance(spec, NewVolume | InstanceDisk) and not placement.token:
        placement = replace(placement, token=entropy.token_bytes(TOKEN_BYTES).hex())
        write_note(placement)
    match spec:
        case NewVolume() | ExistingVolume():
            region = _region_of(stack, placement, home)
            opened = _serve_volume(region, placement, credits)
        case InstanceDisk(instance_type):
            opened = _serve_disk(home(), placement, instance_type)
        case _:
            opened = _plain(placement)
    if opened.device is not None:
        stack.callback(opened.device.close)
    if opened.placement.is_noted:
        write_note(opened.placement)
    return opened


def _plain(placement: Placement) -> StoreDevice:
    match placement.spec:
        case Memory(size_bytes):
            return StoreDevice(placement, MemoryDevice(size_bytes))
        case RawPath(path):
            return StoreDevice(placement, FileDevice.open(path))
        case _:
            return StoreDevice(placement)


def _lock(stack: ExitStack, placement: Placement) -> None:
    """Be the only process with the store open, until the end."""
    run = placement.data_dir / "run"
    run.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = FileLock(run / LOCK_NAME)
    stack.callback(lock.close)
    if not lock.try_exclusive():
        raise PlacementError(
            f"another process has the store in {placement.data_dir} open on "
            f"{placement.description}, which one process can have at a time: stop it first"
        )


def _region_of(stack: ExitStack, placement: Placement, home: HomeRegion) -> Region:
    spec = placement.spec
    if isinstance(spec, ExistingVolume) and spec.region_dir is not None:
        return stack.enter_context(_existing_region(spec.region_dir))
    return home()


def _existing_region(folder: Path) -> Region:
    # Only who uses block devices pays for loading their control plane.
    from blockdev.service import DATABASE, Region

    if not (folder / DATABASE).exists():
        raise PlacementError(f"there is no region in {folder}")
    return Region.open(folder)


# A volume, on an instance.


def _serve_volume(region: Region, placement: Placement, credits: float | None) -> StoreDevice:
    placement = _with_volume(region, placement)
    instance_id = _attached(region, placement)
    if credits is not None:
        region.set_credits(placement.volume_id, credits)
    device = region.open_volume(placement.volume_id, instance_id=instance_id)
    return StoreDevice(replace(placement, instance_id=instance_id), device, region)


def _with_volume(region: Region, placement: Placement) -> Placement:
    """The placement with its volume, made now if it was not yet."""
    spec = placement.spec
    if isinstance(spec, ExistingVolume):
        return replace(placement, volume_id=spec.volume_id)
    assert isinstance(spec, NewVolume)  # the only other one that has a volume
    if placement.volume_id:
        return placement
    disk = BlockDeviceMapping(DEVICE_NAME, spec.spec, delete_on_termination=False)
    instance = _launch(region, region.zones[0], INSTANCE_TYPE, [disk], placement.token)
    (volume_id,) = [a.volume_id for a in instance.attachments if a.device == DEVICE_NAME]
    return replace(placement, volume_id=volume_id, instance_id=instance.instance_id)


def _launch(
    region: Region,
    zone: str,
    instance_type: str,
    disks: list[BlockDeviceMapping],
    token: str,
) -> Instance:
    (instance,) = region.run_instances(
        image_id=IMAGE_ID,
        instance_type=instance_type,
        zone=zone,
        mappings=disks,
        tags=TAGS,
        volume_tags=TAGS,
        client_token=token,
    )
    return instance


def _attached(region: Region, placement: Placement) -> str:
    """The running instance that has the volume attached, now at the latest."""
    volume_id = placement.volume_id
    volume = region.describe_volume(volume_id)
    if not volume.attachments:
        instance_id = _replacement(region, placement, volume.zone)
        region.attach_volume(volume_id, instance_id, DEVICE_NAME)
        return instance_id
    several = [one.instance_id for one in volume.attachments]
    states = {one.instance_id: one.state for one in region.describe_instances(several)}
    for instance_id in several:
        if states[instance_id] in ("pending", "running"):
            return instance_id
    region.start_instances(several[:1])
    return several[0]


def _replacement(region: Region, placement: Placement, zone: str) -> str:
    """An instance, running, to attach the volume to in place of the one that is noted.

    It is made under a token that says which one it replaces, so that a start after one that
    was killed before the attachment finds it.  If that was terminated since, or has another
    volume in its place, it is replaced in turn: each round meets another instance.
    """
    replaced_id = placement.instance_id
    while True:
        token = f"objstore-{placement.volume_id}-{replaced_id}"
        instance = _launch(region, zone, INSTANCE_TYPE, [], token)
        taken = {attachment.device for attachment in instance.attachments}
        if instance.state in ("pending", "running", "stopped") and DEVICE_NAME not in taken:
            region.start_instances([instance.instance_id])  # does nothing while it runs
            return instance.instance_id
        replaced_id = instance.instance_id


# A disk inside an instance.


def _serve_disk(region: Region, placement: Placement, instance_type: str) -> StoreDevice:
    instance_id = placement.instance_id
    if not instance_id:
        instance_id = _launch(
            region, region.zones[0], instance_type, [], placement.token
        ).instance_id
    elif _state_of(region, instance_id) == "terminated":
        raise PlacementError(
            f"{instance_id} was terminated, and its disk with the store in "
            f"{placement.data_dir} is gone: name another folder for a new store"
        )
    region.start_instances([instance_id])  # which does nothing while it runs
    device = region.open_disk(instance_id, 0)
    return StoreDevice(replace(placement, instance_id=instance_id), device)


def _state_of(region: Region, instance_id: str) -> str:
    try:
        return region.describe_instances([instance_id])[0].state
    except ServiceError as error:
        if error.code == "InvalidInstanceID.NotFound":
            return "terminated"  # and forgotten since
        raise


# For tools.


def _to_look(stack: ExitStack, placement: Placement) -> StoreDevice:
    spec = placement.spec
    if isinstance(spec, Memory):
        raise PlacementError("a store in memory is gone with its server")
    if isinstance(spec, InstanceDisk):  # a volume has a lock of its own
        _lock(stack, placement)
    opened = _plain(placement)
    if has_volume(spec) or isinstance(spec, InstanceDisk):
        opened = _look_into_region(stack, placement)
    if opened.device is not None:
        stack.callback(opened.device.close)
    return opened


def _look_into_region(stack: ExitStack, placement: Placement) -> StoreDevice:
    spec = placement.spec
    region = stack.enter_context(_existing_region(placement.region_dir))
    if isinstance(spec, InstanceDisk):
        device = region.open_disk(placement.instance_id, 0, throttled=False, delayed=False)
        return StoreDevice(placement, device)
    volume_id = spec.volume_id if isinstance(spec, ExistingVolume) else placement.volume_id
    if not volume_id:
        raise PlacementError(f"there is no store in {placement.data_dir}")
    device = region.open_volume(volume_id, throttled=False, delayed=False)
    return StoreDevice(replace(placement, volume_id=volume_id), device, region)
