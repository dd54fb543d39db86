"""A running gateway against its own customers and strangers: rights, races, addresses, lock-outs, over HTTP and SMPP."""

from __future__ import annotations

import atexit
import base64
import http.client
import json
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pyotp
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.smpp import statuses
from tests.support.esme import Esme
from tests.support.gateway import PASSWORD, Gateway, _output, eventually

BULK = {"sender": "S", "message": "Hello", "recipients": [{"msisdn": "962788123456"}]}


def at_once(n: int, ask: Callable[[int], Any]) -> list[Any]:
    with ThreadPoolExecutor(n) as threads:
        return list(threads.map(ask, range(n)))


class Attacks(SynchronousTestCase):
    _shared: ClassVar[Gateway | None] = None

    def setUp(self) -> None:
        if Attacks._shared is None:
            gateway = Attacks._shared = Gateway()
            atexit.register(gateway.stop)
            gateway.simulate("SMSC1")
            gateway.accounts({
                "admin": ("--role", "ADMIN"), "boss": ("--role", "CUSTOMER_ADMIN"), "ahmad": (), "guessed": (), "factor": (), "copied": (),
                "few": ("--max-per-day", "20"), "office": ("--allowed-ip", "127.0.0.9"), "hook": (),
            }, keys=("ahmad", "few", "office", "hook"))  # fmt: skip
            _output(gateway.administer("customer", "add", "Other", "--balance", "10"))
            _output(gateway.administer("user", "add", "stranger", "--password", PASSWORD, "--customer", "Other"))
            config = gateway.config.read_text()
            gateway.config.write_text(config.replace("allow_private_addresses = true", "allow_private_addresses = false"))
            gateway.start()
        assert Attacks._shared is not None
        self.gateway = Attacks._shared

    def ask(self, method: str, path: str, body: Any = None, token: str = "", source: str = "127.0.0.1", **headers: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.http_port, timeout=60, source_address=(source, 0))
        try:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            if token:
                sent["Authorization"] = f"Bearer {token}"
            if body is not None:
                sent["Content-Type"] = "application/json"
            connection.request(method, path, json.dumps(body) if body is not None else None, sent)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def login(self, name: str, **more: str) -> dict[str, Any]:
        status, answer = self.ask("POST", "/api/login", {"username": name, "password": PASSWORD, **more})
        self.assertEqual(status, 200, answer)
        return dict(answer)

    def test_nobody_raises_himself(self) -> None:
        boss = self.login("boss")["token"]
        ids = dict(self.gateway.query("SELECT username, id FROM users"))
        other, own = self.gateway.query("SELECT id FROM customers ORDER BY name DESC")
        new = {"username": "made", "password": "a good one"}
        for method, path, body, expected in (
            ("POST", "/api/v1/users", {**new, "role": "ADMIN"}, 403),
            ("POST", "/api/v1/users", {**new, "customer_id": other[0]}, 422),
            ("POST", "/api/v1/users", {**new, "max_msg_per_day": 0}, 403),
            ("POST", "/api/v1/users", {**new, "password_hash": "x"}, 422),
            ("PATCH", f"/api/v1/users/{ids['boss']}", {"role": "ADMIN"}, 403),
            ("PATCH", f"/api/v1/users/{ids['boss']}", {"max_tps": 0}, 403),
            ("PATCH", f"/api/v1/users/{ids['ahmad']}", {"customer_id": other[0]}, 422),
            ("PATCH", f"/api/v1/users/{ids['admin']}", {"password": "a good one"}, 403),
            ("POST", f"/api/v1/users/{ids['admin']}/generate-api-key", None, 403),
            ("POST", f"/api/v1/users/{ids['admin']}/disable-2fa", None, 403),
            ("POST", f"/api/v1/users/{ids['stranger']}/generate-api-key", None, 404),
            ("PATCH", f"/api/v1/users/{ids['stranger']}", {"status": "SUSPENDED"}, 404),
            ("PATCH", f"/api/v1/customers/{own[0]}", {"credit_limit": 10**6}, 403),
            ("POST", f"/api/v1/customers/{own[0]}/top-up", {"amount": 10**6}, 403),
        ):
            self.assertEqual(self.ask(method, path, body, boss)[0], expected, (method, path, body))
        self.assertEqual(self.gateway.query("SELECT count(*) FROM users WHERE username = 'made' OR role = 'ADMIN'"), [(1,)])

    def test_races(self) -> None:
        """The same thing many times at once has the effect of once."""
        key = self.gateway.keys["ahmad"]
        answers = at_once(16, lambda _: self.ask("POST", "/api/sendBulk", BULK, key, Idempotency_Key="one"))
        self.assertEqual(len({(status, answer["campaign_id"]) for status, answer in answers}), 1, answers)
        answers = at_once(32, lambda n: self.ask("POST", "/api/sendBulk", BULK, self.gateway.keys["few"]))
        self.assertEqual(Counter(status for status, _ in answers), {200: 20, 429: 12})

        refresh = self.login("copied")["refresh_token"]
        answers = at_once(8, lambda _: self.ask("POST", "/api/refresh", {"refresh_token": refresh}))
        self.assertEqual(Counter(status for status, _ in answers), {200: 1, 401: 7})

        token = self.login("factor")["token"]
        totp = pyotp.TOTP(self.ask("POST", "/api/v1/users/enable-2fa", token=token)[1]["secret"])
        code = {"otp_code": totp.now()}
        answers = at_once(4, lambda _: self.ask("POST", "/api/v1/users/enable-2fa", code, token))
        self.assertEqual([status for status, _ in answers].count(200), 1, answers)
        begun = at_once(4, lambda _: self.ask("POST", "/api/v1/users/enable-2fa", token=token)[0])
        self.assertEqual(set(begun), {409})  # nobody switches it off by beginning anew
        credentials = {"username": "factor", "password": PASSWORD}
        eventually(lambda: self.ask("POST", "/api/login", credentials)[1]["code"] == "OTP_REQUIRED", "asked for a code")
        later = {**credentials, "otp_code": totp.at(int(time.time()) + 30)}
        answers = at_once(4, lambda _: self.ask("POST", "/api/login", later))
        self.assertEqual([status for status, _ in answers].count(200), 1, answers)

    def test_addresses_that_are_allowed(self) -> None:
        key = self.gateway.keys["office"]
        for source, status in (("127.0.0.1", 403), ("127.0.0.9", 200)):
            self.assertEqual(self.ask("GET", "/api/getBalance", token=key, source=source)[0], status)
            self.assertEqual(self.ask("GET", "/api/getBalance", token=key, source=source, X_Forwarded_For="127.0.0.9")[0], status)
            token = self.login("office")["token"]
            self.assertEqual(self.ask("GET", "/api/v1/users/me", token=token, source=source)[0], status)
        for source, status in (("127.0.0.1", statuses.ESME_RBINDFAIL), ("127.0.0.9", statuses.ESME_ROK)):
            with Esme(self.gateway.smpp_port, source=source) as esme:
                self.assertEqual(esme.bind("office", PASSWORD[:8]), status, source)

    def test_a_customer_is_not_locked_out_by_guessing(self) -> None:
        def basic(source: str, password: str) -> int:
            authorization = "Basic " + base64.b64encode(f"guessed:{password}".encode()).decode()
            return self.ask("GET", "/api/getBalance", source=source, Authorization=authorization)[0]

        self.assertEqual(basic("127.0.0.1", PASSWORD), 200)
        found = Counter(basic(f"127.0.2.{n}", f"guess {n}") for n in range(1, 70))
        self.assertEqual(found, {401: 50, 429: 19})
        self.assertEqual(basic("127.0.3.1", PASSWORD), 429)  # a stranger does not learn that it is right
        self.assertEqual(basic("127.0.0.1", PASSWORD), 200)
        with Esme(self.gateway.smpp_port) as esme:
            self.assertEqual(esme.bind("guessed", PASSWORD[:8]), statuses.ESME_ROK)
        with Esme(self.gateway.smpp_port, source="127.0.3.2") as esme:
            self.assertNotEqual(esme.bind("guessed", PASSWORD[:8]), statuses.ESME_ROK)

    def test_names_that_look_alike(self) -> None:
        admin = self.login("admin")["token"]
        twins = ("ahmad ", "\u00a0ahmad", "ahmad\u200b", "\uff41hmad", "ahmad\u00ad", "ah\u202emad", "\U0001d41ahmad", "e\u0301", "ah:mad")
        for name in twins:
            status, problem = self.ask("POST", "/api/v1/users", {"username": name, "password": "a good one"}, admin)
            self.assertEqual((status, problem["path"]), (422, "$.username"), repr(name))

    def test_callbacks_do_not_reach_us(self) -> None:
        """Not by number, not by name, not by another way to write the number."""
        key, port = self.gateway.keys["hook"], self.gateway.http_port
        for host in ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "0"):
            status, answer = self.ask("POST", "/api/sendBulk", {**BULK, "dlr_url": f"http://{host}:{port}/api/dlrCallback"}, key)
            self.assertIn(status, (200, 422), answer)
        self.assertEqual(self.ask("POST", "/api/sendBulk", {**BULK, "dlr_url": "http://example.com:5432/"}, key)[0], 422)
        sql = "SELECT count(*), count(*) FILTER (WHERE status = 'PARKED' AND last_error LIKE '%%private%%') FROM tbl_callback_outbox"
        eventually(lambda: (lambda n, parked: n == parked > 1)(*self.gateway.query(sql)[0]), "parked, all of them")
        self.assertEqual(self.gateway.query("SELECT count(*) FROM tbl_permission_audit WHERE action = 'DLR_CALLBACK'"), [(0,)])
