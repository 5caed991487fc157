"""Block devices served over NBD, so that real tools see a real disk.

`NbdServer` serves any `BlockDevice` from threads of this process; see ``docs/nbd.md``.
"""

from blockdev.nbd.address import (
    DEFAULT_PORT,
    Address,
    ListenError,
    TcpAddress,
    UnixAddress,
    parse_address,
)
from blockdev.nbd.exports import Export
from blockdev.nbd.limits import NbdLimits
from blockdev.nbd.server import NbdServer, StopSignal, serve

__all__ = [
    "DEFAULT_PORT",
    "Address",
    "Export",
    "ListenError",
    "NbdLimits",
    "NbdServer",
    "StopSignal",
    "TcpAddress",
    "UnixAddress",
    "parse_address",
    "serve",
]
