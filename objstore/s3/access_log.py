"""What a bucket's access log says of a request: from the request and its answer to an entry.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/LogFormat.html
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from objstore.access_logs.record import Entry, Note, Outcome
from objstore.s3.http import Context, Request
from objstore.s3.operation import Operation

# Operations that S3's logs call otherwise than by method and sub-resource.
_NAMES: Final = {
    "CopyObject": "REST.COPY.OBJECT",
    "UploadPartCopy": "REST.COPY.PART",
    "UploadPart": "REST.PUT.PART",
    "CompleteMultipartUpload": "REST.POST.UPLOAD",
    "AbortMultipartUpload": "REST.DELETE.UPLOAD",
    "ListParts": "REST.GET.UPLOAD",
    "PostObject": "REST.POST.OBJECT",
    "RenameObject": "REST.PUT.OBJECT_RENAME",
    "ListObjectsV2": "REST.GET.BUCKET",
    "Preflight": "REST.OPTIONS.PREFLIGHT",
}
COPY_SOURCES: Final = {"CopyObject": "REST.COPY.OBJECT_GET", "UploadPartCopy": "REST.COPY.PART_GET"}
BATCH_DELETE: Final = "BATCH.DELETE.OBJECT"
# How they call sub-resources, where it is not the name in capitals.
_RESOURCES: Final = {
    "delete": "MULTI_OBJECT_DELETE",
    "versions": "BUCKETVERSIONS",
    "logging": "LOGGING_STATUS",
    "policy": "BUCKETPOLICY",
    "policyStatus": "BUCKETPOLICY_STATUS",
    "requestPayment": "REQUEST_PAYMENT",
    "publicAccessBlock": "PUBLIC_ACCESS_BLOCK",
    "ownershipControls": "OWNERSHIP_CONTROLS",
    "object-lock": "OBJECT_LOCK_CONFIGURATION",
    "retention": "OBJECT_LOCK_RETENTION",
    "legal-hold": "OBJECT_LOCK_LEGALHOLD",
    "attributes": "OBJECT_ATTRIBUTES",
}
# What ends the address in a URL, or a query in it.
_MARKS: Final = re.compile("([?#])")
# Never logged: what signs a request, and keys of customers.
_SECRETS: Final = frozenset(
    (
        b"x-amz-signature",
        b"x-amz-credential",
        b"x-amz-security-token",
        b"signature",
        b"awsaccesskeyid",
        b"presignedurl",
        b"x-amz-server-side-encryption-customer-key",
        b"x-amz-copy-source-server-side-encryption-customer-key",
    )
)


def redacted(query: bytes) -> bytes:
    """A query without what signs it and without keys, for logs: who reads those shall not have it.

    What makes a presigned URL work goes, in both versions.
    """
    pairs = query.split(b"&")
    for number, pair in enumerate(pairs):
        name, equals, _ = pair.partition(b"=")
        if equals and unquote_to_bytes(name).lower() in _SECRETS:
            pairs[number] = name + b"=REDACTED"
    return b"&".join(pairs)


def redacted_url(text: str) -> str:
    """A URL whose query is `redacted`; what a page's link is signed with is in its Referer.

    And its fragment: nobody has to send one, so who does may send anything in it.
    """
    parts = _MARKS.split(text)
    for number in range(2, len(parts), 2):
        raw = redacted(parts[number].encode("utf-8", "surrogatepass"))
        parts[number] = raw.decode("utf-8", "surrogatepass")
    return "".join(parts)


def operation_name(operation: Operation | None, request: Request) -> str:
    """What the log calls an operation, such as ``REST.GET.OBJECT``."""
    if operation is None:
        return f"REST.{request.method}.{'OBJECT' if request.key else 'BUCKET'}"
    if operation.name == "Website":
        return f"WEBSITE.{request.method}.OBJECT"
    if operation.name in _NAMES:
        return _NAMES[operation.name]
    return f"REST.{operation.method}.{_resource(operation)}"


def _resource(operation: Operation) -> str:
    """What the log calls what an operation is about."""
    if not operation.selectors:
        return operation.level.upper()
    name = operation.selectors[0].partition("=")[0]
    if name == "tagging" and operation.level == "object":
        return "OBJECT_TAGGING"
    return _RESOURCES.get(name) or name.upper().replace("-", "_")


def note_answer(
    ctx: Context, request: Request, version: str, status: int, sent_bytes: int, ended_ns: int
) -> None:
    """Tell the access logs of a request that has been answered, if its bucket wants one.

    Args:
        version: of HTTP, ``1.1``.
        ended_ns: when the last byte had gone, by the clock of `Note`.
    """
    note, logs = request.note, ctx.access_logs
    if note is None or logs is None or not request.bucket:
        return
    mine = Outcome(
        operation_name(request.operation, request),
        request.bucket,
        request.key,
        status,
        note.error_code,
        note.size_bytes,
        request.query_value("versionId") or "",
    )
    for number, outcome in enumerate((mine, *note.also)):
        owner = logs.wanted(outcome.bucket)
        if owner is not None:
            sent = 0 if number else sent_bytes  # what was sent, was so for the request itself
            logs.note(_entry(ctx, request, note, outcome, owner, version, sent, ended_ns))


def _entry(
    ctx: Context,
    request: Request,
    note: Note,
    outcome: Outcome,
    owner: str,
    version: str,
    sent_bytes: int,
    ended_ns: int,
) -> Entry:
    query = redacted(request.raw_query)
    target = request.raw_path + (b"?" + query if query else b"")
    auth = request.auth
    is_signed = auth is not None and not auth.is_anonymous
    kind = "QueryString" if auth is not None and auth.presigned else "AuthHeader"
    elapsed_ns = ctx.clock.monotonic_ns() - note.started_ns
    return Entry(
        owner=owner,
        bucket=outcome.bucket,
        time_ns=ctx.clock.now_ns() - elapsed_ns,
        remote_ip=request.client_host,
        requester=auth.identity.id if auth is not None and is_signed else "",
        request_id=request.request_id,
        operation=outcome.operation,
        key=outcome.key,
        uri=f"{request.method} {target.decode('latin-1')} HTTP/{version}",
        status=outcome.status,
        error_code=outcome.error_code,
        sent_bytes=sent_bytes,
        size_bytes=outcome.size_bytes,
        total_ns=ended_ns - note.started_ns,
        turn_around_ns=note.answered_ns - max(note.started_ns, note.received_ns),
        referer=redacted_url(request.header(b"referer") or ""),
        user_agent=request.header(b"user-agent") or "",
        version_id=outcome.version_id,
        host_id=ctx.host_id,
        signature="SigV4" if is_signed else "",
        authentication=kind if is_signed else "",
        host=request.header(b"host") or "",
    )
