"""Which SMSCs had a message in vain, and what they said: `SMSC:STAT:ERR:ID`, a word each, in the order of trying. Pure.

ID is the SMSC's id of the message, where it had taken it: the same receipt once more is told from that of another attempt.
"""

from __future__ import annotations

import re

_OTHERS = re.compile(r"[^0-9A-Za-z._-]")


def note(tried: str, smsc: str, stat: str, err: str, id: str = "") -> str:
    """With one more. `stat` as in a receipt's text."""
    word = ":".join((smsc, _plain(stat), _plain(err), _plain(id)))
    return f"{tried} {word}" if tried else word


def _plain(text: str) -> str:
    return _OTHERS.sub("", text)[:20]


def smscs(tried: str) -> frozenset[str]:
    """The SMSCs that are not to be asked again."""
    return frozenset(word.partition(":")[0] for word in tried.split())


def last(tried: str) -> tuple[str, str, str]:
    """(smsc, stat, err) of the latest. Raises IndexError where there is none."""
    smsc, stat, err = (tried.split()[-1].split(":") + ["", ""])[:3]
    return smsc, stat, err


def is_said(tried: str, smsc: str, id: str) -> bool | None:
    """Whether this SMSC has said so of this very attempt; None where it was not tried before."""
    words = [word for word in tried.split() if word.startswith(f"{smsc}:")]
    return any(word.endswith(f":{_plain(id)}") for word in words) if words else None
