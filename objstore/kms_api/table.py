"""The operations of KMS that are offered, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from objstore.kms_api.operation import Operation
from objstore.kms_api.operations import aliases, crypto, keys, rotation

OPERATIONS: Final[Mapping[str, Operation]] = {
    operation.name: operation
    for family in (keys, aliases, rotation, crypto)
    for operation in family.OPERATIONS
}
