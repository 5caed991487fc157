"""Rules of the store's machine: buckets, objects and uploads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import rule

from objstore.errors import StoreError
from objstore.model import ByteRange, CompletedPart, Conditions, ObjectAttributes, ObjectInfo
from tests.crash.tiny import pattern
from tests.stateful.store_base import CUSTOMER_KEY, StoreMachineBase, Upload
from tests.stateful.store_strategies import (
    algorithms,
    attributes,
    bucket_names,
    checksums_of,
    delimiters,
    few_keys,
    limits,
    object_keys,
    prefixes,
    ranges,
    seeds,
    sizes,
)


class BucketRules(StoreMachineBase):
    """Buckets come and go."""

    @rule(name=st.one_of(bucket_names, st.sampled_from(("x", "UPPER", "1.2.3.4"))))
    def create_bucket(self, name: str) -> None:
        self.ask("create_bucket", name, region="r", owner="o")

    @rule(name=bucket_names)
    def delete_bucket(self, name: str) -> None:
        self.ask("delete_bucket", name)
        if name not in self.model._buckets:
            self.completed = [upload for upload in self.completed if upload.bucket != name]

    @rule(name=bucket_names)
    def empty_bucket(self, name: str) -> None:
        """So that buckets get deleted at all; what is locked stays."""
        page = self.ask("list_versions", name, limit=10_000)
        for entry in page.entries if page is not None else ():
            self.ask("delete", name, entry.key, version_id=entry.version_id)
        for upload in [upload for upload in self.uploads if upload.bucket == name]:
            self.abort_one(upload)
        self.delete_bucket(name)

    def abort_one(self, upload: Upload) -> None:
        bucket, key = upload.bucket, upload.key
        self.upload_both(upload, lambda store, u: store.abort_upload(bucket, key, u))
        self.uploads.remove(upload)

    @rule(start_after=bucket_names, limit=limits)
    def list_buckets(self, start_after: str, limit: int) -> None:
        self.ask("list_buckets", start_after=start_after, limit=limit)


class ObjectRules(BucketRules):
    """Writes, reads, deletes and listings of current objects."""

    @rule(
        bucket=bucket_names,
        key=object_keys,
        seed=seeds,
        size=sizes,
        how=attributes,
        algorithm=algorithms,
    )
    def put(
        self, bucket: str, key: str, seed: int, size: int, how: ObjectAttributes, algorithm: str
    ) -> None:
        body = pattern(seed, size)
        sums = checksums_of(algorithm, body)
        self.ask("put", bucket, key, body, attributes=how, checksums=sums)

    @rule(bucket=bucket_names, key=object_keys, seed=seeds, size=sizes, declared=st.booleans())
    def put_stream(self, bucket: str, key: str, seed: int, size: int, declared: bool) -> None:
        body = pattern(seed, size)

        def act(store: Any, _here: object) -> ObjectInfo:
            with store.open_put(bucket, key, size_bytes=size if declared else None) as stream:
                for at in range(0, size, 9_999):
                    stream.write(body[at : at + 9_999])
                return stream.commit()

        self.both(act)

    @rule(bucket=bucket_names, key=object_keys, size=sizes, other=sizes)
    def put_stream_of_another_length(self, bucket: str, key: str, size: int, other: int) -> None:
        def act(store: Any, _here: object) -> ObjectInfo:
            with store.open_put(bucket, key, size_bytes=other) as stream:
                stream.write(bytes(size))
                return stream.commit()

        self.both(act)

    @rule(bucket=bucket_names, keys=st.lists(object_keys, max_size=12), seed=seeds, size=sizes)
    def put_many(self, bucket: str, keys: list[str], seed: int, size: int) -> None:
        for number, key in enumerate(keys):
            self.ask("put", bucket, key, pattern(seed + number, min(size, 20_000)))

    @rule(bucket=bucket_names, key=object_keys, current=st.booleans(), create=st.booleans())
    def put_if(self, bucket: str, key: str, current: bool, create: bool) -> None:
        conditions = Conditions(if_none_match=("*",)) if create else Conditions(if_match=("*",))
        if current and not create:
            try:
                conditions = Conditions(if_match=(self.model.head(bucket, key).etag,))
            except StoreError:
                conditions = Conditions(if_match=("0" * 32,))
        self.ask("put", bucket, key, b"if", conditions=conditions)

    @rule(bucket=bucket_names, key=object_keys, where=ranges)
    def get(self, bucket: str, key: str, where: ByteRange | None) -> None:
        self.read_both(bucket, key, where)

    @rule(bucket=bucket_names, key=object_keys, number=st.integers(1, 4))
    def get_part(self, bucket: str, key: str, number: int) -> None:
        self.ask("head", bucket, key, part_number=number)
        self.read_both(bucket, key, part_number=number)

    @rule(bucket=bucket_names, key=object_keys, after=st.integers(0, 4), limit=limits)
    def list_object_parts(self, bucket: str, key: str, after: int, limit: int) -> None:
        self.ask("list_object_parts", bucket, key, after=after, limit=limit)

    @rule(bucket=bucket_names, key=object_keys)
    def delete(self, bucket: str, key: str) -> None:
        self.ask("delete", bucket, key, owner="deleter")

    @rule(bucket=bucket_names, keys=st.lists(object_keys, max_size=20))
    def delete_many(self, bucket: str, keys: list[str]) -> None:
        self.ask("delete_many", bucket, keys)

    @rule(
        source=st.tuples(bucket_names, object_keys),
        to=st.tuples(bucket_names, object_keys),
        how=st.one_of(st.none(), attributes),
    )
    def copy(
        self, source: tuple[str, str], to: tuple[str, str], how: ObjectAttributes | None
    ) -> None:
        secret = self.secret_of(*source)
        self.ask("copy", *source, *to, attributes=how, source_customer_key=secret)

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


class UploadRules(ObjectRules):
    """Multipart uploads."""

    @rule(bucket=bucket_names, key=object_keys, how=attributes)
    def create_upload(self, bucket: str, key: str, how: ObjectAttributes) -> None:
        made = self.ask("create_upload", bucket, key, attributes=how)
        self.uploads.append(Upload(bucket, key, made.upload_id))

    @rule(bucket=bucket_names, key=few_keys)
    def create_upload_with_a_customers_key(self, bucket: str, key: str) -> None:
        made = self.ask("create_upload", bucket, key, customer_key=CUSTOMER_KEY)
        self.uploads.append(Upload(bucket, key, made.upload_id, CUSTOMER_KEY))

    def a_secret(self, data: st.DataObject, upload: Upload) -> bytes:
        """The upload's customer's key; now and then none, or another."""
        return data.draw(st.sampled_from((*[upload.secret] * 6, b"", bytes(32))))

    @rule(data=st.data(), number=st.integers(1, 4), seed=seeds, size=sizes)
    def put_part(self, data: st.DataObject, number: int, seed: int, size: int) -> None:
        upload = self.an_upload(data)
        secret = self.a_secret(data, upload)

        def act(store: Any, upload_id: str) -> Any:
            name = (upload.bucket, upload.key, upload_id, number)
            with store.open_part(*name, customer_key=secret) as stream:
                stream.write(pattern(seed, size))
                return stream.commit()

        self.upload_both(upload, act)

    @rule(data=st.data(), where=ranges, number=st.integers(1, 4))
    def copy_part(self, data: st.DataObject, where: ByteRange | None, number: int) -> None:
        """Of the current object, or of any version of it."""
        upload = self.an_upload(data)
        bucket, key, version = self.a_version(data)
        wanted = data.draw(st.sampled_from(("", version)))
        secret, own_secret = self.secret_of(bucket, key, wanted), upload.secret

        def act(store: Any, here: Any) -> Any:
            return store.copy_part(
                bucket,
                key,
                upload.bucket,
                upload.key,
                here(upload.upload_id),
                number,
                source_version_id=here(wanted),
                byte_range=where,
                source_customer_key=secret,
                customer_key=own_secret,
            )

        self.both(act)

    @rule(data=st.data(), after=st.integers(0, 4), limit=limits)
    def list_parts(self, data: st.DataObject, after: int, limit: int) -> None:
        upload = self.an_upload(data)
        bucket, key = upload.bucket, upload.key
        self.upload_both(
            upload, lambda store, u: store.list_parts(bucket, key, u, after=after, limit=limit)
        )

    @rule(bucket=bucket_names, prefix=prefixes, delimiter=delimiters, marker=object_keys)
    def list_uploads(self, bucket: str, prefix: str, delimiter: str, marker: str) -> None:
        """Without the order of ids, which is not the same in both."""

        def act(store: Any, _here: object) -> Any:
            page = store.list_uploads(bucket, prefix=prefix, delimiter=delimiter, key_marker=marker)
            shown = sorted((info.key, info.initiated_ms) for info in page.uploads)
            return [shown, page.common_prefixes]

        self.both(act)

    @rule(data=st.data(), spoil=st.sampled_from(("", "", "", "", "etag", "order", "missing")))
    def complete(self, data: st.DataObject, spoil: str) -> None:
        upload = self.an_upload(data)
        page = self.parts_of(upload)
        parts = [CompletedPart(part.part_number, part.etag) for part in page.parts]
        if spoil == "etag":
            parts = [msgspec.structs.replace(part, etag="0" * 32) for part in parts]
        elif spoil == "order":
            parts = parts[::-1]
        elif spoil == "missing":
            parts.append(CompletedPart(9, "0" * 32))
        done = self._complete(with_parts(upload, parts), self.a_secret(data, upload))
        if done:
            self.uploads.remove(upload)
            self.completed.append(with_parts(upload, parts))

    def _complete(self, upload: Upload, secret: bytes = b"") -> Any:
        def act(store: Any, upload_id: str) -> Any:
            name = (upload.bucket, upload.key, upload_id, upload.parts)
            return store.complete_upload(*name, customer_key=secret)

        return self.upload_both(upload, act)

    @rule(data=st.data())
    def complete_again(self, data: st.DataObject) -> None:
        if self.completed:
            self._complete(data.draw(st.sampled_from(self.completed)))

    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        self.abort_one(self.an_upload(data))


def with_parts(upload: Upload, parts: list[CompletedPart]) -> Upload:
    """The upload with the parts that it is to be completed with."""
    return replace(upload, parts=tuple(parts))
