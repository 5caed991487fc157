"""From a call to the EBS direct APIs to its answer."""

from __future__ import annotations

from typing import Final

from blockdev.clock import Clock
from blockdev.model import ServiceError
from objstore.auth.keys import KeyStore
from objstore.auth.service import ServiceAuthenticator
from objstore.aws.http import Call, Reply
from objstore.aws.regions import Regions
from objstore.ebs.errors import invalid, to_reply
from objstore.ebs.operation import Job, Operation
from objstore.ebs.request import EbsRequest
from objstore.ebs.table import find

SERVICE: Final = "ebs"


class EbsFace:
    """Answers the EBS direct APIs.  Safe to share between threads.

    Args:
        max_body_bytes: the longest body that is read: a block.
        skew_s: how far a client's clock may differ.
    """

    def __init__(
        self,
        regions: Regions,
        keys: KeyStore,
        clock: Clock,
        *,
        max_body_bytes: int,
        skew_s: int = 900,
    ) -> None:
        self._regions = regions
        self._authenticator = ServiceAuthenticator(keys, clock, service=SERVICE, skew_s=skew_s)
        self._max_body_bytes = max_body_bytes

    @property
    def max_body_bytes(self) -> int:
        """The longest body that is read."""
        return self._max_body_bytes

    def refuse_length(self, call: Call) -> Reply:
        """The body is too long."""
        message = f"The body is longer than {self._max_body_bytes} bytes."
        return to_reply(call, invalid(message, "INVALID_BLOCK"))

    def answer(self, call: Call) -> Reply:
        """Authenticate, find the operation, do it."""
        try:
            return self._answer(call)
        except Exception as error:
            return to_reply(call, error)

    def _answer(self, call: Call) -> Reply:
        operation: Operation | None = find(call.method, call.raw_path)
        signer = self._authenticator.authenticate(
            call.method,
            call.raw_path,
            call.raw_query,
            call.headers,
            call.body,
            unsigned_body=operation is not None and operation.unsigned_body,
        )
        if operation is None:
            raise _unknown(call)
        request = EbsRequest.of(call)
        opened = self._regions.get(signer.region)
        return operation.handler(Job(opened.region, opened.sealer, request))


def _unknown(call: Call) -> ServiceError:
    path = call.raw_path.decode("latin-1")
    return ServiceError("UnknownOperationException", f"{call.method} {path[:100]} is no operation.")
