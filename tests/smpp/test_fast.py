from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.smpp import commands as c
from protei_bulk.smpp import fast, tags
from protei_bulk.smpp import statuses as s
from protei_bulk.smpp.codec import Pdu, decode, encode
from protei_bulk.smpp.errors import RejectPdu
from tests.smpp.layouts import octet, pdu, text, tlvs, words

_ORDER = (
    "service_type", "source_addr_ton", "source_addr_npi", "source_addr", "dest_addr_ton", "dest_addr_npi",
    "destination_addr", "esm_class", "protocol_id", "priority_flag", "schedule_delivery_time", "validity_period",
    "registered_delivery", "replace_if_present_flag", "data_coding", "sm_default_msg_id", "short_message",
)  # fmt: skip
_sm = st.sampled_from([c.SUBMIT_SM, c.DELIVER_SM])


def named(fields: fast.Fields) -> dict[str, Any]:
    return dict(zip(_ORDER, fields, strict=False))


class EqualToTheCodec(SynchronousTestCase):
    @given(_sm.flatmap(pdu), st.binary(max_size=20), st.binary(max_size=40))
    def test_decoding_amid_other_octets(self, p: Pdu, before: bytes, after: bytes) -> None:
        frame = encode(p)
        start = len(before) + 16
        got = fast.decode_sm(before + frame + after, start, len(before) + len(frame))
        self.assertEqual(named(got), p.fields)
        self.assertEqual(got[-1] or {}, p.tlvs)

    @given(_sm.flatmap(pdu).filter(lambda p: len(p.fields["short_message"]) <= 254))
    def test_encoding(self, p: Pdu) -> None:
        p.status = 0
        f = [p.fields[name] for name in _ORDER]
        for i in (0, 10, 11):
            f[i] = f[i].encode("latin-1")
        more = fast.encode_tlvs(p.tlvs)
        self.assertEqual(fast.encode_sm(p.command_id, p.sequence, *f, more), encode(p))

    @given(_sm, st.binary(max_size=60), st.binary(max_size=40))
    def test_garbage(self, command_id: int, body: bytes, after: bytes) -> None:
        self.same(command_id, body, after)

    @given(_sm.flatmap(pdu), st.binary(max_size=40), st.data())
    def test_cut_off(self, p: Pdu, after: bytes, data: Any) -> None:
        body = encode(p)[16:]
        self.same(p.command_id, body[: data.draw(st.integers(0, len(body)))], after)

    @given(text(8), text(24), text(24), text(19), text(19))
    def test_too_long(self, service: str, source: str, dest: str, schedule: str, validity: str) -> None:
        body = b"%b\0\1\1%b\0\1\1%b\0\0\0\0%b\0%b\0\0\0\0\0\0" % tuple(
            t.encode("latin-1") for t in (service, source, dest, schedule, validity)
        )
        self.same(c.SUBMIT_SM, body, b"")

    def same(self, command_id: int, body: bytes, after: bytes) -> None:
        frame = fast.header(command_id, 0, 1)[4:] + body
        frame = (len(frame) + 4).to_bytes(4, "big") + frame
        try:
            expected = decode(frame)
        except RejectPdu as error:
            with self.assertRaises(RejectPdu) as caught:
                fast.decode_sm(frame + after, 16, len(frame))
            # Where the PDU ends within a number, either may name the field that follows it.
            if s.ESME_RINVMSGLEN not in (error.status, caught.exception.status):
                self.assertEqual(caught.exception.status, error.status)
        else:
            got = fast.decode_sm(frame + after, 16, len(frame))
            self.assertEqual(named(got), expected.fields)
            self.assertEqual(got[-1] or {}, expected.tlvs)


class Bits(SynchronousTestCase):
    @given(words, words)
    def test_header(self, status: int, sequence: int) -> None:
        data = fast.header(c.GENERIC_NACK, status, sequence)
        self.assertEqual(decode(data), Pdu(c.GENERIC_NACK, status, sequence))

    @given(words, st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=64))
    def test_responses(self, sequence: int, message_id: str) -> None:
        data = fast.submit_resp(sequence, message_id)
        self.assertEqual(decode(data), Pdu(c.SUBMIT_SM | c.RESP, 0, sequence, {"message_id": message_id}))
        self.assertEqual(fast.response_id(b"xy" + data + b"zz", 18, 2 + len(data)), message_id)
        data = fast.deliver_resp(sequence)
        self.assertEqual(decode(data), Pdu(c.DELIVER_SM | c.RESP, 0, sequence, {"message_id": ""}))

    def test_response_id_of_peers_that_leave_things_out(self) -> None:
        self.assertEqual(fast.response_id(b"", 0, 0), "")
        self.assertEqual(fast.response_id(b"abc", 0, 3), "abc")
        self.assertEqual(fast.response_id(b"abc\0\0\x1e\0\1x", 0, 9), "abc")
        self.assertEqual(fast.response_id(b"x" * 100 + b"\0", 0, 101), "x" * 64)

    @given(tlvs)
    def test_tlvs(self, given_: dict[int, bytes]) -> None:
        data = fast.encode_tlvs(given_)
        self.assertEqual(fast.decode_tlvs(b"z" + data + b"z", 1, 1 + len(data)), given_)

    def test_of_a_tag_that_comes_twice_the_last_counts(self) -> None:
        data = fast.encode_tlvs({tags.MESSAGE_STATE: b"\1"}) + fast.encode_tlvs({tags.MESSAGE_STATE: b"\2"})
        self.assertEqual(fast.decode_tlvs(data, 0, len(data)), {tags.MESSAGE_STATE: b"\2"})

    @given(st.binary(min_size=255, max_size=600), octet)
    def test_a_long_body_goes_as_message_payload(self, body: bytes, data_coding: int) -> None:
        data = fast.encode_sm(
            c.SUBMIT_SM,
            1,
            b"",
            0,
            0,
            "A",
            1,
            1,
            "1",
            0,
            0,
            0,
            b"",
            b"",
            0,
            0,
            data_coding,
            0,
            body,
            b"\2\4\0\2ab",
        )
        got = fast.decode_sm(data, 16, len(data))
        self.assertEqual(got[-2], b"")
        self.assertEqual(got[-1], {tags.MESSAGE_PAYLOAD: body, tags.USER_MESSAGE_REFERENCE: b"ab"})

    def test_no_field_is_read_from_the_next_pdu(self) -> None:
        body = b"\0\1\1A\0\1\1962\0\0\0\0\0\0\0\0\0\0\5Hello"
        after = b"\0" * 40
        fast._known_settings.clear()
        for _ in range(2):  # unknown, then known
            for cut in range(len(body)):
                self.assertRaises(RejectPdu, fast.decode_sm, body[:cut] + after, 0, cut)
            self.assertEqual(fast.decode_sm(body + after, 0, len(body))[-2], b"Hello")

    def test_what_is_usual_is_remembered_within_bounds(self) -> None:
        for n in range(3000):
            body = b"\0\1\1A\0\1\1962\0%c%c\1\0\0\1\0\4\0\2Hi" % (n & 255, n >> 8)
            for _ in range(2):
                self.assertEqual(
                    fast.decode_sm(body, 0, len(body)),
                    ("", 1, 1, "A", 1, 1, "962", n & 255, n >> 8, 1, "", "", 1, 0, 4, 0, b"Hi", None),
                )
        self.assertLessEqual(len(fast._known_settings), 1000)

    def test_statuses(self) -> None:
        for body, status in (
            (b"sixsix\0", s.ESME_RINVSERTYP),
            (b"\0\1\1" + b"1" * 21 + b"\0", s.ESME_RINVSRCADR),
            (b"\0\1\1" + b"1" * 5, s.ESME_RINVSRCADR),
            (b"\0\1\1\0\1\1" + b"1" * 21 + b"\0", s.ESME_RINVDSTADR),
            (b"\0\1\1\0\1\1" + b"1" * 5, s.ESME_RINVDSTADR),
            (b"\0\1\1\0\1\1\0\0\0\0" + b"1" * 17 + b"\0", s.ESME_RINVSCHED),
            (b"\0\1\1\0\1\1\0\0\0\0\0" + b"1" * 17 + b"\0", s.ESME_RINVEXPIRY),
            (b"\0\1\1\0\1\1\0\0\0\0\0\0\0\0\0\0\5abcd", s.ESME_RINVMSGLEN),
            (b"\0\1\1\0\1\1\0\0\0\0\0\0\0\0\0\0\0\4\x24\0", s.ESME_RINVOPTPARSTREAM),
            (b"\0\1\1\0\1\1\0\0\0\0\0\0\0\0\0\0\0\4\x24\0\5abc", s.ESME_RINVOPTPARSTREAM),
        ):
            with self.assertRaises(RejectPdu) as caught:
                fast.decode_sm(body, 0, len(body))
            self.assertEqual(s.name(caught.exception.status), s.name(status), body)

    @given(st.integers(1, 0x7FFFFFFF), octet, octet, text(21), text(21), octet, st.binary(max_size=254), st.binary(max_size=40))
    def test_a_receipt_is_a_deliver_sm(
        self, sequence: int, ton: int, npi: int, source: str, dest: str, esm_class: int, body: bytes, more: bytes
    ) -> None:
        self.assertEqual(
            fast.encode_receipt(sequence, b"VMA", ton, npi, source, npi, ton, dest, esm_class, body, more),
            fast.encode_sm(
                c.DELIVER_SM, sequence, b"VMA", ton, npi, source, npi, ton, dest, esm_class, 0, 0, b"", b"", 0, 0, 0, 0, body, more
            ),
        )

    @given(_sm.flatmap(pdu), st.binary(max_size=40), st.sampled_from((0, 4, 8, 0x20, 0x44)), st.data())
    def test_the_short_way_to_a_receipt(self, p: Pdu, after: bytes, esm_class: int, data: Any) -> None:
        """It says what decode_sm() says, or nothing, of whole PDUs and of those that are cut off."""
        p.fields["esm_class"] = esm_class
        p.fields["schedule_delivery_time"] = p.fields["validity_period"] = ""
        body = encode(p)[16:]
        for end in (len(body), data.draw(st.integers(0, len(body)))):
            for _ in range(2):
                try:
                    whole = fast.decode_sm(body[:end] + after, 0, end)
                except RejectPdu:
                    try:
                        self.assertIsNone(fast.decode_receipt(body[:end] + after, 0, end))
                    except RejectPdu as error:
                        self.assertEqual(s.ESME_RINVOPTPARSTREAM, error.status)
                    continue
                found = fast.decode_receipt(body[:end] + after, 0, end)
                self.assertEqual(None if not esm_class else (whole[7], whole[16], whole[17]), found)
