"""Keys as the key file holds them, and as those who ask are told of them.

Nothing here holds key material in the clear: `KeyVersion.wrapped` is what the root key made
of it.  Times are milliseconds since 1970 UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

ENABLED: Final = "Enabled"
DISABLED: Final = "Disabled"
PENDING_DELETION: Final = "PendingDeletion"

CUSTOMER: Final = "CUSTOMER"
AWS: Final = "AWS"
STORE: Final = "STORE"
"""Who manages a key: whoever made it; the service, as the key behind `S3_ALIAS`; or the
store, as the key of SSE-S3, which no request can name."""

S3_ALIAS: Final = "alias/aws/s3"
"""Names the key of SSE-KMS where a request names none."""

NEVER_MS: Final = 1 << 62


class KeyVersion(msgspec.Struct, frozen=True):
    """One generation of a key's material.  `number` counts from 1; `wrapped` has 60 bytes."""

    number: int
    created_ms: int
    wrapped: bytes


class KeyRecord(msgspec.Struct, frozen=True):
    """A key.

    `key_id`: a UUID.  `region` and `account`: those that it was made in.
    `deletion_ms`: when its material goes, 0 where that is not planned.
    `rotation_days`: a new version comes every so many days, 0 for by hand alone;
        `next_rotation_ms`: the next time, 0 likewise.
    `versions`: ascending; the last one wraps, all of them unwrap.
    """

    key_id: str
    region: str
    account: str
    manager: str
    created_ms: int
    versions: tuple[KeyVersion, ...]
    description: str = ""
    state: str = ENABLED
    deletion_ms: int = 0
    rotation_days: int = 0
    next_rotation_ms: int = 0

    @property
    def arn(self) -> str:
        """The key's name in all of AWS."""
        return f"arn:aws:kms:{self.region}:{self.account}:key/{self.key_id}"

    @property
    def due_ms(self) -> int:
        """When something has to be done to it of itself, `NEVER_MS` for never."""
        if self.deletion_ms:
            return self.deletion_ms
        if self.next_rotation_ms and self.state == ENABLED:
            return self.next_rotation_ms
        return NEVER_MS


class AliasRecord(msgspec.Struct, frozen=True):
    """A name for a key: ``alias/`` and more."""

    name: str
    key_id: str
    created_ms: int


class Document(msgspec.Struct, frozen=True):
    """All that the key file holds.  Keys in the order that they were made in."""

    keys: tuple[KeyRecord, ...] = ()
    aliases: tuple[AliasRecord, ...] = ()


def names_of(document: Document) -> dict[str, KeyRecord]:
    """Keys by id, ARN, alias and alias's ARN; the store's own also by the empty name."""
    names: dict[str, KeyRecord] = {}
    for record in document.keys:
        names[record.key_id] = names[record.arn] = record
        if record.manager == STORE:
            names[""] = record
    for alias in document.aliases:
        record = names[alias.key_id]
        names[alias.name] = names[alias_arn(record, alias.name)] = record
    return names


def alias_arn(record: KeyRecord, alias: str) -> str:
    """An alias's name in all of AWS."""
    return f"{record.arn.rpartition(':')[0]}:{alias}"


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """A key as it is told of.  `versions` counts them; `rotated_ms` is the age of the last."""

    key_id: str
    arn: str
    manager: str
    state: str
    description: str
    aliases: tuple[str, ...]
    created_ms: int
    versions: int
    rotated_ms: int
    rotation_days: int
    next_rotation_ms: int
    deletion_ms: int


@dataclass(frozen=True, slots=True)
class AliasInfo:
    """An alias as it is told of."""

    name: str
    arn: str
    key_id: str
    created_ms: int


def key_info(record: KeyRecord, document: Document) -> KeyInfo:
    """What there is to tell of a key."""
    aliases = sorted(alias.name for alias in document.aliases if alias.key_id == record.key_id)
    return KeyInfo(
        key_id=record.key_id,
        arn=record.arn,
        manager=record.manager,
        state=record.state,
        description=record.description,
        aliases=tuple(aliases),
        created_ms=record.created_ms,
        versions=len(record.versions),
        rotated_ms=record.versions[-1].created_ms,
        rotation_days=record.rotation_days,
        next_rotation_ms=record.next_rotation_ms,
        deletion_ms=record.deletion_ms,
    )
