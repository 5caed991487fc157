"""objstore: an object store to embed, or to serve over S3.

In short:

    from objstore import ObjectStore

    with ObjectStore.open("data") as store:
        store.put("bucket", "key", b"bytes")
"""

from objstore.config import ServerConfig, StoreConfig
from objstore.engine.store import ObjectReader, ObjectStore, PartStream, PutStream
from objstore.entropy import Entropy, SeededEntropy, SystemEntropy
from objstore.model import (
    BucketInfo,
    ByteRange,
    Checksum,
    CompletedPart,
    Conditions,
    DeleteResult,
    ListEntry,
    ListPage,
    ObjectAttributes,
    ObjectInfo,
    PartInfo,
    PartPage,
    UploadInfo,
    UploadPage,
)

__all__ = [
    "BucketInfo",
    "ByteRange",
    "Checksum",
    "CompletedPart",
    "Conditions",
    "DeleteResult",
    "Entropy",
    "ListEntry",
    "ListPage",
    "ObjectAttributes",
    "ObjectInfo",
    "ObjectReader",
    "ObjectStore",
    "PartInfo",
    "PartPage",
    "PartStream",
    "PutStream",
    "SeededEntropy",
    "ServerConfig",
    "StoreConfig",
    "SystemEntropy",
    "UploadInfo",
    "UploadPage",
]
__version__ = "0.1.0"
