"""What IAM has no action for, and `objstore account` and `objstore user` need of a server.

AWS makes accounts elsewhere, and gives nobody keys of their own choice.
"""

from __future__ import annotations

from objstore.auth.keys import MAIN_ACCOUNT
from objstore.aws.xml import Tree
from objstore.iam.model import AccessKey, Account
from objstore.iam.names import USER
from objstore.iam_api import trees
from objstore.iam_api.job import Job, denied


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
