"""Keys of the index sort as what they stand for, fit into LMDB, and can be read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.config import MAX_KEY_BYTES
from objstore.index import keys

LMDB_KEY_BYTES = 1978

# NULs in every quantity that the escape treats differently, and their neighbours.
_PIECES = st.one_of(
    st.integers(0, 200).map(lambda length: b"\x00" * length),
    st.sampled_from([b"\x00" * 63, b"\x00" * 64, b"\x00" * 65, b"\x00" * 128]),
    st.binary(max_size=6),
    st.sampled_from([b"\x01", b"a", b"\xff", b"\x00\x01", b"\x00\xff", b"\x7f", b"\x80"]),
)
NAMES = st.lists(_PIECES, max_size=6).map(b"".join).map(lambda name: name[:MAX_KEY_BYTES])
SEQS = st.integers(0, 2**64 - 1)
UPLOADS = st.binary(min_size=16, max_size=16)


@given(NAMES, st.binary(max_size=20))
def test_a_terminated_key_is_read_back_whatever_follows(name: bytes, rest: bytes) -> None:
    form = keys.terminated(name)
    assert keys.unterminated(b"u1234" + form + rest, 5) == (name, 5 + len(form))


@given(NAMES, NAMES, st.binary(max_size=3), st.binary(max_size=3))
def test_terminated_keys_sort_as_the_keys(
    a: bytes, b: bytes, after_a: bytes, after_b: bytes
) -> None:
    """And what follows them matters only between equal keys."""
    if a != b:
        assert (keys.terminated(a) + after_a < keys.terminated(b) + after_b) == (a < b)


@given(NAMES, NAMES)
def test_no_terminated_key_is_the_prefix_of_another(a: bytes, b: bytes) -> None:
    if a != b:
        assert not keys.terminated(b).startswith(keys.terminated(a))


@given(NAMES)
def test_a_terminated_key_is_at_most_half_as_long_again(name: bytes) -> None:
    assert len(keys.terminated(name)) <= len(name) * 3 // 2 + 2


@pytest.mark.parametrize(
    "name",
    [
        b"\x00" * MAX_KEY_BYTES,
        b"\x00a" * (MAX_KEY_BYTES // 2),
        b"a\x00" * (MAX_KEY_BYTES // 2),
        b"\xff" * MAX_KEY_BYTES,
    ],
)
def test_the_longest_keys_fit(name: bytes) -> None:
    assert len(keys.version(2**32 - 1, name, 0)) <= LMDB_KEY_BYTES
    assert len(keys.upload(2**32 - 1, name, b"\xff" * 16)) <= LMDB_KEY_BYTES


@pytest.mark.parametrize(
    ("name", "form"),
    [
        (b"", "0000"),
        (b"a", "610000"),
        (b"\x00", "0001"),
        (b"\x00" * 63, "003f"),
        (b"\x00" * 64, "00800000"),
        (b"\x00" * 65, "00800001"),
        (b"a\x00b", "6100bf620000"),
        (b"\x00\x00b", "00be620000"),
        (b"\x00" * 64 + b"b", "0080620000"),
        (b"\x00" * 127 + b"b", "00800081620000"),
    ],
)
def test_the_form_is_that_of_the_format(name: bytes, form: str) -> None:
    assert keys.terminated(name).hex() == form


@given(st.binary(max_size=6), st.binary(max_size=6))
def test_after_bounds_exactly_the_keys_with_the_prefix(prefix: bytes, rest: bytes) -> None:
    if not prefix.rstrip(b"\xff"):
        with pytest.raises(ValueError, match="no key follows"):
            keys.after(prefix)
        return
    stop = keys.after(prefix)
    assert prefix <= prefix + rest < stop
    # The least such key: whatever is below it and not below the prefix begins with it.
    if prefix <= rest < stop:
        assert rest.startswith(prefix)


@given(NAMES, NAMES, SEQS, SEQS, st.integers(0, 2**32 - 1))
def test_versions_sort_by_key_and_then_newest_first(
    a: bytes, b: bytes, seq_a: int, seq_b: int, bucket_id: int
) -> None:
    one, other = keys.version(bucket_id, a, seq_a), keys.version(bucket_id, b, seq_b)
    assert (one < other) == ((a, -seq_a) < (b, -seq_b))
    assert one.startswith(keys.versions_prefix(bucket_id, a))
    assert (a == b) == other.startswith(keys.versions_prefix(bucket_id, a))


@given(NAMES, UPLOADS, st.integers(0, 2**32 - 1))
def test_an_upload_is_read_back(name: bytes, upload_id: bytes, bucket_id: int) -> None:
    row_key = keys.upload(bucket_id, name, upload_id)
    assert row_key.startswith(keys.uploads_prefix(bucket_id))
    assert keys.parse_upload(row_key) == (name, upload_id)


@given(UPLOADS, st.integers(1, 10_000), st.integers(1, 10_000))
def test_parts_sort_by_number(upload_id: bytes, a: int, b: int) -> None:
    one, other = keys.part(upload_id, a), keys.part(upload_id, b)
    assert (one < other) == (a < b)
    assert one.startswith(keys.parts_prefix(upload_id))


@given(SEQS, SEQS, SEQS)
def test_manifests_sort_by_where_they_begin(seq: int, a: int, b: int) -> None:
    one, other = keys.manifest(seq, a), keys.manifest(seq, b)
    assert (one < other) == (a < b)
    assert one.startswith(keys.manifest_prefix(seq))


@given(st.integers(0, 2**32 - 1), SEQS, SEQS, SEQS)
def test_an_extent_is_read_back(segment: int, offset: int, owner: int, start: int) -> None:
    row_key = keys.extent(segment, offset, owner, start)
    assert keys.parse_extent(row_key) == (segment, offset, owner, start)
    assert row_key.startswith(keys.extent_prefix(segment, offset))
    assert row_key.startswith(keys.extents_prefix(segment))


@given(st.integers(0, 2**32 - 1), SEQS)
def test_segments_are_read_back(segment: int, seq: int) -> None:
    for row_key in (keys.segment(segment), keys.lease(segment), keys.quarantine(seq, segment)):
        assert keys.parse_segment(row_key) == segment


def test_run_time_rows_come_after_all_others() -> None:
    """A replay removes them as one range, and a comparison stops before it."""
    durable = [
        keys.bucket(b"zzz"),
        keys.bucket_name(2**32 - 1),
        keys.counters(2**32 - 1),
        keys.current(2**32 - 1, b"\xff" * 1024),
        keys.null_position(2**32 - 1, b"\xff" * 1024),
        keys.version(2**32 - 1, b"\xff" * 1024, 0),
        keys.manifest(2**64 - 1, 2**64 - 1),
        keys.upload(2**32 - 1, b"\xff" * 1024, b"\xff" * 16),
        keys.part(b"\xff" * 16, 10_000),
        keys.segment(2**32 - 1),
        keys.extent(2**32 - 1, 2**64 - 1, 2**64 - 1, 2**64 - 1),
        keys.TAIL,
    ]
    runtime = [
        keys.lease(2**32 - 1),
        keys.quarantine(2**64 - 1, 2**32 - 1),
        keys.ALLOCATION_HINT,
        keys.ZEROED,
        keys.ROLLING,
    ]
    assert all(b"\x00" < key < keys.RUNTIME for key in durable)
    assert all(keys.RUNTIME < key < keys.RUNTIME_END for key in runtime)
    assert len({key[:1] for key in durable}) == len(durable), "each has a range of its own"
