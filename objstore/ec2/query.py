"""The query protocol's encoding: ``Filter.1.Name=tag-key&Filter.1.Value.1=a`` as a tree.

Every bound that a request has to keep is here: pairs, depth, the length of a name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias
from urllib.parse import unquote_to_bytes

from objstore.ec2.errors import Ec2Error
from objstore.ec2.xml import is_text

MAX_PAIRS: Final = 20_000
"""More than a thousand ids or the 200 values of a filter ever need."""
MAX_NAME_BYTES: Final = 256
MAX_DEPTH: Final = 8
"""The deepest parameter of EC2's model has seven parts."""

Node: TypeAlias = str | dict[str, "Node"]

# Authentication in the query, by both versions of signatures, and what belongs to it.
_AUTHENTICATION: Final = frozenset(
    ("AWSAccessKeyId", "Signature", "SignatureMethod", "SignatureVersion", "Timestamp", "Expires")
)


def parse(encoded: bytes) -> dict[str, Node]:
    """The tree of a query string or of a form body.

    Raises:
        Ec2Error: MalformedQueryString, InvalidCharacter.
    """
    root: dict[str, Node] = {}
    for name, value in _pairs(encoded):
        if name.startswith("X-Amz-") or name in _AUTHENTICATION:
            continue
        _insert(root, name, value)
    return root


def _pairs(encoded: bytes) -> Iterator[tuple[str, str]]:
    pieces = encoded.split(b"&", MAX_PAIRS)
    if len(pieces) > MAX_PAIRS:
        raise Ec2Error("MalformedQueryString", f"More than {MAX_PAIRS} parameters")
    for piece in pieces:
        if piece:
            name, _, value = piece.partition(b"=")
            if len(name) > MAX_NAME_BYTES:
                raise Ec2Error("MalformedQueryString", "A parameter's name is too long")
            yield _decoded(name), _decoded(value)


def _decoded(raw: bytes) -> str:
    try:
        text = unquote_to_bytes(raw.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError:
        raise Ec2Error("InvalidCharacter", "The request holds what is not UTF-8") from None
    if not is_text(text):
        raise Ec2Error("InvalidCharacter", "The request holds a character that XML has not")
    return text


def _insert(root: dict[str, Node], name: str, value: str) -> None:
    parts = name.split(".", MAX_DEPTH)
    if len(parts) > MAX_DEPTH or not all(parts):
        raise Ec2Error("MalformedQueryString", f"The parameter name {name} cannot be read")
    *path, last = parts
    for part in path:
        child = root.setdefault(part, {})
        if isinstance(child, str):
            raise Ec2Error("MalformedQueryString", f"The parameter {name} is given in two ways")
        root = child
    if last in root:
        raise Ec2Error("MalformedQueryString", f"The parameter {name} is given twice")
    root[last] = value
