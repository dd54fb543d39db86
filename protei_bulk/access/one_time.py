"""Passwords that a person reads out, or copies once, and replaces."""

from __future__ import annotations

import secrets

_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that look like another
_LENGTH = 16  # 79 bits


def one_time_password() -> str:
    """Letters and digits. SMPP knows its first eight: 39 bits, behind the limits on attempts."""
    return "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))
