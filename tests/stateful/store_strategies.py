"""What the machine of the store draws from: names, sizes, ranges, attributes, locks."""

from __future__ import annotations

import base64
import hashlib
import zlib

from hypothesis import strategies as st

from objstore.model import (
    NO_ENCRYPTION,
    ByteRange,
    Checksum,
    Conditions,
    DefaultRetention,
    Encryption,
    ObjectAttributes,
    ObjectLock,
)
from tests.crash.tiny import SIZES

BUCKETS = ("one", "two", "three")
ODD_KEYS = (
    "a",
    "a/",
    "a/b",
    "a/b/c",
    "a/c",
    "a0",
    "b//d",
    "\x00",
    "\x00\x00",
    "a\x00",
    "a\x00b",
    "\x00" * 1024,
    "x" * 1024,
    "\x7f",
    "é/ü",
    "\uffff",
    "\ue000/\U00010000",
    "\U0010ffff",
    "\U0001f600" * 256,
)
TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)
HOUR_MS = 3600 * 1000
DAY_MS = 24 * HOUR_MS

bucket_names = st.sampled_from(BUCKETS)
few_keys = st.sampled_from(ODD_KEYS[:4])
object_keys = st.one_of(few_keys, st.sampled_from(ODD_KEYS), st.sampled_from(ODD_KEYS[:6]), TEXT)
sizes = st.sampled_from(SIZES)
seeds = st.integers(0, 2**32)
prefixes = st.sampled_from(("", "", "a", "a/", "b", "\x00", "é", "\ue000", "zz"))
delimiters = st.sampled_from(("", "/", "/", "b", "//", "\x00"))
limits = st.sampled_from((0, 1, 2, 3, 1000))
tags = st.dictionaries(TEXT, TEXT, max_size=2)
# Hours from now; the past is refused, and what is near runs out while the machine goes on.
lock_hours = st.sampled_from((-1, 1, 1, 30, 1000))
modes = st.sampled_from(("GOVERNANCE", "COMPLIANCE"))
defaults = st.sampled_from(
    (
        DefaultRetention(),
        DefaultRetention("GOVERNANCE", days=1),
        DefaultRetention("COMPLIANCE", days=2),
        DefaultRetention("GOVERNANCE", years=1),
        DefaultRetention("COMPLIANCE"),
        DefaultRetention("", days=1),
    )
)
encryptions = st.sampled_from(
    (NO_ENCRYPTION, NO_ENCRYPTION, Encryption("AES256"), Encryption("aws:kms"))
)
attributes = st.builds(
    ObjectAttributes,
    headers=st.dictionaries(st.sampled_from(("content-type", "expires")), TEXT, max_size=2),
    metadata=st.dictionaries(TEXT, TEXT, max_size=2),
    tags=tags,
    storage_class=st.sampled_from(("STANDARD", "GLACIER")),
    owner=st.sampled_from(("", "somebody")),
    encryption=encryptions,
)
algorithms = st.sampled_from(("", "", "CRC32", "SHA256"))
ranges = st.one_of(
    st.none(),
    st.builds(ByteRange, first=st.sampled_from((0, 1, 4095, 4096, 16_384, 70_000, 139_999))),
    st.builds(ByteRange, first=st.integers(0, 9000), last=st.integers(9000, 400_000)),
    st.builds(ByteRange, suffix_bytes=st.sampled_from((0, 1, 5000, 10**6))),
)
delete_conditions = st.sampled_from(
    (
        Conditions(if_match=("*",)),
        Conditions(if_match=("0" * 32,)),
        Conditions(if_match_size_bytes=100),
        Conditions(if_match_modified_s=0),
    )
)


def lock_until(now_ms: int, mode: str, hours: int, is_held: bool) -> ObjectLock:
    """A lock that ends so many hours from now."""
    return ObjectLock(mode, now_ms + hours * HOUR_MS, is_held)


def checksums_of(algorithm: str, body: bytes) -> tuple[Checksum, ...]:
    """The body's true checksum in that algorithm; none without one."""
    if not algorithm:
        return ()
    digest = zlib.crc32(body).to_bytes(4, "big")
    if algorithm == "SHA256":
        digest = hashlib.sha256(body).digest()
    return (Checksum(algorithm, base64.b64encode(digest).decode()),)
