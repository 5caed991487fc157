"""What a bucket tells of itself, and whom: its notification configuration, as rules.

Pure: no storage.  The rules are the bucket's setting `NOTIFICATION`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from objstore.engine.versions import VERSIONING
from objstore.errors import InvalidArgumentError
from objstore.index.schema import BucketBody

NOTIFICATION: Final = "notification"
"""The bucket's setting: encoded `Notifications`."""

PREFIX: Final = "s3:"
"""Of an event's name in a configuration; in the event itself it has none."""

BRIDGE: Final = "eventbridge"
"""The name of the destination that has all events of a bucket with EventBridge."""

MAX_DESTINATION_BYTES: Final = 100
"""Of a destination's name and kind."""


class Rule(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One configuration: which events of which keys go where.

    `kind`: of the destination as the caller sees it: topic, queue or function.
    `events`: with ``s3:``; the last part may be ``*``.
    `prefix`, `suffix`: None where none was given.
    """

    kind: str
    id: str
    arn: str
    events: list[str]
    prefix: str | None = None
    suffix: str | None = None

    def matches(self, event: str, key: str) -> bool:
        """Whether an event, named without ``s3:``, of this key is told."""
        if not key.startswith(self.prefix or "") or not key.endswith(self.suffix or ""):
            return False
        return any(covers(wanted, PREFIX + event) for wanted in self.events)


class Notifications(msgspec.Struct, array_like=True, frozen=True):
    """All of a bucket.  `bridge`: every event goes to the destination `BRIDGE` too."""

    rules: list[Rule] = []
    bridge: bool = False

    def told(self, event: str, key: str) -> Iterator[tuple[str, str]]:
        """The destination and the rule's id for each who is to be told."""
        for rule in self.rules:
            if rule.matches(event, key):
                yield destination_of(rule.arn), rule.id
        if self.bridge:
            yield BRIDGE, ""

    def destinations(self) -> list[str]:
        """Each destination once, in order."""
        named = [destination_of(rule.arn) for rule in self.rules]
        return list(dict.fromkeys([*named, *([BRIDGE] if self.bridge else [])]))


encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Notifications).decode


def decode(setting: bytes) -> Notifications:
    """The rules of a bucket's setting.

    Raises:
        InvalidArgumentError: it is none that `encode` has made.
    """
    try:
        found = _decode(setting)
    except msgspec.MsgspecError as error:
        raise InvalidArgumentError(f"no notification configuration: {error}") from error
    for destination in found.destinations():
        if not destination:
            raise InvalidArgumentError(f"{destination!r} is no destination", "arn", destination)
    return found


def covers(wanted: str, event: str) -> bool:
    """Whether `wanted`, which may end in ``*``, is or includes `event`."""
    return wanted == event or (wanted.endswith("*") and event.startswith(wanted[:-1]))


def destination_of(arn: str) -> str:
    """The destination that an ARN names: ``arn:objstore:sqs:region:name:kind`` → ``name:kind``.

    Empty where the ARN has not that form, or is too long.
    """
    parts = arn.split(":")
    if len(parts) != 6 or parts[:2] != ["arn", "objstore"] or not parts[4] or not parts[5]:
        return ""
    destination = f"{parts[4]}:{parts[5]}"
    return destination if len(destination.encode()) <= MAX_DESTINATION_BYTES else ""


class Listener(msgspec.Struct, array_like=True, frozen=True):
    """What the index keeps of a bucket that tells of itself, by the bucket's id."""

    name: str
    region: str
    owner: str
    has_versions: bool
    notifications: Notifications


encode_listener = msgspec.msgpack.Encoder().encode
decode_listener = msgspec.msgpack.Decoder(Listener).decode


def listener_row(name: bytes, body: BucketBody) -> bytes | None:
    """The row of a bucket; None where it tells nobody anything."""
    setting = body.settings.get(NOTIFICATION)
    if setting is None:
        return None
    # What is not to be read tells nobody: the record is in the log, and must be replayed.
    try:
        notifications = decode(setting)
    except InvalidArgumentError:
        return None
    has_versions = VERSIONING in body.settings
    return encode_listener(
        Listener(name.decode(), body.region, body.owner, has_versions, notifications)
    )
