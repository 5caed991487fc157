"""Errors of the engine, each telling its caller what to do next.

No HTTP status here: `objstore.s3.errors` maps these to S3's codes.

    StoreError
    ├── NotFoundError          name something that exists
    │   ├── NoSuchBucketError
    │   ├── NoSuchKeyError
    │   ├── NoSuchVersionError
    │   ├── NoSuchSettingError
    │   ├── NoSuchPartError
    │   ├── KeyNotFoundError       of the key service
    │   └── NoSuchUploadError
    ├── ConflictError          look at the present state, then decide
    │   ├── BucketExistsError
    │   ├── BucketNotEmptyError
    │   ├── BucketStateError       the bucket's settings do not allow it
    │   ├── IsDeleteMarkerError    the version named is a delete marker
    │   ├── ObjectLockedError      wait, or lift the lock
    │   ├── AppendOffsetError      append at the object's size as it is now
    │   ├── TooManyPartsError      copy the object, then append to the copy
    │   ├── ObjectReplacedError    do it again: it was of an object that is gone
    │   │   └── SourceChangedError     copy again, when the source is at rest
    │   ├── TokenReusedError       take another client token
    │   ├── CustomerKeyError       of SSE-C; look at how the object is encrypted
    │   │   ├── CustomerKeyMissingError
    │   │   ├── CustomerKeyMismatchError
    │   │   └── CustomerKeyUnexpectedError
    │   ├── KeyDisabledError       enable the key, or use another
    │   ├── KeyStateError          the key's state does not allow it
    │   │   └── KeyPendingDeletionError    cancel its deletion, or use another
    │   └── PreconditionFailedError
    │       └── NotModifiedError
    ├── InvalidArgumentError   correct the call
    │   ├── InvalidBucketNameError
    │   ├── KeyTooLongError
    │   ├── NotAppendableError
    │   ├── RenameToItselfError
    │   ├── InvalidRangeError
    │   ├── BadDigestError
    │   ├── DigestRequiredError    send a digest along: the version would be locked
    │   ├── EntityTooLargeError
    │   ├── EntityTooSmallError
    │   ├── IncompleteBodyError
    │   ├── InvalidPartError
    │   └── InvalidPartOrderError
    └── StoreUnavailableError  the store, not the request
        ├── StoreFullError     free space, then try again; reads go on
        ├── StoreClosedError   open it again
        ├── StoreLockedError   another process is recovering or owns it; wait
        ├── StorePoisonedError a device write failed; reopen the store
        ├── KeyServiceError    put the root key or the key file back
        └── CorruptionError    bytes do not match their checksum; run `objstore check`
"""

from __future__ import annotations


class StoreError(Exception):
    """Anything the engine raises on purpose."""


class NotFoundError(StoreError):
    """What was named does not exist."""


class NoSuchBucketError(NotFoundError):
    """The bucket does not exist."""


class NoSuchKeyError(NotFoundError):
    """The bucket has no such object.

    `marker_version_id`: of the delete marker that stands in its place, if one does.
    """

    def __init__(self, message: str, marker_version_id: str = "") -> None:
        super().__init__(message)
        self.marker_version_id = marker_version_id


class NoSuchVersionError(NotFoundError):
    """The object has no such version."""

    def __init__(self, key: str, version_id: str) -> None:
        super().__init__(f"object {key!r} has no version {version_id!r}")
        self.key = key
        self.version_id = version_id


class NoSuchSettingError(NotFoundError):
    """The bucket, or the object, has no such configuration.  `setting` names it."""

    def __init__(self, setting: str) -> None:
        super().__init__(f"there is no {setting} configuration")
        self.setting = setting


class NoSuchPartError(NotFoundError):
    """The object has no part of this number."""

    def __init__(self, part_number: int, part_count: int) -> None:
        super().__init__(f"there is no part {part_number} among the object's {part_count}")
        self.part_number = part_number
        self.part_count = part_count


class NoSuchUploadError(NotFoundError):
    """The multipart upload does not exist, was completed or was aborted."""


class KeyNotFoundError(NotFoundError):
    """The key service has no such key, or not any more."""


class ConflictError(StoreError):
    """The present state of the store does not allow the operation."""


class BucketExistsError(ConflictError):
    """A bucket of this name exists already."""


class BucketNotEmptyError(ConflictError):
    """The bucket still holds objects or uploads; delete them first."""


class BucketStateError(ConflictError):
    """The bucket's settings do not allow it; such as suspending what object lock needs."""


class NoObjectLockError(BucketStateError):
    """The bucket has no object lock, so that no version in it can have one."""

    def __init__(self) -> None:
        super().__init__("Bucket is missing Object Lock Configuration")


class SettingChangedError(ConflictError):
    """Another of the bucket's settings is no longer what the change relied on; try again."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the bucket's setting {name!r} has changed meanwhile")


class IsDeleteMarkerError(ConflictError):
    """The version named is a delete marker: it can be deleted, and nothing else."""

    def __init__(self, key: str, version_id: str, modified_ms: int) -> None:
        super().__init__(f"version {version_id!r} of {key!r} is a delete marker")
        self.key = key
        self.version_id = version_id
        self.modified_ms = modified_ms


class ObjectLockedError(ConflictError):
    """A retention period or a legal hold protects the version."""


class AppendOffsetError(ConflictError):
    """The offset of an append is not the object's size; `size_bytes` is, 0 without an object."""

    def __init__(self, offset_bytes: int, size_bytes: int) -> None:
        super().__init__(f"an append at {offset_bytes} to an object of {size_bytes} bytes")
        self.offset_bytes = offset_bytes
        self.size_bytes = size_bytes


class TooManyPartsError(ConflictError):
    """The object has as many parts as one may have; each append makes one."""


class ObjectReplacedError(ConflictError):
    """The object that it was about was replaced meanwhile; nothing has happened."""


class SourceChangedError(ObjectReplacedError):
    """The source of a copy was replaced, time and again, while it was copied."""

    def __init__(self, message: str = "the source of the copy changed meanwhile") -> None:
        super().__init__(message)


class TokenReusedError(ConflictError):
    """The client token is that of an earlier request with other parameters."""


class CustomerKeyError(ConflictError):
    """A customer's key (SSE-C) is missing, wrong, or not wanted.  None names a key."""


class CustomerKeyMissingError(CustomerKeyError):
    """The object is encrypted with a customer's key, which has to come along."""

    def __init__(self) -> None:
        super().__init__("the object is encrypted with a customer's key, which did not come")


class CustomerKeyMismatchError(CustomerKeyError):
    """The object is encrypted with another customer's key than the one that came."""

    def __init__(self) -> None:
        super().__init__("the object is encrypted with another key than the one that came")


class CustomerKeyUnexpectedError(CustomerKeyError):
    """A customer's key came for an object that is not encrypted with one."""

    def __init__(self) -> None:
        super().__init__("the object is not encrypted with a customer's key")


class KeyDisabledError(ConflictError):
    """The key is disabled: it neither wraps nor unwraps."""


class KeyStateError(ConflictError):
    """The key is in a state, or of a kind, that this is not for."""


class KeyPendingDeletionError(KeyStateError):
    """The key is about to be deleted: it neither wraps nor unwraps."""


class PreconditionFailedError(ConflictError):
    """A condition did not hold.  `condition` is the header's name, such as ``If-Match``."""

    def __init__(self, condition: str) -> None:
        super().__init__(f"the condition {condition} did not hold")
        self.condition = condition


class NotModifiedError(PreconditionFailedError):
    """A read condition says that the reader's copy is current.  `info` is the object's."""

    def __init__(self, condition: str, info: object) -> None:
        super().__init__(condition)
        self.info = info


class InvalidArgumentError(StoreError, ValueError):
    """The call is wrong in itself; `argument` names the part at fault."""

    def __init__(self, message: str, argument: str = "", value: str = "") -> None:
        super().__init__(message)
        self.argument = argument
        self.value = value


class InvalidBucketNameError(InvalidArgumentError):
    """Not a bucket name: 3-63 of ``a-z 0-9 . -``, first and last alphanumeric."""


class KeyTooLongError(InvalidArgumentError):
    """The key has over 1,024 bytes of UTF-8."""


class NotAppendableError(InvalidArgumentError):
    """These bytes, or what was said with them, cannot be appended to this object."""


class EncryptionMismatchError(NotAppendableError):
    """The object is encrypted in another way than the append asks for."""

    def __init__(self) -> None:
        super().__init__("the object is encrypted in another way than the append asks for")


class RenameToItselfError(InvalidArgumentError):
    """The source of the rename is its target."""


class InvalidRangeError(InvalidArgumentError):
    """The byte range starts at or past the end.  `size_bytes` is the object's size."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"the range starts past the end of {size_bytes} bytes", "Range")
        self.size_bytes = size_bytes


class BadDigestError(InvalidArgumentError):
    """The body does not match the digest sent with it; send it again.  `algorithm` names it."""

    def __init__(self, algorithm: str, expected: str = "", computed: str = "") -> None:
        super().__init__(f"the {algorithm} of the body does not match the one sent", algorithm)
        self.algorithm = algorithm
        self.expected = expected
        self.computed = computed


class DigestRequiredError(InvalidArgumentError):
    """What is to be locked came without a digest, and nobody could put it right afterwards."""


class EntityTooLargeError(InvalidArgumentError):
    """The object or part is over its limit."""

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(f"{size_bytes} bytes are over the limit of {limit_bytes}")
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class EntityTooSmallError(InvalidArgumentError):
    """A part that is not the last has less than 5 MiB."""

    def __init__(self, size_bytes: int, limit_bytes: int, part_number: int, etag: str) -> None:
        super().__init__(f"part {part_number} has {size_bytes} bytes, the least is {limit_bytes}")
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes
        self.part_number = part_number
        self.etag = etag


class IncompleteBodyError(InvalidArgumentError):
    """The body ended before, or went on past, its declared length."""


class InvalidPartError(InvalidArgumentError):
    """A part named in the completion was not uploaded, or its ETag or checksum differs."""


class InvalidPartOrderError(InvalidArgumentError):
    """The parts named in the completion do not ascend."""


class StoreUnavailableError(StoreError):
    """The store cannot serve this now; the request itself may be fine."""


class StoreFullError(StoreUnavailableError):
    """No space left for writes.  Reads and deletes go on; freed space counts at once."""


class StoreClosedError(StoreUnavailableError):
    """The store was closed."""


class StoreLockedError(StoreUnavailableError):
    """Another process holds what this operation needs alone."""


class StorePoisonedError(StoreUnavailableError):
    """A device write or flush failed; nothing more is written until the store is reopened."""


class KeyServiceError(StoreUnavailableError):
    """The root key or the key file is missing, damaged, or cannot be used."""


class CorruptionError(StoreUnavailableError):
    """Stored bytes do not match their checksum; they were not returned."""
