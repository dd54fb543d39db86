from __future__ import annotations

from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.campaigns.states import (
    CANCELLED,
    DRAFT,
    FINAL,
    PENDING_APPROVAL,
    RUNNING,
    STATES,
    TRANSITIONS,
    NotPossible,
    check,
    possible,
)


class States(SynchronousTestCase):
    def test_every_state_can_be_reached_and_left_or_is_final(self) -> None:
        reached = {DRAFT} | {t.target for t in TRANSITIONS.values()}
        self.assertEqual(reached, set(STATES))
        self.assertEqual({s for s in STATES if not any(s in t.sources for t in TRANSITIONS.values())}, set(FINAL))

    def test_only_what_the_table_has(self) -> None:
        for name, state in product(TRANSITIONS, STATES):
            if state in TRANSITIONS[name].sources:
                self.assertEqual(check(name, state, mine=False).name, name)
            else:
                self.assertRaises(NotPossible, check, name, state, mine=False)

    def test_nobody_approves_his_own(self) -> None:
        self.assertRaises(NotPossible, check, "approve", PENDING_APPROVAL, mine=True)
        self.assertIn("approve", possible(PENDING_APPROVAL, mine=False))
        self.assertNotIn("approve", possible(PENDING_APPROVAL))

    def test_what_people_can_do(self) -> None:
        self.assertEqual(possible(RUNNING), ["pause", "cancel"])
        self.assertEqual(possible(CANCELLED), [])
