"""What every family of verbs stands on: the rows, the clock, ids, tokens, tags."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from blockdev.clock import Clock
from blockdev.entropy import Entropy
from blockdev.instance import TERMINATED_VISIBLE_NS
from blockdev.model import Instance, ServiceError, Volume
from blockdev.region import limits, rows
from blockdev.region.database import Connection, Database
from blockdev.region.owners import Owner
from blockdev.snapshot import SnapshotStore
from blockdev.volume import Timings

_ID_DIGITS: Final = 17
_TABLES: Final = {
    "vol": ("volumes", "volume_id"),
    "snap": ("snapshots", "snapshot_id"),
    "i": ("instances", "instance_id"),
    "r": ("instances", "reservation_id"),
}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a region is given from outside, and its open database."""

    path: Path
    name: str
    account_id: str
    clock: Clock
    entropy: Entropy
    timings: Timings
    database: Database
    owner: Owner
    store: SnapshotStore


class RegionBase:
    """The part of `Region` that its families of verbs share."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._path = surroundings.path
        self._name = surroundings.name
        self._account_id = surroundings.account_id
        self._clock = surroundings.clock
        self._entropy = surroundings.entropy
        self._timings = surroundings.timings
        self._database = surroundings.database
        self._owner = surroundings.owner
        self._store = surroundings.store
        self._lock = threading.RLock()

    @property
    def path(self) -> Path:
        """The region's folder."""
        return self._path

    @property
    def name(self) -> str:
        """Such as ``us-east-1``."""
        return self._name

    @property
    def zones(self) -> tuple[str, ...]:
        """The availability zones: three of them."""
        return tuple(self._name + letter for letter in "abc")

    @property
    def clock(self) -> Clock:
        """Where the region's time comes from."""
        return self._clock

    @property
    def account_id(self) -> str:
        """The owner of everything in the region: twelve digits."""
        return self._account_id

    @property
    def timings(self) -> Timings:
        """How long passing states last."""
        return self._timings

    # Transactions.

    @contextmanager
    def _write(self) -> Iterator[tuple[Connection, int]]:
        """A transaction that changes rows, and the moment at which it happens.

        What time has made void is struck off first, so that no verb meets it.
        """
        with self._database.write() as connection:
            now_ns = self._clock.now_ns()
            _purge(connection, now_ns)
            yield connection, now_ns

    @contextmanager
    def _read(self) -> Iterator[tuple[Connection, int]]:
        """A transaction that only looks, and the moment it shows."""
        with self._database.read() as connection:
            yield connection, self._clock.now_ns()

    def _new_id(self, connection: Connection, kind: str) -> str:
        """An id that no row has: vol-, snap-, i- or r- and 17 hexadecimal digits."""
        table, column = _TABLES[kind]
        query = f"SELECT 1 FROM {table} WHERE {column} = ?"
        while True:
            digits = self._entropy.token_bytes((_ID_DIGITS + 1) // 2).hex()[:_ID_DIGITS]
            found = f"{kind}-{digits}"
            if connection.execute(query, (found,)).fetchone() is None:
                return found

    # Idempotency.

    def _once(
        self,
        connection: Connection,
        verb: str,
        client_token: str,
        arguments: Mapping[str, Any],
        make: Callable[[], Sequence[str]],
    ) -> tuple[Sequence[str], bool]:
        """Run `make` and keep the ids it returns under `client_token`, or return those kept.

        A token whose resources are gone is forgotten.  Also returns whether `make` was run.

        Raises:
            ServiceError: IdempotentParameterMismatch: the token came with other arguments.
        """
        if not client_token:
            return make(), True
        if len(client_token) > limits.MAX_CLIENT_TOKEN or not client_token.isascii():
            raise ServiceError("InvalidParameterValue", "The client token is too long.")
        fingerprint = json.dumps(arguments, sort_keys=True, default=repr)
        key = (verb, client_token)
        row = connection.execute(
            "SELECT fingerprint, resource_ids FROM tokens WHERE verb = ? AND token = ?", key
        ).fetchone()
        if row is not None and not _exist(connection, json.loads(row["resource_ids"])):
            connection.execute("DELETE FROM tokens WHERE verb = ? AND token = ?", key)
            row = None
        if row is None:
            made = make()
            connection.execute(
                "INSERT INTO tokens VALUES (?, ?, ?, ?, ?)",
                (*key, fingerprint, json.dumps(list(made)), self._clock.now_ns()),
            )
            return made, True
        if row["fingerprint"] != fingerprint:
            raise ServiceError(
                "IdempotentParameterMismatch",
                f"The client token '{client_token}' was used with different parameters.",
            )
        kept: list[str] = json.loads(row["resource_ids"])
        return kept, False

    # Looking rows up.

    def _volume(self, connection: Connection, volume_id: str, now_ns: int) -> Volume:
        """Raises InvalidVolume.NotFound, also for one whose files are gone."""
        found = rows.load_volumes(connection, now_ns, [volume_id])
        if not found:
            raise volume_not_found(volume_id)
        return found[0]

    def _instance(self, connection: Connection, instance_id: str, now_ns: int) -> Instance:
        """Raises InvalidInstanceID.NotFound."""
        found = rows.load_instances(connection, now_ns, [instance_id])
        if not found:
            raise instance_not_found(instance_id)
        return found[0]

    def _check_zone(self, zone: str) -> str:
        """The zone, or InvalidZone.NotFound."""
        if zone not in self.zones:
            raise ServiceError("InvalidZone.NotFound", f"The zone '{zone}' does not exist.")
        return zone

    # Tags.

    def _tag(self, connection: Connection, resource_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a resource that exists, in place of those with the same keys.

        Raises:
            ServiceError: TagLimitExceeded, InvalidParameterValue.
        """
        for key, value in tags.items():
            check_tag(key, value)
        connection.executemany(
            "INSERT OR REPLACE INTO tags VALUES (?, ?, ?)",
            [(resource_id, key, value) for key, value in tags.items()],
        )
        (count,) = connection.execute(
            "SELECT count(*) FROM tags WHERE resource_id = ?", (resource_id,)
        ).fetchone()
        if count > limits.MAX_TAGS:
            raise ServiceError(
                "TagLimitExceeded", f"{resource_id} would have {count} tags; 50 are allowed."
            )


def _exist(connection: Connection, ids: Sequence[str]) -> bool:
    """Whether all of these have their rows still."""
    for one in ids:
        table, column = _TABLES[one.partition("-")[0]]
        query = f"SELECT 1 FROM {table} WHERE {column} = ?"
        if connection.execute(query, (one,)).fetchone() is None:
            return False
    return True


def check_tag(key: str, value: str) -> None:
    """Raise InvalidParameterValue unless EC2 takes this tag."""
    if not 1 <= len(key) <= limits.MAX_TAG_KEY or key.lower().startswith("aws:"):
        raise ServiceError(
            "InvalidParameterValue",
            f"Value ( {key} ) for parameter key is invalid. Tag keys have 1 to "
            f"{limits.MAX_TAG_KEY} characters and do not begin with aws:",
        )
    if len(value) > limits.MAX_TAG_VALUE:
        raise ServiceError(
            "InvalidParameterValue",
            f"The value of tag '{key}' has over {limits.MAX_TAG_VALUE} characters.",
        )


def volume_not_found(volume_id: str) -> ServiceError:
    """What EC2 says of a volume that is not there."""
    return ServiceError("InvalidVolume.NotFound", f"The volume '{volume_id}' does not exist.")


def instance_not_found(instance_id: str) -> ServiceError:
    """What EC2 says of an instance that is not there."""
    return ServiceError(
        "InvalidInstanceID.NotFound", f"The instance ID '{instance_id}' does not exist"
    )


def missing(wanted: Sequence[str], found: Sequence[str]) -> list[str]:
    """Those of `wanted` that were not found, in their order."""
    present = set(found)
    return [one for one in wanted if one not in present]


def _purge(connection: Connection, now_ns: int) -> None:
    """Strike off what is over: attachments, terminated instances, old client tokens."""
    connection.execute(
        "DELETE FROM attachments WHERE detached_ns <= ? AND NOT EXISTS (SELECT 1 FROM opens"
        " WHERE opens.volume_id = attachments.volume_id"
        " AND opens.instance_id = attachments.instance_id)",
        (now_ns,),
    )
    over_ns = now_ns - TERMINATED_VISIBLE_NS
    connection.execute(
        "DELETE FROM tags WHERE resource_id IN"
        " (SELECT instance_id FROM instances WHERE target = 'terminated' AND reached_ns <= ?)",
        (over_ns,),
    )
    connection.execute(
        "DELETE FROM instances WHERE target = 'terminated' AND reached_ns <= ?", (over_ns,)
    )
    gone = "SELECT volume_id FROM volumes WHERE deleted_ns <= ? AND NOT files_made"
    connection.execute(f"DELETE FROM tags WHERE resource_id IN ({gone})", (now_ns,))
    connection.execute(f"DELETE FROM volumes WHERE volume_id IN ({gone})", (now_ns,))
    connection.execute("DELETE FROM tokens WHERE created_ns <= ?", (now_ns - limits.TOKEN_KEPT_NS,))
