"""The end point of websites: pages for browsers, where the API has documents for programs.

Nobody signs here: a page is read if the bucket's policy lets everybody read it.
"""

from __future__ import annotations

import html
import http
from urllib.parse import quote

from objstore.errors import NotModifiedError, StoreError
from objstore.s3 import public_access, website
from objstore.s3.errors import S3Error, from_exception, log_defect
from objstore.s3.headers import REDIRECT_HEADER
from objstore.s3.http import Context, Headers, Request, Response
from objstore.s3.names import decode
from objstore.s3.operation import Operation
from objstore.s3.operations.get import get_object
from objstore.s3.website import Redirect, Website

# Of the request's own headers, what policies ask for, and besides for a page what asks for a
# part of it, or for one that has changed.
_FOR_POLICIES = frozenset((b"referer", b"user-agent"))
_FOR_PAGES = _FOR_POLICIES | {
    *(b"range", b"if-range", b"if-match", b"if-none-match"),
    *(b"if-modified-since", b"if-unmodified-since"),
}
_NO_ERROR_PAGE = "An Error Occurred While Attempting to Retrieve a Custom Error Document"


def serve(ctx: Context, request: Request) -> Response:
    """A page of `request.bucket`, a redirect, or an error as a page.

    Raises:
        NotModifiedError: the browser has the page already.
    """
    try:
        request.key = _key(request)
        site = website.of_bucket(ctx, request.bucket)
    except Exception as error:
        return _plain_page(ctx, request, _mapped(request, error))
    if site.everything is not None:
        target = website.location(request, site.everything, request.key)
        query = request.raw_query.decode("latin-1")
        return _redirect(301, f"{target}?{quote(query, safe='&=%+;/?:@')}" if query else target)
    rule = site.rule_for(request.key)
    if rule is not None:
        return _by_rule(request, rule.redirect, rule.prefix)
    try:
        return _page(ctx, request, site)
    except NotModifiedError:
        raise
    except Exception as error:
        mapped = _mapped(request, error)
    rule = site.rule_for(request.key, mapped.status)
    if rule is not None:
        return _by_rule(request, rule.redirect, rule.prefix)
    return _error_page(ctx, request, site, mapped)


def _key(request: Request) -> str:
    if request.method not in ("GET", "HEAD"):
        raise S3Error(
            "MethodNotAllowed",
            extra={"Method": request.method, "ResourceType": "OBJECT"},
            headers=[(b"allow", b"GET, HEAD")],
        )
    try:
        return decode(request.raw_path[1:])
    except UnicodeDecodeError:
        raise S3Error("InvalidURI") from None


def _page(ctx: Context, request: Request, site: Website) -> Response:
    """The object of a key, or of the folder that it is."""
    is_folder = not request.key or request.key.endswith("/")
    key = request.key + site.index if is_folder else request.key
    try:
        return _object(ctx, request, key, _FOR_PAGES)
    except (StoreError, S3Error) as error:
        is_missing = _mapped(request, error).code in ("NoSuchKey", "AccessDenied")
        folder = request.key + "/"
        if is_folder or not is_missing or not _is_readable(ctx, request, folder + site.index):
            raise
    # the slash that a key may begin with would make the next name that of a host
    safe = "" if folder.startswith("/") else "/"
    return _redirect(302, "/" + quote(folder[:1], safe=safe) + quote(folder[1:]))


def _object(ctx: Context, request: Request, key: str, passed_on: frozenset[bytes]) -> Response:
    """An object that everybody may read, or where it says that it has gone."""
    asked = _asked(request, key, passed_on)
    response = public_access.reading(get_object, ctx, asked)
    places = [value for name, value in response.headers if name == REDIRECT_HEADER]
    if not places:
        return response
    if not isinstance(response.body, bytes):
        response.body.close()
    return _redirect(301, places[0].decode("utf-8"))


def _asked(request: Request, key: str, passed_on: frozenset[bytes]) -> Request:
    """The request for an object that is made of one for a page, with some of its headers."""
    headers = [pair for pair in request.headers if pair[0] in passed_on]
    asked = Request(
        "GET",
        request.raw_path,
        b"",
        headers,
        request.scheme,
        request.client_host,
        request.request_id,
    )
    asked.bucket, asked.key = request.bucket, key
    return asked


def _is_readable(ctx: Context, request: Request, key: str) -> bool:
    try:
        ctx.store.head(request.bucket, key, customer_key=None)
        public_access.check(ctx, _asked(request, key, _FOR_POLICIES), (public_access.GET,))
    except (StoreError, S3Error):
        return False
    return True


def _by_rule(request: Request, redirect: Redirect, prefix: str) -> Response:
    target = website.location(request, redirect, request.key, prefix)
    return _redirect(redirect.status, target)


def _redirect(status: int, target: str) -> Response:
    raw = quote(target, safe="/?#!&=+@:;,$'()*~%[]").encode("ascii")
    return Response(status, [(b"location", raw), (b"content-length", b"0")])


def _mapped(request: Request, error: Exception) -> S3Error:
    mapped = from_exception(error, request)
    if mapped.status >= 500:
        log_defect(request, mapped, error)
    return mapped


def _error_page(ctx: Context, request: Request, site: Website, error: S3Error) -> Response:
    """The bucket's own page for errors, with the status of the one that it tells of."""
    if not site.error or not 400 <= error.status < 500:
        return _plain_page(ctx, request, error)
    try:
        response = _object(ctx, request, site.error, _FOR_POLICIES)
    except Exception as second:
        asked = _asked(request, site.error, _FOR_POLICIES)
        return _plain_page(ctx, request, error, _mapped(asked, second))
    if response.status == 200:
        response.status = error.status
        response.headers += _error_headers(error)
    return response


def _error_headers(error: S3Error) -> Headers:
    headers = [
        (b"x-amz-error-code", error.code.encode("ascii")),
        (b"x-amz-error-message", quote(error.message, safe=" !#$%&'()*+,/:;=?@[]\"").encode()),
    ]
    if "Key" in error.extra:
        headers.append((b"x-amz-error-detail-key", quote(error.extra["Key"]).encode("ascii")))
    return headers + error.headers


def _plain_page(
    ctx: Context, request: Request, error: S3Error, second: S3Error | None = None
) -> Response:
    """An error as S3's own pages tell it; `second` of the page that should have told it."""
    status = http.HTTPStatus(error.status)
    title = f"{status.value} {status.phrase}"
    told = {"Code": error.code, "Message": error.message, **error.extra}
    told |= {"RequestId": request.request_id, "HostId": ctx.host_id}
    more = ""
    if second is not None:
        reasons = {"Code": second.code, "Message": second.message, **second.extra}
        more = f"<h3>{_NO_ERROR_PAGE}</h3>\n{_items(reasons)}"
    body = (
        f"<html>\n<head><title>{title}</title></head>\n<body>\n<h1>{title}</h1>\n"
        f"{_items(told)}{more}<hr/>\n</body>\n</html>\n"
    ).encode("utf-8", "replace")
    headers = [
        *_error_headers(error),
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
    ]
    return Response(error.status, headers, b"" if request.method == "HEAD" else body)


def _items(told: dict[str, str]) -> str:
    items = "".join(
        f"<li>{html.escape(name)}: {html.escape(text)}</li>\n" for name, text in told.items()
    )
    return f"<ul>\n{items}</ul>\n"


# What answers whatever comes to a website; not an operation of S3's model.
WEBSITE = Operation("Website", "GET", "object", kind="read", handler=serve)
