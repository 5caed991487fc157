"""The log on a block device: bytes and their checks, no meaning."""
