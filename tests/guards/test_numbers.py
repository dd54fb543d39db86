"""Compact sets of numbers against plain ones."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.guards.numbers import Barred, NumberSet, PrefixSet, number_of

NUMBER = st.integers(1, 500)


class Numbers(SynchronousTestCase):
    @settings(deadline=None)
    @given(st.sets(NUMBER), st.lists(st.tuples(NUMBER, st.booleans())))
    def test_changes_lie_over_what_was_read(self, first: set[int], changes: list[tuple[int, bool]]) -> None:
        made, plain = NumberSet.of(first), set(first)
        for number, there in changes:
            made.set(number, there)
            (plain.add if there else plain.discard)(number)
        self.assertEqual({n for n in range(502) if n in made}, plain)
        self.assertEqual(len(made), len(plain))
        self.assertLessEqual(made.changes, len({n for n, _ in changes}))

    @settings(deadline=None)
    @given(st.sets(st.integers(1, 99_999)), st.lists(st.tuples(st.integers(1, 99_999), st.booleans())), st.integers(1, 10**9))
    def test_prefixes(self, first: set[int], changes: list[tuple[int, bool]], number: int) -> None:
        made, plain = PrefixSet(first), set(first)
        for prefix, there in changes:
            made.set(prefix, there)
            (plain.add if there else plain.discard)(prefix)
        found = sorted((str(p) for p in plain if str(number).startswith(str(p))), key=len)
        self.assertEqual(made.find(number), found[0] if found else "")

    def test_how_numbers_are_written(self) -> None:
        self.assertEqual(number_of("00962790000001"), 962790000001)
        for wrong in ("", "+962", "12a", "٣", "1" * 19):
            self.assertEqual(number_of(wrong), 0, wrong)

    def test_what_a_number_falls_under(self) -> None:
        barred = Barred(NumberSet.of([962790000001]), PrefixSet([96277]))
        self.assertEqual([barred.find(n) for n in (962790000001, 962771, 962790000002, 9627)], ["962790000001", "96277*", "", ""])
