"""The managed policies of AWS's that people attach by their ARNs.

Names and purposes are AWS's, the documents the project's own: what is not offered here needs no
statement.  https://docs.aws.amazon.com/aws-managed-policy/latest/reference/policy-list.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class AwsPolicy:
    """A managed policy of AWS's."""

    name: str
    path: str
    description: str
    document: str

    @property
    def arn(self) -> str:
        """Its ARN."""
        return f"arn:aws:iam::aws:policy{self.path}{self.name}"


def _policy(
    name: str, description: str, *statements: Mapping[str, Any], path: str = "/"
) -> AwsPolicy:
    listed = [{"Effect": "Allow", "Resource": "*", **statement} for statement in statements]
    document = json.dumps({"Version": "2012-10-17", "Statement": listed})
    return AwsPolicy(name, path, description, document)


def _allow(*actions: str) -> dict[str, Any]:
    return {"Action": list(actions)}


_READS_OF_S3: Final = ("s3:Get*", "s3:List*", "s3:Describe*", "s3-object-lambda:Get*")
_READS_OF_EC2: Final = ("ec2:Describe*", "ec2:Get*", "ec2:List*")
_READS_OF_IAM: Final = ("iam:Generate*", "iam:Get*", "iam:List*", "iam:Simulate*")

_ALL: Final = (
    _policy("AdministratorAccess", "Everything.", _allow("*")),
    _policy(
        "PowerUserAccess",
        "Everything but managing identities.",
        {"NotAction": ["iam:*", "organizations:*", "account:*"]},
        _allow("iam:ListRoles", "account:ListRegions"),
    ),
    _policy(
        "ReadOnlyAccess",
        "Reading of everything, content included.",
        _allow(
            *_READS_OF_S3,
            *_READS_OF_EC2,
            *_READS_OF_IAM,
            *("ebs:Get*", "ebs:List*", "kms:Describe*", "kms:Get*", "kms:List*"),
            *("cloudtrail:Describe*", "cloudtrail:Get*", "cloudtrail:List*", "sts:Get*"),
        ),
    ),
    _policy(
        "SecurityAudit",
        "Reading of settings, and of no content.",
        _allow(
            *("s3:GetBucket*", "s3:GetAccount*", "s3:GetEncryptionConfiguration"),
            *("s3:GetLifecycleConfiguration", "s3:GetObjectAcl", "s3:GetReplicationConfiguration"),
            *("s3:ListAllMyBuckets", "s3:ListBucket", "kms:Describe*", "kms:List*"),
            *_READS_OF_EC2,
            *_READS_OF_IAM,
        ),
    ),
    _policy("AmazonS3FullAccess", "All of S3.", _allow("s3:*", "s3-object-lambda:*")),
    _policy("AmazonS3ReadOnlyAccess", "Reading of all of S3.", _allow(*_READS_OF_S3)),
    _policy("AmazonEC2FullAccess", "All of EC2 and its volumes.", _allow("ec2:*", "ebs:*")),
    _policy("AmazonEC2ReadOnlyAccess", "Reading of EC2.", _allow(*_READS_OF_EC2)),
    _policy("IAMFullAccess", "Managing of identities.", _allow("iam:*")),
    _policy("IAMReadOnlyAccess", "Reading of identities.", _allow(*_READS_OF_IAM)),
    _policy(
        "IAMUserChangePassword",
        "A user's own password, of which there is none here.",
        {"Action": "iam:ChangePassword", "Resource": "arn:aws:iam::*:user/${aws:username}"},
        _allow("iam:GetAccountPasswordPolicy"),
    ),
    _policy(
        "AWSKeyManagementServicePowerUser",
        "Keys, but not their policies nor their end.",
        _allow(
            *("kms:CreateAlias", "kms:CreateKey", "kms:DeleteAlias", "kms:Describe*"),
            *("kms:GenerateRandom", "kms:Get*", "kms:List*", "kms:TagResource"),
            *("kms:UntagResource", "iam:ListGroups", "iam:ListRoles", "iam:ListUsers"),
        ),
    ),
    _policy("AWSCloudTrail_ReadOnlyAccess", "Reading of trails.", _allow("cloudtrail:Get*")),
    _policy(
        "ViewOnlyAccess",
        "Listing of everything, and no content.",
        _allow("s3:ListAllMyBuckets", "s3:ListBucket", "ec2:Describe*", "iam:List*", "kms:List*"),
        path="/job-function/",
    ),
)

AWS_POLICIES: Final[Mapping[str, AwsPolicy]] = {policy.arn: policy for policy in _ALL}
"""By ARN."""
