"""What is told of identities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from objstore.iam.names import arn_of


@dataclass(frozen=True, slots=True)
class Account:
    """An account.  `canonical_id`: 64 hex digits, owner of its buckets and objects."""

    account_id: str
    name: str
    canonical_id: str
    display_name: str = ""
    email: str = ""
    created_ms: int = 0


@dataclass(frozen=True, slots=True)
class Entity:
    """A user, a group or a role.

    `row`: of the database.  `trust`, `description`, `max_session_s`: of roles.
    `boundary`: ARN of a policy; "" for none.
    """

    row: int
    account: str
    kind: str
    name: str
    path: str
    entity_id: str
    created_ms: int
    boundary: str = ""
    trust: str = ""
    description: str = ""
    max_session_s: int = 3600
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        """Its ARN."""
        return arn_of(self.account, self.kind, self.path, self.name)


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An access key.  `user`: "" for the root's; `secret_key`: only when it was just made."""

    access_key: str
    account: str
    user: str
    is_active: bool
    created_ms: int
    secret_key: str = field(default="", repr=False)
    used_ms: int | None = None
    used_service: str = ""
    used_region: str = ""


@dataclass(frozen=True, slots=True)
class ManagedPolicy:
    """A managed policy, of a customer's or of AWS's (account ``aws``)."""

    row: int
    account: str
    name: str
    path: str
    policy_id: str
    created_ms: int
    updated_ms: int
    default_version: int
    description: str = ""
    attachments: int = 0
    boundaries: int = 0

    @property
    def arn(self) -> str:
        """Its ARN."""
        return arn_of(self.account, "policy", self.path, self.name)


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """A version of a managed policy."""

    version: int
    document: str
    created_ms: int
    is_default: bool


@dataclass(frozen=True, slots=True)
class Session:
    """Temporary credentials.

    `kind`: ``role``, ``user`` (of a token of the user's own), ``federated``.
    `name`: of the session; `source`: what it was made of, the row of a role or a user, 0 for
        the root of the account.  `policy`: JSON, "" for none.
    """

    access_key: str
    account: str
    kind: str
    source: int
    name: str
    issued_ms: int
    expires_ms: int
    policy: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    secret_key: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
