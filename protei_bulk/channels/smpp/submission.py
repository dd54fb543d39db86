"""From the fields of a submit_sm to a Message. Pure."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from protei_bulk.model.account import Account
from protei_bulk.model.long import part_of
from protei_bulk.model.message import Message
from protei_bulk.smpp import statuses, tags, times
from protei_bulk.smpp.errors import RejectPdu
from protei_bulk.text import alphabets, gsm, headers, segments, shifts
from protei_bulk.text.canonical import UCS2_CODING, canonical
from protei_bulk.text.smart import smart

_UDHI = 0x40
#: priority_flag (SMPP 3.4 section 5.2.14) -> lane: most ESMEs send 0 for everything
_LANES = (1, 2, 3, 3)
_LATE, _FAR = 60.0, 366 * 86_400.0  # seconds around now in which a schedule may lie
#: octets of a header that the SMSC makes of sar_* parameters
_SAR_HEADER = 6
_SAR_TAGS = (tags.SAR_MSG_REF_NUM, tags.SAR_TOTAL_SEGMENTS, tags.SAR_SEGMENT_SEQNUM)


@frozen
class Reading:
    """How an account's texts are read."""

    alphabet: str = alphabets.GSM7  # what its data_coding 0 means
    smart: bool = False  # UCS-2 texts that can be said in GSM 03.38 are
    special: bool = field(init=False)

    @special.default
    def _special(self) -> bool:
        return self.alphabet != alphabets.GSM7 or self.smart


AS_IT_IS = Reading()


def reading_of(account: Account) -> Reading:
    reading = Reading(account.smpp_alphabet, account.smart_encoding)
    return reading if reading.special else AS_IT_IS


def message_of(f: tuple[Any, ...], now: float, reading: Reading = AS_IT_IS) -> Message:
    """The message that decode_sm()'s tuple holds. Raises RejectPdu."""
    (service_type, s_ton, s_npi, source, d_ton, d_npi, dest, esm_class, protocol_id, priority, schedule, validity, registered, replace,
     data_coding, predefined, body, tlvs) = f  # fmt: skip
    m = Message()
    m.service_type = service_type
    m.source_ton, m.source_npi, m.source = s_ton, s_npi, source
    m.dest_ton, m.dest_npi = d_ton, d_npi
    m.dest = dest[1:] if dest[:1] == "+" else dest
    m.protocol_id = protocol_id
    m.registered = registered
    m.data_coding = data_coding
    m.priority = _LANES[priority & 3]
    if tlvs:
        payload = tlvs.pop(tags.MESSAGE_PAYLOAD, None)
        if payload:
            if body:
                raise RejectPdu(statuses.ESME_ROPTPARNOTALLWD, "both short_message and message_payload")
            body = payload
        m.tlvs = tlvs or None
        m.long = part_of(b"", m.tlvs)
    if predefined and not body:
        raise RejectPdu(statuses.ESME_RINVDFTMSGID, "there are no predefined messages")
    m.esm_class = esm_class
    told = False
    if reading.special or esm_class & _UDHI:
        told, body, data_coding = _read(m, body, data_coding, reading)
    m.body = body
    if len(body) > (134 if data_coding else 153) and not m.udh:
        if len(f[16]) > 254:
            raise RejectPdu(statuses.ESME_RINVMSGLEN, "short_message holds 254 octets")
        _measure(m, data_coding, body)
    if schedule or validity:
        set_times(m, schedule, validity, now)
    if replace & 1 and m.long is None:  # parts would replace each other
        m.replaces = True
    if not told:
        _set_text(m, data_coding, body)
    return m


def _read(m: Message, body: bytes, data_coding: int, reading: Reading) -> tuple[bool, bytes, int]:
    """(whether m.text is set, body, data_coding) in the gateway's own alphabets, without the header, which m.udh has."""
    if m.esm_class & _UDHI:
        length = body[0] + 1 if body else 0
        if not 2 <= length <= len(body):
            raise RejectPdu(statuses.ESME_RINVESMCLASS, "no user data header where esm_class says so")
        m.udh, body = body[:length], body[length:]
        m.esm_class &= ~_UDHI
    text = None
    if reading.special:
        try:
            data_coding, m.udh, body, text = canonical(body, data_coding, m.udh, reading.alphabet)
        except segments.TooLong as error:
            raise RejectPdu(statuses.ESME_RINVMSGLEN, str(error)) from None
        if reading.smart and data_coding < 0x20 and alphabets.alphabet(data_coding) == alphabets.UCS2 and not (m.udh or _is_sar(m)):
            better = smart(body.decode("utf-16-be", "replace"))
            if not better.foreign:
                # Of the same message class, in the GSM alphabet (23.038 section 4).
                data_coding = 0 if data_coding == UCS2_CODING else data_coding & ~0x0C
                body, text = alphabets.encode_body(better.text, 0), better.text
        m.data_coding = data_coding
    udh = m.udh
    if udh:
        septets = not data_coding or alphabets.alphabet(data_coding) == alphabets.GSM7
        if len(body) > ((1120 - 8 * len(udh)) // 7 if septets else 140 - len(udh)):
            raise RejectPdu(statuses.ESME_RINVMSGLEN, "a part is too long for one short message")
        if headers.concatenation(udh) is not None:
            m.long = part_of(udh, None)
            if m.tlvs is not None:
                # Both at once are not allowed (SMPP 3.4 section 5.2.12): the header is what phones see.
                m.tlvs = {tag: value for tag, value in m.tlvs.items() if tag not in _SAR_TAGS} or None
        shift = shifts.shift_of(udh) if septets else None
        if shift is not None:
            # Its octets are stored beside the text, which says them otherwise without the shift.
            m.text, m.binary = shifts.table(shift).decode(body), True
            return True, body, data_coding
    if text is None or "\0" in text:
        return False, body, data_coding
    m.text = text
    return True, body, data_coding


def _is_sar(m: Message) -> bool:
    """Whether the ESME made parts of a long message by sar_* parameters (SMPP 3.4 sections 5.3.2.22 to 24)."""
    if m.tlvs is None:
        return False
    total = m.tlvs.get(tags.SAR_TOTAL_SEGMENTS)
    return total is not None and total > b"\1"


def _measure(m: Message, data_coding: int, body: bytes) -> None:
    """Counts the segments of a body that may be more than one. Raises RejectPdu where no header could count them."""
    if _is_sar(m):
        if len(body) > segments.room(data_coding, _SAR_HEADER):
            raise RejectPdu(statuses.ESME_RINVMSGLEN, "a part is too long for one short message")
        return
    m.segments = segments.count_segments(body, data_coding)
    if m.segments > segments.MAX_SEGMENTS:
        raise RejectPdu(statuses.ESME_RINVMSGLEN, f"{m.segments} segments are more than {segments.MAX_SEGMENTS}")


def set_times(m: Message, schedule: str, validity: str, now: float) -> None:
    """schedule_delivery_time and validity_period, as SMPP writes them, or empty. Raises RejectPdu.

    A schedule may lie a minute in the past, as clocks differ: that means now.
    """
    try:
        m.not_before = times.parse(schedule, now)
    except ValueError:
        raise RejectPdu(statuses.ESME_RINVSCHED, "schedule_delivery_time") from None
    if m.not_before and not now - _LATE <= m.not_before <= now + _FAR:
        raise RejectPdu(statuses.ESME_RINVSCHED, "schedule_delivery_time is in the past, or more than a year away")
    if m.not_before <= now:
        m.not_before = 0.0
    try:
        m.valid_until = times.parse(validity, m.not_before or now)
    except ValueError:
        raise RejectPdu(statuses.ESME_RINVEXPIRY, "validity_period") from None


def _set_text(m: Message, data_coding: int, body: bytes) -> None:
    if data_coding == 0:
        if not body.translate(None, gsm.SAME_AS_ASCII):
            m.text = body.decode("ascii")
            return
        m.text = text = gsm.decode(body)
        if body.isascii() and b"\x1b" not in body:
            return  # every octet has its own character
    else:
        known = alphabets.decode_body(body, data_coding)
        if known is None:
            m.binary = True
            return
        m.text = text = known
    try:
        text.encode("utf-8")
        same = "\0" not in text and alphabets.encode_body(text, data_coding) == body
    except UnicodeError:
        m.text = text.encode("utf-8", "replace").decode()
        same = False
    except ValueError:
        same = False
    if not same:
        m.text = m.text.replace("\0", " ")
        m.binary = True
