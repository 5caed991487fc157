"""Cross-origin requests as a browser sends them: unsigned questions, presigned answers."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.clients.endpoint import Endpoint

ORIGIN = "https://app.example.com"
RULE = {
    "AllowedOrigins": [ORIGIN],
    "AllowedMethods": ["GET", "PUT"],
    "AllowedHeaders": ["*"],
    "ExposeHeaders": ["ETag"],
    "MaxAgeSeconds": 60,
}


def send(url: str, method: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, method=method, headers=named)
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status, {k.lower(): v for k, v in reply.headers.items()}, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, {k.lower(): v for k, v in error.headers.items()}, error.read()


def test_a_page_of_another_origin(s3: Any, endpoint: Endpoint, bucket: str) -> None:
    with pytest.raises(ClientError, match="NoSuchCORSConfiguration"):
        s3.get_bucket_cors(Bucket=bucket)
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [RULE]})
    assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == [RULE]
    s3.put_object(Bucket=bucket, Key="key", Body=b"data")
    url = f"{endpoint.url}/{bucket}/key"
    asked = {"Access_Control_Request_Method": "PUT", "Access_Control_Request_Headers": "x-a"}
    status, headers, body = send(url, "OPTIONS", Origin=ORIGIN, **asked)
    assert (status, body) == (200, b"")
    assert headers["access-control-allow-origin"] == ORIGIN
    assert headers["access-control-allow-headers"] == "x-a"
    assert headers["access-control-max-age"] == "60"
    assert send(url, "OPTIONS", Origin="http://other", **asked)[0] == 403
    signed = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "key"})
    status, headers, body = send(signed, "GET", Origin=ORIGIN)
    assert (status, body) == (200, b"data")
    assert headers["access-control-allow-origin"] == ORIGIN
    assert headers["access-control-expose-headers"] == "ETag"
    status, headers, _body = send(url, "GET", Origin=ORIGIN)
    assert (status, headers["access-control-allow-origin"]) == (403, ORIGIN)
    s3.delete_bucket_cors(Bucket=bucket)
    assert send(url, "OPTIONS", Origin=ORIGIN, **asked)[0] == 403
    assert "access-control-allow-origin" not in send(signed, "GET", Origin=ORIGIN)[1]
