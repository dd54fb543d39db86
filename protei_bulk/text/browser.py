"""The alphabets for scripts in a browser: made from the tables that messages are encoded with, so that both count alike. Pure."""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Any

from protei_bulk.text import gsm, segments
from protei_bulk.text.smart import MARKS, REPLACED, stand_in

_DECOMPOSED = range(0x80, 0x30000)  # beyond it nothing is made of other characters


@cache
def tables() -> dict[str, Any]:
    """`basic`, `extended`: characters of one and of two septets. `instead`: what smart encoding puts in the place of one character.

    `single`, `part`: septets of a short message alone and of a part; `wide_single`, `wide_part`: UTF-16 code units. `most` parts.
    """
    characters = {chr(c) for c in REPLACED} | set(MARKS) | {c for c in map(chr, _DECOMPOSED) if unicodedata.decomposition(c)}
    instead = {c: by for c in sorted(characters) if (by := stand_in(c)) is not None and by != c}
    header = 6
    return {
        "basic": gsm.BASIC.replace("\x1b", ""), "extended": "".join(gsm.EXTENSION.values()), "instead": instead,
        "single": segments.room(0), "part": segments.room(0, header), "wide_single": segments.room(8) // 2,
        "wide_part": segments.room(8, header) // 2, "most": segments.MAX_SEGMENTS,
    }  # fmt: skip
