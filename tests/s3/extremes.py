"""Requests that are wrong, and what S3 says of each: rows of `Bad`, for the tests over them.

A row runs against `world`: ``/bucket`` with versions, ``/locked`` with object lock, in each
an object ``key``; in ``/bucket`` an upload under way as well.  In queries, headers and bodies
``{upload}`` and ``{version}`` stand for the ids of that upload and that object.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from objstore.s3.http import Request
from tests.s3.harness import S3, Reply, md5_header

# A version id, by its form, that no version has.
NOBODY = "0" * 32


@dataclass(frozen=True)
class Bad:
    """One request and the answer to it.  `query` and `path` are sent as they are."""

    operation: str
    method: str
    path: str
    status: int
    code: str
    query: str = ""
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    digest: bool = False  # with a Content-MD5 of the body

    def send(self, server: S3, ids: dict[str, str]) -> Reply:
        """What the server answers."""

        def filled(text: str) -> str:
            for name, value in ids.items():
                text = text.replace("{" + name + "}", value)
            return text

        body = filled(self.body).encode("utf-8", "surrogateescape")
        headers = {"host": "localhost:9000", **self.headers}
        if self.digest:
            headers["content-md5"] = md5_header(body)
        request = Request(
            method=self.method,
            raw_path=self.path.encode("latin-1"),
            raw_query=filled(self.query).encode("latin-1"),
            headers=[(k.encode(), filled(v).encode("latin-1")) for k, v in headers.items()],
            request_id="0123456789ABCDEF",
            body_length=len(body),
        )
        return server.run(request, body)


def world(server: S3) -> dict[str, str]:
    """Fill a server; the ids of what is in it."""
    versioning = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    tags = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
    server("PUT", "/bucket")
    server("PUT", "/bucket", versioning, query="versioning")
    server("PUT", "/bucket", tags, query="tagging")
    server("PUT", "/locked", headers={"x-amz-bucket-object-lock-enabled": "true"})
    put = server("PUT", "/bucket/key", b"0123456789", headers={"x-amz-tagging": "a=b"})
    for key in ("/bucket/other", "/locked/key"):
        server("PUT", key, b"content", headers={"content-md5": md5_header(b"content")})
    upload = server("POST", "/bucket/key", query="uploads").text("UploadId") or ""
    part = server("PUT", "/bucket/key", b"part", query={"partNumber": "1", "uploadId": upload})
    assert part.status == 200
    return {"upload": upload, "version": put.headers["x-amz-version-id"], "etag": part.etag}


_BUCKET_STATE = (
    "", "list-type=2", "versions", "uploads", "versioning", "tagging", "encryption", "object-lock",
    "cors", "website", "policy", "publicAccessBlock", "logging", "notification", "requestPayment",
    "accelerate", "ownershipControls", "acl",
)  # fmt: skip
_OBJECT_STATE = ("", "tagging", "retention", "legal-hold")


def state(server: S3, ids: dict[str, str]) -> list[tuple[str, int, bytes]]:
    """All that requests can see."""
    asked = [("/", "")]
    asked += [(f"/{name}", query) for name in ("bucket", "locked") for query in _BUCKET_STATE]
    objects = ("/bucket/key", "/bucket/other", "/locked/key")
    asked += [(path, query) for path in objects for query in _OBJECT_STATE]
    asked.append(("/bucket/key", f"uploadId={ids['upload']}"))
    answers = [(path + "?" + query, server("GET", path, query=query)) for path, query in asked]
    return [(name, reply.status, reply.body) for name, reply in answers]
