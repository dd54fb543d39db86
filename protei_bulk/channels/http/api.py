"""The HTTP API: the table of its routes (specification section 8), and the root of a site that serves them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen
from twisted.internet.defer import succeed
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource

from protei_bulk.campaigns.desk import CampaignDesk
from protei_bulk.channels.http import docs_page, openapi
from protei_bulk.channels.http.account_api import AccountApi
from protei_bulk.channels.http.analytics_api import AnalyticsApi
from protei_bulk.channels.http.audit_api import AuditApi
from protei_bulk.channels.http.budgets import Alone
from protei_bulk.channels.http.bulk import Intake, SendBulk
from protei_bulk.channels.http.callbacks_api import Callbacks, CallbacksApi
from protei_bulk.channels.http.campaigns_api import CampaignsApi
from protei_bulk.channels.http.customers_api import CustomersApi
from protei_bulk.channels.http.exchange import (
    ANYBODY,
    EITHER,
    KEY,
    TOKEN,
    Audit,
    Auth,
    Clock,
    Exchange,
    Gate,
    Takes,
)
from protei_bulk.channels.http.guards_api import GuardsAdmin, GuardsApi
from protei_bulk.channels.http.idempotency import IdempotencyKeys, read_key
from protei_bulk.channels.http.management import Management
from protei_bulk.channels.http.money_api import MoneyApi
from protei_bulk.channels.http.problems import Problem, Reply, reply
from protei_bulk.channels.http.receipts import ReceiptSink, take_receipt
from protei_bulk.channels.http.reports import Balances, GetDlr, Reports, get_balance
from protei_bulk.channels.http.routes import Direct, Route, make_app
from protei_bulk.channels.http.routing_api import RoutingAdmin, RoutingApi
from protei_bulk.channels.http.session_api import SessionApi
from protei_bulk.channels.http.users_api import UsersApi
from protei_bulk.model.permissions import Permission
from protei_bulk.settings import Http


@frozen
class HttpApi:
    """What the API is made of. `health()` is a dict with `ready` and `reasons`."""

    auth: Auth
    intake: Intake
    reports: Reports
    balance: Balances
    settings: Http
    clock: Clock
    audit: Audit
    health: Callable[[], Mapping[str, Any]]
    receipt: ReceiptSink = lambda *_: succeed(False)
    metrics: Callable[[], bytes] | None = None
    budgets: Takes | None = field(default=None, kw_only=True)  # None: the limits of this process alone
    callbacks: Callbacks | None = field(default=None, kw_only=True)
    desk: CampaignDesk | None = field(default=None, kw_only=True)
    keys: IdempotencyKeys | None = field(default=None, kw_only=True)  # None: the header is ignored
    routing: RoutingAdmin | None = field(default=None, kw_only=True)
    guards: GuardsAdmin | None = field(default=None, kw_only=True)
    management: Management | None = None


def make_resource(api: HttpApi) -> ApiResource:
    """The root of an HTTP site."""
    gate = Gate(api.auth, api.audit, api.settings, api.clock, api.budgets or Alone(api.clock.seconds))
    return ApiResource(routes(api, gate), gate)


class ApiResource(Resource):
    """The root."""

    isLeaf = True

    def __init__(self, table: list[Route], gate: Gate) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.routes = table
        self.app = make_app(table, gate)
        self._klein, self._direct = self.app.resource(), Direct(table, gate)
        self.change = gate.change  # other settings, from now on

    def render(self, request: IRequest) -> Any:
        served = self._direct.render(request)
        return self._klein.render(request) if served is None else served


def routes(api: HttpApi, gate: Gate) -> list[Route]:
    send_bulk = SendBulk(api.intake, api.reports, api.clock, lambda: gate.settings.max_recipients)
    get_dlr = GetDlr(api.reports)

    async def do_send_bulk(x: Exchange) -> Reply:
        body = gate.json_body(x)
        headers = x.request.requestHeaders
        if api.keys is None or not headers.hasHeader("idempotency-key"):
            return await send_bulk(x.who, body)
        key = read_key(headers.getRawHeaders("idempotency-key"))
        x.request.content.seek(0)
        return await api.keys.run(x.who.user_id, key, x.request.content.read(), lambda once: send_bulk(x.who, body, once))

    async def do_get_dlr(x: Exchange) -> Reply:
        return await get_dlr(x.who, gate.json_body(x))

    async def do_get_balance(x: Exchange) -> Reply:
        return await get_balance(api.balance, x.who)

    async def do_receipt(x: Exchange) -> Reply:
        gate.internal_only(x)
        return await take_receipt(api.receipt, api.audit, x, gate.json_body(x))

    async def healthz(x: Exchange) -> Reply:
        return reply({"status": "ok"})

    async def readyz(x: Exchange) -> Reply:
        state = dict(api.health())
        if not gate.is_monitor(x.request):  # whom we send to is nobody else's business
            state = {name: state[name] for name in ("ready", "reasons")}
        return reply(state, 200 if state.get("ready") is True else 503)

    async def metrics(x: Exchange) -> Reply:
        assert api.metrics is not None
        if not gate.is_monitor(x.request):
            return Problem(403, "INTERNAL_ONLY", "The figures are for http.monitors").reply()
        return Reply(200, api.metrics(), "text/plain; version=0.0.4; charset=utf-8")

    async def described(x: Exchange) -> Reply:
        return reply(described_by)

    async def docs(x: Exchange) -> Reply:
        return Reply(200, page, "text/html; charset=utf-8", (("Content-Security-Policy", docs_page.CSP),))

    table = [
        Route("POST", "/api/sendBulk", KEY, Permission.SEND, do_send_bulk),
        Route("POST", "/api/getDLR", KEY, Permission.REPORTS, do_get_dlr),
        Route("GET", "/api/getBalance", KEY, Permission.BALANCE, do_get_balance),
        Route("POST", "/api/dlrCallback", ANYBODY, None, do_receipt),
        Route("GET", "/healthz", ANYBODY, None, healthz, plain=True),
        Route("GET", "/readyz", ANYBODY, None, readyz, plain=True),
    ]
    if api.metrics is not None:
        table.append(Route("GET", "/metrics", ANYBODY, None, metrics, plain=True))
    if api.management is not None:
        table += management_routes(api.management, gate)
    if api.guards is not None:
        table += guard_routes(GuardsApi(api.guards, gate.json_body))
    if api.routing is not None:
        table += routing_routes(RoutingApi(api.routing, gate.json_body, api.clock.seconds))
    if api.callbacks is not None:
        table += callback_routes(CallbacksApi(api.callbacks, api.audit, gate.optional_body))
    if api.desk is not None:
        table += campaign_routes(CampaignsApi(api.desk, gate.optional_body))
    table += [
        Route("GET", "/openapi.json", ANYBODY, None, described, plain=True),
        Route("GET", "/docs", ANYBODY, None, docs, plain=True),
    ]
    described_by = openapi.document(table, api.settings.public_url)
    page = docs_page.page(described_by)
    return table


def guard_routes(guards: GuardsApi) -> list[Route]:
    return [
        Route("GET", "/api/v1/guards", EITHER, Permission.GUARDS_READ, guards.show),
        Route("GET", "/api/v1/guards/events", EITHER, Permission.GUARDS_READ, guards.events),
        Route("POST", "/api/v1/guards/events/{event_id}/release", TOKEN, Permission.GUARDS_RELEASE, guards.release),
        Route("GET", "/api/v1/blacklist", EITHER, Permission.GUARDS_READ, guards.blacklist),
        Route("POST", "/api/v1/blacklist", EITHER, Permission.GUARDS_WRITE, guards.bar),
        Route("DELETE", "/api/v1/blacklist/{entry_id}", EITHER, Permission.GUARDS_WRITE, guards.unbar),
        Route("GET", "/api/v1/opt-outs", EITHER, Permission.GUARDS_READ, guards.opt_outs),
        Route("POST", "/api/v1/opt-outs", EITHER, Permission.GUARDS_WRITE, guards.record),
        Route("GET", "/api/v1/opt-outs/history", EITHER, Permission.GUARDS_READ, guards.history),
    ]


def routing_routes(routing: RoutingApi) -> list[Route]:
    return [
        Route("GET", "/api/v1/routes", TOKEN, Permission.ROUTES_READ, routing.list),
        Route("POST", "/api/v1/routes", TOKEN, Permission.ROUTES_WRITE, routing.create),
        Route("GET", "/api/v1/routes/explain", TOKEN, Permission.ROUTES_READ, routing.explain),
        Route("GET", "/api/v1/routes/{route_id}", TOKEN, Permission.ROUTES_READ, routing.get),
        Route("PUT", "/api/v1/routes/{route_id}", TOKEN, Permission.ROUTES_WRITE, routing.replace),
        Route("DELETE", "/api/v1/routes/{route_id}", TOKEN, Permission.ROUTES_WRITE, routing.remove),
        Route("GET", "/api/v1/costs", TOKEN, Permission.ROUTES_READ, routing.costs),
        Route("POST", "/api/v1/costs", TOKEN, Permission.ROUTES_WRITE, routing.set_cost),
        Route("DELETE", "/api/v1/costs/{cost_id}", TOKEN, Permission.ROUTES_WRITE, routing.remove_cost),
    ]


def campaign_routes(campaigns: CampaignsApi) -> list[Route]:
    acts = [(name, EITHER, Permission.CAMPAIGNS) for name in ("pause", "resume", "cancel")]
    acts += [(name, TOKEN, Permission.APPROVE) for name in ("approve", "reject")]
    return [Route("POST", f"/api/v1/campaigns/{{id}}/{name}", auth, permission, campaigns.act(name)) for name, auth, permission in acts]


def callback_routes(callbacks: CallbacksApi) -> list[Route]:
    return [
        Route("GET", "/api/v1/callbacks", EITHER, Permission.CALLBACKS, callbacks.list),
        Route("POST", "/api/v1/callbacks/{id}/replay", EITHER, Permission.CALLBACKS_REPLAY, callbacks.replay),
        Route("GET", "/api/v1/callbacks/secret", EITHER, Permission.CALLBACK_SECRET, callbacks.secret),
        Route("POST", "/api/v1/callbacks/secret/rotate", EITHER, Permission.CALLBACK_SECRET, callbacks.rotate),
    ]


def management_routes(m: Management, gate: Gate) -> list[Route]:
    """For people, who log in."""
    account = AccountApi(m.auth, gate.json_body, gate.optional_body)
    users = UsersApi(m.auth, m.accounts, account, gate.json_body)
    customers = CustomersApi(m.accounts, gate.json_body)
    money = MoneyApi(m.money, m.accounts, gate.json_body)
    sessions, audit = SessionApi(m.sessions), AuditApi(m.audit)
    analytics = AnalyticsApi(m.auth, m.usage, m.accounts)
    return [
        Route("POST", "/api/login", ANYBODY, None, account.login),
        Route("POST", "/api/refresh", ANYBODY, None, account.refresh),  # asks for a token itself
        Route("POST", "/api/logout", TOKEN, Permission.ACCOUNT, account.logout),
        Route("GET", "/api/v1/users/me", TOKEN, Permission.ACCOUNT, account.me),
        Route("POST", "/api/v1/users/generate-api-key", TOKEN, Permission.ACCOUNT, account.generate_api_key),
        Route("POST", "/api/v1/users/revoke-api-key", TOKEN, Permission.ACCOUNT, account.revoke_api_key),
        Route("POST", "/api/v1/users/enable-2fa", TOKEN, Permission.ACCOUNT, account.enable_2fa),
        Route("POST", "/api/v1/users/disable-2fa", TOKEN, Permission.ACCOUNT, account.disable_2fa),
        Route("POST", "/api/v1/users/recovery-codes", TOKEN, Permission.ACCOUNT, account.recovery_codes),
        Route("GET", "/api/v1/users/logins", TOKEN, Permission.ACCOUNT, account.logins),
        Route("POST", "/api/v1/users/logins/{id}/end", TOKEN, Permission.ACCOUNT, account.end_login),
        Route("POST", "/api/v1/users/change-password", TOKEN, Permission.ACCOUNT, users.change_password),
        Route("GET", "/api/v1/users", TOKEN, Permission.USERS_READ, users.list),
        Route("POST", "/api/v1/users", TOKEN, Permission.USERS_WRITE, users.create),
        Route("GET", "/api/v1/users/{user_id}", TOKEN, Permission.USERS_READ, users.get),
        Route("PATCH", "/api/v1/users/{user_id}", TOKEN, Permission.USERS_WRITE, users.change),
        Route("DELETE", "/api/v1/users/{user_id}", TOKEN, Permission.USERS_WRITE, users.delete),
        Route("POST", "/api/v1/users/{user_id}/generate-api-key", TOKEN, Permission.USERS_WRITE, users.generate_api_key),
        Route("POST", "/api/v1/users/{user_id}/revoke-api-key", TOKEN, Permission.USERS_WRITE, users.revoke_api_key),
        Route("POST", "/api/v1/users/{user_id}/disable-2fa", TOKEN, Permission.USERS_WRITE, users.disable_2fa),
        Route("GET", "/api/v1/customers", TOKEN, Permission.CUSTOMERS_READ, customers.list),
        Route("POST", "/api/v1/customers", TOKEN, Permission.CUSTOMERS_WRITE, customers.create),
        Route("GET", "/api/v1/customers/{customer_id}", TOKEN, Permission.CUSTOMERS_READ, customers.get),
        Route("PATCH", "/api/v1/customers/{customer_id}", TOKEN, Permission.CUSTOMERS_WRITE, customers.change),
        Route("DELETE", "/api/v1/customers/{customer_id}", TOKEN, Permission.CUSTOMERS_WRITE, customers.delete),
        Route("POST", "/api/v1/customers/{customer_id}/top-up", TOKEN, Permission.CUSTOMERS_WRITE, customers.top_up),
        Route("GET", "/api/v1/customers/{customer_id}/ledger", TOKEN, Permission.CUSTOMERS_READ, money.ledger),
        Route("GET", "/api/v1/customers/{customer_id}/statement.csv", TOKEN, Permission.CUSTOMERS_READ, money.statement),
        Route("GET", "/api/v1/customers/{customer_id}/rates", TOKEN, Permission.CUSTOMERS_READ, money.rates),
        Route("POST", "/api/v1/customers/{customer_id}/rates", TOKEN, Permission.CUSTOMERS_WRITE, money.set_rates),
        Route("DELETE", "/api/v1/customers/{customer_id}/rates/{rate_id}", TOKEN, Permission.CUSTOMERS_WRITE, money.remove_rate),
        Route("GET", "/api/v1/rates", TOKEN, Permission.CUSTOMERS_WRITE, money.default_rates),
        Route("POST", "/api/v1/rates", TOKEN, Permission.CUSTOMERS_WRITE, money.set_default_rates),
        Route("GET", "/api/v1/sessions/smpp", TOKEN, Permission.SESSIONS, sessions.list),
        Route("POST", "/api/v1/sessions/disconnect/{session_id}", TOKEN, Permission.DISCONNECT, sessions.disconnect),
        Route("GET", "/api/v1/analytics/usage", TOKEN, Permission.ANALYTICS, analytics.usage),
        Route("GET", "/api/v1/analytics/campaigns/{id}", TOKEN, Permission.ANALYTICS, analytics.campaign),
        Route("GET", "/api/v1/audit/events", TOKEN, Permission.AUDIT, audit.events),
        Route("GET", "/api/v1/audit/requests", TOKEN, Permission.AUDIT, audit.requests),
    ]
