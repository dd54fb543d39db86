from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.pacing.rereading import RETRY, Rereading


class RereadingTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.asked: list[tuple[set[str], Deferred[None]]] = []
        self.rereading: Rereading[str] = Rereading("tables", self.read, self.clock)

    async def read(self, wanted: set[str]) -> None:
        d: Deferred[None] = Deferred()
        self.asked.append((wanted, d))
        await d

    def wanted(self) -> list[set[str]]:
        return [wanted for wanted, _ in self.asked]

    def test_what_changes_meanwhile_is_read_after_it(self) -> None:
        self.rereading.changed({"a"})
        self.rereading.changed({"b"})
        self.rereading.changed({"c"})
        self.assertEqual(self.wanted(), [{"a"}])
        self.asked[0][1].callback(None)
        self.assertEqual(self.wanted(), [{"a"}, {"b", "c"}])
        self.asked[1][1].callback(None)
        self.assertEqual(len(self.asked), 2)

    def test_what_fails_is_tried_again_with_what_came_since(self) -> None:
        self.rereading.changed({"a"})
        self.asked[0][1].errback(OSError("away"))
        self.assertEqual(len(self.asked), 1)
        self.clock.advance(RETRY)
        self.assertEqual(self.wanted(), [{"a"}, {"a"}])
        self.rereading.changed({"b"})
        self.asked[1][1].errback(OSError("away"))
        self.clock.advance(RETRY)
        self.assertEqual(self.wanted()[2], {"a", "b"})

    def test_nothing_after_the_end(self) -> None:
        self.rereading.changed({"a"})
        self.asked[0][1].errback(OSError("away"))
        self.rereading.close()
        self.rereading.changed({"b"})
        self.clock.advance(10 * RETRY)
        self.assertEqual(len(self.asked), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
