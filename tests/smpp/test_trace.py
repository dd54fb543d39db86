from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.smpp import commands, fast, tags
from protei_bulk.smpp.codec import Pdu, encode
from protei_bulk.smpp.framer import Framer
from protei_bulk.smpp.trace import Trace, describe


def line(pdu: bytes) -> str:
    return describe(*(int.from_bytes(pdu[n : n + 4], "big") for n in (4, 8, 12)), pdu[16:])


class DescribeTest(SynchronousTestCase):
    def test_a_bind(self) -> None:
        fields = {"system_id": "ahmad", "password": "Secret#1", "system_type": "", "interface_version": 0x34}
        self.assertEqual(
            "bind_transceiver seq=7 system_id='ahmad' password=(8 octets) system_type='' interface_version=52 addr_ton=0"
            " addr_npi=0 address_range=''",
            line(encode(Pdu(commands.BIND_TRANSCEIVER, 0, 7, fields))),
        )

    def test_a_message(self) -> None:
        pdu = fast.encode_sm(
            commands.SUBMIT_SM, 9, b"", 5, 0, "Shop", 1, 1, "962788123456", 0, 0, 0, b"", b"", 1, 0, 0, 0, b"Your PIN is 1234",
            fast.encode_tlvs({tags.USER_MESSAGE_REFERENCE: b"\0\7", 0x1401: b"PIN 1234", tags.MESSAGE_PAYLOAD: b"PIN 1234"}),
        )  # fmt: skip
        shown = line(pdu)
        self.assertIn("submit_sm seq=9 service_type='' source_addr_ton=5 source_addr_npi=0 source_addr='Shop'", shown)
        self.assertIn("short_message=(16 octets) user_message_reference=0x0007 0x1401=(8 octets) message_payload=(8 octets)", shown)
        self.assertNotIn("PIN", shown)

    def test_an_answer(self) -> None:
        self.assertEqual("submit_sm_resp seq=3 ESME_ROK message_id='MSG-1'", line(fast.submit_resp(3, "MSG-1")))
        self.assertEqual("submit_sm_resp seq=3 ESME_RTHROTTLED", line(fast.header(0x80000004, 0x58, 3)))
        self.assertEqual("generic_nack seq=3 0x00000400", line(fast.header(0x80000000, 0x400, 3)))

    def test_a_receipt_says_what_became_of_the_message_and_not_what_it_said(self) -> None:
        text = b"id:MSG-1 sub:001 dlvrd:001 submit date:2501161000 done date:2501161001 stat:DELIVRD err:000 text:PIN 1234 stat:X"
        pdu = fast.encode_sm(commands.DELIVER_SM, 1, b"", 1, 1, "962", 5, 0, "Shop", 4, 0, 0, b"", b"", 0, 0, 0, 0, text)
        self.assertIn("[id:MSG-1 sub:001 dlvrd:001 submit date:2501161000 done date:2501161001 stat:DELIVRD err:000]", line(pdu))
        self.assertNotIn("PIN", line(pdu))

    def test_a_message_from_a_mobile_is_no_receipt(self) -> None:
        pdu = fast.encode_sm(commands.DELIVER_SM, 1, b"", 1, 1, "962", 5, 0, "Shop", 0, 0, 0, b"", b"", 0, 0, 0, 0, b"id:PIN1234")
        self.assertNotIn("PIN", line(pdu))

    def test_what_cannot_be_read(self) -> None:
        self.assertEqual(
            "submit_sm seq=1 (2 octets: status 0x15: service_type has no end)", describe(commands.SUBMIT_SM, 0, 1, b"ab")
        )
        self.assertEqual("0x00000777 seq=1 (0 octets: status 0x3: command 0x777)", describe(0x777, 0, 1, b""))

    @given(st.integers(0, 2**32 - 1) | st.sampled_from([1, 2, 3, 4, 5, 7, 8, 9, 0xB, 0x21, 0x103, 0x80000021]), st.integers(0, 2**32 - 1),
           st.integers(0, 2**32 - 1), st.binary(max_size=200))  # fmt: skip
    def test_anything_is_one_printable_line(self, command: int, status: int, sequence: int, body: bytes) -> None:
        shown = describe(command, status, sequence, body)
        self.assertTrue(shown.isascii() and shown.isprintable(), shown)


class TraceTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 1000.0
        self.lines: list[str] = []
        self.trace = Trace("user ahmad", self.lines.append, lambda: self.now, most=3)

    def test_both_directions(self) -> None:
        buf, frames = Framer().feed(fast.header(0x15, 0, 1) + fast.header(0x15, 0, 2))
        self.trace.read(buf, frames, "ahmad@10.0.0.1:5")
        self.trace.wrote(fast.header(0x80000015, 0, 1), "ahmad@10.0.0.1:5")
        self.assertEqual(
            [
                "ahmad@10.0.0.1:5 in  enquire_link seq=1",
                "ahmad@10.0.0.1:5 in  enquire_link seq=2",
                "ahmad@10.0.0.1:5 out enquire_link_resp seq=1 ESME_ROK",
            ],
            self.lines,
        )

    def test_no_more_than_so_many_lines_a_second(self) -> None:
        for n in range(10):
            self.trace.wrote(fast.header(0x15, 0, n), "x")
        self.trace.flush()
        self.assertEqual(3, len(self.lines))
        self.now += 1
        self.trace.flush()
        self.assertEqual("user ahmad: 7 more suppressed", self.lines[-1])
        self.trace.wrote(fast.header(0x15, 0, 11), "x")
        self.assertEqual(5, len(self.lines))
