"""Session states as one table: which request is allowed when (SMPP 3.4 section 2.3)."""

from __future__ import annotations

from protei_bulk.smpp import commands as c
from protei_bulk.smpp.statuses import ESME_RALYBND, ESME_RINVBNDSTS, ESME_RINVCMDID

OPEN, BOUND_TX, BOUND_RX, BOUND_TRX, UNBOUND, CLOSED = (
    "OPEN",
    "BOUND_TX",
    "BOUND_RX",
    "BOUND_TRX",
    "UNBOUND",
    "CLOSED",
)
SERVER, CLIENT = "SERVER", "CLIENT"  # which side receives the request

_ANY = frozenset({OPEN, BOUND_TX, BOUND_RX, BOUND_TRX, UNBOUND})
_BOUND = frozenset({BOUND_TX, BOUND_RX, BOUND_TRX})
_SENDS = frozenset({BOUND_TX, BOUND_TRX})
_RECEIVES = frozenset({BOUND_RX, BOUND_TRX})
_BINDS = frozenset({c.BIND_RECEIVER, c.BIND_TRANSMITTER, c.BIND_TRANSCEIVER})

#: role that receives -> command -> states in which it may come
ALLOWED: dict[str, dict[int, frozenset[str]]] = {
    SERVER: {
        **dict.fromkeys(_BINDS, frozenset({OPEN})),
        **dict.fromkeys(
            (
                c.SUBMIT_SM,
                c.SUBMIT_MULTI,
                c.QUERY_SM,
                c.CANCEL_SM,
                c.REPLACE_SM,
                c.BROADCAST_SM,
                c.QUERY_BROADCAST_SM,
                c.CANCEL_BROADCAST_SM,
                c.DATA_SM,
            ),
            _SENDS,
        ),
        c.UNBIND: _BOUND,
        c.ENQUIRE_LINK: _ANY,
        c.GENERIC_NACK: _ANY,
    },
    CLIENT: {
        c.OUTBIND: frozenset({OPEN}),
        c.DELIVER_SM: _RECEIVES,
        c.DATA_SM: _RECEIVES,
        c.ALERT_NOTIFICATION: _RECEIVES,
        c.UNBIND: _BOUND,
        c.ENQUIRE_LINK: _ANY,
        c.GENERIC_NACK: _ANY,
    },
}


def check(role: str, state: str, command_id: int) -> int:
    """0 where a request may come, else the status to answer with."""
    states = ALLOWED[role].get(command_id)
    if states is None:
        return ESME_RINVCMDID
    if state in states:
        return 0
    return ESME_RALYBND if command_id in _BINDS and state in _BOUND else ESME_RINVBNDSTS
