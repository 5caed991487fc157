"""IAM and STS by boto3 and by the `aws` command, against a server with two workers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.clients.endpoint import Endpoint
from tests.clients.errors import refused
from tests.clients.people import MAIN, People, keys_of, policy

READ = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"


@pytest.fixture(scope="module")
def people(endpoint: Endpoint) -> People:
    return People(endpoint)


def trust(principal: Any, action: Any = "sts:AssumeRole", **more: Any) -> str:
    statement = {"Effect": "Allow", "Principal": principal, "Action": action, **more}
    return json.dumps({"Version": "2012-10-17", "Statement": statement})


def arn(kind: str, name: str) -> str:
    return f"arn:aws:iam::{MAIN}:{kind}/{name}"


def test_the_root_is_told_that_it_is(people: People) -> None:
    assert people.iam.get_user()["User"]["Arn"] == f"arn:aws:iam::{MAIN}:root"
    caller = people.client("sts").get_caller_identity()
    assert (caller["Account"], caller["Arn"]) == (MAIN, f"arn:aws:iam::{MAIN}:root")


def test_a_user_from_its_first_day_to_its_last(people: People) -> None:
    iam = people.iam
    made = iam.create_user(UserName="zoe", Path="/team/", Tags=[{"Key": "role", "Value": "dev"}])[
        "User"
    ]
    assert made["Arn"] == arn("user/team", "zoe")
    assert made["Tags"] == [{"Key": "role", "Value": "dev"}]
    with refused(409, "EntityAlreadyExists"):
        iam.create_user(UserName="Zoe")
    iam.tag_user(UserName="zoe", Tags=[{"Key": "role", "Value": "ops"}])
    assert iam.list_user_tags(UserName="zoe")["Tags"] == [{"Key": "role", "Value": "ops"}]
    iam.untag_user(UserName="zoe", TagKeys=["role"])
    iam.create_group(GroupName="team")
    iam.add_user_to_group(GroupName="team", UserName="zoe")
    assert [g["GroupName"] for g in iam.list_groups_for_user(UserName="zoe")["Groups"]] == ["team"]
    assert [u["UserName"] for u in iam.get_group(GroupName="team")["Users"]] == ["zoe"]
    iam.attach_group_policy(GroupName="team", PolicyArn=READ)
    iam.put_group_policy(GroupName="team", PolicyName="p", PolicyDocument=policy("s3:Put*"))
    got = iam.get_group_policy(GroupName="team", PolicyName="p")
    assert got["PolicyDocument"] == json.loads(policy("s3:Put*"))
    assert iam.list_group_policies(GroupName="team")["PolicyNames"] == ["p"]
    keys = [iam.create_access_key(UserName="zoe")["AccessKey"] for _ in range(2)]
    assert {key["Status"] for key in keys} == {"Active"}
    with refused(409, "LimitExceeded"):
        iam.create_access_key(UserName="zoe")
    mine = people.client("iam", (keys[0]["AccessKeyId"], keys[0]["SecretAccessKey"]))
    with refused(403, "AccessDenied"):
        mine.get_user()
    own = policy("iam:*AccessKey*", "arn:aws:iam::*:user/team/${aws:username}")
    iam.put_user_policy(UserName="zoe", PolicyName="own", PolicyDocument=own)
    listed = mine.list_access_keys()["AccessKeyMetadata"]
    assert {key["AccessKeyId"] for key in listed} == {key["AccessKeyId"] for key in keys}
    assert all("SecretAccessKey" not in key for key in listed)
    mine.update_access_key(AccessKeyId=keys[1]["AccessKeyId"], Status="Inactive")
    mine.delete_access_key(AccessKeyId=keys[1]["AccessKeyId"])
    with refused(404, "NoSuchEntity"):
        mine.delete_access_key(AccessKeyId=keys[1]["AccessKeyId"])
    used = iam.get_access_key_last_used(AccessKeyId=keys[0]["AccessKeyId"])
    assert used["UserName"] == "zoe"
    with refused(409, "DeleteConflict"):
        iam.delete_user(UserName="zoe")
    with refused(409, "DeleteConflict"):
        iam.delete_group(GroupName="team")
    iam.update_user(UserName="zoe", NewUserName="zoey", NewPath="/")
    iam.delete_access_key(UserName="zoey", AccessKeyId=keys[0]["AccessKeyId"])
    iam.delete_user_policy(UserName="zoey", PolicyName="own")
    iam.remove_user_from_group(GroupName="team", UserName="zoey")
    iam.delete_user(UserName="zoey")
    iam.delete_group_policy(GroupName="team", PolicyName="p")
    iam.detach_group_policy(GroupName="team", PolicyArn=READ)
    iam.delete_group(GroupName="team")
    with refused(404, "NoSuchEntity"):
        iam.get_user(UserName="zoey")


def test_lists_come_in_pages(people: People) -> None:
    for number in range(7):
        people.iam.create_user(UserName=f"paged{number}", Path="/paged/")
    pages = people.iam.get_paginator("list_users").paginate(
        PathPrefix="/paged/", PaginationConfig={"PageSize": 3}
    )
    sizes, names = [], []
    for page in pages:
        sizes.append(len(page["Users"]))
        names += [user["UserName"] for user in page["Users"]]
    assert sizes == [3, 3, 1]
    assert names == [f"paged{number}" for number in range(7)]
    with refused(400, "ValidationError"):
        people.iam.list_users(Marker="nonsense")


def test_managed_policies_have_versions(people: People) -> None:
    iam = people.iam
    made = iam.create_policy(PolicyName="mine", PolicyDocument=policy("s3:Get*"), Description="d")
    policy_arn = made["Policy"]["Arn"]
    assert policy_arn == arn("policy", "mine")
    iam.create_policy_version(
        PolicyArn=policy_arn, PolicyDocument=policy("s3:Put*"), SetAsDefault=True
    )
    listed = iam.list_policy_versions(PolicyArn=policy_arn)["Versions"]
    assert [(v["VersionId"], v["IsDefaultVersion"]) for v in listed] == [
        ("v2", True),
        ("v1", False),
    ]
    got = iam.get_policy_version(PolicyArn=policy_arn, VersionId="v1")["PolicyVersion"]
    assert got["Document"] == json.loads(policy("s3:Get*"))
    iam.set_default_policy_version(PolicyArn=policy_arn, VersionId="v1")
    with refused(409, "DeleteConflict"):
        iam.delete_policy_version(PolicyArn=policy_arn, VersionId="v1")
    iam.delete_policy_version(PolicyArn=policy_arn, VersionId="v2")
    name, _ = people.user()
    iam.attach_user_policy(UserName=name, PolicyArn=policy_arn)
    attached = iam.list_attached_user_policies(UserName=name)["AttachedPolicies"]
    assert attached == [{"PolicyName": "mine", "PolicyArn": policy_arn}]
    entities = iam.list_entities_for_policy(PolicyArn=policy_arn)
    assert [user["UserName"] for user in entities["PolicyUsers"]] == [name]
    local = iam.list_policies(Scope="Local", OnlyAttached=True)["Policies"]
    assert [(p["PolicyName"], p["AttachmentCount"]) for p in local] == [("mine", 1)]
    with refused(409, "DeleteConflict"):
        iam.delete_policy(PolicyArn=policy_arn)
    iam.detach_user_policy(UserName=name, PolicyArn=policy_arn)
    iam.delete_policy(PolicyArn=policy_arn)
    with refused(404, "NoSuchEntity"):
        iam.get_policy(PolicyArn=policy_arn)
    with refused(403, "AccessDenied"):
        iam.delete_policy(PolicyArn=READ)


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ("{", "Json"),
        ('{"Statement": {"Effect": "Allow"}}', "Action"),
        ('{"Statement": {"Effect": "Maybe", "Action": "*", "Resource": "*"}}', "Maybe"),
        ('{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*", "X": 1}}', "X"),
        (trust("*"), "principal"),
        (policy("s3:*", Condition={"Sounds": {"a": "b"}}), "Sounds"),
    ],
)
def test_what_is_no_policy_is_refused_by_its_fault(
    people: People, document: str, told: str
) -> None:
    name, _ = people.user()
    with refused(400, "MalformedPolicyDocument") as error:
        people.iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=document)
    assert told in error.response["Error"]["Message"]
    assert people.iam.list_user_policies(UserName=name)["PolicyNames"] == []


def test_what_is_not_offered_says_so(people: People) -> None:
    with refused(501, "NotImplemented") as error:
        people.iam.create_login_profile(UserName="x", Password="y")
    assert "CreateLoginProfile" in error.response["Error"]["Message"]
    with refused(501, "NotImplemented"):
        people.client("sts").decode_authorization_message(EncodedMessage="x")


def test_every_action_is_for_those_who_may(people: People) -> None:
    _, keys = people.user(policy("iam:ListGroups"))
    mine = people.client("iam", keys)
    mine.list_groups()
    for call, named in (
        (mine.list_users, {}),
        (mine.list_roles, {}),
        (mine.list_policies, {}),
        (mine.get_account_summary, {}),
        (mine.get_account_authorization_details, {}),
        (mine.create_user, {"UserName": "x"}),
        (mine.create_role, {"RoleName": "x", "AssumeRolePolicyDocument": trust("*")}),
        (mine.create_policy, {"PolicyName": "x", "PolicyDocument": policy("*")}),
        (mine.attach_user_policy, {"UserName": "x", "PolicyArn": READ}),
        (mine.create_access_key, {}),
        (mine.get_policy, {"PolicyArn": READ}),
        (mine.simulate_custom_policy, {"PolicyInputList": ["{}"], "ActionNames": ["s3:GetObject"]}),
    ):
        with refused(403, "AccessDenied"):
            call(**named)


# STS.


def test_a_role_is_assumed_by_those_it_trusts(people: People, bucket: str) -> None:
    iam = people.iam
    name, keys = people.user()
    other, other_keys = people.user()
    role = arn("role", "writer")
    iam.create_role(
        RoleName="writer",
        AssumeRolePolicyDocument=trust(
            {"AWS": arn("user", name)}, Condition={"StringEquals": {"sts:ExternalId": "x1"}}
        ),
        MaxSessionDuration=7200,
    )
    iam.put_role_policy(
        RoleName="writer",
        PolicyName="p",
        PolicyDocument=policy(["s3:PutObject", "s3:GetObject"], f"arn:aws:s3:::{bucket}/*"),
    )
    sts = people.client("sts", keys)
    named = {"RoleArn": role, "RoleSessionName": "run-7"}
    with refused(403, "AccessDenied"):
        sts.assume_role(**named)
    with refused(403, "AccessDenied"):
        people.client("sts", other_keys).assume_role(**named, ExternalId="x1")
    with refused(403, "AccessDenied"):
        sts.assume_role(RoleArn=arn("role", "nothing"), RoleSessionName="run", ExternalId="x1")
    with refused(400, "ValidationError"):
        sts.assume_role(**named, ExternalId="x1", DurationSeconds=7201)
    made = sts.assume_role(
        **named, ExternalId="x1", Policy=policy("s3:PutObject"), DurationSeconds=7200
    )
    session = keys_of(made["Credentials"])
    caller = people.client("sts", session).get_caller_identity()
    assert caller["Arn"] == f"arn:aws:sts::{MAIN}:assumed-role/writer/run-7"
    assert caller["Arn"] == made["AssumedRoleUser"]["Arn"]
    s3 = people.client("s3", session)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    with refused(403, "AccessDenied"):  # the role might, this session not
        s3.get_object(Bucket=bucket, Key="k")
    whole = keys_of(sts.assume_role(**named, ExternalId="x1")["Credentials"])
    assert people.client("s3", whole).get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    with refused(400, "InvalidToken"):
        people.client("s3", (*whole[:2], "no" + whole[2])).get_object(Bucket=bucket, Key="k")
    with refused(400, "InvalidToken"):
        people.client("s3", whole[:2]).get_object(Bucket=bucket, Key="k")
    iam.delete_role_policy(RoleName="writer", PolicyName="p")
    with refused(403, "AccessDenied"):
        people.client("s3", whole).get_object(Bucket=bucket, Key="k")
    iam.delete_role(RoleName="writer")
    with refused(403, "InvalidAccessKeyId"):
        people.client("s3", whole).get_object(Bucket=bucket, Key="k")
    assert other


def test_an_account_that_is_trusted_leaves_it_to_its_policies(people: People) -> None:
    role = arn("role", "shared")
    people.iam.create_role(RoleName="shared", AssumeRolePolicyDocument=trust({"AWS": MAIN}))
    named = {"RoleArn": role, "RoleSessionName": "run"}
    _, without = people.user()
    with refused(403, "AccessDenied"):
        people.client("sts", without).assume_role(**named)
    _, may = people.user(policy("sts:AssumeRole", role))
    people.client("sts", may).assume_role(**named)
    _, denied = people.user(policy("sts:*"), policy("sts:AssumeRole", role, "Deny"))
    with refused(403, "AccessDenied"):
        people.client("sts", denied).assume_role(**named)
    people.client("sts").assume_role(**named)
    people.iam.delete_role(RoleName="shared")


def test_sessions_of_ones_own(people: People, bucket: str) -> None:
    _, keys = people.user(policy("s3:ListBucket"), policy("sts:GetFederationToken"))
    sts = people.client("sts", keys)
    own = keys_of(sts.get_session_token(DurationSeconds=900)["Credentials"])
    people.client("s3", own).list_objects_v2(Bucket=bucket)
    with refused(403, "AccessDenied"):
        people.client("sts", own).get_session_token()
    made = sts.get_federation_token(Name="guest", Policy=policy(["s3:ListBucket", "s3:PutObject"]))
    assert made["FederatedUser"]["Arn"] == f"arn:aws:sts::{MAIN}:federated-user/guest"
    guest = people.client("s3", keys_of(made["Credentials"]))
    guest.list_objects_v2(Bucket=bucket)
    with refused(403, "AccessDenied"):
        guest.put_object(Bucket=bucket, Key="k")
    nothing = keys_of(sts.get_federation_token(Name="guest")["Credentials"])
    with refused(403, "AccessDenied"):
        people.client("s3", nothing).list_objects_v2(Bucket=bucket)
    with refused(403, "AccessDenied"):
        people.client("sts", people.user()[1]).get_federation_token(Name="guest")


def test_simulations(people: People) -> None:
    name, _ = people.user(policy("s3:Get*", "arn:aws:s3:::b/open/*"))
    source = arn("user", name)
    found = people.iam.simulate_principal_policy(
        PolicySourceArn=source,
        ActionNames=["s3:GetObject", "s3:PutObject"],
        ResourceArns=["arn:aws:s3:::b/open/x", "arn:aws:s3:::b/shut/x"],
        PolicyInputList=[policy("s3:PutObject", effect="Deny")],
    )["EvaluationResults"]
    assert [
        (r["EvalActionName"], r["EvalResourceName"][-6:], r["EvalDecision"]) for r in found
    ] == [
        ("s3:GetObject", "open/x", "allowed"),
        ("s3:GetObject", "shut/x", "implicitDeny"),
        ("s3:PutObject", "open/x", "explicitDeny"),
        ("s3:PutObject", "shut/x", "explicitDeny"),
    ]
    conditional = policy("s3:Get*", Condition={"StringEquals": {"aws:Referer": "here"}})
    context = {"ContextKeyName": "aws:referer", "ContextKeyType": "string"}
    for value, decision in (("here", "allowed"), ("there", "implicitDeny")):
        (result,) = people.iam.simulate_custom_policy(
            PolicyInputList=[conditional],
            ActionNames=["s3:GetObject"],
            ContextEntries=[{**context, "ContextKeyValues": [value]}],
        )["EvaluationResults"]
        assert result["EvalDecision"] == decision


def test_the_aws_command(endpoint: Endpoint) -> None:
    def aws(*arguments: str) -> Any:
        done = endpoint.aws(*arguments, "--output", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout else None

    assert aws("sts", "get-caller-identity")["Arn"].endswith(":root")
    aws("iam", "create-user", "--user-name", "cli")
    aws("iam", "attach-user-policy", "--user-name", "cli", "--policy-arn", READ)
    key = aws("iam", "create-access-key", "--user-name", "cli")["AccessKey"]
    assert aws("iam", "get-account-summary")["SummaryMap"]["Users"] >= 1
    details = aws("iam", "get-account-authorization-details", "--filter", "User")
    mine = [user for user in details["UserDetailList"] if user["UserName"] == "cli"]
    assert mine[0]["AttachedManagedPolicies"][0]["PolicyArn"] == READ
    aws("iam", "delete-access-key", "--user-name", "cli", "--access-key-id", key["AccessKeyId"])
    aws("iam", "detach-user-policy", "--user-name", "cli", "--policy-arn", READ)
    aws("iam", "delete-user", "--user-name", "cli")
