"""Events of calls in files, and in a bucket.

    trail/INSTANCE/lock                            held while the process lives
    trail/INSTANCE/20261127T120000Z-0001.open      events that are being added
    trail/INSTANCE/20261127T120000Z-0001.jsonl     whole, and not delivered
    trail/INSTANCE/20261127T120000Z-0001.sent      delivered to the bucket, kept to be read

Nobody's request waits: an event goes to a queue in memory, and a thread writes.  A queue that
is full drops, and the record says how many.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import os
import threading
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from objstore.auth.keys import MAIN_ACCOUNT
from objstore.config import (
    TRAIL_FILE_BYTES,
    TRAIL_FILE_S,
    TRAIL_TOTAL_BYTES,
    TRAIL_TURN_S,
    TRAIL_WAITING,
)
from objstore.engine.sharing import SoleLock
from objstore.errors import StoreError
from objstore.files import write_all
from objstore.model import ObjectAttributes
from objstore.trail.record import ALL, OFF, VERSION, Call, event

logger = logging.getLogger("objstore.trail")

FOLDER_NAME: Final = "trail"
OPEN, WHOLE, SENT = ".open", ".jsonl", ".sent"
_LOCK: Final = "lock"
_NS_PER_S: Final = 1_000_000_000
_HEADERS: Final = {"content-type": "application/json", "content-encoding": "gzip"}


class Trail:
    """Takes calls and keeps them.  Safe to share between threads.

    ``with Trail(store, folder, level=MANAGEMENT): ...``; stop it before the store is closed.

    Args:
        store: an open `ObjectStore`, whose clock and entropy it takes, too.
        folder: the store's.
        level: `record.LEVELS`.
        bucket, prefix: where events are delivered besides; "" for nowhere.
    """

    def __init__(
        self,
        store: Any,
        folder: Path,
        *,
        level: str,
        region: str = "us-east-1",
        account: str = MAIN_ACCOUNT,
        bucket: str = "",
        prefix: str = "",
    ) -> None:
        self._store = store
        self._clock, self._entropy = store.clock, store.entropy
        self.level = level
        self._region, self._account = region, account
        self._bucket, self._prefix = bucket, prefix
        self._folder = folder / FOLDER_NAME
        self._own = self._folder / self._entropy.token_bytes(8).hex()
        self._lock: SoleLock | None = None
        self._calls: deque[Call] = deque()
        self._lines: list[bytes] = []
        self._dropped = 0
        self._open: Path | None = None
        self._opened_ns = 0
        self._count = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._turns = threading.Lock()

    @property
    def is_active(self) -> bool:
        """Whether anything is recorded."""
        return self.level != OFF

    def wants(self, is_data: bool) -> bool:
        """Whether a call is to be recorded: one about data, or any other."""
        return self.level == ALL or (self.level != OFF and not is_data)

    def take(self, call: Call) -> None:
        """Record a call.  Never waits."""
        if len(self._calls) >= TRAIL_WAITING:
            self._dropped += 1
        else:
            self._calls.append(call)

    def start(self) -> Self:
        """Begin; returns at once."""
        if self.is_active:
            self._thread = threading.Thread(target=self._run, name="objstore-trail", daemon=True)
            self._thread.start()
        return self

    def stop(self) -> None:
        """Write and deliver what there is, and end.  Idempotent."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self.is_active:
            self._try(all_of_it=True)
        if self._lines:
            logger.error("%d events of the record are lost: no file takes them", len(self._lines))
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _run(self) -> None:
        while not self._stop.wait(TRAIL_TURN_S):
            self._try(all_of_it=False)

    def _try(self, *, all_of_it: bool) -> None:
        try:
            self.turn(all_of_it=all_of_it)
        except (OSError, StoreError) as error:
            logger.error("the record of calls waits: %s", error)
        except Exception:  # a defect, and no reason to record nothing from now on
            logger.exception("the record of calls: a turn failed")

    def turn(self, *, all_of_it: bool = False) -> None:
        """Write what was taken, seal a file that is full or old, and deliver what is sealed.

        Raises:
            OSError, StoreError: what could not be done is done by the next turn.
        """
        with self._turns:
            self._write()
            self._adopt()
            now_ns = self._clock.monotonic_ns()
            if self._open is not None and (
                all_of_it
                or now_ns - self._opened_ns >= TRAIL_FILE_S * _NS_PER_S
                or self._open.stat().st_size >= TRAIL_FILE_BYTES
            ):
                os.rename(self._open, self._open.with_suffix(WHOLE))
                self._open = None
                self._prune()
            if self._bucket:
                self._deliver()

    def _write(self) -> None:
        dropped, self._dropped = self._dropped, 0
        for _ in range(len(self._calls)):
            self._lines.append(self._line(event(self._calls.popleft(), self._id(), self._account)))
        if dropped:
            logger.warning("%d events of the record were dropped", dropped)
            self._lines.append(self._line(self._gap(dropped)))
        if not self._lines:
            return
        path = self._file()
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size_bytes = os.fstat(fd).st_size
            try:
                write_all(fd, b"".join(self._lines))
            except OSError:
                os.ftruncate(fd, size_bytes)  # no half line
                self._shorten()
                raise
            self._lines.clear()
        finally:
            os.close(fd)

    def _shorten(self) -> None:
        """Of what no file takes, keep what may wait."""
        over = len(self._lines) - TRAIL_WAITING
        if over > 0:
            del self._lines[:over]
            self._dropped += over

    def _line(self, made: dict[str, Any]) -> bytes:
        text = json.dumps(made, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "backslashreplace") + b"\n"

    def _gap(self, dropped: int) -> dict[str, Any]:
        """An event that says that others are missing."""
        now_ns = self._clock.now_ns()
        now = datetime.fromtimestamp(now_ns // _NS_PER_S, UTC)
        return {
            "eventVersion": VERSION,
            "userIdentity": {"type": "AWSService", "invokedBy": "objstore"},
            "eventTime": f"{now:%Y-%m-%dT%H:%M:%SZ}",
            "eventSource": "cloudtrail.amazonaws.com",
            "eventName": "EventsDropped",
            "awsRegion": self._region,
            "additionalEventData": {"timeMs": now_ns // 1_000_000, "count": dropped},
            "eventType": "AwsServiceEvent",
            "recipientAccountId": self._account,
            "eventCategory": "Management",
        }

    def _id(self) -> bytes:
        found: bytes = self._entropy.token_bytes(16)
        return found

    def _file(self) -> Path:
        """The file that events are added to."""
        if self._lock is None:
            making = self._folder / f".{self._own.name}"
            making.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = SoleLock(making / _LOCK)
            lock.try_exclusive()
            os.rename(making, self._own)  # seen by nobody before its lock is held
            self._folder.chmod(0o700)
            self._lock = lock
        if self._open is None:
            self._count += 1
            self._opened_ns = self._clock.monotonic_ns()
            now = datetime.fromtimestamp(self._clock.now_ns() // _NS_PER_S, UTC)
            self._open = self._own / f"{now:%Y%m%dT%H%M%SZ}-{self._count:04}{OPEN}"
        return self._open

    def _adopt(self) -> None:
        """Seal what processes that are gone left open."""
        for lock_path in sorted(self._folder.glob(f"*/{_LOCK}")):
            folder = lock_path.parent
            if folder == self._own or not any(folder.glob(f"*{OPEN}")):
                continue
            lock = SoleLock(lock_path)
            try:
                if lock.try_exclusive():
                    for path in folder.glob(f"*{OPEN}"):
                        os.rename(path, path.with_suffix(WHOLE))
            finally:
                lock.close()

    def _deliver(self) -> None:
        for path in sorted(self._folder.glob(f"*/*{WHOLE}"), key=lambda each: each.name):
            data = path.read_bytes()
            whole = data[: data.rfind(b"\n") + 1]
            records = [json.loads(line) for line in whole.splitlines()]
            body = gzip.compress(json.dumps({"Records": records}).encode(), mtime=0)
            owner = self._store.head_bucket(self._bucket).owner
            attributes = ObjectAttributes(headers=dict(_HEADERS), owner=owner)
            self._store.put(self._bucket, self._key(path), body, attributes=attributes)
            with contextlib.suppress(FileNotFoundError):  # another process did the same
                os.rename(path, path.with_suffix(SENT))

    def _key(self, path: Path) -> str:
        """The object of a file: always the same one, so that a repeat makes no second."""
        time, _, number = path.stem.partition("-")
        prefix = f"{self._prefix.rstrip('/')}/" if self._prefix else ""
        name = f"{self._account}_CloudTrail_{self._region}_{time[:13]}Z"
        return (
            f"{prefix}AWSLogs/{self._account}/CloudTrail/{self._region}/"
            f"{time[:4]}/{time[4:6]}/{time[6:8]}/{name}_{path.parent.name}{number}.json.gz"
        )

    def _prune(self) -> None:
        """Remove the oldest files beyond what all may take; undelivered ones last."""
        files = [path for path in self._folder.glob("*/*") if path.suffix in (WHOLE, SENT)]
        files.sort(key=lambda path: (path.suffix == WHOLE and bool(self._bucket), path.name))
        total_bytes = sum(path.stat().st_size for path in files)
        for path in files:
            if total_bytes <= TRAIL_TOTAL_BYTES:
                break
            total_bytes -= path.stat().st_size
            path.unlink()
