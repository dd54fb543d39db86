from __future__ import annotations

import json
from pathlib import Path

from tests.cli.test_main import Case


class MoneyCommands(Case):
    def setUp(self) -> None:
        super().setUp()
        self.ok("customer", "add", "Demo", "--balance", "10", "--timezone", "Asia/Amman", "--charge-on", "delivery")

    def sheet(self, text: str) -> str:
        path = Path(self.folder / "deck.csv")
        path.write_text(text)
        return str(path)

    def test_rates(self) -> None:
        deck = self.sheet("prefix,price\n962,0.01\n1,2\n")
        self.assertIn("2 entries", self.ok("rate", "import", deck, "--customer", "Demo"))
        deck = self.sheet("prefix,price\n1,3\n")
        self.ok("rate", "import", deck, "--customer", "Demo", "--whole", "--valid-from", "2025-03-01")
        rows = json.loads(self.ok("rate", "list", "--customer", "Demo", "--json"))
        self.assertEqual({("962", 0.01), ("1", 2), ("1", 3), ("962", None)}, {(r["prefix"], r["price"]) for r in rows})
        self.assertEqual({None, "2025-02-28T21:00:00Z"}, {r["valid_from"] for r in rows})
        self.ok("rate", "remove", str(rows[0]["rate_id"]))
        self.refused(1, "rate", "remove", str(rows[0]["rate_id"]))
        self.ok("rate", "import", deck, "--currency", "JOD")
        self.assertIn("JOD", self.ok("rate", "list"))

    def test_a_deck_that_is_wrong_changes_nothing(self) -> None:
        deck = self.sheet("prefix,price\n962,0.01\nx,1\n")
        self.assertIn("line 3", self.refused(1, "rate", "import", deck, "--customer", "Demo"))
        self.assertEqual([], json.loads(self.ok("rate", "list", "--customer", "Demo", "--json")))
        self.assertIn("no customer", self.refused(1, "rate", "import", deck, "--customer", "Nobody"))
        self.refused(2, "rate", "import", deck)
        self.refused(2, "rate", "import", deck, "--currency", "jod")
        self.refused(2, "rate", "import", deck, "--customer", "Demo", "--valid-from", "soon")

    def test_ledger_statement_and_check(self) -> None:
        self.ok("customer", "top-up", "Demo", "5")
        self.ok("customer", "set", "Demo", "balance=3", "charge_on=SUBMIT")
        rows = json.loads(self.ok("customer", "ledger", "Demo", "--json"))
        self.assertEqual([("ADJUST", -12, 3), ("TOPUP", 5, 15), ("TOPUP", 10, 10)], [(r["kind"], r["amount"], r["balance"]) for r in rows])
        lines = self.ok("customer", "statement", "Demo", "--since", "1h").splitlines()
        self.assertEqual(4, len(lines))
        self.assertIn("+03:00,TOPUP,10.000000,", lines[1])
        self.refused(1, "customer", "statement", "Nobody")
        self.assertIn("Every balance", self.ok("money", "check", "--messages"))
        self.query("UPDATE customers SET balance = 4 RETURNING id")
        wrong = self.invoke("money", "check")
        self.assertEqual(1, wrong.exit_code)
        self.assertIn("4.00", wrong.stdout)
        self.assertIn("does not add up", wrong.stderr)
        self.assertEqual([], json.loads(self.ok("money", "margin", "--json")))
