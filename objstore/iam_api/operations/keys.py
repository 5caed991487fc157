"""Actions on access keys."""

from __future__ import annotations

from objstore.aws.xml import Tree
from objstore.iam.errors import NoSuchEntityError
from objstore.iam.names import USER
from objstore.iam_api import trees
from objstore.iam_api.errors import invalid
from objstore.iam_api.job import Job, denied
from objstore.iam_api.operations.entities import own_user, target_arn


def _user(job: Job) -> tuple[str, str]:
    """The user in question, "" for the root, and what answers call it."""
    name = job.text("UserName")
    if name:
        job.permit(target_arn(job, USER, name))
        return name, job.directory.get(job.account, USER, name).name
    job.permit(job.identity.arn)
    if job.identity.is_root:
        return "", job.directory.account(job.account).display_name
    name = own_user(job).name
    return name, name


def create_access_key(job: Job) -> Tree:
    user, called = _user(job)
    return {"AccessKey": trees.key(job.directory.create_key(job.account, user), called)}


def list_access_keys(job: Job) -> Tree:
    user, called = _user(job)
    keys = job.directory.keys_of(job.account, user)
    return job.page(keys, "AccessKeyMetadata", lambda key: trees.key(key, called))


def update_access_key(job: Job) -> Tree:
    user, _ = _user(job)
    status = job.given("Status")
    if status not in ("Active", "Inactive"):
        raise invalid("Status is Active or Inactive")
    job.directory.set_key_active(job.account, user, job.given("AccessKeyId"), status == "Active")
    return {}


def delete_access_key(job: Job) -> Tree:
    user, _ = _user(job)
    job.directory.delete_key(job.account, user, job.given("AccessKeyId"))
    return {}


def get_access_key_last_used(job: Job) -> Tree:
    access_key = job.given("AccessKeyId")
    try:
        found = job.directory.key(access_key)
    except NoSuchEntityError:
        found = None
    if found is None or found.account != job.account:
        raise denied(job.identity, "iam:GetAccessKeyLastUsed", access_key)
    job.permit(target_arn(job, USER, found.user) if found.user else job.identity.arn)
    used: dict[str, str | None] = {
        "LastUsedDate": None if found.used_ms is None else trees.time(found.used_ms),
        "ServiceName": found.used_service or "N/A",
        "Region": found.used_region or "N/A",
    }
    return {"UserName": found.user, "AccessKeyLastUsed": used}
