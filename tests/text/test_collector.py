from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.text.collector import PartCollector, Step


def collector(seconds: float = 60.0, most: int = 100) -> PartCollector[str]:
    return PartCollector(seconds, most)


class Collecting(SynchronousTestCase):
    @given(st.permutations([1, 2, 3, 4, 5]), st.lists(st.integers(0, 4), max_size=5))
    def test_any_order_and_twice(self, order: list[int], again: list[int]) -> None:
        c = collector()
        for n in order[:-1]:
            self.assertEqual(c.add("a", n, 5, f"part {n}", b"%d" % n, 0.0), Step())
        for i in again:
            if i < 4:
                self.assertTrue(c.add("a", order[i], 5, "again", b"%d" % order[i], 1.0).duplicate)
        n = order[-1]
        step = c.add("a", n, 5, f"part {n}", b"%d" % n, 2.0)
        self.assertEqual(step, Step(tuple(f"part {n}" for n in range(1, 6))))
        self.assertEqual((len(c), c.next_deadline), (0, None))

    def test_messages_of_their_own(self) -> None:
        c = collector()
        c.add("a", 1, 2, "a1", b"", 0.0)
        c.add("b", 2, 2, "b2", b"", 0.0)
        self.assertEqual(c.add("b", 1, 2, "b1", b"", 0.0).complete, ("b1", "b2"))
        self.assertEqual(c.add("a", 2, 2, "a2", b"", 0.0).complete, ("a1", "a2"))

    def test_a_single_one_is_complete(self) -> None:
        self.assertEqual(collector().add("a", 1, 1, "x", b"", 0.0).complete, ("x",))

    def test_places_that_cannot_be(self) -> None:
        c = collector()
        for number, total in ((0, 2), (3, 2), (1, 0), (0, 0), (1, 256), (-1, 5)):
            self.assertEqual(c.add("a", number, total, "x", b"", 0.0), Step(given_back=(("x",),)))
        self.assertEqual(len(c), 0)

    def test_a_reference_in_use_again(self) -> None:
        c = collector()
        c.add("a", 3, 3, "old 3", b"old", 0.0)
        c.add("a", 1, 3, "old 1", b"old", 0.0)
        self.assertEqual(c.add("a", 1, 3, "new 1", b"new", 1.0), Step(given_back=(("old 1", "old 3"),)))
        c.add("a", 2, 3, "new 2", b"new", 1.0)
        self.assertEqual(c.add("a", 3, 3, "new 3", b"new", 1.0).complete, ("new 1", "new 2", "new 3"))
        self.assertEqual(c.add("a", 1, 3, "new 1", b"new", 1.0), Step())  # may be the beginning of another message

    def test_given_up(self) -> None:
        c = collector(60.0)
        c.add("a", 2, 3, "a2", b"", 0.0)
        c.add("b", 1, 2, "b1", b"", 10.0)
        c.add("a", 1, 3, "a1", b"", 20.0)  # counts from the last part
        self.assertEqual((c.late(69.9), c.next_deadline), ([], 70.0))
        self.assertEqual(c.late(70.0), [("b1",)])
        self.assertEqual(c.late(80.0), [("a1", "a2")])
        self.assertEqual(c.add("a", 3, 3, "a3", b"", 81.0), Step())
        self.assertEqual(c.clear(), [("a3",)])
        self.assertEqual((len(c), c.next_deadline, c.late(1e9)), (0, None, []))

    def test_bounded(self) -> None:
        c = collector(most=3)
        c.add("a", 1, 9, "a1", b"", 0.0)
        c.add("b", 1, 9, "b1", b"", 0.0)
        c.add("a", 2, 9, "a2", b"", 0.0)
        self.assertEqual(c.add("c", 1, 9, "c1", b"", 0.0).given_back, (("b1",),))
        self.assertEqual(c.add("c", 2, 9, "c2", b"", 0.0).given_back, (("a1", "a2"),))
        self.assertEqual(len(c), 2)

    def test_one_message_larger_than_the_bound(self) -> None:
        c = collector(most=2)
        c.add("a", 1, 3, "a1", b"", 0.0)
        c.add("a", 2, 3, "a2", b"", 0.0)
        self.assertEqual(c.add("a", 3, 3, "a3", b"", 0.0).complete, ("a1", "a2", "a3"))
        for n in (1, 2):
            c.add("b", n, 4, f"b{n}", b"", 0.0)
        self.assertEqual(c.add("b", 3, 4, "b3", b"", 0.0).given_back, (("b1", "b2", "b3"),))

    @given(
        st.lists(st.tuples(st.sampled_from("ab"), st.integers(-1, 5), st.integers(0, 4), st.binary(max_size=1), st.floats(0, 20)))
    )
    def test_nothing_is_lost(self, parts: list[tuple[str, int, int, bytes, float]]) -> None:
        c: PartCollector[int] = PartCollector(30.0, 5)
        now, seen = 0.0, []
        for i, (key, number, total, octets, wait) in enumerate(parts):
            now += wait
            for back in c.late(now):
                seen += back
            step = c.add((key, total), number, total, i, octets, now)
            seen += [*step.complete, *(p for back in step.given_back for p in back)]
            if step.duplicate:
                seen.append(i)
            self.assertTrue(len(c) <= 5)
        for back in c.clear():
            seen += back
        self.assertEqual(sorted(seen), list(range(len(parts))))
