"""Messages from mobiles, from the SMSC to an ESME or a URL: whole, in parts, over a crash, with nobody there."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import smpplib.client
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.smpp import commands, fast, tags
from protei_bulk.text import gsm, headers
from tests.support.esme import Closed, Esme
from tests.support.gateway import PASSWORD, Gateway, _output, eventually

LONG = "Vote {n} " + "for everybody " * 20


class Receiver:
    """An ESME that puts together what it is told; answers in `statuses` come first."""

    def __init__(self, gateway: Gateway, user: str = "ahmad") -> None:
        self.esme = Esme(gateway.smpp_port, answers=False)
        assert self.esme.bind(user, PASSWORD, commands.BIND_RECEIVER) == 0
        self.statuses: list[int] = []
        self.parts: dict[tuple[str, int], dict[int, str]] = {}
        self.texts: list[str] = []
        self.fields: list[tuple[Any, ...]] = []

    def next(self) -> None:
        """Takes one deliver_sm."""
        _, _, sequence, body = self.esme.wait(commands.DELIVER_SM)
        if self.statuses and (status := self.statuses.pop(0)):
            self.esme.send(fast.header(commands.DELIVER_SM | commands.RESP, status, sequence))
            return
        self.esme.send(fast.deliver_resp(sequence))
        f = fast.decode_sm(body, 0, len(body))
        self.fields.append(f)
        text = f[16]
        if not f[7] & 0x40:
            self.texts.append(gsm.decode(text))
            return
        udh = text[: text[0] + 1]
        place = headers.concatenation(udh)
        assert place is not None
        reference, total, number = place
        have = self.parts.setdefault((f[3], reference), {})
        have[number] = gsm.decode(text[len(udh) :])
        if len(have) == total:
            self.texts.append("".join(have[n] for n in range(1, total + 1)))
            del self.parts[f[3], reference]

    def wait(self, texts: int) -> list[str]:
        while len(self.texts) < texts:
            self.next()
        return self.texts

    def close(self) -> None:
        self.esme.socket.close()


class Hook:
    """A customer's web server; `refuse` is how many requests it answers with 503 first."""

    def __init__(self, refuse: int = 0) -> None:
        self.got: list[tuple[dict[str, str], dict[str, Any]]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # noqa: N802
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.got.append((dict(self.headers), json.loads(body)))
                self.send_response(503 if len(hook.got) <= refuse else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/sms?from=gw"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class MobilesTest(SynchronousTestCase):
    def started(self, *options: str, settings: str = "", users: dict[str, tuple[str, ...]] | None = None,
                smscs: int = 1) -> Gateway:  # fmt: skip
        gateway = Gateway(settings)
        self.addCleanup(gateway.stop)
        for n in range(1, smscs + 1):
            gateway.simulate(f"SMSC{n}", "--mo-every", "0.1", *options)
        gateway.accounts(users or {"ahmad": ("--sender", "12345")})
        gateway.start()
        return gateway

    def receiver(self, gateway: Gateway, user: str = "ahmad") -> Receiver:
        receiver = Receiver(gateway, user)
        self.addCleanup(receiver.close)
        return receiver

    def states(self, gateway: Gateway) -> dict[str, int]:
        return dict(gateway.query("SELECT status, count(*) FROM tbl_mo_messages GROUP BY status"))  # type: ignore[arg-type]

    def expected(self, count: int, text: str = LONG) -> list[str]:
        return sorted(text.replace("{n}", str(n)) for n in range(1, count + 1))

    def test_to_the_esme_that_owns_the_number(self) -> None:
        for form, order in (("udh8", "shuffle"), ("udh16", "reverse"), ("sar", "reverse"), ("payload", "in-order"), ("data", "in-order")):
            gateway = self.started("--mo-text", LONG, "--mo-count", "20", "--mo-at-once", "5", "--mo-form", form, "--mo-order", order)
            self.assertEqual(sorted(self.receiver(gateway).wait(20)), self.expected(20), form)
            eventually(lambda g=gateway: self.states(g) == {"DELIVERED": 20}, "told")  # type: ignore[misc]
            self.assertEqual(gateway.query("SELECT count(*) FROM tbl_deliver_outbox"), [(0,)])
            gateway.stop()

    def test_smpplib_receives(self) -> None:
        gateway = self.started("--mo-text", "Hello {n}", "--mo-count", "3")
        client = smpplib.client.Client("127.0.0.1", gateway.smpp_port, timeout=20)
        client.connect()
        self.addCleanup(client.disconnect)
        got: list[tuple[bytes, bytes]] = []
        client.set_message_received_handler(lambda pdu: got.append((pdu.source_addr, pdu.short_message)))
        client.bind_receiver(system_id="ahmad", password=PASSWORD)
        while len(got) < 3:
            client.read_once()
        self.assertEqual(sorted(got), [(b"962790000001", b"Hello %d" % n) for n in (1, 2, 3)])

    def test_kept_while_the_esme_is_away_and_in_order(self) -> None:
        gateway = self.started("--mo-text", "m {n}", "--mo-count", "12", "--mo-at-once", "4")
        eventually(lambda: self.states(gateway) == {"ROUTED": 12}, "stored")
        with contextlib.closing(Receiver(gateway)) as first:
            first.wait(3)
        gateway.terminate()
        gateway.restart()
        receiver = self.receiver(gateway)
        receiver.statuses = [0x14, 0x58]  # not now
        # What was in the window behind the refused ones goes first, then they, in their order.
        self.assertEqual(receiver.wait(12 - 3), [f"m {n}" for n in (6, 7, 8, 9, 10, 11, 12, 4, 5)])
        eventually(lambda: self.states(gateway) == {"DELIVERED": 12}, "told")

    def test_in_strict_order_with_a_window_of_one(self) -> None:
        gateway = Gateway(smpp="deliver_window = 1")
        self.addCleanup(gateway.stop)
        gateway.simulate("SMSC1", "--mo-every", "0.1", "--mo-text", "m {n}", "--mo-count", "9", "--mo-at-once", "3")
        gateway.accounts({"ahmad": ("--sender", "12345")})
        gateway.start()
        receiver = self.receiver(gateway)
        receiver.statuses = [0, 0x14, 0, 0x58, 0x58, 0, 0]
        self.assertEqual(receiver.wait(9), [f"m {n}" for n in range(1, 10)])

    def test_an_esme_bound_to_two_nodes_is_told_once(self) -> None:
        gateway = self.started("--mo-text", "m {n}", "--mo-count", "300", "--mo-at-once", "10")
        other = Gateway(node="other", beside=gateway)
        self.addCleanup(other.stop)
        other.write_config()
        other.start()
        receivers = [self.receiver(gateway), self.receiver(other)]
        for r in receivers:
            threading.Thread(target=self.taking, args=(r,), daemon=True).start()
        eventually(lambda: self.states(gateway) == {"DELIVERED": 300}, "told")
        told = sorted(t for r in receivers for t in r.texts)
        self.assertEqual(told, sorted(f"m {n}" for n in range(1, 301)))

    def taking(self, receiver: Receiver) -> None:
        with contextlib.suppress(Closed, OSError):
            while True:
                receiver.next()

    def test_other_rules_on_hangup(self) -> None:
        gateway = self.started("--mo-text", "vote {n}", "--mo-count", "200", users={"ahmad": ()})
        eventually(lambda: self.states(gateway).get("UNROUTED"), "unrouted")
        gateway.settings = '[[mo]]\nname = "all"\nto = { user = "ahmad" }'
        gateway.write_config()
        assert gateway.process.child is not None
        gateway.process.child.send_signal(signal.SIGHUP)
        eventually(lambda: self.states(gateway).get("ROUTED"), "routed")

    def test_killed_between_the_parts(self) -> None:
        gateway = self.started(
            "--mo-text", LONG, "--mo-count", "5", "--mo-at-once", "5", "--mo-gap", "1.5", "--mo-order", "reverse"
        )
        eventually(lambda: gateway.query("SELECT count(*) FROM tbl_mo_parts") == [(5,)], "first parts")
        gateway.kill9()
        gateway.restart()
        self.assertEqual(sorted(self.receiver(gateway).wait(5)), self.expected(5))
        eventually(lambda: self.states(gateway) == {"DELIVERED": 5}, "told")
        self.assertEqual(gateway.query("SELECT (SELECT count(*) FROM tbl_mo_parts), (SELECT count(*) FROM tbl_mo_sets)"), [(0, 0)])

    def test_killed_under_load_nothing_is_lost(self) -> None:
        gateway = self.started("--mo-text", LONG, "--mo-count", "2000", "--mo-at-once", "200", "--mo-form", "udh16")
        eventually(lambda: gateway.query("SELECT count(*) > 300 FROM tbl_mo_messages") == [(True,)], "some")
        gateway.kill9()
        gateway.restart()
        eventually(lambda: gateway.query("SELECT count(*) FROM tbl_mo_messages") == [(2000,)], "all")
        texts = [text for (text,) in gateway.query("SELECT message_text FROM tbl_mo_messages")]
        self.assertEqual(sorted(texts), self.expected(2000))

    def test_parts_by_two_connectors(self) -> None:
        gateway = Gateway()
        self.addCleanup(gateway.stop)
        for smsc, order in (("SMSC1", "in-order"), ("SMSC2", "reverse")):  # each sends its first part, and then nothing for long
            gateway.simulate(smsc, "--mo-every", "0.1", "--mo-text", LONG, "--mo-count", "1", "--mo-gap", "600", "--mo-order", order)
        gateway.accounts({"ahmad": ("--sender", "12345")})
        gateway.start()
        self.assertEqual(self.receiver(gateway).wait(1), self.expected(1))

    def test_what_two_connectors_say_is_told_once(self) -> None:
        gateway = self.started("--mo-text", LONG, "--mo-count", "1", smscs=2)
        metric = "protei_mo_duplicates_total 2.0"
        eventually(lambda: metric in urllib.request.urlopen(f"{gateway.url}/metrics").read().decode(), "both parts twice")
        self.assertEqual(self.receiver(gateway).wait(1), self.expected(1))
        self.assertEqual(gateway.query("SELECT count(*) FROM tbl_mo_messages"), [(1,)])

    def test_given_up(self) -> None:
        gateway = self.started(
            "--mo-text", LONG, "--mo-count", "1", "--mo-gap", "600", "--mo-order", "reverse",
            settings="[inbound]\nreassembly_seconds = 1",
        )  # fmt: skip
        (text,) = self.receiver(gateway).wait(1)
        self.assertTrue(self.expected(1)[0].endswith(text))
        self.assertEqual(gateway.query("SELECT parts, missing FROM tbl_mo_messages"), [(2, 1)])

    def test_to_a_url(self) -> None:
        hook = Hook()
        self.addCleanup(hook.close)
        rule = f'[[mo]]\nname = "web"\nto = {{ user = "ahmad", url = "{hook.url}" }}\n[mo.match]\nkeyword = ["vote"]'
        gateway = self.started("--mo-text", LONG, "--mo-count", "1", settings=rule, users={"ahmad": ("--bind-type", "HTTP")})
        eventually(lambda: hook.got, "posted")
        headers_, body = hook.got[0]
        self.assertEqual(
            {k: body[k] for k in ("type", "from", "to", "text", "payload", "parts", "missing", "smsc_id")},
            {"type": "mo", "from": "962790000001", "to": "12345", "text": self.expected(1)[0], "payload": None, "parts": 2, "missing": 0,
             "smsc_id": "SMSC1"},
        )  # fmt: skip
        self.assertTrue(body["message_id"].startswith("MO-"))
        self.assertIn("webhook-signature", {k.lower() for k in headers_})
        eventually(lambda: self.states(gateway) == {"DELIVERED": 1}, "told")

    def test_nobody_then_routed_by_hand(self) -> None:
        gateway = self.started("--mo-text", "Hi {n}", "--mo-count", "2", users={"ahmad": ()})
        eventually(lambda: self.states(gateway) == {"UNROUTED": 2}, "stored")
        listed = json.loads(_output(gateway.administer("mo", "list", "--unrouted", "--json")))
        self.assertEqual([(m["text"], m["status"]) for m in listed], [("Hi 2", "UNROUTED"), ("Hi 1", "UNROUTED")])
        _output(gateway.administer("mo", "route", listed[0]["message_id"], "--user", "ahmad"))
        self.assertEqual(self.receiver(gateway).wait(1), ["Hi 2"])
        eventually(lambda: self.states(gateway) == {"UNROUTED": 1, "DELIVERED": 1}, "told")

    def test_answers_of_smes(self) -> None:
        gateway = Gateway()
        self.addCleanup(gateway.stop)
        gateway.simulate("SMSC1", "--sme-answer", "manual")
        gateway.accounts({"ahmad": (), "other": ("--sender", "MyCompany")})
        gateway.start()
        sender = Esme(gateway.smpp_port)
        self.addCleanup(sender.socket.close)
        self.assertEqual(sender.bind("ahmad", PASSWORD), 0)
        status, id = sender.submitted("962788123456", registered=1)
        self.assertEqual(status, 0)
        found = [fast.decode_sm(body, 0, len(body)) for _, _, _, body in (sender.wait(commands.DELIVER_SM) for _ in range(2))]
        (answer,) = (f for f in found if f[7] == 0x10)
        self.assertEqual((answer[3], answer[6], answer[16]), ("962788123456", "MyCompany", b"read"))
        self.assertEqual((answer[17] or {})[tags.RECEIPTED_MESSAGE_ID], id.encode() + b"\0")
