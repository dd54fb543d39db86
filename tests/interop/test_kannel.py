"""Debian's Kannel as ESME: its bearerbox bound to us over TCP and TLS, its sendsms interface, its receipts by HTTP."""

from __future__ import annotations

import atexit
import re
import signal
from collections.abc import Sequence
from typing import ClassVar

from tests.interop import base, messages
from tests.interop.far_end import NODE_SMPP
from tests.interop.kannel import Account, Kannel
from tests.interop.messages import Arrived, Part, Sms
from tests.support import programs
from tests.support.gateway import eventually
from tests.support.once import Once

#: what a receipt says of a message, as %d of a dlr-url
DELIVERED, FAILED, ACKNOWLEDGED, REFUSED = 1, 2, 8, 16


def _started() -> Kannel:
    with_us = base.shared()
    kannel = Kannel(
        {
            "tcp": Account("kannel", with_us.gateway.smpp_port),
            "tls": Account("kannel-tls", with_us.tls_port, with_us.certificate),
        }
    )
    atexit.register(kannel.stop)
    return kannel


kannel = Once(_started)


class OverTcp(base.Interop):
    account: ClassVar[str] = "tcp"
    user = "kannel"

    def setUp(self) -> None:
        super().setUp()
        self.kannel = kannel()

    def receipts(self, dest: str, kind: int) -> list[dict[str, str]]:
        return [r for r in list(self.kannel.web.asked) if r["path"] == "/dlr" and r["to"] == dest and int(r["kind"]) == kind]

    def sends(self, fields: dict[str, object], sms: Sms, parts: int = 1) -> list[Arrived]:
        dest = self.number()
        self.assertEqual(self.kannel.send(self.account, {"from": base.SENDER, "to": dest, **fields}), "0: Accepted for delivery")
        arrived = self.whole(dest)
        self.assertEqual(messages.whole(arrived), sms.body)
        self.assertEqual(({a.source for a in arrived}, {a.coding for a in arrived}), ({base.SENDER}, {sms.coding}))
        self.assertEqual(len(arrived), parts)
        # Kannel asks for a receipt with the last part of a message, and tells of that one.
        eventually(lambda: self.receipts(dest, DELIVERED), "the receipt", base.ANSWERED)
        (receipt,) = self.receipts(dest, DELIVERED)
        self.assertEqual(receipt["from"], base.SENDER)
        self.assertRegex(receipt["text"], r"stat:DELIVRD err:000")
        self.assertEqual(len(self.receipts(dest, ACKNOWLEDGED)), 1)
        self.assertEqual(self.receipts(dest, FAILED) + self.receipts(dest, REFUSED), [])
        self.delivered([receipt["id"]])
        rows = self.gateway.query("SELECT message_id, message_text FROM messages WHERE to_addr = %s ORDER BY message_id", (dest,))
        self.assertIn(receipt["id"], [id for id, _ in rows])
        if sms.text:
            self.assertEqual("".join(text for _, text in rows), sms.text)
        return arrived

    def test_gsm(self) -> None:
        self.sends({"text": messages.GSM, "coding": 0}, Sms(messages.GSM))

    def test_ucs2(self) -> None:
        self.sends({"text": messages.UCS2, "coding": 2}, Sms(messages.UCS2))

    def test_binary(self) -> None:
        (arrived,) = self.sends(
            {"text": messages.OCTETS, "coding": 1, "udh": messages.PORT}, Sms(octets=messages.OCTETS, udh=messages.PORT)
        )
        # Kannel asks for the mode "store and forward" (SMPP 3.4 section 5.2.12): that goes on too.
        self.assertEqual((arrived.udh, arrived.esm_class), (messages.PORT, messages.UDHI | 3))

    def test_long_gsm(self) -> None:
        self.sends({"text": messages.LONG_GSM, "coding": 0}, Sms(messages.LONG_GSM), 2)

    def test_long_ucs2(self) -> None:
        self.sends({"text": messages.LONG_UCS2, "coding": 2}, Sms(messages.LONG_UCS2), 2)

    def test_what_we_refuse(self) -> None:
        """A sender that the account does not have: Kannel tells of it as refused by the SMSC."""
        dest = self.number()
        self.kannel.send(self.account, {"from": "Somebody", "to": dest, "text": "x"})
        eventually(lambda: self.receipts(dest, REFUSED), "the refusal", base.ANSWERED)
        self.assertEqual(self.receipts(dest, DELIVERED) + self.receipts(dest, ACKNOWLEDGED), [])
        self.assertIn(f"0x{0x0A:08x}", self.receipts(dest, REFUSED)[0]["text"].lower())
        self.assertEqual(self.gateway.query("SELECT 1 FROM messages WHERE to_addr = %s", (dest,)), [])

    def test_many_at_once(self) -> None:
        """More than Kannel's window of 10: in the order in which the sendsms interface took them."""
        dest = self.number()
        for i in range(40):
            self.kannel.send(self.account, {"from": base.SENDER, "to": dest, "text": f"Number {i}"})
        eventually(lambda: len(self.receipts(dest, DELIVERED)) >= 40, "40 receipts", base.ANSWERED)
        self.assertEqual(len({r["id"] for r in self.receipts(dest, DELIVERED)}), 40)
        eventually(lambda: len(self.arrived(dest)) >= 40, "40 at the SMSC", base.ANSWERED)
        self.assertEqual([int(re.sub(rb"\D", b"", a.octets)) for a in self.arrived(dest)], list(range(40)))


    # --- from mobiles

    def hears(self, sms: Sms, parts: Sequence[Part]) -> list[dict[str, str]]:
        """What the smsbox asks of its customer's web server."""
        programs.node(NODE_SMPP)
        assert self.shared.far_end is not None
        mobile, dialled = self.number(), base.USERS[self.user]
        self.assertEqual(set(self.shared.far_end.send("NODE", mobile, dialled, parts)), {0})
        found = eventually(
            lambda: [a for a in list(self.kannel.web.asked) if a["path"] == "/mo" and a["from"] == mobile], "a message", base.ANSWERED
        )
        self.assertEqual((len(found), found[0]["to"], found[0]["smsc"]), (1, dialled, self.account))
        return list(found)

    def test_gsm_from_a_mobile(self) -> None:
        sms = Sms(messages.GSM)
        (heard,) = self.hears(sms, sms.parts)
        self.assertEqual((heard["coding"], heard["text"].encode("latin-1").decode()), ("0", messages.GSM))

    def test_ucs2_from_a_mobile(self) -> None:
        sms = Sms(messages.UCS2)
        (heard,) = self.hears(sms, sms.parts)
        self.assertEqual((heard["coding"], heard["text"].encode("latin-1")), ("2", sms.body))

    def test_binary_from_a_mobile(self) -> None:
        sms = Sms(octets=messages.OCTETS, udh=messages.PORT)
        (heard,) = self.hears(sms, sms.parts)
        found = (heard["coding"], heard["text"].encode("latin-1"), heard["udh"].encode("latin-1"))
        self.assertEqual(found, ("1", messages.OCTETS, messages.PORT))

    def test_long_from_a_mobile(self) -> None:
        """Kannel puts our parts together."""
        sms = Sms(messages.LONG_GSM, form=messages.UDH)
        (heard,) = self.hears(sms, sms.parts[::-1])
        self.assertEqual(heard["text"].encode("latin-1").decode(), messages.LONG_GSM)


class OverTls(OverTcp):
    account, user = "tls", "kannel-tls"


class FarEnd(base.Interop):
    """Kannel on both sides of us: drive_smpp, the SMSC of its own tests, then the gateway, then its bearerbox and smsbox.

    The SMSC sends messages from a mobile as fast as it is let; the smsbox answers each with a message to that mobile. It gives
    no receipts and knows no TLVs; fakesmsc, Kannel's other one, does not speak SMPP.
    """

    user = base.DRIVE_USER

    def test_each_message_is_answered(self) -> None:
        count = 300
        box = Kannel({"drive": Account(self.user, self.gateway.smpp_port)}, reply="hello world")
        self.addCleanup(box.stop)
        drive = box.drive(self.shared.drive_port, count)

        answered = "submit_sm: short_message = <hello world>"

        def times(what: str) -> int:
            return drive.log.read_text(errors="replace").count(what)

        try:
            eventually(lambda: not drive.running or times(answered) >= count, "all answers", base.ANSWERED)
        finally:
            said = drive.last_lines()
            drive.end(signal.SIGKILL)
        self.assertEqual(times(answered), count, said)
        self.assertEqual(times("All messages sent to ESME"), 1)
        self.assertEqual((times("Unhandled SMPP PDU"), times("PDU unpacking failed"), times("garbage")), (0, 0, 0))
