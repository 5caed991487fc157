"""The record of calls: who asked for what, from where, and what came of it.

`record` makes an event in CloudTrail's form, `recorder` keeps events in files and delivers them
to a bucket, `reader` finds them again.  docs/design/0010 says what is kept, and what is not.
"""

from objstore.trail.record import ALL, MANAGEMENT, OFF, Call
from objstore.trail.recorder import Trail

__all__ = ["ALL", "MANAGEMENT", "OFF", "Call", "Trail"]
