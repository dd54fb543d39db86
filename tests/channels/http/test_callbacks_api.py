from __future__ import annotations

import base64
from typing import Any

from protei_bulk.access.secrets import load_or_create
from protei_bulk.callbacks.signing import account_secret
from tests.channels.http.house import PASSWORD, HouseCase


class CallbacksApiTest(HouseCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.node.channel.callbacks._started = False  # what waits here stays where it is
        await self.db.execute("DELETE FROM tbl_callback_outbox")
        self.key = await self.node.auth.generate_api_key(None, self.ids["anna"])

    async def add(self, name: str, status: str = "PARKED", message_id: str = "MSG-1") -> int:
        [(number,)] = await self.db.query(
            "INSERT INTO tbl_callback_outbox (user_id, message_id, url, payload, status, attempts, last_error, next_attempt_at)"
            " VALUES (%s, %s, 'https://shop.example/dlr', '{}', %s, 4, 'HTTP 500', now() + interval '1 hour') RETURNING callback_id",
            (self.ids[name], message_id, status),
        )
        return int(number)

    async def get(self, path: str, **given: Any) -> Any:
        answer = await self.call("GET", path, **(given or {"key": self.key}))
        self.assertEqual(answer.status, 200, answer.json)
        return answer.json

    async def test_list(self) -> None:
        first, second = await self.add("anna"), await self.add("anna", "PENDING", "MSG-2")
        await self.add("bill")
        found = await self.get("/api/v1/callbacks")
        self.assertEqual([c["callback_id"] for c in found["callbacks"]], [second, first])
        one = found["callbacks"][1]
        self.assertEqual(
            {k: one[k] for k in ("webhook_id", "message_id", "url", "status", "attempts", "last_error", "next_attempt_at", "delivered_at")},
            {
                "webhook_id": f"dlr_{first}", "message_id": "MSG-1", "url": "https://shop.example/dlr", "status": "PARKED", "attempts": 4,
                "last_error": "HTTP 500", "next_attempt_at": None, "delivered_at": None,
            },
        )  # fmt: skip
        self.assertEqual([c["status"] for c in (await self.get("/api/v1/callbacks?status=PARKED"))["callbacks"]], ["PARKED"])
        self.assertEqual(len((await self.get("/api/v1/callbacks?message_id=MSG-2"))["callbacks"]), 1)

    async def test_pages(self) -> None:
        numbers = [await self.add("anna") for _ in range(5)]
        seen, cursor = [], ""
        while True:
            page = await self.get(f"/api/v1/callbacks?limit=2{cursor}")
            seen += [c["callback_id"] for c in page["callbacks"]]
            if "next_cursor" not in page:
                break
            cursor = f"&cursor={page['next_cursor']}"
        self.assertEqual(seen, numbers[::-1])

    async def test_by_key_basic_and_token(self) -> None:
        await self.add("anna")
        for given in ({"key": self.key}, {"basic": ("anna", PASSWORD)}, {"token": await self.node.token("anna")}):
            self.assertEqual(len((await self.get("/api/v1/callbacks", **given))["callbacks"]), 1)
        for given in ({"key": "a.b.c"}, {"key": "wrong"}, {}):
            self.assertEqual((await self.call("GET", "/api/v1/callbacks", **given)).status, 401)

    async def test_bad_questions(self) -> None:
        for query in (
            "status=parked", "limit=0", "limit=501", "limit=x", "cursor=!!!", "cursor=abc", "user_id=-1", "nonsense=1",
            "limit=1&limit=2", "status=%00", "message_id=%00", "message_id=" + "x" * 65, "status=%ff",
        ):  # fmt: skip
            answer = await self.call("GET", "/api/v1/callbacks?" + query, key=self.key)
            self.assertEqual((answer.status, answer.code), (422, "INVALID_FIELD"), query)

    async def test_replay(self) -> None:
        number = await self.add("anna")
        answer = await self.call("POST", f"/api/v1/callbacks/{number}/replay", key=self.key)
        self.assertEqual((answer.status, answer.json["callback_id"]), (202, number))
        rows = await self.db.query("SELECT status, attempts, next_attempt_at <= now() FROM tbl_callback_outbox")
        self.assertEqual(rows, [("PENDING", 0, True)])
        answer = await self.call("POST", f"/api/v1/callbacks/{number}/replay", key=self.key)
        self.assertEqual((answer.status, answer.code), (409, "NOT_PARKED"))
        for other in (await self.add("bill"), 10**18, 0, "x", 10**30):
            answer = await self.call("POST", f"/api/v1/callbacks/{other}/replay", key=self.key)
            self.assertEqual((answer.status, answer.code), (404, "NOT_FOUND"), other)

    async def test_secret_and_its_change(self) -> None:
        first = await self.get("/api/v1/callbacks/secret")
        self.assertEqual((first["version"], first["previous_secret"], first["previous_until"]), (1, None, None))
        self.assertTrue(first["secret"].startswith("whsec_"))
        self.assertEqual(len(base64.b64decode(first["secret"].removeprefix("whsec_"))), 32)
        self.assertEqual(await self.get("/api/v1/callbacks/secret"), first)
        second = (await self.call("POST", "/api/v1/callbacks/secret/rotate", {"overlap_seconds": 3600}, key=self.key)).json
        self.assertEqual((second["version"], second["previous_secret"]), (2, first["secret"]))
        self.assertNotEqual(second["secret"], first["secret"])
        third = (await self.call("POST", "/api/v1/callbacks/secret/rotate", {"overlap_seconds": 0}, key=self.key)).json
        self.assertEqual((third["version"], third["previous_secret"]), (3, None))
        state_dir = self.node.channel._settings.node.state_dir
        expected = account_secret(load_or_create(state_dir), self.ids["anna"], 3)
        self.assertEqual(third["secret"], "whsec_" + base64.b64encode(expected).decode())
        others = await self.get("/api/v1/callbacks/secret", token=await self.node.token("bill"))
        self.assertNotEqual(others["secret"], first["secret"])
        await self.node.log.drained()
        events = [e[0] for e in await self.db.query("SELECT action FROM tbl_permission_audit WHERE user_id = %s", (self.ids["anna"],))]
        self.assertEqual((events.count("CALLBACK_SECRET_ROTATED"), events.count("CALLBACK_SECRET_SHOWN")), (2, 2))

    async def test_bad_changes(self) -> None:
        for body in ({"overlap_seconds": -1}, {"overlap_seconds": 10**7}, {"overlap_seconds": "1"}, {"nonsense": 1}, [], "x"):
            answer = await self.call("POST", "/api/v1/callbacks/secret/rotate", body, key=self.key)
            self.assertEqual(answer.status, 422, body)
        self.assertEqual(await self.db.query("SELECT * FROM tbl_callback_secrets"), [])
