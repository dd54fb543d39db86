"""Bursts and hours: never said of less than the limit, always of twice as much in half the time."""

from __future__ import annotations

from collections import Counter

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.guards import velocity
from protei_bulk.guards.velocity import COUNTRY, HOUR, RANGE, Limits, Velocity
from protei_bulk.model.message import Message

LIMITS = Limits(seconds=100.0, digits=2, most=10, new_country=50, factor=10.0, least=60, learn_hours=3)
START = 1_800_000_000.0
BATCH = st.tuples(st.floats(0, 120), st.lists(st.tuples(st.integers(1, 2), st.integers(0, 3), st.integers(0, 99)), max_size=12))


def messages(*whom: tuple[int, str]) -> list[Message]:
    found = []
    for user, dest in whom:
        m = Message()
        m.user_id, m.dest = user, dest
        found.append(m)
    return found


def many(n: int, prefix: str = "9627901", user: int = 1) -> list[Message]:
    return messages(*((user, f"{prefix}{i % 100:02d}") for i in range(n)))


class Ranges(SynchronousTestCase):
    @settings(deadline=None, max_examples=200)
    @given(st.lists(BATCH, max_size=40))
    def test_against_a_list_of_all(self, batches: list[tuple[float, list[tuple[int, int, int]]]]) -> None:
        """With `rest` 0 everything is said each time."""
        v, now = Velocity(evolve(LIMITS, rest=0.0, learn_hours=10_000)), START
        all_of: list[tuple[float, int, str]] = []
        for passes, batch in batches:
            now += passes
            sent = messages(*((user, f"96279{r}{last:02d}") for user, r, last in batch))
            found = {(e.user_id, e.target): e.count for e in v.count(sent, now, lambda _: "pause")}
            all_of += [(now, m.user_id, m.dest[:-2]) for m in sent]
            within = Counter((u, r) for t, u, r in all_of if t > now - LIMITS.seconds - 1e-6)
            here = {(m.user_id, m.dest[:-2]) for m in sent}
            for key, count in found.items():
                self.assertGreater(count, LIMITS.most)
                self.assertGreaterEqual(within[key], count)
            for key in here:
                if Counter((u, r) for t, u, r in all_of if t > now - LIMITS.seconds / 2 + 1e-6)[key] > LIMITS.most:
                    self.assertIn(key, found)

    def test_said_once_and_again_after_the_rest(self) -> None:
        v = Velocity(LIMITS)
        self.assertEqual([e.target for e in v.count(many(11), START, lambda _: "pause")], ["9627901"])
        self.assertEqual(v.count(many(11), START + 1, lambda _: "pause"), [])
        self.assertEqual(len(v.count(many(11), START + HOUR + 1, lambda _: "pause")), 1)

    def test_an_alert_is_told_once_a_country_and_a_pause_for_each_range(self) -> None:
        for mode, ranges in (("alert", 1), ("pause", 3), ("off", 0)):
            v = Velocity(LIMITS)
            sent = [m for p in ("9627901", "9627902", "9627903") for m in many(11, p)]
            self.assertEqual(len(v.count(sent, START, lambda _, mode=mode: mode)), ranges)  # type: ignore[misc]

    def test_released_may_go_on(self) -> None:
        v = Velocity(LIMITS)
        v.count(many(11), START, lambda _: "pause")
        v.released(1, RANGE, "9627901", START + 10)
        self.assertEqual(v.count(many(11), START + 20, lambda _: "pause"), [])

    def test_memory_is_bounded_and_the_big_ones_stay(self) -> None:
        self.patch(velocity, "_MOST_RANGES", 100)
        v = Velocity(evolve(LIMITS, most=50))
        found = []
        for n in range(400):
            found += v.count([*many(1, f"96278{n:04d}"), *many(1)], START + n / 100, lambda _: "pause")
            self.assertLessEqual(sum(map(len, v._ranges.values())), 103)
        self.assertEqual([e.target for e in found], ["9627901"])


class Hours(SynchronousTestCase):
    def hours(self, v: Velocity, first: int, last: int, n: int, prefix: str = "9627") -> list[velocity.Excess]:
        found = []
        for hour in range(first, last):
            sent = messages(*((1, f"{prefix}{i:08d}") for i in range(0, n * 101, 101)))
            found += v.count(sent, START + hour * HOUR, lambda _: "alert")
        return found

    def limits(self) -> Limits:
        return evolve(LIMITS, most=1_000_000)

    def test_a_new_country_after_learning(self) -> None:
        v = Velocity(self.limits())
        self.assertEqual(self.hours(v, 0, 3, 200), [])
        [excess] = self.hours(v, 3, 4, 51, "1876")
        self.assertEqual((excess.kind, excess.target, excess.limit), (COUNTRY, "JM", 50))

    def test_ten_times_as_much_as_ever(self) -> None:
        v = Velocity(self.limits())
        self.assertEqual(self.hours(v, 0, 30, 20), [])
        self.assertEqual(self.hours(v, 30, 31, 150), [])
        [excess] = self.hours(v, 31, 32, 700)
        self.assertEqual((excess.target, excess.count), ("JO", 700))

    def test_what_was_once_is_not_new(self) -> None:
        """A campaign each week is no alarm after the first one."""
        v = Velocity(self.limits())
        self.hours(v, 0, 30, 20)
        self.hours(v, 30, 31, 900)
        self.assertEqual(self.hours(v, 30 + 168, 31 + 168, 900), [])

    def test_over_restarts(self) -> None:
        v = Velocity(self.limits())
        self.hours(v, 0, 30, 20)
        other = Velocity(self.limits())
        other.restore(v.rows(), 0)
        self.assertEqual(other.rows(), v.rows())
        self.assertEqual(len(self.hours(other, 30, 31, 700)), 1)

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 40)), max_size=30))
    def test_never_below_what_is_never_too_much(self, hours: list[tuple[int, int]]) -> None:
        v, hour = Velocity(self.limits()), 0
        for gap, n in hours:
            hour += gap
            self.assertEqual(self.hours(v, hour, hour + 1, n), [])
        for row in v.rows():
            self.assertTrue(0 <= row["a"] <= row["b"] * 1.0001 + 1e-3, row)
