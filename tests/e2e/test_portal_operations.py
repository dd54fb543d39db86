"""The operator's pages, against a running gateway: what they show and do, whom they let in, and what hostile input does to them."""

from __future__ import annotations

import atexit
import csv
import io
import re
import urllib.parse
import urllib.request
from typing import ClassVar

import psycopg2
from twisted.trial.unittest import SynchronousTestCase

from tests.e2e.test_portal import Browser
from tests.support.esme import Esme
from tests.support.gateway import PASSWORD, Gateway, _output, eventually

EVIL = '"><script>alert(1)</script>'
PAGES = ("/smscs", "/smscs/SMSC1", "/routes", "/routes/new", "/routes/explain", "/routes/costs", "/queues", "/queues/held", "/traces")
FORMS = ("/smscs/SMSC1/pause", "/smscs/SMSC1/resume", "/smscs/SMSC1/rate", "/smscs/SMSC1/reconnect", "/routes/new", "/routes/1",
         "/routes/1/enabled", "/routes/1/delete", "/routes/costs", "/routes/costs/1/delete", "/queues/release", "/traces",
         "/traces/off", "/sessions/1/disconnect")  # fmt: skip


class OperationsCase(SynchronousTestCase):
    _shared: ClassVar[Gateway | None] = None

    def setUp(self) -> None:
        if OperationsCase._shared is None:
            gateway = OperationsCase._shared = Gateway()
            atexit.register(gateway.stop)
            gateway.simulate("SMSC1")
            gateway.simulate("SMSC2")
            gateway.accounts({"ahmad": (), "sami": (), "boss": ("--role", "CUSTOMER_ADMIN"), "chief": ("--role", "ADMIN")})
            _output(gateway.administer("customer", "add", "Other"))
            for name, role in (("lina", "SENDER"), ("omar", "CUSTOMER_ADMIN"), ("vera", "VIEWER")):
                _output(gateway.administer("user", "add", name, "--password", PASSWORD, "--customer", "Other", "--role", role))
            gateway.start()
        assert OperationsCase._shared is not None
        self.gateway = OperationsCase._shared

    def browser(self, name: str) -> Browser:
        b = Browser(f"http://127.0.0.1:{self.gateway.http_port}")
        b.login(name)
        self.assertEqual(b.url, "/", name)
        return b

    def esme(self, name: str) -> Esme:
        esme = Esme(self.gateway.smpp_port)
        self.addCleanup(esme.__exit__)
        self.assertEqual(esme.bind(name, PASSWORD), 0)
        return esme


class WhoMay(OperationsCase):
    def test_the_operators_pages_are_for_the_operator(self) -> None:
        for name in ("ahmad", "boss", "vera"):
            b = self.browser(name)
            for path in (*PAGES, "/smscs.live", "/smscs/SMSC1/live", "/queues.live", "/queues/held.csv", "/routes/costs.csv"):
                b.get(path)
                self.assertEqual(b.status, 403, f"{name} {path}")
            b.get("/account")
            for path in FORMS[:-1]:
                b.post(path)
                self.assertEqual(b.status, 403, f"{name} {path}")
                b.get("/account")
            self.assertNotIn('href="/smscs"', b.text)
        for name in ("ahmad", "vera"):
            b = self.browser(name)
            b.get("/audit")
            self.assertEqual(b.status, 403)

    def test_forms_of_others_do_nothing(self) -> None:
        b = self.browser("chief")
        before = self.gateway.query("SELECT count(*) FROM tbl_permission_audit WHERE action <> 'LOGIN_WEB'")
        for path in FORMS:
            b.get("/account")
            b.post(path, csrf="0" * 40, reason="x", kind="USER", user="ahmad", minutes="5")
            self.assertEqual(b.status, 403, path)
            b.get("/account")
            b.post(path, origin="https://evil.example", reason="x")
            self.assertEqual(b.status, 403, path)
            b.text = ""
            b.post(path, reason="x")
            self.assertEqual(b.status, 403, path)
        self.assertEqual(self.gateway.query("SELECT count(*) FROM tbl_permission_audit WHERE action <> 'LOGIN_WEB'"), before)

    def test_nobody_without_a_login(self) -> None:
        b = Browser(f"http://127.0.0.1:{self.gateway.http_port}")
        for path in (*PAGES, "/sessions", "/audit", "/sessions.csv", "/audit.csv"):
            b.get(path)
            self.assertTrue(b.url.startswith("/login?next="), path)


class SessionsOf(OperationsCase):
    def test_each_sees_its_own(self) -> None:
        self.esme("ahmad")
        self.esme("sami")
        self.esme("lina")
        eventually(lambda: self.gateway.query("SELECT count(*) FROM tbl_smpp_sessions WHERE status = 'BOUND'")[0][0] >= 3, "bound")
        for name, sees, not_ in (
            ("ahmad", ["ahmad"], ["sami", "lina"]), ("boss", ["ahmad", "sami"], ["lina"]), ("omar", ["lina"], ["ahmad"]),
            ("vera", ["lina"], ["ahmad", "sami"]), ("chief", ["ahmad", "sami", "lina"], []),
        ):  # fmt: skip
            b = self.browser(name)
            for path in ("/sessions", "/sessions.csv"):
                table = b.get(path).partition("<tbody>")[2] if path == "/sessions" else b.get(path)
                for other in sees:
                    self.assertIn(other, table, f"{name} {path}")
                for other in not_:
                    self.assertNotIn(other, table, f"{name} {path}")
            self.assertEqual("Disconnect" in b.get("/sessions"), name != "vera")

    def test_only_ones_own_are_ended(self) -> None:
        esme = self.esme("lina")
        sql = "SELECT max(session_id) FROM tbl_smpp_sessions WHERE system_id = 'lina' AND status = 'BOUND'"
        eventually(lambda: self.gateway.query(sql)[0][0] is not None, "bound")
        [(number,)] = self.gateway.query(sql)
        for name in ("ahmad", "boss"):
            b = self.browser(name)
            b.get("/sessions")
            b.post(f"/sessions/{number}/disconnect")
            self.assertIn("not one of yours", b.text)
        b = self.browser("omar")
        for id in ("x", "-1", "9" * 30, "0"):
            b.get("/sessions")
            b.post(f"/sessions/{id}/disconnect")
            self.assertEqual(b.status, 404, id)
        b.get("/sessions")
        b.post(f"/sessions/{number}/disconnect")
        self.assertIn("is being ended", b.text)
        esme.ends()
        told = self.gateway.query("SELECT details ->> 'session_id' FROM tbl_permission_audit WHERE action = 'SESSION_DISCONNECT'")
        self.assertEqual(told, [(str(number),)])
        eventually(lambda: str(number) in b.get("/sessions.csv?show=ended"), "among those that ended")


class Audit(OperationsCase):
    def test_one_tenant_sees_nothing_of_another(self) -> None:
        boss, omar = self.browser("boss"), self.browser("omar")
        eventually(lambda: "boss" in boss.get("/audit?action=LOGIN_WEB"), "in the log")
        for b, own, other in ((boss, "boss", "omar"), (omar, "omar", "boss")):
            eventually(lambda b=b, own=own: own in b.get("/audit").partition("<tbody>")[2], "own")  # type: ignore[misc]
            for path in ("/audit", f"/audit?user={other}", f"/audit?actor={other}", f"/audit.csv?user={other}"):
                self.assertNotIn(f">{other}<", b.get(path).partition("<tbody>")[2] or b.text)
        # What the operator does to a customer is in that customer's log, but not from where.
        _output(self.gateway.administer("user", "set", "lina", "max_tps=9"))
        eventually(lambda: "USER_SET" in omar.get("/audit?action=USER_SET"), "there")

    def test_filters_paging_and_bad_input(self) -> None:
        b = self.browser("chief")
        self.assertIn("BIND_SMPP", self._some(b))
        for query in ("ip=x", "ip=1.2.3.4/99", "from=yesterday", "to=2026-13-01"):
            b.get(f"/audit?{query}")
            self.assertEqual(b.status, 422, query)
            self.assertIn('aria-invalid="true"', b.text)
        for query in ("after=x", "after=1-", "after=99999999999999999999-1", "after=1-9", "action=%00", "user=%00", "from=0001-01-01",
                      "to=9999-12-31", "ip=::1", "result=x", "from=2026-01-01&to=2026-01-02"):  # fmt: skip
            b.get(f"/audit?{query}")
            self.assertIn(b.status, (200, 422), query)
        b.get("/audit?ip=127.0.0.0/8&result=SUCCESS")
        self.assertEqual(b.status, 200)

    def _some(self, b: Browser) -> str:
        esme = self.esme("ahmad")
        esme.__exit__()
        eventually(lambda: "BIND_SMPP" in b.get("/audit?action=bind smpp".replace(" ", "%20")), "a bind")
        return b.text

    def test_what_clients_send_is_shown_and_not_run(self) -> None:
        """A system_id and a user agent are anybody's."""
        b = self.browser("chief")
        for _ in range(2):
            esme = Esme(self.gateway.smpp_port)
            esme.bind("=1+1<b>", "x")
            esme.__exit__()
        eventually(lambda: "=1+1&lt;b&gt;" in b.get("/audit?action=BIND_SMPP&result=FAILURE"), "shown")
        self.assertNotIn("=1+1<b>", b.text)
        rows = list(csv.reader(io.StringIO(b.get("/audit.csv?action=BIND_SMPP&result=FAILURE").lstrip("\ufeff"))))
        self.assertEqual(rows[0][:4], ["id", "time", "action", "result"])
        for row in rows:
            for cell in row:
                self.assertNotRegex(cell, r"\A[=+\-@]")


class Routes(OperationsCase):
    FORM: ClassVar[dict[str, str]] = {"action": "send", "to": "SMSC2", "order": "10", "strategy": "failover", "enabled": "1"}

    def number(self, name: str) -> int:
        return int(self.gateway.query("SELECT route_id FROM tbl_routes WHERE name = %s", (name,))[0][0])

    def test_a_rule_from_its_making_to_its_end(self) -> None:
        b = self.browser("chief")
        b.get("/routes/new")
        b.post("/routes/new", name="vip", price="0.0125", **self.FORM, **{"match.prefix": "96279, 96278", "match.priority": "HIGH"})
        self.assertEqual((b.status, b.url), (200, "/routes"))
        self.assertIn("Rule vip is there", b.text)
        b.get("/routes/explain")
        b.post("/routes/explain", user="ahmad", to="+962 790000001", priority="HIGH", text="=1+1 " * 60)
        self.assertIn("matched, by prefix 96279", b.text)
        self.assertIn("0.0125 a segment, 0.025 together", b.text)
        self.assertNotIn("1+1", b.url)
        number = self.number("vip")
        b.get(f"/routes/{number}")
        self.assertIn('value="96279, 96278"', b.text)
        b.post(f"/routes/{number}", **{**self.FORM, "action": "reject", "reject": "ESME_RINVDSTADR", "name": "other"})
        self.assertEqual(self.gateway.query("SELECT name, reject, targets FROM tbl_routes"), [("vip", "ESME_RINVDSTADR", [])])
        b.post(f"/routes/{number}/enabled")
        self.assertIn("Off", b.text)
        b.post(f"/routes/{number}/enabled", on="1")
        b.post(f"/routes/{number}/delete")
        self.assertIn("Rule vip is gone", b.text)
        b.get(f"/routes/{number}")
        self.assertEqual(b.status, 404)
        sql = "SELECT action FROM tbl_permission_audit WHERE action LIKE 'ROUTE%%' AND details #>> '{route,name}' = 'vip' ORDER BY audit_id"
        self.assertEqual([r[0] for r in self.gateway.query(sql)], ["ROUTE_ADD", *["ROUTE_SET"] * 3, "ROUTE_REMOVE"])

    def test_what_is_wrong_stands_beside_its_field(self) -> None:
        b = self.browser("chief")
        for field, value in (
            ("match.prefix", EVIL), ("match.pattern", "("), ("match.time", EVIL), ("order", EVIL), ("order", "99999999999"),
            ("rewrite.source_ton", "999"), ("price", EVIL), ("name", EVIL), ("to", "SMSC9"), ("match.network", "x"),
            ("match.channel", EVIL), ("match.min_segments", "0"), ("strategy", EVIL), ("name", "everything"),
        ):  # fmt: skip
            b.get("/routes/new")
            b.post("/routes/new", **{"name": "bad", **self.FORM, field: value})
            self.assertEqual(b.status, 422, f"{field} {value}")
            self.assertNotIn("<script>alert", b.text)
            self.assertIn('class="error"', b.text, field)
        self.assertEqual(self.gateway.query("SELECT count(*) FROM tbl_routes WHERE name <> 'evil'"), [(0,)])

    def test_texts_of_rules_are_shown_and_not_run(self) -> None:
        b = self.browser("chief")
        b.get("/routes/new")
        b.post("/routes/new", name="evil", **self.FORM, **{"match.sender": EVIL, "match.tags": EVIL, "match.pattern": re.escape(EVIL)})
        self.assertIn("Rule evil is there", b.text)
        number = self.number("evil")
        for path in ("/routes", f"/routes/{number}", "/routes/explain?user=ahmad&to=962790000001&sender=" + urllib.parse.quote(EVIL)):
            self.assertNotIn("<script>alert", b.get(path))
            self.assertEqual(b.status, 200)
        b.post(f"/routes/{number}/delete")

    def test_explain_with_bad_input(self) -> None:
        b = self.browser("chief")
        for fields in ({"user": EVIL, "to": "962790000001"}, {"user": "ahmad", "to": EVIL}, {"user": "ahmad", "to": "1" * 40},
                       {"user": "ahmad", "to": "962790000001", "at": EVIL}):  # fmt: skip
            b.get("/routes/explain")
            b.post("/routes/explain", **fields)
            self.assertEqual(b.status, 422, fields)
            self.assertNotIn("<script>alert", b.text)

    def test_costs(self) -> None:
        b = self.browser("chief")
        good = {"smsc": "SMSC1", "prefix": "96279", "cost": "0.0125", "currency": "USD"}
        for field, value in (("smsc", EVIL), ("mccmnc", "12"), ("mccmnc", "41601"), ("prefix", "x"), ("cost", "-1"), ("cost", "1e9"),
                             ("currency", EVIL), ("valid_from", EVIL), ("cost", "0.1234567")):  # fmt: skip
            b.get("/routes/costs")
            b.post("/routes/costs", **{**good, field: value})
            self.assertEqual(b.status, 422, f"{field} {value}")
            self.assertNotIn("<script>alert", b.text)
        b.get("/routes/costs")
        b.post("/routes/costs", **good)
        self.assertIn("USD\u00a00.0125", b.text)
        self.assertIn("SMSC1,0.012500,USD", b.get("/routes/costs.csv"))
        [(number,)] = self.gateway.query("SELECT max(cost_id) FROM tbl_smsc_costs")
        b.get("/routes/costs?q=96&after=99999")
        b.post(f"/routes/costs/{number}/delete")
        self.assertIn("The cost is gone", b.text)
        b.post(f"/routes/costs/{number}/delete")
        self.assertEqual(b.status, 404)


class Connectors(OperationsCase):
    def test_what_is_shown(self) -> None:
        b = self.browser("chief")
        esme = self.esme("ahmad")
        esme.submitted("962790000001")
        eventually(lambda: "1 sent" in b.get("/smscs"), "counted")
        self.assertIn("Bound", b.text)
        b.get("/smscs/SMSC1")
        self.assertIn("Transceiver", b.text)
        self.assertNotIn("secret", b.text)  # the password of each [[smsc]]
        for path in ("/smscs/nothing", "/smscs/" + urllib.parse.quote(EVIL, safe="")):
            b.get(path)
            self.assertEqual(b.status, 404, path)
            self.assertNotIn("<script>alert", b.text)

    def test_orders_with_bad_input(self) -> None:
        b = self.browser("chief")
        for value in ("", "-1", "x", "1000001", "1.5", EVIL):
            b.get("/smscs/SMSC2")
            b.post("/smscs/SMSC2/rate", max_tps=value)
            self.assertEqual(b.status, 422, value)
            self.assertNotIn("<script>alert", b.text)
        b.get("/smscs/SMSC2")
        b.post("/smscs/SMSC2/pause", reason=EVIL + "x" * 500)
        self.assertIn("SMSC2 is paused", b.text)
        eventually(lambda: "&lt;script&gt;alert" in b.get("/smscs"), "the reason")
        self.assertNotIn("<script>alert", b.text)
        b.get("/smscs/SMSC2")
        b.post("/smscs/SMSC2/pause")
        self.assertIn("paused already", b.text)
        b.post("/smscs/SMSC2/resume")
        self.assertIn("goes on", b.text)
        b.post("/smscs/nothing/pause")
        self.assertEqual(b.status, 404)


    def test_exports(self) -> None:
        b = self.browser("chief")
        rows = list(csv.DictReader(io.StringIO(b.get("/smscs.csv").lstrip("\ufeff"))))
        self.assertEqual([(r["id"], r["node"]) for r in rows], [("SMSC1", "e2e"), ("SMSC2", "e2e")])
        rows = list(csv.DictReader(io.StringIO(b.get("/routes.csv").lstrip("\ufeff"))))
        self.assertIn(("everything", "file", "SMSC1, SMSC2"), [(r["name"], r["source"], r["to"]) for r in rows])

    def test_live(self) -> None:
        b = self.browser("chief")
        for path, id in (
            ("/smscs.live", "smscs"), ("/smscs/SMSC1/live", "smsc"), ("/queues.live", "queues"), ("/sessions.live", "sessions"),
        ):  # fmt: skip
            self.assertIn(f'{{"id": "{id}"', self.first_part(b, path))
        boss = self.browser("boss")
        self.esme("lina")
        eventually(lambda: "lina" in b.get("/sessions"), "bound")
        self.assertNotIn("lina", self.first_part(boss, "/sessions.live"))
        self.assertIn("lina", self.first_part(b, "/sessions.live"))

    def first_part(self, b: Browser, path: str) -> str:
        cookie = "; ".join(f"{c.name}={c.value}" for c in b.jar)
        request = urllib.request.Request(b.base + path, headers={"Cookie": cookie})
        with urllib.request.urlopen(request, timeout=20) as stream:
            for line in stream:
                if line.startswith(b"data: "):
                    return str(line.decode())
        raise AssertionError(f"nothing came from {path}")


class QueuesAndTraces(OperationsCase):
    def test_held_messages(self) -> None:
        b = self.browser("chief")
        esme = self.esme("ahmad")
        ids = [esme.submitted(f"96279000010{n}")[1] for n in range(3)]
        self.gateway.wait_empty()
        self._hold(ids)
        b.get("/queues")
        self.assertIn("3 messages are held", b.text)
        self.assertIn(ids[0], b.get("/queues/held"))
        self.assertIn(ids[0], b.get("/queues/held.csv?smsc=gone"))
        self.assertNotIn(ids[0], b.get("/queues/held?smsc=" + urllib.parse.quote(EVIL)))
        b.get("/queues")
        b.post("/queues/release", smsc="gone", id=ids[0])
        self.assertIn("1 message goes out now", b.text)
        b.post("/queues/release", smsc="gone")
        self.assertIn("2 messages go out now", b.text)
        b.post("/queues/release", smsc="gone")
        self.assertIn("Nothing is held there any more", b.text)

    def _hold(self, ids: list[str]) -> None:
        connection = psycopg2.connect(self.gateway.dsn)
        with connection, connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO tbl_message_queue (message_id, smsc_id, due_at, in_doubt) SELECT unnest(%s), 'gone', 'infinity', TRUE", (ids,)
            )
        connection.close()

    def test_traces(self) -> None:
        b = self.browser("chief")
        for fields in ({"kind": "X"}, {"kind": "USER", "user": "nobody", "minutes": "5"}, {"kind": "USER", "user": "ahmad", "minutes": "0"},
                       {"kind": "SMSC", "smsc": EVIL, "minutes": "5"}, {"kind": "USER", "user": EVIL, "minutes": "5"}):  # fmt: skip
            b.get("/traces")
            b.post("/traces", **fields)
            self.assertEqual(b.status, 422, fields)
            self.assertNotIn("<script>alert", b.text)
        b.get("/traces")
        b.post("/traces", kind="USER", user="ahmad", minutes="10")
        b.post("/traces", kind="SMSC", smsc="SMSC1", minutes="60")
        self.assertIn("minutes left", b.text)
        self.esme("ahmad")
        eventually(lambda: "bind_transceiver" in self.gateway.process.log.read_text(), "in the log")
        b.post("/traces/off", kind="USER", name="ahmad")
        self.assertIn("traced no more", b.text)
        b.post("/traces/off", kind="USER", name="ahmad")
        self.assertIn("over already", b.text)
        b.post("/traces/off", kind="SMSC", name="SMSC1")
        self.assertEqual(self.gateway.query("SELECT count(*) FROM tbl_traces"), [(0,)])
        [(actor,)] = self.gateway.query("SELECT DISTINCT actor_id FROM tbl_permission_audit WHERE action = 'TRACE_ON'")
        self.assertIsNotNone(actor)
