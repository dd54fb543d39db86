from __future__ import annotations

import contextlib
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.smpp import times

_NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC).timestamp()


class Parsing(SynchronousTestCase):
    def test_none(self) -> None:
        self.assertEqual(times.parse("", _NOW), 0.0)

    def test_absolute(self) -> None:
        at = datetime(2026, 11, 24, 10, 30, 15, tzinfo=UTC).timestamp()
        self.assertEqual(times.parse("261124103015000+", _NOW), at)
        self.assertEqual(times.parse("261124133015012+", _NOW), at)  # 12 quarters of an hour ahead of UTC
        self.assertEqual(times.parse("261124053015020-", _NOW), at)
        self.assertAlmostEqual(times.parse("261124103015500+", _NOW), at + 0.5, 3)

    def test_relative(self) -> None:
        self.assertEqual(times.parse("000002000000000R", _NOW), _NOW + 2 * 86_400)
        self.assertEqual(times.parse("000000010203000R", _NOW), _NOW + 3723)

    def test_mistakes(self) -> None:
        for text in (
            "x",
            "261324103015000+",
            "2611241030150",
            "261124103015000X",
            "261124103015049+",
            "26112410301500²+",
        ):
            self.assertRaises(ValueError, times.parse, text, _NOW)

    @given(st.text(max_size=18))
    def test_garbage(self, text: str) -> None:
        with contextlib.suppress(ValueError):
            times.parse(text, _NOW)

    @given(st.integers(1, 63 * 86_400))
    def test_what_we_write_reads_back(self, seconds: int) -> None:
        self.assertEqual(times.parse(times.relative(seconds).decode(), _NOW), _NOW + seconds)

    def test_bounds_of_what_we_write(self) -> None:
        self.assertEqual(times.relative(-5), b"000000000001000R")
        self.assertEqual(times.parse(times.relative(1e9).decode(), _NOW), _NOW + 63 * 86_400)
