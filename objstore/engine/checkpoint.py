"""Checkpoints: images of the index, so that recovery replays only the log after one.

A checkpoint is two files, ``<seq>.mdb`` and ``<seq>.json``; the second, written
last, gives the length and the checksum of the first.  Two generations are kept.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from xxhash import xxh3_64

from blockdev import Clock
from objstore.config import CHECKPOINT_ATTEMPTS, CHECKPOINT_PIECE_BYTES, CHECKPOINTS_KEPT
from objstore.engine.core import tail_of
from objstore.files import sync_folder
from objstore.index.base import CopyRacedError, Index


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An image of the index after batch `seq`; `lsn` is the next record's number.

    `log_bytes`: how much log there had been by then.
    """

    path: Path
    seq: int
    lsn: int
    log_bytes: int
    bytes: int
    xxh3: int
    store_id: str

    @property
    def note_path(self) -> Path:
        return self.path.with_suffix(".json")


def find(folder: Path, store_id: bytes) -> list[Checkpoint]:
    """Checkpoints of the store that have both files, newest first; images not yet verified."""
    found = []
    for note_path in folder.glob("*.json"):
        try:
            note = json.loads(note_path.read_text())
            checkpoint = Checkpoint(
                note_path.with_suffix(".mdb"),
                int(note["seq"]),
                int(note["lsn"]),
                int(note["log_bytes"]),
                int(note["bytes"]),
                int(note["xxh3"], 16),
                str(note["store_id"]),
            )
        except (ValueError, KeyError, TypeError, OSError):
            continue  # never finished, or damaged: as good as none
        if checkpoint.path.exists() and checkpoint.store_id == store_id.hex():
            found.append(checkpoint)
    return sorted(found, key=lambda checkpoint: checkpoint.seq, reverse=True)


def restore(checkpoint: Checkpoint, index_folder: Path) -> bool:
    """Copy a checkpoint's image into place if it is whole; whether it was."""
    index_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = index_folder / "data.mdb"
    digest = xxh3_64()
    with checkpoint.path.open("rb") as source, target.open("wb") as sink:
        os.chmod(target, 0o600)
        while piece := source.read(CHECKPOINT_PIECE_BYTES):
            digest.update(piece)
            sink.write(piece)
    if digest.intdigest() == checkpoint.xxh3 and target.stat().st_size == checkpoint.bytes:
        return True
    target.unlink()
    return False


def write(
    index: Index, folder: Path, store_id: bytes, clock: Clock, bytes_per_s: int
) -> Checkpoint:
    """Write an image of the index as it is now, at most so fast; drop the oldest.

    Unthrottled, the copy's dirty pages would hold up every commit on the same disk.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    with index.read() as txn:
        tail = tail_of(txn)
    # The image may be of a later batch than this tail; replay starts from the one in
    # the image, and the note, which only holds tombstones back, is on the safe side.
    seq = tail.next_seq - 1
    partial = folder / f".{seq:020}.partial"
    length, digest = _copy_whole(index, partial, clock, bytes_per_s)
    path = folder / f"{seq:020}.mdb"
    partial.rename(path)
    checkpoint = Checkpoint(
        path, seq, tail.next_lsn, tail.log_bytes, length, digest, store_id.hex()
    )
    _publish(checkpoint)
    return checkpoint


def _copy_whole(index: Index, path: Path, clock: Clock, bytes_per_s: int) -> tuple[int, int]:
    """As `_copy`, again where a commit came between."""
    for _attempt in range(CHECKPOINT_ATTEMPTS - 1):
        try:
            return _copy(index, path, clock, bytes_per_s)
        except CopyRacedError:
            continue
    return _copy(index, path, clock, bytes_per_s)


def _copy(index: Index, path: Path, clock: Clock, bytes_per_s: int) -> tuple[int, int]:
    """(length, checksum) of the image written to `path`, synced."""
    reading, writing = os.pipe()
    failure: list[BaseException] = []

    def copy() -> None:
        try:
            index.copy_to(writing)
        except BaseException as error:
            failure.append(error)
        finally:
            os.close(writing)

    thread = threading.Thread(target=copy, name="objstore-checkpoint", daemon=True)
    thread.start()
    digest = xxh3_64()
    length = 0
    started_ns = clock.monotonic_ns()
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "wb") as sink:
            while piece := os.read(reading, CHECKPOINT_PIECE_BYTES):
                digest.update(piece)
                sink.write(piece)
                length += len(piece)
                clock.sleep_until(started_ns + length * 1_000_000_000 // bytes_per_s)
            sink.flush()
            os.fdatasync(sink.fileno())
    finally:
        os.close(reading)
        thread.join()
    if failure:
        path.unlink(missing_ok=True)
        raise failure[0]
    return length, digest.intdigest()


def _publish(checkpoint: Checkpoint) -> None:
    """Write the note that makes the image count, and drop all but the newest two."""
    note = {
        "seq": checkpoint.seq,
        "lsn": checkpoint.lsn,
        "log_bytes": checkpoint.log_bytes,
        "bytes": checkpoint.bytes,
        "xxh3": f"{checkpoint.xxh3:016x}",
        "store_id": checkpoint.store_id,
    }
    write_synced(checkpoint.note_path, json.dumps(note, indent=1))
    store_id = bytes.fromhex(checkpoint.store_id)
    folder = checkpoint.path.parent
    kept = {found.path.stem for found in find(folder, store_id)[:CHECKPOINTS_KEPT]}
    for path in folder.iterdir():
        if path.stem not in kept:
            path.unlink(missing_ok=True)


def discard_all(folder: Path) -> None:
    """Give every checkpoint up; the notes first, since they make the images count."""
    for path in [*folder.glob("*.json"), *folder.glob("*")]:
        path.unlink(missing_ok=True)
    sync_folder(folder)


def write_synced(path: Path, text: str) -> None:
    """Replace a small file so that after a power loss it is the old or the new one."""
    partial = path.with_name(f".{path.name}.partial")
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w") as sink:
        sink.write(text)
        sink.flush()
        os.fsync(sink.fileno())
    partial.rename(path)
    sync_folder(path.parent)
