from __future__ import annotations

import json
import time
from typing import Any

from protei_bulk.model.ids import IdMaker
from protei_bulk.store.inbound import InboundStore
from tests.cli.test_main import Blocking, Case


class MoCommands(Case):
    def setUp(self) -> None:
        super().setUp()
        self.ok("customer", "add", "Demo")
        self.ok("user", "add", "ahmad", "--password", "Password@123", "--customer", "Demo")
        self.ok("user", "add", "web", "--password", "Password@123", "--customer", "Demo", "--bind-type", "HTTP")
        maker = IdMaker(time.time)
        self.one, self.two = maker.mo(), maker.mo()
        self.store(self.one, "hello\x1b[2J")
        self.store(self.two, None)

    def store(self, id: str, text: str | None) -> None:
        row: dict[str, Any] = {"i": id, "h": id.encode().hex(), "q": "A", "f": "9627", "t": "12345", "b": "00ff", "rv": 1_737_021_600.0}
        db = Blocking(self.dsn)
        self.addCleanup(db.connection.close)
        self.successResultOf(InboundStore(db, db).receive([{**row, "tx": text}], False, 300.0))  # type: ignore[arg-type]

    def test_list(self) -> None:
        out = self.ok("mo", "list")
        self.assertIn("hello\\x1b[2J", out)
        self.assertIn("UNROUTED", out)
        found = json.loads(self.ok("mo", "list", "--unrouted", "--limit", "1", "--json"))
        (m,) = found
        self.assertEqual((m["message_id"], m["text"], m["received_at"]), (self.two, None, "2025-01-16T10:00:00Z"))
        self.assertEqual(json.loads(self.ok("mo", "list", "--status", "routed", "--json")), [])

    def test_show(self) -> None:
        self.assertIn("00ff", self.ok("mo", "show", self.two))
        self.assertEqual(json.loads(self.ok("mo", "show", self.one, "--json"))["to_addr"], "12345")
        self.assertIn("there is no message MO-1", self.refused(1, "mo", "show", "MO-1"))

    def test_route(self) -> None:
        self.assertIn("goes to ahmad", self.ok("mo", "route", self.one, "--user", "ahmad"))
        self.assertEqual(self.query("SELECT kind, payload ->> 'b' FROM tbl_deliver_outbox"), [("MO", "00ff")])
        self.ok("mo", "route", self.two, "--user", "web", "--url", "https://x.example/sms?a=1")
        self.assertEqual(
            self.query("SELECT url, payload ->> 'type', payload ->> 'payload', payload ->> 'received_at' FROM tbl_callback_outbox"),
            [("https://x.example/sms?a=1", "mo", "00ff", "2025-01-16T10:00:00Z")],
        )

    def test_not_routed(self) -> None:
        self.assertIn("there is no user nobody", self.refused(1, "mo", "route", self.one, "--user", "nobody"))
        self.assertIn("user web may not use SMPP", self.refused(1, "mo", "route", self.one, "--user", "web"))
        self.assertIn("there is no message MO-9", self.refused(1, "mo", "route", "MO-9", "--user", "ahmad"))
        self.assertIn("--user, --url, or both", self.refused(2, "mo", "route", self.one))
        self.assertIn("https://", self.refused(2, "mo", "route", self.one, "--url", "ftp://x"))
