"""For a load balancer: whether this process lives, and whether it can serve.

Nobody signs these requests, and they tell no more than that.  A bucket cannot be called ``-``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from starlette.types import Receive, Scope, Send

from objstore.asgi.body import own_exchange

PREFIX: Final = b"/-/health/"
LIVE: Final = PREFIX + b"live"
READY: Final = PREFIX + b"ready"
_METHODS = ("GET", "HEAD")


async def answer(is_ready: Callable[[], bool], scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request: ``live`` is always so; ``ready`` as long as writes are taken."""
    path = scope["raw_path"]
    status, text = 404, b"not found"
    if scope["method"] not in _METHODS:
        status, text = 405, b"only GET and HEAD"
    elif path == LIVE:
        status, text = 200, b"live"
    elif path == READY:
        status, text = (200, b"ready") if is_ready() else (503, b"not ready")
    body = text + b"\n"
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"server", b"objstore"),
    ]
    if status == 405:
        headers.append((b"allow", b", ".join(method.encode() for method in _METHODS)))
    content = b"" if scope["method"] == "HEAD" else body
    exchange = own_exchange(send)
    if exchange is not None:
        exchange.answer(status, headers, content)
        return
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
