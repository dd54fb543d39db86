"""Every command of `protei-bulk`, on a database of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg2
from click.testing import CliRunner, Result
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.access.passwords import check_password
from protei_bulk.access.proof import api_key_hash
from protei_bulk.cli.main import cli
from protei_bulk.cli.node import Node
from tests.support.postgres import empty_database, fresh_database

CONFIG = """
[node]
name = "test"
state_dir = "state"
[database]
dsn = "{dsn}"
[access]
bcrypt_cost = 4
[[smsc]]
id = "SMSC1"
host = "127.0.0.1"
port = 2776
[[route]]
name = "everything"
to = ["SMSC1"]
"""
MESSAGE = "MSG-" + "0" * 12


class Blocking:
    """The database of one command, without a reactor."""

    def __init__(self, dsn: str) -> None:
        self.connection = psycopg2.connect(dsn)
        self.connection.autocommit = True

    def query(self, sql: str, params: Any = ()) -> Deferred[Any]:
        with self.connection.cursor() as cursor:
            try:
                cursor.execute(sql, params)
            except psycopg2.Error as error:
                return fail(error)
            return succeed(cursor.fetchall() if cursor.description else [])


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.dsn = self.database()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.config = self.folder / "protei-bulk.toml"
        self.config.write_text(CONFIG.format(dsn=self.dsn))

    def database(self) -> str:
        return fresh_database()

    def query(self, sql: str, params: Any = ()) -> Any:
        db = Blocking(self.dsn)
        self.addCleanup(db.connection.close)
        return self.successResultOf(db.query(sql, params))

    def invoke(self, *arguments: str, stdin: str = "") -> Result:
        def run(dsn: str, work: Any) -> Any:
            db = Blocking(dsn)
            outcome: list[Any] = []
            try:
                Deferred.fromCoroutine(work(db)).addBoth(outcome.append)
            finally:
                db.connection.close()
            if hasattr(outcome[0], "raiseException"):
                outcome[0].raiseException()
            return outcome[0]

        result = CliRunner().invoke(cli, arguments, obj=Node(self.config, run), input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def ok(self, *arguments: str, stdin: str = "") -> str:
        result = self.invoke(*arguments, stdin=stdin)
        self.assertEqual(result.exit_code, 0, result.output)
        return result.stdout

    def refused(self, code: int, *arguments: str, stdin: str = "") -> str:
        result = self.invoke(*arguments, stdin=stdin)
        self.assertEqual(result.exit_code, code, result.output)
        self.assertEqual(result.stdout, "")
        return result.stderr

    def demo(self) -> None:
        self.ok(
            "customer", "add", "Demo", "--balance", "25000.50", "--credit-limit", "50000", "--currency", "JOD"
        )
        self.ok(
            "user",
            "add",
            "ahmad",
            "--password",
            "Password@123",
            "--customer",
            "Demo",
            "--sender",
            "MyCompany",
        )


class Customers(Case):
    def test_add_set_top_up_list(self) -> None:
        self.demo()
        self.assertIn("already", self.refused(1, "customer", "add", "Demo"))
        self.ok("customer", "set", "Demo", "credit_limit=10", "timezone=Asia/Amman")
        self.assertIn("25010.5", self.ok("customer", "top-up", "Demo", "10"))
        self.ok("customer", "top-up", "Demo", "-10.25")
        [demo] = json.loads(self.ok("customer", "list", "--json"))
        self.assertEqual(
            {k: demo[k] for k in ("name", "balance", "credit_limit", "currency", "timezone")},
            {
                "name": "Demo",
                "balance": 25000.25,
                "credit_limit": 10,
                "currency": "JOD",
                "timezone": "Asia/Amman",
            },
        )
        self.assertIn("25000.25", self.ok("customer", "list"))

    def test_mistakes(self) -> None:
        self.assertIn("balance", self.refused(2, "customer", "add", "Demo", "--balance", "much"))
        self.assertIn("currency", self.refused(2, "customer", "add", "Demo", "--currency", "dinar"))
        self.assertIn("AMOUNT", self.refused(2, "customer", "top-up", "Demo", "much"))
        self.refused(1, "customer", "top-up", "Nobody", "5")
        self.refused(1, "customer", "set", "Nobody", "balance=5")
        self.refused(2, "customer", "set", "Nobody")


class Users(Case):
    def test_add_with_everything(self) -> None:
        self.ok("customer", "add", "Demo")
        self.ok(
            "user", "add", "sara", "--password", "-", "--customer", "Demo", "--role", "ADMIN", "--sender", "A",
            "--sender", "B*", "--smsc", "SMSC1", "--max-tps", "0", "--max-per-day", "7", "--bind-type", "HTTP",
            "--allowed-ip", "10.0.0.0/8", "--allowed-ip", "::1", stdin="from stdin\nrest",
        )  # fmt: skip
        [(hashed,)] = self.query("SELECT password_hash FROM users")
        self.assertTrue(check_password("from stdin", hashed))
        [row] = self.query(
            "SELECT role, allowed_sender_ids, allowed_smsc, max_tps, max_msg_per_day, bind_type, allowed_ips FROM users"
        )
        self.assertEqual(row, ("ADMIN", ["A", "B*"], ["SMSC1"], 0, 7, "HTTP", ["10.0.0.0/8", "::1"]))

    def test_refusals(self) -> None:
        self.demo()
        self.assertIn(
            "already", self.refused(1, "user", "add", "ahmad", "--password", "correct horse", "--customer", "Demo")
        )
        self.assertIn(
            "no customer", self.refused(1, "user", "add", "b", "--password", "correct horse", "--customer", "No")
        )
        for wrong in (
            ("b", "--password", "x"), ("b", "--customer", "Demo"), ("a:b", "--password", "correct horse", "--customer", "Demo"),
            ("b", "--password", "", "--customer", "Demo"), ("b", "--password", "short", "--customer", "Demo"),
            ("b", "--password", "Password1", "--customer", "Demo"), ("boris", "--password", "boris-123", "--customer", "Demo"),
            ("b", "--password", "correct horse", "--customer", "Demo", "--allowed-ip", "office"),
            ("b", "--password", "correct horse", "--customer", "Demo", "--max-tps", "-1"),
            ("b", "--password", "correct horse", "--customer", "Demo", "--role", "KING"),
        ):  # fmt: skip
            self.refused(2, "user", "add", *wrong)
        self.assertEqual(self.query("SELECT username FROM users"), [("ahmad",)])

    def test_set(self) -> None:
        self.demo()
        self.ok(
            "user",
            "set",
            "ahmad",
            "max_tps=50",
            "status=suspended",
            "allowed_ips=192.168.1.0/24,10.0.0.50",
            "password=new and long",
        )
        [row] = self.query("SELECT max_tps, status, allowed_ips, password_hash FROM users")
        self.assertEqual(row[:3], (50, "SUSPENDED", ["192.168.1.0/24", "10.0.0.50"]))
        self.assertTrue(check_password("new and long", row[3]))
        self.ok("user", "set", "ahmad", "password=-", stdin="other words\n")
        self.assertTrue(check_password("other words", self.query("SELECT password_hash FROM users")[0][0]))
        self.assertIn("no user", self.refused(1, "user", "set", "nobody", "max_tps=1"))
        for wrong in ("max_tps=x", "nonsense=1", "max_tps", "password=", "password=ahmad123"):
            self.refused(2, "user", "set", "ahmad", wrong)
        [(details,)] = self.query(
            "SELECT details FROM tbl_permission_audit WHERE action = 'USER_SET' ORDER BY audit_id LIMIT 1"
        )
        self.assertEqual((details["source"], details["max_tps"], details["password"]), ("cli", 50, "set"))

    def test_list_and_show(self) -> None:
        self.demo()
        [ahmad] = json.loads(self.ok("user", "list", "--json"))
        self.assertEqual((ahmad["username"], ahmad["customer"], ahmad["api_key"]), ("ahmad", "Demo", False))
        self.assertEqual(json.loads(self.ok("user", "list", "--customer", "Other", "--json")), [])
        self.assertIn("MyCompany", self.ok("user", "list"))
        self.assertEqual(json.loads(self.ok("user", "show", "ahmad", "--json")), ahmad)
        self.assertNotIn("$2b$", self.ok("user", "show", "ahmad"))
        self.refused(1, "user", "show", "nobody")

    def test_api_key_alone_on_standard_output(self) -> None:
        self.demo()
        printed = self.ok("api-key", "new", "ahmad")
        self.assertRegex(printed, r"\A[a-z0-9]{48}\n\Z")
        self.assertEqual(self.query("SELECT api_key FROM users"), [(api_key_hash(printed.strip()),)])
        self.ok("api-key", "revoke", "ahmad")
        self.assertEqual(self.query("SELECT api_key, api_key_created_at FROM users"), [(None, None)])
        self.refused(1, "api-key", "new", "nobody")

    def test_delete(self) -> None:
        self.demo()
        self.ok("user", "add", "sara", "--password", "correct horse", "--customer", "Demo")
        self.query("INSERT INTO campaigns (campaign_id, user_id, customer_id, submission_channel)"
                   " SELECT 'CAMP-1', id, customer_id, 'WEB' FROM users WHERE username = 'ahmad'")  # fmt: skip
        self.assertIn("has users", self.refused(1, "customer", "delete", "Demo"))
        self.assertIn("gone", self.ok("user", "delete", "sara"))
        self.assertIn("stays in the books", self.ok("user", "delete", "ahmad"))
        self.assertIn("no user", self.refused(1, "user", "delete", "ahmad"))
        self.assertIn("already", self.refused(1, "user", "add", "ahmad", "--password", "correct horse", "--customer", "Demo"))
        self.assertEqual(json.loads(self.ok("user", "list", "--json")), [])
        self.assertIn("no user", self.refused(1, "user", "set", "ahmad", "max_tps=1"))
        self.assertIn("stays in the books", self.ok("customer", "delete", "Demo"))
        self.assertEqual(json.loads(self.ok("customer", "list", "--json")), [])
        self.assertIn("no customer", self.refused(1, "customer", "delete", "Demo"))

    def test_two_factor_of_somebody_who_has_lost_it(self) -> None:
        self.demo()
        self.query("UPDATE users SET two_factor_enabled = TRUE, two_factor_secret = 'x'")
        self.query("INSERT INTO tbl_recovery_codes (user_id, code_hash) SELECT id, 'h' FROM users")
        self.ok("user", "disable-2fa", "ahmad")
        self.assertEqual(self.query("SELECT two_factor_enabled, two_factor_secret FROM users"), [(False, None)])
        self.assertEqual(self.query("SELECT * FROM tbl_recovery_codes"), [])
        self.assertIn("no user", self.refused(1, "user", "disable-2fa", "nobody"))


class Operations(Case):
    def test_sessions(self) -> None:
        self.demo()
        self.query("INSERT INTO tbl_smpp_sessions (user_id, system_id, bind_type, session_token) "
                   "SELECT id, username, 'TRANSCEIVER', 'secret' FROM users")  # fmt: skip
        [row] = json.loads(self.ok("session", "list", "--json"))
        self.assertEqual((row["system_id"], row["status"]), ("ahmad", "BOUND"))
        self.assertNotIn("secret", self.ok("session", "list"))
        self.ok("session", "disconnect", str(row["session_id"]))
        self.assertIn("no session", self.refused(1, "session", "disconnect", str(row["session_id"])))
        self.refused(2, "session", "disconnect", "x")
        self.assertEqual(json.loads(self.ok("session", "list", "--json")), [])

    def test_traces(self) -> None:
        self.demo()
        self.assertIn("10 minutes", self.ok("trace", "on", "--user", "ahmad"))
        self.ok("trace", "on", "--smsc", "SMSC1", "--minutes", "5")
        rows = json.loads(self.ok("trace", "list", "--json"))
        self.assertEqual([("USER", "ahmad"), ("SMSC", "SMSC1")], [(r["kind"], r["name"]) for r in rows])
        self.assertIn("no user", self.refused(1, "trace", "on", "--user", "nobody"))
        self.assertIn("no [[smsc]]", self.refused(1, "trace", "on", "--smsc", "Other"))
        self.refused(2, "trace", "on")
        self.refused(2, "trace", "on", "--user", "ahmad", "--smsc", "SMSC1")
        self.refused(2, "trace", "on", "--user", "ahmad", "--minutes", "0")
        self.ok("trace", "off", "--user", "ahmad")
        self.assertIn("not traced", self.refused(1, "trace", "off", "--user", "ahmad"))
        self.assertIn("1 ended", self.ok("trace", "off"))
        self.assertEqual([], json.loads(self.ok("trace", "list", "--json")))

    def test_queue_and_connectors(self) -> None:
        self.query("""INSERT INTO tbl_message_queue (message_id, smsc_id, due_at, claimed_by) VALUES
            ('MSG-1', 'SMSC1', now() - interval '90 seconds', NULL), ('MSG-2', 'SMSC1', now() + interval '1 hour', 1)""")
        [row] = json.loads(self.ok("queue", "--json"))
        self.assertEqual((row["smsc_id"], row["depth"], row["scheduled"], row["claimed"]), ("SMSC1", 2, 1, 1))
        self.assertTrue(90 <= row["oldest_seconds"] < 150)
        self.assertIn("SMSC1", self.ok("queue"))
        self.query("INSERT INTO tbl_nodes (node_id, name) VALUES (5, 'x') RETURNING 1")
        columns = "node_id, smsc_id, state, delivered, finished"
        self.query(f"INSERT INTO tbl_smsc_states ({columns}) VALUES (5, 'SMSC1', 'DEGRADED', 75, 100) RETURNING 1")
        [connector] = json.loads(self.ok("smsc", "list", "--json"))
        self.assertEqual((connector["state"], connector["delivered_percent"]), ("DEGRADED", 75.0))
        self.assertEqual(
            (connector["id"], connector["address"], connector["queued"]), ("SMSC1", "127.0.0.1:2776", 2)
        )
        self.assertIn("127.0.0.1:2776", self.ok("smsc", "list"))

    def test_message(self) -> None:
        self.demo()
        self.query("CREATE TABLE messages_old PARTITION OF messages FOR VALUES FROM (MINVALUE) TO ('MSG-1')")
        self.query(
            "CREATE TABLE parts_old PARTITION OF message_parts FOR VALUES FROM (MINVALUE) TO ('MSG-1')"
        )
        self.query(
            """INSERT INTO messages (message_id, user_id, from_addr, to_addr, message_text, submission_channel, status, price)
            SELECT %s, id, 'MyCompany', '962788123456', E'Hello\\x1b[2J', 'SMPP', 'QUEUED', 0.02 FROM users""", (MESSAGE,)
        )  # fmt: skip
        self.query("INSERT INTO message_parts (message_id, part) VALUES (%s, 1), (%s, 2)", (MESSAGE, MESSAGE))
        self.query("INSERT INTO tbl_message_queue (message_id, smsc_id) VALUES (%s, 'SMSC1')", (MESSAGE,))
        shown = json.loads(self.ok("message", "show", MESSAGE, "--json"))
        self.assertEqual((shown["username"], shown["customer"], shown["price"]), ("ahmad", "Demo", 0.02))
        self.assertEqual([p["part"] for p in shown["parts"]], [1, 2])
        self.assertEqual((shown["queue"]["smsc_id"], shown["callbacks"]), ("SMSC1", []))
        text = self.ok("message", "show", MESSAGE)
        self.assertIn("962788123456", text)
        self.assertNotIn("\x1b", text)
        self.assertTrue(text.startswith("message_id "))  # what one looks for comes first
        self.assertEqual([line.split() for line in text.splitlines() if line.startswith("price")], [["price", "0.02"]])
        self.assertIn("no message", self.refused(1, "message", "show", "MSG-X"))

    def test_schema_is_up_to_date(self) -> None:
        self.assertIn("up to date", self.ok("db", "migrate"))

    def test_config(self) -> None:
        self.assertEqual(self.ok("config", "check"), "OK\n")
        self.config.write_text("[smpp]\nwindw = 1\nmax_sessions = 'x'\n")
        problems = self.refused(1, "config", "check")
        self.assertIn("smpp.windw", problems)
        self.assertIn("smpp.max_sessions", problems)
        self.assertIn("smpp.windw", self.refused(1, "user", "list"))
        self.config.write_text(
            '[http.tls]\nlisten = "tcp:8443"\ncertificate = "no.pem"\nprivate_key = "no.key"\n'
        )
        self.assertEqual(self.refused(1, "config", "check").count("is not a file"), 2)
        self.config.unlink()
        self.refused(1, "config", "check")

    def test_wrong_usage(self) -> None:
        for wrong in (("nonsense",), ("user", "nonsense"), ("user", "list", "--nonsense")):
            self.refused(2, *wrong)


class Troubles(Case):
    def database(self) -> str:
        return empty_database()

    def test_no_schema(self) -> None:
        self.assertIn("db migrate", self.refused(1, "user", "list"))
        applied = self.ok("db", "migrate")
        self.assertIn("applied 001_initial.sql", applied)
        self.assertEqual(json.loads(self.ok("user", "list", "--json")), [])

    def test_embedded_and_not_running(self) -> None:
        self.config.write_text('[node]\nstate_dir = "state"\n')
        self.assertIn("not running", self.refused(1, "user", "list"))
        self.assertIn("not running", self.refused(1, "db", "migrate"))


class Program(Case):
    """The real program, with its own reactor."""

    def program(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        root = Path(__file__).resolve().parents[2]
        return subprocess.run(
            [sys.executable, "-m", "protei_bulk.cli.main", "-c", str(self.config), *arguments],
            capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": str(root)},
        )  # fmt: skip

    def test_end_to_end(self) -> None:
        self.demo()
        done = self.program("api-key", "new", "ahmad")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"\A[a-z0-9]{48}\n\Z")
        again = self.program("customer", "add", "Demo")
        self.assertEqual(
            (again.returncode, again.stdout, again.stderr),
            (1, "", "Error: there is a customer Demo already\n"),
        )
        self.assertEqual(self.program("user", "set", "ahmad", "max_tps=x").returncode, 2)

    def test_database_away(self) -> None:
        self.config.write_text(CONFIG.format(dsn="host=/nonexistent dbname=x"))
        for command in (("user", "list"), ("db", "migrate")):
            done = self.program(*command)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn("cannot be reached", done.stderr)
            self.assertNotIn("Traceback", done.stderr)
