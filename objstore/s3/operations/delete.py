"""DeleteObject and DeleteObjects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from objstore.access_logs.record import Outcome
from objstore.config import MAX_DELETE_KEYS, MAX_KEY_BYTES
from objstore.model import NO_CONDITIONS, Conditions, DeleteResult, DeleteTarget
from objstore.s3 import versions, xml
from objstore.s3.access_log import BATCH_DELETE
from objstore.s3.authentication import identity
from objstore.s3.error_codes import ERRORS
from objstore.s3.errors import S3Error, from_exception
from objstore.s3.headers import delete_conditions
from objstore.s3.http import CommitPlan, Context, Headers, Request, Response
from objstore.s3.public_access import owner_of_new

_IF_MODIFIED = b"x-amz-if-match-last-modified-time"
_IF_SIZE = b"x-amz-if-match-size"
_ENTRY = ("Key", "VersionId", "ETag", "LastModifiedTime", "Size")


def delete_object(ctx: Context, request: Request) -> CommitPlan:
    """DeleteObject: 204, whether there was anything to delete or not.

    In a bucket with versions it leaves a delete marker, unless it names a version.
    """
    version_id = versions.version_id(request)
    conditions = delete_conditions(
        request.header(b"if-match"),
        request.header(_IF_MODIFIED),
        request.header(_IF_SIZE),
        (_IF_MODIFIED.decode("ascii"), _IF_SIZE.decode("ascii")),
    )
    owner = owner_of_new(ctx, request)
    bypass = _bypasses_governance(request)
    return CommitPlan(
        lambda done, hold: ctx.store.submit_delete(
            request.bucket,
            request.key,
            done,
            version_id=version_id,
            conditions=conditions,
            owner=owner,
            bypass_governance=bypass,
            hold=hold,
        ),
        _deleted,
    )


def _bypasses_governance(request: Request) -> bool:
    return (request.header(b"x-amz-bypass-governance-retention") or "").lower() == "true"


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
    conditions: Conditions = NO_CONDITIONS
    error: str = ""


def delete_objects(ctx: Context, request: Request, body: bytes) -> Response:
    """DeleteObjects: up to 1,000 keys in one commit, each with an outcome of its own."""
    tree = xml.parse(body, "Delete")
    objects = [] if tree is None else tree.findall("Object")
    if tree is None or not 1 <= len(objects) <= MAX_DELETE_KEYS:
        raise S3Error("MalformedXML")
    if len(tree) > len(objects) + (tree.find("Quiet") is not None):  # nothing is left unread
        raise S3Error("MalformedXML")
    quiet = (xml.child_text(tree, "Quiet") or "").strip().lower() == "true"
    wanted = [_wanted(node) for node in objects]
    targets = [DeleteTarget(w.key, w.version_id or "", w.conditions) for w in wanted if not w.error]
    ctx.store.head_bucket(request.bucket)
    results: Iterator[DeleteResult] = iter(())
    if targets:
        results = iter(
            ctx.store.delete_many(
                request.bucket,
                targets,
                owner=identity(request).id,
                bypass_governance=_bypasses_governance(request),
            )
        )
    outcomes = [
        _not_tried(request, w) if w.error else _outcome(request, w, next(results), quiet)
        for w in wanted
    ]
    return xml.response(xml.document("DeleteResult", *outcomes))


def _wanted(node: Element) -> _Wanted:
    key = xml.child_text(node, "Key")
    if key is None or not xml.has_only(node, _ENTRY):
        raise S3Error("MalformedXML")
    found = _Wanted(key, xml.child_text(node, "VersionId") or None, _conditions(node))
    if not key:
        found.error = "UserKeyMustBeSpecified"
    elif len(key.encode("utf-8")) > MAX_KEY_BYTES:
        found.error = "KeyTooLongError"
    elif found.version_id is not None:
        try:
            versions.checked(found.version_id)
        except S3Error:
            found.error = "NoSuchVersion"
    return found


def _conditions(node: Element) -> Conditions:
    """What an entry says of the object that it means."""
    try:
        return delete_conditions(
            xml.child_text(node, "ETag"),
            xml.child_text(node, "LastModifiedTime"),
            xml.child_text(node, "Size"),
        )
    except S3Error:
        raise S3Error("MalformedXML") from None


def _refused(wanted: _Wanted, code: str, message: str = "") -> str:
    """An ``Error`` element."""
    return (
        f"<Error>{xml.element('Key', wanted.key)}{xml.element('VersionId', wanted.version_id)}"
        f"{xml.element('Code', code)}{xml.element('Message', message or ERRORS[code][1])}</Error>"
    )


def _not_tried(request: Request, wanted: _Wanted) -> str:
    _note(request, wanted, ERRORS[wanted.error][0], wanted.error)
    return _refused(wanted, wanted.error)


def _note(request: Request, wanted: _Wanted, status: int, code: str = "") -> None:
    """Have the access log tell of a key of the batch."""
    if request.note is not None:
        outcome = Outcome(BATCH_DELETE, request.bucket, wanted.key, status, code)
        outcome.version_id = wanted.version_id or ""
        request.note.also.append(outcome)


def _outcome(request: Request, wanted: _Wanted, result: DeleteResult, quiet: bool) -> str:
    if result.error is not None:
        error = from_exception(result.error, request)
        _note(request, wanted, error.status, error.code)
        return _refused(wanted, error.code, error.message)
    _note(request, wanted, 204)
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
