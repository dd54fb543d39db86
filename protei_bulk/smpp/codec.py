"""Decodes and encodes any PDU by its layout. The hot path has its own, in fast.py."""

from __future__ import annotations

from struct import Struct
from typing import Any

from attrs import define, field

from protei_bulk.smpp import commands
from protei_bulk.smpp.errors import CorruptStream, RejectPdu
from protei_bulk.smpp.fast import decode_tlvs, encode_tlvs
from protei_bulk.smpp.pdus import LAYOUTS
from protei_bulk.smpp.statuses import ESME_RINVCMDID, ESME_RINVCMDLEN

_HEADER = Struct(">IIII")


@define
class Pdu:
    """A protocol data unit: fields by the names of the specification, optional parameters by tag."""

    command_id: int
    status: int = 0
    sequence: int = 0
    fields: dict[str, Any] = field(factory=dict)
    tlvs: dict[int, bytes] = field(factory=dict)

    @property
    def name(self) -> str:
        return commands.name(self.command_id)


def decode(frame: bytes) -> Pdu:
    """One whole PDU. Raises RejectPdu where its body is wrong, CorruptStream where its length is.

    A response may come without its body, with or without an error status.
    """
    if len(frame) < 16:
        raise CorruptStream("shorter than a header")
    length, command_id, status, sequence = _HEADER.unpack_from(frame)
    if length != len(frame):
        raise CorruptStream(f"command_length {length}, but {len(frame)} octets")
    layout = LAYOUTS.get(command_id)
    if layout is None:
        raise RejectPdu(ESME_RINVCMDID, f"command {command_id:#x}")
    pdu = Pdu(command_id, status, sequence)
    at, end = 16, length
    if at == end and command_id & commands.RESP:
        return pdu
    for spec in layout:
        pdu.fields[spec.name], at = spec.read(frame, at, end)
    if at < end:
        if not layout and not command_id & commands.RESP:
            raise RejectPdu(ESME_RINVCMDLEN, "octets after a PDU without a body")
        pdu.tlvs = decode_tlvs(frame, at, end)
    return pdu


def encode(pdu: Pdu) -> bytes:
    """The octets of a PDU; fields that are left out take their default.

    Raises ValueError for what does not fit.
    """
    layout = LAYOUTS.get(pdu.command_id)
    if layout is None:
        raise ValueError(f"no layout for {pdu.name}")
    body = b"".join([spec.write(pdu.fields.get(spec.name, spec.default)) for spec in layout])
    body += encode_tlvs(pdu.tlvs)
    return _HEADER.pack(16 + len(body), pdu.command_id, pdu.status, pdu.sequence) + body
