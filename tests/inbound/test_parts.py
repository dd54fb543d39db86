from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.inbound.parts import join


def part(number: int, body: bytes, coding: int = 0, *, total: int = 3, have: int = 3, **values: Any) -> tuple[Any, ...]:
    return (
        "MO-1", "A", "1", "2", 8, 77, total, have, number, 0x01020304, coding, 0x10, 7, values.get("udh"), body, values.get("tlvs"),
        10.0 - number,
    )  # fmt: skip


class JoinTest(SynchronousTestCase):
    def test_all(self) -> None:
        m = join([part(1, b"one ", tlvs={"5120": "ff"}), part(2, b"two "), part(3, b"three", udh=b"\x04\x05\x02\x00\x01")])
        self.assertEqual((m.id, m.smsc, m.source, m.dest, m.text, m.body), ("MO-1", "A", "1", "2", "one two three", b"one two three"))
        self.assertEqual((m.source_ton, m.source_npi, m.dest_ton, m.dest_npi, m.esm_class, m.protocol_id), (1, 2, 3, 4, 0x10, 7))
        self.assertEqual((m.reference, m.parts, m.missing, m.udh, m.tlvs, m.received), (77, 3, 0, b"", {5120: b"\xff"}, 9.0))
        self.assertIsNone(m.place)

    def test_some(self) -> None:
        m = join([part(1, b"one ", have=2), part(3, b"three", have=2)])
        self.assertEqual((m.text, m.parts, m.missing), ("one three", 3, 1))

    def test_a_pair_of_surrogates_in_two_parts(self) -> None:
        octets = "a😀".encode("utf-16-be")
        m = join([part(1, octets[:4], 8, total=2, have=2), part(2, octets[4:], 8, total=2, have=2)])
        self.assertEqual((m.text, m.body), ("a😀", octets))

    def test_parts_in_different_alphabets(self) -> None:
        m = join([part(1, b"one "), part(2, "deux é".encode("utf-16-be"), 8), part(3, b"\xff", 4)])
        self.assertEqual((m.text, m.data_coding), ("one deux éÿ", 8))
        self.assertEqual(m.body, "one deux éÿ".encode("utf-16-be"))

    def test_octets(self) -> None:
        m = join([part(1, b"\1\2", 4, total=2, have=2), part(2, b"\3", 4, total=2, have=2)])
        self.assertEqual((m.text, m.body, m.data_coding), (None, b"\1\2\3", 4))
