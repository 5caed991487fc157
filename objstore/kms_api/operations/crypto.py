"""What keys are for: encrypt, decrypt, data keys."""

from __future__ import annotations

import base64
from typing import Final

from objstore.errors import CorruptionError, KeyNotFoundError
from objstore.kms_api.errors import KmsError, invalid
from objstore.kms_api.operation import Document, Job, Operation
from objstore.kms_api.operations.keys import ALGORITHM
from objstore.kms_api.request import MAX_CIPHERTEXT_BYTES, MAX_PLAINTEXT_BYTES

_DATA_KEY_BYTES: Final = {"AES_256": 32, "AES_128": 16}
_MAX_DATA_KEY_BYTES: Final = 1024
_REFUSED: Final = ("GrantTokens", "Recipient")


def encrypt(job: Job) -> Document:
    """Encrypt."""
    members = job.members
    members.only("EncryptionAlgorithm", ALGORITHM)
    arn = job.service.resolve(members.key_id())
    plaintext, context = members.blob("Plaintext", MAX_PLAINTEXT_BYTES), members.context()
    sealed = job.service.wrap(arn, plaintext, context)
    _end_dry_run(job)
    return {"CiphertextBlob": _text(sealed), "KeyId": arn, "EncryptionAlgorithm": ALGORITHM}


def decrypt(job: Job) -> Document:
    """Decrypt; KeyId, where it is given, has to be the key that encrypted."""
    members = job.members
    members.only("EncryptionAlgorithm", ALGORITHM)
    plaintext, arn = _decrypt(job, members.context(), "KeyId")
    _end_dry_run(job)
    return {"Plaintext": _text(plaintext), "KeyId": arn, "EncryptionAlgorithm": ALGORITHM}


def re_encrypt(job: Job) -> Document:
    """ReEncrypt: from one key or context to another; the plaintext stays here."""
    members = job.members
    members.only("SourceEncryptionAlgorithm", ALGORITHM)
    members.only("DestinationEncryptionAlgorithm", ALGORITHM)
    destination = job.service.resolve(members.key_id("DestinationKeyId"))
    context = members.context("DestinationEncryptionContext")
    plaintext, source = _decrypt(job, members.context("SourceEncryptionContext"), "SourceKeyId")
    sealed = job.service.wrap(destination, plaintext, context)
    _end_dry_run(job)
    return {
        "CiphertextBlob": _text(sealed),
        "SourceKeyId": source,
        "KeyId": destination,
        "SourceEncryptionAlgorithm": ALGORITHM,
        "DestinationEncryptionAlgorithm": ALGORITHM,
    }


def data_key(job: Job) -> Document:
    """GenerateDataKey."""
    plaintext, document = _data_key(job)
    return {"Plaintext": _text(plaintext), **document}


def data_key_without_plaintext(job: Job) -> Document:
    """GenerateDataKeyWithoutPlaintext."""
    return _data_key(job)[1]


def _data_key(job: Job) -> tuple[bytes, Document]:
    """A data key, and the document that has it encrypted."""
    members = job.members
    arn = job.service.resolve(members.key_id())
    length = members.choice("KeySpec", _DATA_KEY_BYTES)
    if (length is None) is not members.has("NumberOfBytes"):
        raise invalid("Either KeySpec or NumberOfBytes has to be given, and not both.")
    if length is None:
        length = members.integer("NumberOfBytes", least=1, most=_MAX_DATA_KEY_BYTES, default=0)
    plaintext = job.entropy.token_bytes(length)
    sealed = job.service.wrap(arn, plaintext, members.context())
    _end_dry_run(job)
    return plaintext, {"CiphertextBlob": _text(sealed), "KeyId": arn}


def _decrypt(job: Job, context: bytes, key_member: str) -> tuple[bytes, str]:
    """The plaintext of CiphertextBlob, and the ARN of the key that encrypted it."""
    sealed = job.members.blob("CiphertextBlob", MAX_CIPHERTEXT_BYTES)
    expected = ""
    if job.members.has(key_member):
        expected = job.service.resolve(job.members.key_id(key_member))
    try:
        arn = job.service.key_of(sealed)
        if expected and arn != expected:
            raise KmsError("IncorrectKeyException", f"{key_member} is not the key that encrypted.")
        return job.service.unwrap(sealed, context), arn
    except (CorruptionError, KeyNotFoundError):
        # Not which of the two: it would tell a forger how far they got.
        raise KmsError("InvalidCiphertextException", "This cannot be decrypted.") from None


def _end_dry_run(job: Job) -> None:
    """All is well; who only wanted to know that is told so."""
    if job.members.is_dry_run():
        raise KmsError(
            "DryRunOperationException", "It would have succeeded, but DryRun was asked for."
        )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


_DATA_KEY_MEMBERS: Final = ("KeyId", "EncryptionContext", "KeySpec", "NumberOfBytes", "DryRun")

OPERATIONS: Final = (
    Operation(
        "Encrypt",
        encrypt,
        ("KeyId", "Plaintext", "EncryptionContext", "EncryptionAlgorithm", "DryRun"),
        refused=("GrantTokens",),
    ),
    Operation(
        "Decrypt",
        decrypt,
        ("CiphertextBlob", "EncryptionContext", "KeyId", "EncryptionAlgorithm", "DryRun"),
        refused=(*_REFUSED, "DryRunModifiers"),
    ),
    Operation(
        "ReEncrypt",
        re_encrypt,
        (
            *("CiphertextBlob", "SourceEncryptionContext", "SourceKeyId", "DestinationKeyId"),
            *("DestinationEncryptionContext", "SourceEncryptionAlgorithm"),
            *("DestinationEncryptionAlgorithm", "DryRun"),
        ),
        refused=("GrantTokens", "DryRunModifiers"),
    ),
    Operation("GenerateDataKey", data_key, _DATA_KEY_MEMBERS, refused=_REFUSED),
    Operation(
        "GenerateDataKeyWithoutPlaintext",
        data_key_without_plaintext,
        _DATA_KEY_MEMBERS,
        refused=("GrantTokens",),
    ),
)
