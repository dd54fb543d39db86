"""From the fields of a submit_sm to a Message. Pure."""

from __future__ import annotations

from typing import Any

from protei_bulk.model.message import Message
from protei_bulk.smpp import statuses, tags, times
from protei_bulk.smpp.errors import RejectPdu
from protei_bulk.text import alphabets, segments

_UDHI = 0x40
#: priority_flag (SMPP 3.4 section 5.2.14) -> lane: most ESMEs send 0 for everything
_LANES = (1, 2, 3, 3)


def message_of(f: tuple[Any, ...], now: float) -> Message:
    """The message that decode_sm()'s tuple holds. Raises RejectPdu."""
    (_, s_ton, s_npi, source, d_ton, d_npi, dest, esm_class, protocol_id, priority, schedule, validity, registered, _,
     data_coding, _, body, tlvs) = f  # fmt: skip
    m = Message()
    m.source_ton, m.source_npi, m.source = s_ton, s_npi, source
    m.dest_ton, m.dest_npi = d_ton, d_npi
    m.dest = dest[1:] if dest[:1] == "+" else dest
    m.protocol_id = protocol_id
    m.registered = registered
    m.data_coding = data_coding
    m.priority = _LANES[priority & 3]
    if tlvs:
        payload = tlvs.pop(tags.MESSAGE_PAYLOAD, None)
        if payload is not None:
            if body:
                raise RejectPdu(statuses.ESME_RINVMSGLEN, "both short_message and message_payload")
            body = payload
        m.tlvs = tlvs or None
    if esm_class & _UDHI:
        length = body[0] + 1 if body else 0
        if not 2 <= length <= len(body):
            raise RejectPdu(statuses.ESME_RINVESMCLASS, "no user data header where esm_class says so")
        m.udh, body = body[:length], body[length:]
        esm_class &= ~_UDHI
    m.esm_class = esm_class
    m.body = body
    if len(body) > 134:
        m.segments = segments.count_segments(body, data_coding, bool(m.udh))
        if m.udh and m.segments > 1:
            raise RejectPdu(statuses.ESME_RINVMSGLEN, "a segment with a header is too long")
        if m.segments > segments.MAX_SEGMENTS:
            raise RejectPdu(statuses.ESME_RINVMSGLEN, "more segments than a concatenation can count")
    if schedule or validity:
        _set_times(m, schedule, validity, now)
    _set_text(m, data_coding, body)
    return m


def _set_times(m: Message, schedule: str, validity: str, now: float) -> None:
    try:
        m.not_before = times.parse(schedule, now)
    except ValueError:
        raise RejectPdu(statuses.ESME_RINVSCHED, "schedule_delivery_time") from None
    try:
        m.valid_until = times.parse(validity, m.not_before or now)
    except ValueError:
        raise RejectPdu(statuses.ESME_RINVEXPIRY, "validity_period") from None


def _set_text(m: Message, data_coding: int, body: bytes) -> None:
    text = alphabets.decode_body(body, data_coding)
    if text is None:
        m.binary = True
        return
    m.text = text
    if data_coding == 0 and body.isascii() and b"\x1b" not in body:
        return  # every octet has its own character
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
