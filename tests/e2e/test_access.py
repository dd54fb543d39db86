"""One account on every way in, against a running gateway: log in, send, be seen, be thrown out, and leave no secret behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from pathlib import Path
from typing import Any

import pyotp
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.smpp import commands, statuses
from tests.support.esme import Closed, Esme
from tests.support.gateway import Gateway, _output, eventually

PASSWORD = "Correct-Horse-7"
OTHER = "Battery.Staple.8"
ADMIN = "Tr0ub4dor-and-3"


class Access(SynchronousTestCase):
    def setUp(self) -> None:
        self.gateway = Gateway()
        self.addCleanup(self.gateway.stop)
        self.gateway.simulate("SMSC1")
        self.gateway.write_config()
        self.cli("customer", "add", "Demo", "--balance", "100")
        self.cli("user", "add", "admin", "--password", ADMIN, "--customer", "Demo", "--role", "ADMIN")
        self.cli("user", "add", "ahmad", "--password", PASSWORD, "--customer", "Demo", "--sender", "MyCompany")

    def cli(self, *arguments: str, gateway: Gateway | None = None) -> str:
        return _output((gateway or self.gateway).administer(*arguments))

    def http(self, method: str, path: str, body: Any = None, token: str = "", gateway: Gateway | None = None) -> tuple[int, Any]:
        arguments = ["-X", method]
        if token:
            arguments += ["-H", f"Authorization: Bearer {token}"]
        if body is not None:
            arguments += ["-H", "Content-Type: application/json", "-d", body if isinstance(body, str) else json.dumps(body)]
        return (gateway or self.gateway).curl(path, *arguments)

    def login(self, name: str, password: str, gateway: Gateway | None = None, **more: str) -> dict[str, Any]:
        status, answer = self.http("POST", "/api/login", {"username": name, "password": password, **more}, gateway=gateway)
        self.assertEqual(status, 200, answer)
        return dict(answer)

    def bulk(self, key: str, text: str = "Hello") -> tuple[int, Any]:
        body = {"sender": "MyCompany", "message": text, "recipients": [{"msisdn": "962788123456"}]}
        return self.http("POST", "/api/sendBulk", body, key)

    def test_from_login_to_the_door(self) -> None:
        self.gateway.start()
        login = self.login("ahmad", PASSWORD)
        token, admin = login["token"], self.login("admin", ADMIN)["token"]
        _, made = self.http("POST", "/api/v1/users/generate-api-key", token=token)
        status, sent = self.bulk(made["api_key"])
        self.assertEqual((status, sent["accepted"]), (200, 1))
        self.gateway.wait_empty()

        def delivered() -> bool:
            _, figures = self.http("GET", f"/api/v1/analytics/campaigns/{sent['campaign_id']}", token=token)
            return bool(figures["total"] == 1 and figures["queued"] == 0)

        eventually(delivered, "in the figures")
        _, usage = self.http("GET", "/api/v1/analytics/usage", token=token)
        self.assertEqual((usage["messages_sent"], usage["history"][0]["username"]), (1, "ahmad"))

        with Esme(self.gateway.smpp_port) as esme:
            self.assertEqual(esme.bind("ahmad", PASSWORD[:8]), 0)
            _, listed = self.http("GET", "/api/v1/sessions/smpp", token=token)
            [session] = listed["sessions"]
            self.assertEqual((session["system_id"], session["bind_type"], session["status"]), ("ahmad", "TRANSCEIVER", "BOUND"))
            self.assertEqual(self.http("POST", f"/api/v1/sessions/disconnect/{session['session_id']}", token=token)[0], 200)
            self.ends(esme)
        eventually(lambda: self.http("GET", "/api/v1/sessions/smpp", token=token)[1]["sessions"] == [], "nobody bound")

        with Esme(self.gateway.smpp_port) as esme:
            self.assertEqual(esme.bind("ahmad", PASSWORD[:8]), 0)
            path = f"/api/v1/users/{login['user']['user_id']}"
            self.assertEqual(self.http("PATCH", path, {"status": "SUSPENDED"}, admin)[0], 200)
            self.ends(esme)
        self.assertEqual(self.bulk(made["api_key"])[1]["code"], "SUSPENDED")
        self.assertEqual(self.http("GET", "/api/v1/users/me", token=token)[0], 401)
        with Esme(self.gateway.smpp_port) as esme:
            self.assertNotEqual(esme.bind("ahmad", PASSWORD[:8]), 0)
        self.assertEqual(self.http("PATCH", path, {"status": "ACTIVE", "role": "VIEWER"}, admin)[0], 200)
        eventually(lambda: self.bulk(made["api_key"])[1].get("code") == "NOT_PERMITTED", "a viewer sends nothing")
        with Esme(self.gateway.smpp_port) as esme:
            self.assertNotEqual(esme.bind("ahmad", PASSWORD[:8]), 0)

        def heard() -> set[str]:
            _, page = self.http("GET", f"/api/v1/audit/events?limit=500&user_id={login['user']['user_id']}", token=admin)
            return {f"{event['action']} {event['result']}" for event in page["events"]}

        wanted = {"LOGIN_WEB SUCCESS", "API_KEY_NEW SUCCESS", "MESSAGES_SUBMITTED SUCCESS", "BIND_SMPP SUCCESS", "BIND_SMPP FAILURE",
                  "SESSION_DISCONNECT SUCCESS", "SESSION_END SUCCESS", "USER_SET SUCCESS", "AUTH_API_KEY FAILURE"}  # fmt: skip
        eventually(lambda: wanted <= heard(), "every event in the audit")
        rows = json.loads(self.cli("audit", "requests", "--endpoint", "/api/sendBulk", "--user", "ahmad", "--json"))
        self.assertIn((200, "API_KEY", "127.0.0.1"), {(r["response_status"], r["auth_type"], r["ip_address"]) for r in rows})

    def ends(self, esme: Esme) -> None:
        with self.assertRaises(Closed):
            esme.socket.settimeout(20)
            while True:
                esme.receive()

    def test_tokens_over_nodes_restarts_and_new_keys(self) -> None:
        self.gateway.start()
        second = Gateway(beside=self.gateway, node="second")
        self.addCleanup(second.stop)
        second.write_config()
        state = second.folder / "state"
        state.mkdir(mode=0o700)
        shutil.copy2(self.gateway.folder / "state" / "secret.key", state / "secret.key")
        second.start()
        login = self.login("ahmad", PASSWORD)
        me = "/api/v1/users/me"
        self.assertEqual(self.http("GET", me, token=login["token"], gateway=second)[0], 200)
        status, new = self.http("POST", "/api/refresh", {"refresh_token": login["refresh_token"]}, gateway=second)
        self.assertEqual(status, 200)
        self.assertEqual(self.http("GET", me, token=new["token"])[0], 200)
        self.cli("key", "rotate")
        self.assertEqual(self.http("GET", me, token=new["token"])[0], 200)
        after = self.login("ahmad", PASSWORD, second)
        self.assertEqual(self.http("GET", me, token=after["token"])[0], 200)
        self.gateway.terminate()
        self.gateway.start()
        status, newer = self.http("POST", "/api/refresh", token=new["refresh_token"])
        self.assertEqual(status, 200)
        self.assertEqual(self.http("POST", "/api/logout", token=newer["token"])[0], 200)
        self.assertEqual(self.http("GET", me, token=newer["token"])[0], 401)
        eventually(lambda: self.http("GET", me, token=newer["token"], gateway=second)[0] == 401, "out on the other node too")
        self.gateway.terminate()
        self.gateway.start()
        for token in (newer["token"], newer["refresh_token"], new["refresh_token"]):
            self.assertEqual(self.http("POST", "/api/refresh", token=token)[0], 401)
        self.cli("key", "rotate", "--now")
        for gateway in (self.gateway, second):
            eventually(lambda g=gateway: self.http("GET", me, token=after["token"], gateway=g)[0] == 401, "the old key is worth nothing")
        self.assertEqual(self.http("GET", me, token=self.login("ahmad", PASSWORD)["token"], gateway=second)[0], 200)

    def test_no_secret_is_left_anywhere(self) -> None:
        """A run through all channels, with mistakes; then whatever was written is searched."""
        self.gateway.start()
        secrets = {PASSWORD, OTHER, ADMIN, "Wrong-Guess-1", "Wrong-Guess-2", "0123456789abcdef" * 3}
        admin = self.login("admin", ADMIN)
        login = self.login("ahmad", PASSWORD)
        secrets |= {admin["token"], admin["refresh_token"], login["token"], login["refresh_token"]}
        token = login["token"]
        key = self.http("POST", "/api/v1/users/generate-api-key", token=token)[1]["api_key"]
        secrets.add(key)
        self.assertEqual(self.bulk(key, "Your code is MESSAGE-BODY-4711")[0], 200)
        for header in (f"Bearer {'0123456789abcdef' * 3}", "Basic " + "YWhtYWQ6V3JvbmctR3Vlc3MtMQ=="):  # ahmad:Wrong-Guess-1
            self.gateway.curl("/api/getBalance", "-H", f"Authorization: {header}")
        secrets.add("YWhtYWQ6V3JvbmctR3Vlc3MtMQ==")
        self.gateway.curl("/api/getBalance", "-u", f"ahmad:{PASSWORD}")
        self.http("POST", "/api/login", {"username": "ahmad", "password": "Wrong-Guess-2"})
        self.http("POST", "/api/login", f'{{"username": "ahmad", "password": "{PASSWORD}", "password": "{OTHER}"}}')
        self.http("POST", "/api/login", f'{{"username": "ahmad", "password": "{PASSWORD}"')
        self.http("POST", "/api/login", {"username": "ahmad", "passwort": PASSWORD})
        with Esme(self.gateway.smpp_port) as esme:
            self.assertNotEqual(esme.bind("ahmad", "Wrong-Gu"), 0)
        with Esme(self.gateway.smpp_port) as esme:
            self.assertEqual(esme.bind("ahmad", PASSWORD[:8]), 0)
            self.assertEqual(esme.submitted("962788123457", b"SMPP-BODY-4712")[0], statuses.ESME_ROK)
            esme.request(commands.UNBIND)
        secrets |= {"Wrong-Gu", PASSWORD[:8]}
        begun = self.http("POST", "/api/v1/users/enable-2fa", token=token)[1]
        totp = pyotp.TOTP(begun["secret"])
        codes = self.http("POST", "/api/v1/users/enable-2fa", {"otp_code": totp.now()}, token)[1]["recovery_codes"]
        secrets |= {begun["secret"], *codes, *(code.replace("-", "") for code in codes)}
        eventually(lambda: self.http("POST", "/api/login", {"username": "ahmad", "password": PASSWORD})[0] == 401, "asked for a code")
        refreshed = self.login("ahmad", PASSWORD, otp_code=codes[0])
        secrets |= {refreshed["token"], refreshed["refresh_token"]}
        self.http("POST", "/api/v1/users", {"username": "new", "password": OTHER}, admin["token"])
        self.http("POST", "/api/v1/users", {"username": "new2", "password": "short-1"}, admin["token"])
        secrets.add("short-1")
        secret = self.http("GET", "/api/v1/callbacks/secret", token=token)[1]["secret"]
        secrets |= {secret, secret.removeprefix("whsec_")}
        self.cli("user", "set", "new", f"password={OTHER}x")
        cli_key = self.cli("api-key", "new", "new")
        secrets.add(cli_key)
        self.cli("key", "rotate")
        self.gateway.wait_empty()
        self.gateway.terminate()

        log = self.gateway.process.log.read_text(errors="replace")
        self.assertEqual(re.findall(r"Traceback|Unhandled", log), [])
        for body in ("MESSAGE-BODY-4711", "SMPP-BODY-4712"):
            self.assertNotIn(body, log)
        written = {"the gateway's log": log, "the database": self.dump()}
        state = self.gateway.folder / "state"
        written |= {str(path.relative_to(state)): path.read_bytes().decode("latin-1") for path in state.rglob("*") if path.is_file()}
        found = [(where, text) for where, what in written.items() for text in secrets if text in what]
        self.assertEqual(found, [])
        self.private(state)

    def dump(self) -> str:
        """Every row of every table, as text."""
        tables = self.gateway.query("SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                                    " WHERE c.relkind = 'r' AND n.nspname = 'public'")  # fmt: skip
        self.assertGreater(len(tables), 20)
        return "\n".join(
            str(row[0]) for (table,) in tables for row in self.gateway.query(f"SELECT to_jsonb(t)::text FROM {table} t")  # noqa: S608
        )

    def private(self, folder: Path) -> None:
        """Nobody else on the machine reads what is in state_dir."""
        for path in [folder, *folder.rglob("*")]:
            mode = stat.S_IMODE(os.lstat(path).st_mode)
            if path.is_file():
                self.assertEqual(mode & 0o077, 0, (path, oct(mode)))
            elif path == folder:
                self.assertEqual(mode & 0o022, 0, (path, oct(mode)))
