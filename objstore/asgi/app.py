"""The S3 endpoint as an ASGI application.

`ObjstoreApp` is a Starlette application.  Requests by the methods that carry object
traffic go past its middleware and routing, straight to `S3Endpoint`; all others take the
normal way and arrive there as well, unless somebody who embeds the application has added
a route for them.  For a request of 30 microseconds, Starlette's own 8 to 10 count.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import copy_context
from typing import Any, cast

from starlette.applications import Starlette
from starlette.types import Message, Receive, Scope, Send

from objstore.access_logs import AccessLogs
from objstore.access_logs.record import Note
from objstore.asgi import health
from objstore.asgi.body import Bodies, WritableStore, own_exchange
from objstore.asgi.exchange import ClientDisconnectedError, Exchange
from objstore.asgi.services import SHAPES, Services, make_faces, make_key_face
from objstore.asgi.state import RequestIds
from objstore.asgi.strand import Completions
from objstore.auth.authenticator import Authenticator
from objstore.auth.keys import Credentials, Identity, KeyStore, StaticKeyStore
from objstore.aws.http import Face
from objstore.aws.regions import Regions
from objstore.config import MIB, ServerConfig
from objstore.errors import StorePoisonedError
from objstore.kms.service import LocalKeyService
from objstore.s3.access_log import note_answer
from objstore.s3.errors import S3Error, to_response
from objstore.s3.http import CommitPlan, Context, Request, Response, WritePlan
from objstore.s3.operation import Operation
from objstore.s3.service import prepare, sent_headers
from objstore.s3.store import BodyReader
from objstore.s3.website import domains as websites_below

LARGE_BYTES = 1 * MIB
"""Objects above this take more than one piece, and count as streams."""

STRAIGHT_METHODS = frozenset(("GET", "HEAD", "PUT", "DELETE"))


class S3Endpoint:
    """Answers S3 requests; a raw ASGI function with the life of a server around it.

    `on_poisoned` is called on the event loop for each request that finds that the device
    has failed: the store takes no writes until somebody opens it anew.
    """

    def __init__(
        self,
        ctx: Context,
        request_ids: RequestIds,
        on_poisoned: Callable[[], None] | None = None,
    ) -> None:
        self._ctx = ctx
        self._request_ids = request_ids
        self._on_poisoned = on_poisoned
        self._threads: ThreadPoolExecutor | None = None
        self._list_threads: ThreadPoolExecutor | None = None
        self._upload_threads: ThreadPoolExecutor | None = None
        self._bodies: Bodies | None = None

    def start(self) -> None:
        """Start the threads; on the event loop that will serve."""
        config = self._ctx.config
        self._threads = ThreadPoolExecutor(config.request_threads, "objstore-request")
        self._list_threads = ThreadPoolExecutor(config.list_threads, "objstore-list")
        self._upload_threads = ThreadPoolExecutor(config.upload_threads, "objstore-upload")
        completions = Completions(asyncio.get_running_loop())
        store = cast(WritableStore, self._ctx.store)
        self._bodies = Bodies(store, config, self._upload_threads, completions)

    def stop(self) -> None:
        """End the threads, after what they are at; nothing stays held."""
        cast(WritableStore, self._ctx.store).commit_held()
        for threads in (self._threads, self._list_threads, self._upload_threads):
            if threads is not None:
                threads.shutdown(wait=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        ctx = self._ctx
        request = self._request(scope)
        if ctx.access_logs is not None and ctx.access_logs.is_active:
            request.note = Note(ctx.clock.monotonic_ns())
        try:
            operation = prepare(ctx, request)
            if operation.kind == "read":
                response: Response = operation.handler(ctx, request)  # type: ignore[misc]
            else:
                response = await self._answer(operation, request, receive)
        except ClientDisconnectedError:
            self._note_broken(scope, request, own_exchange(send))
            return
        except Exception as error:
            response = self._failure(request, error)
        if request.note is not None:
            await self._answer_noted(scope, request, response, send)
            return
        body = response.body
        if not isinstance(body, bytes):
            await self._stream(request, response, body, send)
            return
        headers = sent_headers(ctx, request, response)
        exchange = own_exchange(send)
        if exchange is not None:  # and no middleware that wants to see the answer
            exchange.answer(response.status, headers, body)
            return
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer_noted(
        self, scope: Scope, request: Request, response: Response, send: Send
    ) -> None:
        """Answer, and tell the access log what went out, where that was not all of it, too."""
        ctx, note, body = self._ctx, request.note, response.body
        assert note is not None
        note.answered_ns = ctx.clock.monotonic_ns()
        exchange = own_exchange(send)
        if exchange is not None:
            note.received_ns = exchange.received_ns
        counted = Counted(send, exchange)
        try:
            if isinstance(body, bytes):
                headers = sent_headers(ctx, request, response)
                start = {"type": "http.response.start", "status": response.status}
                await counted({**start, "headers": headers})
                await counted({"type": "http.response.body", "body": body})
            else:
                request.note_size(body.info.size_bytes)
                await self._stream(request, response, body, counted)
        finally:
            if counted.status:
                self._note(scope, request, counted.status, counted.sent_bytes)
            else:  # it was answered meanwhile, or is gone
                self._note_unheard(scope, request, exchange, response.status)

    def _note_broken(self, scope: Scope, request: Request, exchange: Exchange | None) -> None:
        """Tell the access log of a body that never ended, and of the answer, if there was one."""
        note = request.note
        if note is None:
            return
        broken = S3Error("IncompleteBody")
        note.error_code = broken.code
        self._note_unheard(scope, request, exchange, broken.status)

    def _note_unheard(
        self, scope: Scope, request: Request, exchange: Exchange | None, status: int
    ) -> None:
        """Tell the access log of an answer that did not go out, or of the one that did."""
        if request.note is not None and exchange is not None and exchange.response_complete:
            request.note.error_code, request.request_id = exchange.protocol.refused
            self._note(scope, request, exchange.status, exchange.sent_bytes)
        else:
            self._note(scope, request, status, 0)

    def _note(self, scope: Scope, request: Request, status: int, sent_bytes: int) -> None:
        ended_ns = self._ctx.clock.monotonic_ns()
        note_answer(self._ctx, request, scope["http_version"], status, sent_bytes, ended_ns)

    def _request(self, scope: Scope) -> Request:
        client = scope.get("client")
        request = Request(
            scope["method"],
            scope["raw_path"],
            scope["query_string"],
            scope["headers"],
            scope["scheme"],
            client[0] if client else "",
            self._request_ids.next(),
        )
        length = request.header_map.get(b"content-length")
        if length is not None:
            request.body_length = int(length)
        return request

    def _failure(self, request: Request, error: Exception) -> Response:
        if isinstance(error, StorePoisonedError) and self._on_poisoned is not None:
            self._on_poisoned()
        return to_response(self._ctx, request, error)

    async def _answer(self, operation: Operation, request: Request, receive: Receive) -> Response:
        """What takes a body, or blocks."""
        assert self._bodies is not None
        handler: Any = operation.handler
        if operation.kind == "write":
            plan: WritePlan = handler(self._ctx, request)
            info = await self._bodies.store(request, plan, receive)
            request.note_size(info.size_bytes)
            return plan.respond(info)
        if operation.kind == "form":
            return await self._bodies.store_form(
                request, receive, lambda form: handler(self._ctx, request, form)
            )
        body = await self._bodies.collect_checked(request, receive)
        if operation.kind == "commit":
            decided: CommitPlan | Response = handler(self._ctx, request)
            if isinstance(decided, Response):
                return decided
            return decided.respond(await self._bodies.gather.run(decided.submit))
        threads = self._list_threads if operation.kind == "list" else self._threads
        in_context = copy_context().run  # whose request it is, for what the events say
        response: Response = await _in_thread(
            threads, in_context, handler, self._ctx, request, body
        )
        return response

    async def _wait_for(self, reader: BodyReader) -> bytes | memoryview:
        """A piece that is not in memory."""
        piece: bytes | memoryview = await _in_thread(self._threads, reader.next)
        if not len(piece):
            raise RuntimeError(f"the reader of {reader.info.key!r} ended before its length")
        return piece

    async def _stream(
        self, request: Request, response: Response, reader: BodyReader, send: Send
    ) -> None:
        """Send an object.  A defect found before the first byte is still an error response."""
        assert self._bodies is not None
        left_bytes = 0 if request.method == "HEAD" else reader.length_bytes
        is_large = left_bytes > LARGE_BYTES
        self._bodies.streams += is_large
        try:
            try:
                if is_large:
                    self._bodies.check_streams()
                piece: bytes | memoryview = b""
                if left_bytes:
                    piece = reader.try_next() or await self._wait_for(reader)
            except Exception as error:
                response = self._failure(request, error)
                assert isinstance(response.body, bytes)
                piece, left_bytes = response.body, len(response.body)
            headers = sent_headers(self._ctx, request, response)
            await send(
                {"type": "http.response.start", "status": response.status, "headers": headers}
            )
            while True:
                left_bytes -= len(piece)
                more = left_bytes > 0
                await send({"type": "http.response.body", "body": piece, "more_body": more})
                if not more:
                    return
                piece = reader.try_next() or await self._wait_for(reader)
        finally:
            self._bodies.streams -= is_large
            reader.close()


class Counted:
    """Passes an answer on, and counts what of it went out.

    A piece in which the client left does not count: how much it has of that, nobody knows.
    """

    def __init__(self, send: Send, exchange: Exchange | None) -> None:
        self._send = send
        self._exchange = exchange
        self.status = 0
        self.sent_bytes = 0

    async def __call__(self, message: Message) -> None:
        was_gone = self._is_gone()
        await self._send(message)
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif not was_gone and not (message.get("more_body") and self._is_gone()):
            self.sent_bytes += len(message.get("body", b""))

    def _is_gone(self) -> bool:
        """Whether nobody takes anything; after the last piece that is as it should be."""
        exchange = self._exchange
        return exchange is not None and (
            exchange.disconnected or exchange.protocol.transport.is_closing()
        )


async def _in_thread(threads: ThreadPoolExecutor | None, call: Any, *arguments: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(threads, call, *arguments)


class ObjstoreApp(Starlette):
    """The endpoint with Starlette around it; see the module's text."""

    def __init__(
        self,
        endpoint: S3Endpoint,
        services: Services | None = None,
        is_ready: Callable[[], bool] = lambda: True,
        **options: Any,
    ) -> None:
        @asynccontextmanager
        async def lifespan(app: Starlette) -> AsyncIterator[None]:
            endpoint.start()
            yield
            endpoint.stop()
            if services is not None:
                services.stop()

        super().__init__(lifespan=lifespan, **options)
        self._endpoint = endpoint
        self._ask_ready = is_ready
        self._is_withdrawn = False
        self._services = services
        self.router.default = endpoint
        # A path with a slash at its end is another key.
        self.router.redirect_slashes = False

    def withdraw(self) -> None:
        """Be ready no more, for who asks before sending requests; those that come are served."""
        self._is_withdrawn = True

    def _is_ready(self) -> bool:
        return not self._is_withdrawn and self._ask_ready()

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        """One request, or the life of the server."""
        if scope["type"] == "http":
            beginning = scope["raw_path"][:10]
            if beginning in SHAPES and self._services is not None:
                face = self._services.face_of(scope)
                if face is not None:
                    return self._services.answer(face, scope, receive, send)
            if beginning == health.PREFIX:
                return health.answer(self._is_ready, scope, receive, send)
            if scope["method"] in STRAIGHT_METHODS:
                return self._endpoint(scope, receive, send)
        return super().__call__(scope, receive, send)


ROOT_ID = "0b1ec75702e0000000000000000000000000000000000000000000000000f007"
"""The root's canonical user id, 64 hex digits as S3's are; owner of what it creates.

The same in every store, so that new root keys own what the old ones made.
"""


def root_credentials(access_key: str, secret_key: str) -> Credentials:
    """Credentials of the account that may do everything."""
    return Credentials(access_key, secret_key, Identity(ROOT_ID, "root", is_root=True))


def make_app(
    store: Any,
    credentials: Iterable[Credentials] | KeyStore,
    *,
    region: str = "us-east-1",
    config: ServerConfig | None = None,
    base_domains: tuple[str, ...] = ("localhost",),
    on_poisoned: Callable[[], None] | None = None,
    regions: Regions | None = None,
    key_service: LocalKeyService | None = None,
    destinations: frozenset[str] = frozenset(),
    website_domains: tuple[str, ...] = (),
    access_logs: AccessLogs | None = None,
) -> ObjstoreApp:
    """An ASGI application that serves `store` (an open `ObjectStore`) over S3's protocol.

    Args:
        credentials: who may use it, or where to look them up.
        region: that requests are signed for.
        base_domains: hosts below which a label names a bucket.
        on_poisoned: called on the event loop for each request that finds the device failed;
            reads go on, writes need the store to be opened anew.
        regions: block devices, for EC2's and EBS's APIs on the same port; they are the
            caller's to close.  None answers none of these APIs.
        key_service: for KMS's API, likewise.
        destinations: of events, ``name:kind`` each, that buckets may be configured with.
        website_domains: further hosts below which a label names the bucket of a website,
            besides S3's own spelling below the base domains (``s3-website.localhost``).
        access_logs: what delivers those of buckets, started and stopped by the caller; where
            there is none, buckets cannot be configured to have any.
    """
    config = config or ServerConfig()
    keys = StaticKeyStore(credentials) if isinstance(credentials, Iterable) else credentials
    authenticator = Authenticator(keys, store.clock, region=region, skew_s=config.clock_skew_s)
    ctx = Context(store, store.clock, authenticator, region, config, base_domains)
    ctx.destinations = destinations
    ctx.access_logs = access_logs
    ctx.website_domains = websites_below(base_domains, region, website_domains)
    request_ids = RequestIds(store.entropy)
    faces: dict[bytes, Face] = {}
    if regions is not None:
        faces |= make_faces(regions, keys, store.clock, config)
    if key_service is not None:
        clock, entropy = store.clock, store.entropy
        faces |= make_key_face(key_service, region, keys, clock, entropy, config)
    services = Services(faces, request_ids, config) if faces else None

    def is_ready() -> bool:
        return bool(store.is_writable)

    return ObjstoreApp(S3Endpoint(ctx, request_ids, on_poisoned), services, is_ready)
