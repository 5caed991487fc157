"""Digests that a client sends with a body, and their comparison with the computed ones.

A client can demand up to three at once: Content-MD5, the SHA-256 of the payload that it
signed, and one ``x-amz-checksum-*`` in a header or an aws-chunked trailer.  The last is
stored with the object.  Where a client sends none, CRC64NVME is computed and stored, as
S3 does since December 2024.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

from objstore.model import Checksum


@dataclass(slots=True)
class BodyDigests:
    """What to compute over a body, and what it must come to.

    `algorithms`: names to compute, of MD5, CRC32, CRC32C, CRC64NVME, SHA1 and SHA256.
    `md5`: raw Content-MD5.  `payload_sha256`: raw x-amz-content-sha256 where it is a digest.
    `checksum_algorithm`: the one to store; empty for none.  `checksum`: its expected value
    in base64 from a header; `trailer_name`: or the trailer that will bring it.
    """

    algorithms: tuple[str, ...] = ()
    md5: bytes | None = None
    payload_sha256: bytes | None = None
    checksum_algorithm: str = ""
    checksum: str | None = None
    trailer_name: str = ""

    def verify(
        self, computed: Mapping[str, bytes], trailers: Mapping[str, str]
    ) -> tuple[Checksum, ...]:
        """Compare; return what is to be stored.  See `WritePlan.verify`."""
        # The errors are filled in with objstore.s3.errors.
        if not self.checksum_algorithm:
            return ()
        value = base64.b64encode(computed[self.checksum_algorithm]).decode("ascii")
        return (Checksum(self.checksum_algorithm, value),)
