"""Continuation tokens: opaque to clients, and only the name to go on from inside."""

from __future__ import annotations

import base64
import binascii

from objstore.s3.errors import invalid_argument

# So that a later kind of token can be told from this one.
_VERSION = b"1"


def encode(name: str) -> str:
    """The token for going on after `name`."""
    return base64.urlsafe_b64encode(_VERSION + name.encode("utf-8")).decode("ascii")


def decode(token: str) -> str:
    """The name in a token.

    Raises:
        S3Error: InvalidArgument when it is none of ours.
    """
    try:
        raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
        if raw[:1] == _VERSION:
            return raw[1:].decode("utf-8")
    except (ValueError, binascii.Error):
        pass
    raise invalid_argument(
        "The continuation token provided is incorrect", "continuation-token", token
    )
