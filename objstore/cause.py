"""Who or what brings a change about: what the events that tell of it say.

It goes along as a context variable and not as an argument of every call: most changes tell
nobody of themselves, and none depends on it.  An operation of the engine takes it when it
is made, on its caller's thread; who makes it says `asked_by` before.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeAlias

import msgspec


class Cause(msgspec.Struct, frozen=True, gc=False):
    """What of a request its events tell.

    `event`: the name that S3 gives what the request does, where that does not follow from
    the change itself; empty where it does.
    """

    principal: str = ""
    source_ip: str = ""
    request_id: str = ""
    event: str = ""


UNKNOWN = Cause()

Ask: TypeAlias = Callable[[], Cause]
"""Tells the cause, once an event needs it."""

_ask: ContextVar[Ask | None] = ContextVar("objstore_cause", default=None)

asked_by = _ask.set
"""From now on, in this context, changes are brought about by what the argument tells."""

present_cause = _ask.get
"""Who tells the cause of what this context does; None where nobody does."""
