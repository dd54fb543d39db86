from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.receipts.ids import FORMS, variants
from protei_bulk.receipts.matcher import DirectReceipt
from tests.connectors.fakes import Node, message


class HostileIdsTest(SynchronousTestCase):
    def test_a_superscript_is_no_number(self) -> None:
        self.assertNotIn("\u00b2", variants("\u00b2"))

    def test_no_form_is_longer_than_the_column(self) -> None:
        for form, pair in FORMS.items():
            for read in pair:
                for text in ("f" * 64, "9" * 64):
                    self.assertLessEqual(len(read(text)), 64, form)


class DirectReceiptTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.node = Node(Path(self.mktemp()))
        self.addCleanup(self.node.journal.close)
        self.node.connector("a", start=False)

    def receive(self, id: str) -> DirectReceipt:
        direct = DirectReceipt()
        self.node.matcher.receipt("a", id, "DELIVRD", "000", direct, 0)
        return direct

    def test_it_is_answered_after_the_commit(self) -> None:
        self.node.matcher.sent("a", "x1", message(1))
        self.node.turn()
        self.node.store.hold = True
        direct = self.receive("x1")
        self.node.turn()
        self.assertNoResult(direct.committed)
        self.node.store.release()
        self.assertTrue(self.successResultOf(direct.committed))

    def test_one_that_nobody_knows_is_parked_first(self) -> None:
        direct = self.receive("later")
        self.node.turn()
        self.node.turn()
        self.assertEqual([("a", "later", "DELIVRD", "000")], self.node.store.parked_rows)
        self.assertTrue(self.successResultOf(direct.committed))


class StuckTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.node = Node(Path(self.mktemp()))
        self.addCleanup(self.node.journal.close)

    def test_a_store_that_raises_at_once_is_asked_again(self) -> None:
        node, good = self.node, self.node.store.advance
        node.connector("a", start=False)

        def bad(*_: object) -> None:
            raise TypeError("not serialisable")

        node.store.advance = bad  # type: ignore[method-assign,assignment]
        node.matcher.sent("a", "x1", message(1))
        node.turn()
        node.store.advance = good  # type: ignore[method-assign]
        node.turn(1.0)
        self.assertEqual("SENT", node.store.status(message(1).id))

    def test_what_fails_for_good_waits_until_that_is_committed(self) -> None:
        self.node.store.hold = True
        self.node.outcomes.failed(message(1), "REJECTED", "011")
        self.assertEqual(message(1).id, self.node.outcomes.oldest())
        self.node.turn()
        self.node.store.release()
        self.assertIsNone(self.node.outcomes.oldest())

    def test_one_link_that_fails_keeps_no_other_from_its_answer(self) -> None:
        class Broken:
            def acknowledge(self, sequences: list[int]) -> None:
                raise RuntimeError("broken")

        good = DirectReceipt()
        self.node.outcomes.acknowledge(Broken(), 1)
        self.node.outcomes.acknowledge(good, 1)
        self.node.turn()
        self.assertTrue(self.successResultOf(good.committed))
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))
