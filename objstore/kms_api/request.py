"""The members of a request, each checked by the ``kms`` service model's bounds."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, Final

from objstore.kms_api.errors import KmsError, invalid, unsupported

MAX_KEY_ID_CHARS: Final = 2048
MAX_CIPHERTEXT_BYTES: Final = 6144
MAX_PLAINTEXT_BYTES: Final = 4096
MAX_CONTEXT_BYTES: Final = 8192

# Tells what this API wraps from what the store does: neither unwraps the other's.
_CONTEXT_LABEL: Final = b"kms api v1 "


class Members:
    """The document of a request.

    Every method may raise `KmsError`: ValidationException.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    @classmethod
    def of(cls, body: bytes) -> Members:
        """Of a body; an empty one is an empty document.

        Raises:
            KmsError: SerializationException.
        """
        try:
            document = json.loads(body or b"{}")
        except (ValueError, RecursionError):
            raise KmsError("SerializationException", "The body is not JSON.") from None
        if not isinstance(document, dict):
            raise KmsError("SerializationException", "The body is not a JSON object.")
        return cls(document)

    def has(self, name: str) -> bool:
        """Whether a member is there; null is not."""
        return self._document.get(name) is not None

    def refuse(self, name: str) -> None:
        """Refuse a member that asks for what is not offered; an empty one asks for nothing.

        Raises:
            KmsError: UnsupportedOperationException.
        """
        if self._document.get(name) not in (None, False, [], {}, ""):
            raise unsupported(name)

    def text(self, name: str, *, least: int = 0, most: int, default: str | None = None) -> str:
        """A string of `least` to `most` characters; has to be there without a `default`."""
        value: str = self._get(name, str, default)
        if self.has(name) and not least <= len(value) <= most:
            raise invalid(f"{name} must have {least} to {most} characters.")
        return value

    def key_id(self, name: str = "KeyId") -> str:
        """A key's name of any form."""
        return self.text(name, least=1, most=MAX_KEY_ID_CHARS)

    def key_itself(self, name: str = "KeyId") -> str:
        """A key's id or ARN; some operations take no alias.

        Raises:
            KmsError: NotFoundException.
        """
        key_id = self.key_id(name)
        if key_id.startswith("alias/") or ":alias/" in key_id:
            raise KmsError("NotFoundException", f"Invalid {name} {key_id!r}: name no alias here.")
        return key_id

    def integer(self, name: str, *, least: int, most: int, default: int) -> int:
        """A whole number."""
        value: int = self._get(name, int, default)
        if isinstance(value, bool) or not least <= value <= most:
            raise invalid(f"{name} must be {least} to {most}.")
        return value

    def only(self, name: str, wanted: str) -> None:
        """Refuse all but one value of a member, which is the default as well.

        Raises:
            KmsError: UnsupportedOperationException.
        """
        value = self._get(name, str, wanted)
        if value != wanted:
            raise unsupported(f"{name} {value[:64]}")

    def choice(self, name: str, wanted: Mapping[str, int]) -> int | None:
        """What one of several words stands for; None without the member."""
        if not self.has(name):
            return None
        value = self._get(name, str, None)
        if value not in wanted:
            raise invalid(f"{name} must be one of {', '.join(wanted)}.")
        return wanted[value]

    def blob(self, name: str, most: int) -> bytes:
        """1 to `most` bytes in base64."""
        text = self._get(name, str, None)
        try:
            data = base64.b64decode(text, validate=True)
        except (ValueError, binascii.Error):
            raise KmsError("SerializationException", f"{name} is not base64.") from None
        if not 1 <= len(data) <= most:
            raise invalid(f"{name} must have 1 to {most} bytes.")
        return data

    def context(self, name: str = "EncryptionContext") -> bytes:
        """An encryption context as bytes that are the same for the same pairs in any order."""
        pairs = self._get(name, dict, {})
        if not all(isinstance(value, str) for value in pairs.values()):
            raise invalid(f"{name} maps strings to strings.")
        text = json.dumps(pairs, sort_keys=True, separators=(",", ":")).encode("ascii")
        if len(text) > MAX_CONTEXT_BYTES:
            raise invalid(f"{name} is too long.")
        return _CONTEXT_LABEL + text

    def is_dry_run(self) -> bool:
        """Whether DryRun is asked for."""
        asked: bool = self._get("DryRun", bool, False)
        return asked

    def _get(self, name: str, kind: type, default: Any) -> Any:
        value = self._document.get(name)
        if value is None:
            if default is None:
                raise invalid(f"{name} is missing.")
            return default
        if not isinstance(value, kind):
            raise KmsError("SerializationException", f"{name} is of another type.")
        return value
