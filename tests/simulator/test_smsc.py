from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.simulator.behaviour import Behaviour, Faults
from protei_bulk.simulator.mobiles import FORMS, Mobiles
from protei_bulk.simulator.smsc import Peer, Smsc
from protei_bulk.smpp import commands, fast
from protei_bulk.smpp.codec import Pdu, decode, encode
from protei_bulk.smpp.framer import Framer
from protei_bulk.text.receipt import parse_receipt
from protei_bulk.text.segments import concatenation


class Transport(StringTransport):
    disconnected = False

    def abortConnection(self) -> None:  # noqa: N802
        self.disconnected = True

    def setTcpNoDelay(self, on: bool) -> None:  # noqa: N802
        pass


class Simulated(SynchronousTestCase):
    def smsc(self, chance: float = 0.5, **faults: Any) -> tuple[Smsc, Peer, Clock, list[str]]:
        clock = Clock()
        ledger: list[str] = []
        smsc = Smsc(Behaviour(Faults(**{"delay": 1.0, **faults}), lambda: chance), clock, ledger.append)
        smsc.startFactory()
        self.addCleanup(smsc.stopFactory)
        peer = smsc.buildProtocol(None)
        peer.makeConnection(Transport())
        fields = {"system_id": "u", "password": "p", "system_type": "", "address_range": ""}
        peer.dataReceived(encode(Pdu(commands.BIND_TRANSCEIVER, 0, 1, fields)))
        self.assertEqual([p.status for p in self.out(peer)], [0])
        return smsc, peer, clock, ledger

    def out(self, peer: Peer) -> list[Pdu]:
        data = peer.transport.value()
        peer.transport.clear()
        buf, frames = Framer().feed(data)
        return [decode(buf[start - 16 : end]) for _, _, _, start, end in frames]

    def submit(self, peer: Peer, sequence: int = 2, registered: int = 1) -> None:
        peer.dataReceived(
            fast.encode_sm(commands.SUBMIT_SM, sequence, b"", 5, 0, "S", 1, 1, "96279", 0, 0, 0, b"", b"", registered, 0, 0, 0, b"hi")
        )

    def test_takes_and_reports(self) -> None:
        _, peer, clock, ledger = self.smsc()
        self.submit(peer)
        [answer] = self.out(peer)
        self.assertEqual((answer.status, answer.fields["message_id"]), (0, "1000000001"))
        self.assertEqual(ledger, ["S 1000000001 96279\n"])
        clock.pump([0.5] * 3)
        [receipt] = self.out(peer)
        parsed = parse_receipt(receipt.fields["short_message"], receipt.tlvs, receipt.fields["esm_class"])
        assert parsed is not None
        self.assertEqual((parsed.id, parsed.stat), ("1000000001", "DELIVRD"))
        self.assertEqual((receipt.fields["source_addr"], receipt.fields["destination_addr"]), ("96279", "S"))

    def test_no_receipt_unasked(self) -> None:
        _, peer, clock, _ = self.smsc()
        self.submit(peer, registered=0)
        clock.pump([0.5] * 4)
        self.assertEqual(len(self.out(peer)), 1)

    def test_throttles(self) -> None:
        smsc, peer, clock, ledger = self.smsc(throttle=2)
        for n in range(4):
            self.submit(peer, n)
        self.assertEqual([p.status for p in self.out(peer)], [0, 0, 0x58, 0x58])
        self.assertEqual((len(ledger), smsc.behaviour.throttled), (2, 2))

    def test_faults(self) -> None:
        _, peer, clock, ledger = self.smsc(lose=100)
        self.submit(peer)
        self.assertEqual((self.out(peer), len(ledger)), ([], 1))
        _, peer, clock, _ = self.smsc(late=3.0, delay=9.0)
        self.submit(peer)
        self.assertEqual(self.out(peer), [])
        clock.pump([1.0] * 4)
        self.assertEqual(len(self.out(peer)), 1)
        _, peer, clock, _ = self.smsc(receipt_first=100, hex_ids=True, duplicate=100, intermediate=True, fail=100)
        self.submit(peer)
        pdus = self.out(peer)
        self.assertEqual([p.command_id for p in pdus], [commands.DELIVER_SM] * 3 + [commands.SUBMIT_SM | commands.RESP])
        self.assertIn(b"id:3b9aca01 ", pdus[0].fields["short_message"])
        self.assertEqual([p.tlvs[0x0427][0] for p in pdus[:3]], [1, 5, 5])
        _, peer, clock, ledger = self.smsc(error_status=0x0B, error=100)
        self.submit(peer)
        self.assertEqual(([p.status for p in self.out(peer)], ledger), ([0x0B], []))

    def test_drops_the_connection(self) -> None:
        _, peer, _, _ = self.smsc(drop_after=2)
        self.submit(peer, 2)
        self.assertFalse(peer.transport.disconnected)
        self.submit(peer, 3)
        self.assertTrue(peer.transport.disconnected)

    def test_what_is_refused_drops_no_connection(self) -> None:
        _, peer, _, _ = self.smsc(drop_after=2, error_status=0x08, error=100)
        for n in range(4):
            self.submit(peer, n)
        self.assertEqual([p.status for p in self.out(peer)], [8] * 4)
        self.assertFalse(peer.transport.disconnected)

    def test_mo(self) -> None:
        smsc, peer, clock, _ = self.smsc()
        smsc.send_mo(Mobiles(1.0))
        clock.pump([0.5] * 3)
        [mo] = self.out(peer)
        self.assertEqual((mo.fields["esm_class"], mo.fields["short_message"]), (0, b"STOP"))

    def test_mo_in_any_script_and_length(self) -> None:
        smsc, peer, clock, _ = self.smsc()
        text = "أوقف " * 20
        smsc.send_mo(Mobiles(1.0, text=text))
        clock.pump([0.5] * 3)
        parts = self.out(peer)
        self.assertEqual({(p.fields["esm_class"], p.fields["data_coding"]) for p in parts}, {(0x40, 8)})
        bodies = [p.fields["short_message"] for p in parts]
        self.assertEqual([concatenation(b[:6]) for b in bodies], [(1, 2, 1), (1, 2, 2)])
        self.assertEqual(b"".join(b[6:] for b in bodies).decode("utf-16-be"), text)

    def test_mo_in_every_form(self) -> None:
        text = "{n}" + "x" * 199
        for form in FORMS:
            smsc, peer, clock, _ = self.smsc()
            smsc.send_mo(Mobiles(1.0, text=text, form=form, order="reverse", count=2, at_once=2))
            clock.pump([0.5] * 3)
            found = self.out(peer)
            clock.pump([0.5] * 6)
            self.assertEqual(self.out(peer), [])
            if form in ("payload", "data"):
                self.assertEqual([p.tlvs[0x0424] for p in found], [b"%d" % n + b"x" * 199 for n in (1, 2)])
                self.assertEqual({p.command_id for p in found}, {commands.DATA_SM if form == "data" else commands.DELIVER_SM})
                continue
            bodies = [p.fields["short_message"] for p in found]
            if form == "sar":
                places = [(p.tlvs[0x020C][1], p.tlvs[0x020E][0], p.tlvs[0x020F][0]) for p in found]
            else:
                places = [concatenation(b[: b[0] + 1]) for b in bodies]
                self.assertEqual({b[0] for b in bodies}, {5 if form == "udh8" else 6})
            self.assertEqual(places, [(1, 2, 2), (1, 2, 1), (2, 2, 2), (2, 2, 1)])

    def test_mo_parts_with_a_gap_go_to_whoever_is_there(self) -> None:
        smsc, peer, clock, _ = self.smsc()
        smsc.send_mo(Mobiles(1.0, text="x" * 200, gap=2.0, count=1))
        clock.pump([0.5] * 3)
        [first] = self.out(peer)
        peer.dataReceived(fast.deliver_resp(first.sequence))
        peer.connectionLost()
        clock.pump([0.5] * 8)
        other = self.bound(smsc, commands.BIND_RECEIVER)
        clock.advance(0.1)
        [second] = self.out(other)
        self.assertEqual(concatenation(second.fields["short_message"][:6]), (1, 2, 2))

    def test_mo_repeated_and_answered(self) -> None:
        smsc, peer, clock, _ = self.smsc()
        smsc.send_mo(Mobiles(1.0, repeat=100, form="data", count=1))
        clock.pump([0.5] * 3)
        one, two = self.out(peer)
        self.assertNotEqual(one.sequence, two.sequence)
        for p in (one, two):
            peer.dataReceived(encode(Pdu(commands.DATA_SM | commands.RESP, 0, p.sequence, {"message_id": ""})))
        self.assertEqual((smsc.acknowledged, peer.unacknowledged), (2, {}))

    def test_an_smes_answer(self) -> None:
        smsc, peer, clock, _ = self.smsc(acknowledge=0x10)
        peer.dataReceived(
            fast.encode_sm(commands.SUBMIT_SM, 2, b"", 5, 0, "S", 1, 1, "96279", 0, 0, 0, b"", b"", 1, 0, 0, 0, b"hi", b"\2\4\0\2\0\7")
        )
        clock.pump([0.5] * 3)
        answer = self.out(peer)[-1]
        f = answer.fields
        self.assertEqual((f["esm_class"], f["source_addr"], f["destination_addr"]), (0x10, "96279", "S"))
        self.assertEqual(answer.tlvs, {0x001E: b"1000000001\0", 0x0204: b"\0\7"})

    def bound(self, smsc: Smsc, command: int, system_id: str = "u") -> Peer:
        peer = smsc.buildProtocol(None)
        peer.makeConnection(Transport())
        fields = {"system_id": system_id, "password": "p", "system_type": "", "address_range": ""}
        peer.dataReceived(encode(Pdu(command, 0, 1, fields)))
        self.assertEqual([(p.command_id, p.status) for p in self.out(peer)], [(command | commands.RESP, 0)])
        return peer

    def test_receipts_wait_for_a_receiver(self) -> None:
        smsc, peer, clock, _ = self.smsc()
        self.submit(peer)
        self.submit(peer, 3)
        peer.connectionLost()
        clock.pump([0.5] * 4)
        stranger = self.bound(smsc, commands.BIND_RECEIVER, "somebody else")
        sends = self.bound(smsc, commands.BIND_TRANSMITTER)
        other = self.bound(smsc, commands.BIND_RECEIVER)
        clock.pump([0.5] * 2)
        ids = [p.tlvs[0x001E] for p in self.out(other)]
        self.assertEqual(ids, [b"1000000001\0", b"1000000002\0"])
        self.assertEqual((self.out(stranger), self.out(sends)), ([], []))

    def test_receipts_without_a_receiver_hold_up_no_others(self) -> None:
        smsc, peer, clock, _ = self.smsc()
        alone = self.bound(smsc, commands.BIND_TRANSMITTER, "alone")
        self.submit(alone)
        self.submit(peer)
        self.out(peer)
        clock.advance(1.1)
        self.assertEqual([p.command_id for p in self.out(peer)], [commands.DELIVER_SM])

    def test_a_receipt_that_was_not_answered_comes_again_on_the_next_bind(self) -> None:
        smsc, peer, clock, _ = self.smsc(duplicate=100)
        self.submit(peer)
        clock.pump([0.5] * 3)
        _, answered, lost = self.out(peer)
        peer.dataReceived(fast.deliver_resp(answered.sequence))
        peer.connectionLost()
        clock.pump([0.5] * 2)
        next_one = self.bound(smsc, commands.BIND_RECEIVER)
        clock.pump([0.5] * 2)
        [again] = self.out(next_one)
        self.assertEqual((again.fields, again.tlvs), (lost.fields, lost.tlvs))
        next_one.dataReceived(fast.deliver_resp(again.sequence))
        next_one.connectionLost()
        self.assertEqual(self.out(self.bound(smsc, commands.BIND_RECEIVER)), [])
        self.assertEqual(smsc.acknowledged, 2)

    def test_receipts_due_in_the_turn_that_drops_the_connection_are_not_lost(self) -> None:
        smsc, peer, clock, _ = self.smsc(drop_after=2)
        self.submit(peer)
        clock.advance(0.99)
        self.submit(peer, 3)
        self.assertTrue(peer.transport.disconnected)
        self.out(peer)
        clock.advance(0.1)  # before connectionLost is told
        self.assertEqual(self.out(peer), [])
        peer.connectionLost()
        next_one = self.bound(smsc, commands.BIND_TRANSCEIVER)
        clock.advance(0.1)
        self.assertEqual([p.tlvs[0x001E] for p in self.out(next_one)], [b"1000000001\0"])

    def test_what_the_esme_wants_later_comes_later(self) -> None:
        smsc, peer, clock, _ = self.smsc()
        smsc.send_mo(Mobiles(1.0))
        clock.pump([0.5] * 2)
        [mo] = self.out(peer)
        peer.dataReceived(fast.header(commands.DELIVER_SM | commands.RESP, 0x64, mo.sequence))
        clock.advance(0.5)
        self.assertEqual(self.out(peer), [])
        clock.advance(0.6)
        again = self.out(peer)[0]
        self.assertEqual(again.fields, mo.fields)
        peer.dataReceived(fast.header(commands.DELIVER_SM | commands.RESP, 0x0B, again.sequence))
        self.assertEqual((smsc.acknowledged, len(smsc._later)), (1, 0))

    def test_what_may_not_come(self) -> None:
        smsc, peer, _, ledger = self.smsc()
        unbound = smsc.buildProtocol(None)
        unbound.makeConnection(Transport())
        self.submit(unbound)
        self.submit(receiver := self.bound(smsc, commands.BIND_RECEIVER))
        wrong = (commands.SUBMIT_SM | commands.RESP, 0x04)
        for asked in (unbound, receiver):
            self.assertEqual([(p.command_id, p.status) for p in self.out(asked)], [wrong])
        self.assertEqual(ledger, [])
        for command, answer in (
            (commands.BIND_TRANSCEIVER, (commands.BIND_TRANSCEIVER | commands.RESP, 0x05)),
            (commands.BROADCAST_SM, (commands.GENERIC_NACK, 0x03)),
            (commands.QUERY_SM, (commands.QUERY_SM | commands.RESP, 0x0C)),
            (0x7777, (commands.GENERIC_NACK, 0x03)),
            (commands.ENQUIRE_LINK, (commands.ENQUIRE_LINK | commands.RESP, 0)),
            (commands.UNBIND, (commands.UNBIND | commands.RESP, 0)),
        ):
            peer.dataReceived(fast.header(command, 0, 9))
            self.assertEqual([(p.command_id, p.status) for p in self.out(peer)], [answer])
        self.assertTrue(peer.transport.disconnecting)

    def test_octets_that_are_no_smpp(self) -> None:
        _, peer, _, _ = self.smsc()
        peer.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
        self.assertTrue(peer.transport.disconnected)

    def test_only_what_failed_is_reported_to_who_asks_for_that(self) -> None:
        for fail, stats in ((0, []), (100, [5])):
            _, peer, clock, _ = self.smsc(fail=fail)
            self.submit(peer, registered=2)
            self.out(peer)
            clock.advance(1.1)
            self.assertEqual([p.tlvs[0x0427][0] for p in self.out(peer)], stats)

    def test_all_answers_of_a_turn_are_one_write(self) -> None:
        _, peer, _, _ = self.smsc()
        writes: list[bytes] = []
        peer.transport.write = writes.append
        pdu = fast.encode_sm(commands.SUBMIT_SM, 9, b"", 5, 0, "S", 1, 1, "9", 0, 0, 0, b"", b"", 1, 0, 0, 0, b"hi")
        peer.dataReceived(pdu * 50)
        self.assertEqual(len(writes), 1)
        self.assertEqual(len(Framer().feed(writes[0])[1]), 50)
