"""Decisions: AWS's order of policies as a table, and against an independent naive evaluator."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from objstore.auth.evaluator import Decision, Policies, Who, decide
from objstore.auth.policy import Policy, Request, parse_bucket_policy, parse_identity_policy

ANN = "arn:aws:iam::1:user/ann"
PRINCIPALS = frozenset((f"AWS:{ANN}", "AWS:1", "AWS:arn:aws:iam::1:root"))
GET = Request("s3:GetObject", "arn:aws:s3:::b/k", PRINCIPALS)
NOBODY = Request("s3:GetObject", "arn:aws:s3:::b/k")


def identity(effect: str, action: str = "s3:GetObject") -> Policy:
    statement = {"Effect": effect, "Action": action, "Resource": "*", "Sid": "identity"}
    return parse_identity_policy(json.dumps({"Statement": statement}).encode())


def resource(effect: str, principal: Any = "*", action: str = "s3:GetObject") -> Policy:
    statement = {"Effect": effect, "Principal": principal, "Action": action, "Sid": "bucket"}
    document = {"Statement": statement | {"Resource": "arn:aws:s3:::b/*"}}
    return parse_bucket_policy(json.dumps(document).encode(), "b")


ALLOW, DENY, OTHER = identity("Allow"), identity("Deny"), identity("Allow", "s3:PutObject")
OPEN, CLOSED = resource("Allow"), resource("Deny")
FOR_ANN, FOR_BOB = (
    resource("Allow", {"AWS": f"arn:aws:iam::1:user/{name}"}) for name in ("ann", "bob")
)
ALL = Policies([ALLOW], OPEN)


@pytest.mark.parametrize(
    ("who", "policies", "allowed", "source"),
    [
        (Who.NOBODY, Policies(), False, "nothing"),
        (Who.NOBODY, Policies(resource=OPEN), True, "resource"),
        (Who.NOBODY, Policies(resource=FOR_ANN), False, "nothing"),
        (Who.NOBODY, Policies(resource=CLOSED), False, "resource"),
        (Who.ROOT, Policies(), True, "root"),
        (Who.ROOT, Policies(is_root=True), True, "root"),
        (Who.ROOT, Policies(resource=CLOSED), False, "resource"),
        (Who.ROOT, Policies(resource=FOR_BOB), True, "root"),
        (Who.MEMBER, Policies(), False, "nothing"),
        (Who.MEMBER, Policies([OTHER]), False, "nothing"),
        (Who.MEMBER, Policies([OTHER, ALLOW]), True, "identity"),
        (Who.MEMBER, Policies([ALLOW, DENY]), False, "identity"),
        (Who.MEMBER, Policies([ALLOW], CLOSED), False, "resource"),
        (Who.MEMBER, Policies([], OPEN), True, "resource"),
        (Who.MEMBER, Policies([], FOR_ANN), True, "resource"),
        (Who.MEMBER, Policies([], FOR_BOB), False, "nothing"),
        (Who.MEMBER, Policies([DENY], FOR_ANN), False, "identity"),
        (Who.MEMBER, Policies([ALLOW], boundary=OTHER), False, "boundary"),
        (Who.MEMBER, Policies([ALLOW], boundary=ALLOW), True, "identity"),
        (Who.MEMBER, Policies([ALLOW], boundary=DENY), False, "boundary"),
        (Who.MEMBER, Policies([], FOR_ANN, boundary=OTHER), True, "resource"),
        (Who.MEMBER, Policies([ALLOW], session=OTHER), False, "session"),
        (Who.MEMBER, Policies([ALLOW], session=ALLOW), True, "identity"),
        (Who.MEMBER, Policies([ALLOW], session=DENY), False, "session"),
        (Who.MEMBER, Policies([], FOR_ANN, session=OTHER), False, "session"),
        (Who.MEMBER, Policies([], FOR_ANN, session=ALLOW), True, "resource"),
        (Who.STRANGER, Policies([ALLOW]), False, "nothing"),
        (Who.STRANGER, Policies([], OPEN), False, "nothing"),
        (Who.STRANGER, Policies([ALLOW], OPEN), True, "resource"),
        (Who.STRANGER, Policies([ALLOW], FOR_BOB), False, "nothing"),
        (Who.STRANGER, Policies([], OPEN, is_root=True), True, "resource"),
        (Who.STRANGER, Policies(is_root=True), False, "nothing"),
        (Who.STRANGER, Policies([ALLOW], OPEN, boundary=OTHER), False, "boundary"),
        (Who.STRANGER, Policies([ALLOW], OPEN, session=OTHER), False, "session"),
        (Who.STRANGER, Policies([DENY], OPEN), False, "identity"),
        (Who.STRANGER, Policies([ALLOW], CLOSED), False, "resource"),
    ],
)
def test_the_order(who: Who, policies: Policies, allowed: bool, source: str) -> None:
    decision = decide(NOBODY if who is Who.NOBODY else GET, who, policies)
    assert (decision.is_allowed, decision.source) == (allowed, source)
    decides = source in ("identity", "resource")
    assert (decision.statement is not None) >= (decides and allowed)
    if decision.statement is not None and decides:
        assert decision.statement.sid == {"identity": "identity", "resource": "bucket"}[source]


def naive(
    action: str,
    who: Who,
    names: frozenset[str],
    documents: Mapping[str, Sequence[dict[str, Any]]],
    is_root: bool,
) -> bool:
    """The same by sets of what each document allows and denies, without any pattern."""

    def says(kind: str, effect: str) -> bool:
        for statement in documents.get(kind, ()):
            principal = statement.get("Principal", "*")
            about = principal == "*" or f"AWS:{principal['AWS']}" in names
            if statement["Effect"] == effect and action in statement["Action"] and about:
                return True
        return False

    if any(says(kind, "Deny") for kind in documents):
        return False
    if who is Who.ROOT:
        return True
    by_resource = says("resource", "Allow")
    if who is Who.NOBODY:
        return by_resource
    within = all(kind not in documents or says(kind, "Allow") for kind in ("boundary", "session"))
    own = is_root or (says("identity", "Allow") and within)
    if who is Who.STRANGER:
        return own and by_resource
    in_session = "session" not in documents or says("session", "Allow")
    return own or (by_resource and in_session)


ACTIONS = ("s3:GetObject", "s3:PutObject", "s3:DeleteObject")


def statements(dice: random.Random, kind: str) -> list[dict[str, Any]]:
    found = []
    for _ in range(dice.choice((1, 1, 2, 3))):
        statement: dict[str, Any] = {
            "Effect": dice.choice(("Allow", "Allow", "Deny")),
            "Action": dice.sample(ACTIONS, dice.randrange(1, 3)),
            "Resource": "arn:aws:s3:::b/*",
        }
        if kind == "resource":
            statement["Principal"] = dice.choice(("*", {"AWS": ANN}, {"AWS": "2"}))
        found.append(statement)
    return found


def test_against_a_naive_evaluator(seed: int) -> None:
    dice = random.Random(seed)
    outcomes = set()
    for _ in range(3000):
        kinds = dice.sample(("identity", "resource", "boundary", "session"), dice.randrange(5))
        documents = {kind: statements(dice, kind) for kind in kinds}
        parsed: dict[str, Policy] = {}
        for kind, listed in documents.items():
            text = json.dumps({"Statement": listed}).encode()
            is_bucket = kind == "resource"
            parsed[kind] = (
                parse_bucket_policy(text, "b") if is_bucket else parse_identity_policy(text)
            )
        for who, action in itertools.product(Who, ACTIONS):
            names = frozenset() if who is Who.NOBODY else PRINCIPALS
            is_root = who is Who.STRANGER and dice.random() < 0.2
            policies = Policies(
                [parsed["identity"]] if "identity" in parsed else [],
                parsed.get("resource"),
                parsed.get("boundary"),
                parsed.get("session"),
                is_root,
            )
            decision: Decision = decide(Request(action, "arn:aws:s3:::b/k", names), who, policies)
            expected = naive(action, who, names, documents, is_root)
            assert decision.is_allowed == expected, (who, action, documents, decision)
            outcomes.add((who, expected))
    assert len(outcomes) == 2 * len(Who)
