"""Bodies of requests: collected when small, streamed into the engine when not."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextvars import copy_context
from typing import Any, Protocol

from starlette.types import Message, Receive, Send

from blockdev import Buffer, Clock
from objstore import hashing
from objstore.asgi.exchange import ClientDisconnectedError, Exchange
from objstore.asgi.gather import Gather
from objstore.asgi.strand import Completions, Strand
from objstore.asgi.upload import Blocks, Budget, OpenStream, Stream, Upload
from objstore.auth.chunked import ChunkedDecoder
from objstore.auth.payload import decoded_length
from objstore.config import ServerConfig, StoreConfig
from objstore.crc import CrcHasher
from objstore.model import Checksum, Conditions, ObjectAttributes
from objstore.s3.checksums import digest_of, new_hasher
from objstore.s3.digests import for_document
from objstore.s3.errors import S3Error, entity_too_large
from objstore.s3.form import Form
from objstore.s3.http import Request, Response, WritePlan


class WritableStore(Protocol):
    """What of `ObjectStore` takes bodies."""

    config: StoreConfig

    @property
    def clock(self) -> Clock: ...

    def submit_put(
        self,
        bucket: str,
        key: str,
        body: Buffer,
        done: Callable[[Any, BaseException | None], None],
        *,
        attributes: ObjectAttributes,
        conditions: Conditions,
        checksums: tuple[Checksum, ...],
        md5: bytes | None,
        hold: bool,
        customer_key: bytes,
        has_digest: bool,
    ) -> None: ...

    @property
    def is_being_written(self) -> bool: ...

    def commit_held(self) -> None: ...

    def open_put(
        self,
        bucket: str,
        key: str,
        *,
        size_bytes: int | None,
        attributes: ObjectAttributes,
        conditions: Conditions,
        hashers: Sequence[Callable[[Buffer], object]],
        customer_key: bytes,
        has_digest: bool,
    ) -> Stream: ...

    def open_append(
        self,
        bucket: str,
        key: str,
        offset_bytes: int,
        *,
        size_bytes: int | None,
        attributes: ObjectAttributes,
        conditions: Conditions,
        hashers: Sequence[Callable[[Buffer], object]],
        customer_key: bytes,
    ) -> Stream: ...

    def open_part(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        part_number: int,
        *,
        size_bytes: int | None,
        hashers: Sequence[Callable[[Buffer], object]],
        customer_key: bytes,
    ) -> Stream: ...


def digest_small(name: str, body: bytes) -> bytes:
    """The digest of a body at hand, on the event loop."""
    hasher = new_hasher(name)
    if isinstance(hasher, CrcHasher):  # never lets go of the interpreter
        hasher.update(body)
    else:
        hashing.feed(hasher, body)
    return hasher.digest()


async def next_piece(receive: Receive) -> tuple[bytes, bool]:
    """The next piece of a body and whether more follows.

    Raises:
        ClientDisconnectedError: the client left before the end of its body.
    """
    message = await receive()
    if message["type"] != "http.request":
        raise ClientDisconnectedError("the client left in the middle of its body")
    return message.get("body", b""), message.get("more_body", False)


async def collect(receive: Receive, limit_bytes: int) -> bytes:
    """A whole body.

    Raises:
        S3Error: MaxMessageLengthExceeded.
        ClientDisconnectedError: the client left before its end.
    """
    data, more = await next_piece(receive)
    if not more and len(data) <= limit_bytes:
        return data
    pieces = [data]
    size = len(data)
    while more:
        if size > limit_bytes:
            raise S3Error("MaxMessageLengthExceeded")
        data, more = await next_piece(receive)
        pieces.append(data)
        size += len(data)
    if size > limit_bytes:
        raise S3Error("MaxMessageLengthExceeded")
    return b"".join(pieces)


def decoder_for(request: Request, trailer_names: Sequence[str]) -> ChunkedDecoder:
    """What takes the frames off an aws-chunked body.

    Raises:
        AuthError: the decoded length is missing.
    """
    assert request.auth is not None
    return ChunkedDecoder(
        request.auth.payload,
        decoded_length(request.header_map.get(b"x-amz-decoded-content-length")),
        request.auth.chunk_signing,
        trailer_names,
    )


def has_body(request: Request) -> bool:
    """Whether any bytes may follow the headers."""
    return bool(request.body_length) or b"transfer-encoding" in request.header_map


def own_exchange(callable_: Receive | Send) -> Exchange | None:
    """The exchange that one of its methods belongs to; None under another server, or wrapped."""
    exchange = getattr(callable_, "__self__", None)
    return exchange if isinstance(exchange, Exchange) else None


class FormFile:
    """The file of a form as a body of its own: what a form's plan is stored from."""

    def __init__(
        self, form: Form, plan: WritePlan, pieces: list[bytes], receive: Receive | None
    ) -> None:
        self._form, self._plan = form, plan
        self._pieces = pieces
        self._receive = receive
        self._size_bytes = 0

    async def receive(self) -> Message:
        """The next piece, as ASGI has it.

        Raises:
            S3Error: the file is larger or smaller than it may be, or the form has no end.
        """
        while not self._pieces and self._receive is not None:
            data, more = await next_piece(self._receive)
            self._pieces = self._form.feed(data)
            if not more:
                self._receive = None
        body, self._pieces = b"".join(self._pieces), []
        self._size_bytes += len(body)
        self._check_size()
        return {"type": "http.request", "body": body, "more_body": self._receive is not None}

    def _check_size(self) -> None:
        if self._size_bytes > self._plan.max_bytes:
            raise entity_too_large(self._size_bytes, self._plan.max_bytes)
        if self._receive is None:
            self._form.finish()
            if self._size_bytes < self._plan.least_bytes:
                raise S3Error(
                    "EntityTooSmall",
                    extra={
                        "ProposedSize": str(self._size_bytes),
                        "MinSizeAllowed": str(self._plan.least_bytes),
                    },
                )


class Bodies:
    """Moves bodies of requests; one for each server process.

    Args:
        store: takes the objects and parts.
        executor: threads for uploads.
    """

    def __init__(
        self,
        store: WritableStore,
        config: ServerConfig,
        executor: Executor,
        completions: Completions,
    ) -> None:
        self._store = store
        self._config = config
        self._executor = executor
        self._completions = completions
        self._budget = Budget(config.uploads_buffer_bytes)
        io_bytes = store.config.io_bytes
        self._blocks = Blocks(io_bytes, config.spare_blocks_bytes // io_bytes)
        self._inline_bytes = store.config.log_inline_bytes
        self.gather = Gather(store, completions, may_commit=config.commits_on_loop)
        self.streams = 0

    async def collect_checked(self, request: Request, receive: Receive) -> bytes:
        """The body of a plain operation, unframed, its digests compared.

        Raises:
            S3Error, AuthError: it is too long, or is not what was announced.
        """
        limit_bytes = self._config.max_xml_body_bytes
        if request.body_length is not None and request.body_length > limit_bytes:
            raise S3Error("MaxMessageLengthExceeded")
        body = await collect(receive, limit_bytes) if has_body(request) else b""
        digests = for_document(request)
        trailers: dict[str, str] = {}
        if request.auth is not None and request.auth.payload.aws_chunked:
            names = (digests.trailer_name,) if digests.trailer_name else ()
            decoder = decoder_for(request, names)
            body = b"".join(decoder.feed(body))
            trailers = dict(decoder.finish())
        computed = {name: digest_of(name, body) for name in digests.algorithms}
        digests.verify(computed, trailers)
        return body

    async def store(self, request: Request, plan: WritePlan, receive: Receive) -> Any:
        """Store the body as the plan says; returns what the engine's commit returned.

        Raises:
            StoreError, AuthError, S3Error: nothing was stored.
            ClientDisconnectedError: the client left; nothing was stored.
        """
        size_bytes = plan.size_bytes
        is_small = size_bytes is not None and size_bytes <= self._inline_bytes
        if is_small and not plan.is_part and plan.write_offset_bytes is None:
            return await self._store_small(request, plan, receive)
        return await self._store_large(request, plan, receive)

    async def store_form(
        self, request: Request, receive: Receive, plan_of: Callable[[Form], WritePlan]
    ) -> Response:
        """Store the file of a browser's form; `plan_of` is asked once its fields have come.

        Raises:
            StoreError, AuthError, S3Error: nothing was stored.
            ClientDisconnectedError: the client left; nothing was stored.
        """
        form = Form(request.header(b"content-type") or "")
        pieces: list[bytes] = []
        more = True
        while more and not form.has_file:
            data, more = await next_piece(receive)
            pieces += form.feed(data)
        if not form.has_file:
            form.finish()
        plan = plan_of(form)
        file = FormFile(form, plan, pieces, receive if more else None)
        return plan.respond(await self._store_large(request, plan, file.receive))

    async def _store_small(self, request: Request, plan: WritePlan, receive: Receive) -> Any:
        trailers: dict[str, str] = {}
        if plan.aws_chunked:
            decoder = decoder_for(request, plan.trailer_names)
            pieces: list[memoryview] = []
            more = True
            while more:
                data, more = await next_piece(receive)
                pieces += decoder.feed(data)
            body = b"".join(pieces)
            trailers = dict(decoder.finish())
        elif request.body_length:
            body = await collect(receive, self._inline_bytes)
        else:
            body = b""
        computed = {name: digest_small(name, body) for name in plan.digests.algorithms}
        md5 = computed.get("MD5")
        if md5 is None:
            md5 = computed["MD5"] = digest_small("MD5", body)
        checksums = plan.verify(computed, trailers)
        submit = functools.partial(
            self._store.submit_put,
            plan.bucket,
            plan.key,
            body,
            attributes=plan.attributes,
            conditions=plan.conditions,
            checksums=checksums,
            md5=md5,
            customer_key=plan.customer_key,
            has_digest=plan.has_digest,
        )
        return await self.gather.run(lambda done, hold: submit(done, hold=hold))

    async def _store_large(self, request: Request, plan: WritePlan, receive: Receive) -> Any:
        opener, context = self._opener(plan), copy_context()
        upload = Upload(
            Strand(self._executor, self._completions),
            self._completions,
            self._budget,
            self._blocks,
            open_stream=lambda hashers: context.run(opener, hashers),
            decoder=decoder_for(request, plan.trailer_names) if plan.aws_chunked else None,
            algorithms=plan.digests.algorithms,
            limit_bytes=self._config.upload_buffer_bytes,
        )
        self.streams += 1
        try:
            self.check_streams()
            await upload.open()
            exchange = own_exchange(receive)
            if exchange is not None:
                await self._feed_blocks(upload, exchange)
            elif has_body(request):
                await self._feed_pieces(upload, receive)
            return await upload.commit(plan.verify)
        finally:
            self.streams -= 1
            upload.close()

    async def _feed_blocks(self, upload: Upload, exchange: Exchange) -> None:
        size_bytes = self._blocks.size_bytes
        while size_bytes == self._blocks.size_bytes:
            await upload.room()
            block = self._blocks.take()
            size_bytes = await exchange.receive_into(memoryview(block))
            upload.feed_block(block, size_bytes)

    async def _feed_pieces(self, upload: Upload, receive: Receive) -> None:
        more = True
        while more:
            data, more = await next_piece(receive)
            if data:
                await upload.feed(data)

    def check_streams(self) -> None:
        """Refuse the one large body too many; call it once that is counted.

        Raises:
            S3Error: SlowDown.
        """
        if self.streams > self._config.max_streams:
            raise S3Error("SlowDown")

    def _opener(self, plan: WritePlan) -> OpenStream:
        def open_stream(hashers: Sequence[Callable[[Buffer], object]]) -> Stream:
            if plan.is_part:
                return self._store.open_part(
                    plan.bucket,
                    plan.key,
                    plan.upload_id,
                    plan.part_number,
                    size_bytes=plan.size_bytes,
                    hashers=hashers,
                    customer_key=plan.customer_key,
                )
            if plan.write_offset_bytes is not None:
                return self._store.open_append(
                    plan.bucket,
                    plan.key,
                    plan.write_offset_bytes,
                    size_bytes=plan.size_bytes,
                    attributes=plan.attributes,
                    conditions=plan.conditions,
                    hashers=hashers,
                    customer_key=plan.customer_key,
                )
            return self._store.open_put(
                plan.bucket,
                plan.key,
                size_bytes=plan.size_bytes,
                attributes=plan.attributes,
                conditions=plan.conditions,
                hashers=hashers,
                customer_key=plan.customer_key,
                has_digest=plan.has_digest,
            )

        return open_stream
