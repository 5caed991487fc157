"""How the values of tests/golden/etags.py were made, by code that is not the server's.

    python -m tests.golden.make_etags

MD5 and SHA by hashlib, CRC32 by zlib, the other CRCs byte by byte from their polynomials, the
XXH family by the library of AWS's SDKs: tests/clients/digests.py.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import pprint
from collections.abc import Sequence

from tests.clients.digests import DIGESTS, crc64nvme
from tests.golden.checksums import INPUTS
from tests.golden.etags import APPENDED, COMPOSITE, PARTS, RANGES


def parts_etag(parts: Sequence[bytes]) -> str:
    """The MD5 of the parts' MD5s, and their number."""
    digests = b"".join(hashlib.md5(part).digest() for part in parts)
    return f"{hashlib.md5(digests).hexdigest()}-{len(parts)}"


def composite(algorithm: str, parts: Sequence[bytes]) -> str:
    """The checksum of the parts' checksums, and their number."""
    digest = DIGESTS[algorithm]
    raw = b"".join(base64.b64decode(digest(part)) for part in parts)
    return f"{digest(raw)}-{len(parts)}"


def computed() -> dict[str, object]:
    """Every value that is frozen, by its name there."""
    whole = b"".join(PARTS)
    slices = [whole[first : last + 1] for first, last in RANGES]
    grown = list(itertools.accumulate(APPENDED))
    etags = [parts_etag(APPENDED[:count]) for count in range(2, len(APPENDED) + 1)]
    return {
        "SINGLE": {label: hashlib.md5(data).hexdigest() for label, data in INPUTS.items()},
        "PARTS_ETAG": parts_etag(PARTS),
        "COMPOSITE": {name: composite(name, PARTS) for name in COMPOSITE},
        "WHOLE": {name: digest(whole) for name, digest in DIGESTS.items()},
        "SLICES_ETAG": parts_etag(slices),
        "SLICES_COMPOSITE": {name: composite(name, slices) for name in COMPOSITE},
        "SLICES_CRC64NVME": crc64nvme(b"".join(slices)),
        "APPENDED_ETAGS": (hashlib.md5(APPENDED[0]).hexdigest(), *etags),
        "APPENDED_CRC64NVME": tuple(crc64nvme(data) for data in grown),
    }


if __name__ == "__main__":
    for name, value in computed().items():
        pprint.pp({name: value}, width=100)
