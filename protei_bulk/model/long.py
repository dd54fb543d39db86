"""Long messages that their sender has split: which part a message is, and what its parts share. Pure."""

from __future__ import annotations

from typing import NamedTuple

from protei_bulk.smpp import tags
from protei_bulk.text import headers

_SAR = 1 << 16  # beside a reference of 16 bits: where it stood
#: bit of Message.registered that no ESME is told of: the gateway itself needs a final receipt (SMPP leaves bits 5 to 7 unused)
OWN_RECEIPT = 0x80


class LongMessage:
    """What the parts of one message know of each other in this process."""

    __slots__ = ("id", "smsc")

    def __init__(self, id: str = "", smsc: str = "") -> None:
        self.id = id  # message_id of the part that came first; "" until that has one
        self.smsc = smsc  # where the part that moved last went, or waits


class LongPart:
    """`merged`: its ESME wants one receipt for all parts. `alone`: it is not to be joined with the others any more."""

    __slots__ = ("alone", "merged", "number", "of", "reference", "total")

    def __init__(self, of: LongMessage, number: int, total: int, merged: bool = False, reference: int = 0) -> None:
        self.of, self.number, self.total, self.merged, self.reference = of, number, total, merged, reference
        self.alone = False


class Place(NamedTuple):
    """Where a part belongs; `reference` tells apart what one sender sends to one recipient, number from 1."""

    reference: int
    total: int
    number: int


def part_of(udh: bytes, tlvs: dict[int, bytes] | None) -> LongPart | None:
    """A part whose kin is not known yet."""
    where = place(udh, tlvs)
    return None if where is None else LongPart(LongMessage(), where.number, where.total, reference=where.reference)


def place(udh: bytes, tlvs: dict[int, bytes] | None) -> Place | None:
    """By the concatenation header, else by sar_* parameters (SMPP 3.4 sections 5.3.2.22 to 24); None for what is no part of several."""
    if udh:
        found = headers.concatenation(udh)
        if found is not None:
            return Place(*found) if found[1] > 1 else None
    if tlvs is None or tags.SAR_TOTAL_SEGMENTS not in tlvs:
        return None
    total, number, reference = (tlvs.get(t, b"") for t in (tags.SAR_TOTAL_SEGMENTS, tags.SAR_SEGMENT_SEQNUM, tags.SAR_MSG_REF_NUM))
    if len(total) != 1 or len(number) != 1 or len(reference) != 2 or total[0] < 2 or not 1 <= number[0] <= total[0]:
        return None
    return Place(_SAR | int.from_bytes(reference, "big"), total[0], number[0])
