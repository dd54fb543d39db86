"""Where a stored message stands: what query_sm tells, and what cancel_sm and replace_sm must know."""

from __future__ import annotations

from attrs import frozen

from protei_bulk.model import ids, lifecycle

#: message_state (SMPP 3.4 section 5.2.28, 5.0 section 4.7.15)
_STATES = {
    lifecycle.SCHEDULED: 0, lifecycle.PENDING: 1, lifecycle.QUEUED: 1, lifecycle.SENT: 1, lifecycle.DELIVERED: 2, lifecycle.EXPIRED: 3,
    lifecycle.DELETED: 4, lifecycle.FAILED: 5, lifecycle.UNKNOWN: 7, lifecycle.REJECTED: 8, lifecycle.SKIPPED: 9,
}  # fmt: skip
_WAITS = frozenset({lifecycle.PENDING, lifecycle.QUEUED, lifecycle.SCHEDULED})
IN_TABLE = -1


@frozen
class Standing:
    """One message as the database knows it. Times in Unix seconds, 0 for none."""

    id: str
    status: str
    dlr_status: str
    error_code: str
    ended_at: float
    smsc: str
    smsc_message_id: str
    segments: int
    source: str
    dest: str
    addr_types: int  # source TON, source NPI, dest TON, dest NPI: an octet each
    service_type: str
    queued: bool  # has a row in the queue table
    claimed_by: int | None
    in_doubt: bool
    held: bool  # for a person
    due_at: float
    route: str = ""  # the rule that chose its way
    sent: bool = False  # an SMSC has had it, though it may wait again

    @property
    def waits(self) -> bool:
        """It has not gone out, as far as the database knows, and nothing says that it might have."""
        return self.status in _WAITS and not self.in_doubt and not self.held and not self.sent

    @property
    def holder(self) -> int:
        """The node in whose memory it is; IN_TABLE where in none."""
        if not self.queued:
            return ids.node_of(self.id)
        return IN_TABLE if self.claimed_by is None else self.claimed_by

    def state(self, version: int) -> int:
        """message_state for a peer of this interface_version: 3.4 knows neither SCHEDULED nor SKIPPED."""
        if self.status == lifecycle.SENT and self.dlr_status == "ACCEPTD":
            return 6
        state = _STATES.get(self.status, 7)
        if version < 0x50:
            return {0: 1, 9: 7}.get(state, state)
        return state

    @property
    def network_error(self) -> int:
        """error_code of a query_sm_resp: one octet, 0 where the SMSC gave none that fits."""
        code = self.error_code
        return int(code) if code.isascii() and code.isdigit() and int(code) < 256 else 0
