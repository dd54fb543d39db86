"""The life of a message as one table: which state may follow which.

A receipt's state (SMPP 3.4 section 5.2.28, appendix B) maps to ours as the
specification's section 5 has it. A final state never changes again.
"""

from __future__ import annotations

PENDING, QUEUED, SENT = "PENDING", "QUEUED", "SENT"
DELIVERED, FAILED, REJECTED, EXPIRED = "DELIVERED", "FAILED", "REJECTED", "EXPIRED"
DELETED, UNKNOWN, SCHEDULED, SKIPPED = "DELETED", "UNKNOWN", "SCHEDULED", "SKIPPED"

FINAL = frozenset({DELIVERED, FAILED, REJECTED, EXPIRED, DELETED, UNKNOWN, SKIPPED})
_OPEN = frozenset({PENDING, QUEUED, SENT, SCHEDULED})

#: state -> the states it may be entered from; advance_messages() holds to it, and a test compares them
ALLOWED_FROM: dict[str, frozenset[str]] = {
    PENDING: frozenset(),
    SCHEDULED: frozenset({PENDING}),
    QUEUED: frozenset({PENDING, SCHEDULED}),
    SENT: frozenset({PENDING, QUEUED, SCHEDULED, SENT}),  # sent again, or an intermediate receipt
    **dict.fromkeys(FINAL, _OPEN),
}

#: receipt text state (after normalising) -> message status
FROM_RECEIPT: dict[str, str] = {
    "DELIVRD": DELIVERED, "ACCEPTD": SENT, "ENROUTE": SENT, "SCHEDULED": SENT,
    "UNDELIV": FAILED, "REJECTD": REJECTED, "REJECTED": REJECTED, "EXPIRED": EXPIRED,
    "DELETED": DELETED, "UNKNOWN": UNKNOWN, "SKIPPED": SKIPPED,
}  # fmt: skip

#: message status -> receipt text state, for receipts that we make ourselves
TO_RECEIPT: dict[str, str] = {
    DELIVERED: "DELIVRD", FAILED: "UNDELIV", REJECTED: "REJECTD", EXPIRED: "EXPIRED",
    DELETED: "DELETED", UNKNOWN: "UNKNOWN", SKIPPED: "SKIPPED", SENT: "ENROUTE",
}  # fmt: skip


def may_follow(old: str, new: str) -> bool:
    """Whether a message in state `old` may become `new`."""
    return old in ALLOWED_FROM[new]
