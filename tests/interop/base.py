"""One gateway for all clients, over TCP and TLS, and what each of them must achieve."""

from __future__ import annotations

import atexit
import itertools
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.smpp import fast
from tests.interop import messages
from tests.interop.messages import Arrived, Part, Sms
from tests.support.certificates import self_signed
from tests.support.gateway import PASSWORD, Gateway, eventually, free_port
from tests.support.once import Once

SENDER = "MyCompany"
ANSWERED = 30.0  # seconds that a client gets for all it has to do
PEERS = Path(__file__).with_name("peers")
#: an account each, so that nobody's receipts go to somebody else
USERS = ("smpplib", "smpplib-tls", "node", "node-tls", "perl", "kannel", "kannel-tls")


@frozen
class Shared:
    gateway: Gateway
    tls_port: int
    certificate: Path


_numbers = itertools.count(962780000001)


def _started() -> Shared:
    tls_port = free_port()
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
    gateway.accounts(dict.fromkeys(USERS, ("--sender", SENDER)))
    gateway.start()
    return Shared(gateway, tls_port, certificate)


#: started with the first test, ends with the process
shared = Once(_started)


@frozen
class Answer:
    """A submit_sm_resp."""

    status: int
    id: str


@frozen
class Receipt:
    """A deliver_sm, as the client's library has read it."""

    esm_class: int
    source: str
    dest: str
    text: str
    id: str  # receipted_message_id
    state: int  # message_state


@frozen
class Conversation:
    """What a client saw. Statuses are command_status, None where nothing came."""

    bound: int | None
    answers: tuple[Answer, ...]
    receipts: tuple[Receipt, ...]
    enquired: int | None
    unbound: int | None


class Interop(SynchronousTestCase):
    user: ClassVar[str]
    tls: ClassVar[bool] = False

    def setUp(self) -> None:
        self.shared = shared()
        self.gateway = self.shared.gateway
        self.port = self.shared.tls_port if self.tls else self.gateway.smpp_port

    def number(self) -> str:
        """A recipient that nobody else has."""
        return str(next(_numbers))

    def arrived(self, dest: str) -> list[Arrived]:
        """The submit_sm that the SMSC has got for this recipient until now."""
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
        self.assertEqual(sorted(r.id for r in seen.receipts), sorted(ids))
        for receipt in seen.receipts:
            self.assertEqual((receipt.source, receipt.dest, receipt.esm_class, receipt.state), (dest, SENDER, 0x04, 2))
            self.assertRegex(receipt.text, r"^id:\S+ sub:001 dlvrd:001 submit date:\d{10} done date:\d{10} stat:DELIVRD err:000 text:")
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
        self.assertEqual((heard.bound, heard.unbound, [r.id for r in heard.receipts]), (0, 0, [sent.answers[0].id]))

    def test_no_receipt_where_none_was_asked_for(self) -> None:
        dest = self.number()
        (part,) = self.parts(Sms("Nothing back"))
        seen = self.converse([(dest, part)], registered=0, receipts=0)
        self.assertEqual((seen.bound, seen.answers[0].status, seen.receipts), (0, 0, ()))
        (arrived,) = self.whole(dest)
        self.assertEqual(arrived.short_message, b"Nothing back")

    def test_a_wrong_password(self) -> None:
        seen = self.converse([], password="wrong")
        self.assertEqual(seen.bound, 0x0E)


class Spoken(Sends):
    """A client in another language: a program that reads one JSON document and writes another."""

    def command(self) -> list[str]:
        raise NotImplementedError

    def converse(
        self, parts: Sequence[tuple[str, Part]], *, kind: str = "transceiver", registered: int = 1, receipts: int | None = None,
        password: str = PASSWORD,
    ) -> Conversation:  # fmt: skip
        order = {
            "port": self.port, "ca": str(self.shared.certificate) if self.tls else None, "user": self.user, "sender": SENDER,
            "password": password[:8], "kind": kind, "version": 0x34,
            "parts": [{"dest": dest, "registered": registered, **part.as_json()} for dest, part in parts],
            "receipts": len(parts) if receipts is None else receipts,
        }  # fmt: skip
        seen = self.told(order)
        return Conversation(
            seen["bound"], tuple(Answer(a["status"], a["id"].rstrip("\0")) for a in seen["answers"]),
            tuple(Receipt(**{**r, "id": r["id"].rstrip("\0")}) for r in seen["receipts"]), seen["enquired"], seen["unbound"],
        )  # fmt: skip

    def told(self, order: dict[str, Any]) -> dict[str, Any]:
        done = subprocess.run(
            self.command(), input=json.dumps(order), capture_output=True, text=True, timeout=ANSWERED, check=False
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return dict(json.loads(done.stdout))
