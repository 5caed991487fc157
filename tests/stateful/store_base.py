"""The store beside its twin: how both are opened, asked the same, and compared."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import md5
from typing import Any
from unittest.mock import patch

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize

from blockdev import ManualClock, MemoryDevice
from blockdev.filters import PowerLossDevice
from objstore import ObjectStore, SeededEntropy
from objstore.engine import encryption
from objstore.errors import StoreError
from objstore.model import ByteRange, CompletedPart
from tests.crash.tiny import TINY, assert_clean, memory_folder
from tests.model_store import ModelStore
from tests.stateful.store_names import Names
from tests.stateful.store_strategies import ODD_KEYS, seeds
from tests.twin import encryption as twin_encryption

CUSTOMER_KEY = bytes(range(32))


@dataclass(frozen=True)
class Upload:
    """An upload by its name in the twin; `parts` that it was completed with.

    `secret`: its customer's key, which each part has to come with; empty if it has none.
    """

    bucket: str
    key: str
    upload_id: str
    secret: bytes = b""
    parts: tuple[CompletedPart, ...] = ()


class StoreMachineBase(RuleBasedStateMachine):
    """`both` holds each answer of the store against the twin's."""

    @initialize(seed=seeds)
    def begin(self, seed: int) -> None:
        self.folder = ExitStack()
        self.path = self.folder.enter_context(memory_folder())
        # Random ETags could not be compared; what they hide has tests of its own.
        self.folder.enter_context(patch.object(encryption, "etag_of", lambda core, seal, md5: md5))
        self.folder.enter_context(
            patch.object(twin_encryption, "etag", lambda how, body: md5(body).hexdigest())
        )
        self.clock = ManualClock()
        self.entropy = SeededEntropy(seed)
        self.device = PowerLossDevice(MemoryDevice(TINY.device_bytes))
        self.store = self.open()
        self.model = ModelStore(config=TINY, clock=self.clock, entropy=SeededEntropy(seed + 1))
        self.names = Names()
        self.uploads: list[Upload] = []
        self.completed: list[Upload] = []

    def open(self) -> ObjectStore:
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
                self.compare_everything()
            finally:
                self.store.close()
                self.folder.close()

    @property
    def now_ms(self) -> int:
        return self.clock.now_ns() // 1_000_000

    # --- asking both ------------------------------------------------------------------

    def both(self, act: Callable[[Any, Callable[[str], str]], Any]) -> Any:
        """Do the same to both: the same value, or the same kind of error, comes of it.

        `act` gets the store and what turns the twin's ids into those of that store.
        Returns the twin's value, None for an error.
        """
        self.clock.advance(1_000_000)
        wanted, error = None, None
        try:
            wanted = act(self.model, str)
        except StoreError as failure:
            error = failure
        try:
            found = act(self.store, self.names.here)
        except StoreError as failure:
            if type(failure) is not type(error):
                raise AssertionError(f"{failure!r}, not {error or wanted!r}") from failure
            return None
        assert error is None, f"{found!r}, not {error!r}"
        self.names.learn_result(found, wanted)
        assert self.names.plain(found) == Names().plain(wanted)
        return wanted

    def ask(self, name: str, *arguments: Any, **options: Any) -> Any:
        """`both`, for the method of that name; options that are ids are translated."""

        def act(store: Any, here: Callable[[str], str]) -> Any:
            named = {
                option: here(value) if option.endswith(("version_id", "id_marker")) else value
                for option, value in options.items()
            }
            return getattr(store, name)(*arguments, **named)

        return self.both(act)

    def read_both(
        self,
        bucket: str,
        key: str,
        where: ByteRange | None = None,
        *,
        version_id: str = "",
        part_number: int = 0,
        secret: bytes | None = None,
    ) -> None:
        """Read the same from both, to the byte; with the object's own key, or with `secret`."""
        key_of = self.secret_of(bucket, key, version_id) if secret is None else secret

        def act(store: Any, here: Callable[[str], str]) -> Any:
            version = here(version_id)
            how: dict[str, Any] = {
                "version_id": version,
                "part_number": part_number,
                "customer_key": key_of,
            }
            with store.get(bucket, key, byte_range=where, **how) as reader:
                data = b"".join(bytes(piece) for piece in reader)
                assert len(data) == reader.length_bytes
                return [reader.info, reader.start_byte, data]

        self.both(act)

    def secret_of(self, bucket: str, key: str, version_id: str = "") -> bytes:
        """The customer's key of a version, by what the twin knows; empty if it has none."""
        try:
            info = self.model.head(bucket, key, version_id=version_id, customer_key=None)
        except StoreError:
            return b""
        return CUSTOMER_KEY if info.attributes.encryption.algorithm == "SSE-C" else b""

    def upload_both(self, upload: Upload, act: Callable[[Any, str], Any]) -> Any:
        return self.both(lambda store, here: act(store, here(upload.upload_id)))

    def parts_of(self, upload: Upload) -> Any:
        bucket, key = upload.bucket, upload.key
        return self.upload_both(upload, lambda store, u: store.list_parts(bucket, key, u))

    # --- all there is -----------------------------------------------------------------

    def compare_everything(self) -> None:
        """Every version of every key, and every upload, is the same in both."""
        for info in self.ask("list_buckets"):
            self.ask("list", info.name)
            self.ask("versioning", info.name)
            self.ask("object_lock", info.name)
            self.ask("bucket_encryption", info.name)
            for entry in self.ask("list_versions", info.name, limit=10_000).entries:
                if entry.is_latest:
                    self.ask("head", info.name, entry.key, customer_key=None)
                version = {"version_id": entry.version_id}
                self.ask("head", info.name, entry.key, customer_key=None, **version)
                self.read_both(info.name, entry.key, **version)
                self.ask("list_object_parts", info.name, entry.key, **version)
        for upload in self.uploads:
            self.parts_of(upload)

    # --- drawing ----------------------------------------------------------------------

    def a_version(self, data: st.DataObject) -> tuple[str, str, str]:
        """Bucket, key and id of some version; mostly of one that is there."""
        there = [
            (name, key, version.info.version_id)
            for name, bucket in sorted(self.model._buckets.items())
            for key, versions in sorted(bucket.keys.items())
            for version in versions
        ]
        odd = [("one", ODD_KEYS[0], "null"), ("one", ODD_KEYS[0], "0" * 32), ("one", "a", "odd")]
        return data.draw(st.sampled_from(there + odd))

    def an_upload(self, data: st.DataObject) -> Upload:
        if not self.uploads:
            made = self.ask("create_upload", "one", "a/b")
            if made is None:  # the bucket may be gone, and is made by the next write
                raise AssertionError("an upload can always be made")
            self.uploads.append(Upload("one", "a/b", made.upload_id))
        return data.draw(st.sampled_from(self.uploads))
