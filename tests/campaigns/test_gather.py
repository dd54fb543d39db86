"""What is made of rows, without a database: every number once, every row accounted for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.campaigns import gather
from protei_bulk.campaigns.draft import Columns
from protei_bulk.campaigns.gather import Gatherer, TooMany, mapped, typed


class Sink:
    def __init__(self) -> None:
        self.blocks: list[tuple[str, list[Sequence[Any]]]] = []
        self.refused: list[tuple[int, str, str]] = []

    def block(self, country: str, recipients: Sequence[Sequence[Any]]) -> None:
        self.blocks.append((country, list(recipients)))

    def refuse(self, line: int, given: str, code: str) -> None:
        self.refused.append((line, given, code))


class Guard:
    def __init__(self, hits: Mapping[int, str] | None = None) -> None:
        self._hits = hits or {}

    def hits(self, numbers: Sequence[int]) -> Mapping[int, str]:
        return {n: self._hits[n] for n in numbers if n in self._hits}


class Rows(list[list[str]]):
    """Records of a file, one a line."""

    line = 0

    def __iter__(self) -> Any:
        for row in super().__iter__():
            self.line += 1
            yield row


class GatherTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.sink, self.ticks = Sink(), 0

    def tick(self) -> None:
        self.ticks += 1

    def make(self, hits: Mapping[int, str] | None = None, most: int = 10**6) -> Gatherer:
        return Gatherer(self.sink, Guard(hits), most, self.tick)

    def test_forms_of_numbers(self) -> None:
        gatherer = self.make({962790000009: "OPTED_OUT"})
        rows = "0790000001\n٠٧٩٠٠٠٠٠٠٢\n۰۷۹۰۰۰۰۰۰۳\n+962 79-000-0004\n00962790000005\n790000006\n962790000007.0\n9.62788E+11\n0790000009"
        gatherer.take(typed(rows), "JO")
        gatherer.finish()
        self.assertEqual([r[0] for _, block in self.sink.blocks for r in block], [f"96279000000{n}" for n in range(1, 8)])
        self.assertEqual(self.sink.refused, [(8, "9.62788E+11", "SCIENTIFIC"), (9, "0790000009", "OPTED_OUT")])

    def test_dressed_numbers(self) -> None:
        gatherer = self.make()
        gatherer.take([(n, text, None) for n, text in enumerate(("'0790000001", '="0790000002"', "=1+1", "'9.62E+11", "'079"), 1)], "JO")
        gatherer.finish()
        self.assertEqual(self.sink.blocks, [("JO", [("962790000001",), ("962790000002",)])])
        self.assertEqual([code for _, _, code in self.sink.refused], ["NOT_A_NUMBER", "SCIENTIFIC", "TOO_SHORT"])

    def test_scientific(self) -> None:
        gatherer = self.make()
        gatherer.take([(n, text, None) for n, text in enumerate(("9.62788E+11", "9,62788e11", "9E11", "E11", "9.6.2E1"), 1)], "JO")
        self.assertEqual([code for _, _, code in self.sink.refused], ["SCIENTIFIC"] * 3 + ["NOT_A_NUMBER"] * 2)

    def test_too_many(self) -> None:
        self.patch(gather, "BATCH", 10)
        with self.assertRaises(TooMany):
            self.make(most=25).take((n, f"+96279{n:07}", None) for n in range(10**9))
        self.assertEqual(self.ticks, 2)

    def test_columns(self) -> None:
        rows = Rows([
            ["", ""], ["phone", "name"], ["0790000001", " Sara\x00\n "], [], ["0790000002"], ["", "x"], [" ", ""],
            ["0790000003", "y" * 300],
        ])  # fmt: skip
        for variables in ({"NAME": 1}, {"NAME": 1, "B": 7}):
            rows.line = 0
            found = list(mapped(rows, Columns(True, 0, variables)))
            self.assertEqual(found, [
                (3, "0790000001", {"NAME": "Sara"}), (5, "0790000002", None), (6, "", {"NAME": "x"}),
                (8, "0790000003", {"NAME": "y" * 200}),
            ])  # fmt: skip
        rows.line = 0
        found = list(mapped(rows, Columns(False, 3, {})))  # a column that is not there
        self.assertEqual(found, [(n, "", None) for n in (2, 3, 5, 6, 8)])

    @settings(deadline=None, max_examples=60)
    @given(st.lists(st.one_of(st.integers(0, 60).map(lambda n: f"+96279{n:07}"), st.text(max_size=12)), max_size=120), st.integers(1, 9),
           st.integers(1, 9), st.sets(st.integers(0, 60)))  # fmt: skip
    def test_every_row_once(self, rows: list[str], batch: int, block: int, hits: set[int]) -> None:
        self.setUp()
        self.patch(gather, "BATCH", batch)
        self.patch(gather, "BLOCK", block)
        gatherer = self.make({962790000000 + n: "BLACKLISTED" for n in hits})
        gatherer.take([(n, text, {"N": text} if n % 2 else None) for n, text in enumerate(rows)], "JO")
        result = gatherer.finish()
        numbers = [r[0] for _, recipients in self.sink.blocks for r in recipients]
        self.assertEqual(len(numbers), len(set(numbers)))
        self.assertEqual((result.done, result.accepted + result.refused.total()), (len(rows), len(rows)))
        self.assertEqual((result.accepted, Counter(code for _, _, code in self.sink.refused)), (len(numbers), result.refused))
        self.assertTrue(all(0 < len(recipients) <= block for _, recipients in self.sink.blocks))
        self.assertFalse({int(n) - 962790000000 for n in numbers} & hits)
