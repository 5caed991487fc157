"""Websites in buckets: what a bucket says of its own, and which requests are for it.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/WebsiteHosting.html
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final
from urllib.parse import quote

import msgspec

from objstore.errors import NoSuchBucketError, NoSuchSettingError
from objstore.s3.errors import S3Error
from objstore.s3.http import Context, Request
from objstore.s3.names import bucket_of_host, host_name, is_bucket_name

SETTING: Final = "website"
_METHODS: Final = ("GET", "HEAD", "OPTIONS")
# What the text of a rule may mean by itself: a query, a fragment, an escape.
_OF_RULES: Final = "/?#!&=+@:;,$'()*~%"


class Redirect(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a rule sends a browser; what it does not say stays as it was asked.

    `key`, `prefix`: what stands for the key, or for the prefix of the rule; None for the same.
    `status`: 3xx.
    """

    protocol: str = ""
    host: str = ""
    key: str | None = None
    prefix: str | None = None
    status: int = 301


class Rule(msgspec.Struct, frozen=True, array_like=True):
    """Which requests are redirected: `status` of the error that they would get, 0 for any."""

    redirect: Redirect
    prefix: str = ""
    status: int = 0


class Website(msgspec.Struct, frozen=True, array_like=True):
    """A bucket's website: `index` and the rest, or `everything` is sent elsewhere.

    `index`: what a key that is empty or ends in a slash is completed with.
    `error`: key of the page for errors; empty for none.
    """

    index: str = ""
    error: str = ""
    everything: Redirect | None = None
    rules: list[Rule] = []

    def rule_for(self, key: str, status: int = 0) -> Rule | None:
        """The first rule for a key, before it is looked for, or for the error that came of it."""
        for rule in self.rules:
            if rule.status == status and key.startswith(rule.prefix):
                return rule
        return None


encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Website).decode


@lru_cache(maxsize=256)
def decode(setting: bytes) -> Website:
    """The website of a bucket's setting."""
    return _decode(setting)


def of_bucket(ctx: Context, bucket: str) -> Website:
    """The website of a bucket.

    Raises:
        S3Error: NoSuchWebsiteConfiguration.
        NoSuchBucketError: there is no such bucket.
    """
    try:
        return decode(ctx.store.bucket_setting(bucket, SETTING))
    except NoSuchSettingError:
        raise S3Error("NoSuchWebsiteConfiguration", extra={"BucketName": bucket}) from None


def location(request: Request, redirect: Redirect, key: str, replaced: str = "") -> str:
    """Where a redirect leads, as a Location header; `replaced` is the prefix of its rule."""
    host = redirect.host or (request.header(b"host") or "")
    if redirect.key is not None:
        path = quote(redirect.key, safe=_OF_RULES)
    elif redirect.prefix is not None:
        path = quote(redirect.prefix, safe=_OF_RULES) + quote(key[len(replaced) :])
    else:
        path = quote(key)
    return f"{redirect.protocol or request.scheme}://{host}/{path}"


def site_of(ctx: Context, request: Request) -> str:
    """The bucket whose website a request is for that no header signs; empty for the API.

    That is one below a domain of websites; and a bucket that has a website and the very name
    of the host, as where somebody's own domain leads here.  What is signed is for the API.
    """
    host = request.header_map.get(b"host", b"").decode("latin-1")
    bucket = bucket_of_host(host, ctx.website_domains)
    if bucket:
        return bucket
    if request.method not in _METHODS or b"X-Amz-Signature=" in request.raw_query:
        return ""
    if bucket_of_host(host, ctx.base_domains):
        return ""
    name = host_name(host)
    if not is_bucket_name(name) or name in ctx.base_domains:
        return ""
    try:
        ctx.store.bucket_setting(name, SETTING)
    except (NoSuchBucketError, NoSuchSettingError):
        return ""
    return name


def domains(base_domains: tuple[str, ...], region: str, more: tuple[str, ...]) -> tuple[str, ...]:
    """Hosts below which a label names the bucket of a website, as S3 spells its own."""
    names = [f"s3-website{sign}" for sign in ("", f"-{region}", f".{region}")]
    return tuple(f"{name}.{base}" for base in base_domains for name in names) + more
