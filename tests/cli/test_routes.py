from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.cli.test_main import Case

SMSCS = """
[[smsc]]
id = "A"
host = "127.0.0.1"
port = 2776
[[smsc]]
id = "B"
host = "127.0.0.1"
port = 2777
[[route]]
name = "all"
to = ["A", "B"]
"""


class RouteCase(Case):
    def setUp(self) -> None:
        super().setUp()
        head = self.config.read_text().partition("[[smsc]]")[0]
        self.config.write_text(head + SMSCS)
        self.ok("customer", "add", "Demo")
        self.ok("user", "add", "ahmad", "--password", "Password@123", "--customer", "Demo")

    def rules(self) -> dict[str, dict[str, Any]]:
        return {r["name"]: r for r in json.loads(self.ok("route", "list", "--json"))}


class RouteCommands(RouteCase):
    def test_add_change_and_remove(self) -> None:
        self.ok("route", "add", "zain", "order=10", "to=A,B", "strategy=weighted", "weights=3,1", "match.prefix=96279,96277", "price=0.025",
                "rewrite.sender=Brand", "rewrite.source_ton=-1", "next_after_receipt=yes")  # fmt: skip
        rule = self.rules()["zain"]
        self.assertEqual(
            (["A", "B"], [3, 1], ["96279", "96277"], 0.025, "Brand", True, "database"),
            (rule["to"], rule["weights"], rule["match"]["prefix"], rule["price"], rule["rewrite"]["sender"], rule["next_after_receipt"],
             rule["source"]),
        )  # fmt: skip
        self.ok("route", "set", "zain", "weights=", "strategy=failover", "match.prefix=", "match.user=ahmad", "enabled=no", "order=-5")
        rule = self.rules()["zain"]
        self.assertEqual(([], False, -5, 0.025), tuple(rule[k] for k in ("weights", "enabled", "order", "price")))
        self.assertEqual(([], ["ahmad"]), (rule["match"]["prefix"], rule["match"]["user"]))
        self.assertIn("user=ahmad", self.ok("route", "list"))
        self.ok("route", "remove", "zain")
        self.assertEqual(["all"], list(self.rules()))
        rows = self.query("SELECT action FROM tbl_permission_audit WHERE starts_with(action, 'ROUTE') ORDER BY audit_id")
        self.assertEqual([("ROUTE_ADD",), ("ROUTE_SET",), ("ROUTE_REMOVE",)], rows)

    def test_what_is_wrong_is_said_with_its_path(self) -> None:
        for assignments, words in (
            (("to=A", "match.prefix=96x"), "match.prefix.1: expected digits"), (("to=A", "nothing=1"), "expected FIELD=VALUE"),
            (("to=A", "order=soon"), "order: expected a whole number"), (("strategy=failover",), "to: expected at least one SMSC"),
            (("to=A", "match.pattern=("), "match.pattern: expected a regular expression"),
            (("to=A", "price=-1"), "price: expected an amount"),
            (("to=A", "enabled=perhaps"), "enabled: expected yes or no"), (("to=A", "order=99999999999"), "order: expected"),
            (("reject=ESME_NOTHING",), "reject: expected the name of an error"), (("to",), "to: expected FIELD=VALUE"),
        ):  # fmt: skip
            self.assertIn(words, self.refused(2, "route", "add", "r", *assignments))
        self.assertIn('to.1: no [[smsc]] has the id "C"', self.refused(1, "route", "add", "r", "to=C"))
        self.assertIn("the configuration file has a rule all", self.refused(1, "route", "add", "all", "to=A"))
        self.ok("route", "add", "r", "to=A")
        self.assertIn("there is a rule r already", self.refused(1, "route", "add", "r", "to=A"))
        self.assertIn("to: expected none beside reject", self.refused(2, "route", "set", "r", "reject=ESME_RINVDSTADR"))
        self.assertIn("there is no rule x", self.refused(1, "route", "set", "x", "to=A"))
        self.assertIn("is in the configuration file", self.refused(1, "route", "remove", "all"))
        self.assertIn("there is no rule x", self.refused(1, "route", "remove", "x"))
        self.assertEqual(["A"], self.rules()["r"]["to"])

    def test_explain(self) -> None:
        otp = ("match.pattern=(?i)code", "match.tags=otp", "price=0.03", "rewrite.sender=Brand")
        self.ok("route", "add", "otp", "order=1", "to=B,A", *otp)
        self.ok("route", "add", "spam", "order=2", "reject=ESME_RINVDSTADR", "match.sender=Casino")
        out = self.ok("route", "explain", "--user", "ahmad", "--to", "+962788123456", "--text", "your code", "--tag", "otp")
        for words in ("network unknown", "otp, failover", "1. B", "2. A", "Price      0.03", "sender Brand", "not reached"):
            self.assertIn(words, out)
        out = self.ok("route", "explain", "--user", "ahmad", "--to", "962788123456", "--sender", "Casino")
        self.assertIn("REJECTED_BY_ROUTE by rule spam", out)
        self.assertIn("no tag of otp", out)
        found = json.loads(self.ok("route", "explain", "--user", "ahmad", "--to", "962788123456", "--at", "2025-01-20T12:00", "--json"))
        self.assertEqual(("all", [False, False, True]), (found["rule"], [r["matched"] for r in found["rules"]]))
        self.assertEqual((found["rules"][0]["why"]), "no tag of otp")
        self.ok("user", "set", "ahmad", "tags=vip,otp")
        out = self.ok("route", "explain", "--user", "ahmad", "--to", "962788123456", "--text", "a code")
        self.assertIn("otp, failover", out)
        self.assertIn("there is no user nobody", self.refused(1, "route", "explain", "--user", "nobody", "--to", "962788123456"))
        self.assertIn("--to", self.refused(2, "route", "explain", "--user", "ahmad", "--to", "abc"))


class CostCommands(RouteCase):
    def test_costs(self) -> None:
        self.ok("cost", "set", "A", "0.0125", "--network", "416-01")
        self.ok("cost", "set", "A", "0.02", "--prefix", "96278", "--currency", "JOD", "--from", "2025-01-01")
        rows = json.loads(self.ok("cost", "list", "--smsc", "A", "--json"))
        self.assertEqual([("", "96278", 0.02, "JOD", "2025-01-01T00:00:00Z"), ("41601", "", 0.0125, "USD", None)],
                         [(r["mccmnc"], r["prefix"], r["cost"], r["currency"], r["valid_from"]) for r in rows])  # fmt: skip
        self.ok("cost", "remove", str(rows[0]["cost_id"]))
        self.assertIn("there is no cost", self.refused(1, "cost", "remove", str(rows[0]["cost_id"])))
        self.assertIn("there is no [[smsc]] C", self.refused(1, "cost", "set", "C", "1"))
        for wrong in (("x",), ("-1",), ("1", "--currency", "usd"), ("1", "--network", "41"), ("1", "--network", "416", "--prefix", "9")):
            self.refused(2, "cost", "set", "A", *wrong)


class NumberCommands(RouteCase):
    def file(self, text: str) -> str:
        path = Path(self.mktemp()).absolute()
        path.write_text(text)
        return str(path)

    def test_import(self) -> None:
        networks = self.file("prefix,mccmnc,name,country\n96278,41603,Umniah,Jordan\n96279,41601,Zain,Jordan\n")
        self.assertIn("networks: 2 read, 2 new or changed, 0 wrong.", self.ok("numbers", "import", networks))
        self.assertIn("0 new or changed, 0 removed", self.ok("numbers", "import", networks, "--replace"))
        ported = self.file("number,mccmnc\n962788123456,41601\nx,1\n" + "y,1\n" * 30)
        result = self.invoke("numbers", "import", ported)
        self.assertEqual(1, result.exit_code)
        out = result.output
        for words in (f"{ported}:3: number: expected an international number", f"{ported}:22:", "... and 11 more", "ported: 1 read, 1 new"):
            self.assertIn(words, out)
        self.assertNotIn(f"{ported}:23:", out)
        self.assertEqual(["41601", "41603"], [self.ok("numbers", "network", n).strip() for n in ("962788123456", "+962788123457")])
        self.assertIn("is not known", self.refused(1, "numbers", "network", "4477"))

    def test_files_that_are_none_of_these(self) -> None:
        self.assertIn("the first line must name the columns", self.refused(1, "numbers", "import", self.file("a,b\n1,2\n")))
        self.assertIn("the first line must name the columns", self.refused(1, "numbers", "import", self.file("")))
        self.assertIn("nothing was changed", self.refused(1, "numbers", "import", "--strict", self.file("number,mccmnc\nx,1\n")))
        self.refused(2, "numbers", "import", "/nonexistent.csv")
