"""The deliver_sm by which an ESME is told a message from a mobile, in as many parts as it takes. Pure."""

from __future__ import annotations

from typing import Any
from zlib import crc32

from protei_bulk.model.message import Message
from protei_bulk.receipts.batch import Forward
from protei_bulk.smpp import commands, fast, tags
from protei_bulk.text import segments
from protei_bulk.text.forms import UDH, Form, Style, forms

_UDHI = 0x40
_ADDRESS = 20  # octets of an address in a deliver_sm; data_sm has room for more (SMPP 3.4 sections 4.6.1 and 4.7.1)


class Whole:
    """One row of the outbox: done when every part is answered."""

    __slots__ = ("left", "status")

    def __init__(self, left: int) -> None:
        self.left = left
        self.status = 0  # the error, of the last part that was refused


class Part:
    """One deliver_sm of it; numbers count from 1."""

    __slots__ = ("form", "number", "whole")

    def __init__(self, form: Form, number: int, whole: Whole) -> None:
        self.form, self.number, self.whole = form, number, whole


def forwards_of(outbox_id: int, user_id: int, message_id: str, row: dict[str, Any], created: float, style: Style) -> list[Forward]:
    """What goes out for a row of the outbox; `row` is what mo_payload() in the schema makes.

    The reference of the parts is the mobile's own, so that two long messages of one mobile keep apart; the same each time it is sent.
    """
    m = Message()
    m.id, m.user_id, m.source, m.dest, types = message_id, user_id, row["f"], row["t"], row.get("o", 0)
    m.source_ton, m.source_npi, m.dest_ton, m.dest_npi = types >> 24 & 255, types >> 16 & 255, types >> 8 & 255, types & 255
    m.esm_class, m.protocol_id = row.get("e", 0), row.get("pi", 0)
    m.tlvs = {int(tag): bytes.fromhex(value) for tag, value in row.get("tl", {}).items()} or None
    made = _forms(bytes.fromhex(row.get("b", "")), bytes.fromhex(row.get("l", "")), row.get("d", 0), row.get("rf"), message_id, style)
    whole = Whole(len(made))
    found = []
    for number, form in enumerate(made, 1):
        f = Forward(m, "", "", created)
        f.outbox_id, f.mo = outbox_id, Part(form, number, whole)
        found.append(f)
    return found


def _forms(body: bytes, udh: bytes, data_coding: int, reference: int | None, message_id: str, style: Style) -> list[Form]:
    if reference is None:
        reference = crc32(message_id.encode()) & 0xFF
    wide = reference > 0xFF
    style = Style(style.alphabet, (), wide, style.long)
    try:
        if not udh or len(body) <= segments.room(data_coding, len(udh)):
            return forms(style, data_coding, udh, body, None, reference)
        split = segments.split_body(body, data_coding, reference, wide=wide, elements=udh[1:])
        parts = Style(style.alphabet, (), wide, UDH)
        return [form for u, o in zip(split.udhs, split.parts, strict=True) for form in forms(parts, data_coding, u, o, None, reference)]
    except segments.TooLong:
        return [Form(data_coding, udh, body, None, True)]


def mo_pdu(f: Forward, sequence: int, tlvs: bool) -> bytes:
    """The PDU of one part; `tlvs` where the peer speaks SMPP 3.4 or later."""
    m, form = f.message, f.mo.form
    body = form.udh + form.octets
    options = b""
    if tlvs:
        if form.sar is not None:
            options = segments.sar_tlvs(*form.sar)
        if m.tlvs:
            options += fast.encode_tlvs(m.tlvs)
        if form.payload:
            options, body = fast.encode_tlvs({tags.MESSAGE_PAYLOAD: body}) + options, b""
    esm_class = m.esm_class | _UDHI if form.udh else m.esm_class
    return fast.encode_sm(
        commands.DELIVER_SM, sequence, b"", m.source_ton, m.source_npi, m.source[:_ADDRESS], m.dest_ton, m.dest_npi, m.dest[:_ADDRESS],
        esm_class, m.protocol_id, 0, b"", b"", 0, 0, form.data_coding, 0, body, options,
    )  # fmt: skip
