"""Many clients on one key, over HTTP and two workers: one order of all calls explains them."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from botocore.exceptions import ClientError

from objstore.errors import NoSuchKeyError, PreconditionFailedError
from objstore.model import Conditions
from tests.clients.endpoint import Endpoint
from tests.linearizability import is_linearizable
from tests.simulation.history_worker import Writer

WRITERS, CALLS, TIMEOUT_S = 4, 25, 120


class OverHttp:
    """As much of `ObjectStore` as a `Writer` needs, by way of boto3."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def get(self, bucket: str, key: str) -> Reading:
        return Reading(_translated(self._client.get_object, Bucket=bucket, Key=key))

    def put(self, bucket: str, key: str, body: bytes, *, conditions: Conditions) -> None:
        how = {"IfMatch": conditions.if_match, "IfNoneMatch": conditions.if_none_match}
        given = {name: value[0] for name, value in how.items() if value}
        _translated(self._client.put_object, Bucket=bucket, Key=key, Body=body, **given)

    def delete(self, bucket: str, key: str, *, conditions: Conditions) -> None:
        given = {"IfMatch": conditions.if_match[0]} if conditions.if_match else {}
        _translated(self._client.delete_object, Bucket=bucket, Key=key, **given)


class Reading:
    """As an `ObjectReader`; it is its own info."""

    def __init__(self, reply: Any) -> None:
        self._reply = reply
        self.info = self
        self.etag = reply["ETag"].strip('"')

    def read(self) -> bytes:
        data: bytes = self._reply["Body"].read()
        return data

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *_error: object) -> None:
        self._reply["Body"].close()


def _translated(call: Any, **arguments: Any) -> Any:
    try:
        return call(**arguments)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "NoSuchKey":
            raise NoSuchKeyError(code) from None
        if code == "PreconditionFailed":
            raise PreconditionFailedError(code) from None
        raise


@pytest.mark.parametrize("status", ["", "Enabled"])
def test_a_history(endpoint: Endpoint, s3: Any, bucket: str, seed: int, status: str) -> None:
    if status:
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
    writers = [
        Writer(OverHttp(endpoint.client()), bucket, f"w{number}", seed + number)
        for number in range(WRITERS)
    ]
    threads = [threading.Thread(target=writer.run, args=(CALLS,)) for writer in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    history = [call for writer in writers for call in writer.recorder.calls]
    assert len(history) > WRITERS * CALLS // 2, "a writer has failed"
    assert is_linearizable(history)
