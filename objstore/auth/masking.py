"""What errors may show of a request: everything but the keys of customers (SSE-C)."""

from __future__ import annotations

import re
from typing import Final

MASK: Final = b"***"

# A header's line, or a parameter of a query; the key's MD5 has another name and is no secret.
_CUSTOMER_KEY = re.compile(rb"(-customer-key[:=])[^\n&]*", re.IGNORECASE)


def masked(shown: bytes) -> bytes:
    """A canonical request, or a query, without the value of any customer's key."""
    return _CUSTOMER_KEY.sub(rb"\g<1>" + MASK, shown)
