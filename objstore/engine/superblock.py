"""The superblock of an open device: which copy to believe, and writing the other one again.

A superblock never changes once its store is made.  So a copy that is whole is right for
ever, and any process may write it over the other one at any time, beside all who have the
store open: they write the same bytes.  The copy that is whole is never written, so that a
power cut while the other one is costs nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from blockdev import BlockDevice, DeviceFullError, DeviceIOError
from objstore.errors import CorruptionError
from objstore.log.format import FormatError, Superblock
from objstore.log.reader import SuperblockCopies, read_superblock_copies

_LOG = logging.getLogger("objstore.recovery")


def load_superblock(device: BlockDevice, *, mends: bool) -> Superblock | None:
    """The device's superblock; None on a device of zeroes.

    `mends`: write a damaged copy again, durably; one that cannot be written is left to
    the next who opens the store, since reading takes the other one alone.

    Raises:
        CorruptionError: there is something else on the device, or both copies are
            damaged, or they are of different stores.
    """
    try:
        copies = read_superblock_copies(device)
    except FormatError as error:
        raise CorruptionError(f"this device holds no store that can be opened: {error}") from error
    if mends and copies.superblock is not None:
        _mend(device, copies.superblock, copies)
    return copies.superblock


def _mend(device: BlockDevice, superblock: Superblock, copies: SuperblockCopies) -> None:
    for offset_bytes, what in copies.damaged.items():
        try:
            device.write(offset_bytes, superblock.pack(), fua=True)
        except (DeviceFullError, DeviceIOError) as error:
            _LOG.error(
                "the copy of the superblock at byte %d is damaged (%s) and could not be "
                "written again: %s",
                offset_bytes,
                what,
                error,
            )
        else:
            _LOG.warning(
                "the copy of the superblock at byte %d was damaged (%s); it was written again "
                "from the other one",
                offset_bytes,
                what,
            )


def superblock_problems(device: BlockDevice, superblock: Superblock) -> Iterator[str]:
    """What is wrong with the copies on the device of a store that was opened with `superblock`."""
    try:
        copies = read_superblock_copies(device)
    except FormatError as error:
        yield str(error)
        return
    if copies.superblock is None:
        yield "both copies are blank"
    elif copies.superblock != superblock:
        yield "the copies on the device are of another store than the one that is open"
    for offset_bytes, what in copies.damaged.items():
        yield (
            f"the copy at byte {offset_bytes} is damaged ({what}); it is written again "
            "when the store is next opened for writing"
        )
