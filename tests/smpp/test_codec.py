from __future__ import annotations

from struct import pack
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.smpp import commands as c
from protei_bulk.smpp import statuses as s
from protei_bulk.smpp.codec import Pdu, decode, encode
from protei_bulk.smpp.errors import CorruptStream, RejectPdu
from protei_bulk.smpp.pdus import LAYOUTS
from tests.smpp.layouts import pdu, pdus, tlvs, words

_TWO_WAY = {
    c.BIND_RECEIVER, c.BIND_TRANSMITTER, c.BIND_TRANSCEIVER, c.QUERY_SM, c.SUBMIT_SM, c.DELIVER_SM, c.UNBIND,
    c.REPLACE_SM, c.CANCEL_SM, c.ENQUIRE_LINK, c.SUBMIT_MULTI, c.DATA_SM, c.BROADCAST_SM, c.QUERY_BROADCAST_SM, c.CANCEL_BROADCAST_SM,
}  # fmt: skip


def frame(command_id: int, body: bytes = b"", status: int = 0, sequence: int = 1) -> bytes:
    return pack(">IIII", 16 + len(body), command_id, status, sequence) + body


class RoundTrip(SynchronousTestCase):
    @given(pdus())
    def test_any_pdu(self, p: Pdu) -> None:
        self.assertEqual(decode(encode(p)), p)

    def test_every_pdu_of_the_specification_has_a_layout(self) -> None:
        one_way = {c.OUTBIND, c.ALERT_NOTIFICATION, c.GENERIC_NACK}
        self.assertEqual(set(LAYOUTS), _TWO_WAY | {i | c.RESP for i in _TWO_WAY} | one_way)
        for command_id in LAYOUTS:
            self.assertEqual(decode(encode(Pdu(command_id))).name, c.name(command_id))

    @given(st.sampled_from(sorted(i for i in LAYOUTS if i & c.RESP)), words, words)
    def test_a_response_may_lack_its_body(self, command_id: int, status: int, sequence: int) -> None:
        self.assertEqual(decode(frame(command_id, b"", status, sequence)), Pdu(command_id, status, sequence))

    @given(pdu(c.ENQUIRE_LINK | c.RESP), tlvs)
    def test_a_response_without_fields_may_carry_optional_parameters(
        self, p: Pdu, more: dict[int, bytes]
    ) -> None:
        p.tlvs = more
        self.assertEqual(decode(encode(p)), p)


class FromTheSpecification(SynchronousTestCase):
    def test_bind_transmitter(self) -> None:
        """The example of SMPP 3.4 section 3.2, octet by octet."""
        data = bytes.fromhex(
            "0000002F 00000002 00000000 00000001 534D50503354455354 00 7365637265743038 00"
            "5355424D495431 00 34 01 01 00"
        )
        p = decode(data)
        self.assertEqual(p.name, "bind_transmitter")
        self.assertEqual(p.fields, {
            "system_id": "SMPP3TEST", "password": "secret08", "system_type": "SUBMIT1",
            "interface_version": 0x34, "addr_ton": 1, "addr_npi": 1, "address_range": "",
        })  # fmt: skip
        self.assertEqual(encode(p), data)

    def test_names(self) -> None:
        self.assertEqual(c.name(c.SUBMIT_SM | c.RESP), "submit_sm_resp")
        self.assertEqual(c.name(c.GENERIC_NACK), "generic_nack")
        self.assertEqual(c.name(0x12345), "0x00012345")
        self.assertEqual(s.name(0), "ESME_ROK")
        self.assertEqual(s.name(0x58), "ESME_RTHROTTLED")
        self.assertEqual(s.name(0x12345), "0x00012345")


class Garbage(SynchronousTestCase):
    @given(st.sampled_from(sorted(LAYOUTS)), st.binary(max_size=80))
    def test_a_pdu_or_our_error(self, command_id: int, body: bytes) -> None:
        try:
            decode(frame(command_id, body))
        except RejectPdu as error:
            self.assertNotEqual(error.status, 0)

    @given(pdus(), st.data())
    def test_cut_off(self, p: Pdu, data: Any) -> None:
        whole = encode(p)
        body = whole[16 : data.draw(st.integers(16, len(whole)))]
        try:
            decode(frame(p.command_id, body))
        except RejectPdu as error:
            self.assertNotEqual(error.status, 0)

    def test_lengths_that_do_not_fit(self) -> None:
        self.assertRaises(CorruptStream, decode, b"\0" * 15)
        self.assertRaises(CorruptStream, decode, pack(">IIII", 17, 4, 0, 1))

    def check(self, command_id: int, body: bytes, status: int) -> None:
        with self.assertRaises(RejectPdu) as caught:
            decode(frame(command_id, body))
        self.assertEqual(s.name(caught.exception.status), s.name(status))

    def test_statuses_say_what_is_wrong(self) -> None:
        self.check(0x12345, b"", s.ESME_RINVCMDID)
        self.check(c.ENQUIRE_LINK, b"\0", s.ESME_RINVCMDLEN)
        self.check(c.BIND_TRANSMITTER, b"x" * 16 + b"\0", s.ESME_RINVSYSID)
        self.check(c.BIND_TRANSMITTER, b"me\0" + b"x" * 65 + b"\0", s.ESME_RINVPASWD)
        self.check(c.SUBMIT_SM, b"sixsix\0", s.ESME_RINVSERTYP)
        self.check(c.SUBMIT_SM, b"\0\1\1" + b"1" * 21 + b"\0", s.ESME_RINVSRCADR)
        self.check(c.SUBMIT_SM, b"\0\1\1\0\1\1" + b"1" * 21 + b"\0", s.ESME_RINVDSTADR)
        self.check(c.SUBMIT_MULTI, b"\0\1\1\0\1\3", s.ESME_RINVDESTFLAG)
        self.check(c.QUERY_SM, b"x" * 65 + b"\0", s.ESME_RINVMSGID)
        self.check(c.SUBMIT_SM | c.RESP, b"id\0" + b"\0\x1e\0\5abcd", s.ESME_RINVOPTPARSTREAM)

    def test_what_does_not_fit_is_not_encoded(self) -> None:
        for command_id, fields in (
            (c.SUBMIT_SM, {"source_addr": "1" * 21}), (c.SUBMIT_SM, {"source_addr": "a\0b"}),
            (c.SUBMIT_SM, {"esm_class": 256}), (c.SUBMIT_SM, {"esm_class": "1"}), (c.SUBMIT_SM, {"source_addr": 1}),
            (c.SUBMIT_SM, {"short_message": bytes(256)}), (c.SUBMIT_SM, {"short_message": "text"}),
            (c.SUBMIT_MULTI, {"destinations": ["x"] * 256}), (c.SUBMIT_MULTI, {"destinations": None}),
            (c.SUBMIT_MULTI | c.RESP, {"unsuccess_smes": [(1, 1, "1", 1 << 32)]}),
            (c.SUBMIT_MULTI | c.RESP, {"unsuccess_smes": 5}), (0x12345, {}),
        ):  # fmt: skip
            self.assertRaises(ValueError, encode, Pdu(command_id, fields=fields))
