"""Forms as browsers send them."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
HEADERS = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}


def encode(
    fields: dict[str, str],
    data: bytes | None,
    *,
    file_name: str = "C:\\photos\\cat.jpg",
    behind: dict[str, str] | None = None,
    every_has_a_file_name: bool = False,
) -> bytes:
    """The body; `behind`: fields that come after the file."""
    parts = [_field(name, value, every_has_a_file_name) for name, value in fields.items()]
    if data is not None:
        name = file_name.replace('"', "%22")
        parts.append(
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: image/jpeg\r\n\r\n".encode()
            + data
            + b"\r\n"
        )
    parts += [_field(name, value, False) for name, value in (behind or {}).items()]
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def _field(name: str, value: str, has_file_name: bool) -> bytes:
    named = '; filename=""' if has_file_name else ""
    return (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n{value}\r\n'
    ).encode()


def policy(conditions: list[Any], expires_s: float, **changed: Any) -> str:
    """A policy in base64 that ends at this time."""
    moment = datetime.fromtimestamp(expires_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    document = {"expiration": moment, "conditions": conditions, **changed}
    return base64.b64encode(json.dumps(document).encode()).decode()
