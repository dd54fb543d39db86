"""The deliver_sm by which an ESME is told a receipt. Pure."""

from __future__ import annotations

from struct import Struct

from protei_bulk.model.message import Message
from protei_bulk.receipts.outcomes import Forward
from protei_bulk.smpp import commands, fast, tags
from protei_bulk.text.receipt import STATES, format_receipt

_TLV = Struct(">HH")
#: message_state TLV (SMPP 3.4 section 5.2.28)
_STATE_TLV = {name: _TLV.pack(tags.MESSAGE_STATE, 1) + bytes((n,)) for n, name in enumerate(STATES)}
_RECEIPT, _INTERMEDIATE = 0x04, 0x20
_NOT_FINAL = ("ENROUTE", "ACCEPTD", "SCHEDULED")


def receipt_pdu(f: Forward, sequence: int, tlvs: bool) -> bytes:
    """The PDU of one receipt; `tlvs` where the peer speaks SMPP 3.4 or later."""
    m = f.message
    id = m.shown_id or m.id
    text = format_receipt(id, f.stat, f.err, m.created, f.done_at, first_words(m), 1, 1 if f.stat == "DELIVRD" else 0)
    options = b""
    if tlvs:
        options = _TLV.pack(tags.RECEIPTED_MESSAGE_ID, len(id) + 1) + id.encode() + b"\0" + _STATE_TLV.get(f.stat, b"")
    return fast.encode_sm(
        commands.DELIVER_SM, sequence, b"", m.dest_ton, m.dest_npi, m.dest, m.source_ton, m.source_npi, m.source,
        _INTERMEDIATE if f.stat in _NOT_FINAL else _RECEIPT, 0, 0, b"", b"", 0, 0, 0, 0, text, options,
    )  # fmt: skip


def first_words(m: Message) -> str:
    """The beginning of a text, as a receipt repeats it (SMPP 3.4 appendix B)."""
    return m.text[:20]
