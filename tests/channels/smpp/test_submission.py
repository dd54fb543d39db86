from __future__ import annotations

import json
from typing import Any, ClassVar

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.channels.smpp.submission import AS_IT_IS, Reading, message_of, reading_of
from protei_bulk.model.account import Account
from protei_bulk.model.message import Message
from protei_bulk.smpp import fast, tags
from protei_bulk.smpp.errors import RejectPdu
from protei_bulk.store.messages import message_from_row, row_of
from protei_bulk.text import alphabets, gsm
from tests.channels.smpp.fakes import submit

NOW = 1_800_000_000.0


def read(pdu: bytes, reading: Reading = AS_IT_IS) -> Message:
    return message_of(fast.decode_sm(pdu, 16, len(pdu)), NOW, reading)


def stored(m: Message) -> Message:
    """What comes back from the database: as accept_messages() stores it and _COLUMNS reads it."""
    r: dict[str, Any] = json.loads(json.dumps(row_of(m, "2027-01-15"), ensure_ascii=False).encode())
    for value in (r["x"], r["f"], r["t"]):
        assert "\0" not in value  # PostgreSQL takes none in a text
    r.update(r.pop("m", {}))
    payload = bytes.fromhex(r["b"]) if "b" in r else None
    udh = bytes.fromhex(r["l"]) if "l" in r else None
    return message_from_row(
        (
            r["i"], r["u"], r["k"], r["f"], r["t"], r["x"], payload, udh, r.get("d", 0), r.get("e", 0), r.get("pi", 0), r.get("r", 0),
            r["o"], r.get("y", 1), r["s"], r.get("p", 0), r.get("tl"), r.get("du"), r.get("v"), 0.0, r["h"], r["q"], r["z"], "", 0,
            r.get("st", ""), "", 0, r.get("li"), r.get("ln"), r.get("lt"), r.get("lm", False), "", "",
        )
    )  # fmt: skip


_KEPT = (
    "source", "source_ton", "source_npi", "dest", "dest_ton", "dest_npi", "body", "udh", "data_coding", "esm_class", "protocol_id",
    "priority", "registered", "segments", "valid_until", "tlvs",
)  # fmt: skip


class RoundTripTest(SynchronousTestCase):
    def check(self, pdu: bytes, udh: bytes, body: bytes) -> Message:
        m = read(pdu)
        back = stored(m)
        for name in _KEPT:
            self.assertEqual(getattr(m, name), getattr(back, name), name)
        self.assertEqual((udh, body), (back.udh, back.body))
        return m

    @given(st.binary(max_size=140), st.integers(0, 255))
    def test_any_octets_in_any_coding(self, body: bytes, coding: int) -> None:
        self.check(submit(1, body, data_coding=coding), b"", body)

    @given(st.lists(st.sampled_from([b"\x1b", b"\x65", b"\x00", b"\x1b\x65", b"A", b"\x80", b"\x28"])).map(b"".join))
    def test_escapes(self, body: bytes) -> None:
        body = body[:140]
        self.check(submit(1, body), b"", body)

    @given(st.binary(min_size=1, max_size=30), st.binary(max_size=100), st.sampled_from([0, 4, 8]))
    def test_with_a_header(self, header: bytes, body: bytes, coding: int) -> None:
        udh = bytes((len(header),)) + header
        m = self.check(submit(1, udh + body, esm_class=0x43, data_coding=coding), udh, body)
        self.assertEqual(0x03, m.esm_class)

    @given(st.binary(min_size=1, max_size=2000), st.sampled_from([0, 1, 3, 4, 8]))
    def test_payload(self, body: bytes, coding: int) -> None:
        self.check(submit(1, b"", data_coding=coding, tlvs={tags.MESSAGE_PAYLOAD: body}), b"", body)

    @given(st.dictionaries(st.integers(0, 65535).filter(lambda t: t != tags.MESSAGE_PAYLOAD), st.binary(max_size=20), max_size=4))
    def test_optional_parameters(self, tlvs: dict[int, bytes]) -> None:
        m = self.check(submit(1, b"Hi", tlvs=tlvs), b"", b"Hi")
        self.assertEqual(tlvs or None, m.tlvs)

    def test_ucs2(self) -> None:
        for body, exact in (
            ("\u0645\u0631\u062d\u0628\u0627 \U0001f600".encode("utf-16-be"), True),
            (b"\xd8\x3d", False),  # half a surrogate pair
            (b"\xde\x00\x00A", False),
            (b"\x00A\x00", False),  # an octet too many
            (b"\x00A\x00\x00", False),  # a NUL character
            (b"\xfe\xff\x00A", True),
        ):
            m = self.check(submit(1, body, data_coding=8), b"", body)
            self.assertEqual(exact, not m.binary, body)
            m.text.encode()

    def test_text_is_what_people_read(self) -> None:
        self.assertEqual("[\u20ac] @\u00a3", read(submit(1, b"\x1b<\x1be\x1b> \x00\x01")).text)
        self.assertEqual("", read(submit(1, b"abc", data_coding=4)).text)


class ReadingTest(SynchronousTestCase):
    """What an account's ESMEs mean."""

    def check(self, reading: Reading, body: bytes, coding: int, want: tuple[str, int, bytes], **pdu: Any) -> Message:
        m = read(submit(1, body, data_coding=coding, **pdu), reading)
        self.assertEqual((m.text, m.data_coding, m.body), want)
        back = stored(m)
        self.assertEqual((back.data_coding, back.body, back.udh), (m.data_coding, m.body, m.udh))
        return m

    def test_of_an_account(self) -> None:
        self.assertIs(reading_of(Account(1, "a", 1)), AS_IT_IS)
        self.assertEqual(reading_of(Account(1, "a", 1, smpp_alphabet="latin1")), Reading("latin1"))
        self.assertEqual(reading_of(Account(1, "a", 1, smart_encoding=True, max_parts=3)), Reading(smart=True))

    def test_alphabets(self) -> None:
        self.check(Reading("latin1"), b"\xe9@[", 0, ("é@[", 0, b"\x05\0\x1b<"))
        self.check(Reading("latin1"), b"\xe2", 0, ("â", 8, b"\0\xe2"))
        self.check(Reading("latin1"), b"\x05", 3, ("\x05", 3, b"\x05"))
        self.check(Reading("utf8"), "€ да".encode(), 0, ("€ да", 8, "€ да".encode("utf-16-be")))
        self.check(Reading("utf8"), b"\0", 0, (" ", 8, b"\0\0"))  # no column of the database takes U+0000
        self.check(Reading("ascii"), b"a\xff", 0, ("a?", 0, b"a?"))

    def test_packed(self) -> None:
        reading = Reading("gsm7-packed")
        text = "{Hello} " * 20
        septets = gsm.encode(text)
        self.assertEqual(len(septets), 200)
        packed = b"", {tags.MESSAGE_PAYLOAD: gsm.pack_body(septets)}
        m = self.check(reading, packed[0], 0, (text, 0, septets), tlvs=packed[1])
        self.assertEqual(m.segments, 2)
        self.check(reading, gsm.pack_body(b"x" * 160), 0, ("x" * 160, 0, b"x" * 160))
        udh = b"\x05\0\x03\x01\x02\x01"
        self.check(reading, udh + gsm.pack_body(b"x" * 153, 1), 0, ("x" * 153, 0, b"x" * 153), esm_class=0x40)
        self.check(reading, udh, 0, ("", 0, b""), esm_class=0x40)
        self.check(reading, b"\0a", 8, ("a", 8, b"\0a"))

    def test_a_part_that_fits_nowhere(self) -> None:
        error = self.assertRaises(
            RejectPdu, read, submit(1, b"\x05\0\x03\x01\x02\x01" + "âa".encode() * 44, esm_class=0x40), Reading("utf8")
        )
        self.assertEqual(error.status, 0x01)

    def test_smart(self) -> None:
        reading = Reading(smart=True)
        wide = "“Hi”…".encode("utf-16-be")
        self.check(reading, wide, 8, ('"Hi"...', 0, b'"Hi"...'))
        self.check(reading, wide, 0x18, ('"Hi"...', 0x10, b'"Hi"...'))  # of the same class
        self.check(reading, "“Ж”".encode("utf-16-be"), 8, ("“Ж”", 8, "“Ж”".encode("utf-16-be")))
        self.check(reading, b"\x1be", 0, ("€", 0, b"\x1be"))
        udh = b"\x05\0\x03\x01\x02\x01"
        self.check(reading, udh + wide, 8, ("“Hi”…", 8, wide), esm_class=0x40)  # the other parts may not fit
        sar = {tags.SAR_MSG_REF_NUM: b"\0\1", tags.SAR_TOTAL_SEGMENTS: b"\2", tags.SAR_SEGMENT_SEQNUM: b"\1"}
        self.check(reading, wide, 8, ("“Hi”…", 8, wide), tlvs=sar)
        self.check(reading, b"\xd8\0", 8, ("\ufffd", 8, b"\xd8\0"))

    def test_shifts(self) -> None:
        m = self.check(AS_IT_IS, b"\x03\x24\x01\x01\x1bs\x1bi", 0, ("şı", 0, b"\x1bs\x1bi"), esm_class=0x40)
        self.assertEqual((m.udh, m.binary), (b"\x03\x24\x01\x01", True))
        self.check(AS_IT_IS, b"\x03\x25\x01\x06\x2f\x42", 0, ("नम", 0, b"\x2f\x42"), esm_class=0x40)
        self.check(AS_IT_IS, b"\x03\x24\x01\x01\0s", 8, ("s", 8, b"\0s"), esm_class=0x40)  # of UCS-2 it says nothing

    @given(
        st.binary(max_size=200), st.integers(0, 255), st.sampled_from([0, 0x40]),
        st.builds(Reading, st.sampled_from(alphabets.DEFAULTS), st.booleans()), st.booleans(),
    )  # fmt: skip
    def test_anything(self, body: bytes, coding: int, esm_class: int, reading: Reading, payload: bool) -> None:
        tlvs = {tags.MESSAGE_PAYLOAD: body} if payload else None
        try:
            m = read(submit(1, b"" if payload else body, data_coding=coding, esm_class=esm_class, tlvs=tlvs), reading)
        except RejectPdu as error:
            self.assertIn(error.status, (0x01, 0x43))
            return
        back = stored(m)
        for name in _KEPT:
            self.assertEqual(getattr(m, name), getattr(back, name), name)


class FieldsTest(SynchronousTestCase):
    def status(self, pdu: bytes) -> int:
        error = self.assertRaises(RejectPdu, read, pdu)
        return int(error.status)

    def test_addresses(self) -> None:
        m = read(submit(1, dest="+962788123456"))
        self.assertEqual(("Shop", 5, 0, "962788123456", 1, 1), (m.source, m.source_ton, m.source_npi, m.dest, m.dest_ton, m.dest_npi))

    def test_lanes(self) -> None:
        self.assertEqual([1, 2, 3, 3], [read(submit(1, priority=n)).priority for n in range(4)])

    def test_segments(self) -> None:
        for size, coding, n in ((160, 0, 1), (161, 0, 2), (140, 8, 1), (142, 8, 2), (140, 4, 1), (141, 4, 2)):
            self.assertEqual(n, read(submit(1, b"A" * size, data_coding=coding)).segments, (size, coding))

    def test_times(self) -> None:
        m = read(submit(1, schedule=b"000000010000000R", validity=b"000001000000000R"))
        self.assertEqual((NOW + 3600, NOW + 3600 + 86400), (m.not_before, m.valid_until))
        self.assertEqual("SCHEDULED", row_of(m, "")["z"])

    def test_wrong_times(self) -> None:
        self.assertEqual(0x61, self.status(submit(1, schedule=b"tomorrow")))
        self.assertEqual(0x62, self.status(submit(1, validity=b"991399000000000+")))

    def test_text_in_both_places(self) -> None:
        self.assertEqual(0xC1, self.status(submit(1, b"x", tlvs={tags.MESSAGE_PAYLOAD: b"y"})))
        self.assertEqual(b"x", read(submit(1, b"x", tlvs={tags.MESSAGE_PAYLOAD: b""})).body)

    def test_a_header_that_is_none(self) -> None:
        for body in (b"", b"\x00abc", b"\x05abc"):
            self.assertEqual(0x43, self.status(submit(1, body, esm_class=0x40)))

    def test_a_segment_that_is_too_long(self) -> None:
        self.assertEqual(0x01, self.status(submit(1, b"\x05\0\x03\x01\x02\x01" + b"A" * 160, esm_class=0x40)))

    def test_room_beside_a_header(self) -> None:
        """A longer header leaves less; each alphabet has its own measure."""
        for udh, coding, most in (
            ("0500030102 01", 0, 153), ("0608040001 0201", 0, 152), ("0500030102 01", 8, 134), ("0608040001 0201", 4, 133),
            ("0B0504158200000003010201", 0, 146), ("0B0504158200000003010201", 4, 128), ("03240101", 0, 155),
        ):  # fmt: skip
            header = bytes.fromhex(udh.replace(" ", ""))
            self.assertEqual(1, read(submit(1, header + b"A" * most, data_coding=coding, esm_class=0x40)).segments)
            self.assertEqual(0x01, self.status(submit(1, header + b"A" * (most + 1), data_coding=coding, esm_class=0x40)))

    def test_parts_by_tlvs(self) -> None:
        sar = {tags.SAR_MSG_REF_NUM: b"\0\1", tags.SAR_TOTAL_SEGMENTS: b"\2", tags.SAR_SEGMENT_SEQNUM: b"\1"}
        for coding, most in ((0, 153), (8, 134), (4, 134)):
            m = read(submit(1, b"A" * most, data_coding=coding, tlvs=sar))
            self.assertEqual((m.segments, m.tlvs), (1, sar))
            self.assertEqual(0x01, self.status(submit(1, b"A" * (most + 1), data_coding=coding, tlvs=sar)))
        self.assertEqual(2, read(submit(1, b"A" * 161, tlvs={**sar, tags.SAR_TOTAL_SEGMENTS: b"\1"})).segments)

    def test_a_header_and_tlvs_that_say_the_same(self) -> None:
        """Both at once are not allowed: the header stays."""
        sar = {tags.SAR_MSG_REF_NUM: b"\0\1", tags.SAR_TOTAL_SEGMENTS: b"\2", tags.SAR_SEGMENT_SEQNUM: b"\1", 0x1400: b"x"}
        m = read(submit(1, b"\x05\0\x03\x01\x02\x01A", esm_class=0x40, tlvs=sar))
        self.assertEqual((m.udh, m.tlvs), (b"\x05\0\x03\x01\x02\x01", {0x1400: b"x"}))
        m = read(submit(1, b"\x03\x24\x01\x01A", esm_class=0x40, tlvs=sar))
        self.assertEqual(m.tlvs, sar)

    def test_as_long_as_can_be_counted(self) -> None:
        self.assertEqual(255, read(submit(1, b"", tlvs={tags.MESSAGE_PAYLOAD: b"A" * 153 * 255})).segments)
        self.assertEqual(0x01, self.status(submit(1, b"", tlvs={tags.MESSAGE_PAYLOAD: b"A" * (153 * 255 + 1)})))

    def test_short_message_of_255_octets(self) -> None:
        self.assertEqual(2, read(submit(1, b"A" * 254)).segments)
        frame = bytearray(submit(1, b"A" * 254))
        frame[-255:] = b"\xff" + b"A" * 255
        self.assertEqual(0x01, self.status(bytes(frame)))

    @given(st.binary(max_size=300))
    def test_nothing_else_is_raised(self, body: bytes) -> None:
        try:
            read(bytes(16) + body)
        except RejectPdu as error:
            self.assertGreater(error.status, 0)

    @given(st.text(st.characters(max_codepoint=255), min_size=16, max_size=16), st.integers(0, 2))
    def test_any_time_is_read_or_refused(self, text: str, where: int) -> None:
        octets = text.replace("\0", "0").encode("latin-1")
        try:
            read(submit(1, schedule=octets if where else b"", validity=octets if where != 1 else b""))
        except RejectPdu as error:
            self.assertIn(error.status, (0x61, 0x62))


class PartsTest(SynchronousTestCase):
    """What an ESME has split itself."""

    SAR: ClassVar[dict[int, bytes]] = {0x020C: b"\0\x09", 0x020E: b"\3", 0x020F: b"\2"}
    UDH = b"\x05\x00\x03\x07\x03\x01"

    def place(self, m: Message) -> tuple[int, int, int] | None:
        return None if m.long is None else (m.long.reference, m.long.total, m.long.number)

    def test_by_header_or_parameters(self) -> None:
        self.assertEqual(self.place(read(submit(1, self.UDH + b"x", esm_class=0x40))), (7, 3, 1))
        self.assertEqual(self.place(read(submit(1, b"x", tlvs=self.SAR))), (0x10009, 3, 2))
        self.assertEqual(self.place(read(submit(1, self.UDH + b"x", esm_class=0x40, tlvs=self.SAR))), (7, 3, 1))
        self.assertEqual(self.place(read(submit(1, b"\x02\x70\x00x", esm_class=0x40, tlvs=self.SAR))), (0x10009, 3, 2))

    def test_whole_ones(self) -> None:
        for pdu in (
            submit(1, b"x"), submit(1, b"x", tlvs={0x0204: b"\0\1"}), submit(1, b"x" * 200), submit(1, b"\x02\x70\x00x", esm_class=0x40),
            submit(1, b"x", tlvs={**self.SAR, 0x020E: b"\1", 0x020F: b"\1"}), submit(1, b"x", tlvs={**self.SAR, 0x020F: b"\4"}),
        ):  # fmt: skip
            self.assertIsNone(read(pdu).long)

    def test_a_part_replaces_nothing(self) -> None:
        def replacing(pdu: bytes) -> bool:
            f = list(fast.decode_sm(pdu, 16, len(pdu)))
            f[13] = 1
            return message_of(tuple(f), NOW).replaces

        self.assertTrue(replacing(submit(1, b"x")))
        self.assertFalse(replacing(submit(1, b"x", tlvs=self.SAR)))
        self.assertFalse(replacing(submit(1, self.UDH + b"x", esm_class=0x40)))

    def test_the_database_gives_it_back(self) -> None:
        m = read(submit(1, self.UDH + b"x", esm_class=0x40))
        assert m.long is not None
        m.long.of.id, m.long.merged = "MSG-000000000001", True
        back = stored(m)
        assert back.long is not None
        self.assertEqual((back.long.of.id, back.long.number, back.long.total, back.long.merged), ("MSG-000000000001", 1, 3, True))
