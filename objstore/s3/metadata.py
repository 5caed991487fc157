"""User metadata between headers and text, as S3 carries it.

A value in a request is read as Latin-1, byte for byte, whatever charset the client meant,
and its encoded words (RFC 2047) become what they stand for.  In a response a value of
printable ASCII stands as it is; any other character makes an encoded word of UTF-8 of it.
So ``Miniö`` in UTF-8 comes back as ``=?UTF-8?Q?Mini=C3=83=C2=B6?=``: S3 took it for ``MiniÃ¶``.
Clients that want their text back send encoded words.  Values that no header can hold are
counted in x-amz-missing-meta instead.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html#UserMetadata; its
example ``ÄMÄZÕÑ S3`` and https://github.com/minio/minio/pull/21282 show the Latin-1, and
when a word is B and when Q.
"""

from __future__ import annotations

import base64
import quopri
import re
from itertools import pairwise

# An encoded word stands by itself: between white space, or at an end (RFC 2047 section 5).
_WORD = re.compile(r"(?<!\S)=\?([^?\s]+)\?([BbQq])\?([^?\s]*)\?=(?!\S)")
# No header can hold these; a tab it can.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# RFC 2047 section 2: a word has at most 75 characters; `=?UTF-8?Q?` and `?=` are 12 of them.
_WORD_CHARACTERS = 75 - 12
# What stands in a Q word for itself; the space is an underscore.
_Q_PLAIN = frozenset(range(0x21, 0x7F)) - frozenset(b"=?_")
# Charsets of mail, by their names there (RFC 2231 allows a language after a star).  Words of
# others stay as they are: Python would look for a module of any name, and remember each.
_CHARSETS = frozenset(
    (
        *("utf-8", "utf8", "us-ascii", "koi8-r", "koi8-u", "big5", "gb2312", "gbk", "gb18030"),
        *("shift_jis", "euc-jp", "iso-2022-jp", "euc-kr"),
        *(f"iso-8859-{part}" for part in (*range(1, 12), *range(13, 17))),
        *(f"windows-{page}" for page in range(1250, 1259)),
    )
)


def decode_value(raw: bytes) -> str:
    """The text that a header's bytes stand for."""
    text = raw.decode("latin-1")
    return decode_words(text) if "=?" in text else text


def decode_words(text: str) -> str:
    """`text` with its encoded words decoded; what is malformed stays as it is."""
    words = [(match, _decode_word(match)) for match in _WORD.finditer(text)]
    known = [(match, word) for match, word in words if word is not None]
    if not known:
        return text
    pieces = [text[: known[0][0].start()], known[0][1]]
    for (before, _), (match, word) in pairwise(known):
        between = text[before.end() : match.start()]
        if between.strip():  # white space between two words is none of the text (section 6.2)
            pieces.append(between)
        pieces.append(word)
    pieces.append(text[known[-1][0].end() :])
    return "".join(pieces)


def _decode_word(match: re.Match[str]) -> str | None:
    charset, encoding, content = match.groups()
    name = charset.partition("*")[0].lower()
    if name not in _CHARSETS:
        return None
    try:
        data = content.encode("ascii")
        if encoding in "Bb":
            data = base64.b64decode(data, validate=True)
        else:
            data = quopri.decodestring(data, header=True)
        return data.decode(name)
    except ValueError:  # not ASCII, not base64, not of that charset
        return None


def encode_value(text: str) -> bytes | None:
    """A value as a header gives it back; None where no header can."""
    if _UNPRINTABLE.search(text):
        return None
    if text.isascii():
        return text.encode("ascii")
    try:
        return " ".join(_encode_words(text)).encode("ascii")
    except UnicodeEncodeError:  # a lone surrogate, which only an embedding program can store
        return None


def _encode_words(text: str) -> list[str]:
    others = sum(not char.isascii() for char in text)
    is_mostly_ascii = len(text) - others > others
    return _split(text, "Q" if is_mostly_ascii else "B")


def _split(text: str, encoding: str) -> list[str]:
    """Words of `text`, halved until each is short enough; a character is never cut."""
    data = text.encode("utf-8")
    content = _q_encode(data) if encoding == "Q" else base64.b64encode(data).decode("ascii")
    if len(content) <= _WORD_CHARACTERS:
        return [f"=?UTF-8?{encoding}?{content}?="]
    middle = len(text) // 2
    return _split(text[:middle], encoding) + _split(text[middle:], encoding)


def _q_encode(data: bytes) -> str:
    return "".join(
        "_" if byte == 0x20 else chr(byte) if byte in _Q_PLAIN else f"={byte:02X}" for byte in data
    )
