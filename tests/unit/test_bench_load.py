"""The load generator sends what its plan says and counts what came of it."""

from __future__ import annotations

import itertools
import socket
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import load
from bench.fleet import Fleet, GeneratorFailed
from bench.load import Driver, Outcome, Plan, object_bodies, object_key, sign_requests
from bench.measure import share_out
from bench.signing import Credentials, Endpoint, timestamp_now
from bench.wire import Expectation
from tests.unit.bench_server import toy_server

NOWHERE = Endpoint("127.0.0.1", 9, Credentials("key", "secret"))
PUT = Plan(NOWHERE, "PUT", "b", Expectation(200, 0), "k-", 50, 4, 30.0, 4096)


def drive(plan: Plan) -> Outcome:
    """The plan to its end, in this process."""
    driver = Driver(plan, sign_requests(plan, timestamp_now()))
    try:
        return driver.run()
    finally:
        driver.close()


def test_every_object_is_put_once_and_read_back_and_deleted() -> None:
    with toy_server() as server:
        put = replace(PUT, endpoint=server.endpoint)
        outcome = drive(put)
        assert (outcome.operations, outcome.errors) == (50, [])
        assert len(server.objects) == 50
        assert server.objects[f"/b/{object_key('k-', 17)}"] == object_bodies(4096)[17 % 16]
        get = replace(put, method="GET", expectation=Expectation(200, 4096))
        assert drive(get).operations == 50
        delete = replace(put, method="DELETE", expectation=Expectation(204, 0), body_bytes=0)
        assert drive(delete).operations == 50
        assert server.objects == {}


def test_a_repeated_plan_goes_round_until_the_time_is_up() -> None:
    with toy_server() as server:
        drive(replace(PUT, endpoint=server.endpoint, key_count=3))
        get = replace(
            PUT, endpoint=server.endpoint, method="GET", expectation=Expectation(200, 4096)
        )
        outcome = drive(replace(get, key_count=3, seconds=0.3, repeat=True, connections=2))
        reads = Counter(path for method, path in server.requests if method == "GET")
    assert outcome.errors == []
    assert sum(reads.values()) == outcome.operations > 6
    assert max(reads.values()) - min(reads.values()) <= 1
    assert outcome.ended_ns - outcome.started_ns >= 0.3e9
    assert all(0 < ns <= outcome.ended_ns - outcome.started_ns for ns in outcome.latencies_ns)


def test_each_wrong_answer_is_an_error_and_the_load_goes_on() -> None:
    with toy_server(fail_every=10) as server:
        outcome = drive(replace(PUT, endpoint=server.endpoint))
    assert outcome.operations == 45
    assert len(outcome.errors) == 5
    assert all("status 500" in error and "on purpose" in error for error in outcome.errors)


def test_a_server_that_only_fails_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "MAX_ERRORS", 7)
    with toy_server(fail_every=1) as server:
        outcome = drive(replace(PUT, endpoint=server.endpoint))
    assert outcome.operations == 0
    assert 7 <= len(outcome.errors) <= 7 + PUT.connections


def test_a_stored_body_that_changed_is_an_error() -> None:
    with toy_server() as server:
        drive(replace(PUT, endpoint=server.endpoint))
        changed = f"/b/{object_key('k-', 3)}"
        server.objects[changed] = bytes(4096)
        get = replace(PUT, method="GET", expectation=Expectation(200, 4096))
        outcome = drive(replace(get, endpoint=server.endpoint))
    assert outcome.operations == 49
    assert outcome.errors == ["the body is not the one that was stored"]


def test_a_silent_server_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "RESPONSE_TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = replace(NOWHERE, port=silent.getsockname()[1])
        outcome = drive(replace(PUT, endpoint=endpoint))
    assert outcome.operations == 0
    assert outcome.errors == ["no response for 0.05 s, 4 outstanding"]


def test_generators_run_plans_in_processes_of_their_own() -> None:
    with toy_server() as server, Fleet(2) as fleet:
        called: list[int] = []
        plan = replace(PUT, endpoint=server.endpoint)
        outcomes = fleet.run(share_out(plan, 2), before=lambda: called.append(len(server.requests)))
        assert [outcome.operations for outcome in outcomes] == [25, 25]
        assert called == [0]  # signed and connected, but nothing sent yet
        assert len(server.objects) == 50
        assert all(outcome.cpu_ns > 0 for outcome in outcomes)
        with pytest.raises(GeneratorFailed, match="refused"):
            fleet.run([replace(plan, endpoint=NOWHERE)])
        assert fleet.run([plan])[0].operations == 50  # and goes on after a failure


@given(keys=st.integers(0, 200), connections=st.integers(1, 70), generators=st.integers(1, 5))
def test_sharing_out_loses_nothing(keys: int, connections: int, generators: int) -> None:
    plan = replace(PUT, key_count=keys, connections=connections)
    plans = share_out(plan, generators)
    numbers = [n for p in plans for n in range(p.first, p.key_count, p.step)]
    assert sorted(numbers) == list(range(keys))
    assert sum(p.connections for p in plans) == connections
    assert min(p.connections for p in plans) >= 1


@given(st.lists(st.integers(0, 30), min_size=1, max_size=5))
def test_sharing_out_what_was_written_names_exactly_that(counts: list[int]) -> None:
    plan = replace(PUT, key_count=1000, connections=8)
    written = [
        n
        for p, count in zip(share_out(plan, len(counts)), counts, strict=True)
        for n in list(range(p.first, p.key_count, p.step))[:count]
    ]
    shared = share_out(plan, len(counts), counts)
    assert [n for p in shared for n in range(p.first, p.key_count, p.step)] == written


def test_keys_are_unique_and_scattered() -> None:
    keys = [object_key("p-", number) for number in range(20_000)]
    assert len(set(keys)) == len(keys)
    assert sum(a < b for a, b in itertools.pairwise(keys)) < 15_000


def test_large_bodies_are_not_hashed_and_have_their_length() -> None:
    plan = replace(PUT, key_count=2, body_bytes=load.HASHED_BODY_BYTES + 5)
    requests = sign_requests(plan, timestamp_now())
    assert [len(request.body) for request in requests] == [plan.body_bytes] * 2
    assert all(b"X-Amz-Content-Sha256: UNSIGNED-PAYLOAD" in request.head for request in requests)
