"""From a call to the KMS API to its answer."""

from __future__ import annotations

import json
from typing import Final

from blockdev.clock import Clock
from objstore.auth.keys import KeyStore
from objstore.auth.service import ServiceAuthenticator
from objstore.aws.http import Call, Reply
from objstore.config import MAX_KMS_BODY_BYTES
from objstore.entropy import Entropy
from objstore.kms.service import LocalKeyService
from objstore.kms_api.errors import CONTENT_TYPE, KmsError, to_reply
from objstore.kms_api.operation import Job, Operation
from objstore.kms_api.request import Members
from objstore.kms_api.table import OPERATIONS

SERVICE: Final = "kms"
TARGET_PREFIX: Final = "TrentService."


class KmsFace:
    """Answers the KMS API.  Safe to share between threads.

    Args:
        service: the keys, which all are of one region.
        region: that one; requests have to be signed for it.
        skew_s: how far a client's clock may differ.
    """

    def __init__(
        self,
        service: LocalKeyService,
        region: str,
        keys: KeyStore,
        clock: Clock,
        entropy: Entropy,
        *,
        skew_s: int = 900,
    ) -> None:
        self._service = service
        self._region = region
        self._entropy = entropy
        self._authenticator = ServiceAuthenticator(keys, clock, service=SERVICE, skew_s=skew_s)

    @property
    def max_body_bytes(self) -> int:
        """The longest document that is read."""
        return MAX_KMS_BODY_BYTES

    def refuse_length(self, call: Call) -> Reply:
        """The document is too long."""
        message = f"The request is longer than {MAX_KMS_BODY_BYTES} bytes."
        return to_reply(call, KmsError("RequestEntityTooLargeException", message))

    def answer(self, call: Call) -> Reply:
        """Authenticate, find the operation, do it."""
        try:
            return self._answer(call)
        except Exception as error:
            return to_reply(call, error)

    def _answer(self, call: Call) -> Reply:
        signer = self._authenticator.authenticate(
            call.method, call.raw_path, call.raw_query, call.headers, call.body
        )
        if signer.region != self._region:
            raise KmsError(
                "InvalidSignatureException",
                f"Credential should be scoped to a valid region, not {signer.region!r}.",
            )
        operation = _operation(call)
        document = operation.answer(Job(self._service, self._entropy, Members.of(call.body)))
        body = b"" if document is None else json.dumps(document).encode()
        return Reply(200, body, [(b"content-type", CONTENT_TYPE)])


def _operation(call: Call) -> Operation:
    """The operation that the target names.

    Raises:
        KmsError: UnknownOperationException.
    """
    target = call.header(b"x-amz-target") or ""
    found = OPERATIONS.get(target.removeprefix(TARGET_PREFIX))
    if found is None or not target.startswith(TARGET_PREFIX) or call.method != "POST":
        raise KmsError(
            "UnknownOperationException", f"{call.method} of {target[:100]!r} is no operation here."
        )
    return found
