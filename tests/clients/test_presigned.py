"""Presigned URLs, fetched by a client that knows nothing of S3."""

from __future__ import annotations

import datetime
import urllib.error
import urllib.request
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from tests.clients.endpoint import Endpoint, shift_signing_clock


def fetch(url: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Any:
    """The open response; HTTPError for statuses from 300 on."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data=body, method=method, headers=names)
    return urllib.request.urlopen(request, timeout=60)


def refusal(url: str, method: str = "GET", body: bytes | None = None) -> tuple[int, str]:
    """Status and S3 code of a request that must fail."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        fetch(url, method, body)
    return caught.value.code, ET.fromstring(caught.value.read()).findtext("Code", "")


@pytest.mark.parametrize("key", ["plain", "a b+c%2F?&=#", "ünï/☃", "../up", "a//b"])
def test_get_put_head_delete(s3: Any, bucket: str, key: str) -> None:
    address = {"Bucket": bucket, "Key": key}
    put = s3.generate_presigned_url("put_object", Params=address)
    assert fetch(put, "PUT", b"body").status == 200
    get = s3.generate_presigned_url("get_object", Params=address)
    assert fetch(get).read() == b"body"
    assert s3.get_object(**address)["Body"].read() == b"body"
    head = s3.generate_presigned_url("head_object", Params=address)
    assert fetch(head, "HEAD").headers["Content-Length"] == "4"
    delete = s3.generate_presigned_url("delete_object", Params=address)
    assert fetch(delete, "DELETE").status == 204
    assert refusal(get) == (404, "NoSuchKey")


def test_signed_headers_have_to_be_sent(s3: Any, bucket: str) -> None:
    address = {"Bucket": bucket, "Key": "k"}
    put = s3.generate_presigned_url(
        "put_object", Params=address | {"ContentType": "text/x", "Metadata": {"a": "1"}}
    )
    assert refusal(put, "PUT", b"body")[0] == 403
    fetch(put, "PUT", b"body", content_type="text/x", x_amz_meta_a="1")
    head = s3.head_object(**address)
    assert (head["ContentType"], head["Metadata"]) == ("text/x", {"a": "1"})


def test_a_range_and_an_override(s3: Any, bucket: str) -> None:
    address = {"Bucket": bucket, "Key": "k"}
    s3.put_object(**address, Body=b"0123456789")
    get = s3.generate_presigned_url(
        "get_object", Params=address | {"ResponseContentType": "text/html"}
    )
    answer = fetch(get, range="bytes=2-4")
    assert (answer.status, answer.read()) == (206, b"234")
    assert answer.headers["Content-Type"] == "text/html"


def test_listing(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="dir/k", Body=b"")
    url = s3.generate_presigned_url(
        "list_objects_v2", Params={"Bucket": bucket, "Prefix": "dir/", "Delimiter": "/"}
    )
    assert b"<Key>dir/k</Key>" in fetch(url).read()


def test_a_url_is_good_for_what_it_was_made_for(s3: Any, bucket: str) -> None:
    for key in ("mine", "yours"):
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "mine"})
    assert refusal(url.replace("/mine?", "/yours?")) == (403, "SignatureDoesNotMatch")
    assert refusal(url, "PUT", b"x") == (403, "SignatureDoesNotMatch")
    assert refusal(url, "DELETE") == (403, "SignatureDoesNotMatch")
    assert refusal(url + "&response-content-type=text/html") == (403, "SignatureDoesNotMatch")
    spoilt = url[:-1] + ("0" if url[-1] != "0" else "1")
    assert refusal(spoilt) == (403, "SignatureDoesNotMatch")
    assert fetch(url).read() == b"mine"


def test_time(endpoint: Endpoint, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    s3 = endpoint.client()
    s3.put_object(Bucket=bucket, Key="k", Body=b"body")

    def presigned(made: datetime.timedelta, valid_s: int) -> str:
        with monkeypatch.context() as patch:
            shift_signing_clock(patch, made)
            return str(
                s3.generate_presigned_url(
                    "get_object", Params={"Bucket": bucket, "Key": "k"}, ExpiresIn=valid_s
                )
            )

    hour = datetime.timedelta(hours=1)
    assert fetch(presigned(-hour, 7200)).read() == b"body"
    assert refusal(presigned(-hour, 60)) == (403, "AccessDenied")
    assert refusal(presigned(hour, 60)) == (403, "AccessDenied")
    week_s = 7 * 24 * 3600
    assert fetch(presigned(-hour, week_s)).read() == b"body"
    malformed = (400, "AuthorizationQueryParametersError")
    assert refusal(presigned(-hour, week_s + 1)) == malformed


def test_version_2_is_told_what_to_use_instead(endpoint: Endpoint, bucket: str) -> None:
    old = endpoint.client(signature_version="s3")
    url = old.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    assert "AWSAccessKeyId" in url
    with pytest.raises(urllib.error.HTTPError) as refused:
        fetch(url)
    body = refused.value.read()
    assert (refused.value.code, b"<Code>InvalidRequest</Code>" in body) == (400, True)
    assert b"aws configure set default.s3.signature_version s3v4" in body


def test_a_part(s3: Any, bucket: str) -> None:
    address = {"Bucket": bucket, "Key": "k"}
    upload_id = s3.create_multipart_upload(**address)["UploadId"]
    part = address | {"UploadId": upload_id, "PartNumber": 1}
    etag = fetch(s3.generate_presigned_url("upload_part", Params=part), "PUT", b"p").headers["ETag"]
    s3.complete_multipart_upload(
        **address, UploadId=upload_id, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]}
    )
    assert s3.get_object(**address)["Body"].read() == b"p"
