"""The API over a real Klein resource, with everything behind it faked."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import orjson
from attrs import define, evolve
from treq.testing import StubTreq
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.access.ports import Balance, Usage
from protei_bulk.access.results import AuthResult, refused
from protei_bulk.channels.http.api import HttpApi, make_resource
from protei_bulk.model.account import Account
from protei_bulk.model.campaign import Campaign
from protei_bulk.model.message import Message, Refusal
from protei_bulk.settings import Http, HttpLimits
from protei_bulk.store.deliveries import CampaignRef, Delivery

NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z
AHMAD = Account(7, "ahmad", 3, timezone="Asia/Amman")
NO_LIMITS = Http(limits=HttpLimits(0, 0, 0))


class FakeAuth:
    def __init__(self) -> None:
        self.keys: dict[str, AuthResult] = {"key": AuthResult(True, AHMAD)}
        self.passwords: dict[tuple[str, str], AuthResult] = {("ahmad", "Password@123"): AuthResult(True, AHMAD)}
        self.tokens: dict[str, AuthResult] = {}
        self.addresses: list[str] = []
        self.broken: Exception | None = None

    def authenticate_api_key(
        self, db: object = None, api_key: str = "", ip_address: str = "", user_agent: str = ""
    ) -> Deferred[AuthResult]:
        self.addresses.append(ip_address)
        if self.broken:
            return fail(self.broken)
        return succeed(self.keys.get(api_key) or refused("INVALID_CREDENTIALS", "Invalid API key"))

    def authenticate_basic_auth(
        self, db: object = None, username: str = "", password: str = "", ip_address: str = "", user_agent: str = ""
    ) -> Deferred[AuthResult]:
        self.addresses.append(ip_address)
        known = self.passwords.get((username, password))
        return succeed(known or refused("INVALID_CREDENTIALS", "Invalid username or password"))

    def authenticate_token(self, db: object = None, token: str = "") -> Deferred[AuthResult]:
        return succeed(self.tokens.get(token) or refused("INVALID_TOKEN", "Not a valid token"))


class FakeIntake:
    """Answers in the next turn, as the intake does; `refuse` by index of the recipient."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.campaigns: list[dict[str, Any]] = []
        self.messages: list[Message] = []
        self.refuse: dict[int, Refusal] = {}
        self.refuse_all: Refusal | None = None
        self.held: list[Message] | None = None
        self.most_in_a_turn = 0
        self._due: list[Message] = []

    def open_campaign(self, account: Account, **values: Any) -> Deferred[Campaign]:
        self.campaigns.append({"account": account, **values})
        return succeed(Campaign(len(self.campaigns), "CAMP-0123456789AB", {}))

    def submit(self, account: Account, m: Message) -> None:
        self.messages.append(m)
        m.refusal = self.refuse_all or self.refuse.get(m.sequence)
        if not self._due:
            self.clock.callLater(0, self.answer)
        self._due.append(m)

    def answer(self) -> None:
        due, self._due = self._due, []
        self.most_in_a_turn = max(self.most_in_a_turn, len(due))
        if self.held is not None:
            self.held += due
            return
        origin = due[0].origin
        assert origin is not None
        for m in due:
            assert m.opens is not None
            m.opens.stored = True
        origin.answered(due)


class FakeReports:
    def __init__(self) -> None:
        self.campaigns: dict[tuple[str, int], CampaignRef] = {}
        self.deliveries: list[Delivery] = []
        self.asked: list[dict[str, Any]] = []
        self.failed: list[int] = []

    def campaign(self, public_id: str, user_id: int) -> Deferred[CampaignRef | None]:
        return succeed(self.campaigns.get((public_id, user_id)))

    def of_campaign(self, campaign: CampaignRef, user_id: int, *, after: str, limit: int, **narrow: Any) -> Deferred[list[Delivery]]:  # noqa: E501
        self.asked.append({"campaign": campaign.campaign, "user": user_id, "after": after, "limit": limit, **narrow})
        return succeed([d for d in self.deliveries if d.message_id > after][:limit])

    def by_ids(self, message_ids: Sequence[str], user_id: int, **narrow: Any) -> Deferred[list[Delivery]]:
        self.asked.append({"ids": list(message_ids), "user": user_id, **narrow})
        return succeed([d for d in self.deliveries if d.message_id in message_ids])

    def campaign_failed(self, campaign: int) -> Deferred[int]:
        self.failed.append(campaign)
        return succeed(1)


class FakeBalances:
    found: Balance | None = Balance(Decimal("25000.50"), Decimal(50000), "JOD", Usage(12500, 12400, 100, 500_000))

    def balance(self, user_id: int) -> Deferred[Balance | None]:
        return succeed(self.found)


class FakeAudit:
    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.events: list[tuple[str, bool, dict[str, Any]]] = []

    def request(self, **values: Any) -> None:
        self.requests.append(values)

    def event(self, action: str, success: bool, **values: Any) -> None:
        self.events.append((action, success, values))


@define
class Answer:
    status: int
    headers: Any
    body: bytes
    length: object

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    def header(self, name: str) -> str | None:
        values = self.headers.getRawHeaders(name)
        return None if values is None else ", ".join(values)


class HttpCase(SynchronousTestCase):
    settings = NO_LIMITS

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.auth = FakeAuth()
        self.intake = FakeIntake(self.clock)
        self.reports = FakeReports()
        self.balances = FakeBalances()
        self.audit = FakeAudit()
        self.health: dict[str, Any] = {"ready": True, "reasons": []}
        self.receipts: list[tuple[str, ...]] = []
        self.configure()

    def configure(self, **values: Any) -> None:
        """The API anew, with other [http] settings."""

        def receipt(*values: str) -> Deferred[bool]:
            self.receipts.append(values)
            return succeed(values[0] == "SMSC1")

        self.api = HttpApi(
            self.auth, self.intake, self.reports, self.balances, evolve(self.settings, **values), self.clock,
            self.audit, lambda: self.health, receipt,
        )  # fmt: skip
        self.resource = make_resource(self.api)
        self.http = StubTreq(self.resource)

    def start(self, method: str, path: str, json: Any = None, *, data: bytes | None = None,
              headers: dict[str, str] | None = None, key: str | None = "key") -> Deferred[Any]:  # fmt: skip
        sent = {"Authorization": f"Bearer {key}"} if key else {}
        if json is not None:
            data = orjson.dumps(json)
        if data is not None:
            sent["Content-Type"] = "application/json"
        sent.update(headers or {})
        d: Deferred[Any] = self.http.request(method, "http://bulk.example" + path, headers=sent, data=data)
        return d

    def call(self, method: str, path: str, json: Any = None, **values: Any) -> Answer:
        d = self.start(method, path, json, **values)
        answered: list[Any] = []
        d.addCallback(lambda response: answered.append(response) or response)
        for _ in range(400):
            self.http.flush()
            if answered:
                break
            self.clock.advance(0)
        response = self.successResultOf(d)
        return Answer(response.code, response.headers, self.successResultOf(response.content()), response.length)

    def problem(self, answer: Answer, status: int, code: str) -> dict[str, Any]:
        self.assertEqual((answer.status, answer.json.get("code")), (status, code), answer.body)
        self.assertEqual(answer.header("content-type"), "application/problem+json")
        self.assertEqual(answer.json["status"], status)
        self.assertTrue(answer.json["title"] and answer.json["detail"] and answer.json["type"])
        found: dict[str, Any] = answer.json
        return found
