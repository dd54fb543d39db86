from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.text import gsm, headers, segments, shifts
from protei_bulk.text.national import LANGUAGES
from protei_bulk.text.shifts import NONE, Shift, table

_ALL = shifts.candidates(range(1, 14))
_shift = st.sampled_from(_ALL)


@st.composite
def _text(draw: st.DrawFn) -> tuple[Shift, str]:
    shift = draw(_shift)
    return shift, draw(st.text(st.sampled_from(sorted(table(shift).all)), max_size=400))


class RoundTrip(SynchronousTestCase):
    @given(_text())
    def test_text(self, given: tuple[Shift, str]) -> None:
        shift, text = given
        octets = table(shift).encode(text)
        self.assertEqual(table(shift).decode(octets), text)
        self.assertEqual(len(octets), table(shift).septets(text))
        self.assertTrue(max(octets, default=0) < 128)

    def test_every_character_of_every_pair(self) -> None:
        self.assertEqual(len(_ALL), 1 + 13 + 2 * 12)
        for shift in _ALL:
            everything = "".join(sorted(table(shift).all))
            self.assertEqual(table(shift).decode(table(shift).encode(everything)), everything, shift)

    @given(st.binary(max_size=200))
    def test_without_a_shift_it_is_the_default_alphabet(self, octets: bytes) -> None:
        self.assertEqual(table(NONE).decode(octets), gsm.decode(octets))
        text = gsm.decode(octets)
        self.assertEqual(table(NONE).encode(text), gsm.encode(text))

    @given(_shift, st.binary(max_size=200))
    def test_any_octets_have_a_text(self, shift: Shift, octets: bytes) -> None:
        text = table(shift).decode(octets)
        self.assertTrue(table(shift).all.issuperset(text))

    @given(_shift, st.text(max_size=50))
    def test_text_or_our_error(self, shift: Shift, text: str) -> None:
        try:
            octets = table(shift).encode(text)
        except gsm.NotGsm as error:
            self.assertEqual(text[error.position], error.character)
            self.assertEqual(table(shift).septets(text), -1)
        else:
            self.assertEqual(table(shift).decode(octets), text)

    @given(_text(), st.integers(0, 0xFFFF), st.booleans())
    def test_parts_can_be_read_each_by_itself(self, given: tuple[Shift, str], reference: int, wide: bool) -> None:
        shift, text = given
        octets = table(shift).encode(text)
        e = segments.split_body(octets, 0, reference, wide=wide, elements=shift.elements)
        self.assertEqual("".join(shifts.decode(o, u) for u, o in zip(e.udhs, e.parts, strict=True)), text)
        self.assertEqual(b"".join(e.parts), octets)
        for n, (udh, part) in enumerate(zip(e.udhs, e.parts, strict=True), 1):
            self.assertEqual(shifts.shift_of(udh) or NONE, shift)
            self.assertTrue(len(udh) + len(gsm.pack(part, headers.fill_bits(len(udh)))) <= 140)
            if e.segments > 1:
                self.assertEqual(headers.concatenation(udh), (reference & (0xFFFF if wide else 0xFF), e.segments, n))


class Examples(SynchronousTestCase):
    def test_turkish(self) -> None:
        turkish = LANGUAGES["turkish"]
        self.assertEqual(table(Shift(0, turkish)).encode("ığ"), b"\x1bi\x1bg")
        self.assertEqual(table(Shift(turkish, 0)).encode("ığ€"), b"\x07\x0c\x04")
        self.assertEqual(table(Shift(turkish, turkish)).encode("ÇG{"), b"\x09G\x1b\x28")
        self.assertEqual(shifts.decode(b"\x1bi", b"\x03\x24\x01\x01"), "ı")
        self.assertEqual(shifts.decode(b"\x07", b"\x03\x25\x01\x01"), "ı")
        self.assertEqual(shifts.decode(b"\x1bi", b"\x03\x25\x01\x01"), "i")  # the extension has none: the basic character

    def test_hindi(self) -> None:
        hindi = Shift(LANGUAGES["hindi"], LANGUAGES["hindi"])
        self.assertEqual(table(hindi).encode("नमस्ते 1 A"), bytes.fromhex("2f 42 4c 5f 27 59 20 31 20 1b 41"))

    def test_room(self) -> None:
        """160 septets less the header's, fill bits included."""
        for shift, single, several in ((NONE, 160, 153), (Shift(0, 1), 155, 149), (Shift(1, 0), 155, 149), (Shift(1, 1), 152, 146)):
            for length, parts in ((single, 1), (single + 1, 2), (2 * several, 2), (2 * several + 1, 3)):
                self.assertEqual(segments.split_body(b"a" * length, 0, 1, elements=shift.elements).segments, parts, (shift, length))

    def test_announced(self) -> None:
        self.assertEqual(Shift(3, 2).elements, bytes.fromhex("240102 250103"))
        for udh, shift in (
            ("03 240101", Shift(0, 1)), ("03 250101", Shift(1, 0)), ("06 250103 240102", Shift(3, 2)), ("06 240101 240102", Shift(0, 2)),
            ("08 0003010201 240105", Shift(0, 5)),
            ("03 24010E", None), ("03 240100", None), ("03 250102", None), ("04 24020101", None), ("05 0003240101", None),
            ("04 240101", None), ("05 2401012501", None), ("", None),
        ):  # fmt: skip
            self.assertEqual(shifts.shift_of(bytes.fromhex(udh)), shift, udh)

    def test_names(self) -> None:
        self.assertEqual(shifts.identifiers(["turkish", "urdu"]), (1, 13))
        self.assertRaises(KeyError, shifts.identifiers, ["klingon"])
