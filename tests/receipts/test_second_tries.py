"""A negative receipt of a message whose route tries the next SMSC then."""

from __future__ import annotations

from typing import Any

from protei_bulk.model.message import Message
from protei_bulk.receipts.outcomes import Part
from tests.connectors.base import NodeCase
from tests.connectors.fakes import message


class SecondTries(NodeCase):
    def setUp(self) -> None:
        super().setUp()
        self.outcomes = self.node.outcomes
        self.outcomes.second_tries = {"vip": ("a", "b")}
        self.woken: list[bool] = []
        self.outcomes.routed_again = lambda: self.woken.append(True)

    def taken(self, **values: Any) -> Message:
        m = message(1, route="vip", dlr_url="https://shop/dlr", **values)
        self.outcomes.sent(m, "x", 0)
        self.node.turn()
        return m

    def told(self) -> list[str]:
        return [f.stat for f in self.node.forwards.receipts]

    def test_the_sender_hears_nothing_and_the_next_is_tried(self) -> None:
        m = self.taken()
        self.assertTrue(self.outcomes.receipt(m, "UNDELIV", "005", None, 0))
        self.node.turn()
        self.assertEqual(self.node.store.again, [{"i": m.id, "q": "a", "w": "a:UNDELIV:005:x"}])
        self.assertEqual((self.told(), self.node.store.callbacks, self.woken), ([], [], [True]))
        self.assertEqual(self.node.store.status(m.id), "SENT")

    def test_the_last_one_is_told(self) -> None:
        m = self.taken(tried="a:UNDELIV:005", smsc="b")
        self.outcomes.receipt(m, "REJECTD", "007", None, 0)
        self.node.turn()
        self.assertEqual((self.told(), self.node.store.again, self.node.store.status(m.id)), (["REJECTD"], [], "REJECTED"))

    def test_the_same_receipt_once_more_and_that_of_another_attempt(self) -> None:
        m = self.taken(tried="a:UNDELIV:005:x")
        self.assertTrue(self.outcomes.receipt(m, "UNDELIV", "005", None, 0))
        self.node.turn()
        self.assertEqual((self.told(), self.node.store.again, self.node.store.status(m.id)), ([], [], "SENT"))
        m.smsc_message_id = "y"
        self.outcomes.receipt(m, "UNDELIV", "005", None, 0)
        self.node.turn()
        self.assertEqual((self.told(), self.node.store.again), (["UNDELIV"], []))

    def test_in_the_same_moment_as_its_being_taken(self) -> None:
        m = message(1, route="vip", queued=True)
        self.outcomes.sent(m, "x", 0)
        self.outcomes.receipt(m, "UNDELIV", "005", None, 0)
        self.node.turn()
        self.assertEqual([r["z"] for r in self.node.store.rows], ["SENT"])
        self.assertEqual((len(self.node.store.again), self.node.store.dequeued), (1, [m.id]))

    def test_other_states_and_other_rules_are_told(self) -> None:
        for stat, route in (("EXPIRED", "vip"), ("DELETED", "vip"), ("DELIVRD", "vip"), ("UNDELIV", "other"), ("UNDELIV", "")):
            self.setUp()
            m = self.taken()
            m.route = route
            self.outcomes.receipt(m, stat, "000", None, 0)
            self.node.turn()
            self.assertEqual((self.told(), self.node.store.again), ([stat], []))

    def test_a_state_that_is_final_already_stays(self) -> None:
        m = self.taken()
        self.outcomes.failed(m, "EXPIRED", "EXPIRED")
        self.outcomes.receipt(m, "UNDELIV", "005", None, 0)
        self.node.turn()
        self.assertEqual((self.told()[0], self.node.store.again), ("EXPIRED", []))

    def parts(self, *stats: str) -> Message:
        m = message(1, route="vip", body=b"x" * 200, segments=2)
        for n in (1, 2):
            self.outcomes.sent(m, str(n), n)
        for n, stat in enumerate(stats, 1):
            self.outcomes.receipt(Part(m, n, b"", b""), stat, "005", None, 0)
        self.node.turn()
        return m

    def test_parts_none_of_which_arrived(self) -> None:
        m = self.parts("UNDELIV", "UNDELIV")
        self.assertEqual((self.told(), [r["i"] for r in self.node.store.again]), ([], [m.id]))

    def test_what_arrived_in_part_is_not_sent_again(self) -> None:
        self.parts("DELIVRD", "UNDELIV")
        self.assertEqual((self.told(), self.node.store.again), (["UNDELIV"], []))

    def test_a_database_that_is_away_does_not_forget_it(self) -> None:
        m = self.taken()
        self.node.store.broken = True
        self.outcomes.receipt(m, "UNDELIV", "005", None, 0)
        self.node.turn()
        self.assertEqual(self.woken, [])
        self.node.store.broken = False
        self.node.turn(1.0)
        self.assertEqual((len(self.node.store.again), self.woken), (1, [True]))

    def test_what_is_heard_of_each_smsc(self) -> None:
        heard: list[tuple[str, bool]] = []
        self.outcomes.heard = lambda smsc, good: heard.append((smsc, good))
        for stat in ("ENROUTE", "UNDELIV", "DELIVRD", "EXPIRED"):
            self.outcomes.receipt(self.taken(), stat, "000", None, 0)
        self.assertEqual(heard, [("a", False), ("a", True), ("a", False)])
