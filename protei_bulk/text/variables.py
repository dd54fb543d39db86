"""Texts with %NAME% in them. Pure.

A name is a letter or underscore and up to 63 more letters, digits and underscores; case matters. Everything else between
two percent signs stays as it is, and what a variable brings in is not looked at again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

VARIABLE = re.compile(r"%([A-Za-z_][A-Za-z0-9_]{0,63})%")


class Missing(KeyError):
    """A variable has no value; `name` says which."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Wording:
    """`defaults` stand in for what a recipient lacks; an empty value is lacking where there is a default."""

    __slots__ = ("_defaults", "_odd", "_pieces", "names", "text")

    def __init__(self, text: str, defaults: Mapping[str, str] | None = None) -> None:
        self.text = text
        self._pieces = VARIABLE.split(text)  # text, name, text, name, ..., text
        self._odd = tuple(range(1, len(self._pieces), 2))
        self.names: tuple[str, ...] = tuple(dict.fromkeys(self._pieces[1::2]))
        self._defaults = dict(defaults or {})

    def render(self, values: Mapping[str, Any] | None = None) -> str:
        """The text with every variable's value. Raises Missing."""
        if not self._odd:
            return self.text
        pieces, defaults = self._pieces.copy(), self._defaults
        for at in self._odd:
            name = pieces[at]
            value = values.get(name) if values else None
            if value is None or value == "":
                if name in defaults:
                    value = defaults[name]
                elif value is None:
                    raise Missing(name)
            pieces[at] = value if type(value) is str else str(value)
        return "".join(pieces)

    def missing(self, values: Mapping[str, Any] | None = None) -> list[str]:
        """Names that have neither a value nor a default."""
        known = values or {}
        return [n for n in self.names if n not in self._defaults and known.get(n) is None]
