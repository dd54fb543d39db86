"""Hand-tuned encoding and decoding of the PDUs of the hot path; equal to codec.py, by test."""

from __future__ import annotations

from struct import Struct

from protei_bulk.smpp.errors import RejectPdu
from protei_bulk.smpp.statuses import (
    ESME_RINVDSTADR,
    ESME_RINVEXPIRY,
    ESME_RINVMSGLEN,
    ESME_RINVOPTPARSTREAM,
    ESME_RINVSCHED,
    ESME_RINVSERTYP,
    ESME_RINVSRCADR,
)

_HEADER = Struct(">IIII")
_pack = _HEADER.pack
_TLV = Struct(">HH")
_SUBMIT_RESP, _DELIVER_RESP = 0x80000004, 0x80000005
#: most octets of an address in submit_sm and deliver_sm, without its NUL (SMPP 3.4 section 4.4.1)
_ADDRESS = 20

#: esm_class to sm_default_msg_id by their octets, where both times are empty: few combinations make up all traffic
_known_settings: dict[bytes, tuple[int, int, int, str, str, int, int, int, int]] = {}
_MOST_SETTINGS = 1000

Fields = tuple[
    str,
    int,
    int,
    str,
    int,
    int,
    str,
    int,
    int,
    int,
    str,
    str,
    int,
    int,
    int,
    int,
    bytes,
    "dict[int, bytes] | None",
]


def header(command_id: int, status: int, sequence: int) -> bytes:
    """A PDU without a body."""
    return _pack(16, command_id, status, sequence)


def frame(command_id: int, status: int, sequence: int, body: bytes) -> bytes:
    """A PDU from its body."""
    return _pack(16 + len(body), command_id, status, sequence) + body


def submit_resp(sequence: int, message_id: str) -> bytes:
    octets = message_id.encode()
    return _pack(17 + len(octets), _SUBMIT_RESP, 0, sequence) + octets + b"\0"


def deliver_resp(sequence: int) -> bytes:
    """Its message_id is unused and set to NULL (SMPP 3.4 section 4.6.2)."""
    return _pack(17, _DELIVER_RESP, 0, sequence) + b"\0"


def response_id(buf: bytes, start: int, end: int) -> str:
    """message_id of a submit_sm_resp, at most 64 characters; "" where there is no body."""
    stop = buf.find(0, start, end)
    return buf[start : end if stop < 0 else stop][:64].decode("latin-1")


def congestion(buf: bytes, start: int, end: int) -> int:
    """congestion_state (SMPP 5.0 section 4.8.4.18) of a submit_sm_resp; 0 where it says none."""
    return _octet(buf, start, end, 0x0428)


def version_of(buf: bytes, start: int, end: int) -> int:
    """sc_interface_version of a bind response; 0 where it names none, as many SMSCs of 3.4 do."""
    return _octet(buf, start, end, 0x0210)


def _octet(buf: bytes, start: int, end: int, wanted: int) -> int:
    """The optional parameter of one octet that follows a response's C-octet string; 0 where there is none."""
    at = buf.find(0, start, end) + 1
    while at and at + 4 < end:
        tag, length = _TLV.unpack_from(buf, at)
        if tag == wanted and length == 1:
            return buf[at + 4]
        at += 4 + length
    return 0


def decode_tlvs(buf: bytes, start: int, end: int) -> dict[int, bytes]:
    """Optional parameters by tag; of one that comes twice, the last. Raises RejectPdu."""
    found: dict[int, bytes] = {}
    unpack = _TLV.unpack_from
    while start < end:
        if end - start < 4:
            raise RejectPdu(ESME_RINVOPTPARSTREAM, "an optional parameter is cut off")
        tag, length = unpack(buf, start)
        start += 4
        if length > end - start:
            raise RejectPdu(ESME_RINVOPTPARSTREAM, f"optional parameter 0x{tag:04x} goes beyond the PDU")
        found[tag] = buf[start : start + length]
        start += length
    return found


def encode_tlvs(tlvs: dict[int, bytes]) -> bytes:
    return b"".join([_TLV.pack(tag, len(value)) + value for tag, value in tlvs.items()])


def _text(buf: bytes, start: int, stop: int, most: int, status: int) -> str:
    if stop - start > most:
        raise RejectPdu(status, f"a field is longer than {most} octets")
    return buf[start:stop].decode("latin-1")


def decode_sm(buf: bytes, start: int, end: int) -> Fields:
    """The fields of a submit_sm or deliver_sm in their order, then its optional parameters or None.

    Raises RejectPdu.
    """
    index = buf.index
    status = ESME_RINVSERTYP
    try:
        p = start if start < end and not buf[start] else index(0, start, end)
        service_type = _text(buf, start, p, 5, status) if p > start else ""
        s_ton, s_npi = buf[p + 1], buf[p + 2]
        start = p + 3
        status = ESME_RINVSRCADR
        p = index(0, start, end)
        if p - start > _ADDRESS:
            raise RejectPdu(ESME_RINVSRCADR, "source_addr is too long")
        source = buf[start:p].decode("latin-1")
        d_ton, d_npi = buf[p + 1], buf[p + 2]
        start = p + 3
        status = ESME_RINVDSTADR
        p = index(0, start, end)
        if p - start > _ADDRESS:
            raise RejectPdu(ESME_RINVDSTADR, "destination_addr is too long")
        dest = buf[start:p].decode("latin-1")
        octets = buf[p + 1 : p + 10]
        settings = _known_settings.get(octets)
        if settings is not None and p + 10 < end:
            start = p + 11
        else:
            esm_class, protocol_id, priority = buf[p + 1], buf[p + 2], buf[p + 3]
            start = p + 4
            status = ESME_RINVSCHED
            p = index(0, start, end)
            schedule = _text(buf, start, p, 16, status) if p > start else ""
            start = p + 1
            status = ESME_RINVEXPIRY
            p = index(0, start, end)
            validity = _text(buf, start, p, 16, status) if p > start else ""
            if p + 6 > end:
                raise RejectPdu(ESME_RINVMSGLEN, "the PDU is cut off")
            settings = (esm_class, protocol_id, priority, schedule, validity, *buf[p + 1 : p + 5])
            start = p + 6
            if not (schedule or validity):
                if len(_known_settings) >= _MOST_SETTINGS:
                    _known_settings.clear()
                _known_settings[octets] = settings
    except (ValueError, IndexError):
        raise RejectPdu(status, "a field has no end") from None
    stop = start + buf[start - 1]
    if stop > end:
        raise RejectPdu(ESME_RINVMSGLEN, "sm_length goes beyond the PDU")
    tlvs = decode_tlvs(buf, stop, end) if stop < end else None
    return (service_type, s_ton, s_npi, source, d_ton, d_npi, dest, *settings, buf[start:stop], tlvs)


def decode_receipt(buf: bytes, start: int, end: int) -> tuple[int, bytes, dict[int, bytes] | None] | None:
    """esm_class, short_message and optional parameters of a deliver_sm that is an usual one and no plain message.

    None of any other, and of one at fault: decode_sm() tells what it is. Raises RejectPdu for bad optional parameters.
    """
    index = buf.index
    try:
        p = start if start < end and not buf[start] else index(0, start, end)
        source = index(0, p + 3, end)
        dest = index(0, source + 3, end)
    except ValueError:
        return None
    settings = _known_settings.get(buf[dest + 1 : dest + 10])
    if settings is None or not settings[0] & 0x3C or dest + 10 >= end:
        return None
    if p - start > 5 or source - p > _ADDRESS + 3 or dest - source > _ADDRESS + 3:
        return None
    stop = dest + 11 + buf[dest + 10]
    if stop > end:
        return None
    return settings[0], buf[dest + 11 : stop], decode_tlvs(buf, stop, end) if stop < end else None


def encode_sm(
    command_id: int, sequence: int, service_type: bytes, s_ton: int, s_npi: int, source: str,
    d_ton: int, d_npi: int, dest: str, esm_class: int, protocol_id: int, priority: int, schedule: bytes,
    validity: bytes, registered: int, replace: int, data_coding: int, default: int, short_message: bytes,
    tlvs: bytes = b"",
) -> bytes:  # fmt: skip
    """A whole submit_sm or deliver_sm. A short_message of more than 254 octets goes as message_payload."""
    length = len(short_message)
    if length > 254:
        tlvs = _TLV.pack(0x0424, length) + short_message + tlvs
        short_message, length = b"", 0
    body = b"%b\0%c%c%b\0%c%c%b\0%c%c%c%b\0%b\0%c%c%c%c%c%b%b" % (
        service_type, s_ton, s_npi, source.encode("latin-1", "replace"),
        d_ton, d_npi, dest.encode("latin-1", "replace"), esm_class, protocol_id, priority, schedule, validity,
        registered, replace, data_coding, default, length, short_message, tlvs,
    )  # fmt: skip
    return _pack(16 + len(body), command_id, 0, sequence) + body


def encode_receipt(
    sequence: int, service_type: bytes, s_ton: int, s_npi: int, source: str, d_ton: int, d_npi: int, dest: str,
    esm_class: int, short_message: bytes, tlvs: bytes,
) -> bytes:  # fmt: skip
    """A deliver_sm as encode_sm() makes it where nothing else is said. At most 254 octets of short_message."""
    body = b"%b\0%c%c%b\0%c%c%b\0%c\0\0\0\0\0\0\0\0%c%b%b" % (
        service_type, s_ton, s_npi, source.encode("latin-1", "replace"), d_ton, d_npi, dest.encode("latin-1", "replace"), esm_class,
        len(short_message), short_message, tlvs,
    )  # fmt: skip
    return _pack(16 + len(body), 5, 0, sequence) + body
