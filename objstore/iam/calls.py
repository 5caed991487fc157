"""What all parts of the directory work with."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from blockdev.clock import Clock
from objstore.auth.policy import PolicyError, parse_identity_policy
from objstore.entropy import Entropy
from objstore.iam.aws_policies import AWS_POLICIES
from objstore.iam.database import Database
from objstore.iam.errors import (
    LimitExceededError,
    MalformedPolicyDocumentError,
    NoSuchEntityError,
)
from objstore.iam.model import Entity
from objstore.kms.service import LocalKeyService

_COLUMNS: Final = (
    "row, account, kind, name, path, entity_id, created_ms, boundary, trust, description, "
    "max_session_s"
)


class Calls:
    """The database, time, chance, and the keys that secrets are kept under."""

    def __init__(
        self, database: Database, clock: Clock, entropy: Entropy, key_service: LocalKeyService
    ) -> None:
        self._db = database
        self._clock = clock
        self._entropy = entropy
        self._key_service = key_service

    def _now_ms(self) -> int:
        return self._clock.now_ns() // 1_000_000

    def find(self, account: str, kind: str, name: str) -> Entity | None:
        """A user, group or role; None where there is none of that name."""
        rows = self._db.rows(
            f"select {_COLUMNS} from entity where account = ? and kind = ? and name = ?",
            (account, kind, name),
        )
        return self._with_tags(Entity(*rows[0])) if rows else None

    def _entity(self, account: str, kind: str, name: str) -> Entity:
        found = self.find(account, kind, name)
        if found is None:
            raise NoSuchEntityError(f"The {kind} with name {name} cannot be found.")
        return found

    def entity_of_row(self, row: int) -> Entity | None:
        """A user or a role by its row; None where it has gone."""
        rows = self._db.rows(f"select {_COLUMNS} from entity where row = ?", (row,))
        return self._with_tags(Entity(*rows[0])) if rows else None

    def _with_tags(self, entity: Entity) -> Entity:
        query = "select key, value from tag where entity = ? order by key"
        rows = self._db.rows(query, (entity.row,))
        return replace(entity, tags=dict(rows)) if rows else entity

    def document_of(self, arn: str) -> str | None:
        """The default version of a managed policy; None where there is none of that ARN."""
        known = AWS_POLICIES.get(arn)
        if known is not None:
            return known.document
        account, name = split_policy_arn(arn)
        row = self._db.row(
            "select v.document, m.path from managed m join managed_version v on v.managed = m.row "
            "and v.version = m.default_version where m.account = ? and m.name = ? collate nocase",
            (account, name),
        )
        return None if row is None or not arn.endswith(f":policy{row[1]}{name}") else str(row[0])

    def _check_policy_arn(self, account: str, arn: str) -> None:
        """A policy that an identity of the account can be given."""
        if self.document_of(arn) is None or (
            arn not in AWS_POLICIES and split_policy_arn(arn)[0] != account
        ):
            raise NoSuchEntityError(f"Policy {arn} does not exist or is not attachable.")


def split_policy_arn(arn: str) -> tuple[str, str]:
    """Account and name of a managed policy."""
    parts = arn.split(":", 5)
    if len(parts) != 6 or not parts[5].startswith("policy/"):
        return "", ""
    return parts[4], parts[5].rpartition("/")[2]


def check_document(document: str, most_bytes: int) -> None:
    """Raises MalformedPolicyDocumentError or LimitExceededError for what is no policy."""
    try:
        parse_identity_policy(document.encode("utf-8", "surrogatepass"))
    except PolicyError as error:
        raise MalformedPolicyDocumentError(str(error)) from None
    size = length_of(document)
    if size > most_bytes:
        raise LimitExceededError(f"Maximum policy size of {most_bytes} bytes exceeded ({size})")


def length_of(document: str) -> int:
    """The length of a document as IAM's bounds count it: without white space."""
    return len("".join(document.split()))
