from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.text import alphabets as a
from protei_bulk.text.gsm import NotGsm


class Alphabets(SynchronousTestCase):
    def test_which(self) -> None:
        for coding, name in (
            (0, a.GSM7), (1, a.ASCII), (2, a.BINARY), (3, a.LATIN1), (4, a.BINARY), (5, "shift_jis"), (8, a.UCS2),
            (0x10, a.GSM7), (0x14, a.BINARY), (0x18, a.UCS2), (0x1C, a.BINARY), (0x20, a.BINARY), (0xC0, a.GSM7),
            (0xD8, a.GSM7), (0xE0, a.UCS2), (9, a.BINARY), (10, "iso2022_jp"), (13, "iso2022_jp_1"), (14, "euc_kr"),
            (11, a.BINARY), (15, a.BINARY), (0x30, a.BINARY), (0x40, a.GSM7), (0x48, a.UCS2), (0x54, a.BINARY), (0x60, a.BINARY),
            (0xF0, a.GSM7), (0xF1, a.GSM7), (0xF4, a.BINARY), (0xF5, a.BINARY), (0x80, a.BINARY),
        ):  # fmt: skip
            self.assertEqual(a.alphabet(coding), name, hex(coding))
        self.assertEqual(a.alphabet(0, a.LATIN1), a.LATIN1)

    def test_decoding(self) -> None:
        self.assertEqual(a.decode_body(b"\x00\x1b\x65", 0), "@€")
        self.assertEqual(a.decode_body(b"\x00\x1b\x65", 0xF1), "@€")
        self.assertEqual(a.decode_body(b"\xe9@", 3), "é@")
        self.assertEqual(a.decode_body(b"\xe9@", 0, a.LATIN1), "é@")
        self.assertEqual(a.decode_body("привет😀".encode("utf-16-be"), 8), "привет😀")
        self.assertIsNone(a.decode_body(b"\x00", 4))

    def test_encoding(self) -> None:
        self.assertEqual(a.encode_body("@€", 0), b"\x00\x1b\x65")
        self.assertEqual(a.encode_body("é", 3), b"\xe9")
        self.assertEqual(a.encode_body("ي", 8), b"\x06\x4a")
        self.assertEqual(a.encode_body("@", 0, a.LATIN1), b"@")
        self.assertRaises(NotGsm, a.encode_body, "ي", 0)
        for coding in (1, 3, 4):
            self.assertRaises(ValueError, a.encode_body, "ي", coding)

    @given(st.binary(max_size=30), st.integers(0, 255))
    def test_any_octets_in_any_coding(self, body: bytes, coding: int) -> None:
        text = a.decode_body(body, coding)
        self.assertEqual(text is None, a.alphabet(coding) == a.BINARY)

    @given(st.text(), st.sampled_from([0, 1, 3, 6, 7, 8, 0xF0, 0xE0]))
    def test_round_trip(self, text: str, coding: int) -> None:
        try:
            body = a.encode_body(text, coding)
        except ValueError:
            return
        self.assertEqual(a.decode_body(body, coding), text)
