from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.model.ids import IdMaker
from protei_bulk.observe.upkeep import Upkeep
from protei_bulk.settings import Retention


class Store:
    def __init__(self) -> None:
        self.marks: list[str] = []
        self.rolls = 0

    def heartbeat(self, low_water: str) -> Deferred[int]:
        self.marks.append(low_water)
        return succeed(1)

    def roll_up(self) -> Deferred[Any]:
        self.rolls += 1
        raise RuntimeError("at once")

    def partitions(self, messages_days: int, audit_days: int) -> Deferred[Any]:
        return succeed(None)

    def expire_outbox(self, days: int) -> Deferred[int]:
        return succeed(0)

    def rematch(self) -> Deferred[None]:
        return succeed(None)


class MarkTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.store = Clock(), Store()
        self.clock.advance(1_800_000_000)
        self.maker = IdMaker(self.clock.seconds, 3)
        self.upkeep = Upkeep(
            self.clock, self.store, self.store, self.store, Retention(messages_days=30, audit_days=90), self.maker, lambda: None
        )
        self.upkeep.start()
        self.addCleanup(self.upkeep.stop)

    def test_what_comes_after_idleness_is_younger_than_the_mark(self) -> None:
        self.maker.message()
        for _ in range(60):
            self.clock.advance(1)
        self.clock.advance(0.9)
        self.assertGreater(self.maker.message(), self.store.marks[-1])

    def test_a_job_that_raises_at_once_comes_again(self) -> None:
        for _ in range(3):
            self.clock.advance(1)
        self.assertEqual(3, self.store.rolls)
        self.flushLoggedErrors(RuntimeError)
