"""Who there is, and the secrets by which they are known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from objstore.auth.policy import Policy

MAIN_ACCOUNT: Final = "000000000000"
"""The account of a server's own root, and of what says of no account."""

ROOT_ID: Final = "0b1ec75702e0000000000000000000000000000000000000000000000000f007"
"""The root's canonical user id, 64 hex digits as S3's are; owner of what it creates.

The same in every store, so that new root keys own what the old ones made.
"""


@dataclass(frozen=True, slots=True)
class Grants:
    """What an identity may do by itself, and what policies may call it.

    `policies`: its own and those of its groups, or of its role.  `boundary`, `session`: at
        most what these allow; None for no bound.
    `names`: of the identity, as ``AWS:arn:...``; of a role's session its own and the role's.
    `account_names`: of its account.  `session_names`: of `names` those of the session.
    `context`: condition keys in lower case, such as ``aws:username``.
    """

    policies: tuple[Policy, ...] = ()
    boundary: Policy | None = None
    session: Policy | None = None
    names: frozenset[str] = frozenset()
    account_names: frozenset[str] = frozenset()
    session_names: frozenset[str] = frozenset()
    context: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)


NO_GRANTS: Final = Grants()


@dataclass(frozen=True, slots=True)
class Identity:
    """Who makes a request.

    `id`: canonical user id of the account, owner of what is created; `display_name`: for
        people.
    `is_root`: the account's root, for whom no policy of the account is asked.
    `account`: 12 digits.  `arn`: of the root, the user, or the session of a role.
    """

    id: str
    display_name: str = ""
    is_root: bool = False
    is_anonymous: bool = False
    account: str = MAIN_ACCOUNT
    arn: str = ""
    grants: Grants = NO_GRANTS


def root_identity(canonical_id: str, display_name: str, account: str = MAIN_ACCOUNT) -> Identity:
    """The root of an account."""
    arn = f"arn:aws:iam::{account}:root"
    names = frozenset((f"AWS:{arn}", f"AWS:{account}", f"CanonicalUser:{canonical_id}"))
    context = {
        "aws:principalarn": arn,
        "aws:principalaccount": account,
        "aws:principaltype": "Account",
        "aws:userid": account,
    }
    grants = Grants(names=names, account_names=names, context=context)
    return Identity(canonical_id, display_name, True, False, account, arn, grants)


# S3's own id for "everyone": the group grantee of ACLs and the owner of anonymous uploads.
ANONYMOUS = Identity("65a011a29cdf8ec533ec3d1ccaae921c", "anonymous", is_anonymous=True, account="")


@dataclass(frozen=True, slots=True)
class Credentials:
    """An access key, its secret and whose they are.

    `session_token`: must come with requests under temporary credentials; "" for none.
    `expires_ms`: end of temporary credentials, ms since the epoch; None for never.
    """

    access_key: str
    secret_key: str = field(repr=False)
    identity: Identity
    session_token: str = field(default="", repr=False)
    expires_ms: int | None = None


class KeyStore(Protocol):
    """Where credentials are looked up, on every request: what it forgets is refused at once."""

    def lookup(self, access_key: str) -> Credentials | None:
        """The credentials of an access key, or None.  Must be quick and must not block."""
        ...


class StaticKeyStore:
    """Credentials known from the start, such as the root keys of a server."""

    def __init__(self, credentials: Iterable[Credentials]) -> None:
        self._by_access_key = {entry.access_key: entry for entry in credentials}

    def lookup(self, access_key: str) -> Credentials | None:
        return self._by_access_key.get(access_key)
