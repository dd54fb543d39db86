"""What each client must achieve: one scenario, with another `converse` for each."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from typing import Any

from attrs import frozen

from tests.interop import messages
from tests.interop.base import ANSWERED, SENDER, USERS, Answer, Conversation, Delivered, Interop
from tests.interop.far_end import NODE_SMPP
from tests.interop.messages import Arrived, Part, Sms
from tests.support import programs
from tests.support.gateway import PASSWORD


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
