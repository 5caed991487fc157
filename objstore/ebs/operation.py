"""One operation of the EBS direct APIs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from objstore.aws.http import Reply
from objstore.aws.tokens import Sealer
from objstore.ebs.request import EbsRequest

if TYPE_CHECKING:
    from blockdev.service import Region


@dataclass(frozen=True, slots=True)
class Job:
    """What a handler works with."""

    region: Region
    sealer: Sealer
    request: EbsRequest


@dataclass(frozen=True, slots=True)
class Operation:
    """A row of the table.

    `path`: segments, ``{}`` for one that names something.
    `unsigned_body`: clients leave the body out of the signature (the model's
        ``v4-unsigned-body``); its checksum, which is signed, protects it.
    """

    name: str
    method: str
    path: tuple[str, ...]
    handler: Callable[[Job], Reply]
    unsigned_body: bool = False
