"""DeleteObject and DeleteObjects."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree.ElementTree import Element

from objstore.config import MAX_DELETE_KEYS, MAX_KEY_BYTES
from objstore.s3 import digests, versions, xml
from objstore.s3.errors import ERRORS, S3Error
from objstore.s3.http import CommitPlan, Context, Headers, Request, Response


def delete_object(ctx: Context, request: Request) -> CommitPlan | Response:
    """DeleteObject: 204, whether there was anything to delete or not."""
    version_id = request.query_value("versionId")
    headers: Headers = []
    if version_id is not None:
        headers.append((b"x-amz-version-id", version_id.encode("utf-8")))
    if not versions.names_current(version_id):
        ctx.store.head_bucket(request.bucket)
        return Response(204, headers)
    return CommitPlan(
        lambda done, hold: ctx.store.submit_delete(request.bucket, request.key, done, hold=hold),
        lambda _: Response(204, headers),
    )


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
    keys = [w.key for w in wanted if not w.error and w.version_id in (None, versions.NULL)]
    ctx.store.head_bucket(request.bucket)
    if keys:
        ctx.store.delete_many(request.bucket, keys)
    outcomes = [_outcome(w, quiet) for w in wanted]
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
            versions.names_current(found.version_id)
        except S3Error:
            found.error = "NoSuchVersion"
    return found


def _outcome(wanted: _Wanted, quiet: bool) -> str:
    key = xml.element("Key", wanted.key)
    version = xml.element("VersionId", wanted.version_id)
    if wanted.error:
        code, message = wanted.error, ERRORS[wanted.error][1]
        return (
            f"<Error>{key}{version}{xml.element('Code', code)}"
            f"{xml.element('Message', message)}</Error>"
        )
    return "" if quiet else f"<Deleted>{key}{version}</Deleted>"
