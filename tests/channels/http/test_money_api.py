"""Ledger, statement and rate decks over HTTP, against a real database."""

from __future__ import annotations

import csv
from decimal import Decimal
from typing import Any

from tests.channels.http.house import Answer, HouseCase


class MoneyApiTest(HouseCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.tokens = {name: await self.node.token(name) for name in ("root", "alice")}

    async def as_(self, name: str, method: str, path: str, body: Any = None) -> Answer:
        return await self.call(method, path, body, token=self.tokens[name])

    async def ask(self, method: str, path: str, body: Any = None, who: str = "root") -> Answer:
        return await self.as_(who, method, f"/api/v1/customers/{self.customers['Alpha']}/{path}", body)

    async def test_ledger_by_pages(self) -> None:
        for n in range(4):
            await self.ask("POST", "top-up", {"amount": n + 1})
        await self.ask("POST", "top-up", {"amount": "-0.5"})
        first = (await self.ask("GET", "ledger?limit=2", who="alice")).json
        shown = [(e["kind"], e["amount"], e["balance"]) for e in first["entries"]]
        self.assertEqual([("ADJUST", -0.5, 109.5), ("TOPUP", 4.0, 110.0)], shown)
        rest = (await self.ask("GET", f"ledger?limit=50&cursor={first['next_cursor']}", who="alice")).json
        self.assertEqual([3.0, 2.0, 1.0, 100.0], [e["amount"] for e in rest["entries"]])
        self.assertNotIn("next_cursor", rest)
        self.assertEqual([], (await self.ask("GET", "ledger?kind=CAPTURE")).json["entries"])
        for wrong in ("ledger?kind=x", "ledger?cursor=x", "ledger?from=x", "ledger?x=1", "statement.csv?from=yesterday"):
            self.assertEqual(422, (await self.ask("GET", wrong)).status, wrong)

    async def test_statement(self) -> None:
        await self.ask("POST", "top-up", {"amount": "1.25"})
        await self.db.execute(
            "INSERT INTO tbl_ledger (customer_id, kind, amount, reference) VALUES (%s, 'ADJUST', -1, '=HYPERLINK(1)')",
            (self.customers["Alpha"],)
        )
        answer = await self.ask("GET", "statement.csv", who="alice")
        self.assertEqual(200, answer.status)
        rows = list(csv.DictReader(answer.json.decode("utf-8-sig").splitlines()))
        self.assertEqual([Decimal(100), Decimal("101.25"), Decimal("100.25")], [Decimal(r["balance"]) for r in rows])
        self.assertEqual(("-1.000000", "'=HYPERLINK(1)"), (rows[-1]["amount"], rows[-1]["reference"]))
        self.assertTrue(rows[0]["time"].endswith("+03:00"), rows[0])  # Amman
        empty = await self.ask("GET", "statement.csv?to=2020-01-01T00:00:00Z")
        self.assertEqual(1, len(empty.json.decode().splitlines()))

    async def test_rates(self) -> None:
        given = {"rates": [{"prefix": "962", "price": "0.0125"}, {"mccmnc": "41601", "price": 0.5, "valid_from": "2025-03-01T00:00:00Z"}]}
        self.assertEqual(2, (await self.ask("POST", "rates", given)).json["entries"])
        whole = {"rates": [{"prefix": "1", "price": None}], "whole": True, "valid_from": "2026-01-01T00:00:00Z"}
        self.assertEqual(3, (await self.ask("POST", "rates", whole)).json["entries"])
        page = (await self.ask("GET", "rates?limit=3", who="alice")).json
        self.assertEqual([("962", None, 0.0125), (None, "41601", 0.5)], [(r["prefix"], r["mccmnc"], r["price"]) for r in page["rates"][:2]])
        rest = (await self.ask("GET", f"rates?cursor={page['next_cursor']}")).json["rates"]
        self.assertEqual(2, len(rest))
        number = page["rates"][0]["rate_id"]
        self.assertEqual([200, 404], [(await self.ask("DELETE", f"rates/{number}")).status for _ in range(2)])
        beta = f"/api/v1/customers/{self.customers['Beta']}/rates/{rest[0]['rate_id']}"
        self.assertEqual(404, (await self.as_("root", "DELETE", beta)).status)
        for wrong in (
            {}, {"rates": []}, {"rates": [{}]}, {"rates": [{"price": -1}]}, {"rates": [{"price": 1, "prefix": "x"}]}, {"rates": 1}, [],
            {"rates": [{"price": 1, "prefix": "1", "mccmnc": "416"}]}, {"rates": [{"price": 1}, {"price": 2}]},
            {"rates": [{"price": 1}], "whole": 1}, {"rates": [{"price": 1}], "currency": "JOD"}, {"rates": [{"price": 10_000_000}]},
        ):  # fmt: skip
            self.assertEqual(422, (await self.ask("POST", "rates", wrong)).status, wrong)
        self.assertEqual(422, (await self.as_("root", "POST", "/api/v1/rates", {"rates": [{"price": 1}]})).status)
        self.assertEqual(200, (await self.as_("root", "POST", "/api/v1/rates", {"currency": "JOD", "rates": [{"price": 1}]})).status)
        [rate] = (await self.as_("root", "GET", "/api/v1/rates")).json["rates"]
        self.assertEqual(("JOD", 1.0, None), (rate["currency"], rate["price"], rate["valid_from"]))

    async def test_policy(self) -> None:
        path = f"/api/v1/customers/{self.customers['Alpha']}"
        self.assertEqual("ACCEPT", (await self.as_("root", "GET", path)).json["customer"]["charge_on"])
        self.assertEqual("DELIVERY", (await self.as_("root", "PATCH", path, {"charge_on": "DELIVERY"})).json["customer"]["charge_on"])
        self.assertEqual(422, (await self.as_("root", "PATCH", path, {"charge_on": "NEVER"})).status)

    async def test_what_else_is_set_of_a_customer(self) -> None:
        path = f"/api/v1/customers/{self.customers['Alpha']}"
        given = {"weight": 2.5, "campaign_approval": True, "default_country": "JO"}
        customer = (await self.as_("root", "PATCH", path, given)).json["customer"]
        self.assertEqual(given, {name: customer[name] for name in given})
        for wrong in ({"weight": 0}, {"weight": 10_001}, {"default_country": "XX"}, {"campaign_approval": "yes"}):
            self.assertEqual(422, (await self.as_("root", "PATCH", path, wrong)).status, wrong)
        self.assertEqual("", (await self.as_("root", "PATCH", path, {"default_country": ""})).json["customer"]["default_country"])

    async def test_a_top_up_says_what_it_is_for(self) -> None:
        path = f"/api/v1/customers/{self.customers['Alpha']}"
        self.assertEqual(200, (await self.as_("root", "POST", f"{path}/top-up", {"amount": 5, "reference": "Invoice 7"})).status)
        entries = (await self.as_("root", "GET", f"{path}/ledger?kind=TOPUP")).json["entries"]
        self.assertEqual("Invoice 7", entries[0]["reference"])
        self.assertEqual(422, (await self.as_("root", "POST", f"{path}/top-up", {"amount": 5, "reference": "x" * 65})).status)
