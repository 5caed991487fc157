"""Cross-origin requests: what a bucket lets pages of other origins do.

Browsers ask first (`preflight` answers), and look at the headers of each answer
(`answer_headers`).  A server does not refuse because of an origin: the browser does.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/cors.html
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec

from objstore.errors import NoSuchBucketError, NoSuchSettingError
from objstore.s3.http import Context, Headers, Request

SETTING: Final = "cors"
ORIGIN: Final = b"origin"
_ASKED_METHOD: Final = b"access-control-request-method"
_ASKED_HEADERS: Final = b"access-control-request-headers"
_VARY: Final = (
    b"vary",
    b"Origin, Access-Control-Request-Headers, Access-Control-Request-Method",
)


class Rule(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A rule of a bucket: which origins may use which methods and headers.

    `origins`, `headers`: with one ``*`` at most each; headers in lower case.
    `exposed`: headers of answers that a page may read.
    """

    origins: list[str]
    methods: list[str]
    headers: list[str] = []
    exposed: list[str] = []
    max_age_s: int | None = None
    id: str = ""


encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Rule]).decode


@lru_cache(maxsize=256)
def decode(setting: bytes) -> tuple[Rule, ...]:
    """The rules of a bucket's setting."""
    return tuple(_decode(setting))


def rules_of(ctx: Context, bucket: str) -> tuple[Rule, ...]:
    """The bucket's rules; none where it has none, or is not there."""
    try:
        return decode(ctx.store.bucket_setting(bucket, SETTING))
    except (NoSuchSettingError, NoSuchBucketError):
        return ()


def find(
    rules: Sequence[Rule], origin: str, method: str, headers: Sequence[str] = ()
) -> Rule | None:
    """The first rule that allows all of it."""
    for rule in rules:
        if (
            method in rule.methods
            and any(matches(allowed, origin) for allowed in rule.origins)
            and all(any(matches(allowed, name) for allowed in rule.headers) for name in headers)
        ):
            return rule
    return None


def matches(pattern: str, text: str) -> bool:
    """Whether `text` is `pattern`, in which one ``*`` stands for anything."""
    before, star, after = pattern.partition("*")
    if not star:
        return text == pattern
    is_long_enough = len(text) >= len(before) + len(after)
    return is_long_enough and text.startswith(before) and text.endswith(after)


def asked_headers(request: Request) -> list[str]:
    """The headers that a browser is about to send, in lower case."""
    names = (request.header(_ASKED_HEADERS) or "").lower().split(",")
    return [name.strip() for name in names if name.strip()]


def asked_method(request: Request) -> str | None:
    """The method that a browser is about to use."""
    return request.header(_ASKED_METHOD)


def rule_headers(rule: Rule, origin: str) -> Headers:
    """What an answer says of the rule that allows it."""
    is_for_all = "*" in rule.origins
    headers: Headers = [
        (
            b"access-control-allow-origin",
            b"*" if is_for_all else origin.encode("latin-1", "replace"),
        ),
        (b"access-control-allow-methods", ", ".join(rule.methods).encode("ascii")),
    ]
    if rule.exposed:
        exposed = ", ".join(rule.exposed).encode("latin-1", "replace")
        headers.append((b"access-control-expose-headers", exposed))
    if rule.max_age_s is not None:
        headers.append((b"access-control-max-age", b"%d" % rule.max_age_s))
    if not is_for_all:
        headers.append((b"access-control-allow-credentials", b"true"))
    headers.append(_VARY)
    return headers


def answer_headers(ctx: Context, request: Request) -> Headers:
    """What every answer, errors too, says to a page of another origin; mostly nothing."""
    origin = request.header(ORIGIN)
    if origin is None or not request.bucket or request.method == "OPTIONS":
        return []
    rules = rules_of(ctx, request.bucket)
    method = asked_method(request) or request.method
    rule = find(rules, origin, method)
    return [] if rule is None else rule_headers(rule, origin)
