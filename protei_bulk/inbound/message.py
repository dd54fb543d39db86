"""From the fields of a deliver_sm or data_sm to a message from a mobile, or a part of one. Pure; nothing raises.

What is malformed is carried through as it came, as far as it goes: a header that cannot be read is part of the octets, a
concatenation that cannot be (number 0, or beyond the total) makes a message of its own.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, NamedTuple

from protei_bulk.smpp import tags
from protei_bulk.text import alphabets, headers
from protei_bulk.text.canonical import canonical

MOST_OCTETS = 255 * 134  # of UCS-2 or binary, what 255 short messages hold
_UDHI = 0x40
_TYPE = 0x3C  # message type bits of esm_class (SMPP 3.4 section 5.2.12)
_SAR = (tags.SAR_MSG_REF_NUM, tags.SAR_TOTAL_SEGMENTS, tags.SAR_SEGMENT_SEQNUM)
#: said about the line or the PDU, not about the message
_NOT_KEPT = (tags.MESSAGE_PAYLOAD, tags.CONGESTION_STATE, tags.SC_INTERFACE_VERSION, tags.MORE_MESSAGES_TO_SEND)


class Place(NamedTuple):
    """Where a part belongs. `kind`: 8 or 16, the bits of the header's reference; 0 for the sar_* TLVs."""

    kind: int
    reference: int
    total: int
    number: int


class Mo:
    """`body` holds octets in the alphabet of `data_coding`, GSM 03.38 unpacked where that is 0, whatever 0 meant to the SMSC."""

    __slots__ = (
        "body", "data_coding", "dest", "dest_npi", "dest_ton", "digest", "esm_class", "id", "missing", "parts", "place", "protocol_id",
        "received", "reference", "smsc", "source", "source_npi", "source_ton", "text", "tlvs", "udh", "user_id",
    )  # fmt: skip

    def __init__(self) -> None:
        self.id = ""
        self.smsc = ""
        self.source = self.dest = ""
        self.source_ton = self.source_npi = self.dest_ton = self.dest_npi = 0
        self.body = self.udh = b""  # of the header, what is not concatenation; with its length octet
        self.text: str | None = None  # None for octets that are no text
        self.data_coding = self.esm_class = self.protocol_id = 0
        self.tlvs: dict[int, bytes] = {}
        self.place: Place | None = None  # of a part
        self.parts, self.missing = 1, 0
        self.reference: int | None = None
        self.received = 0.0  # Unix seconds
        self.digest = ""
        self.user_id = 0  # of the account it is for, where that is known without the rules


def read(f: tuple[Any, ...], body: bytes, alphabet: str, smsc: str, now: float) -> Mo:
    """The message in the fields of fast.decode_sm(); `body` is short_message or message_payload, `alphabet` what data_coding 0 means."""
    m = Mo()
    _, s_ton, s_npi, source, d_ton, d_npi, dest, esm_class, m.protocol_id, *_, m.data_coding, _, _, tlvs = f
    m.smsc, m.received = smsc, now
    m.source, m.source_ton, m.source_npi = _number(source, s_ton), s_ton, s_npi
    m.dest, m.dest_ton, m.dest_npi = _number(dest, d_ton), d_ton, d_npi
    m.tlvs = {t: v for t, v in tlvs.items() if t not in _NOT_KEPT} if tlvs else {}
    m.digest = _digest(m, esm_class, body)
    if esm_class & _UDHI:
        udh = body[: body[0] + 1] if body else b""
        esm_class &= ~_UDHI
        if len(udh) > 1 and headers.elements(udh) is not None:
            m.udh, body = udh, body[len(udh) :]
    m.esm_class = esm_class & ~0x03  # the mode is ours to choose (SMPP 3.4 section 5.2.12: not used towards an ESME)
    m.body = body
    if alphabet == alphabets.PACKED:
        m.body = canonical(body, m.data_coding, m.udh, alphabet).octets
    elif alphabet != alphabets.GSM7 and m.data_coding == 0:
        m.data_coding, _, m.body, _ = canonical(body, 0, b"", alphabet)
        m.udh = headers.without(m.udh, headers.SINGLE_SHIFT, headers.LOCKING_SHIFT)
    m.place = _place(m)
    set_text(m)
    return m


def set_text(m: Mo) -> None:
    """The text of the body, as the database can hold it; what cannot be decoded is replaced."""
    text = alphabets.decode_body(m.body, m.data_coding, udh=m.udh)
    m.text = None if text is None else text.encode("utf-8", "replace").decode().replace("\0", " ")


def _number(address: str, ton: int) -> str:
    """Numbers without the plus that some write in front of international ones."""
    return address[1:] if address[:1] == "+" and ton != 5 else address


def _place(m: Mo) -> Place | None:
    """Takes what says it out of header and TLVs: it is ours to say to the ESME."""
    found = headers.concatenation(m.udh) if m.udh else None
    if found is not None:
        wide = any(i == headers.CONCATENATION_16 and len(data) == 4 for i, data in headers.elements(m.udh) or ())
        m.udh = headers.without(m.udh, headers.CONCATENATION_8, headers.CONCATENATION_16)
        for tag in _SAR:  # both at once may not be (SMPP 3.4 section 5.3.2.22); the header is what the mobile said
            m.tlvs.pop(tag, None)
        place = Place(16 if wide else 8, *found)
    else:
        values = [m.tlvs.get(tag, b"") for tag in _SAR]
        if [len(v) for v in values] != [2, 1, 1] or not 1 <= values[2][0] <= values[1][0]:
            return None
        for tag in _SAR:
            del m.tlvs[tag]
        place = Place(0, int.from_bytes(values[0], "big"), values[1][0], values[2][0])
    m.reference = place.reference
    return place if place.total > 1 else None


def _digest(m: Mo, esm_class: int, body: bytes) -> str:
    """What an SMSC sends again is equal in all of this; the connector may be another one."""
    h = blake2b(digest_size=16)
    for piece in (m.source.encode(), m.dest.encode(), bytes((esm_class, m.data_coding)), body):
        h.update(len(piece).to_bytes(4, "big") + piece)
    for tag in sorted(m.tlvs):
        h.update(tag.to_bytes(2, "big") + m.tlvs[tag] + b"\xff")
    return h.hexdigest()


def message_type(esm_class: int) -> int:
    """0 an MO, 0x08, 0x10 and 0x18 acknowledgements of an SME, 0x20 an intermediate notification."""
    return esm_class & _TYPE


def row_of(m: Mo) -> dict[str, Any]:
    """What mo_receive() and mo_finish() take for it."""
    types = m.source_ton << 24 | m.source_npi << 16 | m.dest_ton << 8 | m.dest_npi
    row: dict[str, Any] = {
        "i": m.id, "h": m.digest, "q": m.smsc, "f": m.source, "t": m.dest, "b": m.body.hex(), "rv": m.received,
        "o": types - (1 << 32) if types >> 31 else types,
    }  # fmt: skip
    if m.text is not None:
        row["tx"] = m.text
    if m.udh:
        row["l"] = m.udh.hex()
    if m.data_coding:
        row["d"] = m.data_coding
    if m.esm_class:
        row["e"] = m.esm_class
    if m.protocol_id:
        row["pi"] = m.protocol_id
    if m.tlvs:
        row["tl"] = {str(tag): value.hex() for tag, value in m.tlvs.items()}
    if m.reference is not None:
        row["rf"] = m.reference
    if m.place is not None:
        row["k"], row["rf"], row["s"], row["n"] = m.place
    elif m.parts > 1:
        row["s"], row["ms"] = m.parts, m.missing
    if m.user_id:
        row["u"] = m.user_id
    return row
