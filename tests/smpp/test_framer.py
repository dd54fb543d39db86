from __future__ import annotations

from struct import pack

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.smpp.errors import CorruptStream
from protei_bulk.smpp.framer import Framer

_words = st.integers(0, 0xFFFFFFFF)
_pdus = st.lists(st.tuples(_words, _words, _words, st.binary(max_size=40)), max_size=6)

Seen = list[tuple[int, int, int, bytes]]


def wire(pdus: Seen) -> bytes:
    return b"".join(pack(">IIII", 16 + len(body), c, s, n) + body for c, s, n, body in pdus)


def chunks(data: bytes, cuts: list[int]) -> list[bytes]:
    borders = [0, *sorted(c % (len(data) + 1) for c in cuts), len(data)]
    return [data[a:b] for a, b in zip(borders, borders[1:], strict=False)]


def read(framer: Framer, pieces: list[bytes]) -> Seen:
    seen: Seen = []
    for piece in pieces:
        buf, frames = framer.feed(piece)
        seen += [(c, s, n, buf[start:end]) for c, s, n, start, end in frames]
    return seen


class Framing(SynchronousTestCase):
    @given(_pdus, st.lists(st.integers(0, 1000), max_size=12))
    def test_chunks_do_not_matter(self, pdus: Seen, cuts: list[int]) -> None:
        framer = Framer()
        self.assertEqual(read(framer, chunks(wire(pdus), cuts)), pdus)
        self.assertIsNone(framer.corrupt)

    @given(_pdus, st.one_of(st.integers(0, 15), st.integers(65537, 0xFFFFFFFF)), st.binary(max_size=30),
           st.lists(st.integers(0, 1000), max_size=12))  # fmt: skip
    def test_what_comes_before_a_bad_length_is_kept(
        self, pdus: Seen, length: int, rest: bytes, cuts: list[int]
    ) -> None:
        framer = Framer()
        self.assertEqual(read(framer, chunks(wire(pdus) + pack(">I", length) + rest, cuts)), pdus)
        self.assertIsInstance(framer.corrupt, CorruptStream)
        self.assertEqual(framer.feed(wire([(4, 0, 1, b"")])), (b"", []))

    @given(st.lists(st.binary(max_size=64), max_size=8))
    def test_garbage_is_framed_or_corrupt(self, pieces: list[bytes]) -> None:
        framer = Framer(max_pdu=64)
        for piece in pieces:
            buf, frames = framer.feed(piece)
            for *_, start, end in frames:
                self.assertTrue(16 <= start <= end <= len(buf))

    def test_octet_by_octet(self) -> None:
        pdus = [(4, 0, 1, b"abc"), (0x15, 0, 2, b"")]
        self.assertEqual(read(Framer(), [bytes((b,)) for b in wire(pdus)]), pdus)

    def test_the_largest_and_one_more(self) -> None:
        framer = Framer(max_pdu=100)
        self.assertEqual(len(read(framer, [wire([(4, 0, 1, bytes(84))])])), 1)
        self.assertIsNone(framer.corrupt)
        self.assertEqual(read(framer, [wire([(4, 0, 1, bytes(85))])]), [])
        self.assertIn("101", str(framer.corrupt))

    def test_a_bad_length_shows_before_the_rest_of_the_header(self) -> None:
        framer = Framer()
        framer.feed(b"GET ")
        self.assertIsNotNone(framer.corrupt)
