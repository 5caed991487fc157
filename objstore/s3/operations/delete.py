"""DeleteObject and DeleteObjects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from objstore.config import MAX_DELETE_KEYS, MAX_KEY_BYTES
from objstore.model import DeleteResult, DeleteTarget
from objstore.s3 import digests, versions, xml
from objstore.s3.authentication import identity
from objstore.s3.errors import ERRORS, S3Error, from_exception
from objstore.s3.http import CommitPlan, Context, Headers, Request, Response


def delete_object(ctx: Context, request: Request) -> CommitPlan:
    """DeleteObject: 204, whether there was anything to delete or not.

    In a bucket with versions it leaves a delete marker, unless it names a version.
    """
    version_id = versions.version_id(request)
    owner = identity(request).id
    return CommitPlan(
        lambda done, hold: ctx.store.submit_delete(
            request.bucket, request.key, done, version_id=version_id, owner=owner, hold=hold
        ),
        _deleted,
    )


def _deleted(result: DeleteResult) -> Response:
    headers: Headers = []
    if result.version_id is not None:
        headers.append((b"x-amz-version-id", result.version_id.encode("ascii")))
    if result.delete_marker:
        headers.append((b"x-amz-delete-marker", b"true"))
    return Response(204, headers)


@dataclass(slots=True)
class _Wanted:
    """One entry of a DeleteObjects request; `error` is a code when it cannot be done."""

    key: str
    version_id: str | None
    error: str = ""


def delete_objects(ctx: Context, request: Request, body: bytes) -> Response:
    """DeleteObjects: up to 1,000 keys in one commit, each with an outcome of its own."""
    _require_digest(request)
    tree = xml.parse(body, "Delete")
    objects = [] if tree is None else tree.findall("Object")
    if tree is None or not 1 <= len(objects) <= MAX_DELETE_KEYS:
        raise S3Error("MalformedXML")
    quiet = (xml.child_text(tree, "Quiet") or "").strip().lower() == "true"
    wanted = [_wanted(node) for node in objects]
    targets = [DeleteTarget(w.key, w.version_id or "") for w in wanted if not w.error]
    ctx.store.head_bucket(request.bucket)
    results: Iterator[DeleteResult] = iter(())
    if targets:
        owner = identity(request).id
        results = iter(ctx.store.delete_many(request.bucket, targets, owner=owner))
    outcomes = [
        _refused(w, w.error) if w.error else _outcome(request, w, next(results), quiet)
        for w in wanted
    ]
    return xml.response(xml.document("DeleteResult", *outcomes))


def _require_digest(request: Request) -> None:
    found = digests.for_body(request)
    if found.md5 is None and not found.checksum_algorithm:
        raise S3Error(
            "InvalidRequest",
            "Missing required header for this request: Content-MD5 OR x-amz-checksum-*",
        )


def _wanted(node: Element) -> _Wanted:
    key = xml.child_text(node, "Key")
    if key is None:
        raise S3Error("MalformedXML")
    found = _Wanted(key, xml.child_text(node, "VersionId") or None)
    if not key:
        found.error = "UserKeyMustBeSpecified"
    elif len(key.encode("utf-8")) > MAX_KEY_BYTES:
        found.error = "KeyTooLongError"
    elif any(node.find(name) is not None for name in ("ETag", "LastModifiedTime", "Size")):
        # a conditional delete: not offered, and not to be done unconditionally
        found.error = "NotImplemented"
    elif found.version_id is not None:
        try:
            versions.checked(found.version_id)
        except S3Error:
            found.error = "NoSuchVersion"
    return found


def _refused(wanted: _Wanted, code: str, message: str = "") -> str:
    """An ``Error`` element."""
    return (
        f"<Error>{xml.element('Key', wanted.key)}{xml.element('VersionId', wanted.version_id)}"
        f"{xml.element('Code', code)}{xml.element('Message', message or ERRORS[code][1])}</Error>"
    )


def _outcome(request: Request, wanted: _Wanted, result: DeleteResult, quiet: bool) -> str:
    if result.error is not None:
        error = from_exception(result.error, request)
        return _refused(wanted, error.code, error.message)
    if quiet:
        return ""
    marker = ""
    if result.delete_marker:
        marker = "<DeleteMarker>true</DeleteMarker>" + xml.element(
            "DeleteMarkerVersionId", result.version_id
        )
    key = xml.element("Key", wanted.key)
    version = xml.element("VersionId", wanted.version_id)
    return f"<Deleted>{key}{version}{marker}</Deleted>"
