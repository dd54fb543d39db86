from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.text import gsm

_BASIC = gsm.BASIC.replace("\x1b", "")
_ALL = _BASIC + "".join(gsm.EXTENSION.values())
gsm_text = st.text(st.sampled_from(_ALL))


def slowly(text: str) -> bytes:
    """What the specification says, a character at a time."""
    extension = {c: o for o, c in gsm.EXTENSION.items()}
    return b"".join(
        bytes((gsm.ESC, extension[c])) if c in extension else bytes((gsm.BASIC.index(c),)) for c in text
    )


class RoundTrip(SynchronousTestCase):
    @given(gsm_text)
    def test_text(self, text: str) -> None:
        octets = gsm.encode(text)
        self.assertEqual(octets, slowly(text))
        self.assertEqual(gsm.decode(octets), text)
        self.assertEqual(len(octets), gsm.septets(text))
        self.assertTrue(gsm.is_gsm(text))

    def test_every_character(self) -> None:
        self.assertEqual(len(_BASIC), 127)
        self.assertEqual(gsm.decode(gsm.encode(_ALL)), _ALL)
        self.assertEqual(gsm.encode("@€[Δ"), b"\x00\x1b\x65\x1b\x3c\x10")

    @given(st.binary())
    def test_any_octets_have_a_text(self, octets: bytes) -> None:
        self.assertTrue(gsm.is_gsm(gsm.decode(octets)))

    @given(st.text())
    def test_text_or_our_error(self, text: str) -> None:
        try:
            octets = gsm.encode(text)
        except gsm.NotGsm as error:
            self.assertEqual(text[error.position], error.character)
            self.assertFalse(gsm.is_gsm(error.character))
            self.assertTrue(gsm.is_gsm(text[: error.position]))
            self.assertFalse(gsm.is_gsm(text))
        else:
            self.assertEqual(gsm.decode(octets), text)

    @given(st.lists(st.integers(0, 127)).map(bytes), st.integers(0, 6))
    def test_packing(self, septets: bytes, fill: int) -> None:
        packed = gsm.pack(septets, fill)
        self.assertEqual(len(packed), (fill + 7 * len(septets) + 7) // 8)
        self.assertEqual(gsm.unpack(packed, len(septets), fill), septets)


class Examples(SynchronousTestCase):
    def test_packed(self) -> None:
        self.assertEqual(gsm.pack(b"hellohello").hex(), "e8329bfd4697d9ec37")
        self.assertRaises(ValueError, gsm.unpack, b"\0", 2)

    def test_escapes_that_mean_nothing(self) -> None:
        self.assertEqual(gsm.decode(b"a\x1b"), "a ")
        self.assertEqual(gsm.decode(b"\x1b\x1b\x65"), " €")
        self.assertEqual(gsm.decode(b"\x1bAb"), "Ab")  # no such extension: the basic character
        self.assertEqual(gsm.decode(b"\xc1"), "A")

    def test_where_it_fails(self) -> None:
        for text, position in (("Grüße, Иван", 7), ("€ и", 2), ("[\x1b€", 1), ("`", 0), ("a\ud800", 1)):
            with self.assertRaises(gsm.NotGsm) as caught:
                gsm.encode(text)
            self.assertEqual(
                (caught.exception.position, caught.exception.character), (position, text[position])
            )
        self.assertIn("position 8", str(gsm.NotGsm("И", 7)))

    def test_foreign(self) -> None:
        self.assertEqual(gsm.foreign("да, a€ да`"), "да`")
