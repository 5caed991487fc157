"""Actions on an account as a whole, and simulations."""

from __future__ import annotations

from collections.abc import Iterable

from objstore.auth.evaluator import Decision
from objstore.auth.keys import Grants, Identity, root_identity
from objstore.auth.permission import ask
from objstore.auth.policy import Policy, PolicyError, parse_identity_policy
from objstore.aws.xml import Entries, Tree
from objstore.iam import IamKeyStore
from objstore.iam.model import Entity
from objstore.iam.names import (
    GROUP,
    MAX_ATTACHED,
    MAX_GROUPS_OF_USER,
    MAX_INLINE_BYTES,
    MAX_KEYS_OF_USER,
    MAX_MANAGED_BYTES,
    MAX_VERSIONS,
    ROLE,
    USER,
)
from objstore.iam_api import trees
from objstore.iam_api.errors import ApiError, invalid
from objstore.iam_api.job import Job

_ALL = 1_000_000


def get_account_summary(job: Job) -> Tree:
    job.permit("*")
    directory, account = job.directory, job.account
    counts = {
        "Users": len(directory.entities(account, USER, limit=_ALL)),
        "Groups": len(directory.entities(account, GROUP, limit=_ALL)),
        "Roles": len(directory.entities(account, ROLE, limit=_ALL)),
        "Policies": len(directory.policies(account, "Local")),
        "AccountAccessKeysPresent": len(directory.keys_of(account, "")),
        "AccountMFAEnabled": 0,
        "AccessKeysPerUserQuota": MAX_KEYS_OF_USER,
        "GroupsPerUserQuota": MAX_GROUPS_OF_USER,
        "AttachedPoliciesPerUserQuota": MAX_ATTACHED,
        "AttachedPoliciesPerGroupQuota": MAX_ATTACHED,
        "AttachedPoliciesPerRoleQuota": MAX_ATTACHED,
        "VersionsPerPolicyQuota": MAX_VERSIONS,
        "PolicySizeQuota": MAX_MANAGED_BYTES,
        "UserPolicySizeQuota": MAX_INLINE_BYTES[USER],
        "GroupPolicySizeQuota": MAX_INLINE_BYTES[GROUP],
    }
    return {"SummaryMap": Entries(counts)}


def list_account_aliases(job: Job) -> Tree:
    job.permit("*")
    return job.page([], "AccountAliases", str)


def get_account_authorization_details(job: Job) -> Tree:
    job.permit("*")
    wanted = set(job.texts("Filter"))
    known = {"User", "Group", "Role", "LocalManagedPolicy", "AWSManagedPolicy"}
    if wanted - known:
        raise invalid(f"Filter takes {', '.join(sorted(known))}")
    wanted = wanted or known
    told: dict[str, list[Tree]] = {
        "UserDetailList": [],
        "GroupDetailList": [],
        "RoleDetailList": [],
        "Policies": [],
    }
    for kind in (USER, GROUP, ROLE):
        if kind.title() in wanted:
            for each in job.directory.entities(job.account, kind, limit=_ALL):
                told[f"{kind.title()}DetailList"].append(_details(job, each))
    for scope, name in (("Local", "LocalManagedPolicy"), ("AWS", "AWSManagedPolicy")):
        if name in wanted:
            for policy in job.directory.policies(job.account, scope):
                versions = [trees.version(v) for v in job.directory.versions(policy.arn)]
                told["Policies"].append({**trees.policy(policy), "PolicyVersionList": versions})
    return {**told, "IsTruncated": False}


def _details(job: Job, entity: Entity) -> Tree:
    inline = job.directory.inline_of_row(entity.row)
    attached = job.directory.attached_to_row(entity.row)
    kind = entity.kind.title()
    tell = {USER: trees.user, GROUP: trees.group, ROLE: trees.role}[entity.kind]
    told = dict(tell(entity))
    policies: list[Tree] = [
        {"PolicyName": name, "PolicyDocument": trees.document(document)}
        for name, document in inline.items()
    ]
    told[f"{kind}PolicyList"] = policies
    told["AttachedManagedPolicies"] = [
        {"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn} for arn in attached
    ]
    if entity.kind == USER:
        told["GroupList"] = [group.name for group in job.directory.groups_of_row(entity.row)]
    return told


# Simulations.


def simulate_principal_policy(job: Job) -> Tree:
    """What an identity may do, by its policies, more of them, and a resource's."""
    source = job.given("PolicySourceArn")
    job.permit(source)
    identity = identity_of_arn(job, source)
    more = _policies(job.texts("PolicyInputList"))
    grants = identity.grants
    boundaries = _policies(job.texts("PermissionsBoundaryPolicyInputList"))
    changed = Grants(
        (*grants.policies, *more),
        boundaries[0] if boundaries else grants.boundary,
        grants.session,
        grants.names,
        grants.account_names,
        grants.session_names,
        grants.context,
    )
    asking = Identity(
        identity.id,
        identity.display_name,
        identity.is_root,
        account=identity.account,
        arn=identity.arn,
        grants=changed,
    )
    return _simulated(job, asking)


def simulate_custom_policy(job: Job) -> Tree:
    """What somebody with these policies might do."""
    job.permit("*")
    given = job.texts("PolicyInputList")
    if not given:
        raise invalid("PolicyInputList must not be empty")
    boundaries = _policies(job.texts("PermissionsBoundaryPolicyInputList"))
    grants = Grants(tuple(_policies(given)), boundaries[0] if boundaries else None)
    identity = Identity("", account=job.account, arn=job.text("CallerArn"), grants=grants)
    return _simulated(job, identity)


def identity_of_arn(job: Job, arn: str) -> Identity:
    """The user, group or role of an ARN, and what it may do."""
    parts = arn.split(":")
    if len(parts) != 6 or parts[4] != job.account:
        raise ApiError("NoSuchEntity", f"{arn} does not exist in this account.", status=404)
    account = job.directory.account(job.account)
    if parts[5] == "root":
        return root_identity(account.canonical_id, account.display_name, job.account)
    kind, _, path = parts[5].partition("/")
    if kind not in (USER, GROUP, ROLE):
        raise invalid("PolicySourceArn is that of a user, a group or a role")
    entity = job.directory.get(job.account, kind, path.rpartition("/")[2])
    return IamKeyStore(job.directory).identity_of(account, entity)


def _policies(documents: Iterable[str]) -> list[Policy]:
    try:
        return [parse_identity_policy(text.encode("utf-8")) for text in documents]
    except PolicyError as error:
        raise ApiError("InvalidInput", str(error)) from None


def contexts(job: Job) -> dict[str, str | tuple[str, ...]]:
    """ContextEntries, as condition keys in lower case."""
    found: dict[str, str | tuple[str, ...]] = {}
    for each in job.members("ContextEntries"):
        name = each.get("ContextKeyName") if isinstance(each, dict) else None
        values = each.get("ContextKeyValues") if isinstance(each, dict) else None
        listed = values.get("member") if isinstance(values, dict) else None
        if not isinstance(name, str) or not isinstance(listed, dict):
            raise invalid("ContextEntries have a ContextKeyName and ContextKeyValues")
        texts = tuple(str(value) for value in listed.values())
        found[name.lower()] = texts[0] if len(texts) == 1 else texts
    return found


def _simulated(job: Job, identity: Identity) -> Tree:
    job.refuse("ResourcePolicy", "ResourceOwner", "ResourceHandlingOption")
    actions = job.texts("ActionNames")
    if not actions:
        raise invalid("ActionNames must not be empty")
    resources = job.texts("ResourceArns") or ["*"]
    context = contexts(job)
    told = [
        _result(action, resource, ask(identity, action, resource, context=context))
        for action in actions
        for resource in resources
    ]
    return job.page(told, "EvaluationResults", lambda each: each)


def _result(action: str, resource: str, decision: Decision) -> Tree:
    statement = decision.statement
    if decision.is_allowed:
        said = "allowed"
    else:
        said = "implicitDeny" if statement is None else "explicitDeny"
    matched: list[Tree] = []
    if statement is not None:
        matched = [{"SourcePolicyId": statement.sid or "-", "SourcePolicyType": "IAM Policy"}]
    return {
        "EvalActionName": action,
        "EvalResourceName": resource,
        "EvalDecision": said,
        "MatchedStatements": matched,
        "MissingContextValues": [],
    }
