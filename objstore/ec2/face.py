"""From a call to EC2's query API to its answer."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Final

from blockdev.clock import Clock
from objstore.auth.keys import KeyStore
from objstore.auth.service import ServiceAuthenticator
from objstore.aws.http import Call, Reply
from objstore.aws.regions import Regions
from objstore.ec2.action import Action, Job
from objstore.ec2.errors import Ec2Error, to_reply, unsupported
from objstore.ec2.parameters import Parameters, decode
from objstore.ec2.query import Node, parse
from objstore.ec2.table import ACTIONS
from objstore.ec2.xml import render

SERVICE: Final = "ec2"
VERSION: Final = "2016-11-15"
_VERSION_FORM: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_FORM: Final = "application/x-www-form-urlencoded"


class Ec2Face:
    """Answers EC2's actions.  Safe to share between threads.

    Args:
        max_body_bytes: the longest form that is read.
        skew_s: how far a client's clock may differ.
    """

    def __init__(
        self,
        regions: Regions,
        keys: KeyStore,
        clock: Clock,
        *,
        max_body_bytes: int,
        skew_s: int = 900,
    ) -> None:
        self._regions = regions
        self._authenticator = ServiceAuthenticator(keys, clock, service=SERVICE, skew_s=skew_s)
        self._max_body_bytes = max_body_bytes

    @property
    def max_body_bytes(self) -> int:
        """The longest form that is read."""
        return self._max_body_bytes

    def refuse_length(self, call: Call) -> Reply:
        """The form is too long."""
        message = f"The request is longer than {self._max_body_bytes} bytes"
        return to_reply(call, Ec2Error("MalformedQueryString", message))

    def answer(self, call: Call) -> Reply:
        """Authenticate, find the action, do it."""
        try:
            return self._answer(call)
        except Exception as error:
            return to_reply(call, error)

    def _answer(self, call: Call) -> Reply:
        signer = self._authenticator.authenticate(
            call.method, call.raw_path, call.raw_query, call.headers, call.body
        )
        node = parse(_encoded(call))
        row = find_action(node)
        parameters = decode(node, row.table)
        _refuse_dry_run(parameters)
        opened = self._regions.get(signer.region)
        endpoint = call.header(b"host") or ""
        job = Job(opened.region, self._regions, opened.sealer, parameters, endpoint)
        body = render(row.name, call.request_id, row.handler(job))
        return Reply(200, body, [(b"content-type", b"text/xml;charset=UTF-8")])


def _encoded(call: Call) -> bytes:
    """The parameters as they were sent."""
    if call.method == "GET":
        return call.raw_query
    if call.method != "POST":
        raise Ec2Error("InvalidAction", f"Actions are sent by GET or POST, not by {call.method}")
    form = (call.header(b"content-type") or _FORM).partition(";")[0].strip().lower()
    if call.body and form != _FORM:
        raise Ec2Error("MalformedQueryString", f"The body has to be {_FORM}, not {form}")
    return b"&".join(part for part in (call.raw_query, call.body) if part)


def find_action(node: dict[str, Node]) -> Action:
    """The row that Action names; Action and Version are taken out of `node`.

    Raises:
        Ec2Error: MissingAction, InvalidAction, NoSuchVersion, UnsupportedOperation.
    """
    name, version = node.pop("Action", None), node.pop("Version", VERSION)
    if not name:
        raise Ec2Error("MissingAction", "The request must contain the parameter Action")
    if not isinstance(name, str) or not isinstance(version, str):
        raise Ec2Error("MalformedQueryString", "Action and Version take a single value")
    if not _VERSION_FORM.fullmatch(version) or version > VERSION:
        raise Ec2Error("NoSuchVersion", f"The requested version ({version}) does not exist")
    row = ACTIONS.get(name)
    if row is None:
        if name in known_actions():
            raise unsupported(f"The action {name}")
        raise Ec2Error("InvalidAction", f"The action {name} is not valid for this web service.")
    return row


@cache
def known_actions() -> frozenset[str]:
    """All actions of EC2, offered or not."""
    text = files("objstore.ec2").joinpath("actions.txt").read_text("ascii")
    return frozenset(text.split())


def _refuse_dry_run(parameters: Parameters) -> None:
    """DryRun asks whether the caller may do it; who got here may."""
    if parameters.flag("DryRun"):
        raise Ec2Error("DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
