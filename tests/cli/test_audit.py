"""`audit` and `key`, on a database of their own."""

from __future__ import annotations

import json

from protei_bulk.access import secrets
from tests.cli.test_main import Case


class Audit(Case):
    def setUp(self) -> None:
        super().setUp()
        self.demo()
        self.query("INSERT INTO tbl_permission_audit (user_id, action, result, ip_address, details, created_at)"
                   " SELECT id, 'BIND_SMPP', 'FAILURE', '10.0.0.7', '{}', now() - interval '3 hours' FROM users")  # fmt: skip
        self.query("INSERT INTO tbl_api_requests (user_id, endpoint, method, response_status, response_time_ms)"
                   " SELECT id, '/api/sendBulk', 'POST', s, 3 FROM users, unnest(ARRAY[200, 429]) AS s")  # fmt: skip

    def actions(self, *arguments: str) -> list[str]:
        return [row["action"] for row in json.loads(self.ok("audit", "events", "--json", *arguments))]

    def test_events(self) -> None:
        self.assertEqual(self.actions(), ["USER_ADD", "CUSTOMER_ADD", "BIND_SMPP"])
        self.assertEqual(self.actions("--user", "ahmad"), ["USER_ADD", "BIND_SMPP"])
        self.assertEqual(self.actions("--since", "2h"), ["USER_ADD", "CUSTOMER_ADD"])
        self.assertEqual(self.actions("--until", "2h"), ["BIND_SMPP"])
        self.assertEqual(self.actions("--result", "failure", "--ip", "10.0.0.0/24", "--action", "BIND_SMPP"), ["BIND_SMPP"])
        self.assertEqual(self.actions("--actor", "ahmad"), [])
        [first] = json.loads(self.ok("audit", "events", "--json", "--limit", "1"))
        rest = self.actions("--before", f"{first['created_at']}/{first['audit_id']}")
        self.assertEqual(rest, ["CUSTOMER_ADD", "BIND_SMPP"])
        self.assertIn("BIND_SMPP", self.ok("audit", "events"))

    def test_requests(self) -> None:
        rows = json.loads(self.ok("audit", "requests", "--json", "--errors"))
        self.assertEqual([(row["username"], row["response_status"]) for row in rows], [("ahmad", 429)])
        self.assertEqual(len(json.loads(self.ok("audit", "requests", "--json", "--status", "200", "--method", "POST"))), 1)
        self.assertEqual(json.loads(self.ok("audit", "requests", "--json", "--endpoint", "/x")), [])

    def test_refusals(self) -> None:
        self.assertIn("no user", self.refused(1, "audit", "events", "--user", "nobody"))
        self.assertIn("no user", self.refused(1, "audit", "events", "--actor", "nobody"))
        for wrong in (("--since", "yesterday"), ("--ip", "office"), ("--limit", "0"), ("--before", "x"), ("--result", "MAYBE"),
                      ("--since", "999999d"), ("--before", "x/1")):  # fmt: skip
            self.refused(2, "audit", "events", *wrong)


class Keys(Case):
    def test_rotate(self) -> None:
        self.assertIn("secret.key", self.refused(1, "key", "rotate"))  # a node makes it, at its first start
        secrets.load_or_create(self.folder / "state")
        for _ in range(2):
            self.ok("key", "rotate")
        newest, older = json.loads(self.ok("key", "list", "--json"))
        self.assertEqual((newest["expires_at"], older["expires_at"] is None), (None, False))
        self.ok("key", "rotate", "--now")
        self.assertEqual(self.query("SELECT count(*) FROM tbl_signing_keys WHERE expires_at > now()"), [(0,)])
        self.assertEqual(self.query("SELECT count(*) FROM tbl_signing_keys WHERE expires_at IS NULL"), [(1,)])
        self.assertEqual(self.query("SELECT count(*) FROM tbl_permission_audit WHERE action = 'KEY_ROTATE'"), [(3,)])
        self.assertIn("KID", self.ok("key", "list"))
