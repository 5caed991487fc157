"""Policies of identities: inline ones, managed ones with their versions, attachments."""

from __future__ import annotations

import sqlite3
from typing import Final

from objstore.iam.aws_policies import AWS_POLICIES, AwsPolicy
from objstore.iam.calls import check_document, length_of, split_policy_arn
from objstore.iam.entities import EntityCalls
from objstore.iam.errors import (
    DeleteConflictError,
    EntityAlreadyExistsError,
    InvalidInputError,
    LimitExceededError,
    NoSuchEntityError,
    UnmodifiableEntityError,
)
from objstore.iam.model import Entity, ManagedPolicy, PolicyVersion
from objstore.iam.names import (
    MAX_ATTACHED,
    MAX_INLINE_BYTES,
    MAX_MANAGED_BYTES,
    MAX_VERSIONS,
    POLICY,
    check_name,
    check_path,
    new_id,
)

_COLUMNS: Final = (
    "m.row, m.account, m.name, m.path, m.policy_id, m.created_ms, m.updated_ms, "
    "m.default_version, m.description"
)


class PolicyCalls(EntityCalls):
    """Policies.  A managed one is called by its ARN; AWS's are there, and nobody changes them."""

    # Inline ones.

    def put_inline(self, account: str, kind: str, name: str, policy: str, document: str) -> None:
        """Give an identity a policy of its own, or change that one.

        Raises:
            NoSuchEntityError, MalformedPolicyDocumentError, InvalidInputError
            LimitExceededError: its own policies are too long together.
        """
        found = self._entity(account, kind, name)
        check_name(POLICY, policy)
        check_document(document, MAX_INLINE_BYTES[kind])
        with self._db.change() as cursor:
            cursor.execute("replace into inline values (?, ?, ?)", (found.row, policy, document))
            query = "select document from inline where entity = ?"
            rows = cursor.execute(query, (found.row,)).fetchall()
            if sum(length_of(row[0]) for row in rows) > MAX_INLINE_BYTES[kind]:
                raise LimitExceededError(
                    f"Maximum policy size of {MAX_INLINE_BYTES[kind]} bytes exceeded for "
                    f"{kind} {name}"
                )

    def inline(self, account: str, kind: str, name: str) -> dict[str, str]:
        """An identity's own policies, by name.  Raises NoSuchEntityError."""
        return self.inline_of_row(self._entity(account, kind, name).row)

    def inline_of_row(self, row: int) -> dict[str, str]:
        """An identity's own policies, by its row."""
        query = "select name, document from inline where entity = ? order by name"
        return dict(self._db.rows(query, (row,)))

    def delete_inline(self, account: str, kind: str, name: str, policy: str) -> None:
        """Take a policy of its own from an identity.  Raises NoSuchEntityError."""
        found = self._entity(account, kind, name)
        with self._db.change() as cursor:
            query = "delete from inline where entity = ? and name = ?"
            if not cursor.execute(query, (found.row, policy)).rowcount:
                raise NoSuchEntityError(f"The {kind} policy with name {policy} cannot be found.")

    # Managed ones.

    def create_policy(
        self, account: str, name: str, document: str, *, path: str = "/", description: str = ""
    ) -> ManagedPolicy:
        """A new managed policy, whose first version is `document`.

        Raises:
            InvalidInputError, MalformedPolicyDocumentError, LimitExceededError
            EntityAlreadyExistsError
        """
        check_name(POLICY, name)
        check_path(path)
        check_document(document, MAX_MANAGED_BYTES)
        if len(description) > 1000:
            raise InvalidInputError("A description has at most 1000 characters")
        now_ms = self._now_ms()
        with self._db.change() as cursor:
            self._ensure(cursor, account)
            policy_id = new_id(POLICY, self._entropy)
            values = (account, name, path, policy_id, now_ms, now_ms, description)
            try:
                cursor.execute(
                    "insert into managed (account, name, path, policy_id, created_ms, updated_ms, "
                    "description, default_version, next_version) values (?,?,?,?,?,?,?,1,2)",
                    values,
                )
            except sqlite3.IntegrityError:
                raise EntityAlreadyExistsError(
                    f"A policy called {name} already exists. Duplicate names are not allowed."
                ) from None
            cursor.execute(
                "insert into managed_version values (?, 1, ?, ?)",
                (cursor.lastrowid, document, now_ms),
            )
        return self.policy(f"arn:aws:iam::{account}:policy{path}{name}")

    def policy(self, arn: str) -> ManagedPolicy:
        """A managed policy.  Raises NoSuchEntityError."""
        aws = AWS_POLICIES.get(arn)
        if aws is not None:
            return self._of_aws(aws)
        account, name = split_policy_arn(arn)
        rows = self._db.rows(
            f"select {_COLUMNS} from managed m where m.account = ? and m.name = ? collate nocase",
            (account, name),
        )
        found = ManagedPolicy(*rows[0]) if rows else None
        if found is None or found.arn != arn:
            raise NoSuchEntityError(f"Policy {arn} was not found.")
        return self._counted(found)

    def _of_aws(self, aws: AwsPolicy) -> ManagedPolicy:
        policy_id = "ANPA" + aws.name.upper()[:17]
        return self._counted(
            ManagedPolicy(0, "aws", aws.name, aws.path, policy_id, 0, 0, 1, aws.description)
        )

    def _counted(self, found: ManagedPolicy) -> ManagedPolicy:
        query = (
            "select (select count(*) from attached where arn = ?), "
            "(select count(*) from entity where boundary = ?)"
        )
        row = self._db.row(query, (found.arn, found.arn))
        attachments, boundaries = (0, 0) if row is None else row
        return ManagedPolicy(
            found.row,
            found.account,
            found.name,
            found.path,
            found.policy_id,
            found.created_ms,
            found.updated_ms,
            found.default_version,
            found.description,
            attachments,
            boundaries,
        )

    def policies(
        self, account: str, scope: str = "All", path_prefix: str = "/"
    ) -> list[ManagedPolicy]:
        """Managed policies below a path, by name.

        Args:
            scope: ``All``, ``AWS`` or ``Local``, as in ListPolicies.
        """
        found: list[ManagedPolicy] = []
        if scope != "AWS":
            rows = self._db.rows(
                f"select {_COLUMNS} from managed m where m.account = ? order by m.name", (account,)
            )
            found += [self._counted(ManagedPolicy(*row)) for row in rows]
        if scope != "Local":
            found += [self._of_aws(aws) for aws in AWS_POLICIES.values()]
        return sorted(
            (each for each in found if each.path.startswith(path_prefix)), key=lambda p: p.arn
        )

    def versions(self, arn: str) -> list[PolicyVersion]:
        """The versions of a managed policy, newest first.  Raises NoSuchEntityError."""
        found = self.policy(arn)
        if arn in AWS_POLICIES:
            return [PolicyVersion(1, AWS_POLICIES[arn].document, 0, is_default=True)]
        query = (
            "select version, document, created_ms from managed_version where managed = ? "
            "order by version desc"
        )
        return [
            PolicyVersion(version, text, made_ms, version == found.default_version)
            for version, text, made_ms in self._db.rows(query, (found.row,))
        ]

    def create_version(self, arn: str, document: str, *, is_default: bool = False) -> PolicyVersion:
        """Another version of a managed policy.

        Raises:
            NoSuchEntityError, MalformedPolicyDocumentError, UnmodifiableEntityError
            LimitExceededError: it has as many as there may be; delete one.
        """
        found = self._own_policy(arn)
        check_document(document, MAX_MANAGED_BYTES)
        now_ms = self._now_ms()
        with self._db.change() as cursor:
            query = "select count(*) from managed_version where managed = ?"
            if cursor.execute(query, (found.row,)).fetchone()[0] >= MAX_VERSIONS:
                raise LimitExceededError(
                    f"A managed policy can have up to {MAX_VERSIONS} versions. Before you create "
                    "a new version, you must delete an existing version."
                )
            query = "select next_version from managed where row = ?"
            (number,) = cursor.execute(query, (found.row,)).fetchone()
            cursor.execute(
                "insert into managed_version values (?, ?, ?, ?)",
                (found.row, number, document, now_ms),
            )
            default = number if is_default else found.default_version
            cursor.execute(
                "update managed set next_version = ?, default_version = ?, updated_ms = ? "
                "where row = ?",
                (number + 1, default, now_ms, found.row),
            )
        return PolicyVersion(number, document, now_ms, is_default)

    def set_default_version(self, arn: str, version: int) -> None:
        """Have another version count.  Raises NoSuchEntityError, UnmodifiableEntityError."""
        found = self._own_policy(arn)
        with self._db.change() as cursor:
            self._check_version(cursor, found, version)
            query = "update managed set default_version = ?, updated_ms = ? where row = ?"
            cursor.execute(query, (version, self._now_ms(), found.row))

    def delete_version(self, arn: str, version: int) -> None:
        """Remove a version that is not the default one.

        Raises:
            NoSuchEntityError, DeleteConflictError, UnmodifiableEntityError
        """
        found = self._own_policy(arn)
        with self._db.change() as cursor:
            self._check_version(cursor, found, version)
            if version == found.default_version:
                raise DeleteConflictError("Cannot delete the default version of a policy.")
            query = "delete from managed_version where managed = ? and version = ?"
            cursor.execute(query, (found.row, version))

    def _check_version(self, cursor: sqlite3.Cursor, found: ManagedPolicy, version: int) -> None:
        query = "select 1 from managed_version where managed = ? and version = ?"
        if cursor.execute(query, (found.row, version)).fetchone() is None:
            raise NoSuchEntityError(f"Policy {found.arn} version v{version} does not exist.")

    def _own_policy(self, arn: str) -> ManagedPolicy:
        if arn in AWS_POLICIES:
            raise UnmodifiableEntityError(f"{arn} is AWS's; nobody changes it.")
        return self.policy(arn)

    def delete_policy(self, arn: str) -> None:
        """Remove a managed policy that nobody has, and that has one version left.

        Raises:
            NoSuchEntityError, DeleteConflictError, UnmodifiableEntityError
        """
        found = self._own_policy(arn)
        with self._db.change() as cursor:
            query = (
                "select 1 from attached where arn = ? union all "
                "select 1 from entity where boundary = ?"
            )
            if cursor.execute(query, (arn, arn)).fetchone() is not None:
                raise DeleteConflictError("Cannot delete a policy attached to entities.")
            query = "select count(*) from managed_version where managed = ?"
            if cursor.execute(query, (found.row,)).fetchone()[0] > 1:
                raise DeleteConflictError(
                    "This policy has more than one version. Before you delete a policy, you must "
                    "delete the policy's versions. The default version is deleted with the policy."
                )
            cursor.execute("delete from managed where row = ?", (found.row,))

    # Attachments.

    def attach(self, account: str, kind: str, name: str, arn: str) -> None:
        """Give an identity a managed policy.

        Raises:
            NoSuchEntityError
            LimitExceededError: it has as many as it may have.
        """
        found = self._entity(account, kind, name)
        self._check_policy_arn(account, arn)
        with self._db.change() as cursor:
            cursor.execute("insert or ignore into attached values (?, ?)", (found.row, arn))
            query = "select count(*) from attached where entity = ?"
            if cursor.execute(query, (found.row,)).fetchone()[0] > MAX_ATTACHED:
                raise LimitExceededError(
                    f"Cannot exceed quota for PoliciesPer{kind.title()}: {MAX_ATTACHED}"
                )

    def detach(self, account: str, kind: str, name: str, arn: str) -> None:
        """Take a managed policy from an identity.  Raises NoSuchEntityError."""
        found = self._entity(account, kind, name)
        with self._db.change() as cursor:
            query = "delete from attached where entity = ? and arn = ?"
            if not cursor.execute(query, (found.row, arn)).rowcount:
                raise NoSuchEntityError(f"Policy {arn} was not found.")

    def attached(self, account: str, kind: str, name: str) -> list[str]:
        """ARNs of an identity's managed policies.  Raises NoSuchEntityError."""
        return self.attached_to_row(self._entity(account, kind, name).row)

    def attached_to_row(self, row: int) -> list[str]:
        """ARNs of an identity's managed policies, by its row."""
        query = "select arn from attached where entity = ? order by arn"
        return [arn for (arn,) in self._db.rows(query, (row,))]

    def entities_for(self, account: str, arn: str, *, as_boundary: bool = False) -> list[Entity]:
        """The identities of an account that a managed policy is attached to, or bounds."""
        self.policy(arn)
        condition = (
            "boundary = ?" if as_boundary else "row in (select entity from attached where arn = ?)"
        )
        rows = self._db.rows(
            "select row, account, kind, name, path, entity_id, created_ms, boundary, trust, "
            f"description, max_session_s from entity where account = ? and {condition} "
            "order by kind, name",
            (account, arn),
        )
        return [Entity(*row) for row in rows]
