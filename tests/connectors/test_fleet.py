from __future__ import annotations

from tests.connectors.base import NodeCase
from tests.connectors.fakes import message


class Placing(NodeCase):
    def test_the_first_candidate_that_is_up(self) -> None:
        self.node.connector("a")
        self.node.up("b")
        m = message(1, smsc="", candidates=("a", "b"))
        self.node.fleet.place(m)
        self.assertEqual((m.smsc, m.queued), ("b", False))

    def test_none_up_waits_for_the_first(self) -> None:
        self.node.connector("a")
        self.node.connector("b")
        m = message(1, smsc="", candidates=("b", "a"))
        self.node.fleet.place(m)
        self.assertEqual((m.smsc, m.queued), ("b", True))

    def test_a_full_lane_sends_it_to_the_next_then_to_the_queue(self) -> None:
        a, _ = self.node.up("a", window=1, queue_memory=2)
        self.node.up("b", window=1, queue_memory=1)
        placed = []
        for n in range(1, 7):
            m = message(n, smsc="", candidates=("a", "b"))
            self.node.fleet.place(m)
            placed.append((m.smsc, m.queued))
            if not m.queued:
                self.node.fleet.dispatch([m])
        self.assertEqual(placed, [("a", False)] * 3 + [("b", False)] * 2 + [("a", True)])
        urgent = message(9, smsc="", candidates=("a", "b"), priority=3)
        self.node.fleet.place(urgent)
        self.assertEqual((urgent.smsc, urgent.queued), ("a", False))
        self.assertEqual(len(a.lane), 2)

    def test_behind_older_ones_in_the_queue(self) -> None:
        a, _ = self.node.up("a")
        a.backlogged = True
        m = message(1, smsc="", candidates=("a",))
        self.node.fleet.place(m)
        self.assertEqual((m.smsc, m.queued), ("a", True))

    def test_a_candidate_that_does_not_exist(self) -> None:
        self.node.up("a")
        m = message(1, smsc="", candidates=("gone", "a"))
        self.node.fleet.place(m)
        self.assertEqual((m.smsc, m.queued), ("a", False))

    def test_elsewhere(self) -> None:
        self.node.up("a")
        _, wire = self.node.up("b")
        m = message(1, candidates=("a", "b"))
        kept = [message(2, smsc="a", candidates=("a",)), message(3, smsc="z", candidates=("z",))]
        self.assertEqual(self.node.fleet.move([kept[0], m, kept[1]]), kept)
        self.assertEqual(len(wire.submits()), 1)
        self.assertEqual(m.smsc, "b")

    def test_a_bind_that_goes_during_the_commit(self) -> None:
        _, wire = self.node.up("a")
        m = message(1, smsc="", candidates=("a",))
        self.node.fleet.place(m)
        wire.loseConnection()
        self.node.endpoints["a"].wires.clear()
        self.node.fleet.dispatch([m])
        self.node.turn(5.0)
        self.assertEqual([r["i"] for r in self.node.store.queue], [m.id])

    def test_the_oldest(self) -> None:
        self.node.up("a", window=1)
        self.node.up("b", window=1)
        self.assertIsNone(self.node.fleet.oldest())
        self.node.fleet.dispatch([message(5), message(3, smsc="b"), message(4, smsc="b")])
        self.assertEqual(self.node.fleet.oldest(), message(3).id)

    def test_the_end(self) -> None:
        self.node.connector("never")
        _, wire = self.node.up("a")
        self.successResultOf(self.node.fleet.stop_sending())
        done = self.node.fleet.stop()
        self.successResultOf(done)
        self.assertTrue(wire.closed)
        self.assertTrue(self.node.wire("never").aborted)
        self.node.turn(120.0)
        self.assertEqual(len(self.node.endpoints["a"].wires), 1)
