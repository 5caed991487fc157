"""Rules of the store's machine: versions, delete markers, tags and object lock."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import rule

from objstore.model import (
    ByteRange,
    Conditions,
    DefaultRetention,
    DeleteTarget,
    ObjectAttributes,
)
from tests.crash.tiny import pattern
from tests.stateful.store_object_rules import UploadRules
from tests.stateful.store_strategies import (
    DAY_MS,
    HOUR_MS,
    attributes,
    bucket_names,
    defaults,
    delete_conditions,
    delimiters,
    few_keys,
    limits,
    lock_hours,
    lock_until,
    modes,
    object_keys,
    prefixes,
    ranges,
    seeds,
    sizes,
    tags,
)


class VersionRules(UploadRules):
    """What is kept, what hides it, what removes it."""

    @rule(bucket=bucket_names, status=st.sampled_from(("Enabled", "Enabled", "Suspended", "Off")))
    def set_versioning(self, bucket: str, status: str) -> None:
        self.ask("set_versioning", bucket, status)
        self.ask("versioning", bucket)

    @rule(bucket=bucket_names, key=few_keys, seed=seeds, size=sizes, count=st.integers(1, 4))
    def put_versions(self, bucket: str, key: str, seed: int, size: int, count: int) -> None:
        """Several of one key, so that some get old."""
        for number in range(count):
            self.ask("put", bucket, key, pattern(seed + number, min(size, 20_000)))

    @rule(data=st.data(), where=ranges)
    def get_version(self, data: st.DataObject, where: ByteRange | None) -> None:
        bucket, key, version = self.a_version(data)
        self.ask("head", bucket, key, version_id=version)
        self.read_both(bucket, key, where, version_id=version)

    @rule(data=st.data(), number=st.integers(1, 4))
    def get_part_of_version(self, data: st.DataObject, number: int) -> None:
        bucket, key, version = self.a_version(data)
        self.read_both(bucket, key, version_id=version, part_number=number)
        self.ask("list_object_parts", bucket, key, version_id=version)

    @rule(data=st.data(), bypass=st.booleans())
    def delete_version(self, data: st.DataObject, bypass: bool) -> None:
        bucket, key, version = self.a_version(data)
        self.ask("delete", bucket, key, version_id=version, bypass_governance=bypass)

    @rule(
        data=st.data(),
        is_named=st.booleans(),
        wrong=st.one_of(st.none(), delete_conditions),
    )
    def delete_if(self, data: st.DataObject, is_named: bool, wrong: Conditions | None) -> None:
        """By what is known of the version, or by something else."""
        bucket, key, version = self.a_version(data)
        conditions = wrong or self._conditions_of(bucket, key, version)
        wanted = version if is_named else ""
        self.ask("delete", bucket, key, version_id=wanted, conditions=conditions)

    def _conditions_of(self, bucket: str, key: str, version: str) -> Conditions:
        there = self.model._buckets.get(bucket)
        found = [v.info for v in (there.keys.get(key, []) if there else [])]
        info = next((info for info in found if info.version_id == version), None)
        if info is None:
            return Conditions(if_match=("*",))
        return Conditions(
            if_match=(info.etag or "*",),
            if_match_size_bytes=info.size_bytes,
            if_match_modified_s=info.modified_ms // 1000,
        )

    @rule(data=st.data(), count=st.integers(1, 6), bypass=st.booleans())
    def delete_many_versions(self, data: st.DataObject, count: int, bypass: bool) -> None:
        """Of one bucket, each target once, some of them keys and some of them versions."""
        bucket, key, version = self.a_version(data)
        chosen = {(key, version)}
        for _ in range(count):
            other, key, version = self.a_version(data)
            if other == bucket and key not in {known for known, _ in chosen}:
                chosen.add((key, data.draw(st.sampled_from(("", version)))))
        self._delete_all(bucket, sorted(chosen), bypass)

    @rule(data=st.data(), to=st.tuples(bucket_names, object_keys), how=attributes)
    def copy_version(self, data: st.DataObject, to: tuple[str, str], how: ObjectAttributes) -> None:
        bucket, key, version = self.a_version(data)
        kept = data.draw(st.sampled_from((None, how)))
        secret = self.secret_of(bucket, key, version)
        self.ask(
            "copy",
            bucket,
            key,
            *to,
            source_version_id=version,
            attributes=kept,
            source_customer_key=secret,
        )

    @rule(
        bucket=bucket_names,
        prefix=prefixes,
        delimiter=delimiters,
        marker=st.one_of(st.just(""), object_keys),
        limit=limits,
    )
    def list_versions(
        self, bucket: str, prefix: str, delimiter: str, marker: str, limit: int
    ) -> None:
        """All pages, each asked for by the markers of the one before."""
        how: dict[str, Any] = {"prefix": prefix, "delimiter": delimiter, "limit": limit}
        version = ""
        while True:
            how |= {"key_marker": marker, "version_id_marker": version}
            page = self.ask("list_versions", bucket, **how)
            if page is None or page.next_key is None:
                return
            marker, version = page.next_key, page.next_version_id or ""

    @rule(data=st.data(), prefix=prefixes, delimiter=delimiters, limit=limits)
    def list_versions_after(
        self, data: st.DataObject, prefix: str, delimiter: str, limit: int
    ) -> None:
        """Behind any version, also one that the listing would not have ended at."""
        bucket, key, version = self.a_version(data)
        self.ask(
            "list_versions",
            bucket,
            prefix=prefix,
            delimiter=delimiter,
            key_marker=key,
            version_id_marker=version,
            limit=limit,
        )

    @rule(bucket=bucket_names, prefix=prefixes, limit=st.integers(1, 5), bypass=st.booleans())
    def purge(self, bucket: str, prefix: str, limit: int, bypass: bool) -> None:
        """Delete each page of versions before the next one is asked for; locked ones stay."""
        how: dict[str, Any] = {"prefix": prefix, "limit": limit}
        while True:
            page = self.ask("list_versions", bucket, **how)
            if page is None:
                return
            targets = [(entry.key, entry.version_id) for entry in page.entries]
            if targets:
                self._delete_all(bucket, targets, bypass)
            if page.next_key is None:
                break
            how["key_marker"], how["version_id_marker"] = page.next_key, page.next_version_id or ""
        left = self.ask("list_versions", bucket, prefix=prefix)
        for entry in left.entries:
            info = self.model.head(
                bucket, entry.key, version_id=entry.version_id, customer_key=None
            )
            assert info.attributes.lock, "it is not locked, and was left"

    def _delete_all(self, bucket: str, targets: list[tuple[str, str]], bypass: bool) -> None:
        def act(store: Any, here: Any) -> Any:
            named = [DeleteTarget(key, here(version)) for key, version in targets]
            return store.delete_many(bucket, named, bypass_governance=bypass)

        self.both(act)


class LockRules(VersionRules):
    """Tags by version, legal hold, retention, and time that passes."""

    @rule(data=st.data(), new=tags)
    def set_tags(self, data: st.DataObject, new: dict[str, str]) -> None:
        bucket, key, version = self.a_version(data)
        wanted = data.draw(st.sampled_from(("", version)))
        self.ask("set_tags", bucket, key, new, version_id=wanted)

    @rule(bucket=bucket_names, default=defaults)
    def set_object_lock(self, bucket: str, default: DefaultRetention) -> None:
        self.ask("set_object_lock", bucket, default)
        self.ask("object_lock", bucket)

    @rule(bucket=bucket_names, key=few_keys, size=sizes, how=attributes, data=st.data())
    def put_locked(
        self, bucket: str, key: str, size: int, how: ObjectAttributes, data: st.DataObject
    ) -> None:
        mode, hours = data.draw(modes), data.draw(lock_hours)
        lock = lock_until(self.now_ms, mode, hours, data.draw(st.booleans()))
        how = msgspec.structs.replace(how, lock=lock)
        self.ask("put", bucket, key, pattern(size, size), attributes=how)

    @rule(data=st.data(), is_held=st.booleans())
    def set_legal_hold(self, data: st.DataObject, is_held: bool) -> None:
        bucket, key, version = self.a_version(data)
        self.ask("set_legal_hold", bucket, key, is_held, version_id=version)

    @rule(data=st.data(), mode=modes, hours=lock_hours, lifts=st.booleans(), bypass=st.booleans())
    def set_retention(
        self, data: st.DataObject, mode: str, hours: int, lifts: bool, bypass: bool
    ) -> None:
        bucket, key, version = self.a_version(data)
        wanted = ("", 0) if lifts else (mode, self.now_ms + hours * HOUR_MS)
        self.ask(
            "set_retention", bucket, key, *wanted, version_id=version, bypass_governance=bypass
        )

    @rule(hours=st.sampled_from((1, 26, 24 * 400)))
    def time_passes(self, hours: int) -> None:
        """Retention runs out, some of it."""
        assert hours * HOUR_MS < 500 * DAY_MS
        self.clock.advance(hours * HOUR_MS * 1_000_000)
