"""query_sm, cancel_sm and replace_sm: decoded, asked of intake/operations.py, answered when that has an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.logger import Logger
from twisted.python.failure import Failure

from protei_bulk.channels.smpp.short_ids import as_stored
from protei_bulk.channels.smpp.submission import message_of, set_times
from protei_bulk.intake.operations import Cancel, Replace
from protei_bulk.model import lifecycle
from protei_bulk.model.message import Message
from protei_bulk.model.standing import Standing
from protei_bulk.smpp import commands, fast, statuses, tags, times
from protei_bulk.smpp.codec import Pdu, encode
from protei_bulk.smpp.errors import RejectPdu

if TYPE_CHECKING:
    from protei_bulk.channels.smpp.session import EsmeSession

log = Logger()
RESP = commands.RESP


def query_sm(s: EsmeSession, pdu: Pdu) -> None:
    """SMPP 3.4 section 4.8. Raises RejectPdu."""
    id, source = pdu.fields["message_id"], pdu.fields["source_addr"]
    if not id:
        raise RejectPdu(statuses.ESME_RINVMSGID, "no message_id")
    assert s.account is not None

    def answer(found: list[Standing]) -> None:
        mine = [m for m in found if not source or m.source == source]
        if not mine:
            _say(s, pdu, statuses.ESME_RINVMSGID)
            return
        shown = _least_advanced(mine)
        final = shown.status in lifecycle.FINAL
        fields = {
            "message_id": id, "final_date": times.absolute(shown.ended_at) if final else "", "message_state": shown.state(s.version),
            "error_code": shown.network_error if final else 0,
        }  # fmt: skip
        s.reply(encode(Pdu(commands.QUERY_SM | RESP, 0, pdu.sequence, fields)))

    def failed(f: Failure) -> None:
        log.warn("query_sm: {why}", why=f.getErrorMessage())
        _say(s, pdu, statuses.ESME_RQUERYFAIL)

    s.expect(1)
    s.factory.operations.query(s.account.user_id, as_stored(id)).addCallbacks(answer, failed).addErrback(_broken)


def _least_advanced(found: list[Standing]) -> Standing:
    """The messages of a submit_multi are as far as the last of them; of those that are done, the worst counts."""
    waiting = [m for m in found if m.status not in lifecycle.FINAL]
    if waiting:
        return waiting[0]
    return min(found, key=lambda m: (m.status == lifecycle.DELIVERED, -m.ended_at))


def cancel_sm(s: EsmeSession, pdu: Pdu) -> None:
    """SMPP 3.4 section 4.9: one message by its id, or all of a sender to a recipient that wait. Raises RejectPdu."""
    p = pdu.fields
    id, dest = p["message_id"], p["destination_addr"]
    if not id and not p["source_addr"]:
        raise RejectPdu(statuses.ESME_RINVSRCADR, "neither message_id nor source_addr")
    if not id and not dest:
        raise RejectPdu(statuses.ESME_RINVDSTADR, "neither message_id nor destination_addr")
    assert s.account is not None
    s.expect(1)
    wanted = Cancel(
        s.account.user_id, as_stored(id), p["source_addr"], dest[1:] if dest[:1] == "+" else dest, p["service_type"]
    )  # fmt: skip
    s.factory.operations.cancel(wanted).addCallback(lambda status: _say(s, pdu, status)).addErrback(_broken)


def replace_sm(s: EsmeSession, pdu: Pdu) -> None:
    """SMPP 3.4 section 4.10. Raises RejectPdu."""
    p = pdu.fields
    account = s.account
    assert account is not None
    if not p["message_id"]:
        raise RejectPdu(statuses.ESME_RINVMSGID, "no message_id")
    text = pdu.tlvs.get(tags.MESSAGE_PAYLOAD, b"") or p["short_message"]
    if p["sm_default_msg_id"] and not text:
        raise RejectPdu(statuses.ESME_RINVDFTMSGID, "there are no predefined messages")
    now = s.factory.reactor.seconds()
    set_times(Message(), p["schedule_delivery_time"], p["validity_period"], now)  # refused before anything is touched

    def rewrite(old: Message) -> Message:
        if not text:
            new = Message()
            new.text, new.body, new.binary, new.segments = old.text, old.body, old.binary, old.segments
        elif old.udh:
            raise RejectPdu(statuses.ESME_RREPLACEFAIL, "a part of a longer message")
        else:
            f = (
                "", 0, 0, old.source, 0, 0, old.dest, old.esm_class, 0, 0, "", "", 0, 0, old.data_coding, 0, b"",
                {tags.MESSAGE_PAYLOAD: text},
            )  # fmt: skip
            new = message_of(f, now, s.reading)
            if new.data_coding != old.data_coding or new.udh:
                raise RejectPdu(statuses.ESME_RREPLACEFAIL, "a text that needs another alphabet")
        set_times(new, p["schedule_delivery_time"], p["validity_period"], now)
        if not new.valid_until:
            new.valid_until = old.valid_until
        if new.valid_until and new.valid_until <= max(now, new.not_before):
            raise RejectPdu(statuses.ESME_RINVEXPIRY, "the validity period has passed")
        new.registered = p["registered_delivery"]
        return new

    s.expect(1)
    wanted = Replace(account, as_stored(p["message_id"]), p["source_addr"], rewrite)
    s.factory.operations.replace(wanted).addCallback(lambda status: _say(s, pdu, status)).addErrback(_broken)


def _say(s: EsmeSession, pdu: Pdu, status: int) -> None:
    """An answer without a body: all that cancel_sm_resp, replace_sm_resp and errors need."""
    s.reply(fast.header(pdu.command_id | RESP, statuses.known_to(s.version, status), pdu.sequence))


def _broken(f: Failure) -> None:
    log.failure("an operation", f)
