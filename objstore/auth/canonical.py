"""The canonical request of Signature Version 4, as S3 wants it, on bytes.

Two requests that mean the same have one canonical form, however their client chose to
escape them: path and query are decoded and encoded anew, once (other services encode
the path twice and resolve ``..``; S3 keys may hold anything).  Rules: "Create a
canonical request" in the IAM user guide,
https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from urllib.parse import unquote_to_bytes

from objstore.auth.errors import HeadersNotSignedError, MissingSecurityHeaderError

Headers = Sequence[tuple[bytes, bytes]]

_UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
_UNRESERVED_AND_SLASH = _UNRESERVED + b"/"
_RESERVED = re.compile(rb"[^A-Za-z0-9\-._~]")
_RESERVED_IN_PATH = re.compile(rb"[^A-Za-z0-9\-._~/]")
_ESCAPES = {bytes([byte]): b"%%%02X" % byte for byte in range(256)}


def _escape(match: re.Match[bytes]) -> bytes:
    return _ESCAPES[match[0]]


def uri_encode(raw: bytes) -> bytes:
    """Percent-encode all but ``A-Z a-z 0-9 - . _ ~``."""
    return _RESERVED.sub(_escape, raw)


def uri_encode_path(raw: bytes) -> bytes:
    """The same, slashes left as they are."""
    return _RESERVED_IN_PATH.sub(_escape, raw)


def canonical_path(raw_path: bytes, *, normalise: bool = False) -> bytes:
    """The path, each byte escaped in the one canonical way.

    Args:
        normalise: resolve ``.``, ``..`` and doubled slashes, as services other than S3 do.
    """
    path = raw_path
    # deletes what needs no escape: nothing left means that the path is canonical already
    if path.translate(None, _UNRESERVED_AND_SLASH):
        path = uri_encode_path(unquote_to_bytes(path))
    if normalise:
        path = resolve_dots(path)
    return path or b"/"


def resolve_dots(path: bytes) -> bytes:
    """A path without ``.``, ``..`` and doubled slashes."""
    kept: list[bytes] = []
    segments = path.split(b"/")
    for segment in segments:
        if segment == b"..":
            del kept[-1:]
        elif segment not in (b"", b"."):
            kept.append(segment)
    ends_in_slash = bool(kept) and segments[-1] in (b"", b".", b"..")
    return b"/" + b"/".join(kept) + (b"/" if ends_in_slash else b"")


def decode_query(raw_query: bytes) -> list[tuple[bytes, bytes]]:
    """Names and values in the order sent; ``+`` is a space; no ``=``, an empty value."""
    pairs = []
    for piece in raw_query.split(b"&"):
        if piece:
            name, _, value = piece.partition(b"=")
            pairs.append((_decode(name), _decode(value)))
    return pairs


def _decode(piece: bytes) -> bytes:
    if b"+" in piece:
        piece = piece.replace(b"+", b" ")
    return unquote_to_bytes(piece) if b"%" in piece else piece


def canonical_query(pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Decoded pairs, encoded and sorted by name and then by value."""
    encoded = sorted((_encode(name), _encode(value)) for name, value in pairs)
    return b"&".join([b"%b=%b" % pair for pair in encoded])


def _encode(raw: bytes) -> bytes:
    return uri_encode(raw) if raw.translate(None, _UNRESERVED) else raw


def merge_headers(headers: Headers) -> dict[bytes, bytes]:
    """Values by name; those of a name that occurs several times joined by commas."""
    fields = dict(headers)
    if len(fields) == len(headers):
        return fields
    lists: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        lists.setdefault(name, []).append(_trim(value))
    return {name: b",".join(values) for name, values in lists.items()}


def _trim(value: bytes) -> bytes:
    return b" ".join(value.split())


class SignedHeaders:
    """A SignedHeaders list, made ready to canonicalise many requests.

    `text`: the list as sent; `names`: its members; `x_amz_count`: how many are x-amz-*.
    """

    __slots__ = (
        "_template",
        "_values",
        "names",
        "signs_host",
        "text",
        "x_amz_count",
    )

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.names = tuple(text.split(b";"))
        self.signs_host = b"host" in self.names
        self.x_amz_count = sum(name.startswith(b"x-amz-") for name in self.names)
        fields = b"".join(name.replace(b"%", b"%%") + b":%b\n" for name in self.names)
        # method, path, query, a value for each name, payload hash
        self._template = b"%b\n%b\n%b\n" + fields + b"\n" + text.replace(b"%", b"%%") + b"\n%b"
        self._values = _getter(self.names)

    def canonical_request(
        self,
        method: bytes,
        path: bytes,
        query: bytes,
        fields: Mapping[bytes, bytes],
        payload: bytes,
    ) -> bytes:
        """The canonical request from parts that are canonical but for the header values.

        A signed header that the request lacks has no line in it: then it is not the one
        that was signed, not even where the value signed was empty.
        """
        try:
            values = self._values(fields)
        except KeyError:
            lines = [b"%b:%b\n" % (n, _trim(fields[n])) for n in self.names if n in fields]
            return b"\n".join([method, path, query, b"".join(lines), self.text, payload])
        joined = b" ".join(values)
        # Holds where all blanks are single spaces inside values.  That no line break is
        # left matters most: one inside a value could pass for the end of a header.
        if b" ".join(joined.split()) != joined:
            values = tuple(map(_trim, values))
        return self._template % (method, path, query, *values, payload)

    def check_coverage(self, fields: Mapping[bytes, bytes]) -> None:
        """Make sure that all is signed that S3 wants signed: host and every x-amz-* header.

        Raises:
            HeadersNotSignedError: naming those that are not.
            MissingSecurityHeaderError: the request has no host.
        """
        # Counting in the joined names is quick.  It may count too many, never too few.
        if self.signs_host and b"\n".join(fields).count(b"x-amz-") == self.x_amz_count:
            return
        if b"host" not in fields:
            raise MissingSecurityHeaderError("host")
        unsigned = [
            name.decode("latin-1")
            for name in fields
            if (name == b"host" or name.startswith(b"x-amz-")) and name not in self.names
        ]
        if unsigned:
            raise HeadersNotSignedError(sorted(unsigned))


def _getter(names: tuple[bytes, ...]) -> Callable[[Mapping[bytes, bytes]], tuple[bytes, ...]]:
    if len(names) > 1:
        return itemgetter(*names)
    name = names[0]
    return lambda fields: (fields[name],)  # itemgetter of one name gives no tuple


@lru_cache(maxsize=1024)
def signed_headers(text: bytes) -> SignedHeaders:
    """`SignedHeaders` of this text; clients sign the same few lists over and over."""
    return SignedHeaders(text)
