"""Recovery codes: what lets a user in whose telephone is lost. Shown once, stored as HMACs, each good once."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

COUNT = 10
_CHARACTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: no I, L, O, U
_LENGTH = 16  # 80 bits
_READ_AS = str.maketrans("ILO", "110", " -")


def new_codes(random: Callable[[int], bytes]) -> list[str]:
    """Ten, as people write them: ``7KQ2-M1V0-9ZXC-4TRB``."""
    codes = ["".join(_CHARACTERS[octet & 31] for octet in random(_LENGTH)) for _ in range(COUNT)]
    return ["-".join(code[n : n + 4] for n in range(0, _LENGTH, 4)) for code in codes]


def plain(text: str) -> str | None:
    """The sixteen characters, however they were typed; None for what is no recovery code."""
    code = text.upper().translate(_READ_AS)
    return code if len(code) == _LENGTH and set(code) <= set(_CHARACTERS) else None


def hashed(pepper: bytes, user_id: int, code: str) -> str:
    """What the table holds. Without the node's secret nobody can try codes against it."""
    return hmac.new(pepper, f"{user_id}:{plain(code)}".encode(), hashlib.sha256).hexdigest()
