"""What policies of buckets can speak of: S3's actions, and the keys of conditions.

A name that is none would be a right that nobody has, or a condition that always holds where
it is negated: so S3 refuses such a policy, and so is it here.

https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
"""

from __future__ import annotations

from typing import Final

from objstore.auth.patterns import Glob


def _names(prefix: str, names: str) -> frozenset[str]:
    return frozenset(f"{prefix}:{name}" for name in names.split())


BUCKET_ACTIONS: Final = _names(
    "s3",
    """
    CreateBucket CreateBucketMetadataTableConfiguration DeleteBucket
    DeleteBucketMetadataTableConfiguration DeleteBucketPolicy DeleteBucketWebsite
    GetAccelerateConfiguration GetAnalyticsConfiguration GetBucketAbac GetBucketAcl GetBucketCORS
    GetBucketLocation GetBucketLogging GetBucketMetadataTableConfiguration GetBucketNotification
    GetBucketObjectLockConfiguration GetBucketOwnershipControls GetBucketPolicy
    GetBucketPolicyStatus GetBucketPublicAccessBlock GetBucketRequestPayment GetBucketTagging
    GetBucketVersioning GetBucketWebsite GetEncryptionConfiguration
    GetIntelligentTieringConfiguration GetInventoryConfiguration GetLifecycleConfiguration
    GetMetricsConfiguration GetReplicationConfiguration ListBucket ListBucketMultipartUploads
    ListBucketVersions PauseReplication PutAccelerateConfiguration PutAnalyticsConfiguration
    PutBucketAbac PutBucketAcl PutBucketCORS PutBucketLogging PutBucketNotification
    PutBucketObjectLockConfiguration PutBucketOwnershipControls PutBucketPolicy
    PutBucketPublicAccessBlock PutBucketRequestPayment PutBucketTagging PutBucketVersioning
    PutBucketWebsite PutEncryptionConfiguration PutIntelligentTieringConfiguration
    PutInventoryConfiguration PutLifecycleConfiguration PutMetricsConfiguration
    PutReplicationConfiguration UpdateBucketMetadataInventoryTableConfiguration
    UpdateBucketMetadataJournalTableConfiguration
    """,
)
"""Those whose resource is a bucket."""

OBJECT_ACTIONS: Final = _names(
    "s3",
    """
    AbortMultipartUpload BypassGovernanceRetention DeleteObject DeleteObjectTagging
    DeleteObjectVersion DeleteObjectVersionTagging GetObject GetObjectAcl GetObjectAttributes
    GetObjectLegalHold GetObjectRetention GetObjectTagging GetObjectTorrent GetObjectVersion
    GetObjectVersionAcl GetObjectVersionAttributes GetObjectVersionForReplication
    GetObjectVersionTagging GetObjectVersionTorrent InitiateReplication ListMultipartUploadParts
    ObjectOwnerOverrideToBucketOwner PutObject PutObjectAcl PutObjectLegalHold PutObjectRetention
    PutObjectTagging PutObjectVersionAcl PutObjectVersionTagging ReplicateDelete ReplicateObject
    ReplicateTags RestoreObject UpdateObjectEncryption
    """,
)
"""Those whose resource is an object."""

ACTIONS: Final = BUCKET_ACTIONS | OBJECT_ACTIONS

# Of any request, whatever the action; those that end in a slash are followed by a name.
_GENERAL: Final = _names(
    "aws",
    """
    assumedroot calledvia calledviafirst calledvialast chatbotsourcearn currenttime
    ec2instancesourceprivateipv4 ec2instancesourcevpc epochtime federatedprovider
    multifactorauthage multifactorauthpresent principalaccount principalarn principalisawsservice
    principalorgid principalorgpaths principalservicename principalservicenameslist principaltag/
    principaltype referer requestedregion requesttag/ resourceaccount resourceorgid
    resourceorgpaths resourcetag/ securetransport sourceaccount sourcearn sourceidentity sourceip
    sourceorgid sourceorgpaths sourceowner sourcevpc sourcevpcarn sourcevpce tagkeys
    tokenissuetime useragent userid username viaawsservice vpceaccount vpceorgid vpceorgpaths
    vpcsourceip
    """,
) | _names(
    "s3",
    """
    accessgrantsinstancearn accesspointnetworkorigin accesspointtag/ authtype buckettag/
    dataaccesspointaccount dataaccesspointarn resourceaccount signatureage signatureversion
    tlsversion x-amz-content-sha256
    """,
)

_LISTS: Final = frozenset(("s3:ListBucket", "s3:ListBucketVersions"))
_PUT: Final = frozenset(("s3:PutObject", "s3:BypassGovernanceRetention"))
_TAGGED: Final = _PUT | {"s3:PutObjectTagging", "s3:PutObjectVersionTagging"}
_ENCRYPTED: Final = _PUT | {"s3:ReplicateObject", "s3:UpdateObjectEncryption"}
_ACLS: Final = frozenset(("s3:PutObjectAcl", "s3:PutObjectVersionAcl"))
_GRANTED: Final = _PUT | _ACLS | {"s3:CreateBucket", "s3:PutBucketAcl"}
_RETAINED: Final = frozenset(("s3:PutObject", "s3:PutObjectRetention"))
_EXISTING: Final = _names(
    "s3",
    """
    DeleteObjectTagging DeleteObjectVersionTagging GetObject GetObjectAcl GetObjectAttributes
    GetObjectTagging GetObjectVersion GetObjectVersionAcl GetObjectVersionAttributes
    GetObjectVersionTagging PutObjectAcl PutObjectTagging PutObjectVersionAcl
    PutObjectVersionTagging
    """,
)

# Of requests for some actions.
_PARTICULAR: Final = {
    "s3:prefix": _LISTS,
    "s3:delimiter": _LISTS,
    "s3:max-keys": _LISTS,
    "s3:versionid": frozenset(
        name for name in OBJECT_ACTIONS if "ObjectVersion" in name and "Replication" not in name
    ),
    "s3:existingobjecttag/": _EXISTING,
    "s3:requestobjecttag/": _TAGGED,
    "s3:requestobjecttagkeys": _TAGGED,
    "s3:if-match": frozenset(("s3:PutObject", "s3:DeleteObject")),
    "s3:if-none-match": frozenset(("s3:PutObject",)),
    "s3:objectcreationoperation": frozenset(("s3:PutObject",)),
    "s3:object-lock-mode": _RETAINED,
    "s3:object-lock-retain-until-date": _RETAINED,
    "s3:object-lock-remaining-retention-days": _RETAINED,
    "s3:object-lock-legal-hold": frozenset(("s3:PutObject", "s3:PutObjectLegalHold")),
    "s3:x-amz-acl": _GRANTED,
    "s3:x-amz-grant-full-control": _GRANTED,
    "s3:x-amz-grant-read": _GRANTED,
    "s3:x-amz-grant-read-acp": _GRANTED,
    "s3:x-amz-grant-write": _GRANTED,
    "s3:x-amz-grant-write-acp": _GRANTED,
    "s3:x-amz-copy-source": _PUT,
    "s3:x-amz-metadata-directive": _PUT,
    "s3:x-amz-server-side-encryption": _ENCRYPTED,
    "s3:x-amz-server-side-encryption-aws-kms-key-id": _ENCRYPTED,
    "s3:x-amz-server-side-encryption-customer-algorithm": _ENCRYPTED,
    "s3:x-amz-storage-class": _PUT | _ACLS,
    "s3:x-amz-website-redirect-location": _PUT,
    "s3:x-amz-object-ownership": frozenset(("s3:CreateBucket",)),
    "s3:x-amz-bucket-namespace": frozenset(("s3:CreateBucket",)),
    "s3:locationconstraint": frozenset(("s3:CreateBucket",)),
    "s3:inventoryaccessibleoptionalfields": frozenset(("s3:PutInventoryConfiguration",)),
    "s3:destinationregion": frozenset(("s3:PauseReplication",)),
    "s3:isreplicationpauserequest": frozenset(("s3:PutReplicationConfiguration",)),
}


def actions_like(pattern: str) -> frozenset[str]:
    """The actions that a policy's pattern stands for."""
    glob = Glob(pattern, has_variables=False, ignores_case=True)
    return frozenset(action for action in ACTIONS if glob.matches(action, {}))


def is_of_some(key: str, actions: frozenset[str]) -> bool | None:
    """Whether a request for some of these actions can have a condition key, given in lower case.

    None where there is no such key.
    """
    name, slash, rest = key.partition("/")
    known = name + slash
    if slash and not rest:
        return None
    if known in _GENERAL:
        return True
    wanted = _PARTICULAR.get(known)
    return None if wanted is None else not wanted.isdisjoint(actions)
