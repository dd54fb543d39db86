from __future__ import annotations

import base64
from ipaddress import ip_network

from attrs import evolve

from protei_bulk.access.results import AuthResult, refused
from protei_bulk.settings import HttpLimits
from protei_bulk.store.pool_connection import DatabaseUnavailable
from tests.channels.http.support import AHMAD, NOW, HttpCase


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


class BalanceTest(HttpCase):
    def test_as_the_specification_has_it(self) -> None:
        answer = self.call("GET", "/api/getBalance")
        self.assertEqual(answer.status, 200)
        self.assertEqual(
            answer.json,
            {
                "status": "SUCCESS", "balance": 25000.50, "credit_limit": 50000.00, "currency": "JOD",
                "messages_sent_today": 12500, "messages_remaining_today": 487500, "daily_quota": 500000,
            },
        )  # fmt: skip

    def test_an_account_that_went_meanwhile(self) -> None:
        self.balances.found = None
        self.problem(self.call("GET", "/api/getBalance"), 404, "ACCOUNT_NOT_FOUND")


class CredentialsTest(HttpCase):
    def test_basic(self) -> None:
        self.assertEqual(self.call("GET", "/api/getBalance", headers=basic("ahmad", "Password@123")).status, 200)
        self.assertEqual(self.audit.requests[-1]["auth_type"], "BASIC_AUTH")
        self.assertEqual(self.audit.requests[-1]["key_hash"], "")

    def test_a_password_with_colons_and_letters_beyond_ascii(self) -> None:
        self.auth.passwords["ahmad", "a:ü:b"] = AuthResult(True, AHMAD)
        self.assertEqual(self.call("GET", "/api/getBalance", headers=basic("ahmad", "a:ü:b")).status, 200)

    def test_wrong_or_none(self) -> None:
        for headers in (
            {}, {"Authorization": "Bearer other"}, {"Authorization": "Bearer "}, {"Authorization": "Digest x"},
            {"Authorization": "Basic !!!"}, {"Authorization": "Basic /w=="}, basic("ahmad", "wrong"),
        ):  # fmt: skip
            answer = self.call("GET", "/api/getBalance", key=None, headers=headers)
            self.problem(answer, 401, "INVALID_CREDENTIALS")
            challenges = answer.header("www-authenticate") or ""
            self.assertIn('Bearer realm="protei-bulk"', challenges)
            self.assertIn('Basic realm="protei-bulk"', challenges)

    def test_refusals_of_a_known_account(self) -> None:
        for code, status in (
            ("NOT_PERMITTED", 403), ("IP_NOT_ALLOWED", 403), ("SUSPENDED", 403), ("TOO_MANY_ATTEMPTS", 429), ("BUSY", 503),
        ):  # fmt: skip
            self.auth.keys["key"] = refused(code, "No.")
            self.problem(self.call("GET", "/api/getBalance"), status, code)

    def test_the_database_is_away(self) -> None:
        self.auth.broken = DatabaseUnavailable("gone")
        answer = self.call("GET", "/api/getBalance")
        self.problem(answer, 503, "DATABASE_UNAVAILABLE")
        self.assertEqual(answer.header("retry-after"), "5")

    def test_a_fault_of_ours_tells_nothing(self) -> None:
        self.auth.broken = ZeroDivisionError("secret detail")
        answer = self.call("GET", "/api/getBalance")
        self.problem(answer, 500, "INTERNAL_ERROR")
        self.assertNotIn(b"secret", answer.body)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_audit_holds_no_key(self) -> None:
        self.call("GET", "/api/getBalance", headers={"User-Agent": "curl"})
        [row] = self.audit.requests
        self.assertEqual(row["endpoint"], "/api/getBalance")
        self.assertEqual((row["user_id"], row["auth_type"], row["status"], row["user_agent"]), (7, "API_KEY", 200, "curl"))
        self.assertEqual(len(row["key_hash"]), 64)


class PathsTest(HttpCase):
    def test_unknown(self) -> None:
        for path in ("/", "/api", "/api/sendbulk", "/api/sendBulk/x"):
            self.problem(self.call("GET", path), 404, "NOT_FOUND")

    def test_method(self) -> None:
        answer = self.call("GET", "/api/sendBulk")
        self.problem(answer, 405, "METHOD_NOT_ALLOWED")
        self.assertEqual(answer.header("allow"), "POST")
        self.assertIn("GET", self.call("DELETE", "/api/getBalance").header("allow") or "")

    def test_health(self) -> None:
        self.assertEqual(self.call("GET", "/healthz", key=None).status, 200)
        self.assertEqual(self.call("GET", "/readyz", key=None).status, 200)
        self.health = {"ready": False, "reasons": ["no connection to PostgreSQL"]}
        self.assertEqual(self.call("GET", "/healthz", key=None).status, 200)
        answer = self.call("GET", "/readyz", key=None)
        self.assertEqual((answer.status, answer.json["reasons"]), (503, ["no connection to PostgreSQL"]))


class BodyTest(HttpCase):
    def test_not_json(self) -> None:
        for data in (b"", b"{", b'{"a": NaN}', b"\xff", b"[" * 100_000):
            self.problem(self.call("POST", "/api/getDLR", data=data), 400, "MALFORMED_JSON")

    def test_content_type(self) -> None:
        for kind in ("application/x-www-form-urlencoded", "text/plain", "", "application/json; charset=latin-1"):
            answer = self.call("POST", "/api/getDLR", data=b"{}", headers={"Content-Type": kind})
            self.problem(answer, 415, "UNSUPPORTED_MEDIA_TYPE")
        answer = self.call("POST", "/api/getDLR", data=b"{}", headers={"Content-Encoding": "gzip"})
        self.problem(answer, 415, "UNSUPPORTED_MEDIA_TYPE")
        for kind in ("application/json; charset=UTF-8", 'Application/JSON;charset="utf-8"', "application/problem+json"):
            answer = self.call("POST", "/api/getDLR", data=b"{}", headers={"Content-Type": kind})
            self.assertEqual(answer.status, 422)

    def test_too_large(self) -> None:
        self.configure(max_body=1024)
        self.problem(self.call("POST", "/api/getDLR", data=b" " * 1025), 413, "BODY_TOO_LARGE")
        self.assertEqual(self.call("POST", "/api/getDLR", data=b"{}" + b" " * 1022).status, 422)


class LimitTest(HttpCase):
    def test_burst_of_a_key(self) -> None:
        self.configure(limits=HttpLimits(60, 10, 0))
        for _ in range(10):
            self.assertEqual(self.call("GET", "/api/getBalance").status, 200)
        answer = self.call("GET", "/api/getBalance")
        self.problem(answer, 429, "TOO_MANY_REQUESTS")
        self.assertEqual(answer.header("retry-after"), "1")
        self.clock.advance(1)
        self.assertEqual(self.call("GET", "/api/getBalance").status, 200)

    def test_hour_of_an_address(self) -> None:
        self.configure(limits=HttpLimits(0, 0, 5))
        for _ in range(5):
            self.assertEqual(self.call("GET", "/api/getBalance", key="wrong").status, 401)
        answer = self.call("GET", "/api/getBalance")
        self.problem(answer, 429, "TOO_MANY_REQUESTS")
        self.assertEqual(answer.header("retry-after"), "3600")
        self.assertEqual(self.call("GET", "/healthz").status, 200)

    def test_other_limits_while_running(self) -> None:
        self.configure(limits=HttpLimits(0, 0, 1))
        self.assertEqual(self.call("GET", "/api/getBalance").status, 200)
        self.resource.change(evolve(self.settings, limits=HttpLimits(0, 0, 1), max_body=1024))
        self.assertEqual(self.call("GET", "/api/getBalance").status, 429)
        self.resource.change(evolve(self.settings, limits=HttpLimits(0, 0, 2), max_body=1024))
        self.problem(self.call("POST", "/api/getDLR", data=b" " * 1025), 413, "BODY_TOO_LARGE")

    def test_addresses_behind_a_proxy(self) -> None:
        self.configure(limits=HttpLimits(0, 0, 1), trusted_proxies=(ip_network("127.0.0.0/8"),))
        for address in ("192.0.2.1", "192.0.2.2"):
            headers = {"X-Forwarded-For": f"10.9.9.9, {address}"}
            self.assertEqual(self.call("GET", "/api/getBalance", headers=headers).status, 200)
            self.assertEqual(self.call("GET", "/api/getBalance", headers=headers).status, 429)
        self.assertEqual(self.auth.addresses, ["192.0.2.1", "192.0.2.2"])


class ReceiptTest(HttpCase):
    body = {"smsc_id": "SMSC1", "message_id": "a1", "status": "delivrd", "error_code": "000"}

    def test_taken(self) -> None:
        answer = self.call("POST", "/api/dlrCallback", self.body, key=None)
        self.assertEqual(answer.status, 202)
        self.assertEqual(self.receipts, [("SMSC1", "a1", "DELIVRD", "000")])
        self.assertEqual(self.audit.events[0][:2], ("DLR_CALLBACK", True))

    def test_unknown_smsc(self) -> None:
        answer = self.call("POST", "/api/dlrCallback", {**self.body, "smsc_id": "X"}, key=None)
        self.problem(answer, 404, "SMSC_NOT_FOUND")

    def test_faults(self) -> None:
        for change in ({"status": "FINE"}, {"message_id": ""}, {"smsc_id": None}, {"error_code": 5}):
            answer = self.call("POST", "/api/dlrCallback", {**self.body, **change}, key=None)
            self.problem(answer, 422, "INVALID_FIELD")
        self.assertEqual(self.receipts, [])

    def test_not_for_everybody(self) -> None:
        through_a_proxy = {"X-Forwarded-For": "192.0.2.1"}
        answer = self.call("POST", "/api/dlrCallback", self.body, headers=through_a_proxy)
        self.problem(answer, 403, "INTERNAL_ONLY")
        self.configure(trusted_proxies=(ip_network("127.0.0.0/8"),))
        answer = self.call("POST", "/api/dlrCallback", self.body, headers=through_a_proxy)
        self.problem(answer, 403, "INTERNAL_ONLY")
        self.assertEqual(self.call("POST", "/api/dlrCallback", self.body).status, 202)


class LeavingTest(HttpCase):
    def test_a_client_that_leaves_stops_no_campaign(self) -> None:
        recipients = [{"msisdn": f"96278812{i:04}"} for i in range(1200)]
        d = self.start("POST", "/api/sendBulk", {"sender": "MyCompany", "message": "x", "recipients": recipients})
        self.http.flush()
        d.cancel()
        self.http.flush()
        for _ in range(20):
            self.clock.advance(0)
        self.assertEqual(len(self.intake.messages), 1200)
        self.failureResultOf(d)
        self.assertEqual(self.clock.seconds(), NOW)
