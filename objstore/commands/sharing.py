"""`objstore share`, a link to an object for somebody without keys, and `objstore explain`."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping
from typing import Final

from blockdev.clock import SystemClock
from blockdev.commands.output import print_json, print_table
from objstore.auth.keys import MAIN_ACCOUNT
from objstore.auth.presigned import presign
from objstore.commands.remote import RemoteError, call, own_keys
from objstore.config import MAX_PRESIGN_S

_ENDPOINTS: Final = ("OBJSTORE_ENDPOINT", "AWS_ENDPOINT_URL")
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION: Final = re.compile(r"(\d+)([smhd]?)")


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The commands' arguments."""
    share = commands.add_parser(
        "share",
        help="a link to an object, for somebody without keys",
        description="Print a presigned URL of BUCKET/KEY, signed with the keys of the "
        "environment: it is worth what these keys may when it is used.",
    )
    share.add_argument("object", metavar="BUCKET/KEY")
    share.add_argument(
        "--expires", type=_duration_s, default=3600, metavar="TIME", help="30m, 12h, 7d (1h)"
    )
    share.add_argument("--put", action="store_true", help="to upload the object, not to read it")
    share.add_argument("--version-id", default="", metavar="ID", help="of a version")
    share.add_argument(
        "--download-as", default="", metavar="NAME", help="what a browser calls the file"
    )
    share.add_argument("--region", default="us-east-1", help="the server's (us-east-1)")
    share.set_defaults(run=_run, action=_share)
    explain = commands.add_parser(
        "explain",
        help="whether an identity may do something, and which statement says so",
        description="Ask a running server whether an identity may do ACTION on RESOURCE, and why.",
    )
    who = explain.add_mutually_exclusive_group(required=True)
    who.add_argument("--user", metavar="NAME")
    who.add_argument("--role", metavar="NAME")
    who.add_argument("--arn", metavar="ARN", help="of a user, a role, a group or a root")
    who.add_argument("--anonymous", action="store_true", help="somebody without keys")
    explain.add_argument("--account", default=MAIN_ACCOUNT, metavar="DIGITS")
    explain.add_argument(
        "--context",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a condition key of the request, such as aws:SourceIp=192.0.2.1; repeatable",
    )
    explain.add_argument("action_name", metavar="ACTION", help="such as s3:GetObject")
    explain.add_argument("resource", metavar="RESOURCE", help="such as arn:aws:s3:::bucket/key")
    explain.add_argument("--json", action="store_true", help="print JSON")
    explain.set_defaults(run=_run, action=_explain)
    for parser in (share, explain):
        parser.add_argument(
            "--endpoint", default="", metavar="URL", help=f"the server (${_ENDPOINTS[0]})"
        )


def _duration_s(text: str) -> int:
    match = _DURATION.fullmatch(text)
    seconds = int(match[1]) * _UNITS_S[match[2] or "s"] if match else 0
    if not 1 <= seconds <= MAX_PRESIGN_S:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not from 1s to 7d: no signature holds for longer than a week"
        )
    return seconds


def _endpoint(arguments: argparse.Namespace, environ: Mapping[str, str]) -> str:
    found: str = arguments.endpoint or next(
        (environ[name] for name in _ENDPOINTS if environ.get(name)), ""
    )
    if not found:
        raise RemoteError(f"say which server: --endpoint URL, or {_ENDPOINTS[0]}")
    return found


def _run(arguments: argparse.Namespace) -> int:
    try:
        status: int = arguments.action(arguments, os.environ)
    except (RemoteError, ValueError) as error:
        print(f"objstore: {error}", file=sys.stderr)
        return 1
    return status


def _share(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    bucket, _, key = arguments.object.removeprefix("s3://").partition("/")
    if not bucket or not key:
        raise RemoteError(f"{arguments.object!r} is not BUCKET/KEY")
    query = {}
    if arguments.version_id:
        query["versionId"] = arguments.version_id
    if arguments.download_as:
        name = arguments.download_as.replace("\\", "\\\\").replace('"', '\\"')
        query["response-content-disposition"] = f'attachment; filename="{name}"'
    url = presign(
        own_keys(environ),
        "PUT" if arguments.put else "GET",
        _endpoint(arguments, environ).rstrip("/"),
        f"/{bucket}/{key}",
        region=arguments.region,
        time_s=SystemClock().now_ns() // 10**9,
        expires_s=arguments.expires,
        query=query,
    )
    print(url)
    return 0


def _explain(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    base = f"arn:aws:iam::{arguments.account}:"
    if arguments.anonymous:
        arn = "*"
    elif arguments.arn:
        arn = arguments.arn
    elif arguments.user:
        arn = f"{base}user/{arguments.user}"
    else:
        arn = f"{base}role/{arguments.role}"
    parameters = {
        "PrincipalArn": arn,
        "ActionName": arguments.action_name,
        "ResourceArn": arguments.resource,
    }
    for number, pair in enumerate(arguments.context, 1):
        name, equals, value = pair.partition("=")
        if not equals:
            raise RemoteError(f"{pair!r} is not KEY=VALUE")
        entry = f"ContextEntries.member.{number}"
        parameters[f"{entry}.ContextKeyName"] = name
        parameters[f"{entry}.ContextKeyValues.member.1"] = value
    endpoint = _endpoint(arguments, environ)
    told = call(endpoint, "ObjstoreExplain", parameters, own_keys(environ), SystemClock())
    reasons = told.get("Reasons") or []
    if arguments.json:
        rows = [{name.lower(): text for name, text in each.items()} for each in reasons]
        print_json({"decision": told["Decision"], "text": told["Text"], "reasons": rows})
    else:
        print(told["Text"])
        if reasons:
            print()
            headings = ("SOURCE", "POLICY", "STATEMENT", "EFFECT", "OF THE REQUEST")
            print_table(headings, map(_row, reasons))
    return 0 if told["Decision"] == "allowed" else 1


def _row(reason: Mapping[str, str]) -> list[str]:
    why = reason["Why"]
    said = why if why == "applies" else f"{why} is another"
    return [*(reason[name] for name in ("Source", "Policy", "Statement", "Effect")), said]
