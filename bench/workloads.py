"""The workloads as data: what is asked of a store, in which order, at which sizes."""

from __future__ import annotations

from dataclasses import dataclass

from bench.load import Plan
from bench.signing import Endpoint, canonical_query
from bench.wire import Expectation

KIB = 1024
MIB = 1024 * KIB
BUCKET = "bench"
READ_PREFIX = "read-"
LARGE_PREFIX = "large-"
FILL_SECONDS = 600.0


@dataclass(frozen=True)
class Parameters:
    """Sizes of a run.

    `seconds`: length of a window; each workload gets `rounds` of them on each server.
    `preloaded_keys`: objects that GET, HEAD and LIST find, at least `list_keys`.
    `requests_per_s`: how many requests of a key of their own are signed for each second of a
        window.  A server that is faster than that ends its window early.
    `large_keys`: distinct keys of the workloads with large objects, written over and over.
    """

    seconds: float = 2.0
    rounds: int = 3
    small_bytes: int = 4 * KIB
    large_bytes: int = 64 * MIB
    preloaded_keys: int = 2000
    list_keys: int = 1000
    large_keys: int = 8
    requests_per_s: int = 20_000


@dataclass(frozen=True)
class Workload:
    """One line of the report.

    `connections`: of HTTP; threads of an embedded store.
    `target_ratio`: the multiple of the peer's figure that this project set itself.
    `target_rate`: the rate that it set itself.
    """

    operation: str
    connections: int
    is_large: bool = False
    target_ratio: float | None = None
    target_rate: float | None = None
    is_embedded: bool = False

    @property
    def unit(self) -> str:
        """Of the rate: MB/s (10^6 bytes) for large objects, op/s for the others."""
        return "MB/s" if self.is_large else "op/s"

    @property
    def name(self) -> str:
        """As the report and `--only` have it."""
        size = "1000" if self.operation == "LIST" else "64MiB" if self.is_large else "4KiB"
        layer = "embedded " if self.is_embedded else ""
        return f"{layer}{self.operation} {size} x{self.connections}"


SMALL_CONNECTIONS = (1, 16, 64)
WORKLOADS = (
    *(Workload("PUT", count, target_ratio=3.0) for count in SMALL_CONNECTIONS),
    *(Workload("GET", count, target_ratio=3.0) for count in SMALL_CONNECTIONS),
    *(Workload("HEAD", count) for count in SMALL_CONNECTIONS),
    Workload("LIST", 16, target_ratio=4.0),
    *(Workload("DELETE", count) for count in SMALL_CONNECTIONS),
    *(Workload("PUT", count, is_large=True, target_ratio=2.5) for count in (1, 4)),
    *(Workload("GET", count, is_large=True, target_ratio=1.2) for count in (1, 4)),
)
EMBEDDED_WORKLOADS = (
    Workload("PUT", 1, target_rate=5_000, is_embedded=True),
    Workload("PUT", 16, target_rate=15_000, is_embedded=True),
    Workload("GET", 1, is_embedded=True),
    Workload("PUT", 1, is_large=True, is_embedded=True),
    Workload("GET", 1, is_large=True, is_embedded=True),
)


def plan(workload: Workload, endpoint: Endpoint, parameters: Parameters, write_prefix: str) -> Plan:
    """The plan of one window; `write_prefix` is of the keys that PUT writes and DELETE deletes."""
    make = {
        "PUT": _put,
        "GET": _get,
        "HEAD": _head,
        "LIST": _list,
        "DELETE": _delete,
    }[workload.operation]
    return make(workload, endpoint, parameters, write_prefix)


def fill_plan(prefix: str, count: int, body_bytes: int, endpoint: Endpoint) -> Plan:
    """Store `count` objects, however long it takes (up to ten minutes)."""
    return Plan(
        endpoint,
        "PUT",
        BUCKET,
        Expectation(200, 0),
        prefix,
        count,
        connections=min(8, count),
        seconds=FILL_SECONDS,
        body_bytes=body_bytes,
    )


def _put(workload: Workload, endpoint: Endpoint, parameters: Parameters, prefix: str) -> Plan:
    large = workload.is_large
    fresh_keys = int(parameters.seconds * parameters.requests_per_s)
    return Plan(
        endpoint,
        "PUT",
        BUCKET,
        Expectation(200, 0),
        LARGE_PREFIX if large else prefix,
        parameters.large_keys if large else fresh_keys,
        connections=workload.connections,
        seconds=parameters.seconds,
        body_bytes=parameters.large_bytes if large else parameters.small_bytes,
        repeat=large,
    )


def _get(workload: Workload, endpoint: Endpoint, parameters: Parameters, prefix: str) -> Plan:
    large = workload.is_large
    size_bytes = parameters.large_bytes if large else parameters.small_bytes
    return Plan(
        endpoint,
        "GET",
        BUCKET,
        Expectation(200, size_bytes),
        LARGE_PREFIX if large else READ_PREFIX,
        parameters.large_keys if large else parameters.preloaded_keys,
        connections=workload.connections,
        seconds=parameters.seconds,
        body_bytes=size_bytes,
        repeat=True,
    )


def _head(workload: Workload, endpoint: Endpoint, parameters: Parameters, prefix: str) -> Plan:
    return Plan(
        endpoint,
        "HEAD",
        BUCKET,
        Expectation(200, 0),
        READ_PREFIX,
        parameters.preloaded_keys,
        connections=workload.connections,
        seconds=parameters.seconds,
        repeat=True,
    )


def _list(workload: Workload, endpoint: Endpoint, parameters: Parameters, prefix: str) -> Plan:
    pairs = [("list-type", "2"), ("max-keys", str(parameters.list_keys)), ("prefix", READ_PREFIX)]
    return Plan(
        endpoint,
        "GET",
        BUCKET,
        Expectation(200, None, b"<Key>", parameters.list_keys),
        connections=workload.connections,
        seconds=parameters.seconds,
        query=canonical_query(pairs),
        repeat=True,
    )


def _delete(workload: Workload, endpoint: Endpoint, parameters: Parameters, prefix: str) -> Plan:
    return Plan(
        endpoint,
        "DELETE",
        BUCKET,
        Expectation(204, 0),
        prefix,
        int(parameters.seconds * parameters.requests_per_s),
        connections=workload.connections,
        seconds=parameters.seconds,
    )
