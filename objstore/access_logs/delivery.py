"""Access logs of a process: requests are noted, and their lines delivered in the background.

As in S3 they are a service to the owner and no proof: a kill loses the last second's lines,
and nobody's request waits for them.
"""

from __future__ import annotations

import logging as system_logging
import threading
from collections import deque
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

from objstore.access_logs import settings
from objstore.access_logs.record import Entry
from objstore.access_logs.settings import SETTING, Logging
from objstore.access_logs.spool import FOLDER_NAME, Batch, Spool
from objstore.config import (
    ACCESS_LOG_INTERVAL_S,
    ACCESS_LOG_MAX_PATIENCE_NS,
    ACCESS_LOG_OBJECT_BYTES,
    ACCESS_LOG_TURN_NS,
    ACCESS_LOG_WAITING_BYTES,
    ACCESS_LOG_WAITING_ENTRIES,
)
from objstore.errors import (
    NoSuchBucketError,
    NoSuchSettingError,
    StoreClosedError,
    StoreError,
)
from objstore.kms.service import DEFAULT_ACCOUNT
from objstore.model import DefaultRetention, ObjectAttributes

logger = system_logging.getLogger("objstore.access_logs")

_WANTED: Final = "wanted"
_NS_PER_S: Final = 1_000_000_000
_TEXT: Final = {"content-type": "text/plain"}


class AccessLogs:
    """What notes requests to buckets that want it, and delivers the lines.

    ``with AccessLogs(store, folder, region="us-east-1"): ...``; stop it before the store is
    closed.  `is_active` is whether any bucket wants a log: until then nobody asks further.

    Args:
        store: an open `ObjectStore`, made with ``create_buckets=False``.
        folder: the store's.
        interval_s: how long lines gather for an object.
    """

    def __init__(
        self,
        store: Any,
        folder: Path,
        *,
        region: str = "us-east-1",
        account: str = DEFAULT_ACCOUNT,
        interval_s: float = ACCESS_LOG_INTERVAL_S,
    ) -> None:
        self._store = store
        self._region, self._account = region, account
        self._interval_ns = int(interval_s * _NS_PER_S)
        self._clock = store.clock
        self._entropy = store.entropy
        self._folder = folder / "run" / FOLDER_NAME
        self._spool = Spool(self._folder, self._unique().hex())
        self._entries: deque[Entry] = deque()
        # by bucket and day, lines that no file has taken yet
        self._lines: dict[tuple[str, str], list[str]] = {}
        self._kept = 0
        self._dropped = 0
        self._waiting_bytes = 0
        # bucket → what it wants, its owner, and until when that is believed
        self._known: dict[str, tuple[Logging | None, str, int]] = {}
        self._last: dict[str, Logging] = {}
        # target, or name of a file → when it may be tried again, and how long to wait after that
        self._patience: dict[str, tuple[int, int]] = {}
        self._since_ns: dict[tuple[str, str], int] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._turns = threading.Lock()
        self.is_active = False

    def activate(self) -> None:
        """A bucket is about to want a log: every process of the store is to look.

        Raises:
            OSError: the others cannot be told.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self._folder / _WANTED).touch(mode=0o600)
        self.is_active = True

    def forget(self, bucket: str) -> None:
        """What a bucket wants has changed; the other processes notice within a second."""
        self._known.pop(bucket, None)

    def wanted(self, bucket: str) -> str | None:
        """The owner of a bucket that wants a log; None for one that does not."""
        now_ns = self._clock.monotonic_ns()
        known = self._known.get(bucket)
        if known is None or known[2] <= now_ns:
            try:
                logging, owner = self._look(bucket)
            except StoreError:
                logging, owner = None, ""
            if len(self._known) > 10_000:
                self._known.clear()
            known = self._known[bucket] = (logging, owner, now_ns + ACCESS_LOG_TURN_NS)
            if logging is not None:
                self._last[bucket] = logging
        return None if known[0] is None else known[1]

    def _look(self, bucket: str) -> tuple[Logging | None, str]:
        """What a bucket wants, None for nothing, and its owner.

        Raises:
            StoreError: it cannot be said.
        """
        try:
            logging = settings.decode(self._store.bucket_setting(bucket, SETTING))
            return logging, self._store.head_bucket(bucket).owner
        except (NoSuchBucketError, NoSuchSettingError):
            return None, ""

    def note(self, entry: Entry) -> None:
        """Take a request that has been answered.  Never waits."""
        if len(self._entries) + self._kept >= ACCESS_LOG_WAITING_ENTRIES:
            self._dropped += 1
        else:
            self._entries.append(entry)

    def start(self) -> Self:
        """Begin; returns at once."""
        self._thread = threading.Thread(target=self._run, name="objstore-access-logs", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Deliver what there is, and end.  Idempotent."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        try:
            self.turn(all_of_it=True)
        except (StoreError, OSError) as error:
            logger.warning("access logs wait for the next start: %s", error)
        except Exception:
            logger.exception("access logs: the last turn failed")
        if self._waiting_bytes:
            logger.warning("%d bytes of access logs wait for the next start", self._waiting_bytes)
        if self._kept:
            logger.error("%d lines of access logs are lost: no file takes them", self._kept)
        try:
            self._spool.close()
        except OSError as error:
            logger.warning("access logs: files stay behind: %s", error)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _run(self) -> None:
        is_known = False
        told = ""
        while not self._stop.wait(ACCESS_LOG_TURN_NS / _NS_PER_S):
            try:
                if not is_known:
                    self.is_active = self.is_active or self._is_wanted()
                    is_known = True
                self.is_active = self.is_active or (self._folder / _WANTED).exists()
                if self.is_active:
                    self.turn()
                told = ""
            except StoreClosedError:
                logger.warning("access logs wait for the next start: the store is closed")
                return
            except Exception as error:
                if repr(error) != told:  # once, however long it lasts
                    _tell(error)
                told = repr(error)

    def _is_wanted(self) -> bool:
        """Whether any bucket wants a log, asked once: from then on those who set it tell."""
        if (self._folder / _WANTED).exists():
            return True
        for bucket in self._store.list_buckets():
            if self._look(bucket.name)[0] is not None:
                self.activate()
                return True
        return False

    def turn(self, *, all_of_it: bool = False) -> None:
        """Write what was noted to the files, and deliver what has gathered for long enough.

        Args:
            all_of_it: whether it has gathered for long enough or not, and without patience.

        Raises:
            StoreClosedError: nothing can be delivered any more.
            OSError: a file could not be had, written or named; the next turn tries again.
        """
        steps = (
            self._flush,
            partial(self._spool.adopt, self._stamp),
            partial(self._seal_due, all_of_it),
            partial(self._deliver, all_of_it),
        )
        trouble: Exception | None = None
        with self._turns:
            for step in steps:  # each, whatever became of the others
                try:
                    step()
                except StoreClosedError:
                    raise
                except Exception as error:
                    trouble = trouble or error
        if trouble is not None:
            raise trouble

    def _flush(self) -> None:
        for _ in range(len(self._entries)):
            entry = self._entries.popleft()
            try:
                self._lines.setdefault((entry.bucket, entry.day), []).append(entry.line())
            except Exception:  # a defect, of which the other lines know nothing
                logger.exception("access logs: no line can be made of %r", entry)
                self._dropped += 1
        trouble: Exception | None = None
        for bucket, day in list(self._lines):
            try:
                self._write(bucket, day)
            except Exception as error:  # the lines stay, and those of other buckets may fit
                trouble = error
        self._kept = sum(map(len, self._lines.values()))
        if self._dropped:
            logger.warning("%d lines of access logs were dropped", self._dropped)
            self._dropped = 0
        if trouble is not None:
            raise trouble

    def _write(self, bucket: str, day: str) -> None:
        lines = self._lines[bucket, day]
        if self._waiting_bytes > ACCESS_LOG_WAITING_BYTES:
            self._dropped += len(lines)
            del self._lines[bucket, day]
            return
        # a field can hold half of a pair of surrogates, which no encoding has
        data = "".join(lines).encode("utf-8", "backslashreplace")
        size_bytes = self._spool.add(bucket, day, data)
        del self._lines[bucket, day]
        if size_bytes >= ACCESS_LOG_OBJECT_BYTES:
            self._seal(bucket, day)

    def _seal_due(self, all_of_it: bool) -> None:
        now_ns = self._clock.monotonic_ns()
        for bucket, day in self._spool.open_ones():
            since_ns = self._since_ns.setdefault((bucket, day), now_ns)
            if all_of_it or now_ns - since_ns >= self._interval_ns:
                self._seal(bucket, day)

    def _seal(self, bucket: str, day: str) -> None:
        self._spool.seal(bucket, day, self._stamp())
        self._since_ns.pop((bucket, day), None)

    def _stamp(self) -> str:
        return settings.new_stamp(self._clock.now_ns(), self._unique())

    def _unique(self) -> bytes:
        found: bytes = self._entropy.token_bytes(8)
        return found

    def _deliver(self, all_of_it: bool) -> None:
        waiting_bytes = 0
        for batch in self._spool.batches():
            target, name = "", batch.path.name
            try:
                logging = self._last.get(batch.bucket) or self._look(batch.bucket)[0]
                target = "" if logging is None else logging.target
                if all_of_it or not (self._is_to_wait(target) or self._is_to_wait(name)):
                    self._put(batch, logging)
                    batch.path.unlink()
                    self._patience.pop(target, None)
                    self._patience.pop(name, None)
                    continue
            except StoreClosedError:
                raise
            except StoreError as error:
                self._have_patience(target or name, batch, error)
            except Exception as error:  # of this file, and of no other for the same target
                self._have_patience(name, batch, error)
            waiting_bytes += batch.size_bytes
        self._waiting_bytes = waiting_bytes

    def _is_to_wait(self, whom: str) -> bool:
        known = self._patience.get(whom)
        return known is not None and self._clock.monotonic_ns() < known[0]

    def _have_patience(self, whom: str, batch: Batch, error: Exception) -> None:
        """What refuses is tried less and less often."""
        now_ns = self._clock.monotonic_ns()
        due_ns, wait_ns = self._patience.get(whom, (0, ACCESS_LOG_TURN_NS))
        if due_ns > now_ns:
            return  # another batch has just said so
        self._patience[whom] = now_ns + wait_ns, min(wait_ns * 2, ACCESS_LOG_MAX_PATIENCE_NS)
        logger.warning(
            "the access log of %r waits %d s: %s",
            batch.bucket,
            wait_ns // _NS_PER_S,
            error,
            exc_info=None if isinstance(error, StoreError | OSError) else error,
        )

    def _put(self, batch: Batch, logging: Logging | None) -> None:
        """Make the object of a batch, or drop it where there is nobody to have it.

        The bucket may have changed its mind since: what was noted then goes where it was to.
        """
        data = batch.read()
        if logging is None or not data:
            self._warn_of(batch, "the bucket wants none any more")
            return
        target = logging.target
        try:
            owner = self._store.head_bucket(target).owner
            data, others = _divide(data, owner)
            if others:
                self._warn_of(batch, f"the bucket {target!r} is somebody else's")
            if self._locks(target):
                self._warn_of(batch, f"the bucket {target!r} has a default retention")
            elif data:
                key = settings.object_key(
                    logging, batch.bucket, self._region, self._account, batch.day, batch.stamp
                )
                attributes = ObjectAttributes(headers=dict(_TEXT), owner=owner)
                self._store.put(target, key, data, attributes=attributes)
        except NoSuchBucketError:
            self._warn_of(batch, f"there is no bucket {target!r}")

    def _locks(self, target: str) -> bool:
        """Whether a bucket keeps what is put into it from being deleted."""
        try:
            return bool(self._store.object_lock(target) != DefaultRetention())
        except NoSuchSettingError:
            return False

    def _warn_of(self, batch: Batch, why: str) -> None:
        logger.warning("the access log of %r is dropped: %s", batch.bucket, why)


def _divide(data: bytes, owner: str) -> tuple[bytes, bytes]:
    """Lines that the owner of a target may have, and those that others' buckets were asked for.

    A line begins with the owner of the bucket that it is of, whoever that bucket belongs to by
    now.  Where an owner is not known (of what an embedding program made), nobody is excluded.
    """
    if not owner:
        return data, b""
    beginnings = (f"{owner} ".encode("utf-8", "backslashreplace"), b"- ")
    lines = [line + b"\n" for line in data.split(b"\n")[:-1]]
    theirs = [line for line in lines if line.startswith(beginnings)]
    if len(theirs) == len(lines):
        return data, b""
    return b"".join(theirs), b"".join(line for line in lines if not line.startswith(beginnings))


def _tell(error: Exception) -> None:
    if isinstance(error, StoreError | OSError):
        logger.error("access logs wait: %s", error)
    else:  # a defect, and no reason to log nothing from now on
        logger.error("access logs: a turn failed", exc_info=error)
