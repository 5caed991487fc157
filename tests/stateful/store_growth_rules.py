"""Rules of the store's machine: appends, renames and encryption."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from objstore.errors import StoreError
from objstore.model import Conditions, Encryption, ObjectAttributes
from tests.crash.tiny import pattern
from tests.stateful.store_base import CUSTOMER_KEY
from tests.stateful.store_strategies import (
    algorithms,
    attributes,
    bucket_names,
    checksums_of,
    encryptions,
    few_keys,
    object_keys,
    seeds,
    sizes,
)
from tests.stateful.store_version_rules import LockRules


class GrowthRules(LockRules):
    """Objects that grow, and objects that get another name."""

    @rule(
        bucket=bucket_names,
        key=few_keys,
        seed=seeds,
        size=sizes,
        miss=st.sampled_from((0, 0, 0, 0, 1)),
        how=st.one_of(st.just(ObjectAttributes()), attributes),
        algorithm=algorithms,
    )
    def append(
        self,
        bucket: str,
        key: str,
        seed: int,
        size: int,
        miss: int,
        how: ObjectAttributes,
        algorithm: str,
    ) -> None:
        offset = miss
        with contextlib.suppress(StoreError):
            offset += self.model.head(bucket, key, customer_key=None).size_bytes
        body = pattern(seed, size)
        self.ask(
            "append",
            bucket,
            key,
            body,
            offset,
            attributes=how,
            checksums=checksums_of(algorithm, body),
            customer_key=self.secret_of(bucket, key),
        )

    @rule(
        bucket=bucket_names,
        source=few_keys,
        key=object_keys,
        token=st.sampled_from(("", "", "", "token")),
        fresh=st.booleans(),
    )
    def rename(self, bucket: str, source: str, key: str, token: str, fresh: bool) -> None:
        conditions = Conditions(if_none_match=("*",)) if fresh else Conditions()
        how: dict[str, Any] = {"owner": "renamer", "client_token": token}
        if self.ask("rename", bucket, source, key, conditions=conditions, **how) is not None:
            self._learn_marker(bucket, source)

    def _learn_marker(self, bucket: str, key: str) -> None:
        """A rename leaves a delete marker where there are versions, and does not say its id."""
        pages = [
            store.list_versions(bucket, prefix=key, limit=1) for store in (self.store, self.model)
        ]
        newest = [page.entries[0] for page in pages if page.entries and page.entries[0].key == key]
        if len(newest) == 2 and newest[1].is_delete_marker:
            self.names.learn(*(entry.version_id for entry in newest))

    @rule(bucket=bucket_names, default=encryptions)
    def set_bucket_encryption(self, bucket: str, default: Encryption) -> None:
        self.ask("set_bucket_encryption", bucket, default)
        self.ask("bucket_encryption", bucket)

    @rule(bucket=bucket_names, key=object_keys, seed=seeds, size=sizes)
    def put_with_a_customers_key(self, bucket: str, key: str, seed: int, size: int) -> None:
        self.ask("put", bucket, key, pattern(seed, size), customer_key=CUSTOMER_KEY)

    @rule(bucket=bucket_names, key=object_keys, secret=st.sampled_from((b"", bytes(32))))
    def get_with_another_key(self, bucket: str, key: str, secret: bytes) -> None:
        self.ask("head", bucket, key, customer_key=secret)
        self.read_both(bucket, key, secret=secret)

    @rule(
        source=st.tuples(bucket_names, object_keys),
        to=st.tuples(bucket_names, object_keys),
        how=attributes,
    )
    def copy_to_a_customers_key(
        self, source: tuple[str, str], to: tuple[str, str], how: ObjectAttributes
    ) -> None:
        plain = ObjectAttributes(how.headers, how.metadata, how.tags)
        secret = self.secret_of(*source)
        keys = {"customer_key": CUSTOMER_KEY, "source_customer_key": secret}
        self.ask("copy", *source, *to, attributes=plain, **keys)
