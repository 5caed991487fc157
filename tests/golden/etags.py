"""ETags and checksums of known objects in one piece, in parts, and grown by appends.

Computed by code that is not the server's: MD5 and SHA by hashlib; the CRCs bit by bit from
their polynomials (0xEDB88320, 0x82F63B78 and 0x9A6C9329AC4BC9B5, reflected); the XXH family by
the library of AWS's own SDKs (awscrt).  An ETag of parts is the MD5 of their MD5s and their
number; a COMPOSITE checksum likewise.
"""

from __future__ import annotations

from tests.golden.checksums import PATTERN

SINGLE = {
    b"": "d41d8cd98f00b204e9800998ecf8427e",
    b"a": "0cc175b9c0f1b6a831c399e269772661",
    PATTERN: "c35cc7d8d91728a0cb052831bc4ef372",
}

PARTS = (PATTERN, PATTERN[:-1], b"a")
PARTS_ETAG = "6b31e978393e20217f81eeb11504814a-3"

FULL_OBJECT = {
    "CRC32": "5R665w==",
    "CRC32C": "Rd1HRw==",
    "CRC64NVME": "Z2I69KAoNiM=",
}
"""Of all bytes of `PARTS`."""

COMPOSITE = {
    "CRC32": "LansfQ==-3",
    "CRC32C": "BbRrcQ==-3",
    "SHA1": "ovxzGfLRLmtT3oaxPglm60pXFeM=-3",
    "SHA256": "o+XDfK6o8bs/kJaFDxS8qGSYPgUFSh13lQ8lBKeA/4o=-3",
    "SHA512": (
        "P/CrstGr7xDrs2rcx/FPo89ipkPjKM438B13b29MKbzCKKVD9Rl3D7gpnsj2AhkMp8XbDXPKguOGvYgF7cRyAg==-3"
    ),
    "MD5": "azHpeDk+ICF/ge6xFQSBSg==-3",
    "XXHASH64": "GglSepo2MMQ=-3",
    "XXHASH3": "jSqogk+tb1w=-3",
    "XXHASH128": "QWsD9tpoag6MT4z0YWpkDg==-3",
}

APPENDED = (PATTERN, b"a", PATTERN[:-1])
APPENDED_ETAGS = (
    "c35cc7d8d91728a0cb052831bc4ef372",
    "cc07c1b3449c00752a6b5bc88fa0e61e-2",
    "f4145f0aa70aa6b8f3e10d43a3ff2fd3-3",
)
APPENDED_CRC64NVME = ("mh5mgVctYTs=", "Ijtmg5QUBCA=", "dP1UxEV77+0=")
"""After the first of `APPENDED`, after the second, after all."""
