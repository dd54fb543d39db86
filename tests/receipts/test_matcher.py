from __future__ import annotations

from unittest import mock

from tests.connectors.base import NodeCase
from tests.connectors.fakes import message, receipt, took
from tests.receipts.test_outcomes import Acks


class Matching(NodeCase):
    def setUp(self) -> None:
        super().setUp()
        self.matcher = self.node.matcher
        self.matcher.serve("a", "text")
        self.link = Acks()

    def stats(self) -> list[str]:
        return [f.stat for f in self.node.forwards.receipts]

    def test_from_memory(self) -> None:
        self.matcher.sent("a", "x", message(1))
        self.matcher.receipt("a", "x", "DELIVRD", "000", self.link, 5)
        self.node.turn()
        self.assertEqual((self.stats(), self.link.sequences, self.node.store.named("find")), (["DELIVRD"], [5], []))

    def test_twice(self) -> None:
        m = message(1)
        self.matcher.sent("a", "x", m)
        self.node.store.hold = True
        self.matcher.receipt("a", "x", "DELIVRD", "000", self.link, 5)
        self.matcher.receipt("a", "x", "DELIVRD", "000", self.link, 6)
        self.node.store.known = [("a", "x", message(1), "DELIVERED", 0)]
        for _ in range(6):
            self.node.turn()
            self.node.store.release()
        self.assertEqual((self.stats(), sorted(self.link.sequences)), (["DELIVRD"], [5, 6]))

    def test_before_the_answer(self) -> None:
        self.matcher.receipt("a", "x", "DELIVRD", "000", self.link, 5)
        self.matcher.sent("a", "x", message(1))
        self.node.turn()
        self.node.turn()
        self.assertEqual((self.stats(), self.link.sequences), (["DELIVRD"], [5]))
        self.assertEqual(self.node.store.parked_rows, [])

    def test_parked_then_answered(self) -> None:
        self.matcher.receipt("a", "x", "DELIVRD", "000", self.link, 5)
        self.node.turn()
        self.node.turn()
        self.assertEqual(self.node.store.parked_rows, [("a", "x", "DELIVRD", "000")])
        self.assertEqual((self.link.sequences, self.stats()), ([5], []))
        self.matcher.sent("a", "x", message(1))
        self.node.turn()
        self.assertEqual((self.stats(), self.node.store.parked_rows), (["DELIVRD"], []))
        self.assertEqual(self.node.store.status(message(1).id), "DELIVERED")

    def test_parked_then_found(self) -> None:
        self.matcher.receipt("a", "x", "EXPIRED", "000", self.link, 5)
        for _ in range(3):
            self.node.turn()
        self.node.store.known = [("a", "x", message(1), "SENT", 0)]
        looked = self.matcher.rematch()
        self.assertNoResult(looked)
        for _ in range(3):
            self.node.turn()
        self.successResultOf(looked)
        self.assertEqual((self.stats(), self.node.store.parked_rows), (["EXPIRED"], []))

    @mock.patch("protei_bulk.receipts.parked._PAGE", 10)
    def test_all_that_is_parked_is_looked_at_in_time(self) -> None:
        self.node.store.parked_rows = [("a", f"x{n}", "DELIVRD", "000") for n in range(1, 91)]
        self.node.store.parked_rows += [("elsewhere", "x", "DELIVRD", "000")]
        seen: list[set[str]] = []
        for _ in range(3):
            self.node.store.calls.clear()
            looked = self.matcher.rematch()
            for _ in range(20):
                self.node.turn()
            self.successResultOf(looked)
            found = [id for asked in self.node.store.named("find") for smsc, id in asked if smsc == "a"]
            seen.append({id for id in found if id[1:].isdigit() and id[0] == "x"})
        self.assertEqual([len(s) for s in seen], [59, 40, 59])
        self.assertEqual(len(seen[0] | seen[1]), 90)
        self.assertIn("x90", seen[0] & seen[1] & seen[2])

    def test_what_is_early_is_remembered_for_a_while_and_the_oldest_go_first(self) -> None:
        self.matcher.serve("b", "text")
        with mock.patch("protei_bulk.receipts.parked.MOST", 2):
            for n in range(3):
                self.matcher.receipt("a", f"x{n}", "DELIVRD", "000", self.link, n)
                for _ in range(3):
                    self.node.turn(100.0)
        self.matcher.receipt("b", "y", "DELIVRD", "000", self.link, 9)
        for _ in range(3):
            self.node.turn()
        self.assertEqual({smsc: list(young) for smsc, young in self.matcher._early.items()}, {"a": ["x1", "x2"], "b": ["y"]})
        self.node.turn(350.0)
        self.matcher.rematch()
        self.assertEqual({smsc: list(young) for smsc, young in self.matcher._early.items()}, {"a": ["x2"], "b": ["y"]})
        self.node.turn(300.0)
        self.matcher.rematch()
        self.assertEqual(self.matcher._early, {})

    def test_one_that_is_parked_and_found_goes_in_the_commit_s_wake(self) -> None:
        self.node.store.parked_rows = [("a", "x", "DELIVRD", "000")]
        self.node.store.known = [("a", "x", message(1), "SENT", 0)]
        self.matcher.rematch()
        self.node.store.broken = True
        for _ in range(3):
            self.node.turn()
        self.node.turn(1.0)
        self.assertEqual(len(self.node.store.parked_rows), 1)
        self.node.store.broken = False
        for _ in range(5):
            self.node.turn(1.0)
        self.assertEqual((self.stats(), self.node.store.parked_rows), (["DELIVRD"], []))

    def test_a_park_that_fails_is_not_acknowledged(self) -> None:
        self.node.store.broken = True
        self.matcher.receipt("a", "x", "DELIVRD", "000", self.link, 5)
        for _ in range(3):
            self.node.turn(1.0)
        self.assertEqual(self.link.sequences, [])
        self.node.store.broken = False
        for _ in range(8):
            self.node.turn(1.0)
        self.assertEqual(self.link.sequences, [5])
        self.assertEqual(len(self.node.store.parked_rows), 1)

    def test_from_the_database(self) -> None:
        self.node.store.known = [("a", "x", message(1), "SENT", 0)]
        self.matcher.receipt("a", "x", "UNDELIV", "000", self.link, 5)
        for _ in range(3):
            self.node.turn()
        self.assertEqual((self.stats(), self.link.sequences), (["UNDELIV"], [5]))

    def test_final_already(self) -> None:
        self.node.store.known = [("a", "x", message(1), "DELIVERED", 0)]
        self.matcher.receipt("a", "x", "DELIVRD", "000", self.link, 5)
        for _ in range(3):
            self.node.turn()
        self.assertEqual((self.stats(), self.link.sequences), ([], [5]))

    def test_other_ways_to_write_an_id(self) -> None:
        self.node.store.known = [("a", "00ff", message(1), "SENT", 0), ("a", "1f", message(2), "SENT", 0)]
        self.matcher.receipt("a", "00FF", "DELIVRD", "000", self.link, 5)
        self.matcher.receipt("a", "31", "DELIVRD", "000", self.link, 6)
        for _ in range(3):
            self.node.turn()
        self.assertEqual(self.stats(), ["DELIVRD", "DELIVRD"])

    def test_parts_from_the_database_complete(self) -> None:
        self.node.store.known = [("a", f"x{n}", message(1, segments=2), "SENT", n) for n in (1, 2)]
        self.node.store.part_rows = [(1, "SENT", "x1", ""), (2, "SENT", "x2", "")]
        self.matcher.receipt("a", "x1", "DELIVRD", "000", self.link, 5)
        self.matcher.receipt("a", "x2", "DELIVRD", "000", self.link, 6)
        for _ in range(4):
            self.node.turn()
        self.assertEqual((self.stats(), sorted(self.link.sequences)), (["DELIVRD"], [5, 6]))

    def test_the_last_part_twice_at_once(self) -> None:
        self.node.store.known = [("a", "x2", message(1, segments=2), "SENT", 2)]
        self.node.store.part_rows = [(1, "DELIVERED", "x1", "000"), (2, "SENT", "x2", "")]
        for sequence in (5, 6):
            self.matcher.receipt("a", "x2", "DELIVRD", "000", self.link, sequence)
        for _ in range(4):
            self.node.turn()
        self.assertEqual((self.stats(), sorted(self.link.sequences)), (["DELIVRD"], [5, 6]))

    def test_memory_is_bounded(self) -> None:
        self.matcher._memory = 4
        self.matcher.serve("small", "text")
        for n in range(1, 20):
            self.matcher.sent("small", f"x{n}", message(n))
        recent = self.matcher._recent["small"]
        self.assertTrue(len(recent.young) + len(recent.old) <= 4)
        self.assertIsNotNone(recent.get("x19"))


class OverLinks(NodeCase):
    def test_on_a_sibling_link_and_before_the_answer(self) -> None:
        self.node.up(binds=2, window=1)
        one, two = self.node.endpoints["a"].wires
        self.node.fleet.dispatch([message(1)])
        (a,) = one.submits()
        two.say(receipt(3, "x"))
        self.node.turn()
        self.node.turn()
        one.say(took(a.sequence, "x"))
        self.node.turn()
        self.assertEqual([f.stat for f in self.node.forwards.receipts], ["DELIVRD"])
        self.assertEqual([p.sequence for p in two.pdus()], [3])
        self.assertEqual(one.pdus(), [])

    def test_hexadecimal_answers_and_decimal_receipts(self) -> None:
        for id, form, answer, later in (("a", "hex-to-decimal", "00FF", "255"), ("b", "decimal-to-hex", "255", "000000FF"),
                                        ("c", "hex", "00ff", "FF"), ("d", "decimal", "0255", "255")):  # fmt: skip
            _, wire = self.node.up(id, message_id=form)
            self.node.fleet.dispatch([message(1, smsc=id)])
            wire.say(took(wire.submits()[0].sequence, answer), receipt(3, later))
            self.node.turn()
        self.assertEqual(len(self.node.forwards.receipts), 4)
        self.assertEqual(self.node.store.named("find"), [])
