"""What every test has: replayable seeds, and stores that are checked whole when it ends."""

from __future__ import annotations

import os
import random
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.regions import RegionFactory
    from tests.stores import StoreFactory

# No deadlines: the machine decides how long an example takes, and no test is timed.
_COMMON: dict[str, Any] = {
    "deadline": None,
    "print_blob": True,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}
settings.register_profile("dev", max_examples=50, **_COMMON)
settings.register_profile("ci", max_examples=100, **_COMMON)
settings.register_profile("soak", max_examples=5_000, **_COMMON)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

# Chosen once by the process that starts the run; pytest-xdist's workers inherit it.
_BASE_SEED = int(os.environ.setdefault("OBJSTORE_SEED", str(random.SystemRandom().getrandbits(32))))


def pytest_report_header() -> str:
    """Say what a run has to be given to be repeated."""
    kills = os.environ.get("OBJSTORE_KILLS", "the suite's own")
    cuts = os.environ.get("OBJSTORE_POWER_CUTS", "the suite's own")
    return f"objstore: OBJSTORE_SEED={_BASE_SEED}, kills: {kills}, power cuts: {cuts}"


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A seed for this test alone; the same again under the same OBJSTORE_SEED."""
    value = zlib.crc32(request.node.nodeid.encode(), _BASE_SEED)
    print(f"seed {value}: repeat with OBJSTORE_SEED={_BASE_SEED}")
    return value


@pytest.fixture
def store_factory(tmp_path: Path) -> Iterator[StoreFactory]:
    """Opens stores below `tmp_path`; afterwards closes and checks every one of them."""
    from tests.stores import StoreFactory  # here, so that block device tests load no engine

    factory = StoreFactory(tmp_path)
    yield factory
    factory.close_and_check()


@pytest.fixture
def region_factory(tmp_path: Path, seed: int) -> Iterator[RegionFactory]:
    """Opens regions below `tmp_path`; afterwards closes and checks every one of them."""
    from tests.regions import RegionFactory  # here, so that other tests load no control plane

    factory = RegionFactory(tmp_path, seed)
    yield factory
    factory.close_and_check()
