from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.pacing.breaker import CLOSED, HALF_OPEN, OPEN, Breaker


class Breakers(SynchronousTestCase):
    def opened(self) -> Breaker:
        b = Breaker(0.5, 20, 30.0, 5.0, 300.0, 3)
        self.assertFalse(b.answers(10, 9, 0.0))
        self.assertTrue(b.answers(0, 1, 1.0))
        return b

    def test_opens_at_the_share_and_not_before_enough_answers(self) -> None:
        b = Breaker(0.5, 20)
        self.assertFalse(b.answers(0, 19, 0.0))
        self.assertEqual(b.state, CLOSED)
        self.assertTrue(b.answers(0, 1, 0.0))
        self.assertEqual((b.state, b.allows(1.0)), (OPEN, 0))

    def test_old_failures_are_forgotten(self) -> None:
        b = Breaker(0.5, 20, 30.0)
        b.answers(0, 15, 0.0)
        self.assertFalse(b.answers(11, 10, 31.5))
        self.assertEqual(b.state, CLOSED)

    def test_probes_close_it(self) -> None:
        b = self.opened()
        self.assertEqual((b.allows(5.9), b.wait(5.0)), (0, 1.0))
        self.assertEqual((b.allows(6.0), b.state), (3, HALF_OPEN))
        b.sent(2)
        self.assertEqual(b.allows(6.0), 1)
        b.sent(1)
        self.assertEqual(b.allows(6.0), 0)
        self.assertFalse(b.answers(2, 0, 6.1))
        self.assertTrue(b.answers(1, 0, 6.2))
        self.assertEqual(b.state, CLOSED)

    def test_a_failed_probe_rests_twice_as_long(self) -> None:
        b = self.opened()
        b.allows(6.0)
        b.sent(3)
        self.assertTrue(b.answers(2, 1, 6.5))
        self.assertEqual((b.state, b.wait(6.5)), (OPEN, 10.0))

    def test_probes_lost_with_their_connection_are_sent_anew(self) -> None:
        b = self.opened()
        b.allows(6.0)
        b.sent(3)
        b.lost()
        self.assertEqual(b.allows(7.0), 3)

    def test_switched_off(self) -> None:
        b = Breaker(0)
        self.assertFalse(b.answers(0, 1000, 0.0))
        self.assertGreater(b.allows(0.0), 1_000_000)

    @given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.floats(0, 40)), max_size=60))
    @settings(deadline=None)
    def test_never_stuck(self, steps: list[tuple[int, int, float]]) -> None:
        """Whatever came before: an SMSC that works again is used again, after a bounded time."""
        b = Breaker(0.5, 20, 30.0, 5.0, 60.0, 3)
        now = 0.0
        for good, bad, later in steps:
            now += later
            n = min(b.allows(now), good + bad)
            b.sent(n)
            b.answers(good, bad, now)
        for _ in range(10):
            now += 61.0
            b.lost()
            n = min(3, b.allows(now))
            b.sent(n)
            b.answers(n, 0, now)
        self.assertEqual(b.state, CLOSED)
