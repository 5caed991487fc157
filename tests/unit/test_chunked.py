"""aws-chunked bodies: decoded in any pieces, and nothing false let through."""

from __future__ import annotations

import hmac
import tracemalloc
from dataclasses import dataclass, replace
from hashlib import sha256

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from objstore.auth import AuthError, ChunkedDecoder, ChunkLimits, ChunkSigning, PayloadKind
from objstore.auth.sigv4 import SigningKey

KEY = b"k" * 32
TIMESTAMP = b"20231114T221320Z"
SCOPE = b"20231114/us-east-1/s3/aws4_request"
SEED = b"5" * 64
EMPTY = sha256(b"").hexdigest()
SMALL_CHUNKS = ChunkLimits(least_chunk_bytes=1)
SIGNED = PayloadKind.STREAMING_SIGNED
SIGNED_TRAILER = PayloadKind.STREAMING_SIGNED_TRAILER
UNSIGNED_TRAILER = PayloadKind.STREAMING_UNSIGNED_TRAILER
KINDS = [SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER]
CRC = ("x-amz-checksum-crc32", "AAAAAA==")


@dataclass(frozen=True)
class Upload:
    """A body to be encoded, by an encoder that shares no code with the decoder."""

    kind: PayloadKind
    chunks: tuple[bytes, ...]
    trailers: tuple[tuple[str, str], ...] = ()

    @property
    def data(self) -> bytes:
        return b"".join(self.chunks)

    def encode(self) -> bytes:
        previous = SEED.decode()
        body = b""
        for chunk in (*self.chunks, b""):
            body += f"{len(chunk):x}".encode()
            if self.kind.chunk_signed:
                previous = self._sign("PAYLOAD", previous, EMPTY, sha256(chunk).hexdigest())
                body += f";chunk-signature={previous}".encode()
            body += b"\r\n" + chunk + (b"\r\n" if chunk else b"")
        for name, value in self.trailers:
            body += f"{name}:{value}\r\n".encode()
        if self.kind is SIGNED_TRAILER:
            lines = "".join(f"{name}:{value}\n" for name, value in sorted(self.trailers))
            digest = sha256(lines.encode()).hexdigest()
            body += (
                f"x-amz-trailer-signature:{self._sign('TRAILER', previous, digest)}\r\n".encode()
            )
        return body + b"\r\n"

    @staticmethod
    def _sign(suffix: str, *parts: str) -> str:
        lines = [f"AWS4-HMAC-SHA256-{suffix}", TIMESTAMP.decode(), SCOPE.decode(), *parts]
        return hmac.new(KEY, "\n".join(lines).encode(), "sha256").hexdigest()

    def decoder(
        self, limits: ChunkLimits = SMALL_CHUNKS, length: int | None = None
    ) -> ChunkedDecoder:
        signing = ChunkSigning(SigningKey(KEY), TIMESTAMP, SCOPE, SEED)
        return ChunkedDecoder(
            self.kind,
            len(self.data) if length is None else length,
            signing if self.kind.chunk_signed else None,
            [name for name, _ in self.trailers],
            limits,
        )


def decode(decoder: ChunkedDecoder, *pieces: bytes) -> tuple[bytes, dict[str, str]]:
    data = b"".join(bytes(view) for piece in pieces for view in decoder.feed(piece))
    return data, dict(decoder.finish())


def refused(upload: Upload, *pieces: bytes, limits: ChunkLimits = SMALL_CHUNKS) -> AuthError:
    decoder = upload.decoder(limits)
    with pytest.raises(AuthError) as caught:
        decode(decoder, *pieces)
    return caught.value


def upload_of(kind: PayloadKind, *chunks: bytes) -> Upload:
    return Upload(kind, chunks, (CRC,) if kind.has_trailer else ())


@st.composite
def uploads(draw: st.DrawFn) -> Upload:
    kind = draw(st.sampled_from(KINDS))
    chunks = draw(st.lists(st.binary(min_size=1, max_size=40), max_size=4))
    trailers: dict[str, str] = {}
    if kind.has_trailer:
        names = st.sampled_from(["x-amz-checksum-crc32", "x-amz-checksum-sha256", "x-amz-other"])
        values = st.text("abcXYZ019+/=", max_size=12)
        trailers = draw(st.dictionaries(names, values, max_size=3))
    return Upload(kind, tuple(chunks), tuple(trailers.items()))


def split_at(body: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(body) + 1) for cut in cuts})
    return [body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True)]


class TestSplits:
    @settings(max_examples=200)
    @given(uploads(), st.lists(st.integers(0, 2000), max_size=12))
    def test_any_split_gives_the_same(self, upload: Upload, cuts: list[int]) -> None:
        pieces = split_at(upload.encode(), cuts)
        assert decode(upload.decoder(), *pieces) == (upload.data, dict(upload.trailers))

    @pytest.mark.parametrize("kind", KINDS)
    def test_byte_by_byte(self, kind: PayloadKind) -> None:
        upload = upload_of(kind, b"first chunk", b"\r\n0\r\n\r\n", b"x")
        pieces = [bytes([byte]) for byte in upload.encode()]
        assert decode(upload.decoder(), *pieces) == (upload.data, dict(upload.trailers))

    @pytest.mark.parametrize("kind", KINDS)
    def test_an_empty_body(self, kind: PayloadKind) -> None:
        upload = upload_of(kind)
        assert decode(upload.decoder(), upload.encode()) == (b"", dict(upload.trailers))

    def test_data_is_not_copied(self) -> None:
        upload = upload_of(UNSIGNED_TRAILER, b"a" * 100)
        body = upload.encode()
        changeable = bytearray(body)
        for source, below in ((body, body), (changeable, changeable), (memoryview(body), body)):
            assert [view.obj for view in upload.decoder().feed(source)] == [below]

    def test_nothing_is_held_back_or_kept(self) -> None:
        size = 1 << 20
        decoder = ChunkedDecoder(UNSIGNED_TRAILER, 64 * size)
        assert decoder.feed(f"{64 * size:x}\r\n".encode()) == []
        piece = bytes(size)
        tracemalloc.start()
        for _ in range(64):
            assert sum(map(len, decoder.feed(piece))) == size
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 100_000
        assert decoder.decoded_bytes == 64 * size
        assert decoder.feed(b"\r\n0\r\n\r\n") == []
        assert decoder.finish() == {}


class TestTampering:
    @settings(max_examples=500)
    @given(
        uploads().filter(lambda upload: upload.kind.chunk_signed),
        st.integers(0, 10**6),
        st.sampled_from(["replace", "insert", "remove", "cut"]),
        st.sampled_from(b"\0 \r\n;:=0159afAFxz\xff"),
        st.lists(st.integers(0, 2000), max_size=3),
    )
    def test_a_changed_stream_never_gives_other_bytes(
        self, upload: Upload, place: int, kind: str, byte: int, cuts: list[int]
    ) -> None:
        body = upload.encode()
        at = place % len(body)
        tail = {
            "replace": body[at + 1 :],
            "insert": body[at:],
            "remove": body[at + 1 :],
            "cut": b"",
        }
        middle = bytes([byte]) if kind in ("replace", "insert") else b""
        changed = body[:at] + middle + tail[kind]
        try:
            got = decode(upload.decoder(), *split_at(changed, cuts))
        except AuthError:
            return
        assert got == (upload.data, dict(upload.trailers))

    @settings(max_examples=300)
    @given(st.binary(max_size=200), st.sampled_from(KINDS), st.integers(0, 50))
    @example(b"0\r\n\r\n", UNSIGNED_TRAILER, 0)
    def test_noise_gives_an_auth_error_or_what_it_says(
        self, noise: bytes, kind: PayloadKind, length: int
    ) -> None:
        try:
            data, trailers = decode(upload_of(kind).decoder(length=length), noise)
        except AuthError:
            return
        assert kind is UNSIGNED_TRAILER
        assert len(data) == length
        assert not trailers or noise.count(b":")

    def test_chunks_cannot_be_swapped_repeated_or_dropped(self) -> None:
        upload = upload_of(SIGNED, b"a" * 30, b"b" * 30, b"c" * 30)
        frame = len(b"1e;chunk-signature=") + 64 + 2 + 30 + 2
        body = upload.encode()
        first, second, third = (body[i * frame : (i + 1) * frame] for i in range(3))
        end = body[3 * frame :]
        for frames in (
            [second, first, third],
            [first, first, third],
            [first, second, second],
            [third, second, first],
        ):
            assert refused(upload, *frames, end).code == "SignatureDoesNotMatch"
        shorter = replace(upload, chunks=upload.chunks[:2])
        assert refused(shorter, first, third, end).code == "SignatureDoesNotMatch"
        assert refused(shorter, first, second, end).code == "SignatureDoesNotMatch"

    def test_a_stream_of_another_request(self) -> None:
        upload = upload_of(SIGNED, b"data")
        other = ChunkSigning(SigningKey(KEY), TIMESTAMP, SCOPE, b"6" * 64)
        decoder = ChunkedDecoder(SIGNED, 4, other, (), SMALL_CHUNKS)
        with pytest.raises(AuthError) as caught:
            decode(decoder, upload.encode())
        shown = dict(caught.value.details)
        assert "AWSAccessKeyId" not in shown
        assert "CanonicalRequest" not in shown
        assert shown["StringToSign"].startswith("AWS4-HMAC-SHA256-PAYLOAD\n20231114T221320Z\n")

    def test_the_last_empty_chunk_is_signed_too(self) -> None:
        upload = upload_of(SIGNED, b"data")
        body = upload.encode()
        assert refused(upload, body[:-68] + b"0" * 64 + b"\r\n\r\n").code == "SignatureDoesNotMatch"

    def test_trailers_are_signed(self) -> None:
        upload = upload_of(SIGNED_TRAILER, b"data")
        body = upload.encode().replace(b"AAAAAA==", b"AAAAAQ==")
        assert refused(upload, body).code == "SignatureDoesNotMatch"

    @pytest.mark.parametrize("kind", KINDS)
    def test_the_body_has_to_be_whole(self, kind: PayloadKind) -> None:
        upload = upload_of(kind, b"a" * 20, b"b")
        body = upload.encode()
        for end in range(len(body)):
            assert refused(upload, body[:end]).code == "IncompleteBody"

    @pytest.mark.parametrize("kind", KINDS)
    def test_and_no_more_than_that(self, kind: PayloadKind) -> None:
        upload = upload_of(kind, b"a")
        assert refused(upload, upload.encode(), b"\r\n").code == "IncompleteBody"
        assert refused(upload, upload.encode() + b"x").code == "IncompleteBody"
        decoder = upload.decoder()
        decoder.feed(upload.encode())
        assert decoder.feed(b"") == []


class TestLength:
    @pytest.mark.parametrize(("length", "words"), [(9, "longer"), (11, "shorter"), (0, "longer")])
    def test_the_declared_one_counts(self, length: int, words: str) -> None:
        upload = upload_of(UNSIGNED_TRAILER, b"0123456789")
        with pytest.raises(AuthError) as caught:
            decode(upload.decoder(length=length), upload.encode())
        assert caught.value.code == "IncompleteBody"
        assert words in caught.value.message

    def test_a_chunk_too_large_is_refused_before_its_data(self) -> None:
        decoder = ChunkedDecoder(UNSIGNED_TRAILER, 100, limits=SMALL_CHUNKS)
        with pytest.raises(AuthError, match="longer"):
            decoder.feed(b"ffffffffffffffff\r\n")

    def test_only_the_last_chunk_may_be_small(self) -> None:
        upload = upload_of(SIGNED, b"a" * 8192, b"b" * 8191, b"c")
        error = refused(upload, upload.encode(), limits=ChunkLimits())
        assert error.code == "InvalidChunkSizeError"
        assert error.message == (
            "Only the last chunk is allowed to have a size less than 8192 bytes"
        )
        assert dict(error.details) == {"Chunk": "3", "BadChunkSize": "8191"}
        upload = upload_of(SIGNED, b"a" * 8192, b"b")
        assert decode(upload.decoder(ChunkLimits()), upload.encode())[0] == upload.data


class TestFraming:
    @pytest.mark.parametrize(
        "body",
        [
            b"\r\n",
            b"g\r\n",
            b"-1\r\n",
            b"+4\r\n",
            b"0x4\r\n",
            b" 4\r\n",
            b"4 \r\n",
            b"4;\r\n",
            b"4;name=value\r\n",
            b"4\n",
            b"4\rdata",
            b"00000000000000004\r\n",
            b"4\r\ndataX\r\n",
            b"4\r\ndata\n\r\n",
            b"4\r\ndata\rX",
            b"4\r\ndata0\r\n",
            b"4;chunk-signature=" + b"0" * 64 + b"\r\n",
        ],
    )
    def test_unsigned(self, body: bytes) -> None:
        for pieces in ([body], [bytes([byte]) for byte in body]):
            error = refused(Upload(UNSIGNED_TRAILER, (b"data",)), *pieces)
            assert error.code == "IncompleteBody"

    @pytest.mark.parametrize(
        "header",
        [
            b"4",
            b"4;chunk-signature=",
            b"4;chunk-signature=" + b"0" * 63,
            b"4;chunk-signature=" + b"0" * 65,
            b"4;chunk-signature=" + b"A" * 64,
            b"4;Chunk-Signature=" + b"0" * 64,
        ],
    )
    def test_signed(self, header: bytes) -> None:
        error = refused(Upload(SIGNED, (b"data",)), header + b"\r\ndata\r\n")
        assert error.code == "IncompleteBody"

    def test_a_header_line_has_its_limit(self) -> None:
        decoder = upload_of(UNSIGNED_TRAILER).decoder()
        for _ in range(129):
            assert decoder.feed(b"0") == []
        with pytest.raises(AuthError, match="over 128 bytes"):
            decoder.feed(b"0")
        with pytest.raises(AuthError, match="over 128 bytes"):
            upload_of(UNSIGNED_TRAILER).decoder().feed(b"0" * 1000)

    def test_leading_zeros_are_fine_up_to_16_digits(self) -> None:
        upload = Upload(UNSIGNED_TRAILER, (b"data",))
        assert decode(upload.decoder(), b"0000000000000004\r\ndata\r\n0\r\n\r\n") == (b"data", {})


class TestTrailers:
    def body(self, *lines: bytes) -> bytes:
        return b"0\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n"

    @pytest.mark.parametrize(
        "line",
        [
            b"x-amz-checksum-crc32:AAAAAA==",
            b"x-amz-checksum-crc32: AAAAAA==\t ",
            b"X-Amz-Checksum-CRC32 :AAAAAA==",
            b"x-amz-checksum-crc32:AAAAAA==\n",
        ],
    )
    def test_announced(self, line: bytes) -> None:
        assert decode(upload_of(UNSIGNED_TRAILER).decoder(), self.body(line)) == (b"", dict([CRC]))

    @pytest.mark.parametrize(
        "lines",
        [
            [b"x-amz-checksum-sha1:x"],
            [b"x-amz-checksum-crc32:AAAAAA==", b"x-amz-checksum-sha1:x"],
            [b"x-amz-checksum-crc32:AAAAAA==", b"x-amz-checksum-crc32:AAAAAA=="],
            [b"x-amz-checksum-crc32:AAAAAA==", b"x-amz-trailer-signature:" + b"0" * 64],
            [b"x-amz-checksum-crc32"],
            [b":AAAAAA=="],
            [b" x-amz-checksum-crc32:AAAAAA=="],
            [b"x-amz-checksum-crc32:A\nB"],
            [b"x-amz-checksum-crc32:A\0"],
            [b"x-amz-checksum-crc32:" + b"A" * 4096],
            [b"x-amz-checksum-crc32:" + b"A" * 10_000],
        ],
    )
    def test_malformed(self, lines: list[bytes]) -> None:
        error = refused(upload_of(UNSIGNED_TRAILER), self.body(*lines))
        assert error.code == "MalformedTrailerError"

    def test_announced_and_not_sent(self) -> None:
        assert refused(upload_of(UNSIGNED_TRAILER), self.body()).code == "IncompleteBody"
        signed = upload_of(SIGNED_TRAILER, b"data")
        body = signed.encode()
        cut = body[: body.index(CRC[0].encode())]
        assert refused(signed, cut + b"\r\n").code == "IncompleteBody"
        two = Upload(UNSIGNED_TRAILER, (), (CRC, ("x-amz-other", "1")))
        error = refused(two, self.body(b"x-amz-other:1"))
        assert error.code == "MalformedTrailerError"

    def test_where_none_belong(self) -> None:
        upload = upload_of(SIGNED, b"data")
        body = upload.encode()[:-2] + b"x-amz-checksum-crc32:AAAAAA==\r\n\r\n"
        assert refused(replace(upload, trailers=(CRC,)), body).code == "MalformedTrailerError"

    def test_without_their_signature(self) -> None:
        upload = upload_of(SIGNED_TRAILER, b"data")
        body = upload.encode()
        at = body.index(b"x-amz-trailer-signature")
        assert refused(upload, body[:at] + b"\r\n").code == "MalformedTrailerError"
        assert refused(upload, body[:at] + b"x-amz-trailer-signature:\r\n\r\n").code == (
            "SignatureDoesNotMatch"
        )

    def test_the_signature_may_be_announced_as_well(self) -> None:
        upload = upload_of(SIGNED_TRAILER, b"data")
        signing = ChunkSigning(SigningKey(KEY), TIMESTAMP, SCOPE, SEED)
        names = [CRC[0], "x-amz-trailer-signature"]
        decoder = ChunkedDecoder(SIGNED_TRAILER, 4, signing, names, SMALL_CHUNKS)
        assert decode(decoder, upload.encode()) == (b"data", dict([CRC]))

    def test_number_and_size_are_limited(self) -> None:
        trailers = tuple((f"x-amz-{i}", "1") for i in range(17))
        upload = Upload(UNSIGNED_TRAILER, (), trailers)
        assert refused(upload, upload.encode()).code == "MalformedTrailerError"
        fits = replace(upload, trailers=trailers[:16])
        assert len(decode(fits.decoder(), fits.encode())[1]) == 16
        long = Upload(UNSIGNED_TRAILER, (), (("a", "x" * 2000), ("b", "x" * 2000), ("c", "x" * 99)))
        assert refused(long, long.encode()).code == "MalformedTrailerError"


@pytest.mark.parametrize(
    ("kind", "signed"),
    [
        (PayloadKind.SHA256, False),
        (PayloadKind.UNSIGNED, False),
        (SIGNED, False),
        (UNSIGNED_TRAILER, True),
    ],
)
def test_a_decoder_is_for_chunks_and_for_their_kind(kind: PayloadKind, signed: bool) -> None:
    signing = ChunkSigning(SigningKey(KEY), TIMESTAMP, SCOPE, SEED) if signed else None
    with pytest.raises(ValueError, match=kind.text.split()[0]):
        ChunkedDecoder(kind, 0, signing)
