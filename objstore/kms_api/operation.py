"""One operation of the KMS API."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from objstore.entropy import Entropy
from objstore.kms.service import LocalKeyService
from objstore.kms_api.request import Members

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Job:
    """What a handler works with."""

    service: LocalKeyService
    entropy: Entropy
    members: Members


@dataclass(frozen=True, slots=True)
class Operation:
    """A row of the table.

    `handler`: returns the answer's document, None for an empty body.
    `members`: those that count.
    `refused`: those that ask for what is not offered.
    `ignored`: those without effect.
    """

    name: str
    handler: Callable[[Job], Document | None]
    members: tuple[str, ...] = ("KeyId",)
    refused: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    def answer(self, job: Job) -> Document | None:
        """Refuse what is not offered, then do it."""
        for name in self.refused:
            job.members.refuse(name)
        return self.handler(job)
