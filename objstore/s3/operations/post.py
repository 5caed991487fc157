"""PostObject: what a browser's form uploads.

The policy in the form is what is signed; the fields say what headers say of a PUT.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from objstore.config import MAX_KEY_BYTES, MAX_PUT_BYTES, MAX_TAGS
from objstore.model import ObjectInfo
from objstore.s3 import post_policy, public_access, xml
from objstore.s3.encryption_checks import check_operation as check_encryption
from objstore.s3.errors import S3Error, header_not_implemented, invalid_argument, key_too_long
from objstore.s3.form import Form
from objstore.s3.headers import STORED_HEADERS
from objstore.s3.http import Context, Headers, Request, Response, WritePlan
from objstore.s3.operation import Operation
from objstore.s3.operations.put import plan_of, written_headers
from objstore.s3.post_policy import NO_POLICY, Policy
from objstore.s3.refusals import WRITE_OFFSET, check_headers
from objstore.s3.tags import tags_from_xml

_PUT = Operation("PutObject", "PUT", "object")
_FILE_NAME = "${filename}"
_STATUSES = (200, 201, 204)
# A field can have what would end a header, and go out in one again.
_NO_HEADER = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_HEADERS = frozenset(name.decode("ascii") for name in (*STORED_HEADERS, b"content-md5"))
_OF_THE_SIGNATURE = frozenset(
    f"x-amz-{name}" for name in ("algorithm", "credential", "date", "signature", "security-token")
)


def post_object(ctx: Context, request: Request, form: Form) -> WritePlan:
    """What to do with the file of a form whose fields have come."""
    fields = form.fields
    request.auth = ctx.authenticator.authenticate_form(fields)
    policy = _policy(ctx, request, fields)
    request.key = _key(form)
    put = _as_put(request, fields)
    if request.auth.is_anonymous:
        public_access.check(ctx, put, (public_access.PUT,))
    if WRITE_OFFSET in put.header_map:  # a form makes objects, and changes none
        raise header_not_implemented(WRITE_OFFSET.decode("ascii"))
    check_headers(_PUT, put)
    check_encryption(ctx, _PUT.name, put)
    plan = plan_of(ctx, put, None, False)
    most_bytes = MAX_PUT_BYTES if policy.most_bytes is None else policy.most_bytes
    return replace(
        plan,
        respond=partial(_respond, request, _answer(fields)),
        least_bytes=policy.least_bytes or 0,
        max_bytes=min(most_bytes, MAX_PUT_BYTES),
    )


def _policy(ctx: Context, request: Request, fields: dict[str, str]) -> Policy:
    """The policy that a form keeps to; one that nobody signed needs none."""
    if "policy" not in fields:  # there is one where somebody signed
        return NO_POLICY
    policy = post_policy.parse(fields["policy"])
    post_policy.check(policy, fields, request.bucket, ctx.clock.now_ns() // 1_000_000)
    return policy


def _key(form: Form) -> str:
    if "key" not in form.fields:
        raise invalid_argument(
            "Bucket POST must contain a field named 'key'.  If it is specified, please check the "
            "order of the fields.",
            "key",
        )
    key = form.fields["key"].replace(_FILE_NAME, form.file_name)
    if not key:
        raise S3Error("UserKeyMustBeSpecified")
    if len(key.encode("utf-8", "surrogatepass")) > MAX_KEY_BYTES:
        raise key_too_long(key)
    return key


def _as_put(request: Request, fields: dict[str, str]) -> Request:
    """The PUT that says the same in its headers."""
    headers: Headers = []
    if "tagging" in fields:  # first: of two headers of a name that one counts
        tags = tags_from_xml(fields["tagging"].encode(), limit=MAX_TAGS)
        headers.append((b"x-amz-tagging", urlencode(tags).encode("ascii")))
    for name, value in fields.items():
        if name in _HEADERS or (name.startswith("x-amz-") and name not in _OF_THE_SIGNATURE):
            headers.append((name.encode("latin-1", "replace"), value.encode()))
    if "acl" in fields:
        headers.append((b"x-amz-acl", fields["acl"].encode()))
    for pair in headers:
        if any(_NO_HEADER.search(part) for part in pair):
            raise invalid_argument("A field of a form has to fit into a header", "form")
    # what policies ask of the browser itself
    headers += [pair for pair in request.headers if pair[0] in (b"referer", b"user-agent")]
    put = Request(
        "PUT",
        request.raw_path,
        b"",
        headers,
        request.scheme,
        request.client_host,
        request.request_id,
    )
    put.bucket, put.key, put.auth, put.operation = request.bucket, request.key, request.auth, _PUT
    return put


def _answer(fields: dict[str, str]) -> tuple[int, str]:
    """Status and redirect that a form asks for; a status that is none is 204, as in S3."""
    target = fields.get("success_action_redirect") or fields.get("redirect") or ""
    if urlsplit(target).scheme in ("http", "https"):
        return 303, target
    text = fields.get("success_action_status", "")
    status = int(text) if text.isascii() and text.isdigit() and len(text) == 3 else 204
    return (status if status in _STATUSES else 204), ""


def _respond(request: Request, answer: tuple[int, str], info: ObjectInfo) -> Response:
    status, target = answer
    request.note_size(info.size_bytes)
    etag = f'"{info.etag}"'
    host = (request.header(b"host") or "").strip()
    path = request.raw_path.decode("latin-1").rstrip("/")
    location = f"{request.scheme}://{host}{path}/{quote(info.key)}"
    headers: Headers = [(b"etag", etag.encode("ascii")), *written_headers(info)]
    if status == 303:
        headers.append((b"location", _redirect(target, info, etag).encode("ascii", "replace")))
        return Response(303, [*headers, (b"content-length", b"0")])
    headers.append((b"location", location.encode("ascii", "replace")))
    if status != 201:
        length: Headers = [] if status == 204 else [(b"content-length", b"0")]
        return Response(status, [*headers, *length])
    response = xml.response(
        xml.document(
            "PostResponse",
            xml.element("Location", location),
            xml.element("Bucket", info.bucket),
            xml.element("Key", info.key),
            xml.element("ETag", etag),
        ),
        201,
    )
    response.headers += headers
    return response


def _redirect(target: str, info: ObjectInfo, etag: str) -> str:
    """The page to go to, told what was made."""
    parts = urlsplit(target)
    told = [("bucket", info.bucket), ("key", info.key), ("etag", etag)]
    query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), *told])
    return urlunsplit(parts._replace(query=query))
