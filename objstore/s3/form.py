"""A browser's form as it comes in: its fields, then the bytes of its file.

What comes after the file is ignored, as in S3.
"""

from __future__ import annotations

from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from objstore.config import MAX_FORM_FIELD_BYTES
from objstore.s3.errors import S3Error

FILE: Final = "file"


class Form:
    """Feed it a body piece by piece.

    `fields`: by their names in lower case, the first of each name; complete once
    `has_file`.  `file_name`: what the browser calls the file, without its path.
    """

    def __init__(self, content_type: str) -> None:
        kind, options = parse_options_header(content_type.encode("latin-1", "replace"))
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not boundary:
            raise S3Error(
                "PreconditionFailed",
                extra={
                    "Condition": "Bucket POST must be of the enclosure-type multipart/form-data"
                },
            )
        self.fields: dict[str, str] = {}
        self.file_name = ""
        self.has_file = False
        self.is_complete = False
        self._file_is_over = False
        self._header_name = b""
        self._header_value = b""
        self._headers: dict[bytes, bytes] = {}
        self._name = ""
        self._value = bytearray()
        self._field_bytes = 0
        self._pieces: list[bytes] = []
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_part_data": self._data,
                "on_part_end": self._end_part,
                "on_header_field": self._on_header_name,
                "on_header_value": self._on_header_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_end": self._end,
            },
        )

    def feed(self, data: bytes | memoryview) -> list[bytes]:
        """Take a piece of the body; the bytes of the file that were in it.

        Raises:
            S3Error: MalformedPOSTRequest, MaxPostPreDataLengthExceededError.
        """
        try:
            self._parser.write(bytes(data))
        except FormParserError:
            raise malformed() from None
        pieces, self._pieces = self._pieces, []
        return pieces

    def finish(self) -> None:
        """The body has ended.

        Raises:
            S3Error: MalformedPOSTRequest where the form has not; InvalidArgument without a file.
        """
        if not self.is_complete:
            raise malformed()
        if not self.has_file:
            raise S3Error(
                "InvalidArgument",
                "POST requires exactly one file upload per request.",
                extra={"ArgumentName": FILE, "ArgumentValue": "0"},
            )

    # What the parser calls.

    def _begin_part(self) -> None:
        self._headers, self._name, self._value = {}, "", bytearray()

    def _on_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]
        self._count(end - start)

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]
        self._count(end - start)

    def _end_header(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _end_headers(self) -> None:
        _kind, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._name = options.get(b"name", b"").decode("utf-8", "replace").lower()
        if self._name == FILE and not self.has_file:
            self.has_file = True
            name = options.get(b"filename", b"").decode("utf-8", "replace")
            self.file_name = name.replace("\\", "/").rpartition("/")[2]

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._file_is_over:
            return
        if self.has_file:
            self._pieces.append(data[start:end])
            return
        self._count(end - start)
        self._value += data[start:end]

    def _end_part(self) -> None:
        if self.has_file:
            self._file_is_over = True
        elif self._name:
            self.fields.setdefault(self._name, self._value.decode("utf-8", "replace"))

    def _end(self) -> None:
        self.is_complete = True

    def _count(self, length_bytes: int) -> None:
        if not self.has_file:
            self._field_bytes += length_bytes
            if self._field_bytes > MAX_FORM_FIELD_BYTES:
                raise S3Error("MaxPostPreDataLengthExceededError")


def malformed() -> S3Error:
    """The body is no form."""
    return S3Error("MalformedPOSTRequest")
