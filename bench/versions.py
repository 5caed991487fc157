"""``python -m bench.versions``: what versions, copies, appends and encryption cost, in one run.

An embedded store, then a server, and the sides in turn, so that a change of the machine's
speed hits both.  A figure of time is the median of the rounds; CPU is of this process, all of
its threads.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.load import object_bodies, object_key
from bench.machine import describe
from bench.targets import Objstore
from bench.versions_figures import FULL, KIB, MIB, PAGE, QUICK, Figure, Size, in_turn
from bench.versions_http import over_http
from objstore import ObjectStore
from objstore.model import Encryption, ObjectAttributes

PLAIN: Final = "plain"
VERSIONED: Final = "versioned"
WRITERS: Final = 32


def putting(store: ObjectStore, size: Size) -> Iterator[Figure]:
    """4 KiB over the same keys again and again: replaced, or kept."""
    bodies = object_bodies(4 * KIB)

    def puts(bucket: str) -> int:
        for number in range(size.puts):
            store.put(bucket, object_key("put-", number % 500), bodies[number % len(bodies)])
        return size.puts

    plain, versioned = in_turn([lambda: puts(PLAIN), lambda: puts(VERSIONED)], size.rounds)
    yield Figure("PUT 4 KiB, plain", 1e6 / plain.wall_us, "op/s")
    yield Figure("PUT 4 KiB, versioned", 1e6 / versioned.wall_us, "op/s")
    yield Figure("  ratio of the rates", plain.wall_us / versioned.wall_us * 100, "%", 85)
    yield Figure("  CPU, plain", plain.cpu_us, "µs")
    yield Figure("  CPU, versioned", versioned.cpu_us, "µs")


def listing(store: ObjectStore, size: Size) -> Iterator[Figure]:
    """A thousand current keys, with one version each and with many; a thousand versions."""

    def put(bucket: str, number: int, versions: int) -> None:
        for _ in range(versions):
            store.put(bucket, object_key("list-", number), b"x")

    with ThreadPoolExecutor(WRITERS) as pool:  # together they fill batches
        for bucket, versions in ((PLAIN, 1), (VERSIONED, size.versions)):
            for done in [pool.submit(put, bucket, number, versions) for number in range(PAGE)]:
                done.result()

    def current(bucket: str) -> int:
        if len(store.list(bucket, prefix="list-", limit=PAGE).entries) != PAGE:
            raise ValueError("a listing is short")
        return 1

    def versions_of() -> int:
        if len(store.list_versions(VERSIONED, prefix="list-", limit=PAGE).entries) != PAGE:
            raise ValueError("a listing of versions is short")
        return 1

    one, many, all_ = in_turn(
        [lambda: current(PLAIN), lambda: current(VERSIONED), versions_of], 5 * size.rounds
    )
    yield Figure("LIST 1,000 keys of one version", 1e6 / one.wall_us, "op/s")
    yield Figure(f"LIST 1,000 keys of {size.versions} versions", 1e6 / many.wall_us, "op/s")
    yield Figure("  ratio of the rates", one.wall_us / many.wall_us * 100, "%")
    yield Figure("list_versions of 1,000, engine", 1e6 / all_.wall_us, "op/s", 500)
    yield Figure("  CPU", all_.cpu_us, "µs")


def copying(store: ObjectStore, size: Size) -> Iterator[Figure]:
    """A copy within the store shares the bytes."""
    store.put(PLAIN, "large", object_bodies(size.copied_bytes)[0])

    def copied() -> int:
        store.copy(PLAIN, "large", PLAIN, "copy")
        return 1

    (cost,) = in_turn([copied], size.rounds)
    name = f"CopyObject of {size.copied_bytes // MIB} MiB"
    yield Figure(name, cost.wall_us / 1e3, "ms", 50, more_is_better=False)


def appending(store: ObjectStore, size: Size) -> Iterator[Figure]:
    """4 KiB at the end of one object, again and again; beside PUTs of as much."""
    body = object_bodies(4 * KIB)[0]
    store.put(PLAIN, "log", b"")
    offset_bytes = 0

    def appended() -> int:
        nonlocal offset_bytes
        for _ in range(size.puts):
            offset_bytes = store.append(PLAIN, "log", body, offset_bytes).size_bytes
        return size.puts

    (cost,) = in_turn([appended], size.rounds)
    yield Figure("append 4 KiB", 1e6 / cost.wall_us, "op/s")
    yield Figure("  CPU", cost.cpu_us, "µs")


def reading(store: ObjectStore, size: Size) -> Iterator[Figure]:
    """An object as it was put, and the same under a key of its own (SSE-S3)."""
    body = object_bodies(size.read_bytes)[0]
    store.put(PLAIN, "read", body)
    encrypted = ObjectAttributes(encryption=Encryption("AES256"))
    store.put(PLAIN, "read-sealed", body, attributes=encrypted)

    def read(key: str) -> int:
        with store.get(PLAIN, key) as reader:
            read_bytes = sum(map(len, reader))
        if read_bytes != size.read_bytes:
            raise ValueError(f"{key} is short")
        return 1

    plain, sealed = in_turn([lambda: read("read"), lambda: read("read-sealed")], size.rounds)
    name = f"GET {size.read_bytes // MIB} MiB"
    yield Figure(f"{name}, plain", size.read_bytes / MIB / plain.wall_us * 1e6, "MiB/s")
    yield Figure(f"{name}, encrypted", size.read_bytes / MIB / sealed.wall_us * 1e6, "MiB/s")
    yield Figure("  ratio of the rates", plain.wall_us / sealed.wall_us * 100, "%", 60)


CASES: Final = (putting, listing, copying, appending, reading)


def main(argv: Sequence[str]) -> int:
    """0; a listing or an answer that is wrong raises."""
    parser = argparse.ArgumentParser(prog="python -m bench.versions", description=__doc__)
    parser.add_argument("--dir", type=Path, help="where to put the data")
    parser.add_argument("--quick", action="store_true", help="shows that it works, not how fast")
    parser.add_argument("--only", metavar="TEXT", default="", help="cases whose name holds TEXT")
    parser.add_argument(
        "--versions", type=int, metavar="N", help="of each key that is listed (5); 5000 take 6 min"
    )
    arguments = parser.parse_args(argv)
    size = QUICK if arguments.quick else FULL
    if arguments.versions:
        size = replace(size, versions=arguments.versions)
    with TemporaryDirectory(prefix="objstore-bench-", dir=arguments.dir) as name:
        machine = describe(Path(name))
        print(f"{machine.cpu}, {machine.cores} cores, {machine.filesystem}, {machine.commit}")
        with closing(ObjectStore.open(Path(name) / "store")) as store:
            for bucket in (PLAIN, VERSIONED):
                store.create_bucket(bucket)
            store.set_versioning(VERSIONED, "Enabled")
            for case in CASES:
                for figure in case(store, size) if arguments.only in case.__name__ else ():
                    print(figure.line(), flush=True)
        if arguments.only:
            return 0
        target = Objstore(Path(name) / "server", 1)
        try:
            for figure in over_http(target, size):
                print(figure.line(), flush=True)
        finally:
            target.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
