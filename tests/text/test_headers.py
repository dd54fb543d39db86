from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.text import gsm, headers

_elements = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=10)), max_size=8)


class Headers(SynchronousTestCase):
    @given(_elements)
    def test_round_trip(self, elements: list[tuple[int, bytes]]) -> None:
        udh = headers.header(b"".join(headers.element(i, data) for i, data in elements))
        self.assertEqual(headers.elements(udh), elements)
        self.assertEqual(headers.without(udh), udh)
        for identifier in {i for i, _ in elements}:
            rest = [(i, d) for i, d in elements if i != identifier]
            self.assertEqual(headers.elements(headers.without(udh, identifier)), rest)

    def test_malformed(self) -> None:
        for udh in ("06 0003010201 24", "04 00030102", "02 0003", "01 00", "06 0003010201", "05"):
            self.assertIsNone(headers.elements(bytes.fromhex(udh)), udh)
            self.assertEqual(headers.without(bytes.fromhex(udh), 0, 0x24), bytes.fromhex(udh))
            self.assertIsNone(headers.concatenation(bytes.fromhex(udh)))

    def test_concatenation(self) -> None:
        for udh, place in (
            ("05 0003 2A0201", (0x2A, 2, 1)), ("06 0804 01020302", (0x0102, 3, 2)), ("0A 0003010201 0003020202", (2, 2, 2)),
            ("05 0003 010200", None), ("05 0003 010203", None), ("05 0003 010000", None), ("04 0002 0102", None),
            ("06 0804 01020003", None),
        ):  # fmt: skip
            self.assertEqual(headers.concatenation(bytes.fromhex(udh)), place, udh)

    @given(st.integers(0, 0xFFFF), st.integers(1, 255), st.integers(1, 255), st.booleans())
    def test_what_we_write_we_read(self, reference: int, total: int, number: int, wide: bool) -> None:
        number = min(number, total)
        udh = headers.header(headers.concatenation_element(reference, total, number, wide=wide))
        self.assertEqual((udh[0], len(udh)), (len(udh) - 1, 7 if wide else 6))
        self.assertEqual(headers.concatenation(udh), (reference & (0xFFFF if wide else 0xFF), total, number))

    def test_fill_bits(self) -> None:
        """After 6 octets one bit, after 7 none (23.040 figure 9.2.3.24)."""
        self.assertEqual([headers.fill_bits(n) for n in (0, 4, 6, 7, 8, 10, 12)], [0, 3, 1, 0, 6, 4, 2])

    @given(st.binary(max_size=30))
    def test_garbage(self, udh: bytes) -> None:
        headers.concatenation(udh)
        headers.without(udh, 0, 8)
        found = headers.elements(udh)
        self.assertTrue(found is None or sum(len(d) + 2 for _, d in found) <= len(udh))


class Packed(SynchronousTestCase):
    """Bodies whose septets are not told, only their octets."""

    @given(st.lists(st.integers(1, 127).filter(lambda n: n != 13)).map(bytes), st.integers(0, 6))
    def test_round_trip(self, septets: bytes, fill: int) -> None:
        packed = gsm.pack_body(septets, fill)
        self.assertEqual(gsm.unpack_body(packed, fill), septets)
        self.assertEqual(len(packed), (fill + 7 * len(septets) + 7) // 8)

    def test_seven_bits_over(self) -> None:
        """They hold CR (23.038 section 6.1.2.3.1), and so an @ does not appear; zero bits are understood too."""
        self.assertEqual(gsm.pack_body(b"1234567").hex(), "31d98c56b3dd1a")
        self.assertEqual(gsm.unpack_body(bytes.fromhex("31d98c56b3dd1a")), b"1234567")
        self.assertEqual(gsm.unpack_body(gsm.pack(b"1234567")), b"1234567")
        self.assertEqual(gsm.unpack_body(gsm.pack_body(b"123456\0")), b"123456\0")
        self.assertEqual(gsm.unpack_body(gsm.pack_body(b"1234567\0")), b"1234567")  # which the form cannot tell

    @given(st.binary(max_size=200), st.integers(0, 6))
    def test_any_octets(self, octets: bytes, fill: int) -> None:
        self.assertTrue(len(gsm.unpack_body(octets, fill)) <= len(octets) * 8 // 7)

    @given(st.lists(st.integers(0, 255)).map(bytes), st.integers(0, 6))
    def test_against_the_definition(self, octets: bytes, fill: int) -> None:
        bits = "0" * fill + "".join(f"{o & 0x7F:07b}"[::-1] for o in octets)
        bits += "0" * (-len(bits) % 8)
        expected = bytes(int(bits[i : i + 8][::-1], 2) for i in range(0, len(bits), 8))
        self.assertEqual(gsm.pack(octets, fill), expected)
