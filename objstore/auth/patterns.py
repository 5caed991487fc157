"""Patterns of policies: texts with ``*``, ``?`` and variables.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, TypeAlias

Context: TypeAlias = Mapping[str, str | tuple[str, ...]]
"""What is known of a request: condition keys in lower case, with one value or several."""

# Stars, question marks and variables; ${*}, ${?} and ${$} are the characters themselves.
_SPECIAL: Final = re.compile(r"\*+|\?|\$\{([^}]*)\}")
_CHARACTERS: Final = ("*", "?", "$")
_DEFAULT: Final = re.compile(r"\s*([^,]*?)\s*,\s*'([^']*)'\s*")

# A part of a pattern: "*", "?", a variable ("$", name, default), or ("=", text) as it is.
_Token: TypeAlias = tuple[str, str, str | None]


@lru_cache(maxsize=4096)
def _tokens(pattern: str) -> tuple[_Token, ...]:
    found: list[_Token] = []
    at = 0
    for match in _SPECIAL.finditer(pattern):
        if match.start() > at:
            found.append(("=", pattern[at : match.start()], None))
        at = match.end()
        name = match.group(1)
        if name is None:
            found.append((match.group()[0], "", None))
        elif name in _CHARACTERS:
            found.append(("=", name, None))
        else:
            with_default = _DEFAULT.fullmatch(name)
            if with_default is None:
                found.append(("$", name.strip().lower(), None))
            else:
                found.append(("$", with_default.group(1).lower(), with_default.group(2)))
    if at < len(pattern):
        found.append(("=", pattern[at:], None))
    return tuple(found)


class Glob:
    """A text in which ``*`` stands for any others, ``?`` for one, and variables for values.

    Matched in time that is bounded by the product of the lengths: as one expression,
    ``a*b*c*`` and so on would take a power of them.

    Args:
        has_wildcards: whether stars and question marks are more than characters.
        has_variables: likewise ``${...}``.
        ignores_case: of letters.

    `text` is the pattern as it was given.
    """

    __slots__ = ("_flags", "_matcher", "_tokens", "text")

    def __init__(
        self,
        pattern: str,
        *,
        has_wildcards: bool = True,
        has_variables: bool = True,
        ignores_case: bool = False,
    ) -> None:
        self.text = pattern
        tokens: list[_Token] = []
        for kind, text, default in _tokens(pattern) if has_variables else _no_variables(pattern):
            plain = kind in "*?" and not has_wildcards
            tokens.append(("=", kind, None) if plain else (kind, text, default))
        self._tokens = tuple(tokens)
        self._flags = re.DOTALL | (re.IGNORECASE if ignores_case else 0)
        self._matcher: _Matcher | None = None
        if not any(kind == "$" for kind, _, _ in tokens):
            self._matcher = _Matcher(self._tokens, self._flags)

    @property
    def has_variables(self) -> bool:
        """Whether it depends on the request."""
        return self._matcher is None

    def matches(self, text: str, context: Context) -> bool:
        """Whether the whole text is one that the pattern stands for.

        A variable that the context has no single value for makes a pattern match nothing.
        """
        matcher = self._matcher
        if matcher is None:
            filled: list[_Token] = []
            for kind, name, default in self._tokens:
                value = context.get(name, default) if kind == "$" else None
                if kind == "$" and not isinstance(value, str):
                    return False
                filled.append(("=", value, None) if isinstance(value, str) else (kind, name, None))
            matcher = _Matcher(tuple(filled), self._flags)
        return matcher.matches(text)


def _no_variables(pattern: str) -> list[_Token]:
    return [
        (part, "", None) if part in ("*", "?") else ("=", part, None)
        for part in re.split(r"([*?])", pattern)
        if part
    ]


class _Matcher:
    """A pattern without variables: what stands between its stars, each of some length."""

    __slots__ = ("_parts", "_sizes")

    def __init__(self, tokens: tuple[_Token, ...], flags: int) -> None:
        parts, sizes = [""], [0]
        for kind, text, _ in tokens:
            if kind == "*":
                parts.append("")
                sizes.append(0)
            else:
                parts[-1] += "." if kind == "?" else re.escape(text)
                sizes[-1] += 1 if kind == "?" else len(text)
        self._parts = [re.compile(part, flags) for part in parts]
        self._sizes = sizes

    def matches(self, text: str) -> bool:
        first, *others = self._parts
        if not others:
            return first.fullmatch(text) is not None
        last_start = len(text) - self._sizes[-1]
        at = self._sizes[0]
        if last_start < at or first.match(text) is None:
            return False
        for part in others[:-1]:  # each as early as it can be leaves most to the others
            found = part.search(text, at, last_start)
            if found is None:
                return False
            at = found.end()
        return others[-1].fullmatch(text, last_start) is not None
