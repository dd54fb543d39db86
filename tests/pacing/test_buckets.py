from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.pacing.buckets import TokenBucket


class Buckets(SynchronousTestCase):
    @given(st.integers(1, 1000), st.integers(1, 100), st.lists(st.tuples(st.floats(0, 2), st.integers(1, 5)), max_size=200))
    def test_never_more_than_rate_times_time_and_burst(self, rate: int, burst: int, steps: list[tuple[float, int]]) -> None:
        bucket = TokenBucket(rate, burst)
        now = 100.0
        taken = 0
        for wait, units in steps:
            now += wait
            units = min(units, burst)
            free = bucket.available(now)
            if bucket.take(units, now) == 0.0:
                taken += units
                self.assertGreaterEqual(free, units)
            self.assertLessEqual(taken, rate * (now - 100.0) + burst + 1e-3)

    def test_says_how_long_to_wait(self) -> None:
        bucket = TokenBucket(10, 2)
        self.assertEqual(bucket.take(2, 0.0), 0.0)
        wait = bucket.take(1, 0.0)
        self.assertAlmostEqual(wait, 0.1)
        self.assertAlmostEqual(bucket.wait(1, 0.0), 0.1)
        self.assertEqual(bucket.take(1, wait), 0.0)

    def test_nothing_limited(self) -> None:
        bucket = TokenBucket(0)
        self.assertEqual([bucket.take(1000, 0.0) for _ in range(3)], [0.0] * 3)

    def test_a_message_larger_than_the_burst_goes_when_full(self) -> None:
        bucket = TokenBucket(1, 1)
        self.assertEqual(bucket.take(3, 0.0), 0.0)
        self.assertAlmostEqual(bucket.take(1, 0.0), 3.0)

    def test_a_change_keeps_what_was_taken(self) -> None:
        bucket = TokenBucket(1, 1)
        bucket.take(1, 0.0)
        bucket.change(100, 1)
        self.assertGreater(bucket.take(1, 0.5), 0.0)
        self.assertEqual(bucket.take(1, 1.01), 0.0)
