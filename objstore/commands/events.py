"""`objstore events`: what waits to be delivered, and dead letters put back, also while served."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blockdev import DeviceError
from blockdev.commands.output import human_time, print_json, print_table
from objstore.config import EVENTS_A_PAGE
from objstore.errors import StoreError
from objstore.events.dead_letters import FOLDER_NAME, DeadLetters, read
from objstore.volumes.placement import PlacementError, find_placement

if TYPE_CHECKING:
    from objstore import ObjectStore
    from objstore.engine.outbox import Queue
    from objstore.index.schema import EventBody

_DONE, _REFUSED = 0, 1
_NS_PER_MS = 1_000_000
_FAILURES = (StoreError, DeviceError, PlacementError, OSError)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's arguments."""
    parser = commands.add_parser(
        "events",
        help="what waits to be delivered; put dead letters back",
        description="Show each destination of events of the store in DATA_DIR: how many wait, "
        "since when, and how many were delivered or given up.",
        epilog=f"Events that were given up are in DATA_DIR/{FOLDER_NAME}, a line each.",
    )
    parser.add_argument("data_dir", metavar="DATA_DIR", type=Path)
    parser.add_argument(
        "--retry",
        metavar="DESTINATION",
        help="put what was given up back into the queue of this destination",
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """The exit status."""
    from objstore import ObjectStore
    from objstore.volumes.store_device import open_to_look

    directory: Path = arguments.data_dir
    try:
        placement = find_placement(directory)
        if placement is None:
            return _fail(f"there is no store in {directory}")
        with (
            open_to_look(placement) as opened,
            ObjectStore.open(
                directory, config=opened.config(), device=opened.device, create_buckets=False
            ) as store,
        ):
            if arguments.retry:
                return _retry(store, directory, arguments.retry)
            _show(store.event_queues(), as_json=arguments.json)
    except _FAILURES as error:
        return _fail(str(error))
    return _DONE


def _show(queues: Iterable[Queue], *, as_json: bool) -> None:
    if as_json:
        print_json([queue._asdict() for queue in queues])
        return
    rows: list[list[Any]] = [
        [
            queue.destination,
            str(queue.waiting),
            "" if queue.oldest_ms is None else human_time(queue.oldest_ms * _NS_PER_MS),
            str(queue.delivered),
            str(queue.dead),
        ]
        for queue in queues
    ]
    print_table(["DESTINATION", "WAITING", "SINCE", "DELIVERED", "DEAD"], rows)


def _retry(store: ObjectStore, directory: Path, destination: str) -> int:
    """Put letters back, a commit at a time; a kill in between puts some of them back twice."""
    taken = DeadLetters(directory / FOLDER_NAME).take(destination)
    if taken is None:
        return _fail(f"{destination} has no dead letters")
    count = 0
    for events in _chunks(read(taken)):
        store.put_events(destination, events)
        count += len(events)
    taken.unlink()
    print(f"{destination}: {count} events wait again")
    return _DONE


def _chunks(events: Iterator[EventBody]) -> Iterator[list[EventBody]]:
    while chunk := list(islice(events, EVENTS_A_PAGE)):
        yield chunk


def _fail(message: str) -> int:
    print(f"objstore events: {message}", file=sys.stderr)
    return _REFUSED
