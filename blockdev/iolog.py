"""Reads fio's iologs, versions 2 and 3, into a compact form that is replayed many times.

The formats are in fio's HOWTO, "Trace file format v2" and "v3".  A version 3 log says when
each I/O was asked for, in microseconds from its start; in a version 2 log the next I/O is
asked for when one is done, no sooner than its ``wait`` lines say.  What `RecordDevice` and
``fio --write_iolog`` write can be read.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

HEADERS: Final = {f"fio version {version} iolog": version for version in (2, 3)}

MAX_IOS: Final = 10_000_000
"""More do not fit: an I/O takes 25 bytes."""

MAX_LINE_CHARACTERS: Final = 4096
"""fio's own limit."""

MAX_FILES: Final = 4096

_FILE_SHIFT: Final = 50
"""Files are put a PiB apart, so that I/O is sequential within a file only."""

MAX_OFFSET_BYTES: Final = 1 << _FILE_SHIFT

_FILE_ACTIONS: Final = frozenset({"add", "open", "close", "unlink"})
_IO_ACTIONS: Final = frozenset({"read", "write"})
_SYNC_ACTIONS: Final = frozenset({"sync", "datasync"})
_FREE_ACTIONS: Final = frozenset({"sync_file_range", "trim"})


class IologError(ValueError):
    """A log that cannot be read; the message names the line."""


@dataclass(slots=True)
class Iolog:
    """The I/Os of a log in its order, and its syncs as writes of no length.

    `asked_ns`: when each may begin, from the start of the log; never falling.
    `offsets_bytes`: with a number of its file above bit 50.
    `is_paced`: the times are when I/Os were asked for (version 3), not pauses (version 2).
    `count`: of reads and writes.
    """

    is_paced: bool
    asked_ns: array[int] = field(default_factory=lambda: array("Q"))
    offsets_bytes: array[int] = field(default_factory=lambda: array("Q"))
    lengths_bytes: array[int] = field(default_factory=lambda: array("Q"))
    are_writes: bytearray = field(default_factory=bytearray)
    ends_bytes: dict[str, int] = field(default_factory=dict)
    count: int = 0

    @property
    def span_bytes(self) -> int:
        """How large a volume has to be for its files, each up to its last byte used."""
        return sum(self.ends_bytes.values())

    def ios(self) -> Iterator[tuple[int, int, int, int]]:
        """Time asked in ns, offset, length (0 for a sync), and 1 for a write."""
        return zip(
            self.asked_ns, self.offsets_bytes, self.lengths_bytes, self.are_writes, strict=True
        )


def read_iolog(lines: Iterable[str], name: str) -> Iolog:
    """The log in `lines`; `name` stands in error messages.

    Raises:
        IologError: a line is not as the format says, the log is too long, or holds no I/O.
    """
    numbered = enumerate(lines, 1)
    _, header = next(numbered, (1, ""))
    version = HEADERS.get(header.rstrip())
    if version is None:
        wanted = " or ".join(f'"{text}"' for text in HEADERS)
        raise IologError(f"{name}, line 1: {header.rstrip()[:80]!r} is not {wanted}")
    reader = _Reader(Iolog(is_paced=version == 3))
    for number, line in numbered:
        try:
            reader.add(line)
        except IologError as error:
            raise IologError(f"{name}, line {number}: {error}") from None
    if not reader.log.count:
        raise IologError(f"{name}: no read and no write in it")
    return reader.log


class _Reader:
    """Adds line after line to a log."""

    def __init__(self, log: Iolog) -> None:
        self.log = log
        self._files: dict[str, int] = {}
        self._now_ns = 0

    def add(self, line: str) -> None:
        """Raises `IologError` without the line's number."""
        words = line.split()
        if not words:
            return
        if len(line) > MAX_LINE_CHARACTERS:
            raise IologError(f"longer than {MAX_LINE_CHARACTERS} characters")
        if self.log.is_paced:
            # fio takes a time before the last one as no pause.
            self._now_ns = max(self._now_ns, _number("timestamp", words[0]) * 1000)
            del words[0]
        if len(words) == 2:
            self._add_file(words[0], words[1])
        elif len(words) == 4:
            name, action = words[0], words[1]
            self._add_io(name, action, _number("offset", words[2]), _number("length", words[3]))
        else:
            expected = "timestamp, file" if self.log.is_paced else "file"
            raise IologError(
                f"{line.strip()[:80]!r} is neither {expected}, action nor "
                f"{expected}, action, offset, length"
            )

    def _add_file(self, name: str, action: str) -> None:
        if action not in _FILE_ACTIONS:
            raise IologError(f"unknown action {action[:40]!r} on a file")
        if action == "add":
            self._file(name)

    def _file(self, name: str) -> int:
        number = self._files.setdefault(name, len(self._files))
        if number >= MAX_FILES:
            raise IologError(f"more than {MAX_FILES} files")
        return number

    def _add_io(self, name: str, action: str, offset: int, length: int) -> None:
        if action in _IO_ACTIONS:
            self._add_transfer(name, offset, length, action == "write")
        elif action in _SYNC_ACTIONS:
            self._append(0, 0, True)
        elif action == "wait" and not self.log.is_paced:
            self._now_ns += offset * 1000
        elif action == "wait":
            raise IologError("a version 3 log has timestamps and no wait")
        elif action not in _FREE_ACTIONS:
            raise IologError(f"unknown action {action[:40]!r}")

    def _add_transfer(self, name: str, offset: int, length: int, is_write: bool) -> None:
        log = self.log
        if length == 0:
            raise IologError("an I/O of no length")
        if offset + length > MAX_OFFSET_BYTES:
            raise IologError(f"reaches past {MAX_OFFSET_BYTES} bytes")
        self._append((self._file(name) << _FILE_SHIFT) + offset, length, is_write)
        log.count += 1
        if offset + length > log.ends_bytes.get(name, 0):
            log.ends_bytes[name] = offset + length

    def _append(self, offset: int, length: int, is_write: bool) -> None:
        log = self.log
        if len(log.are_writes) >= MAX_IOS:
            raise IologError(f"more than {MAX_IOS:,} I/Os")
        log.asked_ns.append(self._now_ns)
        log.offsets_bytes.append(offset)
        log.lengths_bytes.append(length)
        log.are_writes.append(is_write)


def _number(what: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise IologError(f"{what} {text[:40]!r} is not a whole number of at most 18 digits")
    return int(text)
