"""The situations of AWS's documentation as policies, and what each decides, by which statement.

Situations: https://docs.aws.amazon.com/AmazonS3/latest/userguide/example-bucket-policies.html and
https://docs.aws.amazon.com/AmazonS3/latest/userguide/example-policies-s3.html; the policies are
the project's own.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from objstore.auth.evaluator import Policies, Who, decide
from objstore.auth.patterns import Context
from objstore.auth.policy import Policy, Request, parse_bucket_policy, parse_identity_policy

B = "arn:aws:s3:::shop"
O = f"{B}/*"  # noqa: E741 - the objects
ANN = "arn:aws:iam::111122223333:user/ann"
NAMES = frozenset((f"AWS:{ANN}", "AWS:111122223333", "AWS:arn:aws:iam::111122223333:root"))


def statement(sid: str, effect: str, action: Any, target: Any, **more: Any) -> dict[str, Any]:
    return {"Sid": sid, "Effect": effect, "Action": action, "Resource": target, **more}


def bucket(*statements: dict[str, Any]) -> Policy:
    listed = [each if "NotPrincipal" in each else {"Principal": "*", **each} for each in statements]
    document = {"Version": "2012-10-17", "Statement": listed}
    return parse_bucket_policy(json.dumps(document).encode(), "shop")


def user(*statements: dict[str, Any]) -> Policy:
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    return parse_identity_policy(json.dumps(document).encode())


ALL = user(statement("All", "Allow", "*", "*"))
READ_ONLY = user(statement("ReadOnly", "Allow", ["s3:Get*", "s3:List*", "s3:Describe*"], "*"))

POLICIES: dict[str, Policies] = {
    "public read": Policies(resource=bucket(statement("Public", "Allow", "s3:GetObject", O))),
    "office only": Policies(
        [ALL],
        bucket(
            statement(
                "Office", "Deny", "s3:*", [B, O],
                Condition={"NotIpAddress": {"aws:SourceIp": ["192.0.2.0/24", "2001:db8::/32"]}},
            )
        ),
    ),
    "office but one": Policies(
        resource=bucket(
            statement(
                "Office", "Allow", "s3:*", O,
                Condition={
                    "IpAddress": {"aws:SourceIp": "192.0.2.0/24"},
                    "NotIpAddress": {"aws:SourceIp": "192.0.2.188/32"},
                },
            )
        )
    ),
    "tls only": Policies(
        [ALL],
        bucket(
            statement(
                "Tls", "Deny", "s3:*", [B, O],
                Condition={"Bool": {"aws:SecureTransport": "false"}},
            )
        ),
    ),
    "referers": Policies(
        resource=bucket(
            statement(
                "Pages", "Allow", "s3:GetObject", O,
                Condition={"StringLike": {"aws:Referer": ["https://www.shop.example/*"]}},
            )
        )
    ),
    "encrypted uploads": Policies(
        [ALL],
        bucket(
            statement(
                "Wrong", "Deny", "s3:PutObject", O,
                Condition={"StringNotEquals": {"s3:x-amz-server-side-encryption": "aws:kms"}},
            ),
            statement(
                "None", "Deny", "s3:PutObject", O,
                Condition={"Null": {"s3:x-amz-server-side-encryption": "true"}},
            ),
        ),
    ),
    "full control": Policies(
        resource=bucket(
            statement(
                "Upload", "Allow", "s3:PutObject", O,
                Principal={"AWS": "111122223333"},
                Condition={"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}},
            )
        )
    ),
    "second factor": Policies(
        [ALL],
        bucket(
            statement(
                "Old", "Deny", "s3:*", f"{B}/tax/*",
                Condition={"NumericGreaterThan": {"aws:MultiFactorAuthAge": 3600}},
            ),
            statement(
                "Missing", "Deny", "s3:*", f"{B}/tax/*",
                Condition={"Null": {"aws:MultiFactorAuthAge": True}},
            ),
        ),
    ),
    "home": Policies(
        [
            user(
                statement("Buckets", "Allow", "s3:ListAllMyBuckets", "*"),
                statement(
                    "Root", "Allow", "s3:ListBucket", B,
                    Condition={"StringEquals": {"s3:prefix": ["", "home/"], "s3:delimiter": "/"}},
                ),
                statement(
                    "Home", "Allow", "s3:ListBucket", B,
                    Condition={"StringLike": {"s3:prefix": "home/${aws:username}/*"}},
                ),
                statement("Files", "Allow", "s3:*", f"{B}/home/${{aws:username}}/*"),
            )
        ]
    ),
    "read only": Policies([READ_ONLY]),
    "all but deletes": Policies(
        [user(statement("Rest", "Allow", "s3:*", "*"), statement("No", "Deny", "s3:Delete*", "*"))]
    ),
    "nothing but": Policies(
        [
            user(
                {"Sid": "Others", "Effect": "Deny", "NotAction": ["s3:GetObject"], "Resource": "*"},
                {"Sid": "All", "Effect": "Allow", "Action": "s3:*", "NotResource": f"{B}/secret/*"},
            )
        ]
    ),
    "by tag": Policies(
        [
            user(
                statement(
                    "Tagged", "Allow", ["s3:GetObject", "s3:GetObjectVersion"], O,
                    Condition={"StringEquals": {"s3:ExistingObjectTag/class": "public"}},
                ),
                statement(
                    "Keys", "Allow", "s3:PutObjectTagging", O,
                    Condition={"ForAllValues:StringLike": {"s3:RequestObjectTagKeys": "mine-*"}},
                ),
            )
        ]
    ),
    "for a while": Policies(
        [
            user(
                statement(
                    "While", "Allow", "s3:GetObject", O,
                    Condition={
                        "DateGreaterThan": {"aws:CurrentTime": "2026-11-01T00:00:00Z"},
                        "DateLessThan": {"aws:CurrentTime": "2026-12-01T00:00:00Z"},
                    },
                )
            )
        ]
    ),
    "bounded": Policies([ALL], boundary=READ_ONLY),
    "session": Policies([ALL], session=user(statement("S", "Allow", "s3:*", f"{B}/job/*"))),
}  # fmt: skip
POLICIES["not him"] = Policies(
    [ALL], bucket(statement("Only", "Deny", "s3:*", [B, O], NotPrincipal={"AWS": ANN}))
)

M, N, R = Who.MEMBER, Who.NOBODY, Who.ROOT
KMS = "s3:x-amz-server-side-encryption"
MFA = "aws:multifactorauthage"
TAG = "s3:existingobjecttag/class"
TAGS = "s3:requestobjecttagkeys"
NOW = "aws:currenttime"

# situation, who, action, key ("" the bucket), context, whether, by which statement
CASES: list[tuple[str, Who, str, str, Context, bool, str]] = [
    ("public read", N, "GetObject", "a/b.html", {}, True, "Public"),
    ("public read", N, "GetObjectVersion", "a", {}, False, ""),
    ("public read", N, "PutObject", "a", {}, False, ""),
    ("public read", N, "ListBucket", "", {}, False, ""),
    ("public read", M, "GetObject", "a", {}, True, "Public"),
    ("public read", M, "DeleteObject", "a", {}, False, ""),
    ("public read", R, "DeleteObject", "a", {}, True, ""),
    ("office only", M, "GetObject", "a", {"aws:sourceip": "192.0.2.9"}, True, "All"),
    ("office only", M, "GetObject", "a", {"aws:sourceip": "2001:db8::1"}, True, "All"),
    ("office only", M, "GetObject", "a", {"aws:sourceip": "198.51.100.1"}, False, "Office"),
    ("office only", M, "ListBucket", "", {"aws:sourceip": "198.51.100.1"}, False, "Office"),
    ("office only", M, "GetObject", "a", {}, False, "Office"),
    ("office only", R, "GetObject", "a", {"aws:sourceip": "198.51.100.1"}, False, "Office"),
    ("office only", R, "GetObject", "a", {"aws:sourceip": "192.0.2.1"}, True, ""),
    ("office only", N, "GetObject", "a", {"aws:sourceip": "192.0.2.1"}, False, ""),
    ("office but one", N, "GetObject", "a", {"aws:sourceip": "192.0.2.1"}, True, "Office"),
    ("office but one", N, "PutObject", "a", {"aws:sourceip": "192.0.2.1"}, True, "Office"),
    ("office but one", N, "GetObject", "a", {"aws:sourceip": "192.0.2.188"}, False, ""),
    ("office but one", N, "GetObject", "a", {"aws:sourceip": "192.0.3.1"}, False, ""),
    ("office but one", N, "ListBucket", "", {"aws:sourceip": "192.0.2.1"}, False, ""),
    ("tls only", M, "GetObject", "a", {"aws:securetransport": "true"}, True, "All"),
    ("tls only", M, "GetObject", "a", {"aws:securetransport": "false"}, False, "Tls"),
    ("tls only", R, "PutObject", "a", {"aws:securetransport": "false"}, False, "Tls"),
    ("tls only", N, "GetObject", "a", {"aws:securetransport": "true"}, False, ""),
    ("referers", N, "GetObject", "a", {"aws:referer": "https://www.shop.example/x"}, True, "Pages"),
    ("referers", N, "GetObject", "a", {"aws:referer": "https://other.example/"}, False, ""),
    ("referers", N, "GetObject", "a", {"aws:referer": "HTTPS://www.shop.example/x"}, False, ""),
    ("referers", N, "GetObject", "a", {}, False, ""),
    ("encrypted uploads", M, "PutObject", "a", {KMS: "aws:kms"}, True, "All"),
    ("encrypted uploads", M, "PutObject", "a", {KMS: "AES256"}, False, "Wrong"),
    ("encrypted uploads", M, "PutObject", "a", {}, False, "Wrong"),
    ("encrypted uploads", M, "GetObject", "a", {}, True, "All"),
    ("full control", M, "PutObject", "a", {"s3:x-amz-acl": "bucket-owner-full-control"}, True,
     "Upload"),
    ("full control", M, "PutObject", "a", {"s3:x-amz-acl": "private"}, False, ""),
    ("full control", M, "PutObject", "a", {}, False, ""),
    ("full control", N, "PutObject", "a", {"s3:x-amz-acl": "bucket-owner-full-control"}, False, ""),
    ("second factor", M, "GetObject", "tax/2026", {MFA: "60"}, True, "All"),
    ("second factor", M, "GetObject", "tax/2026", {MFA: "3600"}, True, "All"),
    ("second factor", M, "GetObject", "tax/2026", {MFA: "3601"}, False, "Old"),
    ("second factor", M, "GetObject", "tax/2026", {}, False, "Missing"),
    ("second factor", M, "GetObject", "other", {}, True, "All"),
    ("home", M, "ListBucket", "", {"s3:prefix": "", "s3:delimiter": "/"}, True, "Root"),
    ("home", M, "ListBucket", "", {"s3:prefix": "home/", "s3:delimiter": "/"}, True, "Root"),
    ("home", M, "ListBucket", "", {"s3:prefix": "home/"}, False, ""),
    ("home", M, "ListBucket", "", {"s3:prefix": "home/ann/x"}, True, "Home"),
    ("home", M, "ListBucket", "", {"s3:prefix": "home/bob/x"}, False, ""),
    ("home", M, "GetObject", "home/ann/letter", {}, True, "Files"),
    ("home", M, "PutObject", "home/ann/letter", {}, True, "Files"),
    ("home", M, "GetObject", "home/bob/letter", {}, False, ""),
    ("home", M, "GetObject", "home/annabel/letter", {}, False, ""),
    ("home", N, "GetObject", "home/ann/letter", {}, False, ""),
    ("read only", M, "GetObject", "a", {}, True, "ReadOnly"),
    ("read only", M, "GetObjectTagging", "a", {}, True, "ReadOnly"),
    ("read only", M, "ListBucketVersions", "", {}, True, "ReadOnly"),
    ("read only", M, "PutObject", "a", {}, False, ""),
    ("read only", M, "DeleteObject", "a", {}, False, ""),
    ("all but deletes", M, "PutObject", "a", {}, True, "Rest"),
    ("all but deletes", M, "DeleteObject", "a", {}, False, "No"),
    ("all but deletes", M, "DeleteBucketPolicy", "", {}, False, "No"),
    ("all but deletes", M, "deleteobject", "a", {}, False, "No"),
    ("nothing but", M, "GetObject", "a", {}, True, "All"),
    ("nothing but", M, "GetObject", "secret/a", {}, False, ""),
    ("nothing but", M, "PutObject", "a", {}, False, "Others"),
    ("by tag", M, "GetObject", "a", {TAG: "public"}, True, "Tagged"),
    ("by tag", M, "GetObject", "a", {TAG: "secret"}, False, ""),
    ("by tag", M, "GetObject", "a", {}, False, ""),
    ("by tag", M, "PutObjectTagging", "a", {TAGS: ("mine-a", "mine-b")}, True, "Keys"),
    ("by tag", M, "PutObjectTagging", "a", {TAGS: ("mine-a", "theirs")}, False, ""),
    ("by tag", M, "PutObjectTagging", "a", {}, True, "Keys"),
    ("for a while", M, "GetObject", "a", {NOW: "2026-11-27T06:00:00Z"}, True, "While"),
    ("for a while", M, "GetObject", "a", {NOW: "2026-10-31T23:59:59Z"}, False, ""),
    ("for a while", M, "GetObject", "a", {NOW: "2026-12-01T00:00:00Z"}, False, ""),
    ("not him", M, "GetObject", "a", {}, True, "All"),
    ("not him", R, "GetObject", "a", {}, True, ""),
    ("not him", N, "GetObject", "a", {}, False, "Only"),
    ("bounded", M, "GetObject", "a", {}, True, "All"),
    ("bounded", M, "PutObject", "a", {}, False, ""),
    ("session", M, "PutObject", "job/1", {}, True, "All"),
    ("session", M, "PutObject", "other", {}, False, ""),
]  # fmt: skip


@pytest.mark.parametrize(("situation", "who", "action", "key", "context", "allowed", "sid"), CASES)
def test_a_situation(
    situation: str, who: Who, action: str, key: str, context: Context, allowed: bool, sid: str
) -> None:
    names = frozenset() if who is Who.NOBODY else NAMES
    known = {} if who is Who.NOBODY else {"aws:username": "ann"}
    target = f"{B}/{key}" if key else B
    request = Request(f"s3:{action}", target, names, {**known, **context})
    policies = POLICIES[situation]
    if who is Who.NOBODY:
        policies = Policies(resource=policies.resource)
    decision = decide(request, who, policies)
    found = decision.statement.sid if decision.statement is not None else ""
    assert (decision.is_allowed, found) == (allowed, sid), decision.source
