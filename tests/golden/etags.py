"""ETags and checksums of known objects: in one piece, in parts, copied, grown by appends.

tests/golden/make_etags.py computes them, by code that is not the server's, and is compared with
them.  An ETag of parts is the MD5 of their MD5s and their number; a COMPOSITE checksum likewise.
"""

from __future__ import annotations

from tests.golden.checksums import PATTERN

SINGLE = {
    "empty": "d41d8cd98f00b204e9800998ecf8427e",
    "a": "0cc175b9c0f1b6a831c399e269772661",
    "123456789": "25f9e794323b453885f5181f1b624d0b",
    "pattern": "c35cc7d8d91728a0cb052831bc4ef372",
}
"""Of `INPUTS` in tests/golden/checksums.py, where their checksums are."""

PARTS = (PATTERN, PATTERN[:-1], b"a")
PARTS_ETAG = "6b31e978393e20217f81eeb11504814a-3"

WHOLE = {
    "CRC32": "5R665w==",
    "CRC32C": "Rd1HRw==",
    "CRC64NVME": "Z2I69KAoNiM=",
    "SHA1": "ZK/PHd87SbHi6fAHFW/MhJTW1xQ=",
    "SHA256": "eO76dmstw6P2yYS/U5asAVXj7lmkEKh5hFhs6Xapnt0=",
    "SHA512": (
        "un2K6dtkhhIW2McXyv6kekRnSJ+BS68wKDKUvrHwR6gt/3TvPIyP2paXNMST7fnvdTIIZXLiGvLYN1aP9JhCtw=="
    ),
    "MD5": "UMOCw15V6exsJldhCZ0mtg==",
    "XXHASH64": "GRZVVPx7cGY=",
    "XXHASH3": "zPhAHTooUrg=",
    "XXHASH128": "p4r7dfEIsjHM+EAdOihSuA==",
}
"""Of all bytes of `PARTS`."""

FULL_OBJECT = ("CRC32", "CRC32C", "CRC64NVME")
"""What an object in parts can have a checksum of all its bytes in."""

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

RANGES = ((0, 1_048_575), (500_000, 1_500_000), (2_097_151, 2_097_151))
"""First and last byte: exactly the first of `PARTS`, some of two of them, all of the last."""

SLICES_ETAG = "3c80e10ae9135420086c0c060e94526c-3"
SLICES_CRC64NVME = "suyeUao7S6M="
SLICES_COMPOSITE = {
    "CRC32": "vUwa5g==-3",
    "CRC32C": "z5cCxw==-3",
    "SHA1": "XI6v45slHzyeBQiqY6NbTpufUEE=-3",
    "SHA256": "N5seMJ/LEfk0ZAT6BXzpESK+47UxK6LKHCsRbPeH3GM=-3",
    "SHA512": (
        "9Onm2uA50bGQmGMic/ieltFvRt85NgFMNQIKame6KoVBoP2y3EeB5U4h5eLif6hj6z5Ac8O9m44AIDE8s8K3vw==-3"
    ),
    "MD5": "PIDhCukTVCAIbAwGDpRSbA==-3",
    "XXHASH64": "1S0mGmeB3zM=-3",
    "XXHASH3": "cYQ61/L+g54=-3",
    "XXHASH128": "TJByEOxj435+jDjUNU/Bpw==-3",
}
"""Of an object of these ranges, each copied as a part."""

APPENDED = (PATTERN, b"a", PATTERN[:-1])
APPENDED_ETAGS = (
    "c35cc7d8d91728a0cb052831bc4ef372",
    "cc07c1b3449c00752a6b5bc88fa0e61e-2",
    "f4145f0aa70aa6b8f3e10d43a3ff2fd3-3",
)
APPENDED_CRC64NVME = ("mh5mgVctYTs=", "Ijtmg5QUBCA=", "dP1UxEV77+0=")
"""After the first of `APPENDED`, after the second, after all."""
