"""What the twin holds, and the look-ups that all of its parts share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import msgspec

from blockdev.clock import Clock, SystemClock
from objstore.config import StoreConfig
from objstore.entropy import Entropy, SystemEntropy
from objstore.errors import (
    IncompleteBodyError,
    IsDeleteMarkerError,
    NoSuchBucketError,
    NoSuchKeyError,
    NoSuchUploadError,
    NoSuchVersionError,
)
from objstore.model import (
    NO_ENCRYPTION,
    BucketInfo,
    Checksum,
    DefaultRetention,
    Encryption,
    ObjectInfo,
    ObjectPart,
    PartInfo,
    UploadInfo,
)
from tests.twin import rules
from tests.twin.rules import Buffer

Hasher = Callable[[Buffer], object]
Info = TypeVar("Info", ObjectInfo, PartInfo)


@dataclass
class Version:
    """A version of a key: an object or a delete marker.

    `upload_id`: of the upload it was completed from.  `renamed_by`: client's token and request.
    `born`: which version of its bucket it is, counted from one.
    """

    info: ObjectInfo
    data: bytes = b""
    parts: tuple[ObjectPart, ...] = ()
    is_marker: bool = False
    upload_id: str = ""
    renamed_by: tuple[str, str] = ("", "")
    born: int = 0


@dataclass
class Part:
    """An uploaded part."""

    info: PartInfo
    data: bytes


@dataclass
class Upload:
    """An upload under way."""

    info: UploadInfo
    parts: dict[int, Part] = field(default_factory=dict)


@dataclass
class Bucket:
    """A bucket.  `keys`: the versions of each key, newest first, never none.

    `retention`: None until the bucket has object lock.  `births`: of versions, so far, by id;
    null versions, whose id is not theirs alone, are not among them.
    """

    info: BucketInfo
    keys: dict[str, list[Version]] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)
    versioning: str = ""
    retention: DefaultRetention | None = None
    encryption: Encryption = NO_ENCRYPTION
    settings: dict[str, bytes] = field(default_factory=dict)
    births: dict[str, int] = field(default_factory=dict)
    born: int = 0

    def current(self, key: str) -> Version | None:
        """The object that a plain read of the key finds; a delete marker is none."""
        versions = self.keys.get(key)
        return None if not versions or versions[0].is_marker else versions[0]

    def shown(self, info: ObjectInfo) -> ObjectInfo:
        """What is told of an object: also whether its bucket has, or had, versions."""
        return msgspec.structs.replace(info, has_versions=bool(self.versioning))

    def add(self, version: Version) -> None:
        """Make a version the current one; a null version takes the place of another."""
        key, version_id = version.info.key, version.info.version_id
        self.born += 1
        version.born = self.born
        if version_id == "null":
            self.remove(key, "null")
        else:
            self.births[version_id] = self.born
        self.keys.setdefault(key, []).insert(0, version)

    def remove(self, key: str, version_id: str) -> Version | None:
        """Take a version away; what was taken."""
        for version in self.keys.get(key, []):
            if version.info.version_id == version_id:
                self.keys[key].remove(version)
                if not self.keys[key]:
                    del self.keys[key]
                return version
        return None

    def find(self, key: str, version_id: str) -> Version | None:
        """A version by its id, be it an object or a marker.

        Raises:
            InvalidArgumentError, NoSuchVersionError: that is no id.
        """
        rules.check_version_id(key, version_id)
        return next((v for v in self.keys.get(key, []) if v.info.version_id == version_id), None)


class ModelReader:
    """An open read of an object as it was when `get` was called."""

    def __init__(self, info: ObjectInfo, data: bytes, start: int, length: int, piece: int) -> None:
        self.info = info
        self.start_byte = start
        self.length_bytes = length
        self._left = data[start : start + length]
        self._piece = piece

    def try_next(self) -> bytes | memoryview | None:
        return self.next()

    def next(self) -> bytes | memoryview:
        piece, self._left = self._left[: self._piece], self._left[self._piece :]
        return piece

    def read(self) -> bytes:
        left, self._left = self._left, b""
        return left

    def __iter__(self) -> Iterator[bytes | memoryview]:
        while piece := self.next():
            yield piece

    def close(self) -> None:
        self._left = b""

    def __enter__(self) -> ModelReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class ModelStream(Generic[Info]):
    """`PutStream` and `PartStream`: collects, then hands everything to `commit`."""

    def __init__(
        self,
        commit: Callable[[bytes, tuple[Checksum, ...]], Info],
        size_bytes: int | None,
        hashers: Sequence[Hasher],
    ) -> None:
        self._commit: Callable[[bytes, tuple[Checksum, ...]], Info] = commit
        self._declared = size_bytes
        self._hashers = hashers
        self._pieces: list[bytes] = []
        self._closed = False

    def write(self, data: Buffer, done: Callable[[], object] | None = None) -> None:
        self._pieces.append(bytes(data))
        for hasher in self._hashers:
            hasher(data)
        if done is not None:
            done()

    def finish(self) -> None:
        if self._declared is not None and self._declared != self.size_bytes:
            raise IncompleteBodyError(f"{self.size_bytes} bytes came, {self._declared} declared")

    @property
    def size_bytes(self) -> int:
        return sum(len(piece) for piece in self._pieces)

    @property
    def md5(self) -> bytes:
        return hashlib.md5(b"".join(self._pieces)).digest()

    def commit(self, *, checksums: tuple[Checksum, ...] = ()) -> Info:
        self.finish()
        self._closed = True
        return self._commit(b"".join(self._pieces), checksums)

    def abort(self) -> None:
        self._closed = True
        self._pieces.clear()

    def __enter__(self) -> ModelStream[Info]:
        return self

    def __exit__(self, *exc: object) -> None:
        if not self._closed:
            self.abort()


class State:
    """The buckets, and how things are found in them."""

    def __init__(
        self,
        *,
        config: StoreConfig | None = None,
        clock: Clock | None = None,
        entropy: Entropy | None = None,
        create_buckets: bool = True,
    ) -> None:
        self.config = config or StoreConfig()
        self.clock: Clock = clock or SystemClock()
        self.entropy: Entropy = entropy or SystemEntropy()
        self._create_buckets = create_buckets
        self._buckets: dict[str, Bucket] = {}

    def _now_ms(self) -> int:
        return self.clock.now_ns() // 1_000_000

    def _new_id(self) -> str:
        return self.entropy.token_bytes(16).hex()

    def _make_bucket(self, bucket: str, region: str = "us-east-1", owner: str = "") -> Bucket:
        raise NotImplementedError

    def _bucket(self, bucket: str) -> Bucket:
        if bucket not in self._buckets:
            raise NoSuchBucketError(bucket)
        return self._buckets[bucket]

    def _bucket_for_write(self, bucket: str, key: str) -> Bucket:
        rules.check_key(key)
        if self._create_buckets and bucket not in self._buckets:
            self._make_bucket(bucket)
        return self._bucket(bucket)

    def _version(self, bucket: str, key: str, version_id: str = "") -> Version:
        """The current object, or the one of that id."""
        found = self._bucket(bucket)
        if not version_id:
            current = found.current(key)
            if current is None:
                newest = found.keys.get(key)
                raise NoSuchKeyError(key, newest[0].info.version_id if newest else "")
            return current
        version = found.find(key, version_id)
        if version is None:
            raise NoSuchVersionError(key, version_id)
        if version.is_marker:
            raise IsDeleteMarkerError(key, version_id, version.info.modified_ms)
        return version

    def _upload(self, bucket: str, key: str, upload_id: str) -> Upload:
        uploads = self._bucket(bucket).uploads
        if upload_id not in uploads or uploads[upload_id].info.key != key:
            raise NoSuchUploadError(upload_id)
        return uploads[upload_id]

    def _change(self, version: Version, **changes: object) -> ObjectInfo:
        """Say something else of a version."""
        attributes = msgspec.structs.replace(version.info.attributes, **changes)
        version.info = msgspec.structs.replace(version.info, attributes=attributes)
        return self._bucket(version.info.bucket).shown(version.info)
