"""Buckets: create, look up, list, delete."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from objstore.engine import locks, settings
from objstore.engine.core import Core, encode_key
from objstore.engine.operation import Decision
from objstore.engine.rows import bucket_info
from objstore.engine.space import FOR_DELETES, FOR_WRITES
from objstore.engine.versions import ENABLED, VERSIONING
from objstore.errors import (
    BucketExistsError,
    BucketNotEmptyError,
    InvalidBucketNameError,
    NoSuchBucketError,
)
from objstore.index import keys, schema
from objstore.index.base import ReadTransaction
from objstore.index.schema import BucketBody, GoneBody
from objstore.log import format as log
from objstore.log.format import Record
from objstore.model import BucketInfo, DefaultRetention

_RECORD_BOUND_BYTES = 1024

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_IP_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")


def check_bucket_name(name: str) -> None:
    """Raises `InvalidBucketNameError` unless S3 would take `name` for a new bucket.

    Source: "Bucket naming rules" of the S3 user guide.
    """
    if (
        not _NAME.fullmatch(name)
        or ".." in name
        or _IP_ADDRESS.fullmatch(name)
        or name.startswith(("xn--", "sthree-", "amzn-s3-demo-"))
        or name.endswith(("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"))
    ):
        raise InvalidBucketNameError(
            f"{name!r} is not a bucket name: 3-63 of a-z, 0-9, '.' and '-', beginning and ending "
            "with a letter or digit, without '..' and not like an IP address",
            "BucketName",
            name,
        )


class CreateBucket:
    """Make a bucket; `BucketExistsError` if there is one of the name."""

    leaves_segments = FOR_WRITES

    def __init__(self, name: str, region: str, owner: str, made_with: dict[str, bytes]) -> None:
        check_bucket_name(name)
        self.name, self.region, self.owner, self.settings = name, region, owner, made_with
        self.size_bound_bytes = _RECORD_BOUND_BYTES + settings.held_bytes(made_with)

    def decide(self, decision: Decision) -> Sequence[Record]:
        name = self.name.encode()
        if decision.txn.get(keys.bucket(name)) is not None:
            raise BucketExistsError(f"bucket {self.name!r} exists already")
        body = BucketBody(
            decision.take_bucket_id(), decision.now_ms, self.region, self.owner, self.settings
        )
        return [Record(log.BUCKET, body.bucket_id, name, schema.encode(body))]


class DeleteBucket:
    """Remove an empty bucket."""

    size_bound_bytes = _RECORD_BOUND_BYTES
    leaves_segments = FOR_DELETES

    def __init__(self, core: Core, name: str) -> None:
        self.core, self.name = core, name

    def decide(self, decision: Decision) -> Sequence[Record]:
        body = self.core.bucket(decision.txn, self.name)
        if not is_empty(decision.txn, body.bucket_id):
            raise BucketNotEmptyError(f"bucket {self.name!r} still holds objects or uploads")
        gone = schema.encode(GoneBody())
        return [Record(log.BUCKET_GONE, body.bucket_id, self.name.encode(), gone)]


def is_empty(txn: ReadTransaction, bucket_id: int) -> bool:
    """Whether a bucket holds neither versions nor uploads."""
    for prefix in (keys.current_prefix(bucket_id), keys.uploads_prefix(bucket_id)):
        for _row in txn.scan(prefix, keys.after(prefix)):
            return False
    return True


def create(
    core: Core,
    name: str,
    region: str,
    owner: str,
    *,
    object_lock: bool = False,
    made_with: Mapping[str, bytes] = MappingProxyType({}),
) -> BucketInfo:
    """See `ObjectStore.create_bucket`: the bucket and all that it is made with, in one record."""
    found = dict(made_with)
    for setting in found:
        settings.check_name(setting)
    if object_lock:
        found[VERSIONING] = ENABLED
        found[locks.OBJECT_LOCK] = locks.encode_default(DefaultRetention())
    (record,) = core.committer.commit(CreateBucket(name, region, owner, found))
    return bucket_info(name, schema.decode_bucket(record.body))


def ensure(core: Core, name: str, key: str) -> None:
    """Make the bucket for `key` if it is missing and the store was opened to do so."""
    if not core.makes_buckets:
        return
    encode_key(key)  # a key that cannot be stored makes no bucket
    with core.index.read() as txn:
        try:
            core.bucket(txn, name)
            return
        except NoSuchBucketError:
            pass
    with contextlib.suppress(BucketExistsError):
        create(core, name, "us-east-1", "")


def head(core: Core, name: str) -> BucketInfo:
    with core.index.read() as txn:
        return bucket_info(name, core.bucket(txn, name))


def delete(core: Core, name: str) -> None:
    core.committer.commit(DeleteBucket(core, name))


def list_buckets(core: Core, prefix: str, start_after: str, limit: int) -> list[BucketInfo]:
    low = keys.bucket(prefix.encode())
    start = max(low, keys.bucket(start_after.encode()) + b"\x00") if start_after else low
    found: list[BucketInfo] = []
    with core.index.read() as txn:
        for key, row in txn.scan(start, keys.after(low)):
            if len(found) == limit:
                break
            name = key[1:].decode()
            found.append(bucket_info(name, schema.decode_bucket(schema.row_body(row))))
    return found
