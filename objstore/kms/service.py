"""The key service: wraps data keys for the engine, and keeps the keys that it does so with.

`KeyService` is what the engine needs of one; `LocalKeyService` keeps its keys in a folder
that several processes share.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID

from blockdev.clock import Clock
from objstore.entropy import Entropy
from objstore.errors import KeyNotFoundError
from objstore.kms import changes, wrapped
from objstore.kms.folder import ROOT_NAME
from objstore.kms.keeper import KeyKeeper
from objstore.kms.model import (
    AWS,
    CUSTOMER,
    S3_ALIAS,
    STORE,
    AliasInfo,
    Document,
    KeyInfo,
    KeyRecord,
    alias_arn,
    key_info,
    names_of,
)
from objstore.kms.ring import KeyRing

DEFAULT_REGION: Final = "us-east-1"
DEFAULT_ACCOUNT: Final = "000000000000"
YEAR_DAYS: Final = 365
FOLDER_NAME: Final = "kms"
"""In a store's folder: the key file, its lock, and the root key unless that is elsewhere."""

_OWN_DESCRIPTION: Final = "The store's own key, for SSE-S3"
_S3_DESCRIPTION: Final = "For SSE-KMS where no key is named"


class KeyService(Protocol):
    """What the engine needs.  Safe to share between threads."""

    def wrap(self, key_id: str, plaintext_key: bytes, context: bytes) -> bytes:
        """A data key, wrapped; `unwrap` needs the same context."""
        ...

    def unwrap(self, wrapped_key: bytes, context: bytes) -> bytes:
        """The data key."""
        ...

    def resolve(self, name: str) -> str:
        """The ARN of the key of that id, ARN or alias."""
        ...


class LocalKeyService:
    """Keys in a folder.  Safe to share between threads; processes may share the folder.

    Nothing is made before a key is needed.  Every method may raise `KeyServiceError` (the
    root key or the key file is missing, damaged, or not to be read or written) and
    `StoreLockedError` (another process has had the folder for a minute).

    Args:
        folder: of the key file and its lock, such as ``kms`` in the store's folder.
        root_key_path: of the root key; ``root.key`` in `folder` if None.  Of this store
            alone: `rotate_root` would leave another one without its root key.
        region, account: those of the ARNs of new keys.
    """

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        entropy: Entropy,
        root_key_path: Path | None = None,
        *,
        region: str = DEFAULT_REGION,
        account: str = DEFAULT_ACCOUNT,
    ) -> None:
        root_path = root_key_path or folder / ROOT_NAME
        self._keeper = KeyKeeper(folder, root_path, clock, entropy)
        self._entropy = entropy
        self._region = region
        self._account = account

    # What the engine calls.

    def wrap(self, key_id: str, plaintext_key: bytes, context: bytes) -> bytes:
        """A data key, wrapped by the newest version of a key.

        Args:
            key_id: a key's id, ARN or alias; "" for the store's own key, made at first use.
            plaintext_key: to be wrapped; 53 bytes shorter than what comes of it.
            context: what `unwrap` has to be given as well.

        Raises:
            KeyNotFoundError
            KeyDisabledError
            KeyPendingDeletionError
        """
        ring = self._keeper.current()
        wrapper = ring.wrappers.get(key_id)
        if wrapper is None:
            ring, record = self._made(ring, key_id)
            wrapper = ring.wrapper(record, key_id)
        salt = self._entropy.token_bytes(wrapped.SALT_BYTES)
        return wrapped.seal(wrapper.material, wrapper.head, salt, plaintext_key, context)

    def unwrap(self, wrapped_key: bytes, context: bytes) -> bytes:
        """The data key.

        Raises:
            CorruptionError: it was changed, or `context` is another.
            KeyNotFoundError: the key that wrapped it is gone, or was another store's.
            KeyDisabledError
            KeyPendingDeletionError
        """
        ring = self._keeper.current()
        head = wrapped_key[: wrapped.HEAD_BYTES]
        material = ring.materials.get(head)
        if material is None or len(wrapped_key) < wrapped.OVERHEAD_BYTES:
            material = ring.material_of(wrapped_key, head)
        return wrapped.unseal(material, wrapped_key, context)

    def resolve(self, name: str) -> str:
        """The ARN of the key of that id, ARN, alias or alias's ARN.

        ``alias/aws/s3`` is made at first use; the store's own key has no name here.

        Raises:
            KeyNotFoundError
        """
        return self._named(name).arn

    # What those who manage keys call.

    def key_of(self, wrapped_key: bytes) -> str:
        """The ARN of the key that wrapped something.

        Raises:
            CorruptionError: it is no wrapped key.
            KeyNotFoundError: the key is gone, or is the store's own.
        """
        return self.resolve(wrapped.origin(wrapped_key).key_id)

    def create_key(self, description: str = "", alias: str = "") -> KeyInfo:
        """A new key.

        Args:
            description: 8,192 characters at most.
            alias: ``alias/`` and more; "" for none.

        Raises:
            InvalidArgumentError: the description is too long, or the alias is none.
            AliasExistsError
            KeyLimitError
        """
        record = self._new_key(CUSTOMER, description)
        ring = self._keeper.change(lambda old, make: changes.add_key(old, record, make, alias))
        return key_info(ring.find(record.key_id), ring.document)

    def list_keys(self) -> list[KeyInfo]:
        """All keys, the store's own included, in the order that they were made in."""
        document = self._keeper.current().document
        return [key_info(record, document) for record in document.keys]

    def list_aliases(self) -> list[AliasInfo]:
        """All aliases, by name."""
        ring = self._keeper.current()
        found = []
        for alias in sorted(ring.document.aliases, key=lambda alias: alias.name):
            arn = alias_arn(ring.find(alias.key_id), alias.name)
            found.append(AliasInfo(alias.name, arn, alias.key_id, alias.created_ms))
        return found

    def describe(self, name: str) -> KeyInfo:
        """A key, by its id, ARN or alias; the store's own by its id.

        Raises:
            KeyNotFoundError
        """
        document = self._keeper.current().document
        return key_info(_named_in(document, name), document)

    def create_alias(self, alias: str, name: str) -> None:
        """Name the key `name` by `alias` as well.

        Raises:
            KeyNotFoundError
            InvalidArgumentError: not an alias.
            AliasExistsError
            KeyLimitError
            KeyStateError: the key is pending deletion, or none of a customer's.
        """
        now_ms = self._keeper.now_ms()
        self._change_key(name, lambda old, key, make: changes.add_alias(old, alias, key, now_ms))

    def delete_alias(self, alias: str) -> None:
        """Remove a name; the key stays.

        Raises:
            KeyNotFoundError
            KeyStateError: one that is not for anybody to remove.
        """
        changes.remove_alias(self._keeper.current().document, alias)  # or nothing is made for it
        self._keeper.change(lambda old, make: changes.remove_alias(old, alias))

    def enable(self, name: str) -> KeyInfo:
        """Have a key be used again.

        Raises:
            KeyNotFoundError
            KeyStateError: it is pending deletion, or none of a customer's.
        """
        return self._change_key(name, lambda old, key, make: changes.set_enabled(old, key, True))

    def disable(self, name: str) -> KeyInfo:
        """Have a key not be used, until it is enabled.

        Raises:
            KeyNotFoundError
            KeyStateError: it is pending deletion, or none of a customer's.
        """
        return self._change_key(name, lambda old, key, make: changes.set_enabled(old, key, False))

    def rotate(self, name: str) -> KeyInfo:
        """A new version of a key, which wraps from now on; older ones go on unwrapping.

        Raises:
            KeyNotFoundError
            KeyDisabledError
            KeyPendingDeletionError
            KeyLimitError
        """
        now_ms = self._keeper.now_ms()
        return self._change_key(name, lambda old, key, make: changes.rotate(old, key, now_ms, make))

    def set_rotation(self, name: str, days: int) -> KeyInfo:
        """Have a key rotate of itself every `days` days, 90 to 2,560; 0 for by hand alone.

        Raises:
            InvalidArgumentError
            KeyNotFoundError
            KeyDisabledError
            KeyStateError: it is pending deletion, or none of a customer's.
        """
        now_ms = self._keeper.now_ms()
        return self._change_key(
            name, lambda old, key, make: changes.set_rotation(old, key, days, now_ms)
        )

    def schedule_deletion(self, name: str, days: int = changes.MOST_WAITING_DAYS) -> KeyInfo:
        """Have a key's material be destroyed in `days` days, 7 to 30; it is of no use until then.

        What it wrapped can never be unwrapped again.

        Raises:
            InvalidArgumentError
            KeyNotFoundError
            KeyStateError: it is pending deletion already, or none of a customer's.
        """
        now_ms = self._keeper.now_ms()
        return self._change_key(
            name, lambda old, key, make: changes.schedule_deletion(old, key, days, now_ms)
        )

    def cancel_deletion(self, name: str) -> KeyInfo:
        """Have a key stay after all; it is disabled.

        Raises:
            KeyNotFoundError
            KeyStateError: its deletion is not planned.
        """
        return self._change_key(name, lambda old, key, make: changes.cancel_deletion(old, key))

    def rotate_root(self) -> str:
        """Wrap every key anew under a new root key; the new one's id."""
        return self._keeper.rotate_root()

    def close(self) -> None:
        """Let go of the key file and forget what was unwrapped; the next call reads it anew."""
        self._keeper.close()

    def _made(self, ring: KeyRing, name: str) -> tuple[KeyRing, KeyRecord]:
        """The key of that name, made now if it is one that is made at first use."""
        record = ring.get(name)
        if record is None and name in ("", S3_ALIAS):
            ring = self._keeper.change(lambda old, make: self._with_own(old, name, make))
        return ring, record or ring.find(name)

    def _with_own(self, document: Document, name: str, make: changes.Maker) -> Document:
        """With the store's own key, or that behind `S3_ALIAS`, unless another process was
        faster."""
        if name == S3_ALIAS:
            if any(alias.name == name for alias in document.aliases):
                return document
            return changes.add_key(document, self._new_key(AWS, _S3_DESCRIPTION), make, name)
        if any(key.manager == STORE for key in document.keys):
            return document
        return changes.add_key(document, self._new_key(STORE, _OWN_DESCRIPTION), make)

    def _new_key(self, manager: str, description: str) -> KeyRecord:
        key_id = str(UUID(bytes=self._entropy.token_bytes(16), version=4))
        now_ms = self._keeper.now_ms()
        days = YEAR_DAYS if manager == AWS else 0
        return KeyRecord(
            key_id=key_id,
            region=self._region,
            account=self._account,
            manager=manager,
            created_ms=now_ms,
            versions=(),
            description=description,
            rotation_days=days,
            next_rotation_ms=now_ms + days * changes.DAY_MS if days else 0,
        )

    def _named(self, name: str) -> KeyRecord:
        """A key that requests may name."""
        record = None
        if name:
            _, record = self._made(self._keeper.current(), name)
        if record is None or record.manager == STORE:
            raise KeyNotFoundError(f"there is no key {name!r}")
        return record

    def _change_key(
        self, name: str, change: Callable[[Document, str, changes.Maker], Document]
    ) -> KeyInfo:
        """Change the key of that name, as it is when the change is made."""
        _named_in(self._keeper.current().document, name)  # or nothing is made for it
        found = ""

        def apply(document: Document, make: changes.Maker) -> Document:
            nonlocal found
            found = _named_in(document, name).key_id
            return change(document, found, make)

        ring = self._keeper.change(apply)
        return key_info(ring.find(found), ring.document)


def _named_in(document: Document, name: str) -> KeyRecord:
    """A key by its own name; "" is none."""
    record = names_of(document).get(name) if name else None
    if record is None:
        raise KeyNotFoundError(f"there is no key {name!r}")
    return record
