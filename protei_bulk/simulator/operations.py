"""What the simulated SMSC answers to query_sm, cancel_sm, replace_sm, data_sm and submit_multi.

It remembers a message until its receipt is sent; what it does not remember, but has taken, it says to be delivered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from protei_bulk.smpp import commands, fast, statuses, tags, times
from protei_bulk.smpp.codec import Pdu, decode, encode
from protei_bulk.smpp.errors import CorruptStream, RejectPdu
from protei_bulk.text.receipt import STATES

if TYPE_CHECKING:
    from protei_bulk.simulator.smsc import Peer, Smsc

RESP = commands.RESP
OFFERED = frozenset({commands.QUERY_SM, commands.CANCEL_SM, commands.REPLACE_SM, commands.DATA_SM, commands.SUBMIT_MULTI})


def answer(smsc: Smsc, peer: Peer, frame: bytes, command: int, sequence: int) -> bytes:
    """The answer to one of OFFERED; `frame` is the whole PDU."""
    try:
        return _ANSWERS[command](smsc, peer, decode(frame))
    except (RejectPdu, CorruptStream) as error:
        return fast.header(command | RESP, getattr(error, "status", statuses.ESME_RSYSERR), sequence)


def _number(smsc: Smsc, id: str) -> int:
    """Raises RejectPdu for an id that was never given."""
    if not (id.isascii() and id.isdigit() and smsc.behaviour.first_id < int(id) <= smsc.behaviour.last_id):
        raise RejectPdu(statuses.ESME_RINVMSGID)
    return int(id)


def _query(smsc: Smsc, _: Peer, pdu: Pdu) -> bytes:
    number = _number(smsc, pdu.fields["message_id"])
    if number in smsc.cancelled:
        state, final = "DELETED", smsc.now()
    elif smsc.waiting(number) is not None:
        state, final = "ENROUTE", 0.0
    else:
        state, final = "DELIVRD", smsc.now()
    fields = {"message_id": str(number), "final_date": times.absolute(final), "message_state": STATES.index(state), "error_code": 0}
    return encode(Pdu(pdu.command_id | RESP, 0, pdu.sequence, fields))


def _cancel(smsc: Smsc, _: Peer, pdu: Pdu) -> bytes:
    done = smsc.cancel(_number(smsc, pdu.fields["message_id"]))
    return fast.header(pdu.command_id | RESP, 0 if done else statuses.ESME_RCANCELFAIL, pdu.sequence)


def _replace(smsc: Smsc, _: Peer, pdu: Pdu) -> bytes:
    number = _number(smsc, pdu.fields["message_id"])
    if smsc.waiting(number) is None:
        return fast.header(pdu.command_id | RESP, statuses.ESME_RREPLACEFAIL, pdu.sequence)
    smsc.write_down(f"R {number} {pdu.fields['short_message'].hex()}\n")
    return fast.header(pdu.command_id | RESP, 0, pdu.sequence)


def _submitted(p: dict[str, Any], destination: tuple[int, int, str], body: bytes, tlvs: dict[int, bytes]) -> tuple[Any, ...]:
    return (
        p["service_type"], p["source_addr_ton"], p["source_addr_npi"], p["source_addr"], *destination, p["esm_class"], 0, 0, "", "",
        p["registered_delivery"], 0, p["data_coding"], 0, body, tlvs or None,
    )  # fmt: skip


def _data(smsc: Smsc, peer: Peer, pdu: Pdu) -> bytes:
    p = pdu.fields
    body = pdu.tlvs.get(tags.MESSAGE_PAYLOAD, b"")
    number = smsc.take(peer, _submitted(p, (p["dest_addr_ton"], p["dest_addr_npi"], p["destination_addr"]), body, pdu.tlvs))
    return encode(Pdu(pdu.command_id | RESP, 0, pdu.sequence, {"message_id": str(number)}))


def _multi(smsc: Smsc, peer: Peer, pdu: Pdu) -> bytes:
    """Distribution lists are unknown. The id is that of the first destination."""
    p = pdu.fields
    failed, first = [], 0
    for d in p["destinations"]:
        if isinstance(d, str):
            failed.append((0, 0, d, statuses.ESME_RINVDLNAME))
        else:
            number = smsc.take(peer, _submitted(p, d, p["short_message"], pdu.tlvs))
            first = first or number
    if not first:
        return fast.header(pdu.command_id | RESP, statuses.ESME_RINVDLNAME, pdu.sequence)
    return encode(Pdu(pdu.command_id | RESP, 0, pdu.sequence, {"message_id": str(first), "unsuccess_smes": failed}))


_ANSWERS = {
    commands.QUERY_SM: _query, commands.CANCEL_SM: _cancel, commands.REPLACE_SM: _replace, commands.DATA_SM: _data,
    commands.SUBMIT_MULTI: _multi,
}  # fmt: skip
