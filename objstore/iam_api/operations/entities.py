"""Actions on users, groups and roles."""

from __future__ import annotations

from objstore.aws.xml import Tree
from objstore.iam.model import Entity
from objstore.iam.names import GROUP, ROLE, USER, arn_of
from objstore.iam_api import trees
from objstore.iam_api.errors import invalid
from objstore.iam_api.job import Job

_NAMES = {USER: "UserName", GROUP: "GroupName", ROLE: "RoleName"}


def target_arn(job: Job, kind: str, name: str, path: str = "") -> str:
    """The ARN of an identity, whether it is there or not."""
    found = None if path else job.directory.find(job.account, kind, name)
    return found.arn if found is not None else arn_of(job.account, kind, path or "/", name)


def named(job: Job, kind: str) -> str:
    """The name of the identity in question, once who asks may do this with it."""
    name = job.given(_NAMES[kind])
    job.permit(target_arn(job, kind, name))
    return name


def found(job: Job, kind: str) -> Entity:
    """The identity in question."""
    return job.directory.get(job.account, kind, named(job, kind))


def _created(
    job: Job, kind: str, *, trust: str = "", description: str = "", max_session_s: int = 3600
) -> Entity:
    name, path = job.given(_NAMES[kind]), job.text("Path", "/")
    job.permit(target_arn(job, kind, name, path))
    is_group = kind == GROUP
    return job.directory.create(
        job.account,
        kind,
        name,
        path=path,
        boundary="" if is_group else job.text("PermissionsBoundary"),
        trust=trust,
        description=description,
        max_session_s=max_session_s,
        tags={} if is_group else job.tags(),
    )


# Users.


def create_user(job: Job) -> Tree:
    return {"User": trees.user(_created(job, USER))}


def get_user(job: Job) -> Tree:
    """Who asks, where no name is given."""
    name = job.text("UserName")
    if name:
        return {"User": trees.user(found(job, USER))}
    job.permit(job.identity.arn)
    if not job.identity.is_root:
        return {"User": trees.user(own_user(job))}
    account = job.directory.account(job.account)
    return {
        "User": {
            "Path": "/",
            "UserName": account.display_name,
            "UserId": job.account,
            "Arn": job.identity.arn,
            "CreateDate": trees.time(account.created_ms),
        }
    }


def own_user(job: Job) -> Entity:
    """The user that asks.

    Raises:
        ApiError: ValidationError where it is no user.
    """
    name = job.identity.grants.context.get("aws:username")
    if not isinstance(name, str):
        raise invalid("Must specify userName when calling with non-User credentials")
    return job.directory.get(job.account, USER, name)


def _listed(job: Job, kind: str) -> list[Entity]:
    prefix = job.text("PathPrefix", "/")
    job.permit(arn_of(job.account, kind, prefix, "*" if kind == USER else ""))
    return job.directory.entities(job.account, kind, path_prefix=prefix, limit=1_000_000)


def list_users(job: Job) -> Tree:
    return job.page(_listed(job, USER), "Users", lambda e: trees.user(e, whole=False))


def update_user(job: Job) -> Tree:
    name = named(job, USER)
    job.directory.update(
        job.account, USER, name, new_name=job.text("NewUserName"), new_path=job.text("NewPath")
    )
    return {}


def delete_user(job: Job) -> Tree:
    job.directory.delete(job.account, USER, named(job, USER))
    return {}


# Groups.


def create_group(job: Job) -> Tree:
    return {"Group": trees.group(_created(job, GROUP))}


def get_group(job: Job) -> Tree:
    group = found(job, GROUP)
    members = job.directory.members(job.account, group.name)
    page = job.page(members, "Users", lambda e: trees.user(e, whole=False))
    return {"Group": trees.group(group), **page}


def list_groups(job: Job) -> Tree:
    return job.page(_listed(job, GROUP), "Groups", trees.group)


def update_group(job: Job) -> Tree:
    name = named(job, GROUP)
    job.directory.update(
        job.account, GROUP, name, new_name=job.text("NewGroupName"), new_path=job.text("NewPath")
    )
    return {}


def delete_group(job: Job) -> Tree:
    job.directory.delete(job.account, GROUP, named(job, GROUP))
    return {}


def add_user_to_group(job: Job) -> Tree:
    job.directory.add_member(job.account, named(job, GROUP), job.given("UserName"))
    return {}


def remove_user_from_group(job: Job) -> Tree:
    job.directory.remove_member(job.account, named(job, GROUP), job.given("UserName"))
    return {}


def list_groups_for_user(job: Job) -> Tree:
    groups = job.directory.groups_of(job.account, named(job, USER))
    return job.page(groups, "Groups", trees.group)


# Roles.


def create_role(job: Job) -> Tree:
    role = _created(
        job,
        ROLE,
        trust=job.given("AssumeRolePolicyDocument"),
        description=job.text("Description"),
        max_session_s=job.number("MaxSessionDuration", 3600, 3600, 43200),
    )
    return {"Role": trees.role(role)}


def get_role(job: Job) -> Tree:
    return {"Role": trees.role(found(job, ROLE))}


def list_roles(job: Job) -> Tree:
    return job.page(_listed(job, ROLE), "Roles", lambda e: trees.role(e, whole=False))


def update_role(job: Job) -> Tree:
    name = named(job, ROLE)
    seconds = job.optional("MaxSessionDuration")
    job.directory.update_role(
        job.account,
        name,
        description=job.optional("Description"),
        max_session_s=None
        if seconds is None
        else job.number("MaxSessionDuration", 3600, 3600, 43200),
    )
    return {}


def update_role_description(job: Job) -> Tree:
    name = named(job, ROLE)
    role = job.directory.update_role(job.account, name, description=job.text("Description"))
    return {"Role": trees.role(role)}


def update_assume_role_policy(job: Job) -> Tree:
    name = named(job, ROLE)
    job.directory.update_role(job.account, name, trust=job.given("PolicyDocument"))
    return {}


def delete_role(job: Job) -> Tree:
    job.directory.delete(job.account, ROLE, named(job, ROLE))
    return {}


# What users and roles have both.


def _tag(job: Job, kind: str) -> Tree:
    job.directory.tag(job.account, kind, named(job, kind), job.tags())
    return {}


def _untag(job: Job, kind: str) -> Tree:
    job.directory.untag(job.account, kind, named(job, kind), job.texts("TagKeys"))
    return {}


def _tags(job: Job, kind: str) -> Tree:
    pairs = list(found(job, kind).tags.items())
    return job.page(pairs, "Tags", lambda pair: {"Key": pair[0], "Value": pair[1]})


def tag_user(job: Job) -> Tree:
    return _tag(job, USER)


def untag_user(job: Job) -> Tree:
    return _untag(job, USER)


def list_user_tags(job: Job) -> Tree:
    return _tags(job, USER)


def tag_role(job: Job) -> Tree:
    return _tag(job, ROLE)


def untag_role(job: Job) -> Tree:
    return _untag(job, ROLE)


def list_role_tags(job: Job) -> Tree:
    return _tags(job, ROLE)


def put_user_permissions_boundary(job: Job) -> Tree:
    name = named(job, USER)
    job.directory.set_boundary(job.account, USER, name, job.given("PermissionsBoundary"))
    return {}


def delete_user_permissions_boundary(job: Job) -> Tree:
    job.directory.set_boundary(job.account, USER, named(job, USER), "")
    return {}


def put_role_permissions_boundary(job: Job) -> Tree:
    name = named(job, ROLE)
    job.directory.set_boundary(job.account, ROLE, name, job.given("PermissionsBoundary"))
    return {}


def delete_role_permissions_boundary(job: Job) -> Tree:
    job.directory.set_boundary(job.account, ROLE, named(job, ROLE), "")
    return {}
