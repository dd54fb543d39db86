"""submit_multi and data_sm: messages that come by another PDU than submit_sm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protei_bulk.channels.smpp.submission import message_of
from protei_bulk.model.message import Message
from protei_bulk.smpp import commands, fast, statuses, tags
from protei_bulk.smpp.codec import Pdu, encode
from protei_bulk.smpp.errors import RejectPdu

if TYPE_CHECKING:
    from protei_bulk.channels.smpp.session import EsmeSession

_MOST = 254  # destinations (SMPP 3.4 section 4.5.1)
_ADDRESS = 20
_MULTI_RESP, _DATA_RESP = commands.SUBMIT_MULTI | commands.RESP, commands.DATA_SM | commands.RESP
Unsuccess = tuple[int, int, str, int]


def submit_multi(s: EsmeSession, pdu: Pdu) -> None:
    """Each destination becomes a message of its own; they share the id of the answer. Raises RejectPdu.

    Distribution lists are not kept here: one among addresses is an unsuccess_sme with its name for an address.
    """
    p = pdu.fields
    destinations = p["destinations"]
    if not 1 <= len(destinations) <= _MOST:
        raise RejectPdu(statuses.ESME_RINVNUMDESTS, f"{len(destinations)} destinations")
    failed: list[Unsuccess] = [(0, 0, d, statuses.ESME_RINVDLNAME) for d in destinations if isinstance(d, str)]
    if len(failed) == len(destinations):
        raise RejectPdu(statuses.ESME_RINVDLNAME, "distribution lists only")
    now = s.factory.reactor.seconds()
    messages = []
    for d in destinations:
        if not isinstance(d, str):
            f = (
                p["service_type"], p["source_addr_ton"], p["source_addr_npi"], p["source_addr"], *d, p["esm_class"], p["protocol_id"],
                p["priority_flag"], p["schedule_delivery_time"], p["validity_period"], p["registered_delivery"],
                p["replace_if_present_flag"], p["data_coding"], p["sm_default_msg_id"], p["short_message"], dict(pdu.tlvs) or None,
            )  # fmt: skip
            messages.append(message_of(f, now, s.reading))
    s.throttle(sum(m.segments for m in messages), now)
    shown = s.own_id() or s.factory.shared_id()
    answer = _Multi(s, pdu.sequence, shown, failed, len(messages))
    for m in messages:
        m.shown_id = shown
        m.origin = answer
        s.hand_in(m)


class _Multi:
    """Answers a submit_multi once all its messages are stored or refused."""

    def __init__(self, session: EsmeSession, sequence: int, shown: str, failed: list[Unsuccess], count: int) -> None:
        self._session, self._sequence, self._shown, self._failed = session, sequence, shown, failed
        self._all = self._left = count
        self._stored = 0

    def answered(self, messages: list[Message]) -> None:
        for m in messages:
            if m.refusal is None:
                self._stored += 1
            else:
                status = statuses.known_to(self._session.version, m.refusal.smpp_status)
                self._failed.append((m.dest_ton, m.dest_npi, m.dest, status))
        self._left -= len(messages)
        if not self._left:
            self._answer()

    def _answer(self) -> None:
        s = self._session
        s.received += self._stored
        status = 0
        if not self._stored:
            why = {f[3] for f in self._failed}
            status = why.pop() if len(why) == 1 else statuses.ESME_RSUBMITFAIL
        fields = {"message_id": self._shown if self._stored else "", "unsuccess_smes": self._failed}
        s.reply(encode(Pdu(_MULTI_RESP, status, self._sequence, fields)), self._all)


def data_sm(s: EsmeSession, pdu: Pdu) -> None:
    """As a submit_sm whose text is in message_payload (SMPP 3.4 section 4.7.1). Raises RejectPdu."""
    p = pdu.fields
    if len(p["source_addr"]) > _ADDRESS:
        raise RejectPdu(statuses.ESME_RINVSRCADR, "source_addr is too long")
    tlvs = dict(pdu.tlvs)
    lives = tlvs.pop(tags.QOS_TIME_TO_LIVE, None)
    f: tuple[Any, ...] = (
        p["service_type"], p["source_addr_ton"], p["source_addr_npi"], p["source_addr"], p["dest_addr_ton"], p["dest_addr_npi"],
        p["destination_addr"], p["esm_class"], 0, 0, "", "", p["registered_delivery"], 0, p["data_coding"], 0, b"", tlvs or None,
    )  # fmt: skip
    now = s.factory.reactor.seconds()
    m = message_of(f, now, s.reading)
    if lives is not None and len(lives) == 4:
        m.valid_until = now + int.from_bytes(lives, "big")
    s.throttle(m.segments, now)
    m.origin = _Data(s, pdu.sequence)
    m.shown_id = s.own_id()
    s.hand_in(m)


class _Data:
    """Answers a data_sm."""

    def __init__(self, session: EsmeSession, sequence: int) -> None:
        self._session, self._sequence = session, sequence

    def answered(self, messages: list[Message]) -> None:
        s = self._session
        [m] = messages
        if m.refusal is None:
            s.received += 1
            id = (m.shown_id or m.id).encode() + b"\0"
            s.reply(fast.frame(_DATA_RESP, 0, self._sequence, id + s.congestion()))
            return
        why = b""
        if s.tlvs:
            why = fast.encode_tlvs({tags.ADDITIONAL_STATUS_INFO_TEXT: m.refusal.text.encode("ascii", "replace")[:255] + b"\0"})
        status = statuses.known_to(s.version, m.refusal.smpp_status)
        s.reply(fast.frame(_DATA_RESP, status, self._sequence, b"\0" + why))
