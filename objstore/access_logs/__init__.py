"""Access logs: a line for each request to a bucket that wants them, delivered as objects.

`settings` is what a bucket says, `record` the line in S3's format, `spool` where lines wait,
and `delivery` what puts them into the bucket that they are for.
"""

from objstore.access_logs.delivery import AccessLogs

__all__ = ["AccessLogs"]
