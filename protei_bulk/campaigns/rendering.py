"""A campaign's text for one recipient: variables filled in, smart encoding, the alphabet. Pure.

Expansion, counting, preview and test all take this way, so that what was shown is what goes out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from protei_bulk.text import gsm
from protei_bulk.text.segments import Encoded, TooLong, encode_text
from protei_bulk.text.smart import smart as bring_into_gsm
from protei_bulk.text.variables import Missing, Wording

MISSING_VARIABLE, NO_MESSAGE, TOO_LONG_TEXT, INVALID_TEXT = "MISSING_VARIABLE", "NO_MESSAGE", "MESSAGE_TOO_LONG", "INVALID_TEXT"
MAX_TEXT = 40_000  # characters of a rendered text

_REMEMBERED = 4096
_SHORT = 160  # septets of a single message


class Unsendable(ValueError):
    """There is no message in this for a recipient: `code` is one of the names above, `detail` the variable, character or reason."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code, self.detail = code, detail


@frozen
class Rendered:
    """`text` is as it goes out. `body` holds all parts' octets, `segments` how many short messages they are."""

    text: str
    body: bytes
    data_coding: int
    segments: int


class Text:
    """`encoding`: GSM7, UCS2, LATIN1 or AUTO. `smart`: what only typography keeps out of the GSM alphabet is brought into it."""

    def __init__(self, template: str, encoding: str = "AUTO", smart: bool = False, defaults: Mapping[str, str] | None = None) -> None:
        self._template = Wording(template, defaults)
        self._encoding, self._smart = encoding, smart
        self._gsm = encoding in ("AUTO", "GSM7")
        self._known: dict[str, Rendered] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Its variables, in their order."""
        return self._template.names

    def missing(self, variables: Mapping[str, Any] | None) -> list[str]:
        return self._template.missing(variables)

    def render(self, variables: Mapping[str, Any] | None = None) -> Rendered:
        """For one recipient. Raises Unsendable."""
        try:
            given = self._template.render(variables)
        except Missing as error:
            raise Unsendable(MISSING_VARIABLE, error.name) from None
        known = self._known.get(given)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[given] = self._encode(given)
        return known

    def _encode(self, given: str) -> Rendered:
        # Nearly all texts: a short message in the GSM alphabet.
        if self._gsm and len(given) <= _SHORT and not given.isspace():
            try:
                body = gsm.encode(given)
            except gsm.NotGsm:
                pass
            else:
                if 0 < len(body) <= _SHORT:
                    return Rendered(given, body, 0, 1)
        if not given.strip():
            raise Unsendable(NO_MESSAGE)
        if len(given) > MAX_TEXT:
            raise Unsendable(TOO_LONG_TEXT, f"{len(given)} characters")
        if "\0" in given:
            raise Unsendable(INVALID_TEXT, "U+0000")
        text, encoding = given, self._encoding
        if self._smart:
            better = bring_into_gsm(given)
            if not better.foreign:
                text, encoding = better.text, "GSM7"
        try:
            encoded: Encoded = encode_text(text, encoding)
        except gsm.NotGsm as error:
            raise Unsendable(INVALID_TEXT, _character(error.character)) from None
        except UnicodeEncodeError as error:
            raise Unsendable(INVALID_TEXT, _character(text[error.start])) from None
        except TooLong as error:
            raise Unsendable(TOO_LONG_TEXT, str(error)) from None
        return Rendered(text, encoded.body, encoded.data_coding, encoded.segments)


def _character(character: str) -> str:
    return f"{character!r} (U+{ord(character):04X})"
