"""Uploads in parts, whole, for tests that are about what comes of them."""

from __future__ import annotations

from collections.abc import Mapping

from tests.s3.harness import S3, Reply, checksum


def upload_parts(
    s3: S3,
    parts: Mapping[int, bytes],
    *,
    algorithm: str = "",
    kind: str = "",
    key: str = "key",
    sent: str = "",
) -> Reply:
    """Make `/bucket/key` of parts by their numbers; the answer of the completion.

    Args:
        algorithm, kind: the checksum that the upload names; empty for none.
        sent: the algorithm of the parts' own checksums where the upload names none.
    """
    headers = {"x-amz-checksum-algorithm": algorithm, "x-amz-checksum-type": kind}
    begun = s3(
        "POST",
        f"/bucket/{key}",
        query="uploads",
        headers={name: value for name, value in headers.items() if value},
    )
    upload_id = begun.text("UploadId") or ""
    nodes = [_upload(s3, key, upload_id, n, data, algorithm or sent) for n, data in parts.items()]
    document = f"<CompleteMultipartUpload>{''.join(nodes)}</CompleteMultipartUpload>"
    done = s3("POST", f"/bucket/{key}", document.encode(), query={"uploadId": upload_id})
    assert done.status == 200, done.body
    return done


def _upload(s3: S3, key: str, upload_id: str, number: int, data: bytes, algorithm: str) -> str:
    headers, extra = {}, ""
    if algorithm:
        value = checksum(algorithm, data)
        headers[f"x-amz-checksum-{algorithm.lower()}"] = value
        extra = f"<Checksum{algorithm}>{value}</Checksum{algorithm}>"
    query = {"partNumber": str(number), "uploadId": upload_id}
    reply = s3("PUT", f"/bucket/{key}", data, query=query, headers=headers)
    assert reply.status == 200, reply.body
    return f"<Part><PartNumber>{number}</PartNumber><ETag>{reply.etag}</ETag>{extra}</Part>"
