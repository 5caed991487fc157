"""Keys of encrypted objects: an envelope for each object, or upload.

A random data key encrypts the bytes (`engine.frames`).  It is kept beside the object in
its `SealRow`, wrapped by a key of the key service (SSE-S3, SSE-KMS) or by the customer's
own key (SSE-C), which is never kept.

The context that binds a wrapped key says for what it was wrapped and with which encryption
context, and nothing of where the object is: a copy shares the bytes of its source and wraps
their data key anew, a rename not even that.  What binds the bytes to the key is the salt and
the tags of their frames.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from blockdev import Buffer
from objstore.config import MAX_ENCRYPTION_CONTEXT_BYTES
from objstore.engine.core import Core
from objstore.engine.frames import DATA_KEY_BYTES, SALT_BYTES, FrameSealer, stored_size
from objstore.errors import (
    CorruptionError,
    CustomerKeyMismatchError,
    CustomerKeyMissingError,
    CustomerKeyUnexpectedError,
    InvalidArgumentError,
    StoreError,
)
from objstore.index.schema import BucketBody, SealRow
from objstore.kms.model import S3_ALIAS
from objstore.model import NO_ENCRYPTION, Encryption

SETTING: Final = "encryption"
"""The bucket's setting: an encoded `Encryption` that new objects get by default."""

SSE_S3: Final = "AES256"
SSE_KMS: Final = ("aws:kms", "aws:kms:dsse")
SSE_C: Final = "SSE-C"
MANAGED: Final = (SSE_S3, *SSE_KMS)
"""What a bucket can have as its default: the keys are at hand without the customer."""

CUSTOMER_KEY_BYTES: Final = 32
MAX_KEY_ID_BYTES: Final = 2048
"""Of KMS's API: https://docs.aws.amazon.com/kms/latest/APIReference/API_DescribeKey.html"""

SEAL_BOUND_BYTES: Final = 512
"""At most what a seal takes in a record's body, besides its context."""

ETAG_BYTES: Final = 16

_CONTEXT: Final = b"objstore object v1 "
_CUSTOMER_LABEL: Final = b"objstore customer v1"
_NONCE: Final = bytes(12)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Encryption).decode


@dataclass(frozen=True, slots=True)
class StreamKey:
    """What encrypts one stream: the data key in the clear, and the stream's own salt."""

    data_key: bytes = field(repr=False)
    salt: bytes


# --- what a new object gets ---------------------------------------------------------


def default_of(bucket: BucketBody) -> Encryption:
    """The encryption of new objects that ask for none themselves."""
    setting = bucket.settings.get(SETTING)
    return _decode(setting) if setting else NO_ENCRYPTION


def encode_default(encryption: Encryption) -> bytes | None:
    """What to keep as a bucket's setting; None for none.

    Raises:
        InvalidArgumentError: nothing that new objects could get by themselves.
    """
    if not encryption:
        return None
    if encryption.algorithm not in MANAGED:
        raise InvalidArgumentError(
            f"a bucket's default encryption is one of {', '.join(MANAGED)}",
            "SSEAlgorithm",
            encryption.algorithm,
        )
    if encryption.context:
        raise InvalidArgumentError("a bucket's default has no encryption context", "context")
    _check_sizes(encryption)
    return _encode(encryption)


def wanted_of(bucket: BucketBody, asked: Encryption, customer_key: bytes = b"") -> Encryption:
    """What a new object gets: what its writer asks for, else the bucket's default.

    A customer's key alone asks for SSE-C.
    """
    if asked:
        return asked
    if customer_key:
        return Encryption(SSE_C)
    return default_of(bucket) if bucket.settings else NO_ENCRYPTION


def presumed_of(
    core: Core, bucket: str, asked: Encryption, customer_key: bytes = b""
) -> Encryption:
    """As `wanted_of`, by what is known of the bucket without a look; NO_ENCRYPTION if nothing.

    Nothing is wrong with a wrong answer but that it costs time: the commit knows better.
    """
    known = core.buckets.get(bucket)
    return NO_ENCRYPTION if known is None else wanted_of(known[1], asked, customer_key)


def try_ahead(prepare: Callable[[], object]) -> None:
    """Prepare an operation before its first commit.

    A failure is left to the commit: there may be another reason to refuse, which goes first.
    """
    with contextlib.suppress(StoreError):
        prepare()


def has_md5_etag(seal: SealRow | None) -> bool:
    """Whether the ETag of an object so encrypted is its MD5; of others it says nothing."""
    return seal is None or seal.algorithm == SSE_S3


def is_md5_etag(encryption: Encryption) -> bool:
    """As `has_md5_etag`, of an object that is known by its attributes."""
    return not encryption or encryption.algorithm == SSE_S3


def etag_of(core: Core, seal: SealRow | None, md5: bytes) -> bytes:
    """The ETag of bytes with this MD5: of SSE-KMS and SSE-C 16 random bytes instead."""
    return md5 if has_md5_etag(seal) else core.entropy.token_bytes(ETAG_BYTES)


def _check(encryption: Encryption, customer_key: bytes) -> None:
    """Raises `InvalidArgumentError` unless the two make sense together."""
    algorithm = encryption.algorithm
    if algorithm != SSE_C and algorithm not in MANAGED:
        known = ", ".join((*MANAGED, SSE_C))
        raise InvalidArgumentError(f"the encryption is one of {known}", "encryption", algorithm)
    if (algorithm == SSE_C) != bool(customer_key):
        raise InvalidArgumentError(
            "SSE-C comes with a customer's key, and no other encryption does", "customer_key"
        )
    if customer_key and len(customer_key) != CUSTOMER_KEY_BYTES:
        raise InvalidArgumentError(
            f"a customer's key has {CUSTOMER_KEY_BYTES} bytes", "customer_key"
        )
    _check_sizes(encryption)


def _check_sizes(encryption: Encryption) -> None:
    for what, argument, text, limit_bytes in (
        ("key id", "key_id", encryption.key_id, MAX_KEY_ID_BYTES),
        ("encryption context", "context", encryption.context, MAX_ENCRYPTION_CONTEXT_BYTES),
    ):
        if len(text.encode()) > limit_bytes:
            raise InvalidArgumentError(f"a {what} has at most {limit_bytes} bytes", argument)


# --- seals --------------------------------------------------------------------------


def make_seal(
    core: Core, encryption: Encryption, customer_key: bytes = b""
) -> tuple[SealRow, bytes]:
    """The seal of a new object or upload, without a salt yet; its data key in the clear.

    Raises:
        InvalidArgumentError: there is no such encryption, or the key does not go with it.
        KeyNotFoundError, KeyDisabledError, KeyStateError, KeyServiceError, StoreLockedError:
            the key cannot be used.
    """
    data_key = core.entropy.token_bytes(DATA_KEY_BYTES)
    return _wrapped(core, data_key, encryption, customer_key), data_key


def make_stream_seal(
    core: Core, encryption: Encryption, customer_key: bytes = b""
) -> tuple[SealRow, StreamKey]:
    """The seal of a new object that is one stream, and what encrypts that.

    Raises:
        StoreError: as `make_seal`.
    """
    seal, data_key = make_seal(core, encryption, customer_key)
    stream_key = new_stream(core, data_key)
    return msgspec.structs.replace(seal, salt=stream_key.salt), stream_key


def new_stream(core: Core, data_key: bytes) -> StreamKey:
    """What encrypts a new stream under a data key."""
    return StreamKey(data_key, core.entropy.token_bytes(SALT_BYTES))


def stream_of(core: Core, seal: SealRow | None, customer_key: bytes = b"") -> StreamKey | None:
    """What encrypts one more stream of an upload or object with this seal; None for none.

    Raises:
        StoreError: as `data_key_of`; CustomerKeyUnexpectedError where nothing is encrypted.
    """
    if seal is None:
        check_customer_key(None, customer_key)
        return None
    return new_stream(core, data_key_of(core, seal, customer_key))


def data_key_of(core: Core, seal: SealRow, customer_key: bytes = b"") -> bytes:
    """The data key in the clear.

    Raises:
        CustomerKeyMissingError, CustomerKeyMismatchError, CustomerKeyUnexpectedError: the
            key that came is not the one that the object was written with.
        CorruptionError: the seal was changed.
        KeyNotFoundError, KeyDisabledError, KeyStateError, KeyServiceError, StoreLockedError:
            the key cannot be used.
    """
    if seal.algorithm == SSE_C:
        if not customer_key:
            raise CustomerKeyMissingError
        return _unwrap(seal, customer_key)
    if customer_key:
        raise CustomerKeyUnexpectedError
    return core.key_service.unwrap(seal.wrapped_key, _CONTEXT + seal.context)


def check_customer_key(seal: SealRow | None, customer_key: bytes) -> None:
    """Whether the customer's key that came, or that none came, fits the object.

    The key service is not asked.

    Raises:
        CustomerKeyMissingError, CustomerKeyMismatchError, CustomerKeyUnexpectedError: it
            does not.
        CorruptionError: the seal was changed.
    """
    if seal is None or seal.algorithm != SSE_C:
        if customer_key:
            raise CustomerKeyUnexpectedError
        return
    if not customer_key:
        raise CustomerKeyMissingError
    _unwrap(seal, customer_key)


def rewrap(
    core: Core,
    seal: SealRow,
    encryption: Encryption,
    customer_key: bytes = b"",
    source_customer_key: bytes = b"",
) -> SealRow:
    """A seal for the same bytes: the same data key and salt, wrapped as `encryption` says.

    Args:
        customer_key: of the new seal; `source_customer_key`: of the one that there is.

    Raises:
        StoreError: as `data_key_of` for the one, and as `make_seal` for the other.
    """
    data_key = data_key_of(core, seal, source_customer_key)
    fresh = _wrapped(core, data_key, encryption, customer_key)
    return msgspec.structs.replace(fresh, salt=seal.salt)


def can_share(seal: SealRow | None, encryption: Encryption) -> bool:
    """Whether a copy that gets `encryption` can have the bytes, and the ETag, of an object.

    Plain bytes serve a plain copy alone; and an ETag that is no MD5 none that needs one.
    """
    if seal is None or not encryption:
        return seal is None and not encryption
    return has_md5_etag(seal) or encryption.algorithm != SSE_S3


def _wrapped(core: Core, data_key: bytes, encryption: Encryption, customer_key: bytes) -> SealRow:
    customer_key = bytes(customer_key)
    _check(encryption, customer_key)
    if encryption.algorithm == SSE_C:
        salt = core.entropy.token_bytes(SALT_BYTES)
        wrapped_key = wrap_for_customer(customer_key, salt, data_key)
        return SealRow(SSE_C, key_md5(customer_key), wrapped_key)
    is_kms = encryption.algorithm in SSE_KMS
    key_id = core.key_service.resolve(encryption.key_id or S3_ALIAS) if is_kms else ""
    context = encryption.context.encode() if is_kms else b""
    wrapped_key = core.key_service.wrap(key_id, data_key, _CONTEXT + context)
    has_bucket_key = is_kms and encryption.bucket_key
    return SealRow(encryption.algorithm, key_id, wrapped_key, b"", context, has_bucket_key)


# --- customers' keys ----------------------------------------------------------------


def key_md5(customer_key: bytes) -> str:
    """The MD5 of a customer's key in base64, by which requests name it."""
    return base64.b64encode(hashlib.md5(customer_key, usedforsecurity=False).digest()).decode()


def wrap_for_customer(customer_key: bytes, salt: bytes, data_key: bytes) -> bytes:
    """A data key wrapped by a customer's: salt, ciphertext and tag, 64 bytes.

    `salt` has 16 random bytes.  The AES key is used once, as no two salts are the same.
    """
    return salt + _cipher(customer_key, salt).encrypt(_NONCE, data_key, _CUSTOMER_LABEL)


def _unwrap(seal: SealRow, customer_key: bytes) -> bytes:
    """Raises `CustomerKeyMismatchError`, or where it is the right key, `CorruptionError`."""
    salt, ciphertext = seal.wrapped_key[:SALT_BYTES], seal.wrapped_key[SALT_BYTES:]
    try:
        return _cipher(customer_key, salt).decrypt(_NONCE, ciphertext, _CUSTOMER_LABEL)
    except InvalidTag:
        if hmac.compare_digest(key_md5(customer_key), seal.key_id):
            raise CorruptionError("the wrapped key of an object was changed") from None
        raise CustomerKeyMismatchError from None


def _cipher(customer_key: bytes, salt: bytes) -> AESGCM:
    return AESGCM(hmac.digest(customer_key, _CUSTOMER_LABEL + salt, "sha256"))


# --- streams that are there as a whole ----------------------------------------------


def sealed(stream_key: StreamKey, plain: Buffer) -> bytearray:
    """A stream in frames."""
    sealer = FrameSealer(stream_key.data_key, stream_key.salt)
    target = bytearray(stored_size(len(plain)))
    written = sealer.update_into(plain, target)
    target[written:] = sealer.finish()
    return target
