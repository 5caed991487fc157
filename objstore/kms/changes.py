"""What can be done to keys, as functions from one `Document` to the next.

States and rules are those of KMS, https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from objstore.config import MAX_ALIASES, MAX_KEY_VERSIONS, MAX_KEYS
from objstore.errors import (
    InvalidArgumentError,
    KeyDisabledError,
    KeyNotFoundError,
    KeyPendingDeletionError,
    KeyStateError,
)
from objstore.kms.errors import AliasExistsError, KeyLimitError
from objstore.kms.model import (
    CUSTOMER,
    DISABLED,
    ENABLED,
    NEVER_MS,
    PENDING_DELETION,
    AliasRecord,
    Document,
    KeyRecord,
    KeyVersion,
)

DAY_MS: Final = 24 * 3600 * 1000
MAX_DESCRIPTION_CHARS: Final = 8192
LEAST_WAITING_DAYS: Final = 7
MOST_WAITING_DAYS: Final = 30
LEAST_ROTATION_DAYS: Final = 90
MOST_ROTATION_DAYS: Final = 2560
"""Bounds of the ``kms`` service model."""

_ALIAS: Final = re.compile(r"alias/[a-zA-Z0-9/_-]{1,250}")
_RESERVED: Final = "alias/aws/"

Maker = Callable[[str, int], bytes]
"""New material for a version of a key, wrapped by the root key."""


def find(document: Document, key_id: str) -> KeyRecord:
    """The key of that UUID.

    Raises:
        KeyNotFoundError
    """
    for record in document.keys:
        if record.key_id == key_id:
            return record
    raise KeyNotFoundError(f"there is no key {key_id!r}")


def put(document: Document, record: KeyRecord) -> Document:
    """The document with a key in its new state."""
    keys = tuple(record if key.key_id == record.key_id else key for key in document.keys)
    return replace(document, keys=keys)


def add_key(document: Document, record: KeyRecord, make: Maker, alias: str = "") -> Document:
    """With a new key, and an alias for it unless that is empty.

    Args:
        record: the key; its first version is made here.

    Raises:
        InvalidArgumentError: the description is too long, or the alias is none.
        AliasExistsError
        KeyLimitError
    """
    if len(record.description) > MAX_DESCRIPTION_CHARS:
        raise InvalidArgumentError(
            f"a description has {MAX_DESCRIPTION_CHARS} characters at most", "Description"
        )
    if len(document.keys) >= MAX_KEYS:
        raise KeyLimitError(f"there are {MAX_KEYS} keys already")
    first = KeyVersion(1, record.created_ms, make(record.key_id, 1))
    made = replace(document, keys=(*document.keys, replace(record, versions=(first,))))
    if not alias:
        return made
    return add_alias(
        made, alias, record.key_id, record.created_ms, reserved=record.manager != CUSTOMER
    )


def add_alias(
    document: Document, name: str, key_id: str, now_ms: int, *, reserved: bool = False
) -> Document:
    """With a name for a key.

    Args:
        reserved: the name may be one of those that AWS keeps for itself.

    Raises:
        KeyNotFoundError
        InvalidArgumentError: not an alias.
        AliasExistsError
        KeyLimitError
        KeyPendingDeletionError
        KeyStateError: the key is none of a customer's.
    """
    record = find(document, key_id)
    if not reserved:
        _managed_by_customer(record)
    _not_pending(record)
    if not _ALIAS.fullmatch(name) or (name.startswith(_RESERVED) and not reserved):
        raise InvalidArgumentError(
            f"{name!r} is not an alias: alias/ and 1 to 250 of a-z, A-Z, 0-9, /, _ and -, "
            f"not beginning with {_RESERVED}",
            "AliasName",
            name,
        )
    if any(alias.name == name for alias in document.aliases):
        raise AliasExistsError(f"{name} names a key already")
    if len(document.aliases) >= MAX_ALIASES:
        raise KeyLimitError(f"there are {MAX_ALIASES} aliases already")
    return replace(document, aliases=(*document.aliases, AliasRecord(name, key_id, now_ms)))


def remove_alias(document: Document, name: str) -> Document:
    """Without a name.

    Raises:
        KeyNotFoundError: no such alias.
        KeyStateError: one of those that AWS keeps for itself.
    """
    if name.startswith(_RESERVED):
        raise KeyStateError(f"{name} is not for anybody to remove")
    kept = tuple(alias for alias in document.aliases if alias.name != name)
    if len(kept) == len(document.aliases):
        raise KeyNotFoundError(f"there is no alias {name!r}")
    return replace(document, aliases=kept)


def set_enabled(document: Document, key_id: str, enabled: bool) -> Document:
    """With a key that may be used, or not.

    Raises:
        KeyNotFoundError
        KeyPendingDeletionError
        KeyStateError: the key is none of a customer's.
    """
    record = _of_customer(document, key_id)
    _not_pending(record)
    return put(document, replace(record, state=ENABLED if enabled else DISABLED))


def rotate(document: Document, key_id: str, now_ms: int, make: Maker) -> Document:
    """With a new version of a key, which wraps from now on.

    Raises:
        KeyNotFoundError
        KeyDisabledError
        KeyPendingDeletionError
        KeyLimitError
    """
    record = find(document, key_id)
    usable(record)
    if len(record.versions) >= MAX_KEY_VERSIONS:
        raise KeyLimitError(f"key {key_id} has {MAX_KEY_VERSIONS} versions already")
    number = record.versions[-1].number + 1
    version = KeyVersion(number, now_ms, make(key_id, number))
    return put(document, replace(record, versions=(*record.versions, version)))


def set_rotation(document: Document, key_id: str, days: int, now_ms: int) -> Document:
    """With a key that rotates of itself every so many days; 0 for not.

    Raises:
        InvalidArgumentError: a period that KMS does not have.
        KeyNotFoundError
        KeyDisabledError
        KeyPendingDeletionError
        KeyStateError: the key is none of a customer's.
    """
    if days and not LEAST_ROTATION_DAYS <= days <= MOST_ROTATION_DAYS:
        raise InvalidArgumentError(
            f"a key rotates every {LEAST_ROTATION_DAYS} to {MOST_ROTATION_DAYS} days",
            "RotationPeriodInDays",
            str(days),
        )
    record = _of_customer(document, key_id)
    usable(record)
    next_ms = now_ms + days * DAY_MS if days else 0
    return put(document, replace(record, rotation_days=days, next_rotation_ms=next_ms))


def schedule_deletion(document: Document, key_id: str, days: int, now_ms: int) -> Document:
    """With a key that goes in so many days, and cannot be used until then.

    Raises:
        InvalidArgumentError: fewer than 7 days, or more than 30.
        KeyNotFoundError
        KeyPendingDeletionError
        KeyStateError: the key is none of a customer's.
    """
    if not LEAST_WAITING_DAYS <= days <= MOST_WAITING_DAYS:
        raise InvalidArgumentError(
            f"a key waits for its deletion for {LEAST_WAITING_DAYS} to {MOST_WAITING_DAYS} days",
            "PendingWindowInDays",
            str(days),
        )
    record = _of_customer(document, key_id)
    _not_pending(record)
    deletion_ms = now_ms + days * DAY_MS
    return put(document, replace(record, state=PENDING_DELETION, deletion_ms=deletion_ms))


def cancel_deletion(document: Document, key_id: str) -> Document:
    """With a key that stays after all, disabled.

    Raises:
        KeyNotFoundError
        KeyStateError: its deletion is not planned.
    """
    record = find(document, key_id)
    if record.state != PENDING_DELETION:
        raise KeyStateError(f"the deletion of {record.arn} is not planned: it is {record.state}")
    return put(document, replace(record, state=DISABLED, deletion_ms=0))


def due_ms(document: Document) -> int:
    """When `settle` has something to do next."""
    return min((record.due_ms for record in document.keys), default=NEVER_MS)


def settle(document: Document, now_ms: int, make: Maker) -> Document:
    """With all done that is due by now: keys that go are gone, and those that rotate have."""
    kept = tuple(key for key in document.keys if not 0 < key.deletion_ms <= now_ms)
    names = {key.key_id for key in kept}
    aliases = tuple(alias for alias in document.aliases if alias.key_id in names)
    settled = Document(kept, aliases)
    for record in kept:
        if record.due_ms <= now_ms:
            settled = _rotate_due(settled, record, now_ms, make)
    return settled


def _rotate_due(document: Document, record: KeyRecord, now_ms: int, make: Maker) -> Document:
    """Once, however many periods nobody looked; the next one counts from now."""
    next_ms = now_ms + record.rotation_days * DAY_MS
    planned = put(document, replace(record, next_rotation_ms=next_ms))
    if len(record.versions) >= MAX_KEY_VERSIONS:
        return planned  # rather an old key than none
    return rotate(planned, record.key_id, now_ms, make)


def usable(record: KeyRecord) -> None:
    """Whether a key may wrap and unwrap.

    Raises:
        KeyDisabledError
        KeyPendingDeletionError
    """
    if record.state == DISABLED:
        raise KeyDisabledError(f"{record.arn} is disabled.")
    _not_pending(record)


def _not_pending(record: KeyRecord) -> None:
    if record.state == PENDING_DELETION:
        raise KeyPendingDeletionError(f"{record.arn} is pending deletion.")


def _of_customer(document: Document, key_id: str) -> KeyRecord:
    record = find(document, key_id)
    _managed_by_customer(record)
    return record


def _managed_by_customer(record: KeyRecord) -> None:
    if record.manager != CUSTOMER:
        raise KeyStateError(f"{record.arn} is managed by the service: this is not for it.")
