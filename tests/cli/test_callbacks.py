from __future__ import annotations

import json

from protei_bulk.access.secrets import load_or_create
from protei_bulk.callbacks.signing import account_secret, shown_secret
from protei_bulk.settings import load
from tests.cli.test_main import Case


class CallbackCommands(Case):
    def setUp(self) -> None:
        super().setUp()
        self.ok("customer", "add", "Demo")
        for name in ("ahmad", "fatima"):
            self.ok("user", "add", name, "--password", "Password@123", "--customer", "Demo")
        self.query(
            "INSERT INTO tbl_callback_outbox (user_id, message_id, url, payload, status, last_error)"
            " SELECT u.id, 'MSG-' || u.username, 'https://' || u.username || '.example/', '{}', s, 'HTTP 500'"
            " FROM users u, unnest(ARRAY['PENDING', 'PARKED', 'DELIVERED']) s ORDER BY u.id, s RETURNING 1"
        )

    def test_list(self) -> None:
        out = self.ok("callback", "list")
        self.assertIn("https://ahmad.example/", out)
        self.assertEqual(len(out.splitlines()), 7)
        found = json.loads(self.ok("callback", "list", "--status", "parked", "--user", "ahmad", "--json"))
        self.assertEqual([(c["message_id"], c["status"], c["last_error"]) for c in found], [("MSG-ahmad", "PARKED", "HTTP 500")])
        self.assertEqual(len(json.loads(self.ok("callback", "list", "--message", "MSG-fatima", "--limit", "2", "--json"))), 2)
        self.assertIn("there is no user nobody", self.refused(1, "callback", "list", "--user", "nobody"))

    def test_replay(self) -> None:
        [parked] = json.loads(self.ok("callback", "list", "--status", "PARKED", "--user", "ahmad", "--json"))
        self.assertIn("1 callbacks", self.ok("callback", "replay", str(parked["callback_id"])))
        self.assertIn("waiting already: " + str(parked["callback_id"]), self.refused(1, "callback", "replay", str(parked["callback_id"])))
        self.assertIn("0 callbacks", self.ok("callback", "replay", "--user", "ahmad"))
        self.assertIn("1 callbacks", self.ok("callback", "replay", "--all"))
        self.assertIn("or --all", self.refused(2, "callback", "replay"))

    def test_secret(self) -> None:
        self.assertIn("run this on the node itself", self.refused(1, "callback", "secret", "ahmad"))
        secret = load_or_create(load(self.config).node.state_dir)
        [(user_id,)] = self.query("SELECT id FROM users WHERE username = 'ahmad'")
        shown = self.ok("callback", "secret", "ahmad").strip()
        self.assertEqual(shown, shown_secret(account_secret(secret, user_id, 1)))
        changed = json.loads(self.ok("callback", "secret", "ahmad", "--rotate", "--json"))
        self.assertEqual((changed["version"], changed["previous_secret"]), (2, shown))
        self.assertEqual(self.ok("callback", "secret", "ahmad").strip(), changed["secret"])
        self.assertEqual(self.ok("callback", "secret").strip(), shown_secret(account_secret(secret, 0, 1)))
        self.refused(1, "callback", "secret", "nobody")
