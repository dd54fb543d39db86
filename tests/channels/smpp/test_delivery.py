from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.model.message import Message
from protei_bulk.receipts.outcomes import Forward, JournalEntry
from protei_bulk.smpp import commands, tags
from protei_bulk.text.receipt import parse_receipt
from tests.channels.smpp.fakes import RESP, Peer, World

RX, TX, TRX = commands.BIND_RECEIVER, commands.BIND_TRANSMITTER, commands.BIND_TRANSCEIVER
DELIVER_RESP = commands.DELIVER_SM | RESP


def message(n: int) -> Message:
    m = Message()
    m.id, m.user_id, m.source, m.source_ton, m.dest, m.text = f"MSG-{n:012d}", 7, "Shop", 5, "962788123456", "Hello"
    m.created = 1_800_000_000.0
    return m


class DeliveryCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World(deliver_window=10)
        self.world.start()
        self.delivery, self.outbox = self.world.delivery, self.world.outbox

    def forwards(self, n: int, stat: str = "DELIVRD") -> list[Forward]:
        entry = JournalEntry(5, n)
        made = []
        for i in range(n):
            f = Forward(message(i), stat, "000", 1_800_000_060.0)
            f.journal = entry
            made.append(f)
        return made

    def fill(self, n: int) -> None:
        self.outbox.rows = [(i, "RECEIPT", "DELIVRD", "000", message(i), None, 1_800_000_000.0, "") for i in range(1, n + 1)]

    def acknowledge(self, peer: Peer, status: int = 0) -> list[str]:
        """Answers what came; the ids of the receipts."""
        seen = []
        for pdu in peer.read():
            if pdu.command_id == commands.DELIVER_SM:
                receipt = parse_receipt(pdu.fields["short_message"], pdu.tlvs, pdu.fields["esm_class"])
                assert receipt is not None
                seen.append(receipt.id)
                peer.request(DELIVER_RESP, pdu.sequence, status)
        return seen


class EncodingTest(DeliveryCase):
    def test_a_receipt(self) -> None:
        peer = self.world.bound(RX)
        self.delivery.forward(self.forwards(1))
        (pdu,) = peer.read()
        f = pdu.fields
        self.assertEqual(("962788123456", "Shop", 5, 0x04), (f["source_addr"], f["destination_addr"], f["dest_addr_ton"], f["esm_class"]))
        self.assertEqual(
            b"id:MSG-000000000000 sub:001 dlvrd:001 submit date:2701150800 done date:2701150801 stat:DELIVRD err:000 text:Hello",
            f["short_message"],
        )
        self.assertEqual({tags.RECEIPTED_MESSAGE_ID: b"MSG-000000000000\0", tags.MESSAGE_STATE: b"\x02"}, pdu.tlvs)

    def test_for_3_3_without_tlvs(self) -> None:
        peer = self.world.bound(RX, version=0x33)
        self.delivery.forward(self.forwards(1))
        self.assertEqual({}, peer.read()[0].tlvs)

    def test_what_is_not_final(self) -> None:
        peer = self.world.bound()
        self.delivery.forward(self.forwards(1, "ENROUTE"))
        (pdu,) = peer.read()
        self.assertEqual((0x20, b"\x01"), (pdu.fields["esm_class"], pdu.tlvs[tags.MESSAGE_STATE]))
        self.assertIn(b"dlvrd:000", pdu.fields["short_message"])


class SpreadTest(DeliveryCase):
    def test_over_the_receiving_binds(self) -> None:
        one, two, three = self.world.bound(RX), self.world.bound(TRX), self.world.bound(TX)
        self.delivery.forward(self.forwards(8))
        self.assertEqual([4, 4, 0], [len(p.read()) for p in (one, two, three)])

    def test_no_more_than_the_window(self) -> None:
        peer = self.world.bound()
        self.delivery.forward(self.forwards(25))
        self.assertEqual(10, len(peer.transport.value().split(b"stat:")) - 1)
        seen = []
        while more := self.acknowledge(peer):
            seen += more
        self.assertEqual([f"MSG-{i:012d}" for i in range(25)], seen)
        self.assertEqual([], self.outbox.journal)
        self.world.wait(1)
        self.assertEqual([5], self.outbox.journal)

    def test_nobody_is_there(self) -> None:
        self.delivery.forward(self.forwards(2))
        self.assertEqual(["MSG-000000000000", "MSG-000000000001"], [r["i"] for r in self.outbox.kept])
        self.world.wait(1)
        self.assertEqual([5], self.outbox.journal)


class AnswersTest(DeliveryCase):
    def test_later_means_the_outbox(self) -> None:
        peer = self.world.bound()
        for status in (0x14, 0x58, 0x64, 0x08):
            self.outbox.kept.clear()
            self.delivery.forward(self.forwards(1))
            self.acknowledge(peer, status)
            self.assertEqual([{"u": 7, "i": "MSG-000000000000", "s": "DELIVRD", "e": "000"}], self.outbox.kept)

    def test_other_errors_are_the_end_of_it(self) -> None:
        peer = self.world.bound()
        self.delivery.forward(self.forwards(1))
        self.acknowledge(peer, 0x65)
        self.world.wait(1)
        self.assertEqual(([], [5]), (self.outbox.kept, self.outbox.journal))

    def test_a_generic_nack_is_an_answer(self) -> None:
        peer = self.world.bound()
        self.delivery.forward(self.forwards(2))
        one, two = (p.sequence for p in peer.read())
        peer.request(commands.GENERIC_NACK, one, 0x03)
        peer.request(commands.GENERIC_NACK, two, 0x58)
        peer.request(commands.GENERIC_NACK, 99, 0x03)
        self.assertEqual((["MSG-000000000001"], False), ([r["i"] for r in self.outbox.kept], peer.ended))
        self.world.wait(1)
        self.assertEqual([5], self.outbox.journal)

    def test_a_generic_nack_for_enquire_link_is_none_for_a_receipt(self) -> None:
        peer = self.world.bound()
        self.world.wait(29)
        self.delivery.forward(self.forwards(1))
        self.world.wait(1)
        receipt, link = peer.read()
        peer.request(commands.GENERIC_NACK, link.sequence, 0x03)
        self.world.wait(1)
        self.assertEqual(([], False), (self.outbox.journal, peer.ended))
        peer.request(DELIVER_RESP, receipt.sequence)
        self.world.wait(1)
        self.assertEqual([5], self.outbox.journal)

    def test_answers_nobody_waits_for(self) -> None:
        peer = self.world.bound()
        peer.request(DELIVER_RESP, 99)
        self.assertEqual(([], False), (peer.read(), peer.ended))

    def test_a_lost_session_gives_its_receipts_to_the_other(self) -> None:
        one, two = self.world.bound(), self.world.bound()
        self.delivery.forward(self.forwards(4))
        two.read()
        one.lose()
        self.assertEqual(["MSG-000000000000", "MSG-000000000001"], self.acknowledge(two))

    def test_the_last_session_gives_them_to_the_outbox(self) -> None:
        peer = self.world.bound()
        self.delivery.forward(self.forwards(12))
        peer.lose()
        self.assertEqual([f"MSG-{i:012d}" for i in range(12)], [r["i"] for r in self.outbox.kept])

    def test_one_without_an_answer_ends_the_session(self) -> None:
        peer = self.world.bound()
        self.delivery.forward(self.forwards(3))
        for _ in range(11):
            self.world.wait(1)
            peer.request(commands.ENQUIRE_LINK)
        self.assertTrue(peer.transport.aborted)
        self.assertEqual(3, len(self.outbox.kept))
        peer.lose()
        self.assertEqual(3, len(self.outbox.kept))

    def test_the_database_is_away(self) -> None:
        self.outbox.broken = True
        self.delivery.forward(self.forwards(2))
        self.world.wait(3)
        self.outbox.broken = False
        self.world.wait(2)
        self.assertEqual(2, len(self.outbox.kept))
        self.assertEqual([5], self.outbox.journal)


class OutboxTest(DeliveryCase):
    def test_it_is_fed_at_bind(self) -> None:
        self.fill(3)
        peer = self.world.bound(TX)
        self.assertEqual([], peer.read())
        peer = self.world.connect()
        peer.bind(RX)
        self.assertEqual(["MSG-000000000001", "MSG-000000000002", "MSG-000000000003"], self.acknowledge(peer))
        self.world.wait(1)
        self.assertEqual([1, 2, 3], self.outbox.gone)

    def test_more_than_one_page(self) -> None:
        self.fill(1200)
        peer = self.world.connect()
        peer.bind()
        seen: list[str] = []
        while more := self.acknowledge(peer):
            seen += more
        self.assertEqual([f"MSG-{i:012d}" for i in range(1, 1201)], seen)

    def test_what_was_not_acknowledged_stays(self) -> None:
        self.fill(3)
        peer = self.world.connect()
        peer.bind()
        peer.lose()
        self.world.wait(1)
        self.assertEqual(([], [], 3), (self.outbox.kept, self.outbox.gone, len(self.outbox.rows)))

    def test_what_comes_later_is_found(self) -> None:
        peer = self.world.bound()
        self.fill(1)
        self.world.wait(5)
        self.assertEqual(["MSG-000000000001"], self.acknowledge(peer))

    def test_a_receipt_whose_message_is_gone(self) -> None:
        self.outbox.rows = [(1, "RECEIPT", "DELIVRD", "000", None, None, 0.0, "MSG-1")]
        peer = self.world.bound()
        self.world.wait(1)
        self.assertEqual(([], [1]), (peer.read(), self.outbox.gone))

    def test_a_new_bind_before_the_row_is_deleted_does_not_repeat_it(self) -> None:
        self.fill(1)
        peer = self.world.connect()
        peer.bind()
        self.assertEqual(["MSG-000000000001"], self.acknowledge(peer))
        peer.lose()
        again = self.world.connect()
        again.bind()
        self.assertEqual([], self.acknowledge(again))

    def test_nor_while_it_is_being_deleted(self) -> None:
        self.fill(1)
        peer = self.world.connect()
        peer.bind()
        self.acknowledge(peer)
        peer.lose()
        rows = list(self.outbox.rows)
        self.outbox.hold = []
        self.world.clock.advance(0.5)
        (deleting,) = self.outbox.hold
        self.outbox.hold, self.outbox.rows = None, rows
        again = self.world.connect()
        again.bind()
        self.assertEqual([], self.acknowledge(again))
        deleting.callback(None)

    def test_the_end_settles(self) -> None:
        peer = self.world.bound()
        self.delivery.forward(self.forwards(2))
        self.acknowledge(peer)
        d: Deferred[None] = self.delivery.stop()
        self.successResultOf(d)
        self.assertEqual([5], self.outbox.journal)
