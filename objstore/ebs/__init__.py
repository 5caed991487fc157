"""The EBS direct APIs: blocks of snapshots over HTTP, without a volume."""
