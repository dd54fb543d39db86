"""The deliver_sm by which an ESME is told a receipt. Pure."""

from __future__ import annotations

from struct import Struct
from typing import Any

from protei_bulk.model.message import Message
from protei_bulk.receipts.outcomes import Forward
from protei_bulk.smpp import fast, tags
from protei_bulk.text.receipt import STATES, format_receipt

_TLV = Struct(">HH")
#: message_state TLV (SMPP 3.4 section 5.2.28, 5.0 section 4.7.15)
_STATE_TLV = {name: _TLV.pack(tags.MESSAGE_STATE, 1) + bytes((n,)) for n, name in enumerate(STATES)}
_LENGTHS = tuple(n.to_bytes(2, "big") for n in range(1, 270))  # of ids with their NUL
_RECEIPT, _INTERMEDIATE = 0x04, 0x20
_NOT_FINAL = ("ENROUTE", "ACCEPTD", "SCHEDULED")
#: states that came with 5.0, as those before it say them
_BEFORE_5_0 = {"SCHEDULED": "ENROUTE", "SKIPPED": "UNKNOWN"}
#: the gateway's own errors -> `err`, which many read as a number: command_status values that say it best
_OWN_ERRORS = {"EXPIRED": "000", "TOO_LONG": "001", "NOTSTORED": "008", "NOANSWER": "254"}
_NONE = frozenset({"", "0", "00", "000", "0000"})
#: network types of network_error_code: 3.4 knows three networks (section 5.3.2.31), 5.0 these too (section 4.8.4.42)
_GSM, _SMPP, _CENTRE = 3, 7, 8
#: of the submit_sm -> of its receipt: what names the sender names the recipient
_ECHOED = (
    (tags.USER_MESSAGE_REFERENCE, tags.USER_MESSAGE_REFERENCE), (tags.SOURCE_SUBADDRESS, tags.DEST_SUBADDRESS),
    (tags.DEST_SUBADDRESS, tags.SOURCE_SUBADDRESS), (tags.SOURCE_PORT, tags.DESTINATION_PORT), (tags.DESTINATION_PORT, tags.SOURCE_PORT),
)  # fmt: skip


def receipt_pdu(f: Forward, sequence: int, version: int) -> bytes:
    """The PDU of one receipt, for a peer of this interface_version: below 3.4 there are no TLVs."""
    m, stat, err, more = f.message, f.stat, f.err, f.payload
    if version < 0x50:
        stat = _BEFORE_5_0.get(stat, stat)
    err = _OWN_ERRORS.get(err, err)
    id = m.shown_id or m.id
    sub, dlvrd, text, submitted = 1, 1 if stat == "DELIVRD" else 0, m.text, m.created
    if more is not None:
        sub, dlvrd = more.get("n", 1), more.get("k", dlvrd)
        text, submitted = more.get("x", text), more.get("s", submitted)
    options = b""
    if version >= 0x34:
        octets = id.encode()
        options = b"\0\x1e%b%b\0%b" % (_LENGTHS[len(octets)], octets, _STATE_TLV.get(stat, b""))
        if err not in _NONE or more is not None or m.tlvs is not None:
            options += fast.encode_tlvs(_options(m, err, more, version))
    return fast.encode_receipt(
        sequence, m.service_type.encode("latin-1", "replace") if m.service_type else b"",
        m.dest_ton, m.dest_npi, m.dest, m.source_ton, m.source_npi, m.source, _INTERMEDIATE if stat in _NOT_FINAL else _RECEIPT,
        format_receipt(id, stat, err, submitted, f.done_at, text, sub, dlvrd), options,
    )  # fmt: skip


def _options(m: Message, err: str, more: dict[str, Any] | None, version: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    if err not in _NONE and err.isascii() and err.isdigit() and 0 < int(err) < 0x10000:
        own = more is not None and "c" in more
        if version >= 0x50:
            found[tags.NETWORK_ERROR_CODE] = bytes((_SMPP if own else _CENTRE,)) + int(err).to_bytes(2, "big")
        elif not own:
            found[tags.NETWORK_ERROR_CODE] = bytes((_GSM,)) + int(err).to_bytes(2, "big")
    if m.tlvs is not None:
        found.update((theirs, m.tlvs[ours]) for ours, theirs in _ECHOED if ours in m.tlvs)
    if more is not None and "t" in more:
        found.update((int(tag), bytes.fromhex(value)) for tag, value in more["t"].items())
    return found
