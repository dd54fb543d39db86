"""How much waits in the queue table, as figures: sampled, and never by counting millions."""

from __future__ import annotations

from collections.abc import Callable, Collection

from twisted.internet.defer import Deferred

from protei_bulk.store.messages import Runs

EVERY = 15.0  # seconds


class QueueDepths:
    """Of the SMSCs that `which()` names. Exact up to 20,000 messages; beyond that what the planner knows from the last ANALYZE."""

    def __init__(self, db: Runs, which: Callable[[], Collection[str]]) -> None:
        self._db, self._which = db, which
        self.depths: dict[str, float] = {}
        self.ages: dict[str, float] = {}  # seconds that the oldest which is due waits

    def sample(self) -> Deferred[None]:
        d = self._db.query("SELECT o_smsc, o_depth, o_age FROM queue_figures(%s::text[], 20000)", (sorted(self._which()),))

        def read(rows: list[tuple[str, float, float]]) -> None:
            self.depths = {smsc: depth for smsc, depth, _ in rows}
            self.ages = {smsc: age for smsc, _, age in rows}

        return d.addCallback(read)
