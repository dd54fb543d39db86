from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.smpp.fast import decode_tlvs
from protei_bulk.text import alphabets, gsm, segments
from protei_bulk.text.segments import (
    Encoded,
    concatenation,
    count_segments,
    encode_text,
    room,
    sar_tlvs,
    split_body,
)

_gsm = st.text(st.sampled_from("ab@ é€[]{}"), min_size=100, max_size=700)
_ucs2 = st.text(st.sampled_from("abيи😀𝄞"), min_size=30, max_size=300)


class Splitting(SynchronousTestCase):
    @given(_gsm, st.integers(0, 0xFFFF), st.booleans())
    def test_gsm(self, text: str, reference: int, wide: bool) -> None:
        e = encode_text(text, "AUTO", reference, wide=wide)
        self.assertEqual(e.data_coding, 0)
        self.assertEqual("".join(gsm.decode(p) for p in e.parts), text)  # each part can be read by itself
        self.headed(e, 160, 152 if wide else 153, reference, wide)

    @given(_ucs2, st.integers(0, 0xFFFF), st.booleans())
    def test_ucs2(self, text: str, reference: int, wide: bool) -> None:
        e = encode_text(text, "UCS2", reference, wide=wide)
        self.assertEqual(e.data_coding, 8)
        self.assertEqual("".join(p.decode("utf-16-be") for p in e.parts), text)
        self.headed(e, 140, 132 if wide else 134, reference, wide)

    @given(st.binary(min_size=1, max_size=2000), st.integers(0, 255), st.integers(0, 255), st.booleans())
    def test_any_octets_in_any_coding(self, body: bytes, coding: int, reference: int, wide: bool) -> None:
        e = split_body(body, coding, reference, wide=wide)
        self.assertEqual(e.body, body)
        self.assertTrue(all(e.parts))
        septets = alphabets.alphabet(coding) == alphabets.GSM7
        self.headed(
            e, *((160, 152 if wide else 153) if septets else (140, 133 if wide else 134)), reference, wide
        )
        if not wide:
            self.assertEqual(count_segments(body, coding), e.segments)

    def headed(self, e: Encoded, single: int, most: int, reference: int, wide: bool) -> None:
        self.assertEqual(len(e.udhs), e.segments)
        if e.segments == 1:
            self.assertEqual(e.udhs, (b"",))
            self.assertTrue(len(e.parts[0]) <= single)
            return
        self.assertTrue(len(e.body) > single)
        reference &= 0xFFFF if wide else 0xFF
        for number, (udh, part) in enumerate(zip(e.udhs, e.parts, strict=True), 1):
            self.assertEqual(udh[0], len(udh) - 1)
            self.assertEqual(concatenation(udh), (reference, e.segments, number))
            self.assertTrue(len(part) <= most)

    def test_limits(self) -> None:
        for encoding, character, lengths in (
            ("GSM7", "a", (160, 161, 306, 307)), ("GSM7", "€", (80, 81, 152, 153)), ("LATIN1", "é", (140, 141, 268, 269)),
            ("UCS2", "ي", (70, 71, 134, 135)), ("UCS2", "😀", (35, 36, 66, 67)),
        ):  # fmt: skip
            counts = [encode_text(character * n, encoding).segments for n in lengths]
            self.assertEqual(counts, [1, 2, 2, 3], (encoding, character))

    def test_encodings(self) -> None:
        self.assertEqual(encode_text("", "AUTO"), Encoded(0, (b"",), (b"",)))
        self.assertEqual(encode_text("ي", "AUTO").data_coding, 8)
        self.assertEqual(encode_text("é", "LATIN1").parts, (b"\xe9",))
        self.assertRaises(gsm.NotGsm, encode_text, "ي", "GSM7")
        self.assertRaises(UnicodeEncodeError, encode_text, "ي", "LATIN1")

    def test_too_long(self) -> None:
        self.assertEqual(encode_text("a" * 153 * 255, "GSM7").segments, 255)
        self.assertRaises(segments.TooLong, encode_text, "a" * (153 * 255 + 1), "GSM7")


class Counting(SynchronousTestCase):
    def test_bodies(self) -> None:
        for length, coding, count in (
            (0, 0, 1), (160, 0, 1), (161, 0, 2), (306, 0, 2), (307, 0, 3), (140, 8, 1), (142, 8, 2), (140, 4, 1), (141, 4, 2),
            (160, 0xF1, 1), (161, 0xF1, 2), (268, 8, 2), (269, 8, 3),
        ):  # fmt: skip
            self.assertEqual(count_segments(b"a" * length, coding), count, (length, coding))

    def test_room_beside_a_header(self) -> None:
        """160 - ceil(octets * 8 / 7) septets, fill bits included; octets as they are."""
        for octets, septets in ((0, 160), (4, 155), (6, 153), (7, 152), (9, 149), (10, 148), (12, 146), (13, 145), (140, 0)):
            self.assertEqual(room(0, octets), septets)
            self.assertEqual(septets, 160 - -(-octets * 8 // 7))
            self.assertEqual((room(8, octets), room(4, octets)), (140 - octets, 140 - octets))
            self.assertTrue(octets + len(gsm.pack(bytes(septets), -8 * octets % 7)) <= 140)

    def test_no_half_characters(self) -> None:
        """Of alphabets with one octet for some and two for other characters."""
        for coding, codec, text in ((14, "euc_kr", "a" + "한" * 100), (5, "shift_jis", "a" + "漢" * 100)):
            e = split_body(text.encode(codec), coding, 1)
            self.assertEqual("".join(p.decode(codec) for p in e.parts), text)
            self.assertEqual(count_segments(text.encode(codec), coding), e.segments)


class Headers(SynchronousTestCase):
    def test_sar(self) -> None:
        data = sar_tlvs(0x1234, 3, 2)
        self.assertEqual(decode_tlvs(data, 0, len(data)), {0x020C: b"\x12\x34", 0x020E: b"\3", 0x020F: b"\2"})

    def test_concatenation_among_other_elements(self) -> None:
        self.assertEqual(concatenation(bytes.fromhex("0B 05 04 1582 0000 00 03 2A 02 01")), (0x2A, 2, 1))
        self.assertIsNone(concatenation(bytes.fromhex("06 05 04 1582 0000")))

    @given(st.binary(max_size=20))
    def test_garbage(self, udh: bytes) -> None:
        found = concatenation(udh)
        self.assertTrue(found is None or len(found) == 3)
