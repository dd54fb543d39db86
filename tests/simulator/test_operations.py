from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.simulator.behaviour import Behaviour, Faults
from protei_bulk.simulator.smsc import Peer, Smsc
from protei_bulk.smpp import commands, fast, statuses, tags
from protei_bulk.smpp.codec import Pdu, encode
from protei_bulk.text.receipt import parse_receipt
from tests.channels.smpp.fakes import Transport, pdus, submit

FIRST = "1000000001"


class OperationsTest(SynchronousTestCase):
    def smsc(self, **options: Any) -> tuple[Smsc, Peer, Clock, list[str]]:
        clock, ledger = Clock(), []
        smsc = Smsc(Behaviour(Faults(delay=1.0), lambda: 0.5), clock, ledger.append, **options)
        smsc.startFactory()
        self.addCleanup(smsc.stopFactory)
        peer = smsc.buildProtocol(None)
        peer.makeConnection(Transport())
        peer.dataReceived(encode(Pdu(commands.BIND_TRANSCEIVER, 0, 1, {"system_id": "u", "password": "p"})))
        self.answer = self.out(peer)[0]
        return smsc, peer, clock, ledger

    def out(self, peer: Peer) -> list[Pdu]:
        data = peer.transport.value()  # type: ignore[union-attr]
        peer.transport.clear()  # type: ignore[union-attr]
        return pdus(data)

    def submit(self, peer: Peer) -> None:
        peer.dataReceived(submit(2, b"hi"))

    def ask(self, peer: Peer, command: int, tlvs: dict[int, bytes] | None = None, **fields: Any) -> Pdu:
        peer.dataReceived(encode(Pdu(command, 0, 9, fields, tlvs or {})))
        [answer] = self.out(peer)
        self.assertEqual((command | commands.RESP, 9), (answer.command_id, answer.sequence))
        return answer

    def test_query(self) -> None:
        _, peer, clock, _ = self.smsc()
        self.submit(peer)
        self.out(peer)
        self.assertEqual(1, self.ask(peer, commands.QUERY_SM, message_id=FIRST).fields["message_state"])
        clock.pump([0.5] * 3)
        self.out(peer)
        answer = self.ask(peer, commands.QUERY_SM, message_id=FIRST)
        self.assertEqual((2, 16), (answer.fields["message_state"], len(answer.fields["final_date"])))
        for unknown in ("", "x", "1000000000", "1000000002"):
            self.assertEqual(statuses.ESME_RINVMSGID, self.ask(peer, commands.QUERY_SM, message_id=unknown).status)

    def test_cancel(self) -> None:
        _, peer, clock, _ = self.smsc()
        self.submit(peer)
        self.out(peer)
        self.assertEqual(0, self.ask(peer, commands.CANCEL_SM, message_id=FIRST).status)
        self.assertEqual(4, self.ask(peer, commands.QUERY_SM, message_id=FIRST).fields["message_state"])
        clock.pump([0.5] * 3)
        [told] = self.out(peer)
        receipt = parse_receipt(told.fields["short_message"], told.tlvs, told.fields["esm_class"])
        assert receipt is not None
        self.assertEqual("DELETED", receipt.stat)
        self.assertEqual(statuses.ESME_RCANCELFAIL, self.ask(peer, commands.CANCEL_SM, message_id=FIRST).status)

    def test_replace(self) -> None:
        _, peer, clock, ledger = self.smsc()
        self.submit(peer)
        self.out(peer)
        self.assertEqual(0, self.ask(peer, commands.REPLACE_SM, message_id=FIRST, short_message=b"new").status)
        self.assertEqual(f"R {FIRST} 6e6577\n", ledger[-1])
        clock.pump([0.5] * 3)
        self.out(peer)
        self.assertEqual(statuses.ESME_RREPLACEFAIL, self.ask(peer, commands.REPLACE_SM, message_id=FIRST).status)

    def test_data_sm(self) -> None:
        _, peer, clock, ledger = self.smsc()
        answer = self.ask(peer, commands.DATA_SM, {tags.MESSAGE_PAYLOAD: b"hi"}, destination_addr="96279", registered_delivery=1)
        self.assertEqual((0, FIRST), (answer.status, answer.fields["message_id"]))
        self.assertEqual([f"S {FIRST} 96279\n"], ledger)
        clock.pump([0.5] * 3)
        self.assertEqual([commands.DELIVER_SM], [p.command_id for p in self.out(peer)])

    def test_submit_multi(self) -> None:
        _, peer, _, ledger = self.smsc()
        answer = self.ask(peer, commands.SUBMIT_MULTI, destinations=[(1, 1, "96271"), "friends", (1, 1, "96272")])
        self.assertEqual((0, FIRST), (answer.status, answer.fields["message_id"]))
        self.assertEqual([(0, 0, "friends", statuses.ESME_RINVDLNAME)], answer.fields["unsuccess_smes"])
        self.assertEqual(["S 1000000001 96271\n", "S 1000000002 96272\n"], ledger)
        self.assertEqual(statuses.ESME_RINVDLNAME, self.ask(peer, commands.SUBMIT_MULTI, destinations=["friends"]).status)

    def test_versions(self) -> None:
        self.smsc(version=0x33)
        self.assertEqual({}, self.answer.tlvs)
        _, peer, _, _ = self.smsc(version=0x50, congestion=95)
        self.assertEqual({tags.SC_INTERFACE_VERSION: b"\x50"}, self.answer.tlvs)
        self.submit(peer)
        [answer] = self.out(peer)
        self.assertEqual((FIRST, {tags.CONGESTION_STATE: bytes((95,))}), (answer.fields["message_id"], answer.tlvs))
        self.assertEqual(95, fast.congestion(encode(answer), 16, len(encode(answer))))
