"""Delivery of events: from the outbox of a store to webhooks, files and Redis.

    with Delivery(store, folder, [parse_destination("hook=http://127.0.0.1:8080/")]) as delivery:
        ...

See docs/design/0007-events.md; how events get into the outbox is in `objstore.engine.telling`.
"""

from objstore.events.delivery import Delivery
from objstore.events.destinations import Destination, DestinationError, parse_destination

__all__ = ["Delivery", "Destination", "DestinationError", "parse_destination"]
