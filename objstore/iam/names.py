"""What names, paths and ids of identities look like, and how many of anything there may be.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Final

from objstore.entropy import Entropy
from objstore.iam.errors import InvalidInputError, LimitExceededError

USER: Final = "user"
GROUP: Final = "group"
ROLE: Final = "role"
POLICY: Final = "policy"

# By kind: what ids begin with, and how long names are at most.
_PREFIXES: Final = {USER: "AIDA", GROUP: "AGPA", ROLE: "AROA", POLICY: "ANPA"}
_MOST_CHARS: Final = {USER: 64, GROUP: 128, ROLE: 64, POLICY: 128}
_NAME: Final = re.compile(r"[\w+=,.@-]+", re.ASCII)
_PATH: Final = re.compile(r"/|/[\x21-\x7e]*/")
_ACCOUNT: Final = re.compile(r"\d{12}")
_ACCESS_KEY: Final = re.compile(r"\w{3,128}", re.ASCII)
_TAG: Final = re.compile(r"[\w\s.:/=+\-@]*")

ACCESS_KEY_PREFIX: Final = "AKIA"
SESSION_KEY_PREFIX: Final = "ASIA"

MAX_KEYS_OF_USER: Final = 2
MAX_ATTACHED: Final = 10
MAX_VERSIONS: Final = 5
MAX_GROUPS_OF_USER: Final = 10
MAX_TAGS: Final = 50
MAX_MANAGED_BYTES: Final = 6144
MAX_INLINE_BYTES: Final = {USER: 2048, GROUP: 5120, ROLE: 10240}
"""Characters of a document without white space; of inline policies, of all of an identity."""


def check_name(kind: str, name: str) -> None:
    """Raises InvalidInputError unless a user, group, role or policy can be called so."""
    if not _NAME.fullmatch(name) or len(name) > _MOST_CHARS[kind]:
        raise InvalidInputError(
            f"The specified value for {kind}Name is invalid. It must contain only alphanumeric "
            f"characters and/or the following: +=,.@_- (at most {_MOST_CHARS[kind]})"
        )


def check_path(path: str) -> None:
    """Raises InvalidInputError unless it begins and ends with a slash."""
    if not _PATH.fullmatch(path) or len(path) > 512:
        raise InvalidInputError(
            "The specified value for path is invalid. It must begin and end with / and contain "
            "only alphanumeric characters and/or / characters."
        )


def check_account(account: str) -> None:
    """Raises InvalidInputError unless it has twelve digits."""
    if not _ACCOUNT.fullmatch(account):
        raise InvalidInputError("An account's id has twelve digits")


def check_access_key(access_key: str, secret_key: str) -> None:
    """Raises InvalidInputError unless these can be an access key."""
    if not _ACCESS_KEY.fullmatch(access_key):
        raise InvalidInputError("An access key's id has 3 to 128 letters, digits and _")
    if len(secret_key) < 8 or not secret_key.isascii() or not secret_key.isprintable():
        raise InvalidInputError("A secret key has 8 printable ASCII characters or more")


def check_tags(tags: Mapping[str, str]) -> None:
    """Raises InvalidInputError or LimitExceededError for tags that cannot be."""
    if len(tags) > MAX_TAGS:
        raise LimitExceededError(f"The number of tags has reached the maximum limit ({MAX_TAGS}).")
    for key, value in tags.items():
        if not key or len(key) > 128 or len(value) > 256 or key.lower().startswith("aws:"):
            raise InvalidInputError(f"The tag {key!r} is too long, or begins with aws:")
        if not _TAG.fullmatch(key) or not _TAG.fullmatch(value):
            raise InvalidInputError(f"The tag {key!r} has characters that tags may not have")


def new_id(kind: str, entropy: Entropy) -> str:
    """An id such as AIDA...: unlike the name, nobody else has it ever again."""
    return _PREFIXES[kind] + _letters(entropy)


def new_access_key(prefix: str, entropy: Entropy) -> tuple[str, str]:
    """An access key's id and its secret."""
    secret = base64.b64encode(entropy.token_bytes(30)).decode("ascii")
    return prefix + _letters(entropy), secret


def _letters(entropy: Entropy) -> str:
    """Seventeen letters and digits, as after the prefix of an id of AWS's."""
    return base64.b32encode(entropy.token_bytes(11)).decode("ascii")[:17]


def arn_of(account: str, kind: str, path: str, name: str) -> str:
    """The ARN of a user, group, role or policy."""
    return f"arn:aws:iam::{account}:{kind}{path}{name}"
