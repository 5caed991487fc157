"""Holding and letting go of volumes while something fails."""

from __future__ import annotations

import sqlite3
import threading
from typing import NoReturn

import pytest

from blockdev.host import VolumeHost
from blockdev.live import LiveVolume
from blockdev.model import ServiceError
from blockdev.region import holding
from blockdev.service import Region
from tests.regions import RegionFactory, read, refused, volume

WAIT_S = 120.0

FAILURES = (
    sqlite3.OperationalError("disk I/O error"),
    OSError(28, "No space left on device"),
    ServiceError("Unavailable", "the region is busy; try again"),
)


@pytest.fixture
def region(region_factory: RegionFactory) -> Region:
    return region_factory()


def test_a_volume_that_cannot_be_answered_for_is_let_go(
    region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: VolumeHost) -> None:
        raise OSError(24, "Too many open files")

    made = volume(region)
    with monkeypatch.context() as patched:
        patched.setattr(VolumeHost, "start", start)
        with refused("InternalError"):
            region.open_volume(made)
    assert region._held == {}
    region.open_volume(made).close()


def test_a_folder_that_cannot_be_opened_is_an_error_of_the_service(
    region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_it(*_: object, **__: object) -> NoReturn:
        raise OSError(24, "Too many open files")

    made = volume(region)
    with monkeypatch.context() as patched:
        patched.setattr(LiveVolume, "open", open_it)
        with refused("InternalError"):
            region.open_volume(made)
    region.open_volume(made).close()


@pytest.mark.parametrize("failure", FAILURES, ids=lambda one: type(one).__name__)
def test_a_volume_is_closed_though_its_credits_cannot_be_saved(
    region: Region, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def fail(_: object) -> NoReturn:
        raise failure

    made = volume(region)
    device = region.open_volume(made, throttled=False, delayed=False)
    device.write(0, b"kept")
    with monkeypatch.context() as patched:
        patched.setattr(region, "_save_credits", fail)
        device.close()
    device = region.open_volume(made, throttled=False, delayed=False)
    assert read(device, 0, 4) == b"kept"
    device.close()
    region.delete_volume(made)


def test_a_keeper_that_cannot_be_noted_keeps_nothing(
    region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write() -> NoReturn:
        raise ServiceError("InternalError", "the region's database failed")

    made = volume(region)
    with monkeypatch.context() as patched:
        patched.setattr(region._database, "write", write)
        with refused("InternalError"), region._lock:
            region._keep(made)
    assert region._held == {}
    region.open_volume(made).close()


def test_the_saver_of_credits_survives_what_fails(
    region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, went_on = list(FAILURES), threading.Event()

    def save(_: object) -> None:
        if left:
            raise left.pop()
        went_on.set()

    monkeypatch.setattr(holding, "SAVE_EVERY_S", 0.001)
    monkeypatch.setattr(region, "_save_credits", save)
    region.open_volume(volume(region))
    assert went_on.wait(WAIT_S)
