"""What IAM has no action for, and `objstore account` and `objstore user` need of a server.

AWS makes accounts elsewhere, and gives nobody keys of their own choice.
"""

from __future__ import annotations

from dataclasses import replace

from objstore.auth.evaluator import Who
from objstore.auth.explain import explain as explained
from objstore.auth.keys import ANONYMOUS, MAIN_ACCOUNT, Identity
from objstore.auth.permission import policies_of, who_is
from objstore.auth.policy import Policy, Request
from objstore.aws.xml import Tree
from objstore.errors import NoSuchBucketError
from objstore.iam.model import AccessKey, Account
from objstore.iam.names import USER
from objstore.iam_api import trees
from objstore.iam_api.job import Job, denied
from objstore.iam_api.operations.account import contexts, identity_of_arn


def _only_main_root(job: Job) -> None:
    if not job.identity.is_root or job.account != MAIN_ACCOUNT:
        raise denied(job.identity, f"iam:{job.action}", "*")


def _account(account: Account) -> dict[str, str]:
    return {
        "AccountId": account.account_id,
        "Name": account.name,
        "CanonicalId": account.canonical_id,
        "DisplayName": account.display_name,
        "Email": account.email,
    }


def _key(key: AccessKey) -> Tree:
    return {"AccessKeyId": key.access_key, "SecretAccessKey": key.secret_key}


def create_account(job: Job) -> Tree:
    """An account and its root's first access key."""
    _only_main_root(job)
    made = job.directory.create_account(
        job.given("Name"),
        account_id=job.text("AccountId"),
        display_name=job.text("DisplayName"),
        email=job.text("Email"),
    )
    key = job.directory.create_key(
        made.account_id,
        "",
        access_key=job.text("AccessKeyId"),
        secret_key=job.text("SecretAccessKey"),
    )
    return {"Account": _account(made), "AccessKey": _key(key)}


def list_accounts(job: Job) -> Tree:
    _only_main_root(job)
    return {"Accounts": [_account(each) for each in job.directory.accounts()]}


def explain(job: Job) -> Tree:
    """Whether an identity may do something with a resource, and why."""
    arn = job.given("PrincipalArn")
    job.permit(arn, "SimulatePrincipalPolicy")
    identity = ANONYMOUS if arn == "*" else identity_of_arn(job, arn)
    action, resource = job.given("ActionName"), job.given("ResourceArn")
    owner, policy = _of_bucket(job, identity, resource)
    grants = identity.grants
    context = {**contexts(job), **grants.context}
    request = Request(action, resource, grants.names, context, grants.account_names)
    found = explained(request, who_is(identity, owner), policies_of(identity, policy))
    return {
        "Decision": "allowed" if found.decision.is_allowed else "denied",
        "Text": found.text,
        "Reasons": [
            {
                "Source": each.source,
                "Policy": each.policy,
                "Statement": each.statement,
                "Effect": each.effect,
                "Why": each.why,
            }
            for each in found.reasons
        ],
    }


def _of_bucket(job: Job, identity: Identity, resource: str) -> tuple[str | None, Policy | None]:
    """The owner of the bucket in question and its policy; of anything else, neither."""
    bucket = resource.removeprefix("arn:aws:s3:::").partition("/")[0]
    if job.bucket_policy is None or bucket == resource:
        return None, None
    try:
        owner, policy = job.bucket_policy(bucket, identity)
    except NoSuchBucketError:
        return None, None
    if who_is(job.identity, owner) is Who.STRANGER:
        raise denied(job.identity, "s3:GetBucketPolicy", resource)
    return owner, None if policy is None else replace(policy, name=bucket)


def create_user_with_key(job: Job) -> Tree:
    """A user with an access key and managed policies, in any account."""
    _only_main_root(job)
    account, name = job.text("AccountId", MAIN_ACCOUNT), job.given("UserName")
    user = job.directory.create(account, USER, name, path=job.text("Path", "/"))
    for arn in job.texts("PolicyArns"):
        job.directory.attach(account, USER, name, arn)
    key = job.directory.create_key(
        account, name, access_key=job.text("AccessKeyId"), secret_key=job.text("SecretAccessKey")
    )
    return {"User": trees.user(user), "AccessKey": _key(key)}
