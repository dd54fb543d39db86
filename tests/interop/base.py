"""One gateway for all clients, over TCP and TLS, and what each of them must achieve."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar
from unittest import SkipTest

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.smpp import fast
from tests.interop import messages
from tests.interop.far_end import NODE_SMPP, NodeSmsc
from tests.interop.messages import Arrived, Part, Sms
from tests.support import programs
from tests.support.certificates import self_signed
from tests.support.gateway import PASSWORD, Gateway, Outside, eventually, free_port
from tests.support.once import Once

SENDER = "MyCompany"
ANSWERED = 30.0  # seconds that a client gets for all it has to do
PEERS = Path(__file__).with_name("peers")
#: an account each, so that nobody's receipts go to somebody else, with the number that mobiles dial for it
USERS = {
    "smpplib": "1001", "smpplib-tls": "1002", "node": "1003", "node-tls": "1004", "perl": "1005", "kannel": "1006", "kannel-tls": "1007",
}  # fmt: skip
#: SMSCs on node's library: how the numbers of each begin, and what its [[smsc]] has beside
FAR_ENDS = {
    "NODE": ("96271", ""),
    "NODE-TLS": ("96272", "tls = true\ntls_ca = {certificate}"),
    "NODE-SAR": ("96273", 'long_messages = "sar"'),
    "NODE-PAYLOAD": ("96274", 'long_messages = "payload"'),
    "NODE-TEXT": ("96275", ""),  # its receipts have no TLVs
}
#: Kannel's drive_smpp, which knows no transceiver: one SMSC to the gateway for each direction
DRIVE_USER, DRIVE_NUMBER, DRIVE_MOBILE = "kannel-drive", "123", "456"


@frozen
class Shared:
    gateway: Gateway
    tls_port: int
    certificate: Path
    far_end: NodeSmsc | None  # None where there is no node
    drive_port: int


_numbers = itertools.count(1000001)


def _started() -> Shared:
    tls_port, drive_port = free_port(), free_port()
    gateway = Gateway()
    atexit.register(gateway.stop)
    certificate, key = self_signed(gateway.folder)
    gateway.settings += f"""
[smpp.tls]
listen = ["tcp:{tls_port}:interface=127.0.0.1"]
certificate = {json.dumps(str(certificate))}
private_key = {json.dumps(str(key))}
"""
    gateway.simulate("SMSC1", "--octets")
    far_end = None
    with contextlib.suppress(SkipTest):
        far_end = NodeSmsc(gateway.folder, list(FAR_ENDS), ["NODE-TLS"], certificate, key)
        atexit.register(far_end.stop)
        for name, (prefix, settings) in FAR_ENDS.items():
            gateway.attach(name, far_end.outside(name), settings=settings.format(certificate=json.dumps(str(certificate))))
            gateway.settings += _route(name, prefix)
    for name, bind in (("DRIVE-TX", "transmitter"), ("DRIVE-RX", "receiver")):
        gateway.attach(name, Outside(drive_port), settings=f'bind = "{bind}"')
    gateway.settings += _route("DRIVE-TX", DRIVE_MOBILE)
    for user, number in [*USERS.items(), (DRIVE_USER, DRIVE_NUMBER)]:
        gateway.settings += f"""
[[mo]]
name = "{user}"
match = {{ dest = ["{number}"] }}
to = {{ user = "{user}" }}
"""
    users = dict.fromkeys(USERS, ("--sender", SENDER))
    gateway.accounts({**users, DRIVE_USER: ("--sender", DRIVE_NUMBER)})
    gateway.start()
    return Shared(gateway, tls_port, certificate, far_end, drive_port)


def _route(smsc: str, prefix: str) -> str:
    return f"""
[[route]]
name = "{smsc}"
order = 10
to = ["{smsc}"]
match = {{ prefix = ["{prefix}"] }}
"""


#: started with the first test, ends with the process
shared = Once(_started)


@frozen
class Answer:
    """A submit_sm_resp."""

    status: int
    id: str


@frozen
class Delivered:
    """A deliver_sm, as the client's library has read it: a text, or octets."""

    esm_class: int
    source: str
    dest: str
    coding: int
    text: str
    octets: bytes
    udh: bytes
    id: str  # receipted_message_id; "" where there is none
    state: int  # message_state; -1 where there is none


@frozen
class Conversation:
    """What a client saw. Statuses are command_status, None where nothing came."""

    bound: int | None
    answers: tuple[Answer, ...]
    delivered: tuple[Delivered, ...]
    enquired: int | None
    unbound: int | None


class Interop(SynchronousTestCase):
    user: ClassVar[str]
    tls: ClassVar[bool] = False
    far_end: ClassVar[str] = ""  # of FAR_ENDS: which SMSC the messages go to; "": ours

    def setUp(self) -> None:
        self.shared = shared()
        self.gateway = self.shared.gateway
        self.port = self.shared.tls_port if self.tls else self.gateway.smpp_port
        if self.far_end and self.shared.far_end is None:
            programs.node(NODE_SMPP)  # says why

    def number(self) -> str:
        """A recipient that nobody else has."""
        prefix = FAR_ENDS[self.far_end][0] if self.far_end else "96278"
        return f"{prefix}{next(_numbers)}"

    def arrived(self, dest: str) -> list[Arrived]:
        """The submit_sm that the SMSC has got for this recipient until now."""
        if self.far_end:
            assert self.shared.far_end is not None
            return self.shared.far_end.submitted(dest)
        return submitted(self.gateway.simulators["SMSC1"].ledger, dest)

    def whole(self, dest: str) -> list[Arrived]:
        """The same, once all parts of the message are there."""
        eventually(lambda: messages.whole(self.arrived(dest)) is not None, f"all of {dest}", ANSWERED)
        return self.arrived(dest)

    def delivered(self, ids: Sequence[str]) -> list[str]:
        """The stored texts of these messages, in this order, when all are delivered."""
        sql = "SELECT message_id, message_text FROM messages WHERE message_id = ANY(%s) AND status = 'DELIVERED'"
        eventually(lambda: len(self.gateway.query(sql, (list(ids),))) == len(ids), f"{ids} delivered", ANSWERED)
        texts = dict(self.gateway.query(sql, (list(ids),)))
        return [texts[id] for id in ids]


def submitted(ledger: Path, dest: str) -> list[Arrived]:
    """What a simulator with --octets has written down for this recipient."""
    found = []
    text = ledger.read_text()
    for line in text[: text.rfind("\n") + 1].splitlines():  # the last one may be half written
        kind, _, octets = line.split(" ")
        if kind == "O":
            body = bytes.fromhex(octets)
            f = fast.decode_sm(body, 0, len(body))
            if f[6] == dest:
                found.append(Arrived(f[3], f[6], f[7], f[12], f[14], f[16], f[17] or {}))
    return found


class Sends(Interop):
    """For each client: every kind of message, its receipts, and the requests around them."""

    def converse(
        self, parts: Sequence[tuple[str, Part]], *, kind: str = "transceiver", registered: int = 1, receipts: int | None = None,
        password: str = PASSWORD,
    ) -> Conversation:  # fmt: skip
        """Binds, sends each (recipient, part), waits for a receipt of each unless told otherwise, enquires, unbinds."""
        raise NotImplementedError

    def parts(self, sms: Sms) -> Sequence[Part]:
        """As this client cuts a message."""
        return sms.parts

    def sends(self, sms: Sms) -> list[Arrived]:
        dest = self.number()
        seen = self.converse([(dest, part) for part in self.parts(sms)])
        self.assertEqual((seen.bound, seen.enquired, seen.unbound), (0, 0, 0))
        self.assertEqual({a.status for a in seen.answers}, {0})
        ids = [a.id for a in seen.answers]
        self.assertEqual(len(ids), len(set(ids)))
        self.assertEqual(sorted(r.id for r in seen.delivered), sorted(ids))
        for receipt in seen.delivered:
            self.assertEqual((receipt.source, receipt.dest, receipt.esm_class, receipt.state), (dest, SENDER, 0x04, 2))
            self.assertRegex(receipt.text, r"^id:\S+ sub:(\d{3}) dlvrd:\1 submit date:\d{10} done date:\d{10} stat:DELIVRD err:000 text:")
            self.assertIn(f"id:{receipt.id} ", receipt.text)
        arrived = self.whole(dest)
        self.assertEqual(messages.whole(arrived), sms.body)
        self.assertEqual({a.coding for a in arrived}, {sms.coding})
        self.assertEqual({a.source for a in arrived}, {SENDER})
        texts = self.delivered(ids)
        if sms.text:
            self.assertEqual("".join(texts), sms.text)
        return arrived

    # --- the tests

    def test_gsm(self) -> None:
        (arrived,) = self.sends(Sms(messages.GSM))
        self.assertEqual((arrived.short_message, arrived.esm_class, arrived.registered), (Sms(messages.GSM).body, 0, 1))

    def test_ucs2(self) -> None:
        (arrived,) = self.sends(Sms(messages.UCS2))
        self.assertEqual(arrived.short_message, messages.UCS2.encode("utf-16-be"))

    def test_binary(self) -> None:
        (arrived,) = self.sends(Sms(octets=messages.OCTETS, udh=messages.PORT))
        self.assertEqual((arrived.short_message, arrived.esm_class), (messages.PORT + messages.OCTETS, messages.UDHI))

    def test_long_by_udh(self) -> None:
        for text in (messages.LONG_GSM, messages.LONG_UCS2):
            self.assertGreater(len(self.sends(Sms(text, form=messages.UDH))), 1)

    def test_long_by_sar(self) -> None:
        for text in (messages.LONG_GSM, messages.LONG_UCS2):
            self.assertGreater(len(self.sends(Sms(text, form=messages.SAR))), 1)

    def test_long_by_message_payload(self) -> None:
        for text in (messages.LONG_GSM, messages.LONG_UCS2):
            self.assertGreater(len(self.sends(Sms(text, form=messages.PAYLOAD))), 1)

    def test_a_transmitter_and_a_receiver(self) -> None:
        dest = self.number()
        (part,) = self.parts(Sms("Two binds"))
        sent = self.converse([(dest, part)], kind="transmitter", receipts=0)
        self.assertEqual((sent.bound, sent.unbound, sent.answers[0].status), (0, 0, 0))
        self.delivered([sent.answers[0].id])
        heard = self.converse([], kind="receiver", receipts=1)
        self.assertEqual((heard.bound, heard.unbound, [r.id for r in heard.delivered]), (0, 0, [sent.answers[0].id]))

    def test_no_receipt_where_none_was_asked_for(self) -> None:
        dest = self.number()
        (part,) = self.parts(Sms("Nothing back"))
        seen = self.converse([(dest, part)], registered=0, receipts=0)
        self.assertEqual((seen.bound, seen.answers[0].status, seen.delivered), (0, 0, ()))
        (arrived,) = self.whole(dest)
        self.assertEqual(arrived.short_message, b"Nothing back")

    def test_a_wrong_password(self) -> None:
        seen = self.converse([], password="wrong")
        self.assertEqual(seen.bound, 0x0E)


class Receives(Interop):
    """For each client: what mobiles send to it."""

    def converse(self, parts: Sequence[tuple[str, Part]], *, kind: str, receipts: int) -> Conversation:
        raise NotImplementedError

    def hears(self, sms: Sms, parts: Sequence[Part], comes: int = 1) -> Sequence[Delivered]:
        """What comes, in so many deliver_sm, of a message whose parts the SMSC sends in this order."""
        programs.node(NODE_SMPP)
        far_end = self.shared.far_end
        assert far_end is not None
        mobile = self.number()
        self.assertEqual(set(far_end.send("NODE", mobile, USERS[self.user], parts)), {0})
        heard = self.converse([], kind="receiver", receipts=comes).delivered
        self.assertEqual({(d.source, d.dest, d.coding) for d in heard}, {(mobile, USERS[self.user], sms.coding)})
        if comes > 1:
            self.assertEqual([tuple(d.udh[-2:]) for d in heard], [(comes, i) for i in range(1, comes + 1)])
        self.assertEqual("".join(d.text for d in heard), sms.text)
        self.assertEqual(b"".join(d.octets for d in heard), sms.octets)
        return heard

    def test_gsm_from_a_mobile(self) -> None:
        sms = Sms(messages.GSM)
        (heard,) = self.hears(sms, sms.parts)
        self.assertEqual((heard.esm_class, heard.udh, heard.id), (0, b"", ""))

    def test_ucs2_from_a_mobile(self) -> None:
        sms = Sms(messages.UCS2)
        self.hears(sms, sms.parts)

    def test_binary_from_a_mobile(self) -> None:
        sms = Sms(octets=messages.OCTETS, udh=messages.PORT)
        (heard,) = self.hears(sms, sms.parts)
        self.assertEqual((heard.udh, heard.esm_class), (messages.PORT, messages.UDHI))

    def test_long_from_a_mobile(self) -> None:
        """Its parts come in the wrong order, and go on in the right one: two, since the gateway fills them."""
        for text in (messages.LONG_GSM, messages.LONG_UCS2):
            sms = Sms(text, form=messages.UDH)
            self.hears(sms, sms.parts[::-1], 2)


@frozen
class Requested:
    """The answer to a request that is no submit_sm."""

    status: int
    id: str
    state: int  # message_state; -1 where there is none
    refused: tuple[tuple[str, int], ...]  # unsuccess_sme
    parameters: frozenset[str]  # names of optional parameters


class Asks(Interop):
    """For clients that know more than submit_sm: messages that wait for their time, several destinations, data_sm."""

    def ask(self, requests: Sequence[tuple[str, dict[str, object]]], receipts: int = 0) -> tuple[list[Requested], list[Delivered]]:
        """One after the other; "$id" is the message_id that the first of them was answered with. Then waits for receipts."""
        raise NotImplementedError

    def address(self, dest: str) -> dict[str, object]:
        return {
            "source_addr_ton": 5, "source_addr_npi": 0, "source_addr": SENDER, "dest_addr_ton": 1, "dest_addr_npi": 1,
            "destination_addr": dest,
        }  # fmt: skip

    def later(self, dest: str, text: str = "Later") -> tuple[str, dict[str, object]]:
        fields = {"schedule_delivery_time": "000000010000000R", "registered_delivery": 1, "data_coding": 0, "short_message": text}
        return "submit_sm", {**self.address(dest), **fields}

    def test_query_replace_cancel(self) -> None:
        dest = self.number()
        named: dict[str, object] = {"message_id": "$id", "source_addr_ton": 5, "source_addr_npi": 0, "source_addr": SENDER}
        replaced = {"schedule_delivery_time": "", "validity_period": "", "registered_delivery": 1, "short_message": "Other"}
        found, told = self.ask(
            [
                self.later(dest), ("query_sm", named), ("replace_sm", {**named, **replaced}),
                ("cancel_sm", {**self.address(dest), "message_id": "$id"}), ("query_sm", named), ("cancel_sm", named),
                ("query_sm", {**named, "message_id": "MSG-000000000000"}),
            ],
            receipts=1,
        )  # fmt: skip
        self.assertEqual([f.status for f in found], [0, 0, 0, 0, 0, 0, 0x0C])  # cancelled is cancelled
        self.assertEqual((found[1].id, found[1].state, found[4].state), (found[0].id, 1, 4))
        self.assertEqual([(d.id, d.state) for d in told], [(found[0].id, 4)])
        self.assertIn("stat:DELETED", told[0].text)
        sql = "SELECT message_text, status FROM messages WHERE message_id = %s"
        self.assertEqual(self.gateway.query(sql, (found[0].id,)), [("Other", "DELETED")])
        self.assertEqual(self.arrived(dest), [])

    def test_data_sm(self) -> None:
        dest = self.number()
        fields = {"registered_delivery": 1, "data_coding": 0, "message_payload": "By data"}
        found, told = self.ask([("data_sm", {**self.address(dest), **fields})], receipts=1)
        self.assertEqual((found[0].status, [d.id for d in told], [d.state for d in told]), (0, [found[0].id], [2]))
        (arrived,) = self.whole(dest)
        self.assertEqual(arrived.octets, b"By data")


class Spoken(Sends, Receives, Asks):
    """A client in another language: a program that reads one JSON document and writes another."""

    def command(self) -> list[str]:
        raise NotImplementedError

    def converse(
        self, parts: Sequence[tuple[str, Part]], *, kind: str = "transceiver", registered: int = 1, receipts: int | None = None,
        password: str = PASSWORD, version: int = 0x34,
    ) -> Conversation:  # fmt: skip
        sent = [{"dest": dest, "registered": registered, **part.as_json()} for dest, part in parts]
        wanted = len(parts) if receipts is None else receipts
        seen = self.told(parts=sent, receipts=wanted, kind=kind, password=password[:8], version=version)
        return Conversation(
            seen["bound"], tuple(Answer(a["status"], a["id"].rstrip("\0")) for a in seen["answers"]),
            tuple(_delivered(d) for d in seen["delivered"]), seen["enquired"], seen["unbound"],
        )  # fmt: skip

    def ask(
        self, requests: Sequence[tuple[str, dict[str, object]]], receipts: int = 0, version: int = 0x34
    ) -> tuple[list[Requested], list[Delivered]]:
        asked = [{"command": command, "fields": fields} for command, fields in requests]
        seen = self.told(requests=asked, receipts=receipts, version=version)
        self.assertEqual((seen["bound"], seen["unbound"]), (0, 0))
        found = [
            Requested(r["status"], r["id"], r["state"], tuple((a, s) for a, s in r["refused"]), frozenset(r["parameters"]))
            for r in seen["requested"]
        ]
        return found, [_delivered(d) for d in seen["delivered"]]

    def told(self, **order: Any) -> dict[str, Any]:
        usual = {
            "port": self.port, "ca": str(self.shared.certificate) if self.tls else None, "user": self.user, "sender": SENDER,
            "password": PASSWORD[:8], "kind": "transceiver", "version": 0x34, "parts": [], "requests": [],
        }  # fmt: skip
        done = subprocess.run(
            self.command(), input=json.dumps(usual | order), capture_output=True, text=True, timeout=ANSWERED, check=False
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return dict(json.loads(done.stdout))

    # --- versions

    def test_3_3(self) -> None:
        """Ids of eight hexadecimal digits, in answers and receipts alike, and no optional parameters."""
        dest = self.number()
        seen = self.told(
            version=0x33, receipts=1, parts=[{"dest": dest, "registered": 1, **Part("By 3.3").as_json()}]
        )  # fmt: skip
        self.assertEqual((seen["bound"], seen["version"], seen["unbound"]), (0, 0, 0))
        (answer,), (receipt,) = seen["answers"], map(_delivered, seen["delivered"])
        self.assertRegex(answer["id"], "^[0-9A-Fa-f]{8}$")
        self.assertEqual((answer["status"], receipt.id, receipt.state, receipt.esm_class), (0, "", -1, 4))
        self.assertIn(f"id:{answer['id']} ", receipt.text)

    def test_5_0(self) -> None:
        dest = self.number()
        seen = self.told(version=0x50, receipts=1, parts=[{"dest": dest, "registered": 1, **Part("By 5.0").as_json()}])
        self.assertEqual((seen["bound"], seen["version"], seen["unbound"]), (0, 0x50, 0))
        (answer,), (receipt,) = seen["answers"], map(_delivered, seen["delivered"])
        self.assertEqual((answer["status"], receipt.id, receipt.state), (0, answer["id"], 2))


def _delivered(d: dict[str, Any]) -> Delivered:
    octets = {name: bytes.fromhex(d[name]) for name in ("octets", "udh")}
    return Delivered(**{**d, **octets, "id": d["id"].rstrip("\0")})
