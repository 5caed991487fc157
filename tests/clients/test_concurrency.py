"""Several clients at once, over connections that end at different workers."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from tests.clients.endpoint import Endpoint

T = TypeVar("T")
CLIENTS = 8


def at_once(endpoint: Endpoint, work: Callable[[Any, int], T]) -> list[T]:
    """Run `work` with a client and a number of its own in each of `CLIENTS` threads."""
    clients = [endpoint.client() for _ in range(CLIENTS)]
    start = threading.Barrier(CLIENTS)

    def run(number: int) -> T:
        start.wait(timeout=60)
        return work(clients[number], number)

    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(run, range(CLIENTS)))


def lost(error: ClientError) -> bool:
    """Whether a conditional write lost against another, in either of S3's ways to say so."""
    code = error.response["Error"]["Code"]
    assert code in ("PreconditionFailed", "ConditionalRequestConflict"), error
    return True


def test_one_creates(endpoint: Endpoint, s3: Any, bucket: str) -> None:
    def create(client: Any, number: int) -> list[int]:
        won = []
        for attempt in range(10):
            try:
                client.put_object(
                    Bucket=bucket, Key=f"k{attempt}", Body=f"{number}".encode(), IfNoneMatch="*"
                )
                won.append(attempt)
            except ClientError as error:
                lost(error)
        return won

    winners = at_once(endpoint, create)
    assert sorted(itertools.chain(*winners)) == list(range(10))
    for number, won in enumerate(winners):
        for attempt in won:
            got = s3.get_object(Bucket=bucket, Key=f"k{attempt}")["Body"].read()
            assert got == f"{number}".encode()


def test_counting_by_compare_and_swap(endpoint: Endpoint, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="count", Body=b"0")
    rounds = 5

    def add(client: Any, number: int) -> None:
        for _ in range(rounds):
            while True:
                got = client.get_object(Bucket=bucket, Key="count")
                body = f"{int(got['Body'].read()) + 1}".encode()
                try:
                    client.put_object(Bucket=bucket, Key="count", Body=body, IfMatch=got["ETag"])
                    break
                except ClientError as error:
                    lost(error)

    at_once(endpoint, add)
    got = s3.get_object(Bucket=bucket, Key="count")["Body"].read()
    assert int(got) == CLIENTS * rounds


def test_what_is_acknowledged_is_seen_by_all(endpoint: Endpoint, bucket: str) -> None:
    others = [endpoint.client() for _ in range(4)]

    def write_and_look(client: Any, number: int) -> None:
        for step in range(10):
            key = f"{number}/{step}"
            etag = client.put_object(Bucket=bucket, Key=key, Body=key.encode())["ETag"]
            for other in others:
                assert other.head_object(Bucket=bucket, Key=key)["ETag"] == etag
                listed = other.list_objects_v2(Bucket=bucket, Prefix=key)
                assert [entry["Key"] for entry in listed["Contents"]] == [key]
            client.delete_object(Bucket=bucket, Key=key)
            for other in others:
                assert other.list_objects_v2(Bucket=bucket, Prefix=key)["KeyCount"] == 0

    at_once(endpoint, write_and_look)


def test_readers_see_one_write_whole(endpoint: Endpoint, s3: Any, bucket: str) -> None:
    sizes = [10, 300_000, 1_500_000]
    s3.put_object(Bucket=bucket, Key="k", Body=b"")

    def write_or_read(client: Any, number: int) -> None:
        for step in range(15):
            if number % 2:
                body = bytes([65 + number]) * sizes[step % len(sizes)]
                client.put_object(Bucket=bucket, Key="k", Body=body)
            else:
                got = client.get_object(Bucket=bucket, Key="k")
                body = got["Body"].read()
                assert len(set(body)) <= 1
                assert got["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'

    at_once(endpoint, write_or_read)
