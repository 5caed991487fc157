"""Object tags as a header carries them.

Rules: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html
"""

from __future__ import annotations

import re
from urllib.parse import unquote_plus

from objstore.config import MAX_TAGS
from objstore.s3.errors import S3Error, invalid_argument

MAX_KEY_CHARACTERS = 128
MAX_VALUE_CHARACTERS = 256

# Letters, digits and spaces of any script, and a few signs.  \w holds the underscore.
_SPACES = " \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_ALLOWED = re.compile(rf"[\w{_SPACES}.:/=+\-@]*")


def parse_tagging_header(value: str) -> dict[str, str]:
    """Tags from ``a=1&b=2`` in x-amz-tagging.

    Raises:
        S3Error: InvalidArgument when the header is malformed, InvalidTag when a tag is,
            BadRequest over 10 tags.
    """
    tags: dict[str, str] = {}
    for pair in value.split("&"):
        if not pair:
            continue
        raw_key, _, raw_value = pair.partition("=")
        try:
            key = unquote_plus(raw_key, errors="strict")
            text = unquote_plus(raw_value, errors="strict")
        except UnicodeDecodeError:
            raise _malformed(value) from None
        if not key or key in tags:
            raise _malformed(value)
        tags[key] = text
    check_tags(tags)
    return tags


def check_tags(tags: dict[str, str]) -> None:
    """Refuse what S3 refuses.

    Raises:
        S3Error: InvalidTag or BadRequest.
    """
    if len(tags) > MAX_TAGS:
        raise S3Error("BadRequest", f"Object tags cannot be greater than {MAX_TAGS}")
    for key, value in tags.items():
        if len(key) > MAX_KEY_CHARACTERS or not _ALLOWED.fullmatch(key):
            raise S3Error(
                "InvalidTag", "The TagKey you have provided is invalid", extra={"TagKey": key}
            )
        if key.startswith("aws:"):
            raise S3Error(
                "InvalidTag",
                "System tags cannot be added/updated by requester",
                extra={"TagKey": key},
            )
        if len(value) > MAX_VALUE_CHARACTERS or not _ALLOWED.fullmatch(value):
            raise S3Error("InvalidTag", extra={"TagKey": key, "TagValue": value})


def _malformed(value: str) -> S3Error:
    return invalid_argument(
        "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query "
        "parameters without tag name duplicates.",
        "x-amz-tagging",
        value,
    )
