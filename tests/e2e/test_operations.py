"""Every operation of SMPP against a running gateway, between an ESME on a raw socket and a simulated SMSC."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any, ClassVar

from smpplib import command as smpplib_command
from smpplib.client import Client
from smpplib.smpp import make_pdu
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.smpp import commands, fast, statuses, tags, times
from protei_bulk.smpp.codec import Pdu
from protei_bulk.text.receipt import ReceiptText, parse_receipt
from tests.support.esme import Esme
from tests.support.gateway import PASSWORD, Gateway, eventually

SMSC = commands.SUBMIT_SM
PRICED = """
[[route]]
name = "priced"
order = 1
to = ["SMSC1"]
price = 0.01
"""
HOUR = "000000010000000R"  # an hour from now


class OperationsCase(SynchronousTestCase):
    """One gateway for all tests of a class; each test has numbers of its own."""

    options: ClassVar[tuple[str, ...]] = ("--octets",)
    smsc_settings: ClassVar[str] = ""
    _shared: ClassVar[Gateway | None] = None
    _numbers: ClassVar[int] = 0

    def setUp(self) -> None:
        cls = type(self)
        if cls._shared is None:
            gateway = Gateway(PRICED)
            cls._shared = gateway
            self.smsc = gateway.simulate("SMSC1", *self.options, settings=self.smsc_settings)
            gateway.accounts({"ahmad": (), "other": ()})
            gateway.start()
        self.gateway = cls._shared
        self.smsc = self.gateway.simulators["SMSC1"]

    @classmethod
    def tearDownClass(cls) -> None:
        if cls._shared is not None:
            cls._shared.stop()
            cls._shared = None

    def number(self) -> str:
        OperationsCase._numbers += 1
        return str(962790000000 + OperationsCase._numbers)

    def esme(self, version: int = 0x34, user: str = "ahmad", kind: int = commands.BIND_TRANSCEIVER) -> Esme:
        esme = Esme(self.gateway.smpp_port)
        self.addCleanup(esme.socket.close)
        self.assertEqual(0, esme.bind(user, PASSWORD, kind, version=version))
        return esme

    def submit(self, esme: Esme, dest: str, **more: Any) -> str:
        """The id in the answer; a field or `tlvs` by name."""
        answer = esme.ask(submit(dest, **more))
        self.assertEqual(0, answer.status, statuses.name(answer.status))
        return str(answer.fields["message_id"])

    def receipt(self, esme: Esme, seconds: float = 20.0) -> tuple[Pdu, ReceiptText]:
        pdu = esme.delivered(seconds)
        told = parse_receipt(pdu.fields["short_message"], pdu.tlvs, pdu.fields["esm_class"])
        assert told is not None
        return pdu, told

    def balance(self) -> Decimal:
        return Decimal(self.gateway.query("SELECT balance FROM customers")[0][0])

    def used(self) -> int:
        return sum(r[0] for r in self.gateway.query("SELECT messages_sent FROM tbl_quota_usage"))

    def bodies(self, dest: str) -> list[bytes]:
        """What the SMSC was given for a recipient."""
        self.smsc.taken()
        lines = [line.split() for line in self.smsc.ledger.read_text().splitlines()]
        ids = {f[1] for f in lines if f[0] == "S" and f[2] == dest}
        return [bytes.fromhex(f[2]) for f in lines if f[0] == "O" and f[1] in ids]


def submit(dest: str, command: int = commands.SUBMIT_SM, **more: Any) -> Pdu:
    values = {
        "source_addr": "MyCompany", "source_addr_ton": 5, "dest_addr_ton": 1, "dest_addr_npi": 1, "destination_addr": dest,
        "short_message": b"Hello", "registered_delivery": 1, **more,
    }  # fmt: skip
    found = values.pop("tlvs", {})
    return Pdu(command, fields=values, tlvs=found)


class Submitting(OperationsCase):
    def test_submit_multi(self) -> None:
        esme, a, b = self.esme(), self.number(), self.number()
        money, used = self.balance(), self.used()
        several = submit("", commands.SUBMIT_MULTI, destinations=[(1, 1, a), "friends", (1, 1, b), (1, 1, "12")])
        answer = esme.ask(several)
        id = answer.fields["message_id"]
        self.assertEqual(0, answer.status)
        self.assertEqual(
            {(0, 0, "friends", statuses.ESME_RINVDLNAME), (1, 1, "12", statuses.ESME_RINVDSTADR)}, set(answer.fields["unsuccess_smes"])
        )
        told = [self.receipt(esme) for _ in range(2)]
        self.assertEqual({a, b}, {pdu.fields["source_addr"] for pdu, _ in told})
        self.assertEqual({(id, "DELIVRD")}, {(r.id, r.stat) for _, r in told})
        self.assertEqual({id.encode() + b"\0"}, {pdu.tlvs[tags.RECEIPTED_MESSAGE_ID] for pdu, _ in told})
        self.assertEqual((money - Decimal("0.02"), used + 2), (self.balance(), self.used()))
        self.assertEqual(2, esme.ask(Pdu(commands.QUERY_SM, fields={"message_id": id})).fields["message_state"])

    def test_submit_multi_that_nobody_gets(self) -> None:
        esme = self.esme()
        for destinations, status in (
            ([], statuses.ESME_RINVNUMDESTS),
            ([(1, 1, self.number())] * 255, statuses.ESME_RINVNUMDESTS),
            (["a", "b"], statuses.ESME_RINVDLNAME),
            ([(1, 1, "1"), (1, 1, "x")], statuses.ESME_RINVDSTADR),
            ([(1, 1, "1"), "friends"], statuses.ESME_RSUBMITFAIL),
        ):
            self.assertEqual(status, esme.ask(submit("", commands.SUBMIT_MULTI, destinations=destinations)).status)

    def test_254_destinations(self) -> None:
        esme = self.esme()
        destinations = [(1, 1, self.number()) for _ in range(254)]
        answer = esme.ask(submit("", commands.SUBMIT_MULTI, destinations=destinations, registered_delivery=0))
        self.assertEqual((0, []), (answer.status, answer.fields["unsuccess_smes"]))
        self.gateway.wait_empty()
        self.assertLessEqual({d[2] for d in destinations}, set(self.smsc.taken()))

    def test_data_sm(self) -> None:
        esme, dest = self.esme(), self.number()
        answer = esme.ask(
            submit(dest, commands.DATA_SM, service_type="CMT", tlvs={
                tags.MESSAGE_PAYLOAD: b"x" * 300, tags.QOS_TIME_TO_LIVE: b"\0\0\x0e\x10", 0x1400: b"vendor", 0x3FFE: b"",
            })
        )  # fmt: skip
        self.assertEqual(0, answer.status)
        _, told = self.receipt(esme)
        self.assertEqual((answer.fields["message_id"], "DELIVRD"), (told.id, told.stat))
        sent = [fast.decode_sm(body, 0, len(body)) for body in self.bodies(dest)]
        self.assertEqual(2, len(sent))
        for f in sent:
            self.assertEqual(("CMT", {0x1400: b"vendor", 0x3FFE: b""}), (f[0], f[17]))
            self.assertRegex(f[11], r"^0000000[01]\d{8}R$|^000000\d{9}R$")
        refused = esme.ask(submit("12", commands.DATA_SM, tlvs={tags.MESSAGE_PAYLOAD: b"x"}))
        self.assertEqual(statuses.ESME_RINVDSTADR, refused.status)
        self.assertIn(b"destination", refused.tlvs[tags.ADDITIONAL_STATUS_INFO_TEXT])

    def test_whatever_else_it_carries_arrives(self) -> None:
        esme, dest = self.esme(), self.number()
        carried = {
            tags.USER_MESSAGE_REFERENCE: b"\0\7", tags.SOURCE_PORT: b"\1", tags.LANGUAGE_INDICATOR: b"\1\2\3", 0x0007: b"\4",
            tags.BILLING_IDENTIFICATION: b"account", 0x2150: b"unknown", 0xFFFF: b"",
        }  # fmt: skip
        self.submit(esme, dest, service_type="WAP", protocol_id=64, tlvs=carried)
        self.receipt(esme)
        [body] = self.bodies(dest)
        f = fast.decode_sm(body, 0, len(body))
        self.assertEqual(("WAP", 64, carried), (f[0], f[8], f[17]))

    def test_a_predefined_message(self) -> None:
        esme = self.esme()
        self.assertEqual(
            statuses.ESME_RINVDFTMSGID, esme.ask(submit(self.number(), short_message=b"", sm_default_msg_id=1)).status
        )
        self.submit(esme, self.number(), sm_default_msg_id=1, registered_delivery=0)

    def test_schedules(self) -> None:
        esme, dest = self.esme(), self.number()
        now = time.time()
        for wrong in (now - 100, now + 370 * 86_400):
            self.assertEqual(statuses.ESME_RINVSCHED, esme.ask(submit(self.number(), schedule_delivery_time=times.absolute(wrong))).status)
        self.assertEqual(statuses.ESME_RINVSCHED, esme.ask(submit(self.number(), schedule_delivery_time="soon")).status)
        self.submit(esme, self.number(), schedule_delivery_time=times.absolute(now - 10), registered_delivery=0)
        due = int(time.time()) + 2
        id = self.submit(esme, dest, schedule_delivery_time=times.absolute(due))
        self.assertEqual(1, esme.ask(Pdu(commands.QUERY_SM, fields={"message_id": id})).fields["message_state"])
        _, told = self.receipt(esme)
        self.assertEqual((id, "DELIVRD"), (told.id, told.stat))
        [(sent,)] = self.gateway.query("SELECT extract(epoch FROM sent_at)::float8 FROM messages WHERE message_id = %s", (id,))
        self.assertGreaterEqual(sent, due)


class Asking(OperationsCase):
    def query(self, esme: Esme, id: str, **more: Any) -> Pdu:
        return esme.ask(Pdu(commands.QUERY_SM, fields={"message_id": id, **more}))

    def cancel(self, esme: Esme, **fields: Any) -> int:
        return esme.ask(Pdu(commands.CANCEL_SM, fields=fields)).status

    def test_query(self) -> None:
        esme = self.esme()
        id = self.submit(esme, self.number())
        self.receipt(esme)
        answer = eventually(lambda: (a := self.query(esme, id)).fields["message_state"] == 2 and a, "delivered")
        self.assertEqual((id, 0), (answer.fields["message_id"], answer.fields["error_code"]))
        self.assertLess(abs(times.parse(answer.fields["final_date"], 0) - time.time()), 60)
        self.assertEqual(0, self.query(esme, id, source_addr="MyCompany").status)
        self.assertEqual(0, self.query(esme, id.lower()).status)
        other = self.esme(user="other")
        for who, asked, source in ((esme, id, "Else"), (esme, "MSG-000000000000", ""), (esme, "x", ""), (esme, "", ""), (other, id, "")):
            self.assertEqual(statuses.ESME_RINVMSGID, self.query(who, asked, source_addr=source).status)

    def test_cancel_by_id(self) -> None:
        esme, dest = self.esme(), self.number()
        money, used = self.balance(), self.used()
        id = self.submit(esme, dest, schedule_delivery_time=HOUR)
        self.assertEqual(money - Decimal("0.01"), self.balance())
        other = self.esme(user="other")
        self.assertEqual(statuses.ESME_RINVMSGID, self.cancel(other, message_id=id, source_addr="MyCompany"))
        self.assertEqual(statuses.ESME_RINVMSGID, self.cancel(esme, message_id=id, source_addr="Else"))
        self.assertEqual(0, self.cancel(esme, message_id=id, source_addr="MyCompany"))
        _, told = self.receipt(esme)
        self.assertEqual((id, "DELETED"), (told.id, told.stat))
        self.assertEqual(4, self.query(esme, id).fields["message_state"])
        self.assertEqual((money, used + 1), (self.balance(), self.used()))
        self.assertEqual([], self.gateway.query("SELECT 1 FROM tbl_message_queue WHERE message_id = %s", (id,)))
        self.assertEqual(0, self.cancel(esme, message_id=id))  # it is

    def test_cancel_what_has_gone(self) -> None:
        esme = self.esme()
        id = self.submit(esme, self.number())
        self.receipt(esme)
        self.assertEqual(statuses.ESME_RCANCELFAIL, self.cancel(esme, message_id=id))

    def test_cancel_all_of_a_kind(self) -> None:
        esme, dest, another = self.esme(), self.number(), self.number()
        wap = [self.submit(esme, dest, service_type="WAP", schedule_delivery_time=HOUR) for _ in range(2)]
        plain = self.submit(esme, dest, schedule_delivery_time=HOUR)
        kept = self.submit(esme, another, schedule_delivery_time=HOUR)
        who = {"source_addr": "MyCompany", "destination_addr": dest}
        self.assertEqual(0, self.cancel(esme, **who, service_type="WAP"))
        states = {id: self.query(esme, id).fields["message_state"] for id in (*wap, plain, kept)}
        self.assertEqual({wap[0]: 4, wap[1]: 4, plain: 1, kept: 1}, states)
        self.assertEqual(0, self.cancel(esme, **who))
        self.assertEqual((4, 1), tuple(self.query(esme, id).fields["message_state"] for id in (plain, kept)))
        self.assertEqual(statuses.ESME_RCANCELFAIL, self.cancel(esme, **who))
        self.assertEqual(statuses.ESME_RINVDSTADR, self.cancel(esme, source_addr="MyCompany"))
        self.assertEqual(statuses.ESME_RINVSRCADR, self.cancel(esme, destination_addr=dest))

    def test_cancel_one_destination_of_several(self) -> None:
        esme, a, b = self.esme(), self.number(), self.number()
        several = submit("", commands.SUBMIT_MULTI, destinations=[(1, 1, a), (1, 1, b)], schedule_delivery_time=HOUR)
        id = esme.ask(several).fields["message_id"]
        self.assertEqual(0, self.cancel(esme, message_id=id, destination_addr=a))
        self.assertEqual(1, self.query(esme, id).fields["message_state"])
        self.assertEqual(0, self.cancel(esme, message_id=id))
        self.assertEqual(4, self.query(esme, id).fields["message_state"])

    def test_replace(self) -> None:
        esme, dest = self.esme(), self.number()
        money = self.balance()
        id = self.submit(esme, dest, schedule_delivery_time=HOUR, registered_delivery=0)
        fields = {
            "message_id": id, "source_addr": "MyCompany", "registered_delivery": 1, "short_message": b"y" * 200,
            "schedule_delivery_time": times.absolute(time.time() + 1),
        }  # fmt: skip
        self.assertEqual(0, esme.ask(Pdu(commands.REPLACE_SM, fields=fields)).status)
        self.assertEqual(money - Decimal("0.02"), self.balance())
        _, told = self.receipt(esme)
        self.assertEqual((id, "DELIVRD"), (told.id, told.stat))
        self.assertEqual([153, 47], [len(fast.decode_sm(b, 0, len(b))[16]) - 6 for b in self.bodies(dest)])
        self.assertEqual(statuses.ESME_RREPLACEFAIL, esme.ask(Pdu(commands.REPLACE_SM, fields=fields)).status)

    def test_replace_that_cannot_be(self) -> None:
        esme = self.esme()
        id = self.submit(esme, self.number(), schedule_delivery_time=HOUR)
        for fields, status in (
            ({"message_id": ""}, statuses.ESME_RINVMSGID),
            ({"message_id": "x"}, statuses.ESME_RINVMSGID),
            ({"source_addr": "Else"}, statuses.ESME_RINVMSGID),
            ({"sm_default_msg_id": 1}, statuses.ESME_RINVDFTMSGID),
            ({"schedule_delivery_time": "never"}, statuses.ESME_RINVSCHED),
            ({"validity_period": "never"}, statuses.ESME_RINVEXPIRY),
            ({"validity_period": times.absolute(time.time() - 5)}, statuses.ESME_RINVEXPIRY),
        ):
            answer = esme.ask(Pdu(commands.REPLACE_SM, fields={"message_id": id, **fields}))
            self.assertEqual(statuses.name(status), statuses.name(answer.status), fields)
        self.assertEqual(0, self.cancel(esme, message_id=id))

    def test_replace_if_present(self) -> None:
        esme, dest = self.esme(), self.number()
        first = self.submit(esme, dest, schedule_delivery_time=HOUR, replace_if_present_flag=1)
        wap = self.submit(esme, dest, schedule_delivery_time=HOUR, service_type="WAP")
        second = self.submit(esme, dest, schedule_delivery_time=HOUR, replace_if_present_flag=1, short_message=b"second")
        _, told = self.receipt(esme)
        self.assertEqual((first, "DELETED"), (told.id, told.stat))
        states = [self.query(esme, id).fields["message_state"] for id in (first, wap, second)]
        self.assertEqual([4, 1, 1], states)
        # One that is refused replaces nothing.
        refused = esme.ask(submit(dest, replace_if_present_flag=1, validity_period=times.absolute(time.time() - 5)))
        self.assertEqual(statuses.ESME_RINVEXPIRY, refused.status)
        self.assertEqual(1, self.query(esme, second).fields["message_state"])
        self.assertEqual(0, self.cancel(esme, source_addr="MyCompany", destination_addr=dest))


class Versions(OperationsCase):
    def test_3_3(self) -> None:
        esme, dest = self.esme(0x33), self.number()
        self.assertEqual({}, esme.bound.tlvs)
        id = self.submit(esme, dest)
        self.assertRegex(id, "^[0-9A-F]{8}$")
        pdu, told = self.receipt(esme)
        self.assertEqual((id, {}), (told.id, pdu.tlvs))
        for asked in (id, id.lower(), id.lstrip("0")):
            answer = esme.ask(Pdu(commands.QUERY_SM, fields={"message_id": asked}))
            self.assertEqual((0, asked), (answer.status, answer.fields["message_id"]))
        later = self.submit(esme, self.number(), schedule_delivery_time=HOUR)
        self.assertNotEqual(id, later)
        self.assertEqual(0, esme.ask(Pdu(commands.CANCEL_SM, fields={"message_id": later})).status)
        # The same id on a bind of another version.
        pdu, told = self.receipt(self.esme(kind=commands.BIND_RECEIVER)) if not esme.has_delivery() else self.receipt(esme)
        self.assertEqual((later, "DELETED"), (told.id, told.stat))
        several = esme.ask(submit("", commands.SUBMIT_MULTI, destinations=[(1, 1, self.number())] * 2, registered_delivery=0))
        self.assertRegex(several.fields["message_id"], "^[0-9A-F]{8}$")
        esme.send(b"\0\0\0\x10" + (0x111).to_bytes(4, "big") + bytes(4) + b"\0\0\0\x63")
        self.assertEqual(statuses.ESME_RINVCMDID, esme.wait(commands.GENERIC_NACK, 0x63)[1])

    def test_5_0(self) -> None:
        esme = self.esme(0x50)
        self.assertEqual({tags.SC_INTERFACE_VERSION: b"\x50"}, esme.bound.tlvs)
        answer = esme.ask(submit(self.number(), schedule_delivery_time=HOUR))
        self.assertEqual(1, len(answer.tlvs[tags.CONGESTION_STATE]))
        id = answer.fields["message_id"]
        self.assertEqual(0, esme.ask(Pdu(commands.QUERY_SM, fields={"message_id": id})).fields["message_state"])
        data = esme.ask(submit(self.number(), commands.DATA_SM, registered_delivery=0, tlvs={tags.MESSAGE_PAYLOAD: b"x"}))
        self.assertIn(tags.CONGESTION_STATE, data.tlvs)
        for command in (commands.BROADCAST_SM, commands.QUERY_BROADCAST_SM, commands.CANCEL_BROADCAST_SM):
            self.assertEqual(statuses.ESME_RPROHIBITED, esme.ask(Pdu(command)).status)
        self.assertEqual(0, esme.ask(Pdu(commands.CANCEL_SM, fields={"message_id": id})).status)

    def test_later_versions_are_answered_with_ours(self) -> None:
        for theirs, ours in ((0x34, 0x34), (0x40, 0x34), (0x50, 0x50), (0x60, 0x50), (0xFF, 0x50)):
            self.assertEqual({tags.SC_INTERFACE_VERSION: bytes((ours,))}, self.esme(theirs).bound.tlvs)
        self.assertEqual({}, self.esme(0x00).bound.tlvs)


class BySmpplib(OperationsCase):
    def test_query_and_data_sm(self) -> None:
        client = Client("127.0.0.1", self.gateway.smpp_port, allow_unknown_opt_params=True)
        self.addCleanup(client.disconnect)
        client.connect()
        client.bind_transceiver(system_id="ahmad", password=PASSWORD)
        got: list[Any] = []

        def note(pdu: Any, **_: object) -> None:
            got.append(pdu)

        client.set_message_sent_handler(note)
        client.set_message_received_handler(note)
        client.set_query_resp_handler(note)

        def until(what: type) -> Any:
            while not (found := [pdu for pdu in got if type(pdu) is what]):
                client.read_once()
            got.clear()
            return found[0]

        client.send_message(source_addr="MyCompany", destination_addr=self.number(), short_message=b"Hello", registered_delivery=1)
        id = until(smpplib_command.SubmitSMResp).message_id
        until(smpplib_command.DeliverSM)
        client.query_message(message_id=id.decode(), source_addr="MyCompany", source_addr_ton=5, source_addr_npi=0)
        answer = until(smpplib_command.QuerySMResp)
        self.assertEqual((id, 2), (answer.message_id, answer.message_state), answer)
        data = make_pdu("data_sm", client=client, source_addr="MyCompany", destination_addr=self.number(), message_payload=b"Hello")
        client.send_pdu(data)
        answer = client.read_pdu()
        self.assertEqual(("data_sm_resp", 0), (answer.command, answer.status))
        self.assertIn(b"MSG-", answer.message_id)
        client.unbind()


class ForwardedCancel(OperationsCase):
    options = ("--delay", "30")
    smsc_settings = "forward_cancel = true"

    def test_the_smsc_is_asked(self) -> None:
        esme = self.esme()
        money = self.balance()
        id = self.submit(esme, self.number())
        long = self.submit(esme, self.number(), short_message=b"z" * 200)
        self.gateway.wait_empty()
        for cancelled in (id, long):
            self.assertEqual(0, esme.ask(Pdu(commands.CANCEL_SM, fields={"message_id": cancelled})).status)
            _, told = self.receipt(esme)
            self.assertEqual((cancelled, "DELETED"), (told.id, told.stat))
            self.assertEqual(4, esme.ask(Pdu(commands.QUERY_SM, fields={"message_id": cancelled})).fields["message_state"])
        self.assertEqual(money - Decimal("0.03"), self.balance())  # it was sent


class NothingCancelledIsSent(OperationsCase):
    """The SMSC takes few a second: most wait in its lane while they are cancelled."""

    options = ("--late", "0.05")
    smsc_settings = "window = 4\nmax_tps = 60"

    def test_cancel_while_they_go_out(self) -> None:
        esme = self.esme()
        money = self.balance()
        dests = {self.submit(esme, dest := self.number(), registered_delivery=1): dest for _ in range(400)}
        ids = list(dests)
        asked = {esme.tell(Pdu(commands.CANCEL_SM, fields={"message_id": id})): id for id in reversed(ids)}
        answers = {asked[n]: esme.wait(commands.CANCEL_SM | commands.RESP, n)[1] for n in asked}
        cancelled = {id for id, status in answers.items() if status == 0}
        self.assertEqual({0, statuses.ESME_RCANCELFAIL} | set(answers.values()), {0, statuses.ESME_RCANCELFAIL})
        self.assertGreater(len(cancelled), 100)
        told = {}
        for _ in ids:
            _, r = self.receipt(esme, 60.0)
            told[r.id] = r.stat
        self.gateway.wait_empty()
        taken = self.smsc.taken()
        self.assertEqual([], [id for id in cancelled if taken[dests[id]]])
        self.assertEqual([], [id for id in ids if id not in cancelled and taken[dests[id]] != 1])
        self.assertEqual({id: "DELETED" if id in cancelled else "DELIVRD" for id in ids}, told)
        self.assertEqual(money - Decimal("0.01") * (len(ids) - len(cancelled)), self.balance())
