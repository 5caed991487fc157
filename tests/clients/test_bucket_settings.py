"""What tools ask of a bucket before they do anything, by boto3: nothing is answered 501."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

MISSING = {
    "get_bucket_cors": "NoSuchCORSConfiguration",
    "get_bucket_encryption": "ServerSideEncryptionConfigurationNotFoundError",
    "get_bucket_lifecycle_configuration": "NoSuchLifecycleConfiguration",
    "get_bucket_policy": "NoSuchBucketPolicy",
    "get_bucket_policy_status": "NoSuchBucketPolicy",
    "get_bucket_replication": "ReplicationConfigurationNotFoundError",
    "get_bucket_tagging": "NoSuchTagSet",
    "get_bucket_website": "NoSuchWebsiteConfiguration",
    "get_object_lock_configuration": "ObjectLockConfigurationNotFoundError",
}
NOTHING = [
    "get_bucket_accelerate_configuration",
    "get_bucket_logging",
    "get_bucket_notification_configuration",
    "get_bucket_versioning",
]


@pytest.mark.parametrize("name", MISSING)
def test_what_a_new_bucket_has_not(s3: Any, bucket: str, name: str) -> None:
    with pytest.raises(ClientError) as caught:
        getattr(s3, name)(Bucket=bucket)
    assert caught.value.response["Error"]["Code"] == MISSING[name]


@pytest.mark.parametrize("name", NOTHING)
def test_what_is_not_set(s3: Any, bucket: str, name: str) -> None:
    answer = getattr(s3, name)(Bucket=bucket)
    assert answer.keys() == {"ResponseMetadata"}


def test_what_is_so(s3: Any, bucket: str) -> None:
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
    controls = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]
    assert controls == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    s3.put_object(Bucket=bucket, Key="key", Body=b"")
    for acl in (s3.get_bucket_acl(Bucket=bucket), s3.get_object_acl(Bucket=bucket, Key="key")):
        (grant,) = acl["Grants"]
        assert grant["Permission"] == "FULL_CONTROL"
        assert grant["Grantee"] == {"Type": "CanonicalUser", "ID": acl["Owner"]["ID"]}
