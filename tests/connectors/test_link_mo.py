"""What comes from an SMSC and is no receipt of ours."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from protei_bulk.connectors.link import DataLink, Link
from protei_bulk.settings import Smsc
from protei_bulk.smpp import commands, fast, statuses, tags
from protei_bulk.smpp.codec import Pdu, encode
from tests.connectors.base import NodeCase
from tests.connectors.fakes import link_of, message, receipt, took

RESP = commands.RESP


class Inbound:
    def __init__(self) -> None:
        self.got: list[tuple[Smsc, tuple[Any, ...], bytes, Link | DataLink, int]] = []
        self.status = 0

    def receive(self, smsc: Smsc, f: tuple[Any, ...], body: bytes, link: Link | DataLink, sequence: int) -> int:
        self.got.append((smsc, f, body, link, sequence))
        return self.status


def deliver(sequence: int, body: bytes = b"hello", esm_class: int = 0, tlvs: dict[int, bytes] | None = None) -> bytes:
    return fast.encode_sm(
        commands.DELIVER_SM, sequence, b"", 1, 1, "9627", 0, 0, "12345", esm_class, 0, 0, b"", b"", 0, 0, 0, 0, body,
        fast.encode_tlvs(tlvs or {}),
    )  # fmt: skip


def data_sm(sequence: int, tlvs: dict[int, bytes], esm_class: int = 0) -> bytes:
    fields = {"source_addr": "9627", "source_addr_ton": 1, "destination_addr": "12345", "esm_class": esm_class, "data_coding": 8}
    return encode(Pdu(commands.DATA_SM, 0, sequence, fields, tlvs))


class FromMobiles(NodeCase):
    def setUp(self) -> None:
        super().setUp()
        self.connector, self.wire = self.node.up()
        self.connector.inbound = self.inbound = Inbound()

    def answers(self) -> list[tuple[int, int, int]]:
        return [(p.command_id, p.status, p.sequence) for p in self.wire.pdus()]

    def test_handed_over_and_answered_when_told(self) -> None:
        self.wire.say(deliver(5, b"hi"), deliver(6, b"", tlvs={tags.MESSAGE_PAYLOAD: b"long"}))
        (smsc, f, body, link, sequence), (_, _, payload, _, _) = self.inbound.got
        self.assertEqual((smsc.id, f[3], f[6], body, sequence, payload), ("a", "9627", "12345", b"hi", 5, b"long"))
        self.assertEqual(self.answers(), [])
        link.acknowledge([5, 6])
        self.assertEqual(self.answers(), [(commands.DELIVER_SM | RESP, 0, 5), (commands.DELIVER_SM | RESP, 0, 6)])
        self.assertTrue(link.alive)
        self.wire.loseConnection()
        self.assertFalse(link.alive)
        link.refuse(7, 8)

    def test_refused(self) -> None:
        self.inbound.status = statuses.ESME_RMSGQFUL
        self.wire.say(deliver(5), data_sm(6, {}))
        self.assertEqual(sorted(self.answers()), [(commands.DELIVER_SM | RESP, 0x14, 5), (commands.DATA_SM | RESP, 0x14, 6)])

    def test_data_sm(self) -> None:
        self.wire.say(data_sm(9, {tags.MESSAGE_PAYLOAD: b"\0h", 5120: b"x"}))
        ((_, f, body, link, sequence),) = self.inbound.got
        self.assertEqual((f[3], f[6], f[14], body, sequence, f[17][5120]), ("9627", "12345", 8, b"\0h", 9, b"x"))
        link.acknowledge([9])
        link.refuse(10, 0x66)
        self.assertEqual(self.answers(), [(commands.DATA_SM | RESP, 0, 9), (commands.DATA_SM | RESP, 0x66, 10)])
        self.assertTrue(link.alive)

    def test_a_receipt_by_data_sm(self) -> None:
        self.node.fleet.dispatch([message(1)])
        (a,) = self.wire.submits()
        self.wire.say(took(a.sequence, "k"))
        self.node.turn()
        self.wire.say(data_sm(9, {tags.RECEIPTED_MESSAGE_ID: b"k\0", tags.MESSAGE_STATE: b"\2"}, esm_class=4))
        self.node.turn()
        self.assertEqual((self.inbound.got, self.answers()), ([], [(commands.DATA_SM | RESP, 0, 9)]))
        self.assertEqual(self.node.store.status(message(1).id), "DELIVERED")

    def test_a_data_sm_that_is_cut_off(self) -> None:
        whole = data_sm(9, {})
        cut = whole[:30]
        self.wire.say(len(cut).to_bytes(4, "big") + cut[4:])
        ((command, status, sequence),) = self.answers()
        self.assertEqual((command, sequence), (commands.DATA_SM | RESP, 9))
        self.assertNotEqual(status, 0)

    def test_answers_of_smes_are_no_receipts(self) -> None:
        named = {tags.RECEIPTED_MESSAGE_ID: b"k\0"}
        for kind in (0x08, 0x10, 0x18):
            self.wire.say(deliver(5, b"read", kind, named))
            self.wire.say(data_sm(6, named, kind))
        self.assertEqual([g[1][7] for g in self.inbound.got], [8, 8, 16, 16, 24, 24])

    def test_receipts_that_call_themselves_acknowledgements(self) -> None:
        pdu = bytearray(receipt(5, "k"))
        f = fast.decode_sm(bytes(pdu), 16, len(pdu))
        self.wire.say(deliver(5, f[16], 0x08))
        self.node.turn()
        self.assertEqual(self.inbound.got, [])

    def test_an_mo_that_reads_like_a_receipt(self) -> None:
        pdu = receipt(5, "k")
        self.wire.say(deliver(5, fast.decode_sm(pdu, 16, len(pdu))[16], 0))
        self.assertEqual(len(self.inbound.got), 1)

    def test_a_receipt_that_names_nothing(self) -> None:
        self.wire.say(deliver(5, b"delivered, believe me", 0x04))
        self.assertEqual((self.inbound.got, self.answers()), ([], [(commands.DELIVER_SM | RESP, statuses.ESME_RX_P_APPN, 5)]))

    def test_a_notification_that_names_nothing(self) -> None:
        self.wire.say(deliver(5, b"on its way", 0x20))
        self.assertEqual(self.inbound.got[0][1][7], 0x20)

    @settings(deadline=None, max_examples=100)
    @given(st.binary(max_size=120), st.sampled_from([commands.DELIVER_SM, commands.DATA_SM]))
    def test_any_octets(self, body: bytes, command: int) -> None:
        self.wire.say((16 + len(body)).to_bytes(4, "big") + fast.header(command, 0, 5)[4:] + body)
        self.assertFalse(self.wire.closed)
        self.assertTrue(link_of(self.wire).alive)
        self.wire.clear()
