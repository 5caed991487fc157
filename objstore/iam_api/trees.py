"""Identities as IAM's answers tell of them."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from objstore.aws.xml import Tree, iso_time
from objstore.iam.model import AccessKey, Entity, ManagedPolicy, PolicyVersion


def time(time_ms: int) -> str:
    """A time, in whole seconds as IAM has them."""
    text = iso_time(time_ms * 1_000_000)
    assert text is not None
    return f"{text.partition('.')[0]}Z"


def document(text: str) -> str:
    """A document, escaped as in a URL."""
    return quote(text, safe="")


def tags(found: Mapping[str, str]) -> list[Tree]:
    """Tags."""
    return [{"Key": key, "Value": value} for key, value in found.items()]


def _boundary(arn: str) -> Tree | None:
    if not arn:
        return None
    return {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": arn}


def user(found: Entity, *, whole: bool = True) -> Tree:
    """A user; `whole` with its boundary and tags, which lists leave out."""
    told: dict[str, object] = {
        "Path": found.path,
        "UserName": found.name,
        "UserId": found.entity_id,
        "Arn": found.arn,
        "CreateDate": time(found.created_ms),
    }
    if whole:
        told["PermissionsBoundary"] = _boundary(found.boundary)
        told["Tags"] = tags(found.tags) or None
    return told  # type: ignore[return-value]


def group(found: Entity) -> Tree:
    """A group."""
    return {
        "Path": found.path,
        "GroupName": found.name,
        "GroupId": found.entity_id,
        "Arn": found.arn,
        "CreateDate": time(found.created_ms),
    }


def role(found: Entity, *, whole: bool = True) -> Tree:
    """A role; see `user`."""
    told: dict[str, object] = {
        "Path": found.path,
        "RoleName": found.name,
        "RoleId": found.entity_id,
        "Arn": found.arn,
        "CreateDate": time(found.created_ms),
        "AssumeRolePolicyDocument": document(found.trust),
        "Description": found.description or None,
        "MaxSessionDuration": found.max_session_s,
    }
    if whole:
        told["PermissionsBoundary"] = _boundary(found.boundary)
        told["Tags"] = tags(found.tags) or None
    return told  # type: ignore[return-value]


def policy(found: ManagedPolicy) -> Tree:
    """A managed policy."""
    return {
        "PolicyName": found.name,
        "PolicyId": found.policy_id,
        "Arn": found.arn,
        "Path": found.path,
        "DefaultVersionId": f"v{found.default_version}",
        "AttachmentCount": found.attachments,
        "PermissionsBoundaryUsageCount": found.boundaries,
        "IsAttachable": True,
        "Description": found.description or None,
        "CreateDate": time(found.created_ms),
        "UpdateDate": time(found.updated_ms),
    }


def version(found: PolicyVersion, *, with_document: bool = True) -> Tree:
    """A version of a managed policy."""
    return {
        "Document": document(found.document) if with_document else None,
        "VersionId": f"v{found.version}",
        "IsDefaultVersion": found.is_default,
        "CreateDate": time(found.created_ms),
    }


def key(found: AccessKey, user_name: str) -> Tree:
    """An access key; with its secret where it was just made."""
    return {
        "UserName": user_name,
        "AccessKeyId": found.access_key,
        "Status": "Active" if found.is_active else "Inactive",
        "SecretAccessKey": found.secret_key or None,
        "CreateDate": time(found.created_ms),
    }
