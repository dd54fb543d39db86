"""What an ESME asks besides submit_sm: each command with its handler."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from protei_bulk.channels.smpp import multi, operations
from protei_bulk.channels.smpp.bind import KINDS
from protei_bulk.smpp import commands, fast, statuses
from protei_bulk.smpp import session as states
from protei_bulk.smpp.codec import Pdu, decode
from protei_bulk.smpp.errors import RejectPdu

if TYPE_CHECKING:
    from protei_bulk.channels.smpp.session import EsmeSession

#: each may raise RejectPdu
_HANDLERS: dict[int, Callable[[EsmeSession, Pdu], None]] = {
    commands.SUBMIT_MULTI: multi.submit_multi,
    commands.DATA_SM: multi.data_sm,
    commands.QUERY_SM: operations.query_sm,
    commands.CANCEL_SM: operations.cancel_sm,
    commands.REPLACE_SM: operations.replace_sm,
}
#: of SMPP 5.0; older peers cannot mean them. Nobody here may broadcast.
_BROADCASTS = frozenset({commands.BROADCAST_SM, commands.QUERY_BROADCAST_SM, commands.CANCEL_BROADCAST_SM})


def serve(s: EsmeSession, command: int, status: int, sequence: int, buf: bytes, start: int, end: int) -> None:
    """Answers one PDU that is neither a submit_sm of a bound ESME nor a deliver_sm_resp."""
    if command == commands.ENQUIRE_LINK:
        s.out.append(fast.header(commands.ENQUIRE_LINK | commands.RESP, 0, sequence))
        return
    if command == commands.GENERIC_NACK:
        nacked = s.deliveries.pop(sequence)  # else it would come again with every bind
        if nacked is not None:
            s.delivered.append((nacked, status))
        return
    if command & commands.RESP:
        return  # answers to our enquire_link and unbind, or to what we never asked
    if s.state == states.UNBOUND and command != commands.UNBIND:
        return  # we have said good-bye: without an answer an ESME keeps its message, an error might end it
    wrong = states.check(states.SERVER, s.state, command)
    if wrong == statuses.ESME_RINVCMDID or (command in _BROADCASTS and s.version < 0x50):
        s.out.append(fast.header(commands.GENERIC_NACK, statuses.ESME_RINVCMDID, sequence))
    elif wrong or (s.binding.checking and command != commands.UNBIND):
        s.out.append(fast.header(command | commands.RESP, wrong or statuses.ESME_RINVBNDSTS, sequence))
        if s.state == states.OPEN and not s.binding.checking:
            s.flush()
            s.end()
    elif command in KINDS:
        s.binding.begin(command, sequence, fast.header(command, status, sequence) + buf[start:end])
    elif command == commands.UNBIND:
        s.out.append(fast.header(commands.UNBIND | commands.RESP, 0, sequence))
        s.flush()
        s.leave()
        s.lose_when_answered()
    elif command in _BROADCASTS:
        s.out.append(fast.header(command | commands.RESP, statuses.ESME_RPROHIBITED, sequence))
    else:
        try:
            _HANDLERS[command](s, decode(fast.frame(command, status, sequence, buf[start:end])))
        except RejectPdu as error:
            s.out.append(fast.header(command | commands.RESP, statuses.known_to(s.version, error.status), sequence))
