"""After any sequence of operations and reboots, the store is what a dict would be.

Everything is small, so that segments roll, are compacted and used again, checkpoints
are taken and parts of large objects lie in several segments.  A reboot cuts the power:
the index is gone, and the store comes back from a checkpoint or from the log alone.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, TypeAlias

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from blockdev import ManualClock, MemoryDevice
from blockdev.filters import PowerLossDevice
from objstore import ObjectStore, SeededEntropy
from objstore.engine.check import rebuild
from objstore.engine.opening import Folder
from objstore.errors import StoreError
from objstore.model import (
    ByteRange,
    Checksum,
    CompletedPart,
    Conditions,
    ObjectAttributes,
    ObjectInfo,
    ObjectPartPage,
)
from tests.crash.tiny import (
    SIZES,
    TINY,
    assert_clean,
    forget_checkpoints,
    forget_index,
    memory_folder,
    pattern,
)
from tests.model_store import ModelStore

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

bucket_names = st.sampled_from(BUCKETS)
object_keys = st.one_of(st.sampled_from(ODD_KEYS), st.sampled_from(ODD_KEYS[:6]), TEXT)
sizes = st.sampled_from(SIZES)
seeds = st.integers(0, 2**32)
prefixes = st.sampled_from(("", "", "a", "a/", "b", "\x00", "é", "\ue000", "zz"))
delimiters = st.sampled_from(("", "/", "/", "b", "//", "\x00"))
limits = st.sampled_from((0, 1, 2, 3, 1000))
attributes = st.builds(
    ObjectAttributes,
    headers=st.dictionaries(st.sampled_from(("content-type", "expires")), TEXT, max_size=2),
    metadata=st.dictionaries(TEXT, TEXT, max_size=2),
    tags=st.dictionaries(TEXT, TEXT, max_size=2),
    storage_class=st.sampled_from(("STANDARD", "GLACIER")),
    owner=st.sampled_from(("", "somebody")),
)
checksums = st.sampled_from(
    ((), (Checksum("CRC32", "AAAAAA=="),), (Checksum("SHA256", "x-3", "COMPOSITE"),))
)
ranges = st.one_of(
    st.none(),
    st.builds(ByteRange, first=st.sampled_from((0, 1, 4095, 4096, 16_384, 70_000, 139_999))),
    st.builds(ByteRange, first=st.integers(0, 9000), last=st.integers(9000, 400_000)),
    st.builds(ByteRange, suffix_bytes=st.sampled_from((0, 1, 5000, 10**6))),
)


# (bucket, key, upload id here, upload id there)
Upload: TypeAlias = tuple[str, str, str, str]


class StoreMachine(RuleBasedStateMachine):
    """The engine beside its model; `both` holds each answer of one against the other's."""

    @initialize(seed=seeds)
    def begin(self, seed: int) -> None:
        self.folder = ExitStack()
        self.path = self.folder.enter_context(memory_folder())
        self.clock = ManualClock()
        self.entropy = SeededEntropy(seed)
        self.device = PowerLossDevice(MemoryDevice(TINY.device_bytes))
        self.store = self._open()
        self.model = ModelStore(config=TINY, clock=self.clock, entropy=SeededEntropy(seed + 1))
        self.uploads: list[Upload] = []
        self.completed: list[tuple[str, str, str, str, list[CompletedPart]]] = []

    def _open(self) -> ObjectStore:
        return ObjectStore.open(
            self.path,
            config=TINY,
            clock=self.clock,
            entropy=self.entropy,
            device=self.device,
            create_buckets=True,
        )

    def teardown(self) -> None:
        if hasattr(self, "store"):
            try:
                assert_clean(self.store)
                self._compare_everything()
            finally:
                self.store.close()
                self.folder.close()

    # --- comparing ------------------------------------------------------------------

    def both(self, act: Callable[[Any], Any]) -> Any:
        """Do the same to both; the same value or the same kind of error comes of it."""
        self.clock.advance(1_000_000)
        wanted, error = None, None
        try:
            wanted = act(self.model)
        except StoreError as failure:
            error = failure
        try:
            found = act(self.store)
        except StoreError as failure:
            if type(failure) is not type(error):
                raise AssertionError(f"{failure!r}, not {error or wanted!r}") from failure
            return None
        assert error is None, f"{found!r}, not {error!r}"
        assert plain(found) == plain(wanted)
        return found

    def ask(self, name: str, *arguments: Any, **options: Any) -> Any:
        """`both`, for a method of that name."""
        return self.both(lambda store: getattr(store, name)(*arguments, **options))

    def _compare_everything(self) -> None:
        for info in self.ask("list_buckets"):
            for entry in self.ask("list", info.name).entries:
                self.ask("head", info.name, entry.key)
                self._read_both(info.name, entry.key, None)
                self.ask("list_object_parts", info.name, entry.key)
        for upload in self.uploads:
            self._parts_of(upload)

    def _read_both(self, bucket: str, key: str, where: ByteRange | None) -> None:
        self.both(lambda store: read(store, bucket, key, where))

    def _parts_of(self, upload: Upload) -> Any:
        bucket, key, here, there = upload
        return self._upload_both(here, there, lambda s, u: s.list_parts(bucket, key, u))

    def _upload_both(self, here: str, there: str, act: Callable[[Any, str], Any]) -> Any:
        return self.both(lambda store: act(store, there if store is self.model else here))

    # --- buckets --------------------------------------------------------------------

    @rule(name=st.one_of(bucket_names, st.sampled_from(("x", "UPPER", "1.2.3.4"))))
    def create_bucket(self, name: str) -> None:
        self.both(lambda store: store.create_bucket(name, region="r", owner="o"))

    @rule(name=bucket_names)
    def delete_bucket(self, name: str) -> None:
        if self.both(lambda store: _true(store.delete_bucket(name))):
            self.completed = [entry for entry in self.completed if entry[0] != name]

    @rule(name=bucket_names)
    def empty_bucket(self, name: str) -> None:
        """So that buckets get deleted at all."""
        page = self.ask("list", name)
        for entry in page.entries if page is not None else ():
            self.ask("delete", name, entry.key)
        for upload in [upload for upload in self.uploads if upload[0] == name]:
            self._abort(upload)
        self.delete_bucket(name)

    def _abort(self, upload: Upload) -> None:
        bucket, key, here, there = upload
        self._upload_both(here, there, lambda s, u: _true(s.abort_upload(bucket, key, u)))
        self.uploads.remove(upload)

    @rule(start_after=bucket_names, limit=limits)
    def list_buckets(self, start_after: str, limit: int) -> None:
        self.both(lambda store: store.list_buckets(start_after=start_after, limit=limit))

    # --- objects --------------------------------------------------------------------

    @rule(
        bucket=bucket_names, key=object_keys, seed=seeds, size=sizes, how=attributes, sums=checksums
    )
    def put(
        self,
        bucket: str,
        key: str,
        seed: int,
        size: int,
        how: ObjectAttributes,
        sums: tuple[Checksum, ...],
    ) -> None:
        body = pattern(seed, size)
        self.both(lambda store: store.put(bucket, key, body, attributes=how, checksums=sums))

    @rule(bucket=bucket_names, key=object_keys, seed=seeds, size=sizes, declared=st.booleans())
    def put_stream(self, bucket: str, key: str, seed: int, size: int, declared: bool) -> None:
        body = pattern(seed, size)

        def act(store: Any) -> ObjectInfo:
            with store.open_put(bucket, key, size_bytes=size if declared else None) as stream:
                for at in range(0, size, 9_999):
                    stream.write(body[at : at + 9_999])
                return stream.commit()

        self.both(act)

    @rule(bucket=bucket_names, key=object_keys, size=sizes, other=sizes)
    def put_stream_of_another_length(self, bucket: str, key: str, size: int, other: int) -> None:
        def act(store: Any) -> ObjectInfo:
            with store.open_put(bucket, key, size_bytes=other) as stream:
                stream.write(bytes(size))
                return stream.commit()

        self.both(act)

    @rule(bucket=bucket_names, keys=st.lists(object_keys, max_size=12), seed=seeds, size=sizes)
    def put_many(self, bucket: str, keys: list[str], seed: int, size: int) -> None:
        for number, key in enumerate(keys):
            body = pattern(seed + number, min(size, 20_000))
            self.ask("put", bucket, key, body)

    @rule(bucket=bucket_names, key=object_keys, current=st.booleans(), create=st.booleans())
    def put_if(self, bucket: str, key: str, current: bool, create: bool) -> None:
        conditions = Conditions(if_none_match=("*",)) if create else Conditions(if_match=("*",))
        if current and not create:
            try:
                conditions = Conditions(if_match=(self.model.head(bucket, key).etag,))
            except StoreError:
                conditions = Conditions(if_match=("0" * 32,))
        self.both(lambda store: store.put(bucket, key, b"if", conditions=conditions))

    @rule(bucket=bucket_names, key=object_keys, where=ranges)
    def get(self, bucket: str, key: str, where: ByteRange | None) -> None:
        self._read_both(bucket, key, where)

    @rule(bucket=bucket_names, key=object_keys, number=st.integers(1, 4))
    def get_part(self, bucket: str, key: str, number: int) -> None:
        self.ask("head", bucket, key, part_number=number)
        self.both(lambda store: read(store, bucket, key, None, part_number=number))

    @rule(bucket=bucket_names, key=object_keys, after=st.integers(0, 4), limit=limits)
    def list_object_parts(self, bucket: str, key: str, after: int, limit: int) -> None:
        self.ask("list_object_parts", bucket, key, after=after, limit=limit)

    @rule(bucket=bucket_names, key=object_keys)
    def delete(self, bucket: str, key: str) -> None:
        self.both(lambda store: store.delete(bucket, key))

    @rule(bucket=bucket_names, keys=st.lists(object_keys, max_size=20))
    def delete_many(self, bucket: str, keys: list[str]) -> None:
        self.both(lambda store: store.delete_many(bucket, keys))

    @rule(
        source=st.tuples(bucket_names, object_keys),
        to=st.tuples(bucket_names, object_keys),
        how=st.one_of(st.none(), attributes),
        sums=st.one_of(st.none(), checksums),
    )
    def copy(
        self,
        source: tuple[str, str],
        to: tuple[str, str],
        how: ObjectAttributes | None,
        sums: tuple[Checksum, ...] | None,
    ) -> None:
        self.both(lambda store: store.copy(*source, *to, attributes=how, checksums=sums))

    @rule(
        bucket=bucket_names,
        prefix=prefixes,
        delimiter=delimiters,
        start_after=st.one_of(st.just(""), object_keys),
        limit=limits,
    )
    def list_objects(
        self, bucket: str, prefix: str, delimiter: str, start_after: str, limit: int
    ) -> None:
        how: dict[str, Any] = {"prefix": prefix, "delimiter": delimiter, "limit": limit}
        while True:
            page = self.ask("list", bucket, start_after=start_after, **how)
            if page is None or page.next_after is None:
                return
            start_after = page.next_after

    # --- multipart --------------------------------------------------------------------

    @rule(bucket=bucket_names, key=object_keys, how=attributes)
    def create_upload(self, bucket: str, key: str, how: ObjectAttributes) -> None:
        self.clock.advance(1_000_000)
        here = self.store.create_upload(bucket, key, attributes=how)
        there = self.model.create_upload(bucket, key, attributes=how)
        assert msgspec.structs.replace(here, upload_id="") == msgspec.structs.replace(
            there, upload_id=""
        )
        self.uploads.append((bucket, key, here.upload_id, there.upload_id))

    @rule(data=st.data(), number=st.integers(1, 4), seed=seeds, size=sizes)
    def put_part(self, data: st.DataObject, number: int, seed: int, size: int) -> None:
        bucket, key, here, there = self._an_upload(data)

        def act(store: Any, upload: str) -> Any:
            with store.open_part(bucket, key, upload, number) as stream:
                stream.write(pattern(seed, size))
                return stream.commit()

        self._upload_both(here, there, act)

    @rule(data=st.data(), source=st.tuples(bucket_names, object_keys), where=ranges)
    def copy_part(
        self, data: st.DataObject, source: tuple[str, str], where: ByteRange | None
    ) -> None:
        bucket, key, here, there = self._an_upload(data)
        self._upload_both(
            here,
            there,
            lambda s, u: s.copy_part(*source, bucket, key, u, 2, byte_range=where),
        )

    @rule(data=st.data(), after=st.integers(0, 4), limit=limits)
    def list_parts(self, data: st.DataObject, after: int, limit: int) -> None:
        bucket, key, here, there = self._an_upload(data)
        self._upload_both(
            here, there, lambda s, u: s.list_parts(bucket, key, u, after=after, limit=limit)
        )

    @rule(bucket=bucket_names, prefix=prefixes, delimiter=delimiters, marker=object_keys)
    def list_uploads(self, bucket: str, prefix: str, delimiter: str, marker: str) -> None:
        """Without ids, which are not the same in both, and so without their order."""
        self.both(
            lambda store: sorted_uploads(
                store.list_uploads(bucket, prefix=prefix, delimiter=delimiter, key_marker=marker)
            )
        )

    @rule(data=st.data(), spoil=st.sampled_from(("", "", "", "", "etag", "order", "missing")))
    def complete(self, data: st.DataObject, spoil: str) -> None:
        bucket, key, here, there = self._an_upload(data)
        page = self._parts_of((bucket, key, here, there))
        parts = [CompletedPart(part.part_number, part.etag) for part in page.parts]
        if spoil == "etag":
            parts = [msgspec.structs.replace(part, etag="0" * 32) for part in parts]
        elif spoil == "order":
            parts = parts[::-1]
        elif spoil == "missing":
            parts.append(CompletedPart(9, "0" * 32))
        if not parts:
            return
        if self._upload_both(here, there, lambda s, u: s.complete_upload(bucket, key, u, parts)):
            self.uploads.remove((bucket, key, here, there))
            self.completed.append((bucket, key, here, there, parts))

    @rule(data=st.data())
    def complete_again(self, data: st.DataObject) -> None:
        if self.completed:
            bucket, key, here, there, parts = data.draw(st.sampled_from(self.completed))
            self._upload_both(here, there, lambda s, u: s.complete_upload(bucket, key, u, parts))

    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        self._abort(self._an_upload(data))

    def _an_upload(self, data: st.DataObject) -> Upload:
        if not self.uploads:
            self.create_upload("one", "a/b", ObjectAttributes())
        return data.draw(st.sampled_from(self.uploads))

    # --- the store itself ---------------------------------------------------------------

    @rule()
    def maintain(self) -> None:
        self.store.maintain()

    @rule()
    def checkpoint(self) -> None:
        self.store.checkpoint()

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = self._open()
        assert self.store.recovery is None

    @rule(
        seed=seeds,
        checkpoints=st.sampled_from(("kept", "kept", "gone", "newest gone", "newest damaged")),
    )
    def reboot(self, seed: int, checkpoints: str) -> None:
        device = self.device.cut(seed)
        self.store.close()
        self.device = device
        forget_index(self.path)
        if checkpoints == "gone":
            forget_checkpoints(self.path)
        elif checkpoints == "newest gone":
            for note in sorted((self.path / "checkpoints").glob("*.json"))[-1:]:
                note.unlink()
        elif checkpoints == "newest damaged":
            for image in sorted((self.path / "checkpoints").glob("*.mdb"))[-1:]:
                damaged = bytearray(image.read_bytes())
                damaged[len(damaged) // 2] ^= 1
                image.write_bytes(damaged)
        self.store = self._open()
        assert self.store.recovery is not None
        assert_clean(self.store)

    @rule()
    def rebuild_from_the_log(self) -> None:
        self.store.close()
        report = rebuild(Folder(self.path), self.device, TINY)
        assert report.problems == []
        self.store = self._open()
        assert_clean(self.store)

    @invariant()
    def same_keys(self) -> None:
        if hasattr(self, "store"):
            for name in BUCKETS:
                self.ask("list", name)


def _true(_result: None) -> bool:
    return True


def read(
    store: Any, bucket: str, key: str, where: ByteRange | None, part_number: int = 0
) -> tuple[Any, int, bytes]:
    with store.get(bucket, key, byte_range=where, part_number=part_number) as reader:
        data = b"".join(bytes(piece) for piece in reader)
        assert len(data) == reader.length_bytes or not data
        return plain(reader.info), reader.start_byte, data


def sorted_uploads(page: Any) -> Any:
    return [(info.key, info.attributes) for info in page.uploads], page.common_prefixes


def plain(value: Any) -> Any:
    """Without what is rightly different: ids and numbers of versions."""
    if isinstance(value, ObjectInfo):
        return msgspec.structs.replace(value, version_seq=0)
    if isinstance(value, ObjectPartPage):
        return msgspec.structs.replace(value, info=plain(value.info))
    if hasattr(value, "upload") and value.upload is not None:
        return msgspec.structs.replace(
            value, upload=msgspec.structs.replace(value.upload, upload_id="")
        )
    return value


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(stateful_step_count=60)
