"""The messages that every client sends, and how a handset puts together again what an SMSC got of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import smpplib.gsm
from attrs import frozen

from protei_bulk.smpp import tags

UDHI = 0x40
BINARY = 4  # data_coding: octets
ONE, UDH, SAR, PAYLOAD = "one", "udh", "sar", "payload"

GSM = "Hello @ £$ èéùìòÇØøÅå Δ_ΦΓΛΩΠΨΣΘΞ ÆæßÉ ÄÖÑÜ äöñüà ^{}\\[~]|€"
LONG_GSM = "This is a long message, with brackets [] and euros € in it. " * 4
UCS2 = "مرحبا يا أحمد 😀 ¿Qué tal?"
LONG_UCS2 = "Добрый день, уважаемый клиент! " * 4
#: to the port of WAP push (3GPP TS 23.040 section 9.2.3.24.4)
PORT = bytes.fromhex("0605040b8423f0")
OCTETS = bytes(range(0, 256, 2)) + b"\xff"


@frozen
class Sms:
    """One message, however many short messages carry it: a text, or octets with their header."""

    text: str = ""
    octets: bytes = b""
    udh: bytes = b""
    form: str = ONE

    @property
    def coding(self) -> int:
        """data_coding"""
        if self.octets:
            return BINARY
        return 0 if _is_gsm(self.text) else 8

    @property
    def body(self) -> bytes:
        """The user data without headers, by encoders that are not ours: an octet each septet, or UTF-16."""
        if self.octets:
            return self.octets
        return smpplib.gsm.gsm_encode(self.text) if self.coding == 0 else self.text.encode("utf-16-be")

    @property
    def parts(self) -> tuple[Part, ...]:
        """For clients that do not cut a text themselves."""
        if self.form in (ONE, PAYLOAD):
            return (Part(self.text, self.octets, self.coding, self.udh, self.form == PAYLOAD),)
        size = 130 if self.coding == 0 else 60
        texts = [self.text[i : i + size] for i in range(0, len(self.text), size)]
        whole = range(1, len(texts) + 1)
        if self.form == SAR:
            return tuple(Part(t, coding=self.coding, sar=(515, len(texts), i)) for i, t in zip(whole, texts, strict=True))
        return tuple(Part(t, coding=self.coding, udh=bytes((5, 0, 3, 77, len(texts), i))) for i, t in zip(whole, texts, strict=True))


@frozen
class Part:
    """One submit_sm."""

    text: str = ""
    octets: bytes = b""
    coding: int = 0
    udh: bytes = b""
    payload: bool = False
    sar: tuple[int, int, int] | None = None  # reference, segments, number of this one

    def as_json(self) -> dict[str, Any]:
        return {
            "text": self.text, "octets": self.octets.hex(), "coding": self.coding, "udh": self.udh.hex(),
            "payload": self.payload, "sar": self.sar,
        }  # fmt: skip


def _is_gsm(text: str) -> bool:
    try:
        smpplib.gsm.gsm_encode(text)
    except UnicodeError:
        return False
    return True


# --- what arrived


@frozen
class Arrived:
    """One submit_sm as an SMSC got it."""

    source: str
    dest: str
    esm_class: int
    registered: int
    coding: int
    short_message: bytes
    tlvs: dict[int, bytes]

    @property
    def octets(self) -> bytes:
        return self.tlvs.get(tags.MESSAGE_PAYLOAD, self.short_message)

    @property
    def udh(self) -> bytes:
        return self.octets[: self.octets[0] + 1] if self.esm_class & UDHI else b""

    @property
    def place(self) -> tuple[int, int, int] | None:
        """Reference, segments, and number of this one, where it is one of several."""
        if tags.SAR_SEGMENT_SEQNUM in self.tlvs:
            named = (tags.SAR_MSG_REF_NUM, tags.SAR_TOTAL_SEGMENTS, tags.SAR_SEGMENT_SEQNUM)
            reference, total, number = (int.from_bytes(self.tlvs[tag], "big") for tag in named)
            return reference, total, number
        udh, at = self.udh, 1
        while at + 1 < len(udh):
            kind, data = udh[at], udh[at + 2 : at + 2 + udh[at + 1]]
            if kind in (0, 8):
                return int.from_bytes(data[:-2], "big"), data[-2], data[-1]
            at += 2 + udh[at + 1]
        return None


def whole(parts: Sequence[Arrived]) -> bytes | None:
    """The user data of one message; None while parts lack. Raises AssertionError for parts that no handset would join."""
    if not parts:
        return None
    assert len({(p.source, p.dest, p.coding) for p in parts}) == 1, parts
    for p in parts:
        assert len(p.short_message) <= 160, "more septets than one short message holds"
        assert p.coding == 0 or p.place is None or len(p.short_message) <= 140, "more octets than one short message holds"
    places = [p.place for p in parts]
    if places == [None]:
        return parts[0].octets[len(parts[0].udh) :]
    numbered = {place[2]: part for part, place in zip(parts, places, strict=True) if place is not None}
    shared = {place[:2] for place in places if place is not None}
    assert len(numbered) == len(parts) and len(shared) == 1, f"parts of different messages: {places}"
    ((_, total),) = shared
    if sorted(numbered) != list(range(1, total + 1)):
        return None
    bodies = [numbered[i].octets[len(numbered[i].udh) :] for i in sorted(numbered)]
    for body in bodies:
        if parts[0].coding == 0:
            assert not body.endswith(b"\x1b"), "an escape was cut from its character"
        elif parts[0].coding == 8:
            assert len(body) % 2 == 0 and not 0xD8 <= body[-2] <= 0xDB, "a surrogate was cut from its pair"
    return b"".join(bodies)
