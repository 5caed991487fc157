"""Operations × identities × grants: who gets what, by boto3 against a running server."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.clients.endpoint import Endpoint
from tests.clients.errors import refused
from tests.clients.people import MAIN, People, policies, policy

TAGS = {"TagSet": [{"Key": "a", "Value": "b"}]}
RULE = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
CORS = {"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]}
INDEX = {"IndexDocument": {"Suffix": "index.html"}}
BLOCK = {"BlockPublicAcls": True}
DELETE = {"Objects": [{"Key": "never"}]}

# What boto3 calls it; what it takes besides the bucket; and the action that it needs, on the
# bucket, or on the object where a key is given.
OPERATIONS: list[tuple[str, dict[str, Any], str]] = [
    ("head_bucket", {}, "ListBucket"),
    ("list_objects", {}, "ListBucket"),
    ("list_objects_v2", {}, "ListBucket"),
    ("list_object_versions", {}, "ListBucketVersions"),
    ("list_multipart_uploads", {}, "ListBucketMultipartUploads"),
    ("get_bucket_location", {}, "GetBucketLocation"),
    ("get_bucket_versioning", {}, "GetBucketVersioning"),
    (
        "put_bucket_versioning",
        {"VersioningConfiguration": {"Status": "Suspended"}},
        "PutBucketVersioning",
    ),
    ("get_bucket_tagging", {}, "GetBucketTagging"),
    ("put_bucket_tagging", {"Tagging": TAGS}, "PutBucketTagging"),
    ("delete_bucket_tagging", {}, "PutBucketTagging"),
    ("get_bucket_encryption", {}, "GetEncryptionConfiguration"),
    (
        "put_bucket_encryption",
        {"ServerSideEncryptionConfiguration": {"Rules": [RULE]}},
        "PutEncryptionConfiguration",
    ),
    ("delete_bucket_encryption", {}, "PutEncryptionConfiguration"),
    ("get_bucket_cors", {}, "GetBucketCORS"),
    ("put_bucket_cors", {"CORSConfiguration": CORS}, "PutBucketCORS"),
    ("delete_bucket_cors", {}, "PutBucketCORS"),
    ("get_bucket_website", {}, "GetBucketWebsite"),
    ("put_bucket_website", {"WebsiteConfiguration": INDEX}, "PutBucketWebsite"),
    ("delete_bucket_website", {}, "DeleteBucketWebsite"),
    ("get_bucket_logging", {}, "GetBucketLogging"),
    ("put_bucket_logging", {"BucketLoggingStatus": {}}, "PutBucketLogging"),
    ("get_bucket_request_payment", {}, "GetBucketRequestPayment"),
    ("get_bucket_acl", {}, "GetBucketAcl"),
    ("get_bucket_policy", {}, "GetBucketPolicy"),
    ("get_bucket_policy_status", {}, "GetBucketPolicyStatus"),
    ("delete_bucket_policy", {}, "DeleteBucketPolicy"),
    ("get_public_access_block", {}, "GetBucketPublicAccessBlock"),
    (
        "put_public_access_block",
        {"PublicAccessBlockConfiguration": BLOCK},
        "PutBucketPublicAccessBlock",
    ),
    ("get_bucket_notification_configuration", {}, "GetBucketNotification"),
    (
        "put_bucket_notification_configuration",
        {"NotificationConfiguration": {}},
        "PutBucketNotification",
    ),
    ("get_object_lock_configuration", {}, "GetBucketObjectLockConfiguration"),
    ("get_bucket_ownership_controls", {}, "GetBucketOwnershipControls"),
    ("get_object", {"Key": "k"}, "GetObject"),
    ("head_object", {"Key": "k"}, "GetObject"),
    ("get_object_tagging", {"Key": "k"}, "GetObjectTagging"),
    ("put_object_tagging", {"Key": "k", "Tagging": TAGS}, "PutObjectTagging"),
    ("delete_object_tagging", {"Key": "k"}, "DeleteObjectTagging"),
    ("get_object_acl", {"Key": "k"}, "GetObjectAcl"),
    ("get_object_retention", {"Key": "k"}, "GetObjectRetention"),
    ("get_object_legal_hold", {"Key": "k"}, "GetObjectLegalHold"),
    ("put_object", {"Key": "new", "Body": b"x"}, "PutObject"),
    ("delete_object", {"Key": "new"}, "DeleteObject"),
    ("delete_objects", {"Delete": DELETE}, "DeleteObject"),
    ("create_multipart_upload", {"Key": "parts"}, "PutObject"),
    (
        "upload_part",
        {"Key": "parts", "UploadId": "x", "PartNumber": 1, "Body": b"x"},
        "PutObject",
    ),
    ("list_parts", {"Key": "parts", "UploadId": "x"}, "ListMultipartUploadParts"),
    ("abort_multipart_upload", {"Key": "parts", "UploadId": "x"}, "AbortMultipartUpload"),
]
IDS = [name for name, _, _ in OPERATIONS]


@pytest.fixture(scope="module")
def people(endpoint: Endpoint) -> People:
    return People(endpoint)


@pytest.fixture(scope="module")
def shop(people: People) -> str:
    """A bucket with an object."""
    name = f"shop-{uuid.uuid4().hex[:12]}"
    s3 = people.client("s3")
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="k", Body=b"content")
    return name


def outcome(s3: Any, name: str, bucket: str, more: dict[str, Any]) -> str:
    """The code of the error that came of it; "" for none."""
    try:
        reply = getattr(s3, name)(Bucket=bucket, **more)
    except ClientError as error:
        code: str = error.response["Error"]["Code"]
        return "AccessDenied" if code == "403" else code
    errors = reply.get("Errors")
    return errors[0]["Code"] if errors else ""


@pytest.mark.parametrize(("name", "more", "action"), OPERATIONS, ids=IDS)
def test_one_right_is_enough_and_needed(
    people: People, shop: str, name: str, more: dict[str, Any], action: str
) -> None:
    is_of_object = "Key" in more or name == "delete_objects"
    there = f"arn:aws:s3:::{shop}/*" if is_of_object else f"arn:aws:s3:::{shop}"
    elsewhere = f"arn:aws:s3:::{shop}" if is_of_object else f"arn:aws:s3:::{shop}/*"
    grants = {
        "nothing": ("", False),
        "it": (policy(f"s3:{action}", there), True),
        "another": (policy("s3:GetLifecycleConfiguration", "*"), False),
        "it elsewhere": (policy(f"s3:{action}", elsewhere), False),
        "all": (policy("s3:*"), True),
        "all but it": (policies(policy("s3:*"), policy(f"s3:{action}", effect="Deny")), False),
        "not others": (policy("*", "*"), True),
    }
    for called, (document, allowed) in grants.items():
        _, keys = people.user(*([document] if document else []))
        code = outcome(people.client("s3", keys), name, shop, more)
        assert (code != "AccessDenied") == allowed, (called, code)


def test_copies_need_rights_on_both_ends(
    people: People, shop: str, make_bucket: Callable[[], str]
) -> None:
    target = make_bucket()
    read = policy("s3:GetObject", f"arn:aws:s3:::{shop}/*")
    write = policy("s3:PutObject", f"arn:aws:s3:::{target}/*")
    source = {"Bucket": shop, "Key": "k"}
    for documents, allowed in (((read, write), True), ((read,), False), ((write,), False)):
        s3 = people.client("s3", people.user(*documents)[1])
        code = outcome(s3, "copy_object", target, {"Key": "copy", "CopySource": source})
        assert (code != "AccessDenied") == allowed, documents
    s3 = people.client("s3", people.user(read, write)[1])
    missing = {"Key": "copy", "CopySource": {"Bucket": shop, "Key": "missing"}}
    assert outcome(s3, "copy_object", target, missing) == "AccessDenied"


def test_a_batch_is_judged_key_by_key(people: People, make_bucket: Callable[[], str]) -> None:
    bucket = make_bucket()
    root = people.client("s3")
    for key in ("mine/a", "theirs/b"):
        root.put_object(Bucket=bucket, Key=key, Body=b"x")
    _, keys = people.user(policy("s3:DeleteObject", f"arn:aws:s3:::{bucket}/mine/*"))
    reply = people.client("s3", keys).delete_objects(
        Bucket=bucket, Delete={"Objects": [{"Key": "mine/a"}, {"Key": "theirs/b"}]}
    )
    assert [each["Key"] for each in reply["Deleted"]] == ["mine/a"]
    assert [(each["Key"], each["Code"]) for each in reply["Errors"]] == [
        ("theirs/b", "AccessDenied")
    ]
    left = root.list_objects_v2(Bucket=bucket)["Contents"]
    assert [each["Key"] for each in left] == ["theirs/b"]


def test_who_may_not_list_is_told_of_no_key(people: People, shop: str) -> None:
    _, keys = people.user(policy("s3:GetObject"))
    with refused(403, "AccessDenied"):
        people.client("s3", keys).get_object(Bucket=shop, Key="missing")
    _, keys = people.user(policy("s3:GetObject"), policy("s3:ListBucket"))
    with refused(404, "NoSuchKey"):
        people.client("s3", keys).get_object(Bucket=shop, Key="missing")
    _, keys = people.user()
    with refused(403, "AccessDenied"):
        people.client("s3", keys).get_object(Bucket="nobody-has-this-bucket", Key="k")


def put_bucket_policy(people: People, bucket: str, *statements: dict[str, Any]) -> None:
    document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    people.client("s3").put_bucket_policy(Bucket=bucket, Policy=document)


def statement(bucket: str, principal: Any, action: Any, effect: str = "Allow") -> dict[str, Any]:
    return {
        "Effect": effect,
        "Principal": principal,
        "Action": action,
        "Resource": f"arn:aws:s3:::{bucket}/*",
    }


def test_a_buckets_policy_names_people(people: People, make_bucket: Callable[[], str]) -> None:
    bucket = make_bucket()
    people.client("s3").put_object(Bucket=bucket, Key="k", Body=b"x")
    ann, ann_keys = people.user()
    bob, bob_keys = people.user(policy("s3:*"))
    arn = f"arn:aws:iam::{MAIN}:user/"
    put_bucket_policy(
        people,
        bucket,
        statement(bucket, {"AWS": arn + ann}, "s3:GetObject"),
        statement(bucket, {"AWS": arn + bob}, "s3:DeleteObject", "Deny"),
    )
    people.client("s3", ann_keys).get_object(Bucket=bucket, Key="k")
    with refused(403, "AccessDenied"):
        people.client("s3", ann_keys).put_object(Bucket=bucket, Key="k", Body=b"x")
    people.client("s3", bob_keys).get_object(Bucket=bucket, Key="k")
    with refused(403, "AccessDenied"):
        people.client("s3", bob_keys).delete_object(Bucket=bucket, Key="k")
    # the account that is named leaves it to its own policies
    put_bucket_policy(people, bucket, statement(bucket, {"AWS": MAIN}, "s3:GetObject"))
    with refused(403, "AccessDenied"):
        people.client("s3", ann_keys).get_object(Bucket=bucket, Key="k")


def test_a_policy_that_shuts_everybody_out_has_a_way_out(
    people: People, make_bucket: Callable[[], str]
) -> None:
    bucket = make_bucket()
    root = people.client("s3")
    root.put_object(Bucket=bucket, Key="k", Body=b"x")
    shut = statement(bucket, "*", "s3:*", "Deny")
    shut["Resource"] = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    document = json.dumps({"Version": "2012-10-17", "Statement": shut})
    _, keys = people.user(policy("s3:*"))
    mine = people.client("s3", keys)
    with refused(403, "AccessDenied"):  # it would shut out who puts it
        mine.put_bucket_policy(Bucket=bucket, Policy=document)
    mine.put_bucket_policy(Bucket=bucket, Policy=document, ConfirmRemoveSelfBucketAccess=True)
    with refused(403, "AccessDenied"):
        mine.delete_bucket_policy(Bucket=bucket)
    with refused(403, "AccessDenied"):
        root.get_object(Bucket=bucket, Key="k")
    assert json.loads(root.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"] == shut
    root.delete_bucket_policy(Bucket=bucket)
    root.get_object(Bucket=bucket, Key="k")


def test_a_presigned_url_is_worth_what_its_signer_may_when_it_is_used(
    people: People, shop: str
) -> None:
    import urllib.error
    import urllib.request

    name, keys = people.user(policy("s3:GetObject"))
    named = {"Bucket": shop, "Key": "k"}
    url = people.client("s3", keys).generate_presigned_url("get_object", Params=named)
    with urllib.request.urlopen(url, timeout=30) as reply:
        assert reply.read() == b"content"
    people.iam.delete_user_policy(UserName=name, PolicyName="p0")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(url, timeout=30)
    people.iam.put_user_policy(
        UserName=name,
        PolicyName="only-by-header",
        PolicyDocument=policy(
            "s3:GetObject", Condition={"StringEquals": {"s3:authType": "REST-HEADER"}}
        ),
    )
    people.client("s3", keys).get_object(**named)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(url, timeout=30)


def test_conditions_on_what_a_request_says(people: People, make_bucket: Callable[[], str]) -> None:
    bucket = make_bucket()
    root = people.client("s3")
    root.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="team=a")
    name, keys = people.user(
        policy("s3:GetObject", Condition={"StringEquals": {"s3:ExistingObjectTag/team": "a"}}),
        policy("s3:ListBucket", Condition={"StringLike": {"s3:prefix": "home/${aws:username}/*"}}),
        policy(
            "s3:PutObject",
            Condition={"StringEquals": {"s3:x-amz-server-side-encryption": "AES256"}},
        ),
        policy("s3:DeleteObject", Condition={"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}),
        policy("s3:GetObjectTagging", Condition={"Bool": {"aws:SecureTransport": "true"}}),
    )
    s3 = people.client("s3", keys)
    s3.get_object(Bucket=bucket, Key="k")
    root.put_object_tagging(
        Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": "team", "Value": "b"}]}
    )
    s3.list_objects_v2(Bucket=bucket, Prefix=f"home/{name}/x")
    s3.put_object(Bucket=bucket, Key="new", ServerSideEncryption="AES256")
    for call, more in (
        (s3.get_object, {"Key": "k"}),
        (s3.list_objects_v2, {"Prefix": "home/other/"}),
        (s3.list_objects_v2, {}),
        (s3.put_object, {"Key": "new"}),
        (s3.delete_object, {"Key": "k"}),
        (s3.get_object_tagging, {"Key": "k"}),
    ):
        with refused(403, "AccessDenied"):
            call(Bucket=bucket, **more)
