"""``python -m bench.events``: what events cost the PUTs that they tell of, in one run.

An embedded store, sixteen writers of 4 KiB, and delivery to a file in the same process: with
a bucket that tells nobody, with one that tells of so many PUTs that it is a thousand a
second, and with one that tells of all; in turn, so that a change of the machine's speed hits
each.  Figures are medians of the rounds; CPU is of the whole process, delivery included.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.load import object_bodies
from bench.machine import describe
from bench.versions_figures import KIB, Cost, Figure, in_turn, measured, median_cost
from objstore import ObjectStore
from objstore.engine import notifications
from objstore.engine.notifications import NOTIFICATION, Notifications, Rule
from objstore.events import Delivery, parse_destination

WRITERS: Final = 16
EVENTS_PER_S: Final = 1_000
DESTINATION: Final = "log=file:told.jsonl"
QUIET, SOME, ALL = "quiet", "some", "all"


def configure(store: ObjectStore, bucket: str, prefix: str | None) -> None:
    """Make a bucket; None tells nobody."""
    store.create_bucket(bucket)
    if prefix is not None:
        arn = parse_destination(DESTINATION).arn
        rule = Rule("queue", "bench", arn, ["s3:ObjectCreated:*"], prefix)
        setting = notifications.encode(Notifications([rule]))
        store.set_bucket_setting(bucket, NOTIFICATION, setting)


def putting(store: ObjectStore, bucket: str, count: int, told_every: int) -> Callable[[], int]:
    """PUTs by all writers; each `told_every`-th key begins with ``told``."""
    bodies = object_bodies(4 * KIB)

    def write(writer: int) -> None:
        for number in range(count // WRITERS):
            kind = "told" if number % told_every == 0 else "other"
            key = f"{kind}-{writer}-{number % 200}"
            store.put(bucket, key, bodies[number % len(bodies)])

    def run() -> int:
        threads = [threading.Thread(target=write, args=(n,)) for n in range(WRITERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return count // WRITERS * WRITERS

    return run


def wait_until_told(store: ObjectStore, timeout_s: float) -> int:
    """How many events were delivered in all, once none waits."""
    ends = time.monotonic() + timeout_s
    while True:
        queues = store.event_queues(limit=1)
        if not any(queue.waiting for queue in queues):
            return sum(queue.delivered for queue in queues)
        if time.monotonic() > ends:
            raise TimeoutError("events still wait")
        time.sleep(0.05)


def costs_of(store: ObjectStore, putters: Sequence[Callable[[], int]], rounds: int) -> list[Cost]:
    """The median cost of each; none has to deliver what another has left."""
    costs: list[list[Cost]] = [[] for _ in putters]
    for number in range(rounds):
        for turn in range(len(putters)):  # A B C, B C A, C A B: each after each other
            place = (turn + number) % len(putters)
            wait_until_told(store, 120)
            costs[place].append(measured(putters[place]))
    return [median_cost(taken) for taken in costs]


def figures(quiet: Cost, some: Cost, all_: Cost, told_every: int) -> list[Figure]:
    """What the costs say."""
    rate = 1e6 / some.wall_us / told_every
    return [
        Figure("PUT 4 KiB x16, nobody is told", 1e6 / quiet.wall_us, "op/s"),
        Figure("PUT 4 KiB x16, some are told", 1e6 / some.wall_us, "op/s"),
        Figure("  events", rate, "/s"),
        Figure("  ratio of the rates", quiet.wall_us / some.wall_us * 100, "%", 85),
        Figure("  CPU of a PUT, nobody is told", quiet.cpu_us, "µs"),
        Figure("  CPU of a PUT, some are told", some.cpu_us, "µs"),
        Figure("PUT 4 KiB x16, all are told", 1e6 / all_.wall_us, "op/s"),
        Figure("  ratio of the rates", quiet.wall_us / all_.wall_us * 100, "%"),
        Figure("  CPU of a PUT, all are told", all_.cpu_us, "µs"),
    ]


def main(argv: Sequence[str]) -> int:
    """0; events that are not delivered raise."""
    parser = argparse.ArgumentParser(prog="python -m bench.events", description=__doc__)
    parser.add_argument("--dir", type=Path, help="where to put the data")
    parser.add_argument("--quick", action="store_true", help="shows that it works, not how fast")
    arguments = parser.parse_args(argv)
    count, rounds = (320, 2) if arguments.quick else (16_000, 6)
    with TemporaryDirectory(prefix="objstore-bench-", dir=arguments.dir) as name:
        folder = Path(name)
        machine = describe(folder)
        print(f"{machine.cpu}, {machine.cores} cores, {machine.filesystem}, {machine.commit}")
        with ObjectStore.open(folder / "store") as store:
            for bucket, prefix in ((QUIET, None), (SOME, "told"), (ALL, "")):
                configure(store, bucket, prefix)
            (plain,) = in_turn([putting(store, QUIET, count, 1)], 2)
            told_every = max(1, int(0.7e6 / plain.wall_us / EVENTS_PER_S))
            with Delivery(store, folder / "store", [parse_destination(DESTINATION)]):
                putters = [
                    putting(store, bucket, count, told_every) for bucket in (QUIET, SOME, ALL)
                ]
                quiet, some, all_ = costs_of(store, putters, rounds)
                delivered = wait_until_told(store, 120)
            for figure in figures(quiet, some, all_, told_every):
                print(figure.line(), flush=True)
            print(f"{delivered} events were delivered")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
