"""JSON that two readers could understand differently."""

from __future__ import annotations

import json
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.channels.http.problems import Problem
from protei_bulk.channels.http.strict_json import DEEPEST, loads

SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(-1e18, 1e18) | st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]) | st.sampled_from('":\\ '), max_size=8
)  # fmt: skip
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(st.sampled_from('ab":\\ '), max_size=3), inner, max_size=4),
    max_leaves=12,
)


class StrictJson(SynchronousTestCase):
    def refused(self, data: bytes) -> str:
        problem = self.assertRaises(Problem, loads, data)
        self.assertEqual(problem.status, 400, data)
        return problem.detail

    @settings(deadline=None)
    @given(DOCUMENTS, st.sampled_from([(",", ":"), (" , ", " : "), (",\n", "\t:\r\n")]), st.booleans())
    def test_what_is_fine_is_read(self, document: Any, separators: tuple[str, str], ascii: bool) -> None:
        data = json.dumps(document, separators=separators, ensure_ascii=ascii).encode()
        self.assertEqual(loads(data), document)

    @settings(deadline=None)
    @given(
        st.lists(st.tuples(st.sampled_from(["a", "b", '"', '":', "\\"]), SCALARS), min_size=1, max_size=5),
        st.sampled_from([":", " :", "\n :"]),
        st.integers(0, 3),
    )
    def test_a_name_twice(self, pairs: list[tuple[str, Any]], colon: str, depth: int) -> None:
        body = ",".join(json.dumps(name) + colon + orjson.dumps(value).decode() for name, value in pairs)
        data = ('{"x":[' * depth + "{" + body + "}" + "]}" * depth).encode()
        names = [name for name, _ in pairs]
        if len(set(names)) == len(names):
            loads(data)
        else:
            self.assertIn("stands twice", self.refused(data))

    def test_the_same_name_written_in_two_ways(self) -> None:
        self.refused(b'{"\\u0061": 1, "a": 1}')

    def test_numbers(self) -> None:
        self.assertEqual(loads(b"[9223372036854775807, -9223372036854775808, 1e18]"), [2**63 - 1, -(2**63), 1e18])
        for text in ("9223372036854775808", "-9223372036854775809", "18446744073709551616", "1e19", "1e999", "123456789" * 9):
            for data in (text, f"[{text}]", f'{{"a": {{"b": {text}}}}}'):
                self.refused(data.encode())

    def test_depth(self) -> None:
        loads(b"[" * DEEPEST + b"]" * DEEPEST)
        loads(b'{"a":' * DEEPEST + b"1" + b"}" * DEEPEST)
        for depth in (DEEPEST + 1, 1000, 100_000):
            self.refused(b"[" * depth + b"]" * depth)
            self.refused(b'{"a":' * depth + b"1" + b"}" * depth)

    def test_characters_that_are_none(self) -> None:
        for data in (b'"\\ud800"', b'"\\udc00\\ud800"', b'"\xed\xa0\x80"', b'"\xff"', b'\xef\xbb\xbf{}', b"NaN", b"Infinity", b""):
            self.refused(data)
