"""All of the identities of a store, in one place."""

from __future__ import annotations

from pathlib import Path

from blockdev.clock import Clock
from objstore.entropy import Entropy
from objstore.iam.database import Database
from objstore.iam.keys import KeyCalls
from objstore.kms.service import LocalKeyService


class Directory(KeyCalls):
    """Accounts, users, groups, roles, policies, keys and sessions of a store.

    Safe to share between threads; processes may share the folder.  Every method may raise
    `DirectoryError`, and those that make or read secrets `KeyServiceError`.

    Args:
        data_dir: the store's folder; the database is in ``iam`` below it, made at first need.
        key_service: that of the same store.
    """

    def __init__(
        self, data_dir: Path, clock: Clock, entropy: Entropy, key_service: LocalKeyService
    ) -> None:
        super().__init__(Database(data_dir), clock, entropy, key_service)

    def generation(self) -> tuple[int, int] | None:
        """Another one after each change, by any process; None while there is nothing."""
        return self._db.generation()

    def check(self) -> list[str]:
        """What is wrong with the database; empty where nothing is."""
        return self._db.check()

    def close(self) -> None:
        """Let go of the database; the next call opens it again."""
        self._db.close()
