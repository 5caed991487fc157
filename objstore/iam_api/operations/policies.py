"""Actions on policies: inline ones, managed ones, attachments."""

from __future__ import annotations

from objstore.aws.xml import Tree
from objstore.iam.model import PolicyVersion
from objstore.iam.names import GROUP, ROLE, USER, arn_of
from objstore.iam_api import trees
from objstore.iam_api.errors import ApiError, invalid
from objstore.iam_api.job import Job
from objstore.iam_api.operations.entities import named

# Inline policies.


def _put_inline(job: Job, kind: str) -> Tree:
    name = named(job, kind)
    job.directory.put_inline(
        job.account, kind, name, job.given("PolicyName"), job.given("PolicyDocument")
    )
    return {}


def _get_inline(job: Job, kind: str, called: str) -> Tree:
    name, policy = named(job, kind), job.given("PolicyName")
    for known, document in job.directory.inline(job.account, kind, name).items():
        if known.lower() == policy.lower():
            return {
                called: name,
                "PolicyName": known,
                "PolicyDocument": trees.document(document),
            }
    raise ApiError(
        "NoSuchEntity", f"The {kind} policy with name {policy} cannot be found.", status=404
    )


def _delete_inline(job: Job, kind: str) -> Tree:
    name = named(job, kind)
    job.directory.delete_inline(job.account, kind, name, job.given("PolicyName"))
    return {}


def _list_inline(job: Job, kind: str) -> Tree:
    names = list(job.directory.inline(job.account, kind, named(job, kind)))
    return job.page(names, "PolicyNames", str)


def put_user_policy(job: Job) -> Tree:
    return _put_inline(job, USER)


def get_user_policy(job: Job) -> Tree:
    return _get_inline(job, USER, "UserName")


def delete_user_policy(job: Job) -> Tree:
    return _delete_inline(job, USER)


def list_user_policies(job: Job) -> Tree:
    return _list_inline(job, USER)


def put_group_policy(job: Job) -> Tree:
    return _put_inline(job, GROUP)


def get_group_policy(job: Job) -> Tree:
    return _get_inline(job, GROUP, "GroupName")


def delete_group_policy(job: Job) -> Tree:
    return _delete_inline(job, GROUP)


def list_group_policies(job: Job) -> Tree:
    return _list_inline(job, GROUP)


def put_role_policy(job: Job) -> Tree:
    return _put_inline(job, ROLE)


def get_role_policy(job: Job) -> Tree:
    return _get_inline(job, ROLE, "RoleName")


def delete_role_policy(job: Job) -> Tree:
    return _delete_inline(job, ROLE)


def list_role_policies(job: Job) -> Tree:
    return _list_inline(job, ROLE)


# Managed policies.


def _arn(job: Job) -> str:
    """The policy in question, which has to be of the account, or AWS's."""
    arn = job.given("PolicyArn")
    job.permit(arn)
    if arn.split(":")[4:5] not in ([job.account], ["aws"]):
        raise ApiError("NoSuchEntity", f"Policy {arn} does not exist.", status=404)
    return arn


def _number(job: Job) -> int:
    text = job.given("VersionId")
    if text[:1] != "v" or not text[1:].isascii() or not text[1:].isdigit():
        raise invalid("A version of a policy is called v1, v2 and so on")
    return int(text[1:])


def create_policy(job: Job) -> Tree:
    name, path = job.given("PolicyName"), job.text("Path", "/")
    job.permit(arn_of(job.account, "policy", path, name))
    made = job.directory.create_policy(
        job.account,
        name,
        job.given("PolicyDocument"),
        path=path,
        description=job.text("Description"),
    )
    return {"Policy": trees.policy(made)}


def get_policy(job: Job) -> Tree:
    return {"Policy": trees.policy(job.directory.policy(_arn(job)))}


def list_policies(job: Job) -> Tree:
    scope = job.text("Scope", "All")
    if scope not in ("All", "AWS", "Local"):
        raise invalid("Scope is All, AWS or Local")
    job.permit(arn_of(job.account, "policy", "/", "*"))
    listed = job.directory.policies(job.account, scope, job.text("PathPrefix", "/"))
    if job.flag("OnlyAttached"):
        listed = [each for each in listed if each.attachments]
    return job.page(listed, "Policies", trees.policy)


def delete_policy(job: Job) -> Tree:
    job.directory.delete_policy(_arn(job))
    return {}


def create_policy_version(job: Job) -> Tree:
    made = job.directory.create_version(
        _arn(job), job.given("PolicyDocument"), is_default=job.flag("SetAsDefault")
    )
    return {"PolicyVersion": trees.version(made, with_document=False)}


def get_policy_version(job: Job) -> Tree:
    arn, number = _arn(job), _number(job)
    return {"PolicyVersion": trees.version(_version(job, arn, number))}


def _version(job: Job, arn: str, number: int) -> PolicyVersion:
    for each in job.directory.versions(arn):
        if each.version == number:
            return each
    raise ApiError("NoSuchEntity", f"Policy {arn} version v{number} does not exist.", status=404)


def list_policy_versions(job: Job) -> Tree:
    versions = job.directory.versions(_arn(job))
    return job.page(versions, "Versions", lambda v: trees.version(v, with_document=False))


def set_default_policy_version(job: Job) -> Tree:
    job.directory.set_default_version(_arn(job), _number(job))
    return {}


def delete_policy_version(job: Job) -> Tree:
    job.directory.delete_version(_arn(job), _number(job))
    return {}


# Attachments.


def _attach(job: Job, kind: str) -> Tree:
    name = named(job, kind)
    job.directory.attach(job.account, kind, name, job.given("PolicyArn"))
    return {}


def _detach(job: Job, kind: str) -> Tree:
    name = named(job, kind)
    job.directory.detach(job.account, kind, name, job.given("PolicyArn"))
    return {}


def _attached(job: Job, kind: str) -> Tree:
    arns = job.directory.attached(job.account, kind, named(job, kind))
    return job.page(
        arns,
        "AttachedPolicies",
        lambda arn: {"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn},
    )


def attach_user_policy(job: Job) -> Tree:
    return _attach(job, USER)


def detach_user_policy(job: Job) -> Tree:
    return _detach(job, USER)


def list_attached_user_policies(job: Job) -> Tree:
    return _attached(job, USER)


def attach_group_policy(job: Job) -> Tree:
    return _attach(job, GROUP)


def detach_group_policy(job: Job) -> Tree:
    return _detach(job, GROUP)


def list_attached_group_policies(job: Job) -> Tree:
    return _attached(job, GROUP)


def attach_role_policy(job: Job) -> Tree:
    return _attach(job, ROLE)


def detach_role_policy(job: Job) -> Tree:
    return _detach(job, ROLE)


def list_attached_role_policies(job: Job) -> Tree:
    return _attached(job, ROLE)


def list_entities_for_policy(job: Job) -> Tree:
    arn = _arn(job)
    usage = job.text("PolicyUsageFilter", "PermissionsPolicy")
    listed = job.directory.entities_for(
        job.account, arn, as_boundary=usage == "PermissionsBoundary"
    )
    kinds = {"User": USER, "Group": GROUP, "Role": ROLE}
    wanted = kinds.get(job.text("EntityFilter"))
    prefix = job.text("PathPrefix", "/")
    told: dict[str, list[Tree]] = {f"Policy{kind}s": [] for kind in ("Group", "User", "Role")}
    for each in listed:
        if each.path.startswith(prefix) and wanted in (None, each.kind):
            kind = each.kind.title()
            told[f"Policy{kind}s"].append({f"{kind}Name": each.name, f"{kind}Id": each.entity_id})
    return {**told, "IsTruncated": False}
