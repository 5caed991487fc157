"""One row of the routing table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["plain", "list", "read", "write", "commit", "form"]
Level = Literal["service", "bucket", "object"]

_EVENTS = {
    "PostObject": "ObjectCreated:Post",
    "PutObjectTagging": "ObjectTagging:Put",
    "DeleteObjectTagging": "ObjectTagging:Delete",
}

# S3 refuses these without one.  Of others SDKs' models demand one as well, but S3 does not.
_NEED_DIGEST = frozenset(
    (
        "DeleteObjects",
        "PutBucketCors",
        "PutBucketLifecycleConfiguration",
        "PutBucketReplication",
        "PutBucketTagging",
        "PutObjectLegalHold",
        "PutObjectLockConfiguration",
        "PutObjectRetention",
    )
)


@dataclass(frozen=True, slots=True)
class Operation:
    """An S3 operation: how a request names it, and who answers it.

    `selectors`: query parameters (``name`` or ``name=value``) that must all be present;
        the row with most selectors wins.
    `header_selector`: a header (lower-case) that tells this operation from its plain twin.
    `params`: query parameters that it understands besides its selectors and those that
        every operation may carry.  Anything else is an operation that nobody here knows.
    `checksum_of_object`: x-amz-checksum-* speaks of the object that results, not of the body.
    `handler`: None when the operation is known and not offered (501 NotImplemented).
    """

    name: str
    method: str
    level: Level
    selectors: tuple[str, ...] = ()
    header_selector: bytes = b""
    params: frozenset[str] = frozenset()
    kind: Kind = "plain"
    checksum_of_object: bool = False
    handler: Callable[..., Any] | None = field(default=None, compare=False)

    @property
    def event(self) -> str:
        """What S3 calls it in events, where what it does to the store does not tell."""
        return _EVENTS.get(self.name, "")

    @property
    def needs_digest(self) -> bool:
        """Whether its body has to come with a Content-MD5 or a checksum."""
        return self.name in _NEED_DIGEST

    @property
    def offered(self) -> bool:
        """Whether a handler exists."""
        return self.handler is not None
