"""More situations of AWS's documentation, for people of other accounts, sessions and bounds.

Situations: https://docs.aws.amazon.com/AmazonS3/latest/userguide/example-bucket-policies.html,
https://docs.aws.amazon.com/AmazonS3/latest/userguide/amazon-s3-policy-keys.html and
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_examples.html; the policies
are the project's own.
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
EVA = "arn:aws:iam::444455556666:user/eva"
ROLE = "arn:aws:iam::111122223333:role/job"
RUN = "arn:aws:sts::111122223333:assumed-role/job/run"

M, S, N, R = Who.MEMBER, Who.STRANGER, Who.NOBODY, Who.ROOT


def statement(sid: str, effect: str, action: Any, target: Any, **more: Any) -> dict[str, Any]:
    return {"Sid": sid, "Effect": effect, "Action": action, "Resource": target, **more}


def allow(sid: str, action: Any, target: Any, **more: Any) -> dict[str, Any]:
    return statement(sid, "Allow", action, target, **more)


def deny(sid: str, action: Any, target: Any, **more: Any) -> dict[str, Any]:
    return statement(sid, "Deny", action, target, **more)


def when(operator: str, key: str, *values: str) -> dict[str, Any]:
    return {"Condition": {operator: {key: list(values)}}}


def of(*names: str) -> dict[str, Any]:
    return {"Principal": {"AWS": list(names)}}


def bucket(*statements: dict[str, Any]) -> Policy:
    listed = [each if "NotPrincipal" in each else {"Principal": "*", **each} for each in statements]
    document = {"Version": "2012-10-17", "Statement": listed}
    return parse_bucket_policy(json.dumps(document).encode(), "shop")


def user(*statements: dict[str, Any]) -> Policy:
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    return parse_identity_policy(json.dumps(document).encode())


ALL = user(allow("All", "*", "*"))
OWN = [ALL]

POLICIES: dict[str, Policies] = {
    # people of another account
    "account shared": Policies(
        OWN, bucket(allow("Shared", ["s3:GetObject"], O, **of("444455556666")))
    ),
    "account shared, nothing of its own": Policies(
        [], bucket(allow("Shared", ["s3:GetObject"], O, **of("444455556666")))
    ),
    "user shared": Policies(OWN, bucket(allow("Eva", "s3:*Object", O, **of(EVA)))),
    "uploads that give all to the owner": Policies(
        OWN,
        bucket(
            allow("Put", "s3:PutObject", O, **of("444455556666")),
            deny(
                "NotWithout",
                "s3:PutObject",
                O,
                **of("444455556666"),
                **when("StringNotEquals", "s3:x-amz-acl", "bucket-owner-full-control"),
            ),
        ),
    ),
    "all but one account": Policies(
        OWN,
        bucket(
            deny(
                "Others",
                "s3:*",
                [B, O],
                **when("StringNotEquals", "aws:PrincipalAccount", "111122223333"),
            ),
            allow("Any", "s3:GetObject", O),
        ),
    ),
    "an organisation": Policies(
        OWN,
        bucket(
            allow("Org", "s3:GetObject", O, **when("StringEquals", "aws:PrincipalOrgID", "o-1"))
        ),
    ),
    # networks and how one comes
    "through an endpoint alone": Policies(
        OWN,
        bucket(
            deny("Elsewhere", "s3:*", [B, O], **when("StringNotEquals", "aws:SourceVpce", "vpce-1"))
        ),
    ),
    "from a network, twice": Policies(
        OWN,
        bucket(
            allow(
                "Near",
                ["s3:GetObject", "s3:ListBucket"],
                [B, O],
                **when("IpAddress", "aws:SourceIp", "203.0.113.0/25"),
            )
        ),
    ),
    "new TLS": Policies(
        OWN, bucket(deny("Old", "s3:*", [B, O], **when("NumericLessThan", "s3:TlsVersion", "1.2")))
    ),
    "no links": Policies(
        OWN,
        bucket(deny("Links", "s3:*", O, **when("StringNotEquals", "s3:authType", "REST-HEADER"))),
    ),
    "links for ten minutes": Policies(
        OWN,
        bucket(deny("Old", "s3:*", O, **when("NumericGreaterThan", "s3:signatureAge", "600000"))),
    ),
    # what is written
    "one key of KMS": Policies(
        OWN,
        bucket(
            deny(
                "OtherKey",
                "s3:PutObject",
                O,
                **when(
                    "StringNotEqualsIfExists",
                    "s3:x-amz-server-side-encryption-aws-kms-key-id",
                    "arn:k",
                ),
            )
        ),
    ),
    "cheap storage": Policies(
        [
            user(
                allow(
                    "Cheap",
                    "s3:PutObject",
                    O,
                    **when("StringEquals", "s3:x-amz-storage-class", "STANDARD_IA", "GLACIER"),
                )
            )
        ]
    ),
    "copies from one place": Policies(
        [
            user(
                allow("Put", "s3:PutObject", O),
                deny(
                    "Copy",
                    "s3:PutObject",
                    O,
                    **when("StringNotLikeIfExists", "s3:x-amz-copy-source", "shop/public/*"),
                ),
            )
        ]
    ),
    "never overwritten": Policies(
        OWN, bucket(deny("Blind", "s3:PutObject", O, **when("Null", "s3:if-none-match", "true")))
    ),
    "tags from a list": Policies(
        [
            user(
                allow(
                    "Put",
                    ["s3:PutObject", "s3:PutObjectTagging"],
                    O,
                    **when(
                        "ForAllValues:StringEquals", "s3:RequestObjectTagKeys", "project", "owner"
                    ),
                ),
            )
        ]
    ),
    "at least one tag": Policies(
        [
            user(
                allow(
                    "Put",
                    "s3:PutObject",
                    O,
                    **when("ForAnyValue:StringEquals", "s3:RequestObjectTagKeys", "project"),
                ),
            )
        ]
    ),
    "compliance locks": Policies(
        OWN,
        bucket(
            deny(
                "Weak",
                "s3:PutObjectRetention",
                O,
                **when("StringNotEquals", "s3:object-lock-mode", "COMPLIANCE"),
            )
        ),
    ),
    # what is listed and read
    "two hundred at a time": Policies(
        [
            user(
                allow(
                    "List",
                    "s3:ListBucket",
                    B,
                    **when("NumericLessThanEquals", "s3:max-keys", "200"),
                )
            )
        ]
    ),
    "one version": Policies(
        [
            user(
                allow(
                    "Version",
                    "s3:GetObjectVersion",
                    O,
                    **when("StringEquals", "s3:VersionId", "v7"),
                )
            )
        ]
    ),
    "own team": Policies(
        [
            user(
                allow("Team", "s3:GetObject", f"{B}/${{aws:PrincipalTag/team}}/*"),
                allow("Common", "s3:GetObject", f"{B}/${{aws:PrincipalTag/guild, 'common'}}/*"),
            )
        ]
    ),
    "matching tags": Policies(
        [
            user(
                allow(
                    "Match",
                    "s3:GetObject",
                    O,
                    **when("StringEquals", "s3:ExistingObjectTag/team", "${aws:PrincipalTag/team}"),
                )
            )
        ]
    ),
    # NotAction, NotResource, NotPrincipal
    "all but settings": Policies(
        [
            user(
                {
                    "Sid": "Data",
                    "Effect": "Allow",
                    "NotAction": ["s3:Put*Policy", "s3:DeleteBucket*"],
                    "Resource": [B, O],
                }
            )
        ]
    ),
    "all but secrets": Policies(
        [
            user(
                {
                    "Sid": "Open",
                    "Effect": "Allow",
                    "Action": "s3:*",
                    "NotResource": [f"{B}/secret/*", B],
                }
            )
        ]
    ),
    "nobody but ann": Policies(
        OWN,
        bucket(
            {
                "Sid": "Others",
                "Effect": "Deny",
                "Action": "s3:*",
                "Resource": O,
                "NotPrincipal": {"AWS": [ANN, "111122223333"]},
            },
            allow("Any", "s3:GetObject", O),
        ),
    ),
    # bounds
    "bounded reads": Policies(OWN, boundary=user(allow("Read", "s3:Get*", "*"))),
    "bounded, bucket names the user": Policies(
        [], bucket(allow("Ann", "s3:PutObject", O, **of(ANN))), user(allow("Read", "s3:Get*", "*"))
    ),
    "a role's session": Policies(
        [user(allow("Job", "s3:*", O))],
        bucket(
            allow("Role", "s3:GetObjectTagging", O, **of(ROLE)),
            allow("Run", "s3:GetObjectAcl", O, **of(RUN)),
        ),
        session=user(allow("Some", ["s3:GetObject"], f"{B}/job/*")),
        session_names=frozenset((f"AWS:{RUN}",)),
    ),
    "other actions of a service": Policies(
        [user(allow("Ec2", "ec2:*", "*"), deny("NoS3", "s3:*", "*"))]
    ),
    "question marks": Policies([user(allow("Years", "s3:GetObject", f"{B}/20??/*.csv"))]),
    "office hours": Policies(
        [
            user(
                allow(
                    "Hours",
                    "s3:*",
                    O,
                    Condition={
                        "DateGreaterThan": {"aws:CurrentTime": "2026-11-27T08:00:00Z"},
                        "DateLessThan": {"aws:CurrentTime": "2026-11-27T18:00:00Z"},
                    },
                )
            )
        ]
    ),
    "epochs": Policies(
        [
            user(
                allow(
                    "After", "s3:*", O, **when("NumericGreaterThan", "aws:EpochTime", "1795000000")
                )
            )
        ]
    ),
    "names in any case": Policies(
        [
            user(
                allow(
                    "Names",
                    "s3:*",
                    O,
                    **when("StringEqualsIgnoreCase", "aws:username", "ANN", "Bob"),
                )
            )
        ]
    ),
}

ACL = "s3:x-amz-acl"
FULL = "bucket-owner-full-control"
KEY = "s3:x-amz-server-side-encryption-aws-kms-key-id"
CLASS = "s3:x-amz-storage-class"
SOURCE = "s3:x-amz-copy-source"
TAGS = "s3:requestobjecttagkeys"
TEAM = "aws:principaltag/team"
HAS = "s3:existingobjecttag/team"
NOW = "aws:currenttime"

# situation, who, action, key ("" the bucket) → context, whether, by which statement; each row
# says of several requests.
Rows = list[tuple[Context, bool, str]]
CASES: dict[tuple[str, Who, str, str], Rows] = {
    ("account shared", S, "GetObject", "a"): [({}, True, "Shared")],
    ("account shared", S, "PutObject", "a"): [({}, False, "")],
    ("account shared", S, "ListBucket", ""): [({}, False, "")],
    ("account shared", M, "GetObject", "a"): [({}, True, "All")],
    ("account shared", N, "GetObject", "a"): [({}, False, "")],
    ("account shared", R, "PutObject", "a"): [({}, True, "")],
    ("account shared, nothing of its own", S, "GetObject", "a"): [({}, False, "")],
    ("account shared, nothing of its own", M, "GetObject", "a"): [({}, False, "")],
    ("user shared", S, "GetObject", "a"): [({}, True, "Eva")],
    ("user shared", S, "PutObject", "a"): [({}, True, "Eva")],
    ("user shared", S, "PutObjectAcl", "a"): [({}, False, "")],
    ("user shared", N, "GetObject", "a"): [({}, False, "")],
    ("uploads that give all to the owner", S, "PutObject", "a"): [
        ({ACL: FULL}, True, "Put"),
        ({ACL: "private"}, False, "NotWithout"),
        ({}, False, "NotWithout"),
    ],
    ("uploads that give all to the owner", S, "GetObject", "a"): [({ACL: FULL}, False, "")],
    ("uploads that give all to the owner", M, "PutObject", "a"): [({}, True, "All")],
    ("all but one account", M, "GetObject", "a"): [
        ({"aws:principalaccount": "111122223333"}, True, "All"),
        ({"aws:principalaccount": "444455556666"}, False, "Others"),
    ],
    ("all but one account", S, "GetObject", "a"): [
        ({"aws:principalaccount": "444455556666"}, False, "Others"),
    ],
    ("all but one account", N, "GetObject", "a"): [({}, False, "Others")],
    ("an organisation", S, "GetObject", "a"): [
        ({"aws:principalorgid": "o-1"}, True, "Org"),
        ({"aws:principalorgid": "o-2"}, False, ""),
        ({}, False, ""),
    ],
    ("an organisation", N, "GetObject", "a"): [({}, False, "")],
    ("through an endpoint alone", M, "GetObject", "a"): [
        ({"aws:sourcevpce": "vpce-1"}, True, "All"),
        ({"aws:sourcevpce": "vpce-2"}, False, "Elsewhere"),
        ({}, False, "Elsewhere"),
    ],
    ("through an endpoint alone", R, "ListBucket", ""): [
        ({"aws:sourcevpce": "vpce-1"}, True, ""),
        ({}, False, "Elsewhere"),
    ],
    ("from a network, twice", N, "GetObject", "a"): [
        ({"aws:sourceip": "203.0.113.0"}, True, "Near"),
        ({"aws:sourceip": "203.0.113.127"}, True, "Near"),
        ({"aws:sourceip": "203.0.113.128"}, False, ""),
        ({"aws:sourceip": "2001:db8::1"}, False, ""),
        ({"aws:sourceip": "not an address"}, False, ""),
        ({}, False, ""),
    ],
    ("from a network, twice", N, "ListBucket", ""): [
        ({"aws:sourceip": "203.0.113.9"}, True, "Near"),
        ({"aws:sourceip": "203.0.114.9"}, False, ""),
    ],
    ("from a network, twice", N, "PutObject", "a"): [({"aws:sourceip": "203.0.113.9"}, False, "")],
    ("new TLS", M, "GetObject", "a"): [
        ({"s3:tlsversion": "1.3"}, True, "All"),
        ({"s3:tlsversion": "1.2"}, True, "All"),
        ({"s3:tlsversion": "1.1"}, False, "Old"),
        ({}, True, "All"),
    ],
    ("no links", M, "GetObject", "a"): [
        ({"s3:authtype": "REST-HEADER"}, True, "All"),
        ({"s3:authtype": "REST-QUERY-STRING"}, False, "Links"),
        ({"s3:authtype": "POST"}, False, "Links"),
    ],
    ("no links", R, "GetObject", "a"): [({"s3:authtype": "REST-QUERY-STRING"}, False, "Links")],
    ("no links", M, "ListBucket", ""): [({"s3:authtype": "REST-QUERY-STRING"}, True, "All")],
    ("links for ten minutes", M, "GetObject", "a"): [
        ({"s3:signatureage": "0"}, True, "All"),
        ({"s3:signatureage": "600000"}, True, "All"),
        ({"s3:signatureage": "600001"}, False, "Old"),
    ],
    ("one key of KMS", M, "PutObject", "a"): [
        ({KEY: "arn:k"}, True, "All"),
        ({KEY: "arn:other"}, False, "OtherKey"),
        ({}, False, "OtherKey"),  # what does not exist counts as met, which denies
    ],
    ("one key of KMS", M, "GetObject", "a"): [({KEY: "arn:other"}, True, "All")],
    ("cheap storage", M, "PutObject", "a"): [
        ({CLASS: "STANDARD_IA"}, True, "Cheap"),
        ({CLASS: "GLACIER"}, True, "Cheap"),
        ({CLASS: "STANDARD"}, False, ""),
        ({CLASS: "glacier"}, False, ""),
        ({}, False, ""),
    ],
    ("copies from one place", M, "PutObject", "a"): [
        ({}, False, "Copy"),
        ({SOURCE: "shop/public/x"}, True, "Put"),
        ({SOURCE: "shop/public/"}, True, "Put"),
        ({SOURCE: "shop/private/x"}, False, "Copy"),
        ({SOURCE: "other/public/x"}, False, "Copy"),
    ],
    ("never overwritten", M, "PutObject", "a"): [
        ({"s3:if-none-match": "*"}, True, "All"),
        ({}, False, "Blind"),
    ],
    ("never overwritten", R, "PutObject", "a"): [({}, False, "Blind")],
    ("tags from a list", M, "PutObject", "a"): [
        ({TAGS: ("project",)}, True, "Put"),
        ({TAGS: ("project", "owner")}, True, "Put"),
        ({TAGS: ("project", "other")}, False, ""),
        ({TAGS: "owner"}, True, "Put"),
        ({}, True, "Put"),
    ],
    ("tags from a list", M, "PutObjectTagging", "a"): [
        ({TAGS: ("owner",)}, True, "Put"),
        ({TAGS: ("Owner",)}, False, ""),
    ],
    ("at least one tag", M, "PutObject", "a"): [
        ({TAGS: ("project",)}, True, "Put"),
        ({TAGS: ("other", "project")}, True, "Put"),
        ({TAGS: ("other",)}, False, ""),
        ({}, False, ""),
    ],
    ("compliance locks", M, "PutObjectRetention", "a"): [
        ({"s3:object-lock-mode": "COMPLIANCE"}, True, "All"),
        ({"s3:object-lock-mode": "GOVERNANCE"}, False, "Weak"),
        ({}, False, "Weak"),
    ],
    ("compliance locks", M, "PutObject", "a"): [({}, True, "All")],
    ("two hundred at a time", M, "ListBucket", ""): [
        ({"s3:max-keys": "200"}, True, "List"),
        ({"s3:max-keys": "201"}, False, ""),
        ({"s3:max-keys": "many"}, False, ""),
        ({}, False, ""),
    ],
    ("one version", M, "GetObjectVersion", "a"): [
        ({"s3:versionid": "v7"}, True, "Version"),
        ({"s3:versionid": "v8"}, False, ""),
        ({}, False, ""),
    ],
    ("one version", M, "GetObject", "a"): [({"s3:versionid": "v7"}, False, "")],
    ("own team", M, "GetObject", "blue/x"): [
        ({TEAM: "blue"}, True, "Team"),
        ({TEAM: "green"}, False, ""),
        ({TEAM: "*"}, False, ""),
        ({TEAM: "b?ue"}, False, ""),
        ({}, False, ""),
    ],
    ("own team", M, "GetObject", "common/x"): [
        ({TEAM: "blue"}, True, "Common"),
        ({"aws:principaltag/guild": "smiths"}, False, ""),
    ],
    ("own team", M, "GetObject", "smiths/x"): [
        ({"aws:principaltag/guild": "smiths"}, True, "Common"),
    ],
    ("matching tags", M, "GetObject", "a"): [
        ({TEAM: "blue", HAS: "blue"}, True, "Match"),
        ({TEAM: "blue", HAS: "green"}, False, ""),
        ({TEAM: "blue"}, False, ""),
        ({HAS: "blue"}, False, ""),
        ({}, False, ""),
    ],
    ("all but settings", M, "GetObject", "a"): [({}, True, "Data")],
    ("all but settings", M, "PutBucketTagging", ""): [({}, True, "Data")],
    ("all but settings", M, "PutBucketPolicy", ""): [({}, False, "")],
    ("all but settings", M, "DeleteBucketWebsite", ""): [({}, False, "")],
    ("all but settings", M, "DeleteBucket", ""): [({}, False, "")],
    ("all but secrets", M, "GetObject", "a"): [({}, True, "Open")],
    ("all but secrets", M, "GetObject", "secret/a"): [({}, False, "")],
    ("all but secrets", M, "GetObject", "secret"): [({}, True, "Open")],
    ("all but secrets", M, "ListBucket", ""): [({}, False, "")],
    ("nobody but ann", M, "GetObject", "a"): [({}, True, "All")],
    ("nobody but ann", S, "GetObject", "a"): [({}, False, "Others")],
    ("nobody but ann", N, "GetObject", "a"): [({}, False, "Others")],
    ("bounded reads", M, "GetObject", "a"): [({}, True, "All")],
    ("bounded reads", M, "GetBucketPolicy", ""): [({}, True, "All")],
    ("bounded reads", M, "PutObject", "a"): [({}, False, "")],
    ("bounded reads", M, "ListBucket", ""): [({}, False, "")],
    ("bounded, bucket names the user", M, "PutObject", "a"): [({}, True, "Ann")],
    ("bounded, bucket names the user", M, "GetObject", "a"): [({}, False, "")],
    ("other actions of a service", M, "GetObject", "a"): [({}, False, "NoS3")],
    ("question marks", M, "GetObject", "2026/a.csv"): [({}, True, "Years")],
    ("question marks", M, "GetObject", "2026/b/c.csv"): [({}, True, "Years")],
    ("question marks", M, "GetObject", "20/a.csv"): [({}, False, "")],
    ("question marks", M, "GetObject", "2026/a.CSV"): [({}, False, "")],
    ("question marks", M, "GetObject", "19026/a.csv"): [({}, False, "")],
    ("question marks", M, "getobject", "2026/a.csv"): [({}, True, "Years")],
    ("office hours", M, "GetObject", "a"): [
        ({NOW: "2026-11-27T12:00:00Z"}, True, "Hours"),
        ({NOW: "2026-11-27T08:00:00Z"}, False, ""),
        ({NOW: "2026-11-27T18:00:00Z"}, False, ""),
        ({NOW: "2026-11-28T12:00:00Z"}, False, ""),
        ({NOW: "2026-11-27T20:30:00+09:00"}, True, "Hours"),
        ({}, False, ""),
    ],
    ("epochs", M, "PutObject", "a"): [
        ({"aws:epochtime": "1795000001"}, True, "After"),
        ({"aws:epochtime": "1795000000"}, False, ""),
        ({"aws:epochtime": "soon"}, False, ""),
    ],
    ("names in any case", M, "GetObject", "a"): [
        ({"aws:username": "Ann"}, True, "Names"),
        ({"aws:username": "bob"}, True, "Names"),
        ({"aws:username": "carl"}, False, ""),
        ({}, False, ""),
    ],
}

SESSION: dict[tuple[str, str], tuple[bool, str]] = {
    ("GetObject", "job/1"): (True, "Job"),
    ("GetObject", "other"): (False, ""),
    ("PutObject", "job/1"): (False, ""),
    ("GetObjectTagging", "job/1"): (False, ""),  # to the role, and the session is limited
    ("GetObjectAcl", "job/1"): (True, "Run"),  # to this very session
}


def names_of(who: Who) -> tuple[frozenset[str], frozenset[str]]:
    if who is Who.NOBODY:
        return frozenset(), frozenset()
    arn, account = (EVA, "444455556666") if who is Who.STRANGER else (ANN, "111122223333")
    of_account = frozenset((f"AWS:{account}", f"AWS:arn:aws:iam::{account}:root"))
    return frozenset((f"AWS:{arn}",)), of_account


def asked(policies: Policies, who: Who, request: Request) -> tuple[bool, str]:
    if who is Who.NOBODY:
        policies = Policies(resource=policies.resource)
    decision = decide(request, who, policies)
    return decision.is_allowed, decision.statement.sid if decision.statement is not None else ""


ROWS = [
    (*where, context, allowed, sid)
    for where, rows in CASES.items()
    for context, allowed, sid in rows
]


@pytest.mark.parametrize(("situation", "who", "action", "key", "context", "allowed", "sid"), ROWS)
def test_a_situation(
    situation: str, who: Who, action: str, key: str, context: Context, allowed: bool, sid: str
) -> None:
    target = f"{B}/{key}" if key else B
    names, of_account = names_of(who)
    request = Request(f"s3:{action}", target, names, context, of_account)
    assert asked(POLICIES[situation], who, request) == (allowed, sid)


@pytest.mark.parametrize(("action", "key"), SESSION)
def test_a_session(action: str, key: str) -> None:
    names = frozenset((f"AWS:{RUN}", f"AWS:{ROLE}"))
    request = Request(f"s3:{action}", f"{B}/{key}", names)
    assert asked(POLICIES["a role's session"], M, request) == SESSION[action, key]


def test_every_situation_is_asked_of() -> None:
    assert {where[0] for where in CASES} | {"a role's session"} == set(POLICIES)
