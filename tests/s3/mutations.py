"""Requests changed at random: by one to three things that programs, people and attackers do."""

from __future__ import annotations

import random
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace

from tests.s3.valid import Valid

METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW")
PATHS = (
    *("/", "//", "/bucket", "/bucket/", "/bucket//", "/missing", "/missing/key", "/UPPER/key"),
    *("/bucket/%00", "/bucket/%FF", "/bucket/%", "/bucket/..", "/bucket/../locked/key", "/.."),
    *("/bucket/%2F", "/bucket/a+b", "/bucket/%F0%9F%90%98", "/bucket/" + "k" * 1025, "/-/health"),
    *("/bucket/key%0D%0Ax: y", "/1.2.3.4", "/ab", "/" + "b" * 64, "/buck%C3%A9t", "x", "*"),
)
PARAMETERS = (
    *("acl", "tagging", "versions", "uploads", "delete", "policy", "website", "versioning"),
    *("versionId=", "versionId=null", "versionId=x", "uploadId=x", "partNumber=0", "partNumber=1"),
    *("partNumber=10001", "partNumber=" + "9" * 99, "max-keys=-1", "max-keys=x", "max-keys=0"),
    *("prefix=%FF", "prefix=%00", "marker=" + "m" * 2000, "encoding-type=url", "x-id=PutObject"),
    *("x-amz-acl=private", "nobody-knows", "=", "&&", "list-type=1", "list-type=2", "x-mine=1"),
    *("continuation-token=x", "X-Amz-Signature=x", "X-Amz-Algorithm=AWS4-HMAC-SHA256", "select"),
    *("response-content-type=a%0d%0ab", "delimiter=", "key-marker=a", "max-uploads=1001"),
)
HEADERS = (
    *(("range", text) for text in ("bytes=0-0", "bytes=9-1", "bytes=0-1,3-4", "x", "bytes=-0")),
    *(("content-md5", text) for text in ("", "x", "1B2M2Y8AsgTpgAmY7PhCfg==", "é")),
    *(("x-amz-copy-source", text) for text in ("", "/", "bucket/key", "%FF/x", "/locked/none")),
    *(("if-match", text) for text in ("*", '"x"', '"a", "b"', "")),
    *(("if-none-match", text) for text in ("*", '"x"')),
    ("if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT"),
    ("if-unmodified-since", "Sun Nov  6 08:49:37 1994"),
    ("if-range", '"x"'),
    *(("x-amz-checksum-crc32", text) for text in ("x", "AAAAAA==", "")),
    *(("x-amz-sdk-checksum-algorithm", text) for text in ("CRC32", "ROT13")),
    *(("x-amz-trailer", text) for text in ("x-amz-checksum-crc32", "host")),
    *(("x-amz-storage-class", text) for text in ("GLACIER", "GOLD")),
    *(
        ("x-amz-tagging", text)
        for text in ("a=b&a=c", "%", "=", "&".join(f"k{n}" for n in range(11)))
    ),
    *(("x-amz-meta-big", "m" * size) for size in (10, 2049)),
    ("x-amz-meta-" + "n" * 300, "v"),
    *(("x-amz-object-lock-mode", text) for text in ("GOVERNANCE", "NONE")),
    *(("x-amz-object-lock-retain-until-date", text) for text in ("2100-01-01T00:00:00Z", "x")),
    *(("x-amz-server-side-encryption", text) for text in ("AES256", "aws:kms", "x")),
    *(("x-amz-server-side-encryption-customer-algorithm", text) for text in ("AES256", "x")),
    *(("x-amz-server-side-encryption-customer-key", text) for text in ("x", "QUJD")),
    *(("x-amz-write-offset-bytes", text) for text in ("0", "-1", "9" * 30)),
    *(("x-amz-expected-bucket-owner", text) for text in ("0" * 12, "x")),
    *(("x-amz-acl", text) for text in ("private", "public-read", "x")),
    ("x-amz-grant-read", "id=1"),
    ("x-amz-website-redirect-location", "nowhere"),
    ("x-amz-rename-source", "/bucket/%FF"),
    ("x-amz-decoded-content-length", "9"),
    ("content-encoding", "aws-chunked"),
    ("content-type", "multipart/form-data; boundary="),
    *(("origin", text) for text in ("http://a", "null")),
    ("host", "bucket.localhost"),
    ("host", "bucket.s3-website.localhost"),
    ("host", "x" * 300),
    ("expect", "100-continue"),
)
NUMBERS = ("", "0", "-1", "1e3", "99999999999999999999", "x", " 5 ", "٣")
TEXTS = ("", "x", "\t", "é" * 600, "]]>", "a" * 70_000, "../..", "&#0;".replace("&#0;", "�"))
BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">'
    b'<!ENTITY c "&b;&b;&b;&b;"><!ENTITY x SYSTEM "file:///etc/passwd">]><%b>&c;&x;</%b>'
)

Mutation = Callable[[random.Random, Valid], Valid]


def mutated(dice: random.Random, valid: Valid) -> Valid:
    """A request with one to three things changed."""
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        valid = dice.choice(MUTATIONS)(dice, valid)
    return valid


def _method(dice: random.Random, valid: Valid) -> Valid:
    return replace(valid, method=dice.choice(METHODS))


def _path(dice: random.Random, valid: Valid) -> Valid:
    return replace(valid, path=dice.choice(PATHS))


def _parameter(dice: random.Random, valid: Valid) -> Valid:
    """One more, one less, one twice, or another value."""
    pairs = [pair for pair in valid.query.split("&") if pair]
    at = dice.randrange(len(pairs) + 1)
    if not pairs or at == len(pairs):
        pairs.insert(dice.randrange(len(pairs) + 1), dice.choice(PARAMETERS))
    elif dice.random() < 0.3:
        del pairs[at]
    elif dice.random() < 0.3:
        pairs.append(pairs[at])
    else:
        name = pairs[at].partition("=")[0]
        pairs[at] = f"{name}={dice.choice((*NUMBERS, '%00', '%FF', 'null', 'v' * 1500))}"
    query = "&".join(pairs)
    return replace(valid, query=query.encode("utf-8").decode("latin-1"))


def _header(dice: random.Random, valid: Valid) -> Valid:
    headers = dict(valid.headers)
    if headers and dice.random() < 0.3:
        del headers[dice.choice(sorted(headers))]
    else:
        name, value = dice.choice(HEADERS)
        headers[name] = value
    return replace(valid, headers=headers)


def _bytes(dice: random.Random, valid: Valid) -> Valid:
    """A body that is cut, longer, something else, or full of odd bytes."""
    body = valid.body
    at = dice.randrange(len(body) + 1)
    other = (
        *(b"", b"\x00", b"{}", b"<", b"\xff\xfe<\x00a\x00", body[:at], body + b"<x/>", body * 2),
        *(body[:at] + bytes([dice.randrange(256)]) + body[at + 1 :], b" " * 5000 + body),
        body.replace(b"<", b"<n:").replace(b"<n:/", b"</n:"),
        b'<?xml version="1.0" encoding="EBCDIC"?>' + body,
        b'<?xml version="1.0" encoding="UTF-16"?>' + body,
        b"<a>" * 3000,
        b"<a>" + b"<b/>" * 200_000 + b"</a>",
    )
    return replace(valid, body=dice.choice(other))


def _document(dice: random.Random, valid: Valid) -> Valid:
    """A document in another namespace, without an element, with one more, or with odd values."""
    try:
        tree = ET.fromstring(valid.body)
    except (ET.ParseError, ValueError, LookupError):
        return _bytes(dice, valid)
    if dice.random() < 0.1:
        root = tree.tag.rpartition("}")[2].encode()
        return replace(valid, body=BOMB.replace(b"%b", root))
    nodes = list(tree.iter())
    parents = {child: node for node in nodes for child in node}
    node = dice.choice(nodes)
    kind = dice.randrange(7)
    if kind == 0:  # namespaces
        name = dice.choice(("", "{http://nobody/}", "{http://s3.amazonaws.com/doc/2005-12-31/}"))
        for each in nodes if dice.random() < 0.5 else [node]:
            each.tag = name + each.tag.rpartition("}")[2]
    elif kind == 1 and node in parents:
        parents[node].remove(node)
    elif kind == 2 and node in parents:
        parents[node].append(node)
    elif kind == 3:
        unknown = ET.SubElement(node, dice.choice(("Unknown", "Key", "Status", "Rule")))
        unknown.text = "x"
    elif kind == 4:
        node.tag = dice.choice(("Unknown", node.tag.lower(), node.tag + "s"))
    elif kind == 5:
        node.text = dice.choice(NUMBERS)
    else:
        node.text = dice.choice(TEXTS)
    return replace(valid, body=ET.tostring(tree))


MUTATIONS: tuple[Mutation, ...] = (
    *(_method, _path, _parameter, _parameter, _header, _header),
    *(_bytes, _document, _document, _document),
)
