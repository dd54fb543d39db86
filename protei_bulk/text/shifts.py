"""National language shift tables at work (3GPP TS 23.038 section 6.2.1.2, TS 23.040 sections 9.2.3.24.15 and 16).

A locking shift replaces the default alphabet, a single shift its extension table, both for one part of a message.
Septets stand one an octet, as in gsm.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from attrs import frozen

from protei_bulk.text import gsm, headers
from protei_bulk.text.national import LANGUAGES, LOCKING, SINGLE

_NAMED = {"LF": "\n", "CR": "\r", "FF": "\f", "SP": " ", "ESC": "\x1b", "--": ""}


@frozen
class Shift:
    """National language identifiers; 0 is the default alphabet, or its extension table."""

    locking: int = 0
    single: int = 0

    @property
    def elements(self) -> bytes:
        """The information elements that announce it."""
        out = headers.element(headers.SINGLE_SHIFT, bytes((self.single,))) if self.single else b""
        return out + headers.element(headers.LOCKING_SHIFT, bytes((self.locking,))) if self.locking else out


NONE = Shift()


def read_table(text: str) -> list[str]:
    """The 128 characters of a table in national.py; "" where there is none."""
    words = text.split()
    return [_NAMED[w] if w in _NAMED else chr(int(w, 16)) if len(w) == 4 else w for w in words]


class Table:
    """One pair of tables: encodes and decodes."""

    def __init__(self, shift: Shift) -> None:
        basic = read_table(LOCKING[shift.locking]) if shift.locking else list(gsm.BASIC)
        extension = read_table(SINGLE[shift.single]) if shift.single else [gsm.EXTENSION.get(n, "") for n in range(128)]
        # A place without a character, and an ESC that nothing follows, show as a space (23.038 section 6.2.1).
        self._basic = "".join(" " if c in ("", "\x1b") else c for c in basic) * 2
        self._extension = {n: c for n, c in enumerate(extension) if c}
        self.extended = frozenset(extension) - frozenset(basic) - {""}
        self.all = (frozenset(basic) | self.extended) - {"", "\x1b"}
        self._octets = {ord(c): "\x1b" + chr(n) for n, c in reversed(list(enumerate(extension))) if c in self.extended}
        self._octets.update({ord(c): chr(n) for n, c in reversed(list(enumerate(basic))) if c in self.all})

    def septets(self, text: str) -> int:
        """Septets that a text takes; -1 where a character is missing."""
        if not self.all.issuperset(text):
            return -1
        return len(text) + sum(1 for c in text if c in self.extended)

    def encode(self, text: str) -> bytes:
        """Raises NotGsm."""
        if not self.all.issuperset(text):
            position = next(i for i, c in enumerate(text) if c not in self.all)
            raise gsm.NotGsm(text[position], position)
        return text.translate(self._octets).encode("latin-1")

    def decode(self, septets: bytes) -> str:
        """Never an error. What the extension lacks is the basic character."""
        plain = self._basic
        first, *pieces = septets.decode("latin-1").split("\x1b")
        out = ["".join([plain[ord(c)] for c in first])]
        for piece in pieces:
            if not piece:
                out.append(" ")  # ESC before ESC, or at the end
                continue
            code = ord(piece[0]) & 0x7F
            out.append(self._extension.get(code) or plain[code])
            out.append("".join([plain[ord(c)] for c in piece[1:]]))
        return "".join(out)


@cache
def table(shift: Shift) -> Table:
    return Table(shift)


def shift_of(udh: bytes) -> Shift | None:
    """What a header announces, None for nothing; a language without a table is passed over."""
    if b"\x24\x01" not in udh and b"\x25\x01" not in udh:
        return None
    single = locking = 0
    for identifier, data in headers.elements(udh) or ():
        if identifier == headers.SINGLE_SHIFT and len(data) == 1:
            single = data[0] if data[0] in SINGLE else 0
        elif identifier == headers.LOCKING_SHIFT and len(data) == 1:
            locking = data[0] if data[0] in LOCKING else 0
    return Shift(locking, single) if single or locking else None


def decode(septets: bytes, udh: bytes = b"") -> str:
    """The text of septets under the shifts that their header announces."""
    shift = shift_of(udh) if udh else None
    return gsm.decode(septets) if shift is None else table(shift).decode(septets)


def candidates(languages: Iterable[int]) -> list[Shift]:
    """The default alphabet first, then what these languages have: one table, the other, both."""
    out = [NONE]
    for language in languages:
        out.append(Shift(0, language))
        if language in LOCKING:
            out += [Shift(language, 0), Shift(language, language)]
    return out


def identifiers(names: Iterable[str]) -> tuple[int, ...]:
    """Of languages by the names of LANGUAGES. Raises KeyError."""
    return tuple(LANGUAGES[name] for name in names)
