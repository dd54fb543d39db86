from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.text import alphabets, gsm, headers, segments
from protei_bulk.text.canonical import Body, canonical

_UDH = b"\5\0\3\1\2\1"
_defaults = st.sampled_from(alphabets.DEFAULTS)


class Canonical(SynchronousTestCase):
    def test_gsm_is_ours(self) -> None:
        self.assertEqual(canonical(b"\x1be", 0, _UDH, "gsm7"), Body(0, _UDH, b"\x1be"))

    def test_what_fits_becomes_gsm(self) -> None:
        for default, octets in (("latin1", b"\xe9[@"), ("utf8", "é[@".encode()), ("ascii", b"e[@")):
            text = octets.decode({"utf8": "utf-8", "latin1": "latin-1"}.get(default, default))
            self.assertEqual(canonical(octets, 0, b"", default), Body(0, b"", gsm.encode(text), text))

    def test_what_does_not_becomes_ucs2(self) -> None:
        for default, octets, text in (
            ("latin1", b"\xe2 x", "â x"), ("utf8", "привет".encode(), "привет"), ("ascii", b"`", "`"), ("utf8", "😀".encode(), "😀"),
        ):  # fmt: skip
            self.assertEqual(canonical(octets, 0, b"", default), Body(8, b"", text.encode("utf-16-be"), text))

    def test_no_characters(self) -> None:
        self.assertEqual(canonical(b"a\xff\xfeb", 0, b"", "utf8").text, "a??b")
        self.assertEqual(canonical(b"a\xe9b", 0, b"", "ascii").text, "a?b")

    def test_packed(self) -> None:
        septets = gsm.encode("hello [€]")
        for coding in (0, 0xF1, 0x10, 0xC8):
            self.assertEqual(canonical(gsm.pack_body(septets), coding, b"", "gsm7-packed"), Body(coding, b"", septets))
        self.assertEqual(canonical(gsm.pack_body(septets, 1), 0, _UDH, "gsm7-packed"), Body(0, _UDH, septets))
        self.assertEqual(canonical(b"", 0, _UDH, "gsm7-packed"), Body(0, _UDH, b""))
        for coding in (3, 4, 8, 0xF5):
            self.assertEqual(canonical(b"\0a", coding, b"", "gsm7-packed"), Body(coding, b"", b"\0a"))

    @given(st.integers(1, 255), st.binary(max_size=20), _defaults)
    def test_a_declared_coding_stays(self, coding: int, octets: bytes, default: str) -> None:
        if default != "gsm7-packed" or alphabets.alphabet(coding) != "gsm7":
            self.assertEqual(canonical(octets, coding, _UDH, default), Body(coding, _UDH, octets))

    def test_parts(self) -> None:
        """One must stay one: it may be in its own 8-bit alphabet, but not in two."""
        latin = b"\xe2" + b"a" * 133
        self.assertEqual(canonical(latin, 0, _UDH, "latin1"), Body(3, _UDH, latin, latin.decode("latin-1")))
        short = canonical(b"\xe2" + b"a" * 66, 0, _UDH, "latin1")
        self.assertEqual((short.data_coding, len(short.octets)), (8, 134))
        self.assertEqual(canonical(b"\xe9" * 134, 0, _UDH, "latin1").data_coding, 0)
        self.assertRaises(segments.TooLong, canonical, "âa".encode() * 44, 0, _UDH, "utf8")
        self.assertRaises(segments.TooLong, canonical, b"`" * 68, 0, _UDH, "ascii")

    def test_shifts_of_another_alphabet(self) -> None:
        shifted = headers.header(bytes.fromhex("0003010201 240101"))
        self.assertEqual(canonical(b"\xe9", 0, shifted, "latin1").udh, _UDH)

    @given(st.binary(max_size=160), st.sampled_from([0, 8, 4, 0xF1]), st.sampled_from([b"", _UDH]), _defaults)
    def test_whatever_comes(self, octets: bytes, coding: int, udh: bytes, default: str) -> None:
        try:
            body = canonical(octets, coding, udh, default)
        except segments.TooLong:
            self.assertTrue(udh)
            return
        if body.text is not None:
            self.assertEqual(alphabets.decode_body(body.octets, body.data_coding), body.text)
            self.assertEqual(alphabets.encode_body(body.text, body.data_coding), body.octets)
