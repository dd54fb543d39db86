"""Every route of the API, and what each role of two customers may do with it.

Whoever adds a route must say so here: a route without an entry fails.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from attrs import define

from protei_bulk.access.ports import NOBODY
from protei_bulk.channels.http.exchange import KEY
from protei_bulk.guards.velocity import Excess
from protei_bulk.store.decks import RateRows
from protei_bulk.store.guards import GuardRows
from protei_bulk.store.routes import CostRows, RouteRows
from tests.channels.http.house import USERS, Answer, HouseCase

#: the order of the columns below; the last asks without credentials
WHO = ("root", "alice", "anna", "axel", "bob", "bill", "beth", "nobody")

Ask = tuple[str, Any]
Make = Callable[["Walks"], Awaitable[Ask]]


@define
class Walk:
    """What is asked of Alpha's things, made anew for each who asks, and the status that each gets."""

    make: Make
    statuses: str


def fixed(path: str, body: Any = None) -> Make:
    async def make(case: Walks) -> Ask:
        return path, body

    return make


def victim(path: str, body: Any = None) -> Make:
    """Of a new user of Alpha."""

    async def make(case: Walks) -> Ask:
        return path.format(user_id=await case.victim()), body

    return make


async def new_user(case: Walks) -> Ask:
    case.made += 1
    return "/api/v1/users", {"username": f"made{case.made}", "password": "a good one", "customer_id": case.customers["Alpha"]}


async def new_customer(case: Walks) -> Ask:
    case.made += 1
    return "/api/v1/customers", {"name": f"Made {case.made}"}


async def spare_customer(case: Walks) -> Ask:
    case.made += 1
    return f"/api/v1/customers/{await case.accounts.create_customer(f'Spare {case.made}')}", None


async def session(case: Walks) -> Ask:
    [(number,)] = await case.db.query(
        "INSERT INTO tbl_smpp_sessions (user_id, system_id, bind_type, session_token) VALUES (%s, 'anna', 'TRANSCEIVER',"
        " md5(random()::text)) RETURNING session_id",
        (case.ids["anna"],),
    )
    return f"/api/v1/sessions/disconnect/{number}", None


async def callback(case: Walks) -> Ask:
    [(number,)] = await case.db.query(
        "INSERT INTO tbl_callback_outbox (user_id, message_id, url, payload, status) VALUES (%s, 'MSG-1', 'https://anna.example/', '{}',"
        " 'PARKED') RETURNING callback_id",
        (case.ids["anna"],),
    )
    return f"/api/v1/callbacks/{number}/replay", None


async def alpha(case: Walks) -> Ask:
    return f"/api/v1/customers/{case.customers['Alpha']}", None


async def renamed(case: Walks) -> Ask:
    return f"/api/v1/customers/{case.customers['Alpha']}", {"timezone": "Asia/Amman"}


async def topped_up(case: Walks) -> Ask:
    return f"/api/v1/customers/{case.customers['Alpha']}/top-up", {"amount": 1}


def of_alpha(path: str, body: Any = None) -> Make:
    async def make(case: Walks) -> Ask:
        return f"/api/v1/customers/{case.customers['Alpha']}/{path}", body

    return make


async def alphas_rate(case: Walks) -> Ask:
    rows = RateRows(case.db)
    await rows.put(case.customers["Alpha"], "", [("", "44", Decimal(1), None)], actor=NOBODY)
    return f"/api/v1/customers/{case.customers['Alpha']}/rates/{(await rows.list(case.customers['Alpha']))[-1].rate_id}", None


async def annas_login(case: Walks) -> Ask:
    await case.node.token("anna")
    [(login,)] = await case.db.query(
        "SELECT session_id FROM tbl_web_sessions WHERE user_id = %s ORDER BY created_at DESC LIMIT 1", (case.ids["anna"],)
    )
    return f"/api/v1/users/logins/{login}/end", None


async def annas_messages(case: Walks) -> Ask:
    return "/api/getDLR", {"campaign_id": case.campaign}


async def annas_campaign(case: Walks) -> Ask:
    return f"/api/v1/analytics/campaigns/{case.campaign}", None


def campaign(act: str, states: str) -> Make:
    """A fresh one of anna's, in a state from which that may be done."""

    async def make(case: Walks) -> Ask:
        case.made += 1
        public = f"CAMP-WALK{case.made}"
        await case.db.execute(
            "INSERT INTO campaigns (campaign_id, user_id, customer_id, submission_channel, status, planned)"
            " VALUES (%s, %s, %s, 'WEB', %s, TRUE)",
            (public, case.ids["anna"], case.customers["Alpha"], states),
        )
        return f"/api/v1/campaigns/{public}/{act}", None

    return make


async def new_rule(case: Walks) -> Ask:
    case.made += 1
    return "/api/v1/routes", {"name": f"made{case.made}", "to": ["SMSC1"], "match": {"prefix": ["44"]}}


def stored_rule(body: Any = None) -> Make:
    async def make(case: Walks) -> Ask:
        case.made += 1
        await RouteRows(case.db).add({"name": f"rule{case.made}", "to": ["SMSC1"]}, actor=NOBODY)
        row = await RouteRows(case.db).get(f"rule{case.made}")
        assert row is not None
        return f"/api/v1/routes/{row.route_id}", body

    return make


async def barred(case: Walks) -> Ask:
    case.made += 1
    [number] = await GuardRows(case.db).bar(case.customers["Alpha"], [962790000000 + case.made], False, "", actor=NOBODY)
    return f"/api/v1/blacklist/{number}", None


async def paused(case: Walks) -> Ask:
    case.made += 1
    found = Excess(case.ids["anna"], "RANGE", f"9627{case.made}", "JO", 2001, 2000)
    [number] = await GuardRows(case.db).found([(found, "pause")], 0, 0.0)
    return f"/api/v1/guards/events/{number}/release", None


async def opt_out(case: Walks) -> Ask:
    return "/api/v1/opt-outs", {"number": "962790000001", "opted_out": True, "customer_id": case.customers["Alpha"]}


async def cost(case: Walks) -> Ask:
    case.made += 1
    number = await CostRows(case.db).set("SMSC1", "", str(case.made), Decimal("0.01"), "USD", None, actor=NOBODY)
    return f"/api/v1/costs/{number}", None


BULK = {"sender": "Alpha", "recipients": [{"msisdn": "962788123456"}], "message": "Hello"}
RECEIPT = {"smsc_id": "SMSC1", "message_id": "1", "status": "DELIVRD"}
WRONG = {"password": "Wrong@123", "otp_code": "123456"}

#                                                  root alice anna axel bob bill beth nobody
WALKS: dict[str, Walk] = {
    "POST /api/sendBulk": Walk(fixed("/api/sendBulk", BULK), "200 200 200 403 200 200 403 401"),
    "POST /api/getDLR": Walk(annas_messages, "404 404 200 404 404 404 404 401"),
    "GET /api/getBalance": Walk(fixed("/api/getBalance"), "200 200 200 200 200 200 200 401"),
    "POST /api/dlrCallback": Walk(fixed("/api/dlrCallback", RECEIPT), "202 202 202 202 202 202 202 202"),
    "GET /healthz": Walk(fixed("/healthz"), "200 200 200 200 200 200 200 200"),
    "GET /readyz": Walk(fixed("/readyz"), "200 200 200 200 200 200 200 200"),
    "GET /metrics": Walk(fixed("/metrics"), "200 200 200 200 200 200 200 200"),
    "GET /openapi.json": Walk(fixed("/openapi.json"), "200 200 200 200 200 200 200 200"),
    "GET /docs": Walk(fixed("/docs"), "200 200 200 200 200 200 200 200"),
    "POST /api/login": Walk(fixed("/api/login", {"username": "anna", "password": "Wrong@1"}), " ".join(["401"] * 8)),
    "POST /api/refresh": Walk(fixed("/api/refresh"), "200 200 200 200 200 200 200 401"),
    "POST /api/logout": Walk(fixed("/api/logout"), "200 200 200 200 200 200 200 401"),
    "GET /api/v1/users/me": Walk(fixed("/api/v1/users/me"), "200 200 200 200 200 200 200 401"),
    "GET /api/v1/users/logins": Walk(fixed("/api/v1/users/logins"), "200 200 200 200 200 200 200 401"),
    "POST /api/v1/users/logins/{id}/end": Walk(annas_login, "404 404 200 404 404 404 404 401"),
    "POST /api/v1/users/generate-api-key": Walk(fixed("/api/v1/users/generate-api-key"), "200 200 200 200 200 200 200 401"),
    "POST /api/v1/users/revoke-api-key": Walk(fixed("/api/v1/users/revoke-api-key"), "200 200 200 200 200 200 200 401"),
    "POST /api/v1/users/enable-2fa": Walk(fixed("/api/v1/users/enable-2fa"), "200 200 200 200 200 200 200 401"),
    "POST /api/v1/users/disable-2fa": Walk(fixed("/api/v1/users/disable-2fa", WRONG), "403 403 403 403 403 403 403 401"),
    "POST /api/v1/users/recovery-codes": Walk(
        fixed("/api/v1/users/recovery-codes", {"otp_code": "123456"}), "403 403 403 403 403 403 403 401"
    ),
    "POST /api/v1/users/change-password": Walk(
        fixed("/api/v1/users/change-password", {"password": "Wrong@123", "new_password": "a good one"}),
        "403 403 403 403 403 403 403 401",
    ),
    "GET /api/v1/users": Walk(fixed("/api/v1/users"), "200 200 200 200 200 200 200 401"),
    "POST /api/v1/users": Walk(new_user, "201 201 403 403 422 403 403 401"),
    "GET /api/v1/users/{user_id}": Walk(victim("/api/v1/users/{user_id}"), "200 200 404 200 404 404 404 401"),
    "PATCH /api/v1/users/{user_id}": Walk(
        victim("/api/v1/users/{user_id}", {"status": "SUSPENDED"}), "200 200 403 403 404 403 403 401"
    ),
    "DELETE /api/v1/users/{user_id}": Walk(victim("/api/v1/users/{user_id}"), "200 200 403 403 404 403 403 401"),
    "POST /api/v1/users/{user_id}/generate-api-key": Walk(
        victim("/api/v1/users/{user_id}/generate-api-key"), "200 200 403 403 404 403 403 401"
    ),
    "POST /api/v1/users/{user_id}/revoke-api-key": Walk(
        victim("/api/v1/users/{user_id}/revoke-api-key"), "200 200 403 403 404 403 403 401"
    ),
    "POST /api/v1/users/{user_id}/disable-2fa": Walk(
        victim("/api/v1/users/{user_id}/disable-2fa"), "200 200 403 403 404 403 403 401"
    ),
    "GET /api/v1/customers": Walk(fixed("/api/v1/customers"), "200 200 403 200 200 403 200 401"),
    "POST /api/v1/customers": Walk(new_customer, "201 403 403 403 403 403 403 401"),
    "GET /api/v1/customers/{customer_id}": Walk(alpha, "200 200 403 200 404 403 404 401"),
    "PATCH /api/v1/customers/{customer_id}": Walk(renamed, "200 403 403 403 403 403 403 401"),
    "DELETE /api/v1/customers/{customer_id}": Walk(spare_customer, "200 403 403 403 403 403 403 401"),
    "POST /api/v1/customers/{customer_id}/top-up": Walk(topped_up, "200 403 403 403 403 403 403 401"),
    "GET /api/v1/customers/{customer_id}/ledger": Walk(of_alpha("ledger"), "200 200 403 200 404 403 404 401"),
    "GET /api/v1/customers/{customer_id}/statement.csv": Walk(of_alpha("statement.csv"), "200 200 403 200 404 403 404 401"),
    "GET /api/v1/customers/{customer_id}/rates": Walk(of_alpha("rates"), "200 200 403 200 404 403 404 401"),
    "POST /api/v1/customers/{customer_id}/rates": Walk(
        of_alpha("rates", {"rates": [{"prefix": "44", "price": "0.5"}]}), "200 403 403 403 403 403 403 401"
    ),
    "DELETE /api/v1/customers/{customer_id}/rates/{rate_id}": Walk(alphas_rate, "200 403 403 403 403 403 403 401"),
    "GET /api/v1/rates": Walk(fixed("/api/v1/rates"), "200 403 403 403 403 403 403 401"),
    "POST /api/v1/rates": Walk(
        fixed("/api/v1/rates", {"currency": "JOD", "rates": [{"mccmnc": "41601", "price": 1}]}), "200 403 403 403 403 403 403 401"
    ),
    "GET /api/v1/sessions/smpp": Walk(fixed("/api/v1/sessions/smpp"), "200 200 200 200 200 200 200 401"),
    "POST /api/v1/sessions/disconnect/{session_id}": Walk(session, "200 200 200 403 404 404 403 401"),
    "GET /api/v1/analytics/usage": Walk(fixed("/api/v1/analytics/usage"), "200 200 200 200 200 200 200 401"),
    "GET /api/v1/analytics/campaigns/{id}": Walk(annas_campaign, "200 200 200 200 404 404 404 401"),
    "GET /api/v1/audit/events": Walk(fixed("/api/v1/audit/events"), "200 200 403 403 200 403 403 401"),
    "GET /api/v1/guards": Walk(fixed("/api/v1/guards"), "200 200 403 200 200 403 200 401"),
    "GET /api/v1/guards/events": Walk(fixed("/api/v1/guards/events"), "200 200 403 200 200 403 200 401"),
    "POST /api/v1/guards/events/{event_id}/release": Walk(paused, "200 403 403 403 403 403 403 401"),
    "GET /api/v1/blacklist": Walk(fixed("/api/v1/blacklist"), "200 200 403 200 200 403 200 401"),
    "POST /api/v1/blacklist": Walk(fixed("/api/v1/blacklist", {"number": "96277*"}), "201 201 403 403 201 403 403 401"),
    "DELETE /api/v1/blacklist/{entry_id}": Walk(barred, "200 200 403 403 404 403 403 401"),
    "GET /api/v1/opt-outs": Walk(fixed("/api/v1/opt-outs"), "200 200 403 200 200 403 200 401"),
    "POST /api/v1/opt-outs": Walk(opt_out, "201 201 403 403 404 403 403 401"),
    "GET /api/v1/opt-outs/history": Walk(fixed("/api/v1/opt-outs/history?number=962790000001"), "200 200 403 200 200 403 200 401"),
    "POST /api/v1/campaigns/{id}/pause": Walk(campaign("pause", "RUNNING"), "200 200 200 403 404 404 403 401"),
    "POST /api/v1/campaigns/{id}/resume": Walk(campaign("resume", "PAUSED"), "200 200 200 403 404 404 403 401"),
    "POST /api/v1/campaigns/{id}/cancel": Walk(campaign("cancel", "PAUSED"), "200 200 200 403 404 404 403 401"),
    "POST /api/v1/campaigns/{id}/approve": Walk(campaign("approve", "PENDING_APPROVAL"), "200 200 403 403 404 403 403 401"),
    "POST /api/v1/campaigns/{id}/reject": Walk(campaign("reject", "PENDING_APPROVAL"), "200 200 403 403 404 403 403 401"),
    "GET /api/v1/routes": Walk(fixed("/api/v1/routes"), "200 403 403 403 403 403 403 401"),
    "POST /api/v1/routes": Walk(new_rule, "201 403 403 403 403 403 403 401"),
    "GET /api/v1/routes/explain": Walk(fixed("/api/v1/routes/explain?user=anna&to=962788123456"), "200 403 403 403 403 403 403 401"),
    "GET /api/v1/routes/{route_id}": Walk(stored_rule(), "200 403 403 403 403 403 403 401"),
    "PUT /api/v1/routes/{route_id}": Walk(stored_rule({"reject": "ESME_RINVDSTADR"}), "200 403 403 403 403 403 403 401"),
    "DELETE /api/v1/routes/{route_id}": Walk(stored_rule(), "200 403 403 403 403 403 403 401"),
    "GET /api/v1/costs": Walk(fixed("/api/v1/costs"), "200 403 403 403 403 403 403 401"),
    "POST /api/v1/costs": Walk(
        fixed("/api/v1/costs", {"smsc_id": "SMSC1", "cost": "0.0125", "currency": "USD"}), "201 403 403 403 403 403 403 401"
    ),
    "DELETE /api/v1/costs/{cost_id}": Walk(cost, "200 403 403 403 403 403 403 401"),
    "GET /api/v1/callbacks": Walk(fixed("/api/v1/callbacks"), "200 200 200 200 200 200 200 401"),
    "POST /api/v1/callbacks/{id}/replay": Walk(callback, "202 202 202 403 404 404 403 401"),
    "GET /api/v1/callbacks/secret": Walk(fixed("/api/v1/callbacks/secret"), "200 200 200 403 200 200 403 401"),
    "POST /api/v1/callbacks/secret/rotate": Walk(fixed("/api/v1/callbacks/secret/rotate"), "200 200 200 403 200 200 403 401"),
    "GET /api/v1/audit/requests": Walk(fixed("/api/v1/audit/requests"), "200 200 403 403 200 403 403 401"),
}


class Walks(HouseCase):
    """Both customers have sent something, and are bound."""

    timeout = 300

    async def setUp(self) -> None:
        await super().setUp()
        self.made = 0
        self.keys = {name: await self.node.auth.generate_api_key(None, self.ids[name]) for name in USERS}
        sent = {}
        for name in ("anna", "bill"):
            body = {**BULK, "sender": USERS[name][0]}
            sent[name] = (await self.call("POST", "/api/sendBulk", body, key=self.keys[name])).json["campaign_id"]
            await self.db.execute(
                "INSERT INTO tbl_smpp_sessions (user_id, system_id, bind_type, session_token) VALUES (%s, %s, 'TRANSCEIVER', %s)",
                (self.ids[name], name, name * 8),
            )
        self.campaign = sent["anna"]
        await self.node.log.drained()
        self.table = {route.name: route for route in self.node.channel.resource.routes}
        self.tokens = {name: await self.node.token(name) for name in USERS}

    async def victim(self) -> int:
        self.made += 1
        return await self.accounts.create_user(f"alphavictim{self.made}", "Alpha", "x")

    async def ask(self, route: str, who: str, make: Make) -> Answer:
        method, path = route.split()
        path, body = await make(self)
        auth = self.table[route].auth
        if who == "nobody":
            return await self.call(method, path, body)
        if auth == KEY:
            return await self.call(method, path, body, key=self.keys[who])
        if route in ("POST /api/logout", "POST /api/refresh"):  # of a login of its own
            return await self.call(method, path, body, token=await self.node.token(who))
        return await self.call(method, path, body, token=self.tokens[who])

    def foreign(self, who: str) -> list[str]:
        """What somebody of one customer must never read of the other."""
        customer = USERS[who][0] if who in USERS else ""
        others = {"Alpha": ["Beta", "bob", "bill", "beth"], "Beta": ["Alpha", "alice", "anna", "axel", "alphavictim", self.campaign]}
        return others.get(customer, [])
