"""Users and customers over HTTP, and who may do what to whom."""

from __future__ import annotations

from typing import Any

from protei_bulk.access import fields
from protei_bulk.access.passwords import check_password
from protei_bulk.channels.http.users_api import FIELDS
from tests.channels.http.house import PASSWORD, Answer, HouseCase


class UsersTest(HouseCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.tokens = {name: await self.node.token(name) for name in ("root", "alice", "anna", "axel")}

    async def as_(self, name: str, method: str, path: str, body: Any = None) -> Answer:
        return await self.call(method, path, body, token=self.tokens[name])

    async def test_what_may_be_set_here_may_be_set_there(self) -> None:
        self.assertEqual(set(FIELDS), set(fields.USER_FIELDS))

    async def test_a_user_from_beginning_to_end(self) -> None:
        made = await self.as_("root", "POST", "/api/v1/users", {
            "username": "sara", "password": "a good one", "customer_id": self.customers["Beta"], "max_tps": 5,
            "allowed_sender_ids": ["Beta*", "Beta*"], "allowed_ips": ["10.0.0.0/8", "::1"], "email": "sara@beta.example",
        })  # fmt: skip
        self.assertEqual((made.status, made.json["user"]["customer"]), (201, "Beta"), made.json)
        user = made.json["user"]
        self.assertEqual(
            (user["role"], user["max_tps"], user["allowed_sender_ids"], user["allowed_ips"], user["timezone"], user["has_api_key"]),
            ("SENDER", 5, ["Beta*"], ["10.0.0.0/8", "::1"], "Asia/Amman", False),
        )
        self.assertNotIn("hash", repr(made.json))
        path = f"/api/v1/users/{user['user_id']}"
        self.assertEqual((await self.login("sara", "a good one")).status, 200)
        changed = await self.as_("root", "PATCH", path, {"status": "SUSPENDED", "email": None, "password": "a better one"})
        self.assertEqual((changed.status, changed.json["user"]["status"], changed.json["user"]["email"]), (200, "SUSPENDED", None))
        await self.heard()
        self.assertEqual((await self.login("sara", "a better one")).code, "SUSPENDED")
        key = (await self.as_("root", "POST", f"{path}/generate-api-key")).json["api_key"]
        self.assertEqual((await self.call("GET", "/api/getBalance", key=key)).code, "SUSPENDED")
        self.assertEqual((await self.as_("root", "POST", f"{path}/revoke-api-key")).status, 200)
        gone = await self.as_("root", "DELETE", path)
        self.assertEqual((gone.status, gone.json["kept"]), (200, False))
        for method in ("GET", "DELETE", "PATCH"):
            body = {"max_tps": 1} if method == "PATCH" else None
            self.assertEqual((await self.as_("root", method, path, body)).status, 404)
        await self.heard()
        self.assertEqual((await self.login("sara", "a better one")).code, "INVALID_CREDENTIALS")
        rows = await self.db.query(
            "SELECT action, actor_id, host(ip_address), details FROM tbl_permission_audit WHERE user_id = %s AND actor_id = %s"
            " ORDER BY audit_id", (user["user_id"], self.ids["root"]),
        )  # fmt: skip
        self.assertEqual([r[0] for r in rows], ["USER_ADD", "USER_SET", "API_KEY_NEW", "API_KEY_REVOKE", "USER_DELETE"])
        self.assertEqual({r[1:3] for r in rows}, {(self.ids["root"], "127.0.0.1")})
        self.assertEqual(rows[1][3]["before"], {"status": "ACTIVE", "email": "sara@beta.example"})
        self.assertEqual(rows[1][3]["password"], "set")

    async def test_one_with_traffic_stays_in_the_books(self) -> None:
        anna = self.ids["anna"]
        await self.db.execute(
            "INSERT INTO campaigns (campaign_id, user_id, customer_id, submission_channel) VALUES ('CAMP-1', %s, %s, 'WEB')",
            (anna, self.customers["Alpha"]),
        )
        key = await self.node.auth.generate_api_key(None, anna)
        gone = await self.as_("alice", "DELETE", f"/api/v1/users/{anna}")
        self.assertEqual((gone.status, gone.json["kept"]), (200, True))
        await self.heard()
        self.assertEqual((await self.login("anna")).code, "INVALID_CREDENTIALS")
        self.assertEqual((await self.call("GET", "/api/v1/users/me", token=self.tokens["anna"])).status, 401)
        self.assertEqual((await self.call("GET", "/api/getBalance", key=key)).status, 401)
        self.assertEqual(await self.db.query("SELECT status, api_key FROM users WHERE id = %s", (anna,)), [("DELETED", None)])
        again = await self.as_("root", "POST", "/api/v1/users", {"username": "anna", "password": PASSWORD})
        self.assertEqual((again.status, again.code), (409, "NAME_TAKEN"))

    async def test_pages(self) -> None:
        seen: list[str] = []
        cursor = ""
        for _ in range(4):
            page = (await self.as_("root", "GET", f"/api/v1/users?limit=2{cursor}")).json
            seen += [user["username"] for user in page["users"]]
            cursor = f"&cursor={page['next_cursor']}" if "next_cursor" in page else ""
        self.assertEqual(seen, ["root", "alice", "anna", "axel", "bob", "bill", "beth"])
        self.assertEqual(cursor, "")
        for query, names in (
            ("role=VIEWER", ["axel", "beth"]), ("search=AL", ["alice"]), ("status=SUSPENDED", []),
            (f"customer_id={self.customers['Beta']}&role=SENDER", ["bill"]),
        ):  # fmt: skip
            page = (await self.as_("root", "GET", f"/api/v1/users?{query}")).json
            self.assertEqual([user["username"] for user in page["users"]], names, query)

    async def test_queries_that_are_none(self) -> None:
        for query in (
            "limit=0", "limit=501", "limit=x", "limit=1&limit=2", "cursor=x", "cursor=WyJhIl0", "role=KING", "nonsense=1", "limit=",
            "cursor=Wy0xXQ", "search=", "search=%00", "search=%ff", "customer_id=9223372036854775808", "limit=1e1", "cursor=WzEsMl0",
        ):  # fmt: skip
            answer = await self.as_("root", "GET", f"/api/v1/users?{query}")
            self.assertEqual((answer.status, answer.code), (422, "INVALID_FIELD"), query)

    async def test_bodies_that_are_none(self) -> None:
        good = {"username": "sara", "password": "a good one"}
        for change in (
            {"username": ""}, {"username": "a:b"}, {"username": "a b"}, {"username": "x" * 101}, {"username": None}, {"username": 5},
            {"password": "short"}, {"password": "password"}, {"password": "sara-1234"}, {"password": None}, {"role": "KING"},
            {"max_tps": -1}, {"max_tps": 2**31}, {"max_tps": "5"}, {"max_tps": True}, {"max_tps": 1.5}, {"allowed_ips": ["office"]},
            {"allowed_ips": "10.0.0.1"}, {"allowed_sender_ids": ["x" * 22]}, {"timezone": "Mars/Olympus"}, {"timezone": "../../x"},
            {"email": "x"}, {"dlr_callback_url": "ftp://x"}, {"user_id": 7}, {"two_factor_enabled": True}, {"can_use_smpp": "yes"},
            {"customer_id": 999_999}, {"customer_id": 0}, {"username": "a\0b"}, {"smpp_alphabet": "klingon"},
        ):  # fmt: skip
            answer = await self.as_("root", "POST", "/api/v1/users", {**good, **change})
            self.assertEqual((answer.status, answer.code), (422, "INVALID_FIELD"), change)
            if next(iter(change.values())) not in ("", 5):
                self.assertNotIn("a good one", repr(answer.json))
        for body in ({}, [], "x", 5, None, {"username": "sara"}, {"password": "a good one"}):
            self.assertIn((await self.as_("root", "POST", "/api/v1/users", body)).status, (415, 422), body)
        self.assertEqual((await self.as_("root", "PATCH", f"/api/v1/users/{self.ids['anna']}", {})).status, 422)

    async def test_a_customers_administrator_stays_within(self) -> None:
        anna, bill, root = (f"/api/v1/users/{self.ids[name]}" for name in ("anna", "bill", "root"))
        self.assertEqual((await self.as_("alice", "PATCH", anna, {"allowed_ips": ["10.0.0.1"], "role": "VIEWER"})).status, 200)
        for method, body in (("GET", None), ("PATCH", {"status": "SUSPENDED"}), ("DELETE", None)):
            self.assertEqual((await self.as_("alice", method, bill, body)).status, 404)
            self.assertEqual((await self.as_("alice", method, root, body)).status, 404)
        for field, value in (
            ("max_tps", 9), ("max_msg_per_day", 0), ("allowed_sender_ids", ["Bank"]), ("bind_type", "BOTH"), ("can_use_http", True),
        ):  # fmt: skip
            answer = await self.as_("alice", "PATCH", anna, {field: value})
            self.assertEqual((answer.status, answer.json["path"]), (403, f"$.{field}"))
        self.assertEqual((await self.as_("alice", "PATCH", anna, {"role": "ADMIN"})).status, 403)
        body = {"username": "amal", "password": "a good one", "customer_id": self.customers["Beta"]}
        self.assertEqual((await self.as_("alice", "POST", "/api/v1/users", body)).status, 422)

    async def test_nobody_gives_more_than_he_has(self) -> None:
        limits = {"allowed_sender_ids": ["Alpha"], "max_tps": 7, "max_msg_per_day": 70, "bind_type": "HTTP", "can_use_api_bulk": False}
        self.assertEqual((await self.as_("root", "PATCH", f"/api/v1/users/{self.ids['alice']}", limits)).status, 200)
        await self.heard()
        made = (await self.as_("alice", "POST", "/api/v1/users", {"username": "amal", "password": "a good one"})).json["user"]
        self.assertEqual({name: made[name] for name in limits}, limits)
        self.assertEqual(made["customer_id"], self.customers["Alpha"])

    async def test_an_administrator_of_the_platform_is_above(self) -> None:
        await self.accounts.set_user("anna", {"role": "ADMIN"})
        path = f"/api/v1/users/{self.ids['anna']}"
        self.assertEqual((await self.as_("alice", "GET", path)).status, 200)
        for method, where, body in (
            ("PATCH", path, {"status": "SUSPENDED"}), ("DELETE", path, None), ("POST", f"{path}/generate-api-key", None),
            ("POST", f"{path}/disable-2fa", None), ("POST", f"{path}/revoke-api-key", None),
        ):  # fmt: skip
            self.assertEqual((await self.as_("alice", method, where, body)).status, 403, where)

    async def test_not_against_oneself(self) -> None:
        path = f"/api/v1/users/{self.ids['root']}"
        for body in ({"role": "VIEWER"}, {"status": "SUSPENDED"}, {"password": "a good one"}):
            self.assertEqual((await self.as_("root", "PATCH", path, body)).status, 403)
        self.assertEqual((await self.as_("root", "DELETE", path)).status, 403)
        self.assertEqual((await self.as_("root", "POST", f"{path}/disable-2fa")).status, 403)
        self.assertEqual((await self.as_("root", "PATCH", path, {"timezone": "Europe/Berlin"})).status, 200)

    async def test_ones_own_password(self) -> None:
        path = "/api/v1/users/change-password"
        for body, status in (
            ({"password": "Wrong@123", "new_password": "a good one"}, 403), ({"password": PASSWORD, "new_password": "anna12345"}, 422),
            ({"password": PASSWORD, "new_password": "short"}, 422), ({"password": PASSWORD}, 422),
        ):  # fmt: skip
            self.assertEqual((await self.as_("anna", "POST", path, body)).status, status, body)
        answer = await self.as_("anna", "POST", path, {"password": PASSWORD, "new_password": "a good one"})
        self.assertEqual(answer.status, 200)
        await self.heard()
        self.assertEqual((await self.as_("anna", "GET", "/api/v1/users/me")).status, 401)
        self.assertEqual((await self.login("anna", "a good one")).status, 200)
        [(short,)] = await self.db.query("SELECT smpp_password_hash FROM users WHERE username = 'anna'")
        self.assertTrue(check_password("a good o", short))

    async def test_two_factor_of_somebody_who_has_lost_it(self) -> None:
        secret = (await self.as_("anna", "POST", "/api/v1/users/enable-2fa")).json["secret"]
        await self.as_("anna", "POST", "/api/v1/users/enable-2fa", {"otp_code": self.code(secret)})
        await self.heard()
        self.assertEqual((await self.login("anna")).code, "OTP_REQUIRED")
        off = await self.as_("alice", "POST", f"/api/v1/users/{self.ids['anna']}/disable-2fa")
        self.assertEqual(off.json["two_factor_enabled"], False)
        await self.heard()
        self.assertEqual((await self.login("anna")).status, 200)


class CustomersTest(HouseCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.token = await self.node.token("root")

    async def ask(self, method: str, path: str, body: Any = None) -> Answer:
        return await self.call(method, f"/api/v1/customers{path}", body, token=self.token)

    async def test_a_customer_from_beginning_to_end(self) -> None:
        made = await self.ask("POST", "", {"name": "Gamma", "balance": "10.000001", "credit_limit": 5, "currency": "EUR"})
        self.assertEqual((made.status, made.json["customer"]["balance"]), (201, 10.000001))
        path = f"/{made.json['customer']['customer_id']}"
        self.assertEqual((await self.ask("POST", "", {"name": "Gamma"})).code, "NAME_TAKEN")
        self.assertEqual((await self.ask("PATCH", path, {"name": "Beta"})).code, "NAME_TAKEN")
        changed = await self.ask("PATCH", path, {"name": "Delta", "status": "SUSPENDED", "timezone": "Europe/Berlin"})
        self.assertEqual((changed.json["customer"]["name"], changed.json["customer"]["status"]), ("Delta", "SUSPENDED"))
        self.assertEqual((await self.ask("POST", f"{path}/top-up", {"amount": "-0.5"})).json["balance"], 9.500001)
        self.assertEqual((await self.ask("POST", f"{path}/top-up", {"amount": 999_999_999_999})).code, "INVALID_FIELD")
        self.assertEqual((await self.ask("DELETE", path)).json["kept"], True)  # it had money
        for method, where, body in (("GET", path, None), ("PATCH", path, {"name": "x"}), ("DELETE", path, None),
                                    ("POST", f"{path}/top-up", {"amount": 1})):  # fmt: skip
            self.assertEqual((await self.ask(method, where, body)).status, 404)
        rows = await self.db.query(
            "SELECT action, details->>'name', details->'before'->>'name' FROM tbl_permission_audit"
            " WHERE actor_id = %s AND action LIKE 'CUSTOMER%%' ORDER BY audit_id", (self.ids["root"],),
        )  # fmt: skip
        self.assertEqual(
            rows,
            [("CUSTOMER_ADD", "Gamma", None), ("CUSTOMER_SET", "Delta", "Gamma"), ("CUSTOMER_TOP_UP", None, None),
             ("CUSTOMER_DELETE", "Delta", None)],
        )  # fmt: skip

    async def test_suspended_with_all_its_users(self) -> None:
        self.assertEqual((await self.ask("PATCH", f"/{self.customers['Beta']}", {"status": "SUSPENDED"})).status, 200)
        await self.heard()
        self.assertEqual((await self.login("bill")).code, "SUSPENDED")
        self.assertEqual((await self.ask("PATCH", f"/{self.customers['Platform']}", {"status": "SUSPENDED"})).status, 403)

    async def test_deleted_with_users_only_when_they_are(self) -> None:
        path = f"/{self.customers['Beta']}"
        self.assertEqual((await self.ask("DELETE", path)).code, "STILL_IN_USE")
        await self.db.execute(
            "INSERT INTO campaigns (campaign_id, user_id, customer_id, submission_channel) VALUES ('CAMP-1', %s, %s, 'WEB')",
            (self.ids["bill"], self.customers["Beta"]),
        )
        for name in ("bob", "bill", "beth"):
            self.assertEqual((await self.call("DELETE", f"/api/v1/users/{self.ids[name]}", token=self.token)).status, 200)
        self.assertEqual((await self.ask("DELETE", path)).json["kept"], True)
        self.assertEqual((await self.ask("GET", path)).status, 404)
        self.assertEqual((await self.ask("POST", "", {"name": "Beta"})).code, "NAME_TAKEN")
        body = {"username": "new", "password": "a good one", "customer_id": self.customers["Beta"]}
        self.assertEqual((await self.call("POST", "/api/v1/users", body, token=self.token)).status, 422)

    async def test_lists(self) -> None:
        first = (await self.ask("GET", "?limit=2")).json
        self.assertEqual([c["name"] for c in first["customers"]], ["Platform", "Alpha"])
        rest = (await self.ask("GET", f"?limit=2&cursor={first['next_cursor']}")).json
        self.assertEqual(([c["name"] for c in rest["customers"]], rest.get("next_cursor")), (["Beta"], None))
        self.assertEqual((await self.ask("GET", "?search=alp")).json["customers"][0]["users"], 3)

    async def test_what_is_no_customer(self) -> None:
        for body in (
            {"name": ""}, {"name": " x"}, {"name": "x "}, {"name": "x" * 101}, {"name": 5}, {}, {"name": "x", "balance": "1e3"},
            {"name": "x", "balance": True}, {"name": "x", "credit_limit": -1}, {"name": "x", "currency": "EURO"}, {"name": "a\nb"},
            {"name": "x", "currency": "eur"}, {"name": "x", "balance": "0.0000001"}, {"name": "x", "balance": 1e15},
            {"name": "x", "nonsense": 1}, {"name": "x", "customer_id": 1},
        ):  # fmt: skip
            self.assertEqual((await self.ask("POST", "", body)).status, 422, body)
        for path in ("/0", "/999999", "/99999999999999999999", "/9223372036854775807"):
            self.assertEqual((await self.ask("GET", path)).status, 404, path)
        self.assertEqual((await self.ask("GET", "/x")).status, 404)
