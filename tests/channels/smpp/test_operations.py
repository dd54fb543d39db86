"""What sessions do with operations other than submit_sm, and what each version is told."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.channels.smpp.alerts import Alerts
from protei_bulk.channels.smpp.outbind import Outbinds
from protei_bulk.channels.smpp.short_ids import ShortIds, as_stored
from protei_bulk.channels.smpp.submission import message_of
from protei_bulk.model import lifecycle
from protei_bulk.model.account import Account
from protei_bulk.model.message import INVALID_DESTINATION, QUOTA_EXCEEDED, Message
from protei_bulk.model.standing import IN_TABLE, Standing
from protei_bulk.receipts.outcomes import Forward
from protei_bulk.smpp import commands, statuses, tags, times
from protei_bulk.smpp.codec import Pdu, encode
from protei_bulk.smpp.errors import RejectPdu
from tests.channels.smpp.fakes import AHMAD, RESP, Peer, Transport, World, pdus
from tests.smpp.layouts import pdus as any_pdu

TX, RX = commands.BIND_TRANSMITTER, commands.BIND_RECEIVER


def standing(**values: Any) -> Standing:
    given = {
        "id": "MSG-000000000001", "status": "SENT", "dlr_status": "", "error_code": "", "ended_at": 0.0, "smsc": "a", "smsc_message_id": "",
        "segments": 1, "source": "Shop", "dest": "962790000001", "addr_types": 0, "service_type": "", "queued": False, "claimed_by": None,
        "in_doubt": False, "held": False, "due_at": 0.0, **values,
    }  # fmt: skip
    return Standing(**given)


class SessionCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.peer = self.world.bound()

    def bound(self, version: int, kind: int = commands.BIND_TRANSCEIVER) -> Peer:
        peer = self.world.connect()
        peer.bind(kind, version=version)
        peer.read()
        return peer

    def ask(self, command: int, peer: Peer | None = None, tlvs: dict[int, bytes] | None = None, **fields: Any) -> Pdu:
        peer = peer or self.peer
        sequence = peer.next()
        peer.send(encode(Pdu(command, 0, sequence, fields, tlvs or {})))
        [answer] = peer.read()
        self.assertEqual((command | RESP, sequence), (answer.command_id, answer.sequence))
        self.assertEqual(0, peer.session._unanswered)
        return answer


class QueryTest(SessionCase):
    def query(self, version: int = 0x34, **values: Any) -> tuple[int, str, int]:
        self.world.operations.found = [standing(**values)]
        answer = self.ask(commands.QUERY_SM, self.bound(version), message_id="msg-000000000001 ")
        self.assertEqual((7, "MSG-000000000001"), self.world.operations.asked[-1])
        self.assertEqual(0, answer.status)
        return answer.fields["message_state"], answer.fields["final_date"], answer.fields["error_code"]

    def test_states(self) -> None:
        for status, in_3_4, in_5_0 in (
            (lifecycle.PENDING, 1, 1), (lifecycle.QUEUED, 1, 1), (lifecycle.SCHEDULED, 1, 0), (lifecycle.SENT, 1, 1),
            (lifecycle.DELIVERED, 2, 2), (lifecycle.EXPIRED, 3, 3), (lifecycle.DELETED, 4, 4), (lifecycle.FAILED, 5, 5),
            (lifecycle.UNKNOWN, 7, 7), (lifecycle.REJECTED, 8, 8), (lifecycle.SKIPPED, 7, 9),
        ):  # fmt: skip
            self.assertEqual(in_3_4, self.query(status=status)[0], status)
            self.assertEqual(in_5_0, self.query(0x50, status=status)[0], status)
        self.assertEqual(6, self.query(status=lifecycle.SENT, dlr_status="ACCEPTD")[0])

    def test_when_it_ended_and_why(self) -> None:
        self.assertEqual((2, "260101000000000+", 0), self.query(status="DELIVERED", ended_at=1767225600.0))
        self.assertEqual((1, "", 0), self.query(status="SENT", ended_at=0.0, error_code="5"))
        for code, told in (("005", 5), ("255", 255), ("256", 0), ("EXPIRED", 0), ("\u00b2", 0), ("", 0)):
            self.assertEqual(told, self.query(status="FAILED", error_code=code)[2], code)

    def test_one_of_several(self) -> None:
        delivered = standing(status="DELIVERED")
        self.world.operations.found = [delivered, standing(status="FAILED", error_code="7"), delivered]
        answer = self.ask(commands.QUERY_SM, message_id="MSG-000000000001")
        self.assertEqual((5, 7), (answer.fields["message_state"], answer.fields["error_code"]))
        self.world.operations.found.append(standing(status="SENT"))
        self.assertEqual(1, self.ask(commands.QUERY_SM, message_id="MSG-000000000001").fields["message_state"])

    def test_nothing_to_tell(self) -> None:
        self.assertEqual(statuses.ESME_RINVMSGID, self.ask(commands.QUERY_SM, message_id="MSG-000000000001").status)
        self.assertEqual(statuses.ESME_RINVMSGID, self.ask(commands.QUERY_SM, message_id="").status)
        self.world.operations.found = [standing()]
        self.assertEqual(statuses.ESME_RINVMSGID, self.ask(commands.QUERY_SM, message_id="x", source_addr="Else").status)
        self.world.operations.broken = True
        self.assertEqual(statuses.ESME_RQUERYFAIL, self.ask(commands.QUERY_SM, message_id="x").status)

    def test_ids_as_they_are_written(self) -> None:
        for written, stored in (
            (" abc ", "00000ABC"), ("00000ABC", "00000ABC"), ("msg-0K7Q2M1V0001", "MSG-0K7Q2M1V0001"), ("xyz", "XYZ"), ("", ""),
        ):  # fmt: skip
            self.assertEqual(stored, as_stored(written))


class CancelAndReplaceTest(SessionCase):
    def test_cancel(self) -> None:
        for status in (0, statuses.ESME_RCANCELFAIL):
            self.world.operations.status = status
            who = {"source_addr": "Shop", "destination_addr": "+96279", "service_type": "WAP"}
            self.assertEqual(status, self.ask(commands.CANCEL_SM, message_id="a1", **who).status)
            a = self.world.operations.asked[-1]
            self.assertEqual((7, "000000A1", "Shop", "96279", "WAP"), (a.user_id, a.id, a.source, a.dest, a.service_type))

    def test_replace(self) -> None:
        self.assertEqual(0, self.ask(commands.REPLACE_SM, message_id="a1", source_addr="Shop", short_message=b"new text").status)
        asked = self.world.operations.asked[-1]
        self.assertEqual((AHMAD, "000000A1", "Shop"), (asked.account, asked.id, asked.source))
        old = Message()
        old.body, old.text, old.registered, old.valid_until = b"old", "old", 1, 3e9
        new = asked.rewrite(old)
        self.assertEqual((b"new text", "new text", 1, 0, 3e9), (new.body, new.text, new.segments, new.registered, new.valid_until))
        old.udh = b"\5\0\3\1\2\1"
        self.assertEqual(statuses.ESME_RREPLACEFAIL, self.assertRaises(RejectPdu, asked.rewrite, old).status)

    def test_replace_only_times(self) -> None:
        now = self.world.clock.seconds()
        self.ask(commands.REPLACE_SM, message_id="a1", schedule_delivery_time=times.absolute(now + 600), validity_period="000000020000000R")
        old = Message()
        old.body, old.text, old.segments, old.udh = b"x" * 200, "x" * 200, 2, b"\5\0\3\1\2\1"
        new = self.world.operations.asked[-1].rewrite(old)
        self.assertEqual((b"x" * 200, 2, now + 600, now + 7800), (new.body, new.segments, new.not_before, new.valid_until))

    def test_replace_by_a_payload(self) -> None:
        self.ask(commands.REPLACE_SM, tlvs={tags.MESSAGE_PAYLOAD: b"y" * 300}, message_id="a1")
        self.assertEqual(2, self.world.operations.asked[-1].rewrite(Message()).segments)

    def test_answers_that_come_later(self) -> None:
        waiting: Deferred[int] = Deferred()
        self.world.operations.cancel = lambda wanted: waiting  # type: ignore[method-assign]
        self.peer.send(encode(Pdu(commands.CANCEL_SM, 0, 5, {"message_id": "1"})))
        self.assertEqual([], self.peer.read())
        self.peer.request(commands.UNBIND)
        self.assertFalse(self.peer.ended)  # it is waited for
        self.peer.read()
        waiting.callback(0)
        self.assertEqual([(commands.CANCEL_SM | RESP, 0)], self.peer.answers())
        self.assertTrue(self.peer.ended)

    def test_an_answer_for_whom_nobody_is_left(self) -> None:
        waiting: Deferred[int] = Deferred()
        self.world.operations.cancel = lambda wanted: waiting  # type: ignore[method-assign]
        self.peer.send(encode(Pdu(commands.CANCEL_SM, 0, 5, {"message_id": "1"})))
        self.peer.lose()
        waiting.callback(0)

    def test_who_may_not(self) -> None:
        receiver = self.bound(0x34, RX)
        for command in (commands.QUERY_SM, commands.CANCEL_SM, commands.REPLACE_SM, commands.SUBMIT_MULTI, commands.DATA_SM):
            receiver.send(encode(Pdu(command, 0, 5)))
            self.assertEqual([(command | RESP, statuses.ESME_RINVBNDSTS)], receiver.answers())
        for command in (commands.ALERT_NOTIFICATION, commands.OUTBIND, commands.DELIVER_SM):
            receiver.send(encode(Pdu(command, 0, 5)))
            self.assertEqual([(commands.GENERIC_NACK, statuses.ESME_RINVCMDID)], receiver.answers())


class SubmitMultiTest(SessionCase):
    def multi(self, *destinations: Any, peer: Peer | None = None, **more: Any) -> Pdu:
        return self.ask(commands.SUBMIT_MULTI, peer, source_addr="Shop", destinations=list(destinations), short_message=b"hi", **more)

    def test_each_is_a_message(self) -> None:
        answer = self.multi((1, 1, "962790000001"), (1, 1, "+962790000002"), registered_delivery=1, priority_flag=1)
        self.assertEqual((0, "MSG-SHARED000000", []), (answer.status, answer.fields["message_id"], answer.fields["unsuccess_smes"]))
        self.assertEqual(
            [("962790000001", "MSG-SHARED000000", 2), ("962790000002", "MSG-SHARED000000", 2)],
            [(m.dest, m.shown_id, m.priority) for m in self.world.intake.messages],
        )
        self.assertEqual(2, self.peer.session.received)

    def test_some_are_refused(self) -> None:
        self.world.intake.hold = True
        sequence = self.peer.next()
        fields = {"destinations": [(1, 1, "1"), (2, 3, "4"), "friends"], "short_message": b"hi"}
        self.peer.send(encode(Pdu(commands.SUBMIT_MULTI, 0, sequence, fields)))
        self.world.intake.messages[1].refusal = INVALID_DESTINATION
        self.assertEqual(2, self.peer.session._unanswered)
        self.world.intake.answer()
        [answer] = self.peer.read()
        self.assertEqual([(0, 0, "friends", 0x34), (2, 3, "4", 0x0B)], answer.fields["unsuccess_smes"])
        self.assertEqual((0, "MSG-SHARED000000"), (answer.status, answer.fields["message_id"]))

    def test_all_are_refused(self) -> None:
        self.world.intake.hold = True
        self.peer.send(encode(Pdu(commands.SUBMIT_MULTI, 0, 9, {"destinations": [(1, 1, "1"), (1, 1, "2")], "short_message": b"hi"})))
        for m in self.world.intake.messages:
            m.refusal = QUOTA_EXCEEDED
        self.world.intake.answer()
        [answer] = self.peer.read()
        self.assertEqual((0x45, "", 2), (answer.status, answer.fields["message_id"], len(answer.fields["unsuccess_smes"])))

    def test_the_pace_counts_each(self) -> None:
        self.world.auth.account = Account(user_id=7, username="ahmad", customer_id=1, max_tps=3)
        peer = self.world.bound()
        destinations = [(1, 1, str(n)) for n in range(100, 103)]
        self.assertEqual(0, self.multi(*destinations, peer=peer).status)
        self.assertEqual(statuses.ESME_RTHROTTLED, self.multi(destinations[0], peer=peer).status)

    def test_replacing(self) -> None:
        self.multi((1, 1, "1"), replace_if_present_flag=1)
        self.assertEqual(1, len(self.world.operations.replacing))
        self.peer.submit()
        self.assertEqual(1, len(self.world.operations.replacing))

    def test_dest_flag(self) -> None:
        body = b"\0\0\0\0\1\7"
        self.peer.send((16 + len(body)).to_bytes(4, "big") + commands.SUBMIT_MULTI.to_bytes(4, "big") + bytes(8) + body)
        self.assertEqual([(commands.SUBMIT_MULTI | RESP, statuses.ESME_RINVDESTFLAG)], self.peer.answers())


class VersionTest(SessionCase):
    def test_3_3(self) -> None:
        peer = self.bound(0x33)
        peer.submit()
        [answer] = peer.read()
        self.assertEqual(("00000ABD", "00000ABD"), (answer.fields["message_id"], self.world.intake.messages[0].shown_id))
        answer = self.ask(commands.DATA_SM, peer, tlvs={tags.MESSAGE_PAYLOAD: b"hi"}, destination_addr="962790000001")
        self.assertEqual(("00000ABE", {}), (answer.fields["message_id"], answer.tlvs))
        multi = self.ask(commands.SUBMIT_MULTI, peer, destinations=[(1, 1, "1"), (1, 1, "2")], short_message=b"x")
        self.assertEqual("00000ABF", multi.fields["message_id"])
        self.assertEqual({"00000ABF"}, {m.shown_id for m in self.world.intake.messages[2:]})

    def test_3_3_knows_no_later_status(self) -> None:
        peer, bad = self.bound(0x33), b"\0\1\0"
        frame = encode(Pdu(commands.SUBMIT_SM, 0, 3, {"destination_addr": "1", "short_message": b"x"})) + bad
        peer.send(len(frame).to_bytes(4, "big") + frame[4:])
        self.assertEqual([(commands.SUBMIT_SM | RESP, statuses.ESME_RINVCMDLEN)], peer.answers())

    def test_no_short_id_yet(self) -> None:
        self.world.short_ids.empty = True
        peer = self.bound(0x33)
        peer.submit()
        self.assertEqual([(commands.SUBMIT_SM | RESP, statuses.ESME_RSYSERR)], peer.answers())
        for command, fields in ((commands.DATA_SM, {}), (commands.SUBMIT_MULTI, {"destinations": [(1, 1, "1")], "short_message": b"x"})):
            self.assertEqual(statuses.ESME_RSYSERR, self.ask(command, peer, **fields).status)
        self.assertEqual([], self.world.intake.messages)

    def test_receipts_bear_the_id_that_was_given(self) -> None:
        m = Message()
        m.id, m.shown_id, m.user_id, m.dest = "MSG-000000000001", "00000ABC", 7, "962790000001"
        for version, tlvs in ((0x33, {}), (0x34, {tags.RECEIPTED_MESSAGE_ID: b"00000ABC\0", tags.MESSAGE_STATE: b"\2"})):
            self.peer.lose()
            self.peer = self.bound(version)
            self.world.delivery.forward([Forward(m, "DELIVRD", "000", 0.0)])
            [told] = self.peer.read()
            self.assertTrue(told.fields["short_message"].startswith(b"id:00000ABC "))
            self.assertEqual(tlvs, told.tlvs)
            self.peer.request(commands.DELIVER_SM | RESP, told.sequence)

    def test_5_0_is_told_how_busy_we_are(self) -> None:
        peer = self.bound(0x50)
        for load in (0, 42, 100):
            self.world.factory.load = lambda load=load: load  # type: ignore[misc]
            peer.submit()
            [answer] = peer.read()
            self.assertEqual({tags.CONGESTION_STATE: bytes((load,))}, answer.tlvs)
        self.world.intake.hold = True
        for _ in range(self.world.factory.settings.window // 2):
            peer.submit()
        self.world.factory.load = lambda: 7
        self.world.intake.answer()
        self.assertEqual(b"\x32", peer.read()[0].tlvs[tags.CONGESTION_STATE])  # 500 of 1000 wait

    def test_an_older_peer_is_not(self) -> None:
        self.peer.submit()
        self.assertEqual({}, self.peer.read()[0].tlvs)


class SubmissionTest(SynchronousTestCase):
    def message(self, now: float = 1_800_000_000.0, **more: Any) -> Message:
        values = {"service_type": "", "schedule": "", "validity": "", "replace": 0, "predefined": 0, "body": b"hi", **more}
        return message_of(
            (values["service_type"], 5, 0, "Shop", 1, 1, "962790000001", 0, 0, 0, values["schedule"], values["validity"], 0,
             values["replace"], 0, values["predefined"], values["body"], None), now,
        )  # fmt: skip

    def test_carried(self) -> None:
        m = self.message(service_type="CMT", replace=1)
        self.assertEqual(("CMT", True), (m.service_type, m.replaces))
        self.assertFalse(self.message().replaces)

    def test_predefined(self) -> None:
        self.assertEqual(statuses.ESME_RINVDFTMSGID, self.assertRaises(RejectPdu, self.message, predefined=1, body=b"").status)
        self.assertEqual(b"hi", self.message(predefined=1).body)

    def test_schedules(self) -> None:
        now = 1_800_000_000.0
        for seconds, due in ((-60, 0.0), (-1, 0.0), (0, 0.0), (1, now + 1), (366 * 86_400, now + 366 * 86_400)):
            self.assertEqual(due, self.message(schedule=times.absolute(now + seconds)).not_before)
        for seconds in (-61, 366 * 86_400 + 1):
            self.assertEqual(
                statuses.ESME_RINVSCHED, self.assertRaises(RejectPdu, self.message, schedule=times.absolute(now + seconds)).status
            )
        m = self.message(schedule="000000010000000R", validity="000000020000000R")
        self.assertEqual((now + 3600, now + 3600 + 7200), (m.not_before, m.valid_until))
        self.assertEqual(statuses.ESME_RINVEXPIRY, self.assertRaises(RejectPdu, self.message, validity="x").status)


class StandingTest(SynchronousTestCase):
    def test_who_holds_it(self) -> None:
        self.assertEqual(0, standing().holder)
        self.assertEqual(1, standing(id="MSG-000000000100").holder)
        self.assertEqual(IN_TABLE, standing(queued=True).holder)
        self.assertEqual(3, standing(queued=True, claimed_by=3).holder)

    def test_what_waits(self) -> None:
        for status, waits in (("QUEUED", True), ("SCHEDULED", True), ("PENDING", True), ("SENT", False), ("DELETED", False)):
            self.assertEqual(waits, standing(status=status).waits)
        self.assertFalse(standing(status="QUEUED", in_doubt=True).waits)
        self.assertFalse(standing(status="QUEUED", held=True).waits)


class ShortIdsTest(SynchronousTestCase):
    def test_blocks_ahead_of_time(self) -> None:
        asked: list[Deferred[int]] = []

        def block() -> Deferred[int]:
            asked.append(Deferred())
            return asked[-1]

        ids = ShortIds(block, 4)
        self.assertEqual("", ids.next())
        ids.start()
        self.assertEqual(1, len(asked))
        asked[0].callback(1)
        self.assertEqual(["00000001", "00000002"], [ids.next(), ids.next()])
        self.assertEqual(2, len(asked))
        self.assertEqual(["00000003", "00000004", ""], [ids.next(), ids.next(), ids.next()])
        asked[1].errback(OSError("gone"))
        self.assertEqual("", ids.next())
        asked[2].callback(2**32 - 4)
        self.assertEqual(["FFFFFFFC", "FFFFFFFD", "FFFFFFFE", "FFFFFFFF"], [ids.next() for _ in range(4)])


class AlertsTest(SessionCase):
    def alert(self, esme: str = "12345") -> Pdu:
        return Pdu(commands.ALERT_NOTIFICATION, 0, 1, {"source_addr": "96279", "esme_addr": esme}, {tags.MS_AVAILABILITY_STATUS: b"\0"})

    def take(self, user: str = "", **more: Any) -> bool:
        return Alerts(self.world.factory, lambda *_: user).take("a", self.alert(**more))

    def test_by_rule(self) -> None:
        self.assertFalse(self.take("nobody"))
        self.assertTrue(self.take("ahmad"))
        [told] = self.peer.read()
        self.assertEqual((commands.ALERT_NOTIFICATION, "12345"), (told.command_id, told.fields["esme_addr"]))
        self.assertEqual({tags.MS_AVAILABILITY_STATUS: b"\0"}, told.tlvs)

    def test_by_sender_id(self) -> None:
        self.assertFalse(self.take())
        self.world.auth.account = Account(user_id=8, username="other", customer_id=1, allowed_sender_ids=("12345",))
        other = self.bound(0x34)
        self.assertTrue(self.take())
        self.assertEqual(1, len(other.read()))
        self.assertFalse(self.take(esme="777"))
        self.world.auth.account = Account(user_id=9, username="third", customer_id=1, allowed_sender_ids=("12345",))
        self.bound(0x34)
        self.assertFalse(self.take())

    def test_who_cannot_take_it(self) -> None:
        self.peer.lose()
        self.bound(0x34, TX)
        self.bound(0x33)
        self.assertFalse(self.take("ahmad"))


class OutbindsTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.clock: Clock = self.world.clock
        self.rows = [(7, "ahmad", "esme.example", 2778, "pw")]
        self.connected: list[tuple[float, str, int]] = []
        self.transports: list[Transport] = []
        self.refuses = False
        self.broken = False
        case = self

        class Endpoint:
            def __init__(self, host: str, port: int) -> None:
                case.connected.append((case.clock.seconds() - 1_800_000_000, host, port))

            def connect(self, factory: Any) -> Deferred[Any]:
                if case.refuses:
                    return fail(OSError("refused"))
                session = factory.buildProtocol(None)
                case.transports.append(Transport())
                session.makeConnection(case.transports[-1])
                return succeed(session)

        self.outbinds = Outbinds(self.world.factory, self, Endpoint, self.clock)  # type: ignore[arg-type]
        self.world.factory.start()
        self.outbinds.start()
        self.addCleanup(self.outbinds.stop)

    def away(self) -> Deferred[list[tuple[int, str, str, int, str]]]:
        """What the store says."""
        return fail(OSError("gone")) if self.broken else succeed(list(self.rows))

    def test_asks_and_the_esme_binds(self) -> None:
        self.clock.pump([1.0] * 15)
        [transport] = self.transports
        [asked] = pdus(transport.value())
        self.assertEqual((commands.OUTBIND, "protei-bulk", "pw"), (asked.command_id, asked.fields["system_id"], asked.fields["password"]))
        transport.clear()
        fields = {"system_id": "ahmad", "password": "secret", "interface_version": 0x34}
        [session] = self.world.factory._sessions
        session.dataReceived(encode(Pdu(RX, 0, 1, fields)))
        self.clock.advance(0)
        self.assertEqual([(RX | RESP, 0)], [(p.command_id, p.status) for p in pdus(transport.value())])
        self.assertTrue(self.world.delivery.reachable(7))

    def test_less_and_less_often(self) -> None:
        self.refuses = True
        self.clock.pump([1.0] * 300)
        self.assertEqual([3, 18, 48, 108, 228], [round(at) for at, _, _ in self.connected])
        away, self.rows = self.rows, []
        self.clock.pump([1.0] * 20)
        self.rows = away
        self.clock.pump([1.0] * 16)
        self.assertEqual(6, len(self.connected))

    def test_a_database_that_is_away(self) -> None:
        self.broken = True
        self.clock.pump([1.0] * 3)
        self.broken = False
        self.clock.pump([1.0] * 15)
        self.assertEqual(1, len(self.connected))


class AnyPduTest(SynchronousTestCase):
    @given(st.lists(any_pdu(), max_size=6), st.sampled_from([0x33, 0x34, 0x50]), st.booleans())
    def test_is_answered_or_ends_the_connection(self, given_: list[Pdu], version: int, broken: bool) -> None:
        world = World()
        world.start()
        world.operations.broken = broken
        peer = world.connect()
        peer.bind(version=version)
        for pdu in given_:
            peer.send(encode(pdu))
        world.wait(2)
        peer.lose()
        logged = self.flushLoggedErrors()
        self.assertEqual([], [f for f in logged if not broken or not f.check(OSError)])
