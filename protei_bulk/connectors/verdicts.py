"""What an SMSC's command_status to a submit_sm means for the message (SMPP 3.4 section 5.1.3). Pure."""

from __future__ import annotations

from enum import Enum


class Verdict(Enum):
    """`PAUSE` slows the connector down and keeps the message; `RETRY` tries it again later or elsewhere."""

    PAUSE = 1
    RETRY = 2
    REJECT = 3


#: RTHROTTLED, RMSGQFUL: the same thing said by different makers
_PAUSE = frozenset({0x58, 0x14})
#: RINVBNDSTS, RSYSERR, RX_T_APPN: they pass by themselves
_RETRY = frozenset({0x04, 0x08, 0x64})


def verdict(status: int) -> Verdict:
    """Unknown codes are permanent: a message must not circle for ever."""
    if status in _PAUSE:
        return Verdict.PAUSE
    if status in _RETRY:
        return Verdict.RETRY
    return Verdict.REJECT
