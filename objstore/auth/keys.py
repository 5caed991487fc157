"""Who there is, and the secrets by which they are known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Identity:
    """Who makes a request.

    `id`: canonical user id, owner of what is created; `display_name`: for people.
    `is_root`: the account's root, for whom no policy of the account is asked.
    """

    id: str
    display_name: str = ""
    is_root: bool = False
    is_anonymous: bool = False


# S3's own id for "everyone": the group grantee of ACLs and the owner of anonymous uploads.
ANONYMOUS = Identity("65a011a29cdf8ec533ec3d1ccaae921c", "anonymous", is_anonymous=True)


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
