"""Smart encoding: characters that only look better than their GSM 03.38 neighbours are replaced, to save UCS-2.

Quotes, dashes, spaces, dots and accents that a word processor puts in. Nothing is replaced where the text then still
needs UCS-2: a message is either wholly in the GSM alphabet or as its sender wrote it.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from attrs import frozen

from protei_bulk.text import gsm

_LIKE = {
    '"': "“”„‟«»″‶〝〞ʺ˝❝❞¨",
    "'": "‘’‚‛‹›′‵`´ʹʻʼʽˈʿʾ❛❜",
    "-": "‐‑‒–—―−⁃﹘﹣",
    " ": "\t\x0b\x85\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000",
    "\n": "\u2028\u2029",
    "": "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufe0e\ufe0f\ufeff",
    "...": "…⋯", ".": "·․", "*": "•‣◦∙●▪", ",": "¸", "^": "ˆ", "~": "˜∼", "/": "⁄∕÷", "|": "¦", "_": "‗", ":": "∶",
    "x": "×", "<=": "≤", ">=": "≥", "->": "→", "<-": "←", "+-": "±", "(C)": "©", "(R)": "®", "(TM)": "™", "No.": "№",
    "c": "¢", "Rs": "₹₨", "TL": "₺", "oe": "œ", "OE": "Œ", "ae": "ǽ", "l": "ł", "L": "Ł", "d": "đð", "D": "ĐÐ", "th": "þ", "Th": "Þ",
    "h": "ħ", "H": "ĦΗ", "i": "ı", "n": "ŋ", "N": "ŊΝ", "s": "ſ", "k": "ĸ", "t": "ŧ", "T": "ŦΤ", "ö": "ő", "Ö": "Ő", "ü": "ű", "Ü": "Ű",
    "SS": "ẞ", "Ω": "Ω", "Δ": "∆",
    # capital letters of the Greek alphabet that look like Latin ones
    "A": "Α", "B": "Β", "E": "Ε", "Z": "Ζ", "I": "Ι", "K": "Κ", "M": "Μ", "O": "Ο", "P": "Ρ", "Y": "Υ", "X": "Χ",
}  # fmt: skip
_REPLACEMENT = {ord(c): by for by, characters in _LIKE.items() for c in characters}
REPLACED = frozenset(_REPLACEMENT)  # code points
MARKS = tuple(map(chr, range(0x300, 0x370)))  # that are left out where nothing else helps
_CLUSTER = re.compile("[^\u0300-\u036f]?[\u0300-\u036f]+|[^\\x00-\\x7f]|[`\t\x0b]", re.DOTALL)


@frozen
class Replacement:
    """`character` (with the combining marks behind it) became `by`, so many times."""

    character: str
    by: str
    count: int


@frozen
class Smart:
    """`text` is in the GSM alphabet if and only if `foreign` is empty: else the text as it was given.

    `foreign` holds what nothing can replace, each character once.
    """

    text: str
    replacements: tuple[Replacement, ...] = ()
    foreign: str = ""


def smart(text: str) -> Smart:
    """Whether the text can be brought into the GSM alphabet, and how."""
    if gsm.is_gsm(text):
        return Smart(text)
    replaced: Counter[tuple[str, str]] = Counter()

    def one(match: re.Match[str]) -> str:
        found = match[0]
        if gsm.is_gsm(found):
            return found
        by = _in_gsm(found)
        if by is None:
            return found
        replaced[found, by] += 1
        return by

    done = _CLUSTER.sub(one, text)
    foreign = gsm.foreign(done)
    if foreign:
        return Smart(text, (), foreign)
    return Smart(done, tuple(Replacement(c, by, n) for (c, by), n in replaced.items()))


def closest(text: str, codec: str) -> str:
    """The text in a smaller alphabet at any price, a character for a character: what has no like is a question mark."""
    out = []
    for character in text:
        for by in (character, unicodedata.normalize("NFKD", character)[0], _REPLACEMENT.get(ord(character), "")):
            if len(by) == 1 and _says(by, codec):
                out.append(by)
                break
        else:
            out.append("?")
    return "".join(out)


def _says(character: str, codec: str) -> bool:
    try:
        character.encode(codec)
    except UnicodeEncodeError:
        return False
    return True


def _in_gsm(cluster: str) -> str | None:
    """What stands for a character with its combining marks; None where nothing does."""
    whole = unicodedata.normalize("NFC", cluster)
    if gsm.is_gsm(whole):
        return whole
    out = []
    for character in whole:
        by = stand_in(character)
        if by is None:
            return None
        out.append(by)
    return "".join(out)


def stand_in(character: str) -> str | None:
    """What stands for one character, in the GSM alphabet; None where nothing does."""
    by = _REPLACEMENT.get(ord(character))
    if by is not None:
        return by
    # Without its accents; compatibility forms (ligatures, full width, raised digits) as what they stand for.
    bare = [c for c in unicodedata.normalize("NFKD", character) if not "\u0300" <= c <= "\u036f"]
    by = "".join(_REPLACEMENT.get(ord(c), c) for c in bare)
    return by if gsm.is_gsm(by) else None
