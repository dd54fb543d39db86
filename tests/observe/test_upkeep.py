from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.model import ids
from protei_bulk.observe.upkeep import Upkeep
from protei_bulk.settings import Retention


class Store:
    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.held: Deferred[Any] | None = None
        self.broken = False

    def _did(self, *call: Any) -> Deferred[Any]:
        self.calls.append(call)
        if self.broken:
            return fail(OSError("gone"))
        return succeed(None) if self.held is None else self.held

    def heartbeat(self, low_water: str) -> Deferred[int]:
        return self._did("heartbeat", low_water)

    def roll_up(self) -> Deferred[Any]:
        return self._did("roll_up")

    def partitions(self, messages_days: int, audit_days: int) -> Deferred[Any]:
        return self._did("partitions", messages_days, audit_days)

    def expire_outbox(self, days: int) -> Deferred[int]:
        return self._did("expire_outbox", days)

    def rematch(self) -> Deferred[None]:
        return self._did("rematch")

    def count(self, name: str) -> int:
        return sum(c[0] == name for c in self.calls)


class UpkeepTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.store = Clock(), Store()
        self.clock.advance(1_800_000_000)
        self.oldest: str | None = None
        maker = ids.IdMaker(self.clock.seconds)
        retention = Retention(messages_days=30, audit_days=90)
        self.upkeep = Upkeep(self.clock, self.store, self.store, self.store, retention, maker, lambda: self.oldest)
        self.upkeep.start()

    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(1)

    def test_how_often(self) -> None:
        self.assertEqual([], self.store.calls)
        self.wait(3600)
        names = ("heartbeat", "roll_up", "rematch", "partitions", "expire_outbox")
        self.assertEqual([3600, 3600, 120, 6, 1], [self.store.count(n) for n in names])
        self.assertIn(("partitions", 30, 90), self.store.calls)
        self.assertIn(("expire_outbox", 30), self.store.calls)

    def test_the_mark_is_the_oldest_that_waits(self) -> None:
        self.oldest = ids.first_at(1_799_999_000_000)
        self.wait(1)
        self.assertIn(("heartbeat", self.oldest), self.store.calls)

    def test_the_mark_of_an_idle_node_is_a_second_ago(self) -> None:
        self.wait(1)
        self.assertIn(("heartbeat", ids.first_at(1_800_000_000_000)), self.store.calls)

    def test_a_slow_database_has_one_of_a_kind_to_do(self) -> None:
        self.store.held = Deferred()
        self.wait(10)
        self.assertEqual((1, 1), (self.store.count("heartbeat"), self.store.count("roll_up")))
        held, self.store.held = self.store.held, None
        held.callback(None)
        self.wait(1)
        self.assertEqual(2, self.store.count("heartbeat"))

    def test_failures_are_survived(self) -> None:
        self.store.broken = True
        self.wait(3)
        self.store.broken = False
        self.wait(3)
        self.assertEqual(6, self.store.count("roll_up"))

    def test_the_end_writes_once_more_and_is_the_end(self) -> None:
        self.successResultOf(self.upkeep.stop())
        self.assertEqual(["heartbeat", "roll_up"], [c[0] for c in self.store.calls])
        self.wait(100)
        self.assertEqual(2, len(self.store.calls))
