"""Keeps messages of campaigns that are paused or cancelled from going out: they wait in the queue table, due never.

What waits in a lane when its campaign stops is put away at once; what comes out of the queue table later, or is stored
at that moment, is put away instead of entering a lane. What an SMSC may have, it has: that stays where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from protei_bulk.model.message import Message
from protei_bulk.pacing.lanes import Lane


class Holds(Protocol):
    """A connector."""

    @property
    def lane(self) -> Lane: ...

    def hold(self, messages: list[Message]) -> None: ...


class Holding:
    """One for all connectors; `stopped` is empty as a rule, and then it costs a look."""

    def __init__(self, connectors: Callable[[], Iterable[Holds]]) -> None:
        self._connectors = connectors
        self.stopped: frozenset[int] = frozenset()

    def stop(self, campaigns: frozenset[int]) -> None:
        """Those that are stopped now: all of them, each time."""
        new = campaigns - self.stopped
        self.stopped = campaigns
        if not new:
            return
        for c in self._connectors():
            ids = {m.id for m in c.lane if m.campaign_id in new and _may_wait(m)}
            if ids:
                c.hold(c.lane.withdraw(ids))

    def stops(self, m: Message) -> bool:
        return m.campaign_id in self.stopped and _may_wait(m)

    def sift(self, messages: list[Message], hold: Callable[[list[Message]], None]) -> list[Message]:
        """Those that may go; the others are given to `hold`."""
        stopped = self.stopped
        held = [m for m in messages if m.campaign_id in stopped and _may_wait(m)]
        if not held:
            return messages
        hold(held)
        gone = {id(m) for m in held}
        return [m for m in messages if id(m) not in gone]


def _may_wait(m: Message) -> bool:
    return not m.in_doubt and not m.joined and m.long is None
