"""Which SMSCs had a message in vain, and what they said: `SMSC:STAT:ERR`, a word each, in the order of trying. Pure."""

from __future__ import annotations

import re

_OTHERS = re.compile(r"[^0-9A-Za-z._-]")


def note(tried: str, smsc: str, stat: str, err: str) -> str:
    """With one more. `stat` as in a receipt's text."""
    word = f"{smsc}:{_OTHERS.sub('', stat)[:10]}:{_OTHERS.sub('', err)[:10]}"
    return f"{tried} {word}" if tried else word


def smscs(tried: str) -> frozenset[str]:
    """The SMSCs that are not to be asked again."""
    return frozenset(word.partition(":")[0] for word in tried.split())


def last(tried: str) -> tuple[str, str, str]:
    """(smsc, stat, err) of the latest. Raises IndexError where there is none."""
    smsc, stat, err = (tried.split()[-1].split(":") + ["", ""])[:3]
    return smsc, stat, err
