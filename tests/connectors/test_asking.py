from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.connectors.asking import Asking, NoAnswer, NotAsked, Refused
from protei_bulk.connectors.connector import Connector
from protei_bulk.connectors.forwarding import Forwarding
from protei_bulk.model.standing import Standing
from protei_bulk.settings import Rewrite
from protei_bulk.smpp import commands, fast, statuses, tags
from protei_bulk.smpp.codec import Pdu, encode
from tests.connectors.base import NodeCase
from tests.connectors.fakes import FakeEndpoint, Wire, link_of, message, receipt, took

RESP = commands.RESP


def answer(to: Pdu, status: int = 0, **fields: Any) -> bytes:
    return encode(Pdu(to.command_id | RESP, status, to.sequence, fields))


class AskingTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.written: list[bytes] = []
        self.number = 100
        self.asking = Asking(self.written.append, self.next, most=2)

    def next(self) -> int:
        self.number += 1
        return self.number

    def ask(self, id: str = "1", now: float = 0.0) -> Deferred[Pdu]:
        return self.asking.ask(Pdu(commands.QUERY_SM, fields={"message_id": id}), now)

    def test_an_answer(self) -> None:
        d = self.ask()
        self.assertTrue(self.asking.answered(Pdu(commands.QUERY_SM | RESP, 0, 101)))
        self.assertEqual(101, self.successResultOf(d).sequence)
        self.assertFalse(self.asking.answered(Pdu(commands.QUERY_SM | RESP, 0, 101)))

    def test_answers_to_something_else(self) -> None:
        d = self.ask()
        self.assertFalse(self.asking.answered(Pdu(commands.CANCEL_SM | RESP, 0, 101)))
        self.assertFalse(self.asking.answered(Pdu(commands.QUERY_SM | RESP, 0, 7)))
        self.assertNoResult(d)

    def test_refusals(self) -> None:
        for command, status, told in (
            (commands.QUERY_SM | RESP, 0x67, 0x67), (commands.GENERIC_NACK, 0x03, 0x03), (commands.GENERIC_NACK, 0, 0x08),
        ):  # fmt: skip
            d = self.ask()
            self.assertTrue(self.asking.answered(Pdu(command, status, self.number)))
            self.assertEqual(told, self.failureResultOf(d, Refused).value.status)

    def test_few_at_a_time(self) -> None:
        waiting = [self.ask() for _ in range(3)]
        self.assertEqual(2, len(self.written))
        self.asking.answered(Pdu(commands.QUERY_SM | RESP, 0, 102))
        self.assertEqual(3, len(self.written))
        self.successResultOf(waiting[1])
        self.assertNoResult(waiting[2])

    def test_no_answer(self) -> None:
        waiting = [self.ask(now=float(n)) for n in range(4)]
        self.asking.expire(5.0, 5.0)
        self.assertNoResult(waiting[0])
        self.asking.expire(5.5, 5.0)
        self.failureResultOf(waiting[0], NoAnswer)
        self.assertEqual(3, len(self.written))
        self.asking.expire(99.0, 5.0)
        for d, why in zip(waiting[1:], (NoAnswer, NoAnswer, NotAsked), strict=True):
            self.failureResultOf(d, why)

    def test_a_connection_that_ends(self) -> None:
        waiting = [self.ask() for _ in range(3)]
        self.asking.lost()
        for d, why in zip(waiting, (NoAnswer, NoAnswer, NotAsked), strict=True):
            self.failureResultOf(d, why)

    def test_what_cannot_be_encoded_or_is_too_much(self) -> None:
        self.assertRaises(ValueError, self.ask, "x" * 65)
        waiting = [self.ask() for _ in range(1003)]
        self.failureResultOf(waiting[-1], NotAsked)
        self.asking.lost()
        for d in waiting[:-1]:
            self.failureResultOf(d)


class OnALink(NodeCase):
    def test_control_requests_leave_the_window_alone(self) -> None:
        c, wire = self.node.up(window=1)
        d = c.ask(Pdu(commands.QUERY_SM, fields={"message_id": "7"}))
        self.node.fleet.dispatch([message(1)])
        query, submit = wire.pdus()
        self.assertEqual((commands.QUERY_SM, commands.SUBMIT_SM), (query.command_id, submit.command_id))
        wire.say(answer(query, message_id="7", message_state=2))
        self.assertEqual(2, self.successResultOf(d).fields["message_state"])
        self.assertEqual(0, link_of(wire).free)

    def test_answers_without_a_body_and_with_garbage(self) -> None:
        c, wire = self.node.up()
        first, second = (c.ask(Pdu(commands.QUERY_SM, fields={"message_id": "7"})) for _ in range(2))
        a, b = wire.pdus()
        wire.say(fast.header(commands.QUERY_SM | RESP, statuses.ESME_RQUERYFAIL, a.sequence))
        self.failureResultOf(first, Refused)
        wire.say(fast.frame(commands.QUERY_SM | RESP, 0, b.sequence, b"no end"))
        self.failureResultOf(second, Refused)
        self.assertFalse(wire.aborted)

    def test_the_time_out_and_the_end(self) -> None:
        c, wire = self.node.up(response_timeout=3.0, enquire_link_interval=0.0)
        d = c.ask(Pdu(commands.QUERY_SM, fields={"message_id": "7"}))
        for _ in range(5):
            self.node.turn(1.0)
        self.failureResultOf(d, NoAnswer)
        d = c.ask(Pdu(commands.QUERY_SM, fields={"message_id": "7"}))
        wire.loseConnection()
        self.failureResultOf(d, NoAnswer)
        self.failureResultOf(c.ask(Pdu(commands.QUERY_SM)), NotAsked)

    def test_a_busy_smsc_gets_less(self) -> None:
        c, wire = self.node.up(interface_version="5.0")
        for state, pause in ((89, 0.0), (90, 0.1), (100, 0.5)):
            c.add(message(1))
            c.pump()
            (a,) = wire.submits()
            busy = fast.encode_tlvs({tags.CONGESTION_STATE: bytes((state,))})
            wire.say(fast.frame(commands.SUBMIT_SM | RESP, 0, a.sequence, b"id\0" + busy))
            self.node.fleet.dispatch([message(2)])
            self.assertEqual(not pause, bool(sent := wire.submits()), state)
            self.node.turn(pause * 0.9)
            self.assertEqual([], wire.submits())
            self.node.turn(pause * 0.2)
            sent += wire.submits()
            wire.say(took(sent[0].sequence, "x"))


class Versions(NodeCase):
    def bind(self, ours: str, theirs: int | None) -> tuple[Connector, Wire]:
        c = self.node.connector(interface_version=ours)
        wire = self.node.wire()
        wire.clear()
        tlvs = {} if theirs is None else {tags.SC_INTERFACE_VERSION: bytes((theirs,))}
        wire.say(encode(Pdu(commands.BIND_TRANSCEIVER | RESP, 0, 1, {"system_id": "smsc"}, tlvs)))
        return c, wire

    def test_the_lower_one_is_spoken(self) -> None:
        for ours, theirs, spoken in (
            ("3.4", None, 0x34), ("3.4", 0x34, 0x34), ("3.4", 0x50, 0x34), ("5.0", 0x34, 0x34), ("5.0", 0x50, 0x50), ("5.0", None, 0x50),
            ("3.4", 0x33, 0x33), ("3.4", 0x01, 0x33), ("3.3", None, 0x33), ("3.3", 0x34, 0x33),
        ):  # fmt: skip
            c, wire = self.bind(ours, theirs)
            self.assertEqual(spoken, link_of(wire).version, (ours, theirs))
            c.add(message(1, tlvs={0x1400: b"x"}, service_type="CMT"))
            c.pump()
            (sent,) = wire.submits()
            self.assertEqual(({0x1400: b"x"} if spoken >= 0x34 else {}, "CMT"), (sent.tlvs, sent.fields["service_type"]))
            wire.loseConnection()

    def test_a_bind_response_of_3_3_without_a_body(self) -> None:
        c = self.node.connector(interface_version="3.3")
        wire = self.node.wire()
        wire.say(fast.header(commands.BIND_TRANSCEIVER | RESP, 0, 1))
        self.assertTrue(c.live)


class Outbind(NodeCase):
    def setUp(self) -> None:
        super().setUp()
        self.port: Any = None
        case = self

        class Port:
            closed = False

            def stopListening(self) -> Deferred[None]:  # noqa: N802
                self.closed = True
                return succeed(None)

        class Endpoint:
            def listen(self, factory: Any) -> Deferred[Any]:
                case.factory = factory
                case.port = Port()
                return succeed(case.port)

        self.factory: Any = None
        self.endpoint = Endpoint()

    def connector(self, **settings: Any) -> Connector:
        made = self.node.connector(start=False, outbind_password="pw", outbind_system_id="SMSC", bind="transmitter", **settings)
        again = FakeEndpoint()
        c = Connector(
            made.settings, self.node.clock, lambda: again, made._outcomes, made._matcher, self.node.journal, self.node.store,  # type: ignore[arg-type,return-value]
            self.node.fleet.move, outbind=self.endpoint,  # type: ignore[arg-type]
        )  # fmt: skip
        self.node.fleet.add([c])
        c.start()
        return c

    def connect(self) -> Wire:
        wire = Wire()
        wire.protocol = self.factory.buildProtocol(None)
        if wire.protocol is not None:
            wire.protocol.makeConnection(wire)
        return wire

    def outbind(self, wire: Wire, system_id: str = "SMSC", password: str = "pw") -> None:
        wire.say(encode(Pdu(commands.OUTBIND, 0, 1, {"system_id": system_id, "password": password})))

    def test_binds_as_receiver_and_takes_receipts(self) -> None:
        c = self.connector()
        wire = self.connect()
        self.assertEqual([], wire.pdus())
        self.outbind(wire)
        (bind,) = wire.pdus()
        self.assertEqual(commands.BIND_RECEIVER, bind.command_id)
        wire.say(encode(Pdu(commands.BIND_RECEIVER | RESP, 0, bind.sequence, {"system_id": "smsc"})))
        self.assertEqual((1, False), (len(c.links), c.live))
        self.assertFalse(c.takes(message(1)))
        wire.say(receipt(9, "unknown"))
        self.node.turn()
        self.assertEqual([("a", "unknown", "DELIVRD", "000")], self.node.store.parked_rows)
        self.node.turn()
        self.assertEqual([(commands.DELIVER_SM | RESP, 9)], [(p.command_id, p.sequence) for p in wire.pdus()])
        wire.loseConnection()
        self.assertEqual([], c.links)

    def test_who_cannot_name_himself(self) -> None:
        self.connector()
        for system_id, password in (("Else", "pw"), ("SMSC", "wrong"), ("SMSC", "")):
            wire = self.connect()
            self.outbind(wire, system_id, password)
            self.assertTrue(wire.aborted)
        wire = self.connect()
        for _ in range(31):
            self.node.turn(1.0)
        self.assertTrue(wire.aborted)

    def test_not_too_many(self) -> None:
        self.connector()
        wires = [self.connect() for _ in range(101)]
        self.assertIsNone(wires[-1].protocol)
        wires[0].loseConnection()
        self.assertIsNotNone(self.connect().protocol)

    def test_an_outbind_that_nobody_waits_for(self) -> None:
        c = self.connector()
        wire = self.connect()
        self.outbind(wire)
        wire.clear()
        self.outbind(wire)
        self.assertEqual([], wire.pdus())
        c.stop()
        self.assertTrue(self.port.closed)

    def test_alerts(self) -> None:
        c, wire = self.node.up()
        got: list[Pdu] = []
        alert = encode(Pdu(commands.ALERT_NOTIFICATION, 0, 5, {"source_addr": "96279", "esme_addr": "12345"}))
        wire.say(alert)
        c.alerted = lambda pdu: got.append(pdu) is None
        wire.say(alert)
        self.assertEqual(["12345"], [p.fields["esme_addr"] for p in got])
        self.assertEqual([], wire.pdus())


class Forwarded(NodeCase):
    def standing(self, **more: Any) -> Standing:
        values = {
            "id": message(1).id, "status": "SENT", "dlr_status": "", "error_code": "", "ended_at": 0.0, "smsc": "a",
            "smsc_message_id": "255", "segments": 1, "source": "Shop", "dest": "962790000001", "addr_types": 5 << 24 | 1 << 8 | 1,
            "service_type": "", "queued": False, "claimed_by": None, "in_doubt": False, "held": False, "due_at": 0.0, **more,
        }  # fmt: skip
        return Standing(**values)

    def forwarding(self, *parts: str) -> Forwarding:
        return Forwarding(self.node.fleet, self.node.matcher, lambda _: succeed(list(parts)))

    def test_under_the_id_that_the_smsc_gave(self) -> None:
        _, wire = self.node.up(message_id="hex-to-decimal", forward_cancel=True, dest_npi=8)
        f = self.forwarding()
        self.assertEqual((True, False), (f.may_cancel("a"), f.may_cancel("gone")))
        self.node.fleet.dispatch([message(1)])
        (sent,) = wire.submits()
        wire.say(took(sent.sequence, "ff"))
        self.node.turn()
        d = f.cancel(7, self.standing())
        (asked,) = wire.pdus()
        self.assertEqual(
            ("ff", "Shop", 5, 0, "962790000001", 1, 8),
            tuple(asked.fields[k] for k in ("message_id", "source_addr", "source_addr_ton", "source_addr_npi", "destination_addr",
                                            "dest_addr_ton", "dest_addr_npi")),
        )  # fmt: skip
        wire.say(answer(asked))
        self.assertNoResult(d)
        self.node.turn()
        self.assertTrue(self.successResultOf(d))
        self.assertEqual("DELETED", self.node.store.status(message(1).id))
        self.assertEqual(["DELETED"], [r.stat for r in self.node.forwards.receipts])

    def test_under_the_addresses_that_the_smsc_was_given(self) -> None:
        _, wire = self.node.up()
        self.node.fleet.rewrite({"r": Rewrite(sender="Brand", dest_strip="962", dest_add="00962")})
        self.forwarding().cancel(7, self.standing(route="r", addr_types=1 << 24 | 1 << 16))
        self.forwarding().cancel(7, self.standing(route="other"))
        told = [(p.fields["source_addr_ton"], p.fields["source_addr"], p.fields["destination_addr"]) for p in wire.pdus()]
        self.assertEqual([(5, "Brand", "00962790000001"), (5, "Shop", "962790000001")], told)

    def test_refused(self) -> None:
        _, wire = self.node.up()
        d = self.forwarding("1", "2").cancel(7, self.standing())
        (asked,) = wire.pdus()
        wire.say(answer(asked, statuses.ESME_RCANCELFAIL))
        self.assertFalse(self.successResultOf(d))
        self.assertFalse(self.successResultOf(self.forwarding().cancel(7, self.standing(smsc="gone"))))
