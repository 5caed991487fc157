"""The regions behind a server: one folder each, opened when somebody first asks for it.

The server's own region lives in ``region`` below its data folder, others in
``regions/NAME``.  Server processes open them side by side; what they share is in the
folder, the key of the tokens (``token.key``) among it.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from blockdev.clock import Clock
from blockdev.entropy import Entropy
from blockdev.model import ServiceError
from objstore.aws.tokens import Sealer

if TYPE_CHECKING:
    from blockdev.blocks import BlockStore
    from blockdev.service import Region

_NAME: Final = re.compile("[a-z0-9-]{1,32}")
_KEY_BYTES: Final = 32
MAX_OPEN_REGIONS: Final = 64
"""More than AWS has; each holds a database open."""


class UnknownRegionError(LookupError):
    """No region can have this name, or no further one can be opened."""


@dataclass(frozen=True, slots=True)
class OpenRegion:
    """A region and what makes its tokens."""

    region: Region
    sealer: Sealer


class Regions:
    """Opens regions by name.  Safe to share between threads.

    Args:
        data_dir: the server's data folder.
        home: the name of the server's own region.
    """

    def __init__(self, data_dir: Path, home: str, clock: Clock, entropy: Entropy) -> None:
        self._data_dir = data_dir
        self._home = home
        self._clock = clock
        self._entropy = entropy
        self._lock = threading.Lock()
        self._open: dict[str, OpenRegion] = {}
        self._blocks_of: Callable[[str], BlockStore] | None = None
        self._is_closed = False

    def keep_blocks(self, blocks_of: Callable[[str], BlockStore]) -> None:
        """Regions that are opened from now on keep the blocks of their snapshots in the store
        that `blocks_of` has for their name, instead of in files of their folder."""
        self._blocks_of = blocks_of

    @property
    def home(self) -> str:
        """The server's own region."""
        return self._home

    def get(self, name: str) -> OpenRegion:
        """The region of that name, made if there was none.  Blocks while it opens.

        Raises:
            UnknownRegionError
            ServiceError: InternalError: the folder is another region's.
        """
        found = self._open.get(name)
        if found is not None:
            return found
        if not _NAME.fullmatch(name):
            raise UnknownRegionError(name)
        with self._lock:
            return self._open.get(name) or self._open_region(name)

    def find(self, name: str) -> OpenRegion | None:
        """The region of that name if anybody has used it yet, or it is the server's own."""
        return self.get(name) if name in self.names() else None

    def names(self) -> list[str]:
        """The server's own region, then all others that anybody has used."""
        others = self._data_dir / "regions"
        found = sorted(path.name for path in others.iterdir()) if others.is_dir() else []
        return [self._home, *(n for n in found if _NAME.fullmatch(n) and n != self._home)]

    def close(self) -> None:
        """Close them all; idempotent.  None is opened afterwards."""
        with self._lock:
            self._is_closed = True
            opened, self._open = self._open, {}
        for entry in opened.values():
            entry.region.close()

    def _open_region(self, name: str) -> OpenRegion:
        # Only who uses block devices pays for loading the block layer's control plane.
        from blockdev.service import Region

        if self._is_closed or len(self._open) >= MAX_OPEN_REGIONS:
            raise UnknownRegionError(name)
        path = self._data_dir / "region"
        if name != self._home:
            path = self._data_dir / "regions" / name
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = _token_key(path / "token.key", self._entropy)
        blocks = self._blocks_of(name) if self._blocks_of is not None else None
        region = Region.open(
            path, name=name, clock=self._clock, entropy=self._entropy, blocks=blocks
        )
        if region.name != name:
            region.close()
            raise ServiceError(
                "InternalError",
                f"The folder {path.name} is that of {region.name}, not of {name}: "
                f"start the server with --region {region.name}, or with another folder.",
            )
        entry = self._open[name] = OpenRegion(region, Sealer(key, self._clock))
        return entry


def _token_key(path: Path, entropy: Entropy) -> bytes:
    """The key in the file, made by the first process that needs it."""
    if not path.exists():
        temporary = path.with_name(f"{path.name}.{entropy.token_bytes(8).hex()}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(entropy.token_bytes(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)  # fails where another process was faster
        except FileExistsError:
            pass
        finally:
            os.unlink(temporary)
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise ValueError(f"{path} does not hold a key of {_KEY_BYTES} bytes")
    return key
