"""The engine's public API over plain dicts: naive, slow, and obviously right.

The model that the real engine is tested against, and a stand-in for it where a test is
about something else.  No durability, no concurrency, no bounds beyond S3's own.
"""

from __future__ import annotations

import os
from typing import Any

from tests.twin.buckets import BucketCalls
from tests.twin.growth import GrowthCalls
from tests.twin.multipart import MultipartCalls
from tests.twin.rules import is_bucket_name, resolve_range
from tests.twin.state import ModelReader, ModelStream
from tests.twin.versions import VersionCalls


class ModelStore(BucketCalls, VersionCalls, MultipartCalls, GrowthCalls):
    """See the engine's `ObjectStore`, whose signatures, results and errors these are."""

    @classmethod
    def open(cls, path: str | os.PathLike[str], **options: Any) -> ModelStore:
        options.pop("device", None)
        return cls(**options)

    is_writable = True

    def close(self) -> None:
        """Nothing to close."""

    def __enter__(self) -> ModelStore:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


__all__ = ["ModelReader", "ModelStore", "ModelStream", "is_bucket_name", "resolve_range"]
