from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.model import ids


class Identifiers(SynchronousTestCase):
    @given(st.integers(0, 2**60 - 1), st.integers(0, 2**60 - 1))
    def test_text_sorts_as_the_number(self, a: int, b: int) -> None:
        self.assertEqual(ids.decode(ids.encode(a)), a)
        self.assertEqual(a < b, ids.encode(a) < ids.encode(b))

    @given(st.lists(st.floats(1.8e9, 1.9e9), min_size=1, max_size=50), st.integers(0, ids.MAX_NODE))
    def test_grows_whatever_the_clock_does(self, times: list[float], node: int) -> None:
        now = [0.0]
        maker = ids.IdMaker(lambda: now[0], node)
        made = []
        for t in times:
            now[0] = t
            maker.refresh()
            made += [maker.message() for _ in range(3)]
        self.assertEqual(made, sorted(set(made)))
        self.assertEqual({ids.node_of(m) for m in made}, {node})

    def test_more_than_a_millisecond_holds(self) -> None:
        maker = ids.IdMaker(lambda: 1.8e9, 3)
        made = [maker.message() for _ in range(5000)]
        self.assertEqual(len(set(made)), 5000)
        self.assertEqual(made, sorted(made))
        self.assertTrue(made[0].startswith("MSG-") and len(made[0]) == 16)

    def test_time_and_border(self) -> None:
        maker = ids.IdMaker(lambda: 1_800_000_000.123, 1023)
        made = maker.campaign()
        self.assertEqual(ids.time_ms(made), 1_800_000_000_123)
        self.assertLessEqual(ids.first_at(1_800_000_000_123, "CAMP-"), made)
        self.assertLess(made, ids.first_at(1_800_000_000_124, "CAMP-"))

    def test_refuses_what_is_none(self) -> None:
        for text in ("", "MSG-", "MSG-ABC", "MSG-ILOU00000000", "MSG-0000000000000"):
            self.assertRaises(ValueError, ids.decode, text)
        self.assertRaises(ValueError, ids.IdMaker, lambda: 0.0, 1024)
