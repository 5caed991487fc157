"""A bound on failed authentication: who keeps failing is refused before anything is computed.

Each failure takes a token from two buckets: that of the source (an IPv4 address, a /64 of
IPv6) and that of the access key that was claimed.  Where either is empty, such requests are
refused until it fills again, a token every other second, unless this key has succeeded from
this source since the failures began: so those behind the same proxy as an attacker go on, and
so does the owner of a key that somebody else guesses at.  Nothing is kept while nobody fails.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from functools import lru_cache
from typing import Final

from blockdev.clock import Clock

BURST: Final = 30
PER_S: Final = 0.5
MOST: Final = 10_000
"""Sources and keys that are remembered, and pairs that have succeeded; the oldest go."""

_NS_PER_S: Final = 1_000_000_000
_OF_IPV6: Final = 64


class FailureLimiter:
    """Counts failures.  For the event loop's thread alone."""

    def __init__(self, clock: Clock, *, burst: int = BURST, per_s: float = PER_S) -> None:
        self._clock = clock
        self._burst, self._per_s = float(burst), per_s
        # name → tokens left, and as of when
        self._buckets: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._succeeded: OrderedDict[tuple[str, str], None] = OrderedDict()

    @property
    def is_quiet(self) -> bool:
        """Whether nobody has failed of late: then nothing needs to be asked or told."""
        return not self._buckets

    def refuses(self, source: str, access_key: str) -> bool:
        """Whether a request that claims a key is not to be looked at."""
        network = _network(source)
        if (network, access_key) in self._succeeded:
            return False
        now_ns = self._clock.monotonic_ns()
        return any(self._left(name, now_ns) < 1 for name in _names(network, access_key))

    def failed(self, source: str, access_key: str) -> None:
        """A signature did not hold, or there is no such key."""
        now_ns = self._clock.monotonic_ns()
        for name in _names(_network(source), access_key):
            left = self._left(name, now_ns)
            self._buckets[name] = (max(0.0, left - 1), now_ns)
            self._buckets.move_to_end(name)
        while len(self._buckets) > MOST:
            self._buckets.popitem(last=False)

    def succeeded(self, source: str, access_key: str) -> None:
        """A signature held; to be told where it is not quiet."""
        self._succeeded[_network(source), access_key] = None
        while len(self._succeeded) > MOST:
            self._succeeded.popitem(last=False)
        self._forget()

    def _forget(self) -> None:
        """Full buckets say nothing; when the last has gone, neither do successes."""
        now_ns = self._clock.monotonic_ns()
        name = next(iter(self._buckets), None)
        if name is not None and self._left(name, now_ns) >= self._burst:
            del self._buckets[name]
        if not self._buckets:
            self._succeeded.clear()

    def _left(self, name: str, now_ns: int) -> float:
        known = self._buckets.get(name)
        if known is None:
            return self._burst
        tokens, at_ns = known
        return min(self._burst, tokens + (now_ns - at_ns) / _NS_PER_S * self._per_s)


def _names(network: str, access_key: str) -> tuple[str, ...]:
    of_source = f"from {network}"
    return (of_source, f"key {access_key}") if access_key else (of_source,)


@lru_cache(maxsize=4096)
def _network(source: str) -> str:
    """An address, or of IPv6 the network that one host usually has."""
    try:
        address = ipaddress.ip_address(source)
    except ValueError:
        return source
    if address.version == 4:
        return source
    return str(ipaddress.ip_network((address, _OF_IPV6), strict=False))
