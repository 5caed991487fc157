"""Errors that only those who manage keys meet; the engine's are in `objstore.errors`."""

from __future__ import annotations

from objstore.errors import ConflictError


class AliasExistsError(ConflictError):
    """The alias names a key already."""


class KeyLimitError(ConflictError):
    """No further key, alias or version: the bounds are in `objstore.config`."""
