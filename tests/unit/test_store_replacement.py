"""The instance that a store's volume is attached to, when the one it had is gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from blockdev.entropy import SeededEntropy
from blockdev.service import Region
from objstore.volumes.device_spec import parse_device
from objstore.volumes.placement import place
from objstore.volumes.store_device import DEVICE_NAME, StoreDevice, open_to_serve
from tests.regions import DAY_NS, RegionFactory, volume


class Killed(BaseException):
    """Ends a start where a process might be killed."""


class Server:
    """A store's server, started again and again over one region."""

    def __init__(self, folder: Path, region: Region, seed: int) -> None:
        self.region = region
        self.device = "gp2:100"
        self._folder = folder
        self._entropy = SeededEntropy(seed)

    @contextmanager
    def started(self) -> Iterator[StoreDevice]:
        placement = place(self._folder, parse_device(self.device))
        with open_to_serve(placement, lambda: self.region, self._entropy) as opened:
            yield opened

    def instance(self) -> str:
        """Start and stop; the instance that has the volume attached."""
        with self.started() as opened:
            (attachment,) = self.region.describe_volume(opened.volume_id).attachments
            assert opened.placement.instance_id == attachment.instance_id
            return attachment.instance_id

    def killed_before_it_attaches(self) -> None:
        def kill(*_: object) -> None:
            raise Killed

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Region, "attach_volume", kill)
            with suppress(Killed), self.started():
                raise AssertionError("it was to attach the volume")

    def lose_instance(self) -> str:
        """Terminate what the volume is attached to; its id."""
        lost = self.instance()
        self.region.terminate_instances([lost])
        return lost

    def others(self, *known: str) -> set[str]:
        return {one.instance_id for one in self.region.describe_instances()} - set(known)


@pytest.fixture
def server(region_factory: RegionFactory, tmp_path: Path, seed: int) -> Server:
    (tmp_path / "data").mkdir()
    return Server(tmp_path / "data", region_factory(), seed)


@pytest.mark.parametrize("kind", ["new", "existing"])
def test_a_start_that_was_killed_makes_no_second_instance(server: Server, kind: str) -> None:
    lost = []
    if kind == "existing":
        server.device = f"volume:{volume(server.region)}"
    else:
        lost.append(server.lose_instance())
    for _ in range(3):
        server.killed_before_it_attaches()
    (made,) = server.others(*lost)
    assert server.instance() == made
    assert server.instance() == made
    assert server.others(*lost) == {made}


@pytest.mark.parametrize("what", ["terminated", "stopped", "in use"])
def test_what_became_of_the_instance_that_a_killed_start_made(server: Server, what: str) -> None:
    lost = server.lose_instance()
    server.killed_before_it_attaches()
    (made,) = server.others(lost)
    if what == "terminated":
        server.region.terminate_instances([made])
    elif what == "stopped":
        server.region.stop_instances([made])
    else:
        server.region.attach_volume(volume(server.region), made, DEVICE_NAME)
    found = server.instance()
    assert (found == made) == (what == "stopped")
    (instance,) = server.region.describe_instances([found])
    assert instance.state == "running"


def test_each_loss_is_replaced_once(server: Server, region_factory: RegionFactory) -> None:
    lost = [server.lose_instance() for _ in range(3)]
    assert len(set(lost)) == 3
    region_factory.clock.advance(2 * DAY_NS)  # tokens are forgotten, and who was terminated
    last = server.instance()
    assert server.others() == {last}
