"""Accounts: made by commands and by a file, and what they have to do with each other's buckets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.endpoint import SCRIPTS, Endpoint, ServerProcess
from tests.clients.errors import refused
from tests.clients.people import MAIN, People, policy
from tests.stores import assert_whole

SHOP = "111122223333"
SHOP_KEYS = ("SHOPROOT", "shop-secret-1234")
READ = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
FILE = f"""
[[account]]
name = "shop"
id = "{SHOP}"
access_key = "SHOPROOT"
secret_key = "shop-secret-1234"

[[account.policy]]
name = "puts"
document = {{ Version = "2012-10-17", Statement = [
    {{ Effect = "Allow", Action = "s3:PutObject", Resource = "*" }} ] }}

[[account.group]]
name = "writers"
policies = ["arn:aws:iam::{SHOP}:policy/puts"]

[[account.user]]
name = "ann"
access_key = "SHOPANN"
secret_key = "ann-secret-1234"
groups = ["writers"]
policies = ["{READ}"]
tags = {{ team = "a" }}

[[account]]
name = "main"
id = "{MAIN}"

[[account.user]]
name = "bob"
access_key = "MAINBOB"
secret_key = "bob-secret-1234"
inline = {{ lists = '{policy("s3:ListAllMyBuckets")}' }}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    root = tmp_path_factory.mktemp("accounts")
    file = root / "accounts.toml"
    file.write_text(FILE)
    found = ServerProcess(root, "--accounts", str(file))
    try:
        yield found
    finally:
        found.stop()
    assert_whole(found.data)


@pytest.fixture
def people(server: ServerProcess) -> People:
    return People(server.endpoint)


def objstore(
    *arguments: str | Path, endpoint: Endpoint | None = None
) -> subprocess.CompletedProcess[str]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("OBJSTORE_", "AWS_"))}
    if endpoint is not None:
        environ["OBJSTORE_ROOT_ACCESS_KEY"] = endpoint.access_key
        environ["OBJSTORE_ROOT_SECRET_KEY"] = endpoint.secret_key
        environ["OBJSTORE_ENDPOINT"] = endpoint.url
    command: list[str | Path] = [sys.executable, SCRIPTS / "objstore", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env=environ, timeout=60, check=False
    )


def told(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_a_file_declares_is_there(people: People) -> None:
    shop = people.client("iam", SHOP_KEYS)
    assert shop.get_user()["User"]["Arn"] == f"arn:aws:iam::{SHOP}:root"
    assert [u["UserName"] for u in shop.list_users()["Users"]] == ["ann"]
    ann = people.client("sts", ("SHOPANN", "ann-secret-1234")).get_caller_identity()
    assert (ann["Account"], ann["Arn"]) == (SHOP, f"arn:aws:iam::{SHOP}:user/ann")
    s3 = people.client("s3", SHOP_KEYS)
    s3.create_bucket(Bucket="shops-own")
    mine = people.client("s3", ("SHOPANN", "ann-secret-1234"))
    mine.put_object(Bucket="shops-own", Key="k", Body=b"x")
    assert mine.get_object(Bucket="shops-own", Key="k")["Body"].read() == b"x"
    with refused(403, "AccessDenied"):
        mine.delete_object(Bucket="shops-own", Key="k")
    people.client("s3", ("MAINBOB", "bob-secret-1234")).list_buckets()


def test_an_account_sees_its_own(people: People) -> None:
    root, shop = people.client("s3"), people.client("s3", SHOP_KEYS)
    root.create_bucket(Bucket="of-main")
    shop.create_bucket(Bucket="of-shop")
    assert "of-shop" not in [b["Name"] for b in root.list_buckets()["Buckets"]]
    assert "of-main" not in [b["Name"] for b in shop.list_buckets()["Buckets"]]
    with refused(409, "BucketAlreadyExists"):
        shop.create_bucket(Bucket="of-main")
    for s3, bucket in ((root, "of-shop"), (shop, "of-main")):
        for call in (s3.list_objects_v2, s3.get_bucket_policy, s3.delete_bucket):
            with refused(403, "AccessDenied"):
                call(Bucket=bucket)
    with refused(404, "NoSuchEntity"):  # identities are the account's own
        people.client("iam", SHOP_KEYS).get_policy(PolicyArn=f"arn:aws:iam::{MAIN}:policy/x")


def test_a_bucket_is_shared_across_accounts_by_both(people: People) -> None:
    root, shop = people.client("s3"), people.client("s3", SHOP_KEYS)
    root.create_bucket(Bucket="shared")
    shared = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{SHOP}:root"},
        "Action": ["s3:GetObject", "s3:PutObject", "s3:ListBucket"],
        "Resource": ["arn:aws:s3:::shared", "arn:aws:s3:::shared/*"],
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": shared})
    root.put_bucket_policy(Bucket="shared", Policy=document)
    shop.put_object(Bucket="shared", Key="theirs", Body=b"x")
    # what is in a bucket is its owner's, whoever wrote it
    (entry,) = root.list_objects_v2(Bucket="shared", FetchOwner=True)["Contents"]
    assert entry["Owner"]["ID"] == root.list_buckets()["Owner"]["ID"]
    root.get_object(Bucket="shared", Key="theirs")
    # a user of the other account needs its own account's leave as well
    iam = people.client("iam", SHOP_KEYS)
    iam.create_user(UserName="carl")
    key = iam.create_access_key(UserName="carl")["AccessKey"]
    carl = people.client("s3", (key["AccessKeyId"], key["SecretAccessKey"]))
    with refused(403, "AccessDenied"):
        carl.get_object(Bucket="shared", Key="theirs")
    iam.put_user_policy(UserName="carl", PolicyName="p", PolicyDocument=policy("s3:GetObject"))
    carl.get_object(Bucket="shared", Key="theirs")
    with refused(403, "AccessDenied"):
        carl.put_object(Bucket="shared", Key="theirs", Body=b"x")
    root.delete_bucket_policy(Bucket="shared")
    with refused(403, "AccessDenied"):
        carl.get_object(Bucket="shared", Key="theirs")


def test_the_owner_that_is_expected_is_an_account(people: People) -> None:
    shop = people.client("s3", SHOP_KEYS)
    shop.create_bucket(Bucket="expected")
    shop.list_objects_v2(Bucket="expected", ExpectedBucketOwner=SHOP)
    for other in (MAIN, "999999999999"):
        with refused(403, "AccessDenied"):
            shop.list_objects_v2(Bucket="expected", ExpectedBucketOwner=other)
    root = people.client("s3")
    root.create_bucket(Bucket="expected-main")
    root.list_objects_v2(Bucket="expected-main", ExpectedBucketOwner=MAIN)


def test_volumes_and_keys_are_the_main_accounts(people: People) -> None:
    with refused(403, "UnauthorizedOperation"):
        people.client("ec2", SHOP_KEYS).describe_volumes()
    with refused(400, "AccessDeniedException"):
        people.client("kms", SHOP_KEYS).list_keys()
    _, keys = people.user(policy(["ec2:DescribeVolumes", "kms:ListKeys"]))
    people.client("ec2", keys).describe_volumes()
    people.client("kms", keys).list_keys()
    with refused(403, "UnauthorizedOperation"):
        people.client("ec2", keys).describe_snapshots()
    with refused(400, "AccessDeniedException"):
        people.client("kms", keys).create_key()


def test_commands_against_a_running_server(server: ServerProcess, people: People) -> None:
    endpoint = server.endpoint
    made = told(
        objstore(
            "account", "create", "books", "--email", "b@example.com", "--json", endpoint=endpoint
        )
    )
    caller = people.client("sts", (made["access_key"], made["secret_key"])).get_caller_identity()
    assert caller["Arn"] == f"arn:aws:iam::{made['account']}:root"
    given = ("--access-key", "DANKEY", "--secret-key", "dan-secret-1234", "--policy", READ)
    user = told(
        objstore(
            "user", "create", "dan", "--account", made["account"], *given, "--json",
            endpoint=endpoint,
        )
    )  # fmt: skip
    assert user["arn"] == f"arn:aws:iam::{made['account']}:user/dan"
    people.client("s3", ("DANKEY", "dan-secret-1234")).list_buckets()
    listed = told(objstore("account", "list", "--json", endpoint=endpoint))
    assert {"books", "shop"} <= {row["name"] for row in listed}
    again = objstore("account", "create", "books", endpoint=endpoint)
    assert (again.returncode, "already" in again.stderr) == (1, True)
    table = objstore("account", "list", endpoint=endpoint).stdout
    assert "books" in table
    # nobody but the main root makes accounts
    shop = Endpoint(endpoint.url, *SHOP_KEYS)
    denied = objstore("account", "create", "x", endpoint=shop)
    assert (denied.returncode, "not authorized" in denied.stderr) == (1, True)
    wrong = objstore("account", "list", endpoint=Endpoint(endpoint.url, "NOKEY", "no-secret"))
    assert wrong.returncode == 1
    assert wrong.stderr
    nobody = objstore("account", "list", "--endpoint", endpoint.url)
    assert "no keys to sign with" in nobody.stderr


def test_commands_on_a_folder_that_is_served(server: ServerProcess, people: People) -> None:
    made = told(
        objstore("user", "create", "eve", "--data", server.data, "--policy", READ, "--json")
    )
    people.client("s3", (made["access_key"], made["secret_key"])).list_buckets()
    shown = objstore("user", "create", "frank", "--data", server.data)
    assert "The secret key is shown this once." in shown.stdout


def test_commands_on_a_folder_that_is_not(tmp_path: Path) -> None:
    made = told(objstore("account", "create", "a", "--data", tmp_path, "--json"))
    assert len(made["secret_key"]) == 40
    assert len(told(objstore("account", "list", "--data", tmp_path, "--json"))) == 2
    for arguments in (
        ("account", "list"),
        ("account", "list", "--data", tmp_path / "nowhere"),
        ("account", "create", "b", "--account-id", "12", "--data", tmp_path),
        ("user", "create", "u", "--access-key", "HALFAKEY", "--data", tmp_path),
        ("user", "create", "u", "--policy", "arn:aws:iam::aws:policy/No", "--data", tmp_path),
        ("account", "list", "--endpoint", "nowhere"),
        ("account", "list", "--endpoint", "http://127.0.0.1:1"),
    ):
        failed = objstore(*arguments)
        assert failed.returncode == 1, arguments
        assert failed.stderr.startswith("objstore: "), arguments


def test_a_file_is_applied_again_and_changes_what_it_says(tmp_path: Path) -> None:
    file = tmp_path / "accounts.toml"
    file.write_text(FILE)
    first = ServerProcess(tmp_path, "--accounts", str(file))
    People(first.endpoint).client("s3", ("SHOPANN", "ann-secret-1234")).list_buckets()
    first.stop()
    changed = FILE.replace("ann-secret-1234", "new-secret-1234")
    file.write_text(changed.replace("s3:PutObject", "s3:DeleteObject"))
    second = ServerProcess(tmp_path, "--accounts", str(file))
    try:
        people = People(second.endpoint)
        with refused(403, "SignatureDoesNotMatch"):
            people.client("s3", ("SHOPANN", "ann-secret-1234")).list_buckets()
        ann = people.client("s3", ("SHOPANN", "new-secret-1234"))
        people.client("s3", SHOP_KEYS).create_bucket(Bucket="shops-own")
        ann.delete_object(Bucket="shops-own", Key="k")
        with refused(403, "AccessDenied"):
            ann.put_object(Bucket="shops-own", Key="k", Body=b"x")
        assert len(people.client("iam", SHOP_KEYS).list_users()["Users"]) == 1
    finally:
        second.stop()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("account = 1", "wrong type"),
        ("[[account]]", "name is missing"),
        ('[[account]]\nname = "a"\nnmae = "b"', "no 'nmae'"),
        ('[[account]]\nname = "a"\naccess_key = "KEY"', "go together"),
        ('[[account]]\nname = "a"\nid = "12"', "twelve digits"),
        ('[[account]]\nname = "a"\n[[account.user]]\nname = "u v"', "userName is invalid"),
        (
            '[[account]]\nname = "a"\n[[account.policy]]\nname = "p"\ndocument = "{"',
            "policy 'p': This policy contains invalid Json",
        ),
        ("[[account", "is not TOML"),
    ],
)
def test_what_a_file_cannot_say(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "accounts.toml"
    file.write_text(text)
    failed = objstore("serve", tmp_path / "data", "--port", "0", "--accounts", file)
    assert failed.returncode == 1
    assert reason in failed.stderr
