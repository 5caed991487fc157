"""The aws-chunked encoding of bodies, decoded as it arrives.

    chunk   = hex-size [";chunk-signature=" 64hex] CRLF data CRLF
    body    = *chunk "0" [";chunk-signature=" 64hex] CRLF *(name ":" value CRLF) CRLF

Each signature covers the one before it, from the seed in the Authorization header on, so
that chunks cannot be dropped, repeated or swapped.  The decoder hands data on before its
chunk's signature has come by: nothing of it counts until `ChunkedDecoder.finish` has
returned.  Formats:
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256

from blockdev.device import Buffer
from objstore.auth.errors import (
    IncompleteChunkedBodyError,
    InvalidChunkSizeError,
    MalformedChunkError,
    MalformedTrailerError,
    SignatureDoesNotMatchError,
)
from objstore.auth.payload import EMPTY_SHA256, PayloadKind
from objstore.auth.sigv4 import SigningKey
from objstore.config import ChunkLimits

TRAILER_SIGNATURE = "x-amz-trailer-signature"

_CHUNK_HEADER = re.compile(rb"([0-9a-fA-F]{1,16})(?:;chunk-signature=([0-9a-f]{64}))?")
_TRAILER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*:([\t\x20-\x7e\x80-\xff]*)")


DEFAULT_LIMITS = ChunkLimits()


@dataclass(slots=True)
class ChunkSigning:
    """The chain of signatures: each `verify` moves `previous` one link on."""

    signing_key: SigningKey
    timestamp: bytes
    scope_text: bytes
    previous: bytes

    def verify_chunk(self, chunk_sha256_hex: bytes, signature: bytes) -> None:
        """Check a chunk against its digest.

        Raises:
            SignatureDoesNotMatchError: its signature is not the next of the chain.
        """
        self._verify(
            b"AWS4-HMAC-SHA256-PAYLOAD\n%b\n%b\n%b\n%b\n%b"
            % (self.timestamp, self.scope_text, self.previous, EMPTY_SHA256, chunk_sha256_hex),
            signature,
        )

    def verify_trailer(self, trailer_sha256_hex: bytes, signature: bytes) -> None:
        """The same for the digest of the canonical trailers."""
        self._verify(
            b"AWS4-HMAC-SHA256-TRAILER\n%b\n%b\n%b\n%b"
            % (self.timestamp, self.scope_text, self.previous, trailer_sha256_hex),
            signature,
        )

    def _verify(self, text: bytes, signature: bytes) -> None:
        expected = self.signing_key.sign(text)
        if not hmac.compare_digest(expected, signature):
            raise SignatureDoesNotMatchError("", signature, text)
        self.previous = expected


class _State(Enum):
    HEADER = "in a chunk's header"
    DATA = "in a chunk's data"
    DATA_END = "at the end of a chunk's data"
    TRAILER = "in the trailers"
    DONE = "after the end"


class ChunkedDecoder:
    """Takes the body as it comes, in pieces of any size, and gives the data in it.

    Args:
        payload: an aws-chunked kind.
        decoded_length_bytes: what x-amz-decoded-content-length says.
        signing: where `payload.chunk_signed`; the decoder moves it along.
        trailer_names: what x-amz-trailer announces, in lower case.

    Once an error was raised the decoder is of no more use.
    """

    def __init__(
        self,
        payload: PayloadKind,
        decoded_length_bytes: int,
        signing: ChunkSigning | None = None,
        trailer_names: Iterable[str] = (),
        limits: ChunkLimits = DEFAULT_LIMITS,
    ) -> None:
        if not payload.aws_chunked:
            raise ValueError(f"{payload.text} is not aws-chunked")
        if payload.chunk_signed != (signing is not None):
            raise ValueError(f"{payload.text} and its signing do not go together")
        self._payload = payload
        self._signing = signing
        self._announced = frozenset(trailer_names) - {TRAILER_SIGNATURE}
        self._limits = limits
        self._length_bytes = decoded_length_bytes
        self._state = _State.HEADER
        self._line = bytearray()  # the start of a line that the last piece broke off
        self._left_bytes = 0  # of the chunk under way
        self._chunk_count = 0
        self._signature = b""
        self._sha256 = sha256()
        self._trailer_bytes = 0
        self._trailers: dict[str, str] = {}
        self.decoded_bytes = 0

    def feed(self, data: Buffer) -> list[memoryview]:
        """Take the next piece of the body.

        Returns:
            The data in it: views of `data`, nothing is copied.

        Raises:
            PayloadError, SignatureDoesNotMatchError
        """
        view = memoryview(data).cast("B")
        end = len(view)
        at = 0
        pieces: list[memoryview] = []
        while at < end:
            if self._state is _State.DATA:
                piece = view[at : at + self._left_bytes]
                self._take_data(piece)
                pieces.append(piece)
                at += len(piece)
            elif self._state is _State.DONE:
                raise MalformedChunkError("it goes on after its end")
            else:
                at = self._take_line(view, at)
        return pieces

    def finish(self) -> Mapping[str, str]:
        """The body has ended; only now is its data known to be whole and genuine.

        Returns:
            The trailers by lower-case name, without the signature.

        Raises:
            IncompleteChunkedBodyError: it ended too early.
        """
        if self._state is not _State.DONE:
            raise IncompleteChunkedBodyError
        return self._trailers

    def _take_data(self, piece: memoryview) -> None:
        if self._signing is not None:
            self._sha256.update(piece)
        self._left_bytes -= len(piece)
        self.decoded_bytes += len(piece)
        if self._left_bytes == 0:
            self._state = _State.DATA_END

    def _take_line(self, view: memoryview, at: int) -> int:
        """Take a line, or the part of it that is there; return where it ends."""
        limit = self._line_limit()
        # one more than the limit, and the line's own end
        window = bytes(view[at : at + limit + 2 - len(self._line)])
        self._line += window
        stop = self._line.find(b"\r\n")
        if stop < 0:
            # a CR at the very end may belong to the line's end
            if len(self._line) >= limit + 2:
                self._refuse_long_line()
            return at + len(window)
        surplus = len(self._line) - stop - 2
        line = bytes(self._line[:stop])
        self._line.clear()
        self._on_line(line)
        return at + len(window) - surplus

    def _line_limit(self) -> int:
        if self._state is _State.HEADER:
            return self._limits.header_bytes
        if self._state is _State.DATA_END:
            return 0
        return self._limits.trailer_bytes - self._trailer_bytes

    def _refuse_long_line(self) -> None:
        if self._state is _State.TRAILER:
            raise MalformedTrailerError
        if self._state is _State.DATA_END:
            raise MalformedChunkError("a chunk's data does not end where its size says")
        raise MalformedChunkError(f"a chunk's header is over {self._limits.header_bytes} bytes")

    def _on_line(self, line: bytes) -> None:
        if self._state is _State.HEADER:
            self._on_header(line)
        elif self._state is _State.DATA_END:
            self._end_chunk()
            self._state = _State.HEADER
        else:
            self._on_trailer(line)

    def _on_header(self, line: bytes) -> None:
        match = _CHUNK_HEADER.fullmatch(line)
        if match is None:
            raise MalformedChunkError("a chunk's header cannot be read")
        size_bytes = int(match[1], 16)
        if (match[2] is not None) != self._payload.chunk_signed:
            missing = "has no signature" if match[2] is None else "has a signature"
            raise MalformedChunkError(f"a chunk {missing}, unlike x-amz-content-sha256 says")
        self._signature = match[2]
        self._chunk_count += 1
        if size_bytes:
            self._begin_chunk(size_bytes)
        else:
            self._end_data()

    def _begin_chunk(self, size_bytes: int) -> None:
        missing_bytes = self._length_bytes - self.decoded_bytes - size_bytes
        if missing_bytes < 0:
            raise IncompleteChunkedBodyError(
                "The body is longer than x-amz-decoded-content-length says"
            )
        if missing_bytes and size_bytes < self._limits.least_chunk_bytes:
            raise InvalidChunkSizeError(
                self._chunk_count + 1, size_bytes, self._limits.least_chunk_bytes
            )
        self._left_bytes = size_bytes
        self._state = _State.DATA

    def _end_data(self) -> None:
        if self.decoded_bytes != self._length_bytes:
            raise IncompleteChunkedBodyError(
                "The body is shorter than x-amz-decoded-content-length says"
            )
        self._end_chunk()
        self._state = _State.TRAILER

    def _end_chunk(self) -> None:
        if self._signing is not None:
            self._signing.verify_chunk(self._sha256.hexdigest().encode(), self._signature)
            self._sha256 = sha256()

    def _on_trailer(self, line: bytes) -> None:
        if not line:
            self._end_trailers()
            return
        self._trailer_bytes += len(line) + 2
        # AWS's own example ends a trailer's value in LF before the line's CRLF.
        match = _TRAILER.fullmatch(line.removesuffix(b"\n"))
        if match is None or len(self._trailers) >= self._limits.trailers:
            raise MalformedTrailerError
        name = match[1].decode("ascii").lower()
        allowed = name in self._announced or (
            name == TRAILER_SIGNATURE and self._payload.chunk_signed
        )
        if not self._payload.has_trailer or not allowed or name in self._trailers:
            raise MalformedTrailerError
        self._trailers[name] = match[2].strip(b" \t").decode("latin-1")

    def _end_trailers(self) -> None:
        signature = self._trailers.pop(TRAILER_SIGNATURE, None)
        if self._announced and not self._trailers:
            raise IncompleteChunkedBodyError
        if self._announced != self._trailers.keys():
            raise MalformedTrailerError
        if self._signing is not None and self._payload.has_trailer:
            if signature is None:
                raise MalformedTrailerError
            canonical = "".join(
                f"{name}:{value}\n" for name, value in sorted(self._trailers.items())
            )
            digest = sha256(canonical.encode("latin-1")).hexdigest().encode()
            self._signing.verify_trailer(digest, signature.encode("latin-1"))
        self._state = _State.DONE
