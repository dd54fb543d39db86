from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.text import gsm, headers, shifts
from protei_bulk.text.canonical import Body
from protei_bulk.text.joining import join
from protei_bulk.text.segments import encode_text, split_body


class Joining(SynchronousTestCase):
    @given(st.text(st.sampled_from("ab@ é€[]иي😀"), min_size=1, max_size=600), st.booleans())
    def test_what_was_split(self, text: str, wide: bool) -> None:
        e = encode_text(text, "AUTO", 7, wide=wide)
        joined = join([Body(e.data_coding, udh, part) for udh, part in zip(e.udhs, e.parts, strict=True)])
        self.assertEqual(joined, Body(e.data_coding, b"", e.body))

    def test_binary_and_the_same_class(self) -> None:
        for coding in (4, 0xF1, 0xF5, 3):
            parts = [Body(coding, b"\5\0\3\1\2\1", b"\x80"), Body(coding, b"\5\0\3\1\2\2", b"\0")]
            self.assertEqual(join(parts), Body(coding, b"", b"\x80\0"))

    def test_mixed_alphabets(self) -> None:
        parts = [Body(0, b"", gsm.encode("é€")), Body(8, b"", "ab".encode("utf-16-be"))]
        self.assertEqual(join(parts), Body(0, b"", gsm.encode("é€ab"), "é€ab"))
        parts.append(Body(8, b"", "😀".encode("utf-16-be")))
        self.assertEqual(join(parts), Body(8, b"", "é€ab😀".encode("utf-16-be"), "é€ab😀"))

    def test_shifts(self) -> None:
        text = "ğüş İ" * 60
        shift = shifts.Shift(1, 1)
        e = split_body(shifts.table(shift).encode(text), 0, 1, elements=shift.elements)
        joined = join([Body(0, udh, part) for udh, part in zip(e.udhs, e.parts, strict=True)])
        self.assertEqual(joined, Body(8, b"", text.encode("utf-16-be"), text))

    def test_what_cannot_be_one(self) -> None:
        ports = headers.header(headers.element(0x05, b"\x15\x82\0\0"))
        self.assertIsNone(join([]))
        self.assertIsNone(join([Body(0, ports, b"a"), Body(0, ports, b"b")]))
        self.assertIsNone(join([Body(0, b"", b"a"), Body(4, b"", b"b")]))
        self.assertIsNone(join([Body(0, b"\5\0\3\1\2", b"a")]))

    @given(st.lists(st.builds(Body, st.integers(0, 255), st.binary(max_size=8), st.binary(max_size=8)), max_size=4))
    def test_garbage(self, parts: list[Body]) -> None:
        joined = join(parts)
        self.assertTrue(joined is None or joined.udh == b"")
