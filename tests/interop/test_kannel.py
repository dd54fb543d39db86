"""Debian's Kannel as ESME: its bearerbox bound to us over TCP and TLS, its sendsms interface, its receipts by HTTP."""

from __future__ import annotations

import atexit
import re
from typing import ClassVar

from tests.interop import base, messages
from tests.interop.kannel import Account, Kannel
from tests.interop.messages import Arrived, Sms
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


class OverTls(OverTcp):
    account = "tls"
