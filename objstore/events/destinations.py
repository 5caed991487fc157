"""Destinations of events as an operator names them: ``NAME=URL``."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from objstore.config import MAX_DESTINATIONS
from objstore.engine.notifications import BRIDGE

WEBHOOK: Final = "webhook"
FILE: Final = "file"
REDIS: Final = "redis"
FORMS: Final = "http://HOST/PATH, https://HOST/PATH, file:PATH, redis://HOST:PORT/DB?list=KEY"

_KINDS: Final = {
    "http": WEBHOOK,
    "https": WEBHOOK,
    "file": FILE,
    "redis": REDIS,
    "rediss": REDIS,
}
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ROOM: Final = ("list", "stream")


class DestinationError(ValueError):
    """What was named is no destination; the text says why."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where events go.

    `kind`: `WEBHOOK`, `FILE` or `REDIS`.  `url`: may carry a password.
    """

    name: str
    kind: str
    url: str = field(repr=False)

    @property
    def key(self) -> str:
        """What the outbox calls it, and ARNs end with: ``name:kind``.

        The destination of all events of buckets with EventBridge is known by its name alone.
        """
        return BRIDGE if self.name == BRIDGE else f"{self.name}:{self.kind}"

    @property
    def arn(self) -> str:
        """What a bucket's configuration calls it, as a queue."""
        return f"arn:objstore:sqs::{self.name}:{self.kind}"

    @property
    def parts(self) -> SplitResult:
        """The URL's parts."""
        return urlsplit(self.url)


def parse_destination(text: str) -> Destination:
    """The destination that ``NAME=URL`` names.

    A file's path may be relative, to the folder of the store.  Of Redis the query says what
    to append to: ``list=KEY`` or ``stream=KEY``.

    Raises:
        DestinationError: it names none.
    """
    name, equals, url = text.partition("=")
    if not equals or not _NAME.fullmatch(name):
        raise DestinationError(f"{text!r} is not NAME=URL, a name of letters, digits, '-' and '_'")
    try:
        parts = urlsplit(url)
        kind = _KINDS.get(parts.scheme, "")
        has_host = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError as error:
        raise DestinationError(f"{name}: {error}") from None
    if not kind:
        raise DestinationError(f"{name}: a destination is one of {FORMS}")
    if kind == FILE and (parts.netloc or not parts.path or parts.path.endswith("/")):
        raise DestinationError(f"{name}: a file is file:PATH or file:///PATH")
    if kind != FILE and not has_host:
        raise DestinationError(f"{name}: the URL names no host")
    if kind == REDIS:
        redis_room(parts, name)
    return Destination(name, kind, url)


def check_destinations(destinations: Sequence[Destination]) -> None:
    """Whether one server can deliver to all of them.

    Raises:
        DestinationError: two have one name, there are too many, or a package is missing.
    """
    names = [destination.key for destination in destinations]
    for name in names:
        if names.count(name) > 1:
            raise DestinationError(f"there are two destinations {name}")
    if len(names) > MAX_DESTINATIONS:
        raise DestinationError(f"there are {len(names)} destinations, {MAX_DESTINATIONS} at most")
    for destination in destinations:
        if destination.kind == REDIS and importlib.util.find_spec("redis") is None:
            raise DestinationError(
                f"{destination.name}: Redis takes another package: pip install 'objstore[redis]'"
            )


def redis_room(parts: SplitResult, name: str) -> tuple[str, str]:
    """``list`` or ``stream``, and its key in Redis.

    Raises:
        DestinationError: the query says neither, or both.
    """
    named = parse_qsl(parts.query)
    if len(named) != 1 or named[0][0] not in _ROOM or not named[0][1]:
        raise DestinationError(f"{name}: end the URL with ?list=KEY or ?stream=KEY")
    return named[0]
