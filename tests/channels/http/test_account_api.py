"""Logins and what an account does with itself, over HTTP and PostgreSQL."""

from __future__ import annotations

from typing import Any

import pyotp

from tests.channels.http.house import PASSWORD, HouseCase, Node


class LoginTest(HouseCase):
    async def test_login_use_refresh_logout(self) -> None:
        first = await self.login("anna")
        self.assertEqual((first.status, first.json["status"], first.json["expires_in"]), (200, "SUCCESS", 900))
        self.assertEqual(first.json["user"]["role"], "SENDER")
        me = await self.call("GET", "/api/v1/users/me", token=first.json["token"])
        self.assertEqual((me.status, me.json["user"]["username"]), (200, "anna"))
        second = await self.call("POST", "/api/refresh", {"refresh_token": first.json["refresh_token"]})
        self.assertEqual(second.status, 200)
        third = await self.call("POST", "/api/refresh", token=second.json["refresh_token"])
        self.assertEqual(third.status, 200)
        fourth = await self.call("POST", "/api/refresh", token=third.json["token"])  # as the specification has it
        self.assertEqual(fourth.status, 200)
        token = fourth.json["token"]
        self.assertEqual((await self.call("POST", "/api/logout", token=token)).status, 200)
        for path, method in (("/api/v1/users/me", "GET"), ("/api/refresh", "POST"), ("/api/logout", "POST")):
            late = await self.call(method, path, token=token)
            self.assertEqual((late.status, late.code), (401, "INVALID_TOKEN"), path)
        late = await self.call("POST", "/api/refresh", token=fourth.json["refresh_token"])
        self.assertEqual(late.status, 401)

    async def test_who_may_not(self) -> None:
        for name, password in (("anna", "Wrong@123"), ("nobody", PASSWORD), ("", PASSWORD), ("anna", "")):
            answer = await self.login(name, password)
            self.assertIn((answer.status, answer.code), ((401, "INVALID_CREDENTIALS"), (422, "INVALID_FIELD")))
        wrong, stranger = await self.login("anna", "Wrong@123"), await self.login("nobody", "Wrong@123")
        self.assertEqual(wrong.json, stranger.json)
        await self.accounts.set_user("anna", {"status": "SUSPENDED"})
        await self.heard()
        self.assertEqual((await self.login("anna")).code, "SUSPENDED")

    async def test_after_ten_wrong_passwords_even_the_right_one_waits(self) -> None:
        for _ in range(10):
            await self.login("anna", "Wrong@123")
        late = await self.login("anna")
        self.assertEqual((late.status, late.code), (429, "TOO_MANY_ATTEMPTS"))
        self.assertEqual(late.headers.getRawHeaders("retry-after"), ["60"])
        self.assertEqual((await self.login("bob")).status, 200)

    async def test_another_node_and_a_restart(self) -> None:
        login = (await self.login("anna")).json
        other = Node(self)
        self.assertEqual((await other.call("GET", "/api/v1/users/me", token=login["token"])).status, 200)
        new = await other.call("POST", "/api/refresh", token=login["refresh_token"])
        self.assertEqual((await self.call("GET", "/api/v1/users/me", token=new.json["token"])).status, 200)
        # One of them was copied: whoever shows the old one again, wherever, ends the session everywhere.
        for node in (self.node, other):
            node.wall.ahead = 11
        await self.db.execute("UPDATE tbl_web_sessions SET rotated_at = rotated_at - interval '11 seconds'")
        self.assertEqual((await self.call("POST", "/api/refresh", token=login["refresh_token"])).status, 401)
        await self.heard()
        self.assertEqual((await self.call("GET", "/api/v1/users/me", token=new.json["token"])).status, 401)
        self.assertEqual((await other.call("POST", "/api/refresh", token=new.json["refresh_token"])).status, 401)
        await self.node.log.drained()
        reused = await self.db.query("SELECT user_id, result FROM tbl_permission_audit WHERE action = 'TOKEN_REUSED'")
        self.assertEqual(reused, [(self.ids["anna"], "FAILURE")])

    async def test_a_node_with_another_secret_is_another_house(self) -> None:
        token = await self.node.token("anna")
        stranger = Node(self, b"y" * 32)
        self.assertEqual((await stranger.call("GET", "/api/v1/users/me", token=token)).status, 401)
        theirs = await stranger.token("anna")
        self.assertEqual((await stranger.call("GET", "/api/v1/users/me", token=theirs)).status, 200)

    async def test_a_new_password_ends_all_logins(self) -> None:
        tokens = [await self.node.token("anna") for _ in range(2)]
        await self.accounts.set_user("anna", {"password_hash": "x"})
        await self.heard()
        for token in tokens:
            self.assertEqual((await self.call("GET", "/api/v1/users/me", token=token)).status, 401)


    async def test_where_i_am_logged_in(self) -> None:
        here, there = [await self.node.token("anna") for _ in range(2)]
        await self.node.token("bill")
        listed = (await self.call("GET", "/api/v1/users/logins", token=here)).json["logins"]
        self.assertEqual([login["current"] for login in listed], [False, True])
        self.assertEqual(listed[0]["ip_address"], "127.0.0.1")
        path = f"/api/v1/users/logins/{listed[0]['login_id']}/end"
        self.assertEqual((await self.call("POST", path, token=await self.node.token("bill"))).status, 404)
        self.assertEqual((await self.call("POST", path, token=here)).status, 200)
        self.assertEqual((await self.call("GET", "/api/v1/users/me", token=there)).status, 401)
        self.assertEqual((await self.call("GET", "/api/v1/users/me", token=here)).status, 200)
        self.assertEqual((await self.call("POST", path, token=here)).status, 404)


class ApiKeyTest(HouseCase):
    async def test_make_and_revoke(self) -> None:
        token = await self.node.token("anna")
        made = await self.call("POST", "/api/v1/users/generate-api-key", token=token)
        self.assertRegex(made.json["api_key"], r"\A[a-z0-9]{48}\Z")
        key = made.json["api_key"]
        self.assertEqual((await self.call("GET", "/api/getBalance", key=key)).status, 200)
        self.assertEqual((await self.call("GET", "/api/getBalance", key=key.upper())).status, 401)
        again = (await self.call("POST", "/api/v1/users/generate-api-key", token=token)).json["api_key"]
        await self.heard()
        self.assertEqual((await self.call("GET", "/api/getBalance", key=key)).status, 401)
        self.assertEqual((await self.call("GET", "/api/getBalance", key=again)).status, 200)
        self.assertEqual((await self.call("POST", "/api/v1/users/revoke-api-key", token=token)).status, 200)
        await self.heard()
        self.assertEqual((await self.call("GET", "/api/getBalance", key=again)).status, 401)

    async def test_tokens_and_keys_are_not_each_other(self) -> None:
        token = await self.node.token("anna")
        key = (await self.call("POST", "/api/v1/users/generate-api-key", token=token)).json["api_key"]
        self.assertEqual((await self.call("GET", "/api/getBalance", token=token)).status, 401)
        for path in ("/api/v1/users/me",):
            self.assertEqual((await self.call("GET", path, key=key)).status, 401)
            self.assertEqual((await self.call("GET", path, basic=("anna", PASSWORD))).status, 401)
            self.assertEqual((await self.call("GET", path)).status, 401)


class TwoFactorTest(HouseCase):
    async def on(self) -> tuple[str, str, list[str]]:
        token = await self.node.token("anna")
        begun = (await self.call("POST", "/api/v1/users/enable-2fa", token=token)).json
        secret = begun["secret"]
        done = await self.call("POST", "/api/v1/users/enable-2fa", {"otp_code": self.code(secret, -1)}, token=token)
        self.assertEqual((done.status, done.json["two_factor_enabled"]), (200, True))
        await self.heard()
        return token, secret, done.json["recovery_codes"]

    async def test_setting_it_up(self) -> None:
        token = await self.node.token("anna")
        begun = (await self.call("POST", "/api/v1/users/enable-2fa", {}, token=token)).json
        self.assertEqual(begun["status"], "PENDING")
        self.assertEqual(pyotp.parse_uri(begun["otpauth_uri"]).secret, begun["secret"])
        self.assertTrue(begun["qr_svg"].startswith("<svg xmlns="))
        self.assertEqual((await self.login("anna")).status, 200)  # not yet
        wrong = await self.call("POST", "/api/v1/users/enable-2fa", {"otp_code": "000000"}, token=token)
        self.assertEqual((wrong.status, wrong.code), (403, "INVALID_OTP"))
        _, secret, codes = await self.on()
        self.assertEqual(len(set(codes)), 10)
        asked = await self.login("anna")
        self.assertEqual((asked.status, asked.code), (401, "OTP_REQUIRED"))
        self.assertEqual((await self.login("anna", otp_code=self.code(secret))).status, 200)
        again = await self.login("anna", otp_code=self.code(secret))
        self.assertEqual((again.status, again.code), (401, "INVALID_OTP"))
        late = await self.call("POST", "/api/v1/users/enable-2fa", token=token)
        self.assertEqual((late.status, late.code), (409, "ALREADY_ENABLED"))

    async def test_nothing_of_it_can_be_read_from_the_database(self) -> None:
        _, secret, codes = await self.on()
        rows = await self.db.query("SELECT two_factor_secret, api_key FROM users")
        rows += await self.db.query("SELECT code_hash FROM tbl_recovery_codes")
        rows += await self.db.query("SELECT details FROM tbl_permission_audit")
        for text in [secret, *codes, *(c.replace("-", "") for c in codes)]:
            self.assertNotIn(text, repr(rows))

    async def test_recovery_codes(self) -> None:
        token, secret, codes = await self.on()
        self.assertEqual((await self.login("anna", otp_code=codes[0])).status, 200)
        self.assertEqual((await self.login("anna", otp_code=codes[0])).status, 401)
        body: dict[str, Any] = {"otp_code": self.code(secret)}
        new = await self.call("POST", "/api/v1/users/recovery-codes", body, token=token)
        self.assertEqual(new.status, 200)
        self.assertEqual((await self.login("anna", otp_code=codes[1])).status, 401)
        self.assertEqual((await self.login("anna", otp_code=new.json["recovery_codes"][1])).status, 200)

    async def test_switching_it_off_needs_password_and_code(self) -> None:
        token, secret, _ = await self.on()
        path, code = "/api/v1/users/disable-2fa", self.code(secret)
        for body, status in (
            ({}, 422), ({"password": PASSWORD}, 422), ({"otp_code": code}, 422),
            ({"password": "Wrong@123", "otp_code": code}, 403), ({"password": PASSWORD, "otp_code": "000000"}, 403),
        ):  # fmt: skip
            self.assertEqual((await self.call("POST", path, body, token=token)).status, status, body)
        self.assertEqual((await self.call("POST", path, {"password": PASSWORD, "otp_code": code}, token=token)).status, 200)
        await self.heard()
        self.assertEqual((await self.login("anna")).status, 200)
        self.assertEqual(await self.db.query("SELECT * FROM tbl_recovery_codes"), [])
