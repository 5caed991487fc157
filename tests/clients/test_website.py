"""A website as people make one: `aws s3 website`, a policy, and a browser's requests."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.clients.endpoint import Endpoint


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any) -> None:
        return None


def browse(endpoint: Endpoint, host: str, path: str) -> tuple[int, dict[str, str], bytes]:
    """What a browser would be told; the name of the host is not looked up."""
    request = urllib.request.Request(endpoint.url + path, headers={"Host": host})
    opener = urllib.request.build_opener(_NoRedirects)
    try:
        with opener.open(request, timeout=30) as reply:
            return reply.status, dict(reply.headers.items()), reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers.items()), error.read()


def test_a_website(s3: Any, endpoint: Endpoint, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "blog").mkdir()
    pages = {"index.html": b"<h1>Home</h1>", "oops.html": b"<h1>Oops</h1>"}
    pages |= {"blog/index.html": b"<h1>Blog</h1>", "style.css": b"h1 { color: red }"}
    for name, content in pages.items():
        (tmp_path / name).write_bytes(content)
    assert endpoint.aws("s3", "sync", str(tmp_path), f"s3://{bucket}/").returncode == 0
    documents = ("--index-document", "index.html", "--error-document", "oops.html")
    assert endpoint.aws("s3", "website", f"s3://{bucket}", *documents).returncode == 0
    found = s3.get_bucket_website(Bucket=bucket)
    assert found["IndexDocument"] == {"Suffix": "index.html"}
    assert found["ErrorDocument"] == {"Key": "oops.html"}

    policy = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}
    document = json.dumps({"Statement": [policy | {"Resource": f"arn:aws:s3:::{bucket}/*"}]})
    host = f"{bucket}.s3-website.localhost"
    assert browse(endpoint, host, "/")[0] == 403
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_bucket_policy(Bucket=bucket, Policy=document)
    s3.delete_public_access_block(Bucket=bucket)
    s3.put_bucket_policy(Bucket=bucket, Policy=document)
    assert s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"] is True

    for place in (host, bucket):  # below the server's domain, and by its own
        assert browse(endpoint, place, "/")[2] == pages["index.html"]
        status, headers, body = browse(endpoint, place, "/style.css")
        assert (status, headers["content-type"], body) == (200, "text/css", pages["style.css"])
        status, headers, _body = browse(endpoint, place, "/blog")
        assert (status, headers["location"]) == (302, "/blog/")
        assert browse(endpoint, place, "/blog/")[2] == pages["blog/index.html"]
        status, headers, body = browse(endpoint, place, "/nothing")
        assert (status, body) == (403, pages["oops.html"])
    with urllib.request.urlopen(f"{endpoint.url}/{bucket}/style.css", timeout=30) as reply:
        assert reply.read() == pages["style.css"]
    s3.delete_bucket_website(Bucket=bucket)
    assert browse(endpoint, host, "/")[0] == 404
