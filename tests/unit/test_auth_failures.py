"""Failed authentication: who is refused, for how long, and who is not."""

from __future__ import annotations

import pytest

from blockdev.clock import ManualClock
from objstore.auth import failures
from objstore.auth.failures import FailureLimiter

S = 10**9
HERE, THERE = "192.0.2.1", "198.51.100.1"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def limiter(clock: ManualClock) -> FailureLimiter:
    return FailureLimiter(clock, burst=3, per_s=0.5)


def fail(limiter: FailureLimiter, times: int, source: str = HERE, key: str = "KEY") -> None:
    for _ in range(times):
        limiter.failed(source, key)


def test_a_source_and_a_key_run_dry_and_fill_again(
    limiter: FailureLimiter, clock: ManualClock
) -> None:
    assert limiter.is_quiet
    fail(limiter, 2)
    assert not limiter.refuses(HERE, "KEY")
    fail(limiter, 1)
    assert limiter.refuses(HERE, "KEY")
    assert limiter.refuses(HERE, "OTHER")  # from the same source
    assert limiter.refuses(THERE, "KEY")  # with the same key
    assert not limiter.refuses(THERE, "OTHER")
    clock.advance(2 * S - 1)
    assert limiter.refuses(HERE, "KEY")
    clock.advance(1)
    assert not limiter.refuses(HERE, "KEY")
    fail(limiter, 1)
    assert limiter.refuses(HERE, "KEY")
    clock.advance(6 * S)
    fail(limiter, 2)
    assert not limiter.refuses(HERE, "KEY")


def test_who_has_succeeded_goes_on(limiter: FailureLimiter) -> None:
    fail(limiter, 1)
    limiter.succeeded(HERE, "MINE")
    fail(limiter, 5)
    assert limiter.refuses(HERE, "KEY")
    assert not limiter.refuses(HERE, "MINE")
    fail(limiter, 5, THERE, "MINE")
    assert limiter.refuses(THERE, "MINE")
    assert not limiter.refuses(HERE, "MINE")


def test_it_is_quiet_again_when_all_is_full(limiter: FailureLimiter, clock: ManualClock) -> None:
    fail(limiter, 3)
    clock.advance(60 * S)
    for _ in range(2):  # each success takes away one that is full
        assert not limiter.is_quiet
        limiter.succeeded(HERE, "KEY")
    assert limiter.is_quiet


def test_networks_of_ipv6_and_what_is_no_address(limiter: FailureLimiter) -> None:
    fail(limiter, 3, "2001:db8::1", "A")
    assert limiter.refuses("2001:db8::ffff:2", "B")
    assert not limiter.refuses("2001:db8:0:1::1", "B")
    fail(limiter, 3, "", "")
    assert limiter.refuses("", "")


def test_what_is_remembered_is_bounded(
    limiter: FailureLimiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "MOST", 10)
    for number in range(50):
        fail(limiter, 3, f"192.0.2.{number}", f"KEY{number}")
        limiter.succeeded(f"192.0.2.{number}", "MINE")
    assert len(limiter._buckets) <= 10
    assert len(limiter._succeeded) <= 10
    assert limiter.refuses("192.0.2.49", "X")
