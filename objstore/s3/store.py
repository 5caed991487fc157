"""What the S3 layer asks of the engine: the part of `ObjectStore` that it calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from objstore.model import (
    BucketInfo,
    ByteRange,
    Checksum,
    CompletedPart,
    Conditions,
    DefaultRetention,
    DeleteResult,
    DeleteTarget,
    Encryption,
    ListPage,
    ObjectAttributes,
    ObjectInfo,
    ObjectPartPage,
    PartInfo,
    PartPage,
    UploadInfo,
    UploadPage,
    VersionPage,
)


class BodyReader(Protocol):
    """An open read of an object; the engine's `ObjectReader`."""

    @property
    def info(self) -> ObjectInfo: ...
    @property
    def start_byte(self) -> int: ...
    @property
    def length_bytes(self) -> int: ...
    def try_next(self) -> bytes | memoryview | None: ...
    def next(self) -> bytes | memoryview: ...
    def read(self) -> bytes: ...
    def close(self) -> None: ...


class PartWriter(Protocol):
    """An open part; the engine's `PartStream`."""

    def write(self, data: Any) -> None: ...
    def finish(self) -> None: ...
    @property
    def md5(self) -> bytes: ...
    def commit(self, *, checksums: tuple[Checksum, ...] = ()) -> PartInfo: ...
    def abort(self) -> None: ...


class Store(Protocol):
    """See `objstore.ObjectStore` for what each does and raises."""

    def create_bucket(
        self, bucket: str, *, region: str = ..., owner: str = ..., object_lock: bool = ...
    ) -> BucketInfo: ...
    def head_bucket(self, bucket: str) -> BucketInfo: ...
    def list_buckets(
        self, *, prefix: str = ..., start_after: str = ..., limit: int = ...
    ) -> list[BucketInfo]: ...
    def delete_bucket(self, bucket: str) -> None: ...

    def object_lock(self, bucket: str) -> DefaultRetention: ...
    def set_object_lock(self, bucket: str, default: DefaultRetention) -> None: ...
    def set_legal_hold(
        self, bucket: str, key: str, is_held: bool, *, version_id: str = ...
    ) -> ObjectInfo: ...
    def set_retention(
        self,
        bucket: str,
        key: str,
        mode: str,
        retain_until_ms: int,
        *,
        version_id: str = ...,
        bypass_governance: bool = ...,
    ) -> ObjectInfo: ...
    def bucket_encryption(self, bucket: str) -> Encryption: ...
    def set_bucket_encryption(
        self,
        bucket: str,
        encryption: Encryption | None,
        *,
        also: Mapping[str, bytes | None] = ...,
    ) -> None: ...
    def bucket_setting(self, bucket: str, name: str) -> bytes: ...
    def set_bucket_setting(
        self,
        bucket: str,
        name: str,
        value: bytes | None,
        *,
        given: Mapping[str, bytes | None] = ...,
    ) -> None: ...
    def set_tags(
        self, bucket: str, key: str, tags: Mapping[str, str], *, version_id: str = ...
    ) -> ObjectInfo: ...
    def versioning(self, bucket: str) -> str: ...
    def set_versioning(self, bucket: str, status: str) -> None: ...
    def list_versions(
        self,
        bucket: str,
        *,
        prefix: str = ...,
        delimiter: str = ...,
        key_marker: str = ...,
        version_id_marker: str = ...,
        limit: int = ...,
    ) -> VersionPage: ...

    def head(
        self,
        bucket: str,
        key: str,
        *,
        version_id: str = ...,
        part_number: int = ...,
        conditions: Conditions = ...,
        customer_key: bytes | None = ...,
    ) -> ObjectInfo: ...
    def get(
        self,
        bucket: str,
        key: str,
        *,
        byte_range: ByteRange | None = ...,
        version_id: str = ...,
        part_number: int = ...,
        conditions: Conditions = ...,
        customer_key: bytes = ...,
    ) -> BodyReader: ...
    def list_object_parts(
        self,
        bucket: str,
        key: str,
        *,
        version_id: str = ...,
        after: int = ...,
        limit: int = ...,
        conditions: Conditions = ...,
    ) -> ObjectPartPage: ...
    def object_part_at(
        self, bucket: str, key: str, start_byte: int, *, version_id: str = ...
    ) -> ObjectPartPage: ...
    def submit_delete(
        self,
        bucket: str,
        key: str,
        done: Callable[[DeleteResult | None, BaseException | None], None],
        *,
        version_id: str = ...,
        conditions: Conditions = ...,
        owner: str = ...,
        bypass_governance: bool = ...,
        hold: bool = ...,
    ) -> None: ...
    def delete_many(
        self,
        bucket: str,
        targets: Sequence[DeleteTarget],
        *,
        owner: str = ...,
        bypass_governance: bool = ...,
    ) -> Sequence[DeleteResult]: ...
    def copy(
        self,
        source_bucket: str,
        source_key: str,
        bucket: str,
        key: str,
        *,
        source_version_id: str = ...,
        attributes: ObjectAttributes | None = ...,
        source_conditions: Conditions = ...,
        conditions: Conditions = ...,
        checksums: tuple[Checksum, ...] | None = ...,
        customer_key: bytes = ...,
        source_customer_key: bytes = ...,
    ) -> ObjectInfo: ...
    def copy_part(
        self,
        source_bucket: str,
        source_key: str,
        bucket: str,
        key: str,
        upload_id: str,
        part_number: int,
        *,
        source_version_id: str = ...,
        byte_range: ByteRange | None = ...,
        source_conditions: Conditions = ...,
        checksum_algorithms: Sequence[str] = ...,
        new_digest: Callable[[str], Any] | None = ...,
        customer_key: bytes = ...,
        source_customer_key: bytes = ...,
    ) -> PartInfo: ...
    def rename(
        self,
        bucket: str,
        source_key: str,
        key: str,
        *,
        source_conditions: Conditions = ...,
        conditions: Conditions = ...,
        owner: str = ...,
        client_token: str = ...,
    ) -> ObjectInfo: ...
    def list(
        self,
        bucket: str,
        *,
        prefix: str = ...,
        delimiter: str = ...,
        start_after: str = ...,
        limit: int = ...,
    ) -> ListPage: ...

    def create_upload(
        self,
        bucket: str,
        key: str,
        *,
        attributes: ObjectAttributes = ...,
        checksum_algorithm: str = ...,
        checksum_type: str = ...,
        customer_key: bytes = ...,
    ) -> UploadInfo: ...
    def head_upload(self, bucket: str, key: str, upload_id: str) -> UploadInfo: ...
    def open_part(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        part_number: int,
        *,
        size_bytes: int | None = ...,
        hashers: Sequence[Callable[[Any], object]] = ...,
        customer_key: bytes = ...,
    ) -> PartWriter: ...
    def list_parts(
        self, bucket: str, key: str, upload_id: str, *, after: int = ..., limit: int = ...
    ) -> PartPage: ...
    def list_uploads(
        self,
        bucket: str,
        *,
        prefix: str = ...,
        delimiter: str = ...,
        key_marker: str = ...,
        upload_id_marker: str = ...,
        limit: int = ...,
    ) -> UploadPage: ...
    def complete_upload(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        parts: Sequence[CompletedPart],
        *,
        conditions: Conditions = ...,
        checksums: tuple[Checksum, ...] = ...,
        customer_key: bytes = ...,
    ) -> ObjectInfo: ...
    def abort_upload(self, bucket: str, key: str, upload_id: str) -> None: ...
