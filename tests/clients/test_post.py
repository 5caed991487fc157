"""Forms that boto3 signs and a browser sends, over HTTP."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.clients.endpoint import Endpoint
from tests.s3 import forms

MIB = 1024 * 1024


class Stay(urllib.request.HTTPRedirectHandler):
    """Does not follow."""

    def redirect_request(self, *_arguments: Any, **_options: Any) -> None:
        return None


def send(url: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
    request = urllib.request.Request(url, body, forms.HEADERS, method="POST")
    try:
        with urllib.request.build_opener(Stay).open(request, timeout=60) as reply:
            return reply.status, {k.lower(): v for k, v in reply.headers.items()}, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, {k.lower(): v for k, v in error.headers.items()}, error.read()


@pytest.mark.parametrize("size_bytes", [0, 1, 200_000, 9 * MIB + 1])
def test_an_upload(s3: Any, bucket: str, size_bytes: int) -> None:
    data = hashlib.shake_128(b"%d" % size_bytes).digest(size_bytes)
    made = s3.generate_presigned_post(
        bucket,
        "photos/${filename}",
        Fields={"x-amz-meta-a": "b", "success_action_status": "201"},
        Conditions=[
            ["starts-with", "$key", "photos/"],
            {"x-amz-meta-a": "b"},
            {"success_action_status": "201"},
            ["content-length-range", 0, 10 * MIB],
        ],
    )
    status, headers, body = send(made["url"], forms.encode(made["fields"], data))
    assert (status, b"<PostResponse" in body) == (201, True)
    assert headers["location"].endswith(f"/{bucket}/photos/cat.jpg")
    got = s3.get_object(Bucket=bucket, Key="photos/cat.jpg")
    assert (got["Body"].read(), got["Metadata"]) == (data, {"a": "b"})


def test_a_file_that_is_too_large(s3: Any, bucket: str) -> None:
    made = s3.generate_presigned_post(bucket, "key", Conditions=[["content-length-range", 5, 10]])
    for data, code in ((b"x" * (3 * MIB), b"EntityTooLarge"), (b"x", b"EntityTooSmall")):
        status, _headers, body = send(made["url"], forms.encode(made["fields"], data))
        assert (status, code in body) == (400, True)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
    assert send(made["url"], forms.encode(made["fields"], b"x" * 7))[0] == 204


def test_what_nobody_signed_and_what_was_changed(s3: Any, endpoint: Endpoint, bucket: str) -> None:
    url = f"{endpoint.url}/{bucket}"
    assert send(url, forms.encode({"key": "k"}, b"data"))[0] == 403
    made = s3.generate_presigned_post(bucket, "key")
    changed = {**made["fields"], "key": "other"}
    assert send(made["url"], forms.encode(changed, b"data"))[0] == 403
    forged = {**made["fields"], "x-amz-signature": "0" * 64}
    status, _headers, body = send(made["url"], forms.encode(forged, b"data"))
    assert (status, b"SignatureDoesNotMatch" in body) == (403, True)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_a_redirect(s3: Any, bucket: str) -> None:
    target = {"success_action_redirect": "http://localhost/done"}
    made = s3.generate_presigned_post(bucket, "key", Fields=target, Conditions=[target])
    status, headers, _body = send(made["url"], forms.encode(made["fields"], b"data"))
    assert status == 303
    assert headers["location"].startswith(f"http://localhost/done?bucket={bucket}&key=key&etag=")
