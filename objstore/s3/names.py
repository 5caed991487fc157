"""Bucket names, keys, and how a request's host and path name them.

Rules: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import unquote_to_bytes

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_IPV4 = re.compile(r"\d+\.\d+\.\d+\.\d+")
_RESERVED_PREFIXES = ("xn--", "sthree-", "amzn-s3-demo-")
_RESERVED_SUFFIXES = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")


@lru_cache(maxsize=4096)
def is_bucket_name(name: str) -> bool:
    """Whether S3 would let a bucket be created under this name."""
    if not _BUCKET.fullmatch(name) or ".." in name or _IPV4.fullmatch(name):
        return False
    return not name.startswith(_RESERVED_PREFIXES) and not name.endswith(_RESERVED_SUFFIXES)


def split_path(raw_path: bytes) -> tuple[str, str]:
    """Bucket and key of a path-style target, percent-decoded.

    Both are empty for ``/``; the key is empty for ``/bucket`` and ``/bucket/``.

    Raises:
        UnicodeDecodeError: the path is not UTF-8.
    """
    raw_bucket, _, raw_key = raw_path[1:].partition(b"/")
    return decode(raw_bucket), decode(raw_key)


def decode(raw: bytes) -> str:
    """Percent-decode as UTF-8; ``+`` stands for itself, as in a path."""
    if b"%" in raw:
        raw = unquote_to_bytes(raw)
    return raw.decode("utf-8")


def host_name(host: str) -> str:
    """The name in a Host header, without its port and the dot of its root; "" for an address."""
    if host.startswith("["):  # an IPv6 literal
        return ""
    name = host.lower().partition(":")[0].removesuffix(".")
    return "" if _IPV4.fullmatch(name) else name


@lru_cache(maxsize=4096)
def bucket_of_host(host: str, base_domains: tuple[str, ...]) -> str:
    """The bucket that a Host header names below one of the base domains; "" for path style.

    An IP address never names a bucket, and neither does a base domain itself.
    """
    name = host_name(host)
    for base in base_domains:
        if name.endswith("." + base):
            return name[: -len(base) - 1]
    return ""
