from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.model import lifecycle


class Lifecycle(SynchronousTestCase):
    def test_a_final_state_stays(self) -> None:
        for old in lifecycle.FINAL:
            for new in lifecycle.ALLOWED_FROM:
                self.assertFalse(lifecycle.may_follow(old, new), (old, new))

    def test_sent_never_regresses(self) -> None:
        self.assertFalse(lifecycle.may_follow("SENT", "QUEUED"))
        self.assertTrue(lifecycle.may_follow("SENT", "DELIVERED"))
        self.assertTrue(lifecycle.may_follow("QUEUED", "DELIVERED"))  # the receipt was quicker

    def test_the_table_of_the_specification(self) -> None:
        expected = {"DELIVRD": "DELIVERED", "ACCEPTD": "SENT", "ENROUTE": "SENT", "UNDELIV": "FAILED", "REJECTED": "REJECTED",
                    "REJECTD": "REJECTED", "EXPIRED": "EXPIRED"}  # fmt: skip
        for stat, status in expected.items():
            self.assertEqual(lifecycle.FROM_RECEIPT[stat], status)
