from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.model.message import Message
from protei_bulk.pacing.lanes import Lane


def message(number: int, priority: int = 1) -> Message:
    m = Message()
    m.id, m.priority = f"MSG-{number:012d}", priority
    return m


class Lanes(SynchronousTestCase):
    def test_urgent_first_old_first(self) -> None:
        lane = Lane()
        for n, p in enumerate((1, 1, 3, 0, 3)):
            lane.add(message(n, p))
        self.assertEqual([m.id[-1] for m in lane.take(10)], ["2", "4", "0", "1", "3"])

    def test_the_lowest_is_not_starved(self) -> None:
        lane = Lane()
        for n in range(100):
            lane.add(message(n, 3))
        lane.add(message(100, 0))
        self.assertIn("MSG-000000000100", [m.id for m in lane.take(20)])

    def test_lower_classes_take_turns(self) -> None:
        lane = Lane()
        for n in range(400):
            lane.add(message(n, n % 4))
        first = [m.priority for m in lane.take(60)]
        self.assertEqual([first.count(p) for p in range(4)], [2, 2, 2, 54])

    def test_what_came_back_does_not_hold_up_what_is_more_urgent(self) -> None:
        lane = Lane()
        lane.give_back(message(1, 0))
        lane.add(message(2, 3))
        self.assertEqual([m.priority for m in lane.take(2)], [3, 0])

    def test_what_came_back_keeps_its_order(self) -> None:
        lane = Lane()
        for n in range(6):
            lane.add(message(n))
        first = lane.take(3)
        for m in (first[1], first[0], first[2]):
            lane.give_back(m)
        self.assertEqual([m.id for m in lane.clear()], [f"MSG-{n:012d}" for n in range(6)])

    @given(st.lists(st.one_of(st.integers(0, 3), st.none()), max_size=200), st.integers(1, 7))
    def test_counts_and_loses_nothing(self, steps: list[int | None], most: int) -> None:
        lane = Lane()
        added, taken = [], []
        for n, step in enumerate(steps):
            if step is None:
                taken += lane.take(most)
            else:
                m = message(n, step)
                added.append(m)
                lane.add(m)
            self.assertEqual(len(lane), len(added) - len(taken))
            self.assertEqual(len(list(lane)), len(lane))
        taken += lane.clear()
        self.assertEqual(sorted(m.id for m in taken), [m.id for m in added])
        for p in range(4):
            of_class = [m.id for m in taken if m.priority == p]
            self.assertEqual(of_class, sorted(of_class))
