"""What bounds the memory that one SMSC can make us use: one that does not read, or that sends faster than the database records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from protei_bulk.pacing.flow import WINDOW, WRITE, Flow

_MOST_OWED = 20_000  # deliver_sm and data_sm of one bind that wait for their answer
_MOST_LATE = 1 << 20  # octets written after the transport had enough of them, until the bind is not read any more
_FORGIVEN_AFTER = 60.0  # seconds: some may have been dropped on purpose, and will never be answered


class Pressure:
    """Of one bind. `drained` is called when octets can be written again."""

    def __init__(self, now: Callable[[], float], drained: Callable[[], None]) -> None:
        self._now = now
        self.flow = Flow(now, drained, patient=True)
        self._late = 0
        self._owed = 0
        self._held_at = 0.0

    @property
    def free(self) -> bool:
        """Whether the SMSC reads, and is read: only then are more submit_sm written."""
        return not self.flow.choked and not self.flow.reasons

    def wrote(self, octets: int) -> None:
        """Answers and the like are written all the same."""
        self._late = self._late + octets if self.flow.choked else 0
        if self._late > _MOST_LATE:
            self.flow.hold(WRITE)

    def owes(self, requests: int) -> None:
        """So many requests came that will be answered later."""
        self._owed += requests
        if self._owed > _MOST_OWED and not self.flow.reasons & WINDOW:
            self._held_at = self._now()
            self.flow.hold(WINDOW)

    def paid(self, requests: int) -> None:
        """So many were answered."""
        self._owed = max(0, self._owed - requests)
        if self.flow.reasons and self._owed <= _MOST_OWED // 2:
            self.flow.release(WINDOW)

    def lose(self, transport: Any) -> None:
        """Closes a connection once everything is written."""
        self.flow.detach()
        transport.loseConnection()

    def dead(self, now: float, seconds: float) -> bool:
        """Once a second: whether what is written has not been taken for so long."""
        if self.flow.reasons & WINDOW and now - self._held_at > _FORGIVEN_AFTER:
            self._owed = 0
            self.flow.release(WINDOW)
        return self.flow.overdue(now, seconds)
