"""What people write to be left alone, or to hear again. Pure.

A text is a keyword as a whole, whatever its case, its punctuation and its form of Arabic letters: "Stop by tomorrow" is none.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

LONGEST = 40  # characters of a text that may be one
_SAME = str.maketrans({"أ": "ا", "إ": "ا", "آ": "ا", "ٱ": "ا", "ى": "ي", "ة": "ه", "ـ": None})


def plain(text: str) -> str:
    """Letters, digits and single spaces; Arabic without vowel signs, hamza and tatweel."""
    folded = unicodedata.normalize("NFKC", text).casefold().translate(_SAME)
    kept = "".join(
        c if c.isalnum() else " " for c in unicodedata.normalize("NFKC", folded) if not unicodedata.category(c).startswith(("M", "Cf"))
    )
    return " ".join(kept.split())


class Keywords:
    def __init__(self, stop: Iterable[str], start: Iterable[str]) -> None:
        self._meaning = {plain(word): False for word in start if plain(word)}
        self._meaning.update({plain(word): True for word in stop if plain(word)})

    def read(self, text: str | None) -> bool | None:
        """True to be left alone, False to hear again, None for anything else."""
        if not text or len(text) > LONGEST:
            return None
        return self._meaning.get(plain(text))
