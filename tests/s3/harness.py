"""The S3 layer without sockets: requests go in, responses come out, all in one thread.

Stands where `objstore.asgi` stands: it collects bodies, runs aws-chunked decoding and
digests, moves uploads into the store and renders errors.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

import pytest

from blockdev.clock import ManualClock
from objstore.auth.authenticator import AuthResult
from objstore.auth.chunked import ChunkedDecoder
from objstore.auth.keys import ANONYMOUS, Identity
from objstore.auth.payload import PayloadKind, classify
from objstore.config import MIB
from objstore.entropy import SeededEntropy
from objstore.errors import IncompleteBodyError
from objstore.model import ObjectInfo
from objstore.s3 import digests, errors, service
from objstore.s3.checksums import new_hasher
from objstore.s3.form import Form
from objstore.s3.http import CommitPlan, Context, Headers, Request, Response, WritePlan
from objstore.s3.operation import Operation
from tests.model_store import ModelStore
from tests.stores import SMALL_CONFIG, StoreFactory

ROOT = Identity("a" * 64, "root", is_root=True)
OTHER = Identity("b" * 64, "other")


# Of the operations that need a digest, in their queries; those of tags of objects may have one.
_NEED_DIGEST = frozenset(("delete", "cors", "tagging", "object-lock", "retention", "legal-hold"))


class TrustingAuthenticator:
    """Believes every request: `identity` sent it.  The signatures have tests of their own."""

    def __init__(self) -> None:
        self.identity = ROOT

    def authenticate_form(self, fields: Mapping[str, str]) -> AuthResult:
        return AuthResult(self.identity, PayloadKind.UNSIGNED, b"UNSIGNED-PAYLOAD")

    def authenticate(
        self, method: str, raw_path: bytes, raw_query: bytes, headers: Headers
    ) -> AuthResult:
        value = dict(headers).get(b"x-amz-content-sha256", b"UNSIGNED-PAYLOAD")
        if self.identity is ANONYMOUS:
            return AuthResult(ANONYMOUS, PayloadKind.UNSIGNED, value)
        return AuthResult(self.identity, classify(value), value)


@dataclass
class Reply:
    """A response, its body collected."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def xml(self) -> ET.Element:
        """The body as XML, tags without their namespace."""
        tree = ET.fromstring(self.body)
        for node in tree.iter():
            node.tag = node.tag.rpartition("}")[2]
        return tree

    def text(self, path: str) -> str | None:
        """The text of an element of the body, "" for an empty one, None for a missing one."""
        found = self.xml.find(path)
        return None if found is None else found.text or ""

    def texts(self, path: str) -> list[str]:
        """The texts of all elements at a path."""
        return [node.text or "" for node in self.xml.findall(path)]

    @property
    def code(self) -> str:
        """The S3 error code, "" when there is no error document."""
        return self.text("Code") or "" if self.body.startswith(b"<?xml") else ""

    @property
    def etag(self) -> str:
        """The ETag header without quotes."""
        return self.headers["etag"].strip('"')


class S3:
    """A client and a server in one, over a model store.

    `min_part_bytes` is small, so that multipart tests need no megabytes.
    """

    # What opens the store; the fixture `backend` puts the engine in the model's place.
    open_store: ClassVar[Callable[..., Any]] = ModelStore

    def __init__(self, region: str = "us-east-1", min_part_bytes: int = 5 * MIB) -> None:
        self.clock = ManualClock()
        self.store = type(self).open_store(
            config=replace(SMALL_CONFIG, min_part_bytes=min_part_bytes),
            clock=self.clock,
            entropy=SeededEntropy(1),
            create_buckets=False,
        )
        self.authenticator = TrustingAuthenticator()
        self.ctx = Context(
            store=self.store,
            clock=self.clock,
            authenticator=self.authenticator,  # type: ignore[arg-type]
            region=region,
            base_domains=("localhost", "s3.example.com"),
        )

    def __call__(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        query: str | dict[str, str] = "",
        headers: dict[str, str] | None = None,
        host: str = "localhost:9000",
        length: int | None = -1,
        digest: bool = True,
    ) -> Reply:
        """One request.  `path` is quoted here; `length` overrides Content-Length.

        `digest`: send a Content-MD5 where S3 demands a digest, unless there is one.
        """
        given = {"host": host, **(headers or {})}
        raw_query = urlencode(query, quote_via=quote) if isinstance(query, dict) else query
        may_need = digest and method in ("PUT", "POST") and not has_digest(given)
        if may_need and not _NEED_DIGEST.isdisjoint(re.split("[&=]", raw_query)):
            given["content-md5"] = md5_header(body)
        request = Request(
            method=method,
            raw_path=quote(path, safe="/").encode("ascii"),
            raw_query=raw_query.encode("ascii"),
            headers=[(k.lower().encode(), v.encode()) for k, v in given.items()],
            request_id="0123456789ABCDEF",
            body_length=len(body) if length == -1 else length,
        )
        return self.run(request, body)

    def run(self, request: Request, body: bytes) -> Reply:
        """One request as the carrier would hand it over."""
        try:
            response = self._answer(request, body)
        except Exception as error:
            response = errors.to_response(self.ctx, request, error)
        content = response.body if isinstance(response.body, bytes) else response.body.read()
        sent = service.sent_headers(self.ctx, request, response)
        headers = {k.decode("ascii"): v.decode("utf-8") for k, v in sent}
        assert len(headers) == len(sent), f"a header is sent twice: {sent}"
        self._check_framing(request, response, headers, content)
        return Reply(response.status, headers, b"" if request.method == "HEAD" else content)

    def _answer(self, request: Request, body: bytes) -> Response:
        operation = service.prepare(self.ctx, request)
        assert operation.handler is not None
        if operation.kind == "read":
            response: Response = operation.handler(self.ctx, request)
            return response
        if operation.kind == "write":
            return self._upload(request, operation.handler(self.ctx, request), body)
        if operation.kind == "form":
            return self._form(operation, request, body)
        checks = digests.for_document(request)
        data, trailers = decode(request, body, (checks.trailer_name,))
        checks.verify(compute((*checks.algorithms, "MD5"), data), trailers)
        if operation.kind != "commit":
            response = operation.handler(self.ctx, request, data)
            return response
        decided: CommitPlan | Response = operation.handler(self.ctx, request)
        if isinstance(decided, Response):
            return decided
        submit = decided.submit
        return decided.respond(_outcome(lambda done: submit(done, False)))

    def _form(self, operation: Operation, request: Request, body: bytes) -> Response:
        """A browser's form, in pieces of any size."""
        form = Form(request.header(b"content-type") or "")
        pieces = [
            piece for at in range(0, len(body), 99) for piece in form.feed(body[at : at + 99])
        ]
        if not form.has_file:
            form.finish()
        assert operation.handler is not None
        plan: WritePlan = operation.handler(self.ctx, request, form)
        form.finish()
        data = b"".join(pieces)
        if len(data) > plan.max_bytes:
            raise errors.entity_too_large(len(data), plan.max_bytes)
        if len(data) < plan.least_bytes:
            raise errors.S3Error("EntityTooSmall")
        return self._upload(request, plan, data)

    def _upload(self, request: Request, plan: WritePlan, body: bytes) -> Response:
        data, trailers = decode(request, body, plan.trailer_names)
        if plan.size_bytes is not None and plan.size_bytes != len(data):
            raise IncompleteBodyError("the body is not as long as declared")
        checksums = plan.verify(compute((*plan.digests.algorithms, "MD5"), data), trailers)
        if plan.is_part:
            part = self.store.open_part(
                plan.bucket,
                plan.key,
                plan.upload_id,
                plan.part_number,
                customer_key=plan.customer_key,
            )
            part.write(data)
            return plan.respond(part.commit(checksums=checksums))
        if plan.write_offset_bytes is not None:
            stream = self.store.open_append(
                plan.bucket,
                plan.key,
                plan.write_offset_bytes,
                attributes=plan.attributes,
                conditions=plan.conditions,
                customer_key=plan.customer_key,
            )
            stream.write(data)
            return plan.respond(stream.commit(checksums=checksums))
        return plan.respond(self._submit(plan, data, checksums))

    def _submit(self, plan: WritePlan, data: bytes, checksums: tuple[object, ...]) -> ObjectInfo:
        info: ObjectInfo = _outcome(
            lambda done: self.store.submit_put(
                plan.bucket,
                plan.key,
                data,
                done,
                attributes=plan.attributes,
                conditions=plan.conditions,
                checksums=checksums,
                customer_key=plan.customer_key,
                has_digest=plan.has_digest,
            )
        )
        return info

    @staticmethod
    def _check_framing(
        request: Request, response: Response, headers: dict[str, str], content: bytes
    ) -> None:
        if response.status in (204, 304):
            assert "content-length" not in headers
            assert content == b""
        elif request.method != "HEAD":
            assert int(headers["content-length"]) == len(content)


def _outcome(submit: Callable[[Callable[[Any, BaseException | None], None]], None]) -> Any:
    """What `submit` reports, or raises, in the end."""
    outcome: Future[Any] = Future()

    def done(value: Any, error: BaseException | None) -> None:
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(value)

    submit(done)
    return outcome.result(timeout=60)


def use_engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the engine in the model's place."""
    factory: StoreFactory = request.getfixturevalue("store_factory")
    numbers = itertools.count()

    def open_engine(**arguments: Any) -> Any:
        return factory(f"store-{next(numbers)}", **arguments)

    monkeypatch.setattr(S3, "open_store", open_engine)


@pytest.fixture(params=["model", "engine"], autouse=True)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Import this into a test module, and its tests run over the model and over the engine."""
    if request.param == "engine":
        use_engine(request, monkeypatch)


@pytest.fixture(name="s3")
def engine_s3(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> S3:
    """Import this, and `s3` is a server over the engine, with a bucket ``bucket``.

    For what the model does not have.
    """
    use_engine(request, monkeypatch)
    server = S3()
    server("PUT", "/bucket")
    return server


def decode(
    request: Request, body: bytes, trailer_names: tuple[str, ...]
) -> tuple[bytes, dict[str, str]]:
    """The decoded body, and its trailers."""
    auth = request.auth
    if auth is None or not auth.payload.aws_chunked:
        return body, {}
    length = int(request.header(b"x-amz-decoded-content-length") or 0)
    names = tuple(name for name in trailer_names if name)
    decoder = ChunkedDecoder(auth.payload, length, trailer_names=names)
    data = b"".join(bytes(piece) for piece in decoder.feed(body))
    return data, dict(decoder.finish())


def compute(algorithms: tuple[str, ...], data: bytes) -> dict[str, bytes]:
    """Raw digests by name."""
    found = {}
    for name in algorithms:
        hasher = new_hasher(name)
        hasher.update(data)
        found[name] = hasher.digest()
    return found


def checksum(algorithm: str, data: bytes) -> str:
    """A checksum as a header carries it."""
    return base64.b64encode(compute((algorithm,), data)[algorithm]).decode("ascii")


def has_digest(headers: Mapping[str, str]) -> bool:
    """Whether headers say a digest of the body, or that one is to come."""
    names = {name.lower() for name in headers}
    return bool(names & {"content-md5", "x-amz-trailer"}) or any(
        name.startswith("x-amz-checksum-") for name in names
    )


def md5_header(data: bytes) -> str:
    """Content-MD5."""
    return base64.b64encode(hashlib.md5(data).digest()).decode("ascii")


def chunked(data: bytes, trailers: dict[str, str] | None = None) -> bytes:
    """An unsigned aws-chunked body."""
    frames = b""
    if data:
        frames += b"%x\r\n%b\r\n" % (len(data), data)
    frames += b"0\r\n"
    for name, value in (trailers or {}).items():
        frames += f"{name}:{value}\r\n".encode("ascii")
    return frames + b"\r\n"
