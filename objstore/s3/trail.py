"""What the record of calls is told of an S3 request."""

from __future__ import annotations

from typing import Final

from objstore.access_logs.record import Note
from objstore.auth.policy import arn
from objstore.s3.access_log import redacted
from objstore.s3.http import Context, Request
from objstore.s3.operation import Operation
from objstore.trail.record import Call

_OF_DATA: Final = frozenset(
    (
        *("ListObjects", "ListObjectsV2", "ListObjectVersions", "ListMultipartUploads"),
        *("HeadBucket", "DeleteObjects", "PostObject", "Preflight", "Website"),
    )
)


def is_data(operation: Operation | None) -> bool:
    """Whether an operation is about objects, rather than about settings."""
    return operation is None or operation.level == "object" or operation.name in _OF_DATA


def call_of(
    ctx: Context,
    request: Request,
    note: Note,
    status: int,
    sent_bytes: int,
    ended_ns: int,
) -> Call:
    """The call that a request was, once it has been answered.

    Args:
        ended_ns: when the last byte had gone, by the clock of `Note`.
    """
    operation, auth = request.operation, request.auth
    latency_ns = ended_ns - note.started_ns
    parameters: dict[str, str] = {}
    if request.bucket:
        parameters["bucketName"] = request.bucket
    if request.key:
        parameters["key"] = request.key
    version_id = request.query_value("versionId")
    if version_id:
        parameters["versionId"] = version_id
    if request.raw_query:
        parameters["query"] = redacted(request.raw_query).decode("latin-1")
    resources: tuple[str, ...] = ()
    if request.bucket:
        resources = (arn(request.bucket),)
    if request.bucket and request.key:
        resources = (arn(request.bucket, request.key), *resources)
    return Call(
        service="s3",
        name=f"{request.method}Request" if operation is None else operation.name,
        time_ns=ctx.clock.now_ns() - latency_ns,
        latency_ns=latency_ns,
        request_id=request.request_id,
        source_ip=request.client_host,
        user_agent=request.header(b"user-agent") or "",
        region=ctx.region,
        status=status,
        identity=None if auth is None else auth.identity,
        access_key="" if auth is None else auth.access_key,
        error_code=note.error_code,
        parameters=parameters,
        resources=resources,
        is_data=is_data(operation),
        sent_bytes=sent_bytes,
        received_bytes=request.body_length or 0,
        authentication="QueryString" if auth is not None and auth.presigned else "",
        host=request.header(b"host") or "",
    )
