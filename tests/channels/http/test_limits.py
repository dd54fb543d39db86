from __future__ import annotations

from unittest import TestCase

from hypothesis import given
from hypothesis import strategies as st

from protei_bulk.channels.http import limits
from protei_bulk.channels.http.limits import KeyedBuckets, KeyedWindows

GAPS = st.lists(st.floats(0, 30), min_size=1, max_size=200)


class BucketTest(TestCase):
    def test_burst_then_steady(self) -> None:
        buckets = KeyedBuckets(60, 10)
        self.assertEqual([buckets.take("a", 0) for _ in range(10)], [0.0] * 10)
        self.assertAlmostEqual(buckets.take("a", 0), 1.0)
        self.assertEqual(buckets.take("b", 0), 0.0)
        self.assertAlmostEqual(buckets.take("a", 0.4), 0.6)
        self.assertEqual(buckets.take("a", 1.0), 0.0)
        self.assertEqual([bool(buckets.take("a", 100)) for _ in range(11)], [False] * 10 + [True])

    def test_off(self) -> None:
        buckets = KeyedBuckets(0, 10)
        self.assertEqual({buckets.take("a", 0) for _ in range(1000)}, {0.0})

    @given(GAPS, st.integers(1, 120), st.integers(0, 20))
    def test_never_more_than_rate_and_burst(self, gaps: list[float], per_minute: int, burst: int) -> None:
        buckets = KeyedBuckets(per_minute, burst)
        now, taken = 0.0, []
        for gap in gaps:
            now += gap
            wait = buckets.take("a", now)
            if wait:
                self.assertEqual(buckets.take("a", now + wait / 2) > 0, True)
            else:
                taken.append(now)
        for i, begin in enumerate(taken):
            for j in range(i, len(taken)):
                allowed = (taken[j] - begin) * per_minute / 60 + max(1, burst)
                self.assertLessEqual(j - i + 1, allowed + 1e-6)

    def test_memory_is_bounded(self) -> None:
        most, limits.MAX_KEYS = limits.MAX_KEYS, 10
        try:
            buckets, windows = KeyedBuckets(60, 5), KeyedWindows(5)
            for key in range(100):
                buckets.take(key, 0)
                windows.take(key, 0)
            self.assertLessEqual(len(buckets._full_at), 10)
            self.assertLessEqual(len(windows._windows), 10)
        finally:
            limits.MAX_KEYS = most


class WindowTest(TestCase):
    def test_exact_at_first(self) -> None:
        windows = KeyedWindows(1000)
        self.assertEqual({windows.take("a", n) for n in range(1000)}, {0.0})
        self.assertAlmostEqual(windows.take("a", 1000), 2600)
        self.assertEqual(windows.take("b", 1000), 0.0)

    def test_the_hour_before_counts_by_its_share(self) -> None:
        windows = KeyedWindows(100)
        for _ in range(100):
            windows.take("a", 0)
        taken = sum(not windows.take("a", 3600 + 1800) for _ in range(100))
        self.assertEqual(taken, 50)
        self.assertEqual(windows.take("a", 3 * 3600 + 1), 0.0)

    def test_off(self) -> None:
        self.assertEqual(KeyedWindows(0).take("a", 0), 0.0)

    @given(GAPS, st.integers(1, 30))
    def test_waiting_as_told_is_enough(self, gaps: list[float], limit: int) -> None:
        windows = KeyedWindows(limit, 60)
        now = 0.0
        for gap in gaps:
            now += gap
            while wait := windows.take("a", now):
                self.assertLessEqual(wait, 60)
                now += wait
