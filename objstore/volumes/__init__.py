"""Where the block layer's snapshots meet the object store."""

from objstore.volumes.bucket_blocks import BucketBlockStore

__all__ = ["BucketBlockStore"]
