"""What every request goes through: rate limits and their headers, requests at a time."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

from attrs import evolve
from treq.testing import StubTreq
from twisted.internet.defer import Deferred, succeed

from protei_bulk.access.results import AuthResult
from protei_bulk.channels.http.api import make_resource
from protei_bulk.channels.http.limits import Policy, Verdict
from protei_bulk.settings import HttpLimits
from tests.channels.http.support import AHMAD, HttpCase


class Budgets:
    """Says what it is told to, at once or later."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.waits: dict[str, float] = {}
        self.later: list[Deferred[Verdict]] | None = None

    def take(self, policy: Policy, key: str) -> Verdict | Deferred[Verdict]:
        self.asked.append((policy.id, key))
        verdict = Verdict(policy, self.waits.get(policy.name, 0.0), 7, 2.2)
        if self.later is None:
            return verdict
        d: Deferred[Verdict] = Deferred()
        self.later.append(d)
        return d.addCallback(lambda _: verdict)


class RateTest(HttpCase):
    def setUp(self) -> None:
        super().setUp()
        self.budgets = Budgets()
        self.limit(HttpLimits(60, 10, 1000, 0))

    def limit(self, limits: HttpLimits) -> None:
        self.configure(limits=limits)
        object.__setattr__(self.api, "budgets", self.budgets)
        self.resource = make_resource(self.api)
        self.http.__init__(self.resource)  # type: ignore[misc]

    def test_both_are_asked_and_shown(self) -> None:
        answer = self.call("GET", "/api/getBalance")
        self.assertEqual(answer.status, 200)
        self.assertEqual(self.budgets.asked, [("address:1000:3600:0", "127.0.0.1"), ("key:60:60:10", "key 7")])
        self.assertEqual(answer.header("ratelimit-policy"), '"key";q=60;w=60;burst=10, "address";q=1000;w=3600')
        self.assertEqual(answer.header("ratelimit"), '"address";r=7;t=3, "key";r=7;t=3')

    def test_other_credentials_share_a_budget_of_the_account(self) -> None:
        self.call("GET", "/api/getBalance", headers={"Authorization": "Basic YWhtYWQ6UGFzc3dvcmRAMTIz"})
        self.assertEqual(self.budgets.asked[-1], ("key:60:60:10", "user 7"))

    def test_refused(self) -> None:
        self.budgets.waits["key"] = 1.2
        answer = self.call("GET", "/api/getBalance")
        problem = self.problem(answer, 429, "TOO_MANY_REQUESTS")
        self.assertEqual((problem["violated-policies"], answer.header("retry-after")), (["key"], "2"))
        self.assertIn('"key"', answer.header("ratelimit") or "")

    def test_an_address_is_refused_before_anybody_looks_at_its_credentials(self) -> None:
        self.budgets.waits["address"] = 100
        answer = self.call("GET", "/api/getBalance")
        self.assertEqual(self.problem(answer, 429, "TOO_MANY_REQUESTS")["violated-policies"], ["address"])
        self.assertEqual((self.auth.addresses, answer.header("retry-after")), ([], "100"))
        self.assertEqual(answer.header("ratelimit"), '"address";r=7;t=3')

    def test_wrong_credentials_are_answered_with_the_headers_too(self) -> None:
        answer = self.call("GET", "/api/getBalance", key="wrong")
        self.assertEqual((answer.status, answer.header("ratelimit")), (401, '"address";r=7;t=3'))

    def test_a_verdict_that_comes_later(self) -> None:
        self.budgets.later = []
        d = self.start("GET", "/api/getBalance")
        for _ in range(2):
            self.http.flush()
            self.assertNoResult(d)
            self.budgets.later.pop().callback(None)  # type: ignore[arg-type]
        self.http.flush()
        self.assertEqual(self.successResultOf(d).code, 200)

    def test_off(self) -> None:
        self.limit(HttpLimits(0, 0, 0, 0))
        answer = self.call("GET", "/api/getBalance")
        self.assertEqual((answer.status, answer.header("ratelimit-policy"), answer.header("ratelimit")), (200, None, None))
        self.assertEqual(self.budgets.asked, [])

    def test_health_is_not_counted(self) -> None:
        self.call("GET", "/healthz")
        self.assertEqual(self.budgets.asked, [])


class AtATimeTest(HttpCase):
    def test_requests_of_one_account(self) -> None:
        self.configure(limits=HttpLimits(0, 0, 0, 2))
        self.auth.keys["other"] = AuthResult(True, AHMAD.__class__(8, "other", 3))
        held: list[Deferred[object]] = []

        def balance(user_id: int) -> Deferred[object]:
            if user_id != 7:
                return succeed(type(self.balances).found)
            held.append(Deferred())
            return held[-1]

        self.balances.balance = balance  # type: ignore[assignment, method-assign]
        waiting = [self.start("GET", "/api/getBalance") for _ in range(2)]
        self.problem(self.call("GET", "/api/getBalance"), 429, "TOO_MANY_CONNECTIONS")
        self.assertEqual(self.call("GET", "/api/getBalance", key="other").status, 200)
        for d in held:
            d.callback(self.balances.found)
        self.http.flush()
        self.assertEqual([self.successResultOf(d).code for d in waiting], [200, 200])
        d = self.start("GET", "/api/getBalance")
        held[-1].callback(self.balances.found)
        self.http.flush()
        self.assertEqual(self.successResultOf(d).code, 200)


class MonitorTest(HttpCase):
    """/metrics and what /readyz says of SMSCs are for the operator's own machines."""

    def configure(self, **values: Any) -> None:
        super().configure(**values)
        self.health = {"ready": True, "reasons": [], "smsc": {"SMSC1": "BOUND"}, "sessions": 3}
        self.resource = make_resource(evolve(self.api, metrics=lambda: b"x 1\n"))
        self.http = StubTreq(self.resource)

    def seen(self, **headers: str) -> tuple[int, list[str]]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        figures = self.call("GET", "/metrics", key=None, headers=sent)
        ready = self.call("GET", "/readyz", key=None, headers=sent)
        self.assertEqual(ready.status, 200)
        return figures.status, sorted(ready.json)

    def test_from_here_and_through_proxies(self) -> None:
        everything, little = ["ready", "reasons", "sessions", "smsc"], ["ready", "reasons"]
        self.configure()
        self.assertEqual(self.seen(), (200, everything))
        for header in ("X_Forwarded_For", "Forwarded"):  # of a proxy that nobody has declared: for whom it asks is not known
            self.assertEqual(self.seen(**{header: "127.0.0.1"}), (403, little))
        here = (IPv4Network("127.0.0.1"),)
        self.configure(trusted_proxies=here)
        self.assertEqual(self.seen(X_Forwarded_For="198.51.100.7"), (403, little))
        self.assertEqual(self.seen(X_Forwarded_For="10.0.0.1, 198.51.100.7"), (403, little))
        self.assertEqual(self.seen(X_Forwarded_For="198.51.100.7, 10.0.0.1"), (200, everything))
        self.configure(monitors=(IPv4Network("192.0.2.0/24"),))
        self.assertEqual(self.seen(), (403, little))
