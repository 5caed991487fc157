"""Accounts, and what is theirs as a whole."""

from __future__ import annotations

import sqlite3
from typing import Final

from objstore.auth.keys import MAIN_ACCOUNT, ROOT_ID
from objstore.iam.calls import Calls
from objstore.iam.errors import EntityAlreadyExistsError, InvalidInputError, NoSuchEntityError
from objstore.iam.model import Account
from objstore.iam.names import check_account

MAIN: Final = Account(MAIN_ACCOUNT, "root", ROOT_ID, "root")
_COLUMNS: Final = "account_id, name, canonical_id, display_name, email, created_ms"


class AccountCalls(Calls):
    """Accounts.  The main one is always there, and is the server's own root's."""

    def create_account(
        self, name: str, *, account_id: str = "", display_name: str = "", email: str = ""
    ) -> Account:
        """A new account.

        Args:
            account_id: twelve digits; chosen where none are given.

        Raises:
            InvalidInputError: a name or an id that cannot be.
            EntityAlreadyExistsError: another has the id or the name.
        """
        if not name or len(name) > 128 or not name.isprintable():
            raise InvalidInputError("An account's name has 1 to 128 printable characters")
        chosen = account_id or f"{int.from_bytes(self._entropy.token_bytes(8), 'big') % 10**12:012}"
        check_account(chosen)
        made = Account(
            chosen,
            name,
            self._entropy.token_bytes(32).hex(),
            display_name or name,
            email,
            self._now_ms(),
        )
        with self._db.change() as cursor:
            if chosen == MAIN_ACCOUNT or self._taken(cursor, made):
                raise EntityAlreadyExistsError(f"There is an account {chosen} or {name} already.")
            self._insert(cursor, made)
        return made

    def _taken(self, cursor: sqlite3.Cursor, made: Account) -> bool:
        query = "select 1 from account where account_id = ? or name = ?"
        return cursor.execute(query, (made.account_id, made.name)).fetchone() is not None

    def _insert(self, cursor: sqlite3.Cursor, made: Account) -> None:
        cursor.execute(
            f"insert into account ({_COLUMNS}) values (?, ?, ?, ?, ?, ?)",
            (
                made.account_id,
                made.name,
                made.canonical_id,
                made.display_name,
                made.email,
                made.created_ms,
            ),
        )

    def _ensure(self, cursor: sqlite3.Cursor, account: str) -> None:
        """The account that something is to be made in; the main one gets its row now."""
        query = "select 1 from account where account_id = ?"
        if cursor.execute(query, (account,)).fetchone() is None:
            if account != MAIN_ACCOUNT:
                raise NoSuchEntityError(f"There is no account {account}.")
            self._insert(cursor, MAIN)

    def accounts(self) -> list[Account]:
        """All accounts, by id; the main one first."""
        rows = self._db.rows(f"select {_COLUMNS} from account order by account_id")
        found = [Account(*row) for row in rows]
        return found if any(each.account_id == MAIN_ACCOUNT for each in found) else [MAIN, *found]

    def account(self, account_id: str) -> Account:
        """An account by its id.

        Raises:
            NoSuchEntityError
        """
        query = f"select {_COLUMNS} from account where account_id = ?"
        row = self._db.row(query, (account_id,))
        if row is not None:
            return Account(*row)
        if account_id != MAIN_ACCOUNT:
            raise NoSuchEntityError(f"There is no account {account_id}.")
        return MAIN

    def account_number(self, canonical_id: str) -> str:
        """Twelve digits of an account by its canonical id ("" for the main one); "" for none."""
        try:
            return self.account_of(canonical_id or ROOT_ID).account_id
        except NoSuchEntityError:
            return ""

    def account_of(self, canonical_id: str) -> Account:
        """An account by its canonical id.

        Raises:
            NoSuchEntityError
        """
        query = f"select {_COLUMNS} from account where canonical_id = ?"
        row = self._db.row(query, (canonical_id,))
        if row is not None:
            return Account(*row)
        if canonical_id != ROOT_ID:
            raise NoSuchEntityError(f"There is no account with the canonical id {canonical_id}.")
        return MAIN
