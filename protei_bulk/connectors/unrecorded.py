"""What an SMSC has taken and the database does not know yet, of one connector.

Where a node dies, another one sends its messages that are not recorded as sent: it does not have the dead node's sent
journal. So that those are no more than the windows hold, answered messages keep their places until their commit, as
long as there are other nodes. Alone, a node has its journal, and this counts nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol


class Journal(Protocol):
    """Counts of entries, since the start."""

    written: int
    recorded: int


class Bind(Protocol):
    @property
    def outstanding(self) -> int: ...


class Unrecorded:
    """`counts` is whether there are other nodes."""

    __slots__ = ("_count", "_journal", "_turns", "counts")

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._turns: deque[tuple[int, int]] = deque()  # entries of the journal up to a turn, and those of the turn
        self._count = 0
        self.counts = False

    def add(self, entries: int) -> None:
        """So many were answered in this turn, and are in the journal."""
        if self.counts:
            self._turns.append((self._journal.written, entries))
            self._count += entries

    def room(self, binds: Sequence[Bind], window: int) -> int:
        """How many more may go out."""
        turns, recorded = self._turns, self._journal.recorded
        while turns and turns[0][0] <= recorded:
            self._count -= turns.popleft()[1]
        return max(0, window * len(binds) - self._count - sum(bind.outstanding for bind in binds))
