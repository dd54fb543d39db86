"""Sender IDs: text of up to 11 characters, or a number."""

from __future__ import annotations

import re

_ALPHANUMERIC = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,9}[\x21-\x7e])?\Z")
_NUMBER = re.compile(r"\+?[0-9]{1,15}\Z")


def read_sender(sender: str) -> tuple[str, int, int]:
    """(sender, TON, NPI): TON 5 and NPI 0 for text, 1 and 1 for a number (SMPP 3.4 section 5.2.5). Raises ValueError."""
    if _NUMBER.match(sender):
        return sender.removeprefix("+"), 1, 1
    if not _ALPHANUMERIC.match(sender):
        raise ValueError("must be 1 to 11 printable ASCII characters, or up to 15 digits")
    return sender, 5, 0
