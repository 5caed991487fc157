"""Access keys of users and roots, and the credentials of sessions.

A secret is kept sealed under the store's own key, bound to the id of its access key: copied
to another row it opens nothing.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Final

from objstore.iam.errors import (
    EntityAlreadyExistsError,
    LimitExceededError,
    NoSuchEntityError,
)
from objstore.iam.model import AccessKey, Session
from objstore.iam.names import (
    ACCESS_KEY_PREFIX,
    MAX_KEYS_OF_USER,
    SESSION_KEY_PREFIX,
    USER,
    check_access_key,
    new_access_key,
)
from objstore.iam.policies import PolicyCalls

_COLUMNS: Final = (
    "access_key, k.account, coalesce(e.name, ''), is_active, k.created_ms, '', used_ms, "
    "used_service, used_region"
)
_FROM: Final = "from access_key k left join entity e on e.row = k.user"


class KeyCalls(PolicyCalls):
    """Keys.  Where a user is asked for, "" stands for the root of the account."""

    def create_key(
        self, account: str, user: str, *, access_key: str = "", secret_key: str = ""
    ) -> AccessKey:
        """A new access key, its secret told this once.

        Args:
            access_key, secret_key: given ones, such as of a store that is moved here.

        Raises:
            NoSuchEntityError, InvalidInputError
            LimitExceededError: there are two already.
            EntityAlreadyExistsError: somebody has this access key.
        """
        if access_key or secret_key:
            check_access_key(access_key, secret_key)
        else:
            access_key, secret_key = new_access_key(ACCESS_KEY_PREFIX, self._entropy)
        row = self._entity(account, USER, user).row if user else None
        sealed = self._seal(access_key, secret_key)
        now_ms = self._now_ms()
        with self._db.change() as cursor:
            self._ensure(cursor, account)
            query = "select count(*) from access_key where account = ? and user is ?"
            if cursor.execute(query, (account, row)).fetchone()[0] >= MAX_KEYS_OF_USER:
                raise LimitExceededError(
                    f"Cannot exceed quota for AccessKeysPerUser: {MAX_KEYS_OF_USER}"
                )
            try:
                cursor.execute(
                    "insert into access_key (access_key, account, user, sealed, is_active, "
                    "created_ms) values (?, ?, ?, ?, 1, ?)",
                    (access_key, account, row, sealed, now_ms),
                )
            except sqlite3.IntegrityError:
                raise EntityAlreadyExistsError(f"The access key {access_key} exists.") from None
        return AccessKey(access_key, account, user, True, now_ms, secret_key)

    def keys_of(self, account: str, user: str) -> list[AccessKey]:
        """The access keys of a user, without secrets.  Raises NoSuchEntityError."""
        row = self._entity(account, USER, user).row if user else None
        rows = self._db.rows(
            f"select {_COLUMNS} {_FROM} where k.account = ? and k.user is ? order by k.created_ms",
            (account, row),
        )
        return [_key(row) for row in rows]

    def key(self, access_key: str) -> AccessKey:
        """An access key, without its secret.  Raises NoSuchEntityError."""
        row = self._db.row(f"select {_COLUMNS} {_FROM} where access_key = ?", (access_key,))
        if row is None:
            raise NoSuchEntityError(f"The Access Key with id {access_key} cannot be found.")
        return _key(row)

    def set_key_active(self, account: str, user: str, access_key: str, is_active: bool) -> None:
        """Have a key be used, or not.  Raises NoSuchEntityError."""
        self._check_key(account, user, access_key)
        with self._db.change() as cursor:
            query = "update access_key set is_active = ? where access_key = ?"
            cursor.execute(query, (is_active, access_key))

    def delete_key(self, account: str, user: str, access_key: str) -> None:
        """Remove a key.  Raises NoSuchEntityError."""
        self._check_key(account, user, access_key)
        with self._db.change() as cursor:
            cursor.execute("delete from access_key where access_key = ?", (access_key,))

    def _check_key(self, account: str, user: str, access_key: str) -> None:
        found = self.key(access_key)
        if (found.account, found.user.lower()) != (account, user.lower()):
            raise NoSuchEntityError(f"The Access Key with id {access_key} cannot be found.")

    def note_used(self, uses: Iterable[tuple[str, int, str, str]]) -> None:
        """Keep when keys were last used: access key, ms, service, region of each."""
        with self._db.change() as cursor:
            for access_key, used_ms, service, region in uses:
                cursor.execute(
                    "update access_key set used_ms = ?, used_service = ?, used_region = ? "
                    "where access_key = ? and coalesce(used_ms, 0) < ?",
                    (used_ms, service, region, access_key, used_ms),
                )

    # What requests are authenticated by.

    def secret_of(self, access_key: str) -> tuple[str, int | None, str] | None:
        """Account, row of the user or None for the root, and secret of a key that is active."""
        row = self._db.row(
            "select account, user, sealed from access_key where access_key = ? and is_active",
            (access_key,),
        )
        return None if row is None else (row[0], row[1], self._unseal(access_key, row[2]))

    def create_session(
        self,
        account: str,
        kind: str,
        source: int,
        name: str,
        duration_s: int,
        *,
        policy: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> Session:
        """Temporary credentials; those that have ended go."""
        access_key, secret_key = new_access_key(SESSION_KEY_PREFIX, self._entropy)
        token = self._entropy.token_bytes(48).hex()
        now_ms = self._now_ms()
        expires_ms = now_ms + duration_s * 1000
        sealed = self._seal(access_key, secret_key)
        described = json.dumps(dict(tags or {})).encode()
        with self._db.change() as cursor:
            self._ensure(cursor, account)
            cursor.execute("delete from session where expires_ms < ?", (now_ms - 3_600_000,))
            cursor.execute(
                "insert into session values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(access_key, account, kind, source, name, now_ms, expires_ms, policy),
                    *(described, sealed, token),
                ),
            )
        return Session(
            access_key,
            account,
            kind,
            source,
            name,
            now_ms,
            expires_ms,
            policy,
            dict(tags or {}),
            secret_key,
            token,
        )

    def session(self, access_key: str) -> Session | None:
        """The session of temporary credentials, which may have ended; None for none."""
        row = self._db.row(
            "select account, kind, source, name, issued_ms, expires_ms, policy, tags, "
            "sealed, token from session where access_key = ?",
            (access_key,),
        )
        if row is None:
            return None
        account, kind, source, name, issued_ms, expires_ms, policy, tags, sealed, token = row
        secret_key = self._unseal(access_key, sealed)
        return Session(
            access_key,
            account,
            kind,
            source,
            name,
            issued_ms,
            expires_ms,
            policy,
            json.loads(tags),
            secret_key,
            token,
        )

    def _seal(self, access_key: str, secret_key: str) -> bytes:
        return self._key_service.wrap("", secret_key.encode("utf-8"), _context(access_key))

    def _unseal(self, access_key: str, sealed: bytes) -> str:
        return self._key_service.unwrap(sealed, _context(access_key)).decode("utf-8")


def _context(access_key: str) -> bytes:
    return b"iam:" + access_key.encode("utf-8")


def _key(row: tuple[object, ...]) -> AccessKey:
    access_key, account, user, is_active, *others = row
    return AccessKey(access_key, account, user, bool(is_active), *others)  # type: ignore[arg-type]
