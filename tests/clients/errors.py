"""What a client sees when S3 says no."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError


class Refusal:
    """The error that a `refused` block met, as botocore parsed it."""

    response: dict[str, Any]

    @property
    def error(self) -> dict[str, str]:
        """Code, Message and what else the error document held."""
        return self.response["Error"]

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the answer, names in lower case."""
        return self.response["ResponseMetadata"]["HTTPHeaders"]


@contextmanager
def refused(status: int, *codes: str) -> Iterator[Refusal]:
    """The block must end in an S3 error of this HTTP status and one of these codes."""
    refusal = Refusal()
    with pytest.raises(ClientError) as caught:
        yield refusal
    refusal.response = caught.value.response
    got = (refusal.response["ResponseMetadata"]["HTTPStatusCode"], refusal.error["Code"])
    assert got in [(status, code) for code in codes], f"{got}: {refusal.error}"
