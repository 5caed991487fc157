"""A call to IAM's API of a running server, signed by the keys of the environment."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode, urlsplit
from xml.etree import ElementTree

from blockdev.clock import Clock
from objstore.auth.dates import iso_basic
from objstore.auth.keys import Credentials, Identity
from objstore.auth.sigv4 import authorization_for
from objstore.commands.credentials import ACCESS_KEY_VARIABLE, SECRET_KEY_VARIABLE

_VERSION = "2010-05-08"
_TIMEOUT_S = 60
_NAMES = (
    (ACCESS_KEY_VARIABLE, SECRET_KEY_VARIABLE),
    ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
)


class RemoteError(Exception):
    """The server cannot be asked, or said no; the text says why."""


def own_keys(environ: Mapping[str, str]) -> Credentials:
    """The keys to sign with: the root's, or those of AWS's variables.

    Raises:
        RemoteError: there are none.
    """
    for access, secret in _NAMES:
        if environ.get(access) and environ.get(secret):
            token = environ.get("AWS_SESSION_TOKEN", "") if access.startswith("AWS") else ""
            return Credentials(environ[access], environ[secret], Identity(""), token)
    raise RemoteError(
        f"no keys to sign with: set {ACCESS_KEY_VARIABLE} and {SECRET_KEY_VARIABLE}, or "
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    )


def call(
    endpoint: str, action: str, parameters: Mapping[str, str], keys: Credentials, clock: Clock
) -> dict[str, Any]:
    """Ask for an action; the members of its result, lists of them as lists.

    Raises:
        RemoteError
    """
    given = {name: text for name, text in parameters.items() if text}
    body = urlencode({"Action": action, "Version": _VERSION, **given}).encode()
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RemoteError(f"{endpoint!r} is no URL of a server")
    time_s = clock.now_ns() // 10**9
    headers = [
        (b"host", parts.netloc.encode()),
        (b"x-amz-date", iso_basic(time_s)),
        (b"x-amz-content-sha256", sha256(body).hexdigest().encode()),
        (b"content-type", b"application/x-www-form-urlencoded"),
    ]
    if keys.session_token:
        headers.append((b"x-amz-security-token", keys.session_token.encode()))
    signed = authorization_for(
        keys, "POST", b"/", b"", headers, region="us-east-1", time_s=time_s, service="iam"
    )
    named = {name.decode(): value.decode() for name, value in headers}
    named["authorization"] = signed.decode()
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=_TIMEOUT_S)
    try:
        connection.request("POST", "/", body, named)
        answer = connection.getresponse()
        return _result(answer.status, answer.read())
    except OSError as error:
        raise RemoteError(f"cannot ask {endpoint}: {error}") from error
    finally:
        connection.close()


def _result(status: int, document: bytes) -> dict[str, Any]:
    try:
        tree = ElementTree.fromstring(document)
    except ElementTree.ParseError:
        raise RemoteError(f"the server's answer ({status}) is none of IAM's") from None
    if status != 200:
        raise RemoteError(tree.findtext("{*}Error/{*}Message") or f"the server said {status}")
    return _members(tree[0])


def _members(node: ElementTree.Element) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for child in node:
        name = child.tag.rpartition("}")[2]
        items = [each for each in child if each.tag.endswith("}member")]
        if items:
            found[name] = [_members(each) if len(each) else each.text for each in items]
        else:
            found[name] = _members(child) if len(child) else (child.text or "")
    return found
