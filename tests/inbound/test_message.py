from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.inbound.message import Mo, Place, read, row_of
from protei_bulk.smpp import commands, fast, tags
from protei_bulk.text import alphabets, gsm
from protei_bulk.text.segments import sar_tlvs, split_body


def fields(body: bytes = b"STOP", *, source: str = "962790000001", dest: str = "12345", esm_class: int = 0, coding: int = 0, ton: int = 1,
           tlvs: bytes = b"") -> tuple[Any, ...]:  # fmt: skip
    pdu = fast.encode_sm(
        commands.DELIVER_SM, 1, b"", ton, 1, source, 1, 1, dest, esm_class, 7, 0, b"", b"", 0, 0, coding, 0, body, tlvs
    )
    return fast.decode_sm(pdu, 16, len(pdu))


def mo(body: bytes = b"STOP", alphabet: str = alphabets.GSM7, **values: Any) -> Mo:
    return read(fields(body, **values), body, alphabet, "A", 5.0)


class ReadTest(SynchronousTestCase):
    def test_plain(self) -> None:
        m = mo()
        self.assertEqual((m.source, m.dest, m.text, m.body, m.data_coding, m.protocol_id), ("962790000001", "12345", "STOP", b"STOP", 0, 7))
        self.assertEqual((m.place, m.reference, m.udh, m.esm_class, m.received, m.smsc), (None, None, b"", 0, 5.0, "A"))

    def test_a_plus_is_no_part_of_a_number(self) -> None:
        m = mo(source="+962790000001", dest="+12345")
        self.assertEqual((m.source, m.dest), ("962790000001", "12345"))
        self.assertEqual(mo(source="+Shop", ton=5).source, "+Shop")

    def test_empty_and_odd(self) -> None:
        self.assertEqual((mo(b"").text, mo(b"").body), ("", b""))
        self.assertEqual((mo(source="").source, mo(dest="").dest), ("", ""))
        self.assertEqual(mo(source="Bank", ton=5).source, "Bank")

    def test_alphabets(self) -> None:
        self.assertEqual(mo("€ è".encode("utf-16-be"), coding=8).text, "€ è")
        self.assertEqual(mo("è".encode("latin-1"), coding=3).text, "è")
        self.assertIsNone(mo(b"\1\2", coding=4).text)
        self.assertEqual(mo(b"\xd8\0", coding=8).text, "�")
        self.assertEqual(mo("a\0b".encode("utf-16-be"), coding=8).text, "a b")

    def test_what_data_coding_0_means_to_the_connector(self) -> None:
        m = mo("è".encode("latin-1"), alphabets.LATIN1)
        self.assertEqual((m.text, m.body, m.data_coding), ("è", gsm.encode("è"), 0))
        m = mo("ê".encode("latin-1"), alphabets.LATIN1)
        self.assertEqual((m.text, m.body, m.data_coding), ("ê", "ê".encode("utf-16-be"), 8))
        m = mo(gsm.pack_body(gsm.encode("hello")), alphabets.PACKED)
        self.assertEqual((m.text, m.body, m.data_coding), ("hello", b"hello", 0))

    def test_parts(self) -> None:
        for wide, kind, reference in ((False, 8, 0x34), (True, 16, 0x1234)):
            split = split_body(b"x" * 400, 0, 0x1234, wide=wide)
            for n, (udh, body) in enumerate(zip(split.udhs, split.parts, strict=True), 1):
                m = mo(udh + body, esm_class=0x43)
                self.assertEqual((m.place, m.reference), (Place(kind, reference, 3, n), reference))
                self.assertEqual((m.body, m.udh, m.esm_class), (body, b"", 0))
        m = mo(tlvs=sar_tlvs(9, 3, 2) + fast.encode_tlvs({tags.USER_MESSAGE_REFERENCE: b"\0\1"}))
        self.assertEqual((m.place, m.tlvs), (Place(0, 9, 3, 2), {tags.USER_MESSAGE_REFERENCE: b"\0\1"}))

    def test_a_header_and_sar_at_once(self) -> None:
        m = mo(b"\5\0\3\7\2\1hi", esm_class=0x40, tlvs=sar_tlvs(9, 3, 2))
        self.assertEqual((m.place, m.tlvs), (Place(8, 7, 2, 1), {}))

    def test_other_elements_stay(self) -> None:
        m = mo(b"\x0b\5\4\x0b\x84\x23\xf0\0\3\7\2\1hi", esm_class=0x40, coding=4)
        self.assertEqual((m.place, m.udh, m.body), (Place(8, 7, 2, 1), b"\6\5\4\x0b\x84\x23\xf0", b"hi"))

    def test_one_part_is_a_message(self) -> None:
        m = mo(b"\5\0\3\7\1\1hi", esm_class=0x40)
        self.assertEqual((m.place, m.udh, m.text), (None, b"", "hi"))

    def test_places_that_cannot_be(self) -> None:
        for total, number in ((0, 1), (2, 0), (2, 3), (0, 0)):
            m = mo(bytes((5, 0, 3, 7, total, number)) + b"hi", esm_class=0x40)
            self.assertEqual((m.place, m.udh, m.body), (None, bytes((5, 0, 3, 7, total, number)), b"hi"))
            m = mo(tlvs=sar_tlvs(9, total, number))
            self.assertEqual((m.place, len(m.tlvs)), (None, 3))

    def test_headers_that_cannot_be_read(self) -> None:
        for body in (b"", b"\0", b"\x05\0\3", b"\xff" + b"x" * 100, b"\5\0\x09\1\2\3hi", b"\3\0\3\1hello"):
            m = mo(body, esm_class=0x40)
            self.assertEqual((m.udh, m.body, m.place, m.esm_class), (b"", body, None, 0))

    def test_what_an_smsc_sends_again_is_equal(self) -> None:
        one = mo()
        self.assertEqual(read(fields(), b"STOP", "gsm7", "B", 9.0).digest, one.digest)
        others = [mo(b"stop"), mo(source="1"), mo(dest="1"), mo(esm_class=0x10), mo(coding=1), mo(tlvs=sar_tlvs(1, 2, 1))]
        self.assertEqual(len({m.digest for m in [one, *others]}), 7)

    def test_rows(self) -> None:
        m = mo(b"\5\0\3\7\2\1hi", esm_class=0x50, tlvs=fast.encode_tlvs({5120: b"\xff"}))
        m.id = "MO-1"
        self.assertEqual(
            row_of(m),
            {"i": "MO-1", "h": m.digest, "q": "A", "f": "962790000001", "t": "12345", "b": "6869", "rv": 5.0, "o": 0x01010101, "tx": "hi",
             "e": 0x10, "pi": 7, "tl": {"5120": "ff"}, "rf": 7, "k": 8, "s": 2, "n": 1},
        )  # fmt: skip
        self.assertEqual(row_of(mo(ton=255))["o"], 0xFF010101 - (1 << 32))

    @settings(deadline=None, max_examples=300)
    @given(
        st.binary(max_size=254), st.integers(0, 255), st.integers(0, 255), st.sampled_from(alphabets.DEFAULTS),
        st.dictionaries(st.sampled_from([0x020C, 0x020E, 0x020F, 0x0204, 0x1400]), st.binary(max_size=5)),
    )  # fmt: skip
    def test_any_octets(self, body: bytes, esm_class: int, coding: int, alphabet: str, tlvs: dict[int, bytes]) -> None:
        m = read(fields(body, esm_class=esm_class, coding=coding, tlvs=fast.encode_tlvs(tlvs)), body, alphabet, "A", 0.0)
        row = row_of(m)
        if m.text is not None:
            self.assertNotIn("\0", m.text)
            m.text.encode()
        if m.place is not None:
            self.assertTrue(1 <= row["n"] <= row["s"] <= 255)
