"""Rules of routing over HTTP, beside one of the configuration file."""

from __future__ import annotations

from typing import Any

from tests.channels.http.house import Answer, HouseCase

RULE = {"name": "jordan", "order": 5, "to": ["SMSC1"], "match": {"prefix": ["962"]}, "price": 0.025, "rewrite": {"sender": "Brand"}}


class RoutesTest(HouseCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.token = await self.node.token("root")

    async def ask(self, method: str, path: str, body: Any = None) -> Answer:
        return await self.call(method, f"/api/v1/{path}", body, token=self.token)

    async def test_make_change_and_take_away(self) -> None:
        made = await self.ask("POST", "routes", RULE)
        self.assertEqual(201, made.status, made.json)
        route = made.json["route"]
        self.assertEqual(("jordan", "database", True, 0.025), tuple(route[k] for k in ("name", "source", "enabled", "price")))
        self.assertEqual((["962"], ""), (route["match"]["prefix"], route["match"]["time"]))
        listed = (await self.ask("GET", "routes")).json["routes"]
        self.assertEqual([("jordan", "database"), ("all", "file")], [(r["name"], r["source"]) for r in listed])
        path = f"routes/{route['route_id']}"
        self.assertEqual(route, (await self.ask("GET", path)).json["route"])
        changed = (await self.ask("PUT", path, {"name": "jordan", "reject": "ESME_RINVDSTADR", "enabled": False})).json["route"]
        self.assertEqual((100, [], "ESME_RINVDSTADR", False), tuple(changed[k] for k in ("order", "to", "reject", "enabled")))
        self.assertEqual(200, (await self.ask("DELETE", path)).status)
        self.assertEqual(404, (await self.ask("DELETE", path)).status)
        rows = await self.db.query("SELECT action, actor_id FROM tbl_permission_audit WHERE action LIKE 'ROUTE%%' ORDER BY audit_id")
        self.assertEqual([(action, self.ids["root"]) for action in ("ROUTE_ADD", "ROUTE_SET", "ROUTE_REMOVE")], rows)

    async def test_faults_have_their_paths(self) -> None:
        for body, path in (
            ({**RULE, "to": ["SMSC2"]}, "$.to.1"), ({**RULE, "match": {"prefix": ["96x"]}}, "$.match.prefix.1"),
            ({**RULE, "too": 1}, "$.too"), ({"name": "x"}, "$.to"), ({"to": ["SMSC1"]}, "$.name"), ({**RULE, "price": -1}, "$.price"),
            ({**RULE, "order": 2**40}, "$.order"),
            ({**RULE, "match": {"pattern": "("}}, "$.match.pattern"), ({**RULE, "match": {"time": "25:00-26:00"}}, "$.match.time"),
            ({**RULE, "rewrite": {"source_ton": 256}}, "$.rewrite.source_ton"), ({**RULE, "enabled": "yes"}, "$.enabled"),
            ({**RULE, "weights": [1, 2]}, "$.weights"), ({**RULE, "reject": "ESME_RINVDSTADR"}, "$.to"),
        ):  # fmt: skip
            answer = await self.ask("POST", "routes", body)
            self.assertEqual((422, path), (answer.status, answer.json.get("path")), answer.json)
        answer = await self.ask("POST", "routes", {**RULE, "to": ["SMSC2"], "match": {"prefix": ["96x"]}})
        self.assertIn("$.match.prefix.1", answer.json["detail"])
        self.assertIn('did you mean "SMSC1"', answer.json["detail"])
        self.assertEqual([], await self.db.query("SELECT * FROM tbl_routes"))

    async def test_names(self) -> None:
        self.assertEqual(409, (await self.ask("POST", "routes", {**RULE, "name": "all"})).status)
        number = (await self.ask("POST", "routes", RULE)).json["route"]["route_id"]
        self.assertEqual(409, (await self.ask("POST", "routes", RULE)).status)
        renamed = await self.ask("PUT", f"routes/{number}", {**RULE, "name": "b"})
        self.assertEqual((422, "$.name"), (renamed.status, renamed.json["path"]))

    async def test_a_rule_that_holds_no_more_says_why(self) -> None:
        await self.db.execute("INSERT INTO tbl_routes (name, targets) VALUES ('gone', '[\"SMSC9\"]'), ('all', '[\"SMSC1\"]')")
        await self.db.execute("INSERT INTO tbl_routes (name, targets, strategy) VALUES ('wrong', '[\"SMSC1\"]', 'random')")
        found = {r["name"]: r["problems"] for r in (await self.ask("GET", "routes")).json["routes"] if r["source"] == "database"}
        self.assertIn("no [[smsc]] has the id", found["gone"][0])
        self.assertIn("the configuration file has a rule of this name", found["all"][0])
        self.assertIn("strategy: expected one of", found["wrong"][0])

    async def test_explain(self) -> None:
        await self.ask("POST", "routes", RULE)
        await self.ask("POST", "routes", {"name": "night", "order": 1, "to": ["SMSC1"], "match": {"time": "22:00-06:00 Asia/Amman"}})
        await self.ask("POST", "costs", {"smsc_id": "SMSC1", "mccmnc": "416", "cost": 0.01, "currency": "USD"})
        await self.db.execute("INSERT INTO tbl_networks (prefix, mccmnc) VALUES ('96278', '41603'), ('962', '41601')")
        await self.db.execute("INSERT INTO tbl_ported_numbers (number, mccmnc) VALUES (962788123457, '41677')")
        answer = (await self.ask("GET", "routes/explain?user=anna&to=962788123456&sender=Alpha&at=2025-01-20T12:00:00Z")).json
        names = ("network", "rule", "refused", "rewrite")
        self.assertEqual(("41603", "jordan", None, {"sender": "Brand"}), tuple(answer[k] for k in names))
        self.assertEqual([{"smsc_id": "SMSC1", "state": None, "cost": 0.01, "delivered_share": None}], answer["smscs"])
        self.assertEqual(
            [("night", "database", False, "it is not 22:00-06:00 Asia/Amman"), ("jordan", "database", True, "matched, by prefix 962"),
             ("all", "file", False, "not reached: an earlier rule matched")],
            [(r["rule"], r["source"], r["matched"], r["why"]) for r in answer["rules"]],
        )  # fmt: skip
        ported = (await self.ask("GET", "routes/explain?user=anna&to=962788123457&at=2025-01-20T23:00:00%2B03:00")).json
        self.assertEqual(("41677", "night"), (ported["network"], ported["rule"]))
        await self.accounts.set_user("anna", {"allowed_smsc": ["SMSC2"]})
        refused = (await self.ask("GET", "routes/explain?user=anna&to=44770090012")).json
        self.assertEqual(("NO_ALLOWED_SMSC", []), (refused["refused"]["code"], refused["smscs"]))
        self.assertEqual(404, (await self.ask("GET", "routes/explain?user=nobody&to=962788123456")).status)
        incomplete = await self.ask("GET", "routes/explain?user=anna")
        self.assertEqual((422, "query.to"), (incomplete.status, incomplete.json["path"]))

    async def test_costs(self) -> None:
        given = {"smsc_id": "SMSC1", "prefix": "96278", "cost": "0.0125", "currency": "JOD", "valid_from": "2025-01-01T00:00:00Z"}
        number = (await self.ask("POST", "costs", given)).json["cost_id"]
        await self.ask("POST", "costs", {**given, "smsc_id": "SMSC2"})
        [row] = (await self.ask("GET", "costs?smsc_id=SMSC1")).json["costs"]
        self.assertEqual((number, 0.0125, "2025-01-01T00:00:00Z"), (row["cost_id"], row["cost"], row["valid_from"]))
        for wrong in ({"mccmnc": "416"}, {"cost": -1}, {"currency": "jod"}, {"prefix": "x"}):
            self.assertEqual(422, (await self.ask("POST", "costs", {**given, **wrong})).status, wrong)
        self.assertEqual([200, 404], [(await self.ask("DELETE", f"costs/{number}")).status for _ in range(2)])
