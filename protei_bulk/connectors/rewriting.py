"""Under which addresses a message goes out, where its route says so. What the gateway keeps, and tells its sender, stays. Pure."""

from __future__ import annotations

from typing import NamedTuple

from protei_bulk.model.message import Message
from protei_bulk.settings import Rewrite

_ALPHANUMERIC, _UNKNOWN, _ISDN = 5, 0, 1  # TON, TON, NPI (SMPP 3.4 section 5.2.5)
_LONGEST = 20  # octets of an address without its end (SMPP 3.4 section 4.4.1)


class Addresses(NamedTuple):
    """The address fields of a submit_sm, called as those of a message."""

    source_ton: int
    source_npi: int
    source: str
    dest_ton: int
    dest_npi: int
    dest: str


def rewritten(m: Message, rewrite: Rewrite) -> Addresses:
    """A sender that is other than in kind gets the TON and NPI of its kind, unless the route names them.

    A number that would become longer than SMPP allows, or empty, stays as it is.
    """
    source, ton, npi = m.source, m.source_ton, m.source_npi
    if rewrite.sender:
        source = rewrite.sender
        if not source.isdigit():
            ton, npi = _ALPHANUMERIC, 0
        elif ton == _ALPHANUMERIC:
            ton, npi = _UNKNOWN, _ISDN
    dest = m.dest
    if rewrite.dest_strip and dest.startswith(rewrite.dest_strip):
        dest = dest[len(rewrite.dest_strip) :]
    dest = rewrite.dest_add + dest
    if not 0 < len(dest) <= _LONGEST:
        dest = m.dest
    return Addresses(
        rewrite.source_ton if rewrite.source_ton >= 0 else ton, rewrite.source_npi if rewrite.source_npi >= 0 else npi, source,
        rewrite.dest_ton if rewrite.dest_ton >= 0 else m.dest_ton, rewrite.dest_npi if rewrite.dest_npi >= 0 else m.dest_npi, dest,
    )  # fmt: skip
