"""TLS of the server: a certificate and its key, read again when they are replaced."""

from __future__ import annotations

import logging
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

logger = logging.getLogger("objstore.server")

HANDSHAKE_TIMEOUT_S: Final = 15.0


class TlsError(Exception):
    """The files cannot be used; the text says which and why."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Certificate (with the chain, PEM) and private key."""

    cert: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """What connections are made with: TLS 1.2 and 1.3.

        Raises:
            TlsError
        """
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        made.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        made.set_alpn_protocols(["http/1.1"])
        self.load_into(made)
        return made

    def load_into(self, context: ssl.SSLContext) -> None:
        """Have new connections use what the files hold by now.

        Raises:
            TlsError: nothing has changed.
        """
        for path in (self.cert, self.key):
            try:
                with path.open("rb"):
                    pass
            except OSError as error:
                raise TlsError(f"cannot read {path}: {error.strerror}") from None
        try:
            # first elsewhere: half of a new pair must not take the place of a whole old one
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                self.cert, self.key, password=_no_password
            )
            context.load_cert_chain(self.cert, self.key, password=_no_password)
        except TlsError:
            raise
        except (ssl.SSLError, OSError) as error:
            raise TlsError(
                f"{self.cert} and {self.key} are no certificate and its key in PEM: {error}"
            ) from None
        if self.key.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            logger.warning("%s can be read by others than its owner", self.key)


def _no_password() -> str:
    raise TlsError("the private key is encrypted; it has to be readable without a password")
