"""Users, groups and roles, and what is said of one: path, tags, boundary, trust, membership."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Final

from objstore.auth.trust import TrustError, parse_trust
from objstore.iam.accounts import AccountCalls
from objstore.iam.errors import (
    DeleteConflictError,
    EntityAlreadyExistsError,
    InvalidInputError,
    LimitExceededError,
    MalformedPolicyDocumentError,
    NoSuchEntityError,
)
from objstore.iam.model import Entity
from objstore.iam.names import (
    GROUP,
    MAX_GROUPS_OF_USER,
    ROLE,
    USER,
    check_name,
    check_path,
    check_tags,
    new_id,
)

_COLUMNS: Final = (
    "row, account, kind, name, path, entity_id, created_ms, boundary, trust, description, "
    "max_session_s"
)
MAX_TRUST_BYTES: Final = 4096


class EntityCalls(AccountCalls):
    """Users, groups and roles; `kind` is `names.USER`, `GROUP` or `ROLE`."""

    def create(
        self,
        account: str,
        kind: str,
        name: str,
        *,
        path: str = "/",
        boundary: str = "",
        trust: str = "",
        description: str = "",
        max_session_s: int = 3600,
        tags: Mapping[str, str] | None = None,
    ) -> Entity:
        """A new user, group or role.

        Raises:
            InvalidInputError, LimitExceededError: what cannot be.
            EntityAlreadyExistsError: there is one of that name, in whatever case.
            MalformedPolicyDocumentError: the trust policy is none.
            NoSuchEntityError: there is no such account, or no policy to bound it.
        """
        check_name(kind, name)
        check_path(path)
        check_tags(tags or {})
        if kind == ROLE:
            _check_role(trust, max_session_s, description)
        if boundary:
            self._check_policy_arn(account, boundary)
        with self._db.change() as cursor:
            self._ensure(cursor, account)
            values = (
                *(account, kind, name, path, new_id(kind, self._entropy), self._now_ms()),
                *(boundary, trust, description, max_session_s),
            )
            try:
                cursor.execute(
                    "insert into entity (account, kind, name, path, entity_id, created_ms, "
                    "boundary, trust, description, max_session_s) values (?,?,?,?,?,?,?,?,?,?)",
                    values,
                )
            except sqlite3.IntegrityError:
                raise EntityAlreadyExistsError(
                    f"{kind.title()} with name {name} already exists."
                ) from None
            row = cursor.lastrowid
            for key, value in (tags or {}).items():
                cursor.execute("insert into tag values (?, ?, ?)", (row, key, value))
        return self._entity(account, kind, name)

    def get(self, account: str, kind: str, name: str) -> Entity:
        """A user, group or role.  Raises NoSuchEntityError."""
        return self._entity(account, kind, name)

    def entities(
        self,
        account: str,
        kind: str,
        *,
        path_prefix: str = "/",
        after: str = "",
        limit: int = 1000,
    ) -> list[Entity]:
        """Those of a kind below a path, by name, from the one after `after` on."""
        rows = self._db.rows(
            f"select {_COLUMNS} from entity where account = ? and kind = ? and name > ? "
            "and substr(path, 1, ?) = ? order by name limit ?",
            (account, kind, after, len(path_prefix), path_prefix, limit),
        )
        return [self._with_tags(Entity(*row)) for row in rows]

    def update(
        self, account: str, kind: str, name: str, *, new_name: str = "", new_path: str = ""
    ) -> Entity:
        """Another name or path for a user or a group; what names it by its id goes on to.

        Raises:
            NoSuchEntityError, EntityAlreadyExistsError, InvalidInputError
        """
        found = self._entity(account, kind, name)
        called, path = new_name or found.name, new_path or found.path
        check_name(kind, called)
        check_path(path)
        with self._db.change() as cursor:
            query = "update entity set name = ?, path = ? where row = ?"
            try:
                cursor.execute(query, (called, path, found.row))
            except sqlite3.IntegrityError:
                raise EntityAlreadyExistsError(
                    f"{kind.title()} with name {called} already exists."
                ) from None
        return self._entity(account, kind, called)

    def update_role(
        self,
        account: str,
        name: str,
        *,
        trust: str | None = None,
        description: str | None = None,
        max_session_s: int | None = None,
    ) -> Entity:
        """Change what is said of a role; None leaves it.

        Raises:
            NoSuchEntityError, MalformedPolicyDocumentError, InvalidInputError
        """
        found = self._entity(account, ROLE, name)
        values = (
            found.trust if trust is None else trust,
            found.description if description is None else description,
            found.max_session_s if max_session_s is None else max_session_s,
        )
        _check_role(values[0], values[2], values[1])
        with self._db.change() as cursor:
            query = "update entity set trust = ?, description = ?, max_session_s = ? where row = ?"
            cursor.execute(query, (*values, found.row))
        return self._entity(account, ROLE, name)

    def delete(self, account: str, kind: str, name: str) -> None:
        """Remove a user, group or role that nothing is attached to.

        Raises:
            NoSuchEntityError
            DeleteConflictError: it has keys, policies or members.
        """
        found = self._entity(account, kind, name)
        with self._db.change() as cursor:
            for query, what in (
                ("select 1 from access_key where user = ?", "delete access keys first"),
                ("select 1 from inline where entity = ?", "delete policies first"),
                ("select 1 from attached where entity = ?", "detach all policies first"),
                ("select 1 from member where user = ?", "remove users from group first"),
                ('select 1 from member where "group" = ?', "remove users from group first"),
            ):
                if cursor.execute(query, (found.row,)).fetchone() is not None:
                    raise DeleteConflictError(f"Cannot delete entity, must {what}.")
            cursor.execute("delete from session where source = ?", (found.row,))
            cursor.execute("delete from entity where row = ?", (found.row,))

    def tag(self, account: str, kind: str, name: str, tags: Mapping[str, str]) -> None:
        """Add tags, or change them.  Raises NoSuchEntityError, LimitExceededError."""
        found = self._entity(account, kind, name)
        check_tags({**found.tags, **tags})
        with self._db.change() as cursor:
            for key, value in tags.items():
                cursor.execute("replace into tag values (?, ?, ?)", (found.row, key, value))

    def untag(self, account: str, kind: str, name: str, keys: Iterable[str]) -> None:
        """Remove tags.  Raises NoSuchEntityError."""
        found = self._entity(account, kind, name)
        with self._db.change() as cursor:
            for key in keys:
                cursor.execute("delete from tag where entity = ? and key = ?", (found.row, key))

    def set_boundary(self, account: str, kind: str, name: str, arn: str) -> None:
        """Bound a user or a role by a managed policy; "" for no bound.

        Raises:
            NoSuchEntityError: of the identity, or of the policy.
        """
        found = self._entity(account, kind, name)
        if arn:
            self._check_policy_arn(account, arn)
        with self._db.change() as cursor:
            cursor.execute("update entity set boundary = ? where row = ?", (arn, found.row))

    # Groups and their members.

    def add_member(self, account: str, group: str, user: str) -> None:
        """Put a user into a group.

        Raises:
            NoSuchEntityError
            LimitExceededError: the user is in as many as one may be.
        """
        of, member = self._entity(account, GROUP, group), self._entity(account, USER, user)
        with self._db.change() as cursor:
            query = "select count(*) from member where user = ?"
            cursor.execute("insert or ignore into member values (?, ?)", (member.row, of.row))
            if cursor.execute(query, (member.row,)).fetchone()[0] > MAX_GROUPS_OF_USER:
                raise LimitExceededError(
                    f"Cannot exceed quota for GroupsPerUser: {MAX_GROUPS_OF_USER}"
                )

    def remove_member(self, account: str, group: str, user: str) -> None:
        """Take a user out of a group.  Raises NoSuchEntityError."""
        of, member = self._entity(account, GROUP, group), self._entity(account, USER, user)
        with self._db.change() as cursor:
            query = 'delete from member where user = ? and "group" = ?'
            if not cursor.execute(query, (member.row, of.row)).rowcount:
                raise NoSuchEntityError(f"User {user} is not in group {group}.")

    def members(self, account: str, group: str) -> list[Entity]:
        """The users of a group, by name.  Raises NoSuchEntityError."""
        of = self._entity(account, GROUP, group)
        rows = self._db.rows(
            f'select {_COLUMNS} from entity join member on row = user where "group" = ? '
            "order by name",
            (of.row,),
        )
        return [Entity(*row) for row in rows]

    def groups_of(self, account: str, user: str) -> list[Entity]:
        """The groups of a user, by name.  Raises NoSuchEntityError."""
        return self.groups_of_row(self._entity(account, USER, user).row)

    def groups_of_row(self, row: int) -> list[Entity]:
        """The groups of a user, by its row."""
        rows = self._db.rows(
            f'select {_COLUMNS} from entity join member on row = "group" where user = ? '
            "order by name",
            (row,),
        )
        return [Entity(*each) for each in rows]


def _check_role(trust: str, max_session_s: int, description: str) -> None:
    if not 3600 <= max_session_s <= 43200:
        raise InvalidInputError("A role's sessions last at most 3600 to 43200 seconds")
    if len(description) > 1000:
        raise InvalidInputError("A description has at most 1000 characters")
    if len(trust) > MAX_TRUST_BYTES:
        raise LimitExceededError(f"Cannot exceed quota for ACLSizePerRole: {MAX_TRUST_BYTES}")
    try:
        parse_trust(trust.encode("utf-8", "surrogatepass"))
    except TrustError as error:
        raise MalformedPolicyDocumentError(str(error)) from None
