"""STS: temporary credentials, and who one is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from objstore.auth.evaluator import Who, decide
from objstore.auth.keys import Identity
from objstore.auth.permission import ask, policies_of
from objstore.auth.policy import ALLOW, Policy, PolicyError, Request, parse_identity_policy
from objstore.auth.trust import TrustError, parse_trust
from objstore.aws.xml import Tree
from objstore.iam.model import Entity, Session
from objstore.iam.names import ROLE, USER, check_tags
from objstore.iam_api.errors import ApiError, invalid
from objstore.iam_api.face import IamFace
from objstore.iam_api.job import Job, denied
from objstore.iam_api.table import Handler
from objstore.iam_api.trees import time

SERVICE: Final = "sts"
VERSION: Final = "2011-06-15"
_NAME: Final = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_FEDERATED_NAME: Final = re.compile(r"[\w+=,.@-]{2,32}", re.ASCII)
_HOUR_S: Final = 3600
_MOST_POLICY_CHARS: Final = 2048
_CHAINED_S: Final = _HOUR_S
"""What a role gets at most that another role's session assumes."""


def get_caller_identity(job: Job) -> Tree:
    """Who asks; nobody can be denied that."""
    user_id = job.identity.grants.context.get("aws:userid", job.account)
    return {"UserId": str(user_id), "Account": job.account, "Arn": job.identity.arn}


def assume_role(job: Job) -> Tree:
    """A session of a role whose trust policy names who asks."""
    job.refuse("SerialNumber", "TokenCode", "ProvidedContexts", "PolicyArns")
    arn, name = job.given("RoleArn"), _session_name(job)
    account, role = role_of(job, arn)
    duration_s = job.number("DurationSeconds", _HOUR_S, 900, 43200)
    _check_duration(job, role, duration_s)
    tags, policy = job.tags(), session_policy(job)
    context = {"sts:rolesessionname": name}
    external = job.optional("ExternalId")
    if external is not None:
        context["sts:externalid"] = external
    for key, value in tags.items():
        context[f"aws:requesttag/{key.lower()}"] = value
    actions = ["sts:AssumeRole", *(["sts:TagSession"] if tags else [])]
    if not all(_is_trusted(job.identity, role, account, action, context) for action in actions):
        raise denied(job.identity, "sts:AssumeRole", arn)
    made = job.directory.create_session(
        role.account, ROLE, role.row, name, duration_s, policy=policy, tags=tags
    )
    return {
        "Credentials": credentials(made),
        "AssumedRoleUser": assumed(role, name),
        "PackedPolicySize": packed(policy),
    }


def role_of(job: Job, arn: str) -> tuple[str, Entity]:
    """The account's canonical id and the role of an ARN.

    Raises:
        ApiError: AccessDenied, as there is nothing to be told of what is not there.
    """
    parts = arn.split(":", 5)
    if len(parts) != 6 or parts[2] != "iam" or not parts[5].startswith("role/"):
        raise invalid(f"{arn} is invalid")
    role = job.directory.find(parts[4], ROLE, parts[5].rpartition("/")[2])
    if role is None or role.arn != arn:
        raise denied(job.identity, "sts:AssumeRole", arn)
    return job.directory.account(role.account).canonical_id, role


def _check_duration(job: Job, role: Entity, duration_s: int) -> None:
    if duration_s > role.max_session_s:
        raise invalid(
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        )
    if job.identity.grants.session_names and duration_s > _CHAINED_S:
        raise invalid(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by "
            "role chaining."
        )


def _is_trusted(
    identity: Identity, role: Entity, owner: str, action: str, context: Mapping[str, str]
) -> bool:
    """Whether the role's trust policy and the policies of who asks allow it.

    A trust policy that names the account of a user leaves it to the user's own policies; one
    that names the user itself needs none in the same account.
    """
    try:
        trust = parse_trust(role.trust.encode("utf-8"))
    except TrustError:
        return False
    known = {**context, **identity.grants.context}
    request = Request(
        action,
        role.arn,
        identity.grants.names | identity.grants.account_names,
        known,
        identity.grants.account_names,
    )
    by_trust = decide(request, Who.NOBODY, policies_of(identity, trust))
    limit = identity.grants.session
    if not by_trust.is_allowed or (limit is not None and limit.find(ALLOW, request) is None):
        return False
    named = None if by_trust.statement is None else by_trust.statement.principals
    is_own = identity.id == owner
    if is_own and (identity.is_root or (named and not named.isdisjoint(identity.grants.names))):
        return True
    return ask(identity, action, role.arn, context=context).is_allowed


def get_session_token(job: Job) -> Tree:
    """Credentials of a user's own, for a while."""
    job.refuse("SerialNumber", "TokenCode")
    most_s = _HOUR_S if job.identity.is_root else 36 * _HOUR_S
    duration_s = job.number("DurationSeconds", min(12 * _HOUR_S, most_s), 900, 36 * _HOUR_S)
    row = _own_row(job)
    made = job.directory.create_session(job.account, USER, row, "", min(duration_s, most_s))
    return {"Credentials": credentials(made)}


def get_federation_token(job: Job) -> Tree:
    """Credentials for somebody else, who may at most what the policy says."""
    job.refuse("PolicyArns")
    name = job.given("Name")
    if not _FEDERATED_NAME.fullmatch(name):
        raise invalid("Name has 2 to 32 letters, digits and +=,.@_-")
    most_s = _HOUR_S if job.identity.is_root else 36 * _HOUR_S
    duration_s = job.number("DurationSeconds", min(12 * _HOUR_S, most_s), 900, 36 * _HOUR_S)
    tags, policy = job.tags(), session_policy(job)
    check_tags(tags)
    row = _own_row(job)
    arn = f"arn:aws:sts::{job.account}:federated-user/{name}"
    job.permit(arn)
    made = job.directory.create_session(
        job.account, "federated", row, name, min(duration_s, most_s), policy=policy, tags=tags
    )
    return {
        "Credentials": credentials(made),
        "FederatedUser": {"FederatedUserId": f"{job.account}:{name}", "Arn": arn},
        "PackedPolicySize": packed(policy),
    }


def _own_row(job: Job) -> int:
    """The row of the user that asks, 0 for the root; sessions get no sessions of their own."""
    if job.access_key and job.directory.session(job.access_key) is not None:
        raise ApiError("AccessDenied", f"Cannot call {job.action} with session credentials", 403)
    if job.identity.is_root:
        return 0
    name = job.identity.grants.context.get("aws:username")
    return job.directory.get(job.account, USER, str(name)).row


def _session_name(job: Job) -> str:
    name = job.given("RoleSessionName")
    if not _NAME.fullmatch(name):
        raise invalid("RoleSessionName has 2 to 64 letters, digits and +=,.@_-")
    return name


def session_policy(job: Job) -> str:
    """The policy that limits a session; "" for none."""
    text = job.text("Policy")
    if text:
        if len(text) > _MOST_POLICY_CHARS:
            raise ApiError("PackedPolicyTooLarge", f"At most {_MOST_POLICY_CHARS} characters")
        _parsed(text)
    return text


def _parsed(text: str) -> Policy:
    try:
        return parse_identity_policy(text.encode("utf-8"))
    except PolicyError as error:
        raise ApiError("MalformedPolicyDocument", str(error)) from None


def packed(policy: str) -> int | None:
    """How much of the room for a session's policy is taken, in per cent."""
    return len(policy) * 100 // _MOST_POLICY_CHARS if policy else None


def credentials(made: Session) -> Tree:
    """Temporary credentials, as answers have them."""
    return {
        "AccessKeyId": made.access_key,
        "SecretAccessKey": made.secret_key,
        "SessionToken": made.token,
        "Expiration": time(made.expires_ms),
    }


def assumed(role: Entity, name: str) -> Tree:
    """The session of a role, as answers call it."""
    return {
        "AssumedRoleId": f"{role.entity_id}:{name}",
        "Arn": f"arn:aws:sts::{role.account}:assumed-role/{role.name}/{name}",
    }


ACTIONS: Final[Mapping[str, Handler]] = {
    "AssumeRole": assume_role,
    "GetCallerIdentity": get_caller_identity,
    "GetFederationToken": get_federation_token,
    "GetSessionToken": get_session_token,
}
_KNOWN: Final = frozenset(
    (
        *("AssumeRoleWithSAML", "AssumeRoleWithWebIdentity", "AssumeRoot"),
        *("DecodeAuthorizationMessage", "GetAccessKeyInfo", "GetDelegatedAccessToken"),
        "GetWebIdentityToken",
    )
)


class StsFace(IamFace):
    """Answers STS's actions.  Safe to share between threads."""

    service = SERVICE
    version = VERSION
    namespace = f"https://sts.amazonaws.com/doc/{VERSION}/"

    def _find(self, name: str) -> Handler | None:
        if name in _KNOWN:
            raise ApiError(
                "NotImplemented", f"The action {name} is not supported by this server", 501
            )
        return ACTIONS.get(name)
