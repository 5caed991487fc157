"""The seam between the S3 layer and whatever carries HTTP.

A request goes through four steps, the first three here in `objstore.s3`:

1. `service.prepare(ctx, request)` routes, authenticates and refuses what is not
   offered.  It returns the `Operation` and fills the fields of `Request` below.
2. `operation.handler`, by `operation.kind`:

   - ``plain``: ``handler(ctx, request, body) -> Response``.  The carrier collects the
     body first (at most `ServerConfig.max_xml_body_bytes`), checked with
     ``digests.for_document(request)``.  May block: run it in a thread.
   - ``list``: as ``plain``, and reads many rows of the index: run few of them at a time.
   - ``read``: ``handler(ctx, request) -> Response``.  Fast; run it on the event loop.
   - ``write``: ``handler(ctx, request) -> WritePlan``.  Fast; run it on the event loop.
     The carrier then moves the body into the engine as the plan says.

3. ``errors.to_response(ctx, request, error)`` for anything that was raised, before the
   head of the response has gone out.
4. The carrier sends ``response.headers + ctx.common_headers(request)`` and the body,
   which it leaves out for HEAD.  ``content-length`` is always among the headers, except
   with 204 and 304.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from blockdev.clock import Clock
from objstore.cause import Cause
from objstore.config import MAX_PUT_BYTES, ServerConfig
from objstore.model import (
    DEFAULT_ATTRIBUTES,
    NO_CONDITIONS,
    Checksum,
    Conditions,
    ObjectAttributes,
)

if TYPE_CHECKING:
    from objstore.access_logs.delivery import AccessLogs
    from objstore.access_logs.record import Note
    from objstore.auth.authenticator import Authenticator, AuthResult
    from objstore.s3.digests import BodyDigests
    from objstore.s3.operation import Operation
    from objstore.s3.store import BodyReader, Store

Headers = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Request:
    """A request as the carrier received it, and what `service.prepare` found in it.

    `raw_path` is percent-encoded and without the query.  Header names are lower-case,
    values stripped, order kept.  `body_length` is Content-Length, None when absent.
    """

    method: str
    raw_path: bytes
    raw_query: bytes = field(repr=False)  # keys of customers may be in it, and in the headers
    headers: Headers = field(repr=False)
    scheme: str = "http"
    client_host: str = ""
    request_id: str = ""
    body_length: int | None = None

    operation: Operation | None = None
    bucket: str = ""
    key: str = ""
    # Decoded query pairs in order; a parameter without "=" has the value "".
    query: list[tuple[str, str]] = field(default_factory=list, repr=False)
    # Headers that a presigned URL carries in its query; `header_map` has them as well.
    hoisted: Headers = field(default_factory=list, repr=False)
    # What the access log is told, where the server keeps one.
    note: Note | None = None
    # What objstore.auth found: identity and kind of payload.
    auth: AuthResult | None = None
    # A header given twice keeps its first value here; `headers` has both.
    header_map: dict[bytes, bytes] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # reversed: the first of several headers of one name wins
        self.header_map = dict(reversed(self.headers))

    def header(self, name: bytes) -> str | None:
        """The value of a header, by lower-case name; bytes that are not UTF-8 as Latin-1."""
        value = self.header_map.get(name)
        if value is None:
            return None
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return value.decode("latin-1")

    def note_size(self, size_bytes: int) -> None:
        """Tell the access log of the size of the object in question."""
        if self.note is not None:
            self.note.size_bytes = size_bytes

    def cause(self) -> Cause:
        """What the events of what this request does tell of it."""
        principal = "" if self.auth is None else self.auth.identity.id
        name = "" if self.operation is None else self.operation.event
        return Cause(principal, self.client_host, self.request_id, name)

    def query_value(self, name: str) -> str | None:
        """The first value of a query parameter; "" when it stands without one, None when absent."""
        for key, value in self.query:
            if key == name:
                return value
        return None


@dataclass(slots=True)
class Response:
    """Status, headers and a body: bytes, or an open `ObjectReader` that the carrier closes."""

    status: int
    headers: Headers
    body: bytes | BodyReader = b""


Verify = Callable[[Mapping[str, bytes], Mapping[str, str]], tuple[Checksum, ...]]


@dataclass(slots=True)
class WritePlan:
    """A validated upload of bytes: what the carrier needs to move the body into the engine.

    `size_bytes`: the decoded length that the client declared; None when it did not.
    `max_bytes`: refuse (`EntityTooLarge`) a decoded body that grows past this.
    `aws_chunked`: the body is in aws-chunked frames; `request.auth` says whether their
        signatures count.  `trailer_names`: lower-case names from ``x-amz-trailer``.
    `digests`: ``digests.algorithms`` are to be computed over the decoded body, MD5 always
        among what is passed to `verify` (the engine computes it in any case).
    `upload_id`: empty for a whole object, else the body is part `part_number`.
    `respond`: makes the answer from what the engine's commit returned.
    `customer_key`: of SSE-C, 32 bytes; empty for none.
    `least_bytes`: refuse (`EntityTooSmall`) a file of a form that is smaller.
    `has_digest`: whether the client sent one: what the bucket would lock has to have one.
    `write_offset_bytes`: the body is appended to an object of this size; None for a put.
    """

    bucket: str
    key: str
    digests: BodyDigests
    respond: Callable[[Any], Response]
    attributes: ObjectAttributes = DEFAULT_ATTRIBUTES
    conditions: Conditions = NO_CONDITIONS
    size_bytes: int | None = None
    max_bytes: int = MAX_PUT_BYTES
    aws_chunked: bool = False
    trailer_names: tuple[str, ...] = ()
    upload_id: str = ""
    part_number: int = 0
    customer_key: bytes = field(default=b"", repr=False)
    write_offset_bytes: int | None = None
    least_bytes: int = 0
    has_digest: bool = True

    @property
    def is_part(self) -> bool:
        """Whether the body goes to `open_part` rather than to `submit_put` or `open_put`."""
        return self.upload_id != ""

    def verify(
        self, computed: Mapping[str, bytes], trailers: Mapping[str, str]
    ) -> tuple[Checksum, ...]:
        """Compare digests with what the client sent; return the checksums to store.

        Args:
            computed: raw digests by algorithm, for ``digests.algorithms`` and ``MD5``.
            trailers: trailers of an aws-chunked body by lower-case name.

        Raises:
            S3Error: BadDigest, XAmzContentSHA256Mismatch, MalformedTrailerError.
        """
        return self.digests.verify(computed, trailers)


@dataclass(slots=True)
class CommitPlan:
    """A validated mutation without a body, for the carrier to commit among others.

    `submit`: hands it to the engine; takes what to call with its outcome or the error, and
        whether to hold it until the carrier commits what it has gathered.
    `respond`: makes the answer from the outcome.
    """

    submit: Callable[[Callable[[Any, BaseException | None], None], bool], None]
    respond: Callable[[Any], Response]


@dataclass(slots=True)
class Context:
    """What handlers work with; one for the life of a server process.

    `base_domains`: hosts below which a label names a bucket (``bucket.base``), lower-case
    and without port.  `host_id` goes out as ``x-amz-id-2``.
    `website_domains`: likewise, hosts below which a label names the bucket of a website.
    `destinations`: of events, ``name:kind`` each, that this server delivers to.
    `access_logs`: what delivers those of buckets; None where nothing does.
    """

    store: Store
    clock: Clock
    authenticator: Authenticator
    region: str = "us-east-1"
    config: ServerConfig = field(default_factory=ServerConfig)
    base_domains: tuple[str, ...] = ("localhost",)
    host_id: str = "objstore"
    destinations: frozenset[str] = frozenset()
    website_domains: tuple[str, ...] = ()
    access_logs: AccessLogs | None = None

    def common_headers(self, request: Request) -> Headers:
        """Headers of every response; the carrier adds Date and Connection."""
        return [
            (b"x-amz-request-id", request.request_id.encode("ascii")),
            (b"x-amz-id-2", self.host_id.encode("ascii")),
            (b"server", b"objstore"),
        ]
