"""What may become of a campaign, as one table. Pure.

The database keeps to it too: every change is an UPDATE that names the states it may come from.
"""

from __future__ import annotations

from attrs import frozen

from protei_bulk.model.permissions import Permission

DRAFT, PENDING_APPROVAL, APPROVED, RUNNING, PAUSED, COMPLETED, CANCELLED = (
    "DRAFT", "PENDING_APPROVAL", "APPROVED", "RUNNING", "PAUSED", "COMPLETED", "CANCELLED",
)  # fmt: skip
STATES = (DRAFT, PENDING_APPROVAL, APPROVED, RUNNING, PAUSED, COMPLETED, CANCELLED)
FINAL = frozenset({COMPLETED, CANCELLED})


@frozen
class Transition:
    """`by_another`: not by whoever made the campaign. `permission` None: only the engine does it."""

    name: str
    sources: tuple[str, ...]
    target: str
    permission: Permission | None = Permission.SEND
    by_another: bool = False


TRANSITIONS = {
    t.name: t
    for t in (
        Transition("submit", (DRAFT,), PENDING_APPROVAL),  # where the customer asks for approval
        Transition("release", (DRAFT,), APPROVED),  # where it does not
        Transition("approve", (PENDING_APPROVAL,), APPROVED, Permission.APPROVE, by_another=True),
        Transition("reject", (PENDING_APPROVAL,), DRAFT, Permission.APPROVE, by_another=True),
        Transition("withdraw", (PENDING_APPROVAL, APPROVED), DRAFT, Permission.CAMPAIGNS),
        Transition("start", (APPROVED,), RUNNING, None),  # its time has come
        Transition("pause", (RUNNING,), PAUSED, Permission.CAMPAIGNS),
        Transition("resume", (PAUSED,), RUNNING, Permission.CAMPAIGNS),
        Transition("cancel", (DRAFT, PENDING_APPROVAL, APPROVED, RUNNING, PAUSED), CANCELLED, Permission.CAMPAIGNS),
        Transition("complete", (RUNNING, PAUSED), COMPLETED, None),
    )
}


class NotPossible(Exception):
    """The campaign is in a state from which this does not lead, or the person may not do it; the text says which."""


def check(name: str, state: str, *, mine: bool = True) -> Transition:
    """The transition of a name from a state; `mine`: whoever asks made the campaign. Raises NotPossible."""
    transition = TRANSITIONS[name]
    if state not in transition.sources:
        raise NotPossible(f"a campaign that is {state} cannot {name}")
    if transition.by_another and mine:
        raise NotPossible(f"somebody else must {name} a campaign")
    return transition


def possible(state: str, *, mine: bool = True) -> list[str]:
    """What people can do with a campaign now."""
    return [t.name for t in TRANSITIONS.values() if t.permission is not None and state in t.sources and not (t.by_another and mine)]
