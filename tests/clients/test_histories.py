"""Many clients on one key, over HTTP and two workers: one order of all calls explains them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from objstore.errors import NoSuchKeyError, PreconditionFailedError
from objstore.model import Conditions
from tests.clients.endpoint import Endpoint
from tests.linearizability import is_linearizable
from tests.simulation.history_worker import KEY, Writer, now

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


# --- versions -----------------------------------------------------------------------


def put(s3: Any, bucket: str, body: bytes) -> str:
    return s3.put_object(Bucket=bucket, Key=KEY, Body=body)["VersionId"]


def copy(s3: Any, bucket: str, body: bytes) -> str:
    source = {"Bucket": bucket, "Key": "source"}
    return s3.copy_object(Bucket=bucket, Key=KEY, CopySource=source)["VersionId"]


def delete(s3: Any, bucket: str, body: bytes) -> str:
    return s3.delete_object(Bucket=bucket, Key=KEY)["VersionId"]


def complete(s3: Any, bucket: str, body: bytes) -> str:
    upload = {"Bucket": bucket, "Key": KEY}
    upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
    part = s3.upload_part(**upload, PartNumber=1, Body=body)
    parts = [{"PartNumber": 1, "ETag": part["ETag"]}]
    return s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})["VersionId"]


WRITES: list[Callable[[Any, str, bytes], str]] = [put, put, copy, delete, complete]
WRITES_EACH = 10


def all_versions(s3: Any, bucket: str) -> list[str]:
    """Ids of the key's versions and markers, newest first: one a page, as pages list the two
    kinds apart.
    """
    found: list[str] = []
    how: dict[str, Any] = {"Bucket": bucket, "Prefix": KEY, "MaxKeys": 1}
    while True:
        page = s3.list_object_versions(**how)
        found += [
            entry["VersionId"]
            for kind in ("Versions", "DeleteMarkers")
            for entry in page.get(kind, [])
        ]
        if not page["IsTruncated"]:
            return found
        how["KeyMarker"] = page["NextKeyMarker"]
        how["VersionIdMarker"] = page["NextVersionIdMarker"]


def test_every_write_is_a_version(endpoint: Endpoint, s3: Any, bucket: str) -> None:
    """Over two processes, of every kind; and the newest first is what came last."""
    status = {"Status": "Enabled"}
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=status)
    s3.put_object(Bucket=bucket, Key="source", Body=bytes(300_000))
    made: list[tuple[float, float, str]] = []

    def write(name: str, act: Callable[[Any, str, bytes], str]) -> None:
        client = endpoint.client()
        for number in range(WRITES_EACH):
            began = now()
            version = act(client, bucket, f"{name} {number}".encode())
            made.append((began, now(), version))

    threads = [
        threading.Thread(target=write, args=(f"w{number}", act))
        for number, act in enumerate(WRITES)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    listed = all_versions(s3, bucket)
    assert len(listed) == len(made) == WRITES_EACH * len(WRITES)
    place = {version: number for number, version in enumerate(listed)}
    assert place.keys() == {version for _began, _ended, version in made}
    for began, _ended, version in made:
        for _began, ended, earlier in made:
            assert ended >= began or place[earlier] > place[version]
