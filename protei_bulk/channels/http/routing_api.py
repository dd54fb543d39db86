"""Rules of routing, and what SMSCs charge: for the platform's administrators."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from attrs import define

from protei_bulk.access.accounts import Credentials
from protei_bulk.callbacks.payload import iso_time
from protei_bulk.channels.http.account_api import Read
from protei_bulk.channels.http.exchange import Exchange
from protei_bulk.channels.http.fields import invalid, kind
from protei_bulk.channels.http.problems import Problem, Reply, reply
from protei_bulk.channels.http.query import path_id, read_query
from protei_bulk.channels.http.shapes import Amount, Body, Choice, Moment, Shape, Text, Whole
from protei_bulk.model.message import PRIORITIES, Message
from protei_bulk.settings import Route, Settings
from protei_bulk.settings.routes import read_route, shown_route
from protei_bulk.settings.schema import CHANNELS, STRATEGIES
from protei_bulk.store.account_rows import NameTaken
from protei_bulk.store.explaining import Explaining
from protei_bulk.store.routes import CostRow, CostRows, RouteRows, StoredRoute

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_WORDS: dict[str, Any] = {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 255}}
_DIGITS: dict[str, Any] = {"type": "array", "items": {"type": "string", "pattern": "^[0-9]{1,20}$"}}
_OCTET: dict[str, Any] = {"type": "integer", "minimum": -1, "maximum": 255}
_ADDRESS: dict[str, Any] = {"type": "string", "maxLength": 20, "pattern": r"^[\x01-\x7f]*$"}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}


#: the keys of a [[route]], as docs/operator.md explains them
ROUTE: dict[str, Any] = _object(
    name={"type": "string", "pattern": f"^{_NAME}$"},
    enabled={"type": "boolean"},
    order={"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    to={"type": "array", "items": {"type": "string", "pattern": f"^{_NAME}$"}},
    strategy={"type": "string", "enum": list(STRATEGIES)},
    weights={"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 1000}},
    price={"type": ["number", "string"], "description": "of a segment; 0: the rate deck's"},
    reject={"type": "string", "description": "instead of `to`: the name of a command_status"},
    next_after_receipt={"type": "boolean"},
    match=_object(
        prefix=_DIGITS, sender=_WORDS, user=_WORDS, customer=_WORDS, network=_DIGITS, tags=_WORDS,
        channel={"type": "array", "items": {"type": "string", "enum": list(CHANNELS)}},
        priority={"type": "array", "items": {"type": "string", "enum": list(PRIORITIES)}},
        min_segments={"type": "integer", "minimum": 1, "maximum": 255}, max_segments={"type": "integer", "minimum": 0, "maximum": 255},
        pattern={"type": "string"}, time={"type": "string"},
    ),
    rewrite=_object(
        sender=_ADDRESS, source_ton=_OCTET, source_npi=_OCTET, dest_ton=_OCTET, dest_npi=_OCTET, dest_strip=_ADDRESS, dest_add=_ADDRESS,
    ),
)  # fmt: skip
CREATE: dict[str, Any] = {**ROUTE, "required": ["name"]}
EXPLAIN: dict[str, Shape] = {
    "user": Text(100, 1, about="who sends"),
    "to": Text(20, 3, r"[0-9]{3,20}", about="the recipient"),
    "sender": Text(20),
    "channel": Choice(CHANNELS),
    "priority": Choice(PRIORITIES),
    "segments": Whole(1, 255, 1),
    "text": Text(5000, pattern=r"[^\x00]*"),
    "tags": Text(500, about="separated by commas"),
    "at": Moment("now where there is none"),
}
COST = Body(
    {
        "smsc_id": Text(64, 1, _NAME), "mccmnc": Text(6, 0, r"([0-9]{3}|[0-9]{5,6})?", about="a network, or a country (MCC)"),
        "prefix": Text(20, 0, r"[0-9]*"), "cost": Amount(Decimal(0)), "currency": Text(3, 3, r"[A-Z]{3}"),
        "valid_from": Moment("from ever where there is none"),
    },
    ("smsc_id", "cost", "currency"),
)  # fmt: skip
COSTS: dict[str, Shape] = {"smsc_id": Text(64, 1, _NAME)}


@define
class RoutingAdmin:
    """`account(username)` finds who sends, for explanations."""

    routes: RouteRows
    costs: CostRows
    explaining: Explaining
    account: Callable[[str], Awaitable[Credentials | None]]
    settings: Callable[[], Settings]


class RoutingApi:
    def __init__(self, parts: RoutingAdmin, body: Read, now: Callable[[], float]) -> None:
        self._parts, self._body, self._now = parts, body, now

    # --- rules

    async def list(self, x: Exchange) -> Reply:
        read_query(x, {})
        file = [_shown(r, None) for r in self._parts.settings().route]
        stored = [self._stored(row) for row in await self._parts.routes.all()]
        routes = sorted(file + stored, key=lambda r: r["order"])
        return reply({"status": "SUCCESS", "routes": routes})

    async def get(self, x: Exchange) -> Reply:
        return reply({"status": "SUCCESS", "route": self._stored(await self._row(x))})

    async def create(self, x: Exchange) -> Reply:
        table, enabled = self._table(self._body(x), None)
        name = table["name"]
        if any(r.name == name for r in self._parts.settings().route):
            raise Problem(409, "NAME_TAKEN", f"The configuration file has a rule {name}")
        try:
            await self._parts.routes.add(table, enabled=enabled, actor=x.actor)
        except NameTaken:
            raise Problem(409, "NAME_TAKEN", f"There is a rule {name} already") from None
        return await self._answer(name, 201)

    async def replace(self, x: Exchange) -> Reply:
        given = self._body(x)
        if not isinstance(given, dict):
            raise invalid("$", f"expected an object, got {kind(given)}")
        row = await self._row(x)
        table, enabled = self._table(given, row.name)
        if not await self._parts.routes.replace(row.name, table, enabled=enabled, actor=x.actor):
            raise _no_such_rule()
        return await self._answer(row.name, 200)

    async def remove(self, x: Exchange) -> Reply:
        row = await self._row(x)
        if not await self._parts.routes.remove(row.name, actor=x.actor):
            raise _no_such_rule()
        return reply({"status": "SUCCESS", "message": "Gone. What has been routed by it stays so."})

    async def explain(self, x: Exchange) -> Reply:
        asked = read_query(x, EXPLAIN)
        for name in ("user", "to"):
            if name not in asked:
                raise invalid(f"query.{name}", "is required")
        known = await self._parts.account(asked["user"])
        if known is None:
            raise Problem(404, "NOT_FOUND", "There is no such user")
        m = Message()
        m.dest, m.source, m.channel = asked["to"], asked.get("sender", ""), asked.get("channel", "HTTP_API")
        m.priority, m.segments, m.text = PRIORITIES.index(asked.get("priority", "NORMAL")), asked.get("segments", 1), asked.get("text", "")
        m.tags = tuple(tag.strip() for tag in asked.get("tags", "").split(",") if tag.strip())
        at = asked["at"].timestamp() if "at" in asked else self._now()
        found = await self._parts.explaining.explain(self._parts.settings(), known.account, m, at)
        return reply({"status": "SUCCESS", **found})

    def _table(self, given: object, name: str | None) -> tuple[dict[str, Any], bool]:
        """The rule in the body, right, and whether it is enabled. Raises Problem."""
        if not isinstance(given, dict):
            raise invalid("$", f"expected an object, got {kind(given)}")
        table = dict(given)
        enabled = table.pop("enabled", True)
        if not isinstance(enabled, bool):
            raise invalid("$.enabled", f"expected true or false, got {kind(enabled)}")
        if name is not None and table.setdefault("name", name) != name:
            raise invalid("$.name", f"is {name} and stays so: messages remember it")
        try:
            route, problems = read_route(table, [c.id for c in self._parts.settings().smsc], "$")
        except RecursionError:
            raise invalid("$", "is nested too deeply") from None
        if route is None:
            path, _, why = problems[0].partition(": ")
            raise Problem(422, "INVALID_FIELD", "; ".join(problems)[:2000], path=path[:200]) if why else invalid("$", problems[0])
        if not -(2**31) <= route.order < 2**31:
            raise invalid("$.order", "expected a whole number of 32 bits")
        return shown_route(route), enabled

    async def _answer(self, name: str, status: int) -> Reply:
        row = await self._parts.routes.get(name)
        if row is None:  # gone meanwhile
            raise _no_such_rule()
        return reply({"status": "SUCCESS", "route": self._stored(row)}, status)

    async def _row(self, x: Exchange) -> StoredRoute:
        row = await self._parts.routes.by_id(path_id(x, "route_id", "rule"))
        if row is None:
            raise _no_such_rule()
        return row

    def _stored(self, row: StoredRoute) -> dict[str, Any]:
        route, problems = read_route(row.table, [c.id for c in self._parts.settings().smsc])
        if any(r.name == row.name for r in self._parts.settings().route):
            problems = [*problems, "name: the configuration file has a rule of this name, which holds"]
        if route is None:
            route = read_route(row.table, None)[0] or Route(row.name)
        return {**_shown(route, row), "problems": problems}

    # --- costs

    async def costs(self, x: Exchange) -> Reply:
        asked = read_query(x, COSTS)
        rows = await self._parts.costs.all(asked.get("smsc_id"))
        return reply({"status": "SUCCESS", "costs": [shown_cost(row) for row in rows]})

    async def set_cost(self, x: Exchange) -> Reply:
        given = COST.read(self._body(x))
        network, prefix = given.get("mccmnc", ""), given.get("prefix", "")
        if network and prefix:
            raise invalid("$.prefix", "stands beside no mccmnc")
        number = await self._parts.costs.set(
            given["smsc_id"], network, prefix, given["cost"], given["currency"], given.get("valid_from"), actor=x.actor
        )
        return reply({"status": "SUCCESS", "cost_id": number}, 201)

    async def remove_cost(self, x: Exchange) -> Reply:
        if not await self._parts.costs.remove(path_id(x, "cost_id", "cost"), actor=x.actor):
            raise Problem(404, "NOT_FOUND", "There is no such cost")
        return reply({"status": "SUCCESS", "message": "Gone."})


def _shown(route: Route, row: StoredRoute | None) -> dict[str, Any]:
    """Everything, also what is as by default."""
    return {
        **shown_route(route, everything=True),
        "route_id": None if row is None else row.route_id,
        "price": float(route.price),
        "source": "file" if row is None else "database",
        "enabled": row is None or row.enabled,
        "updated_at": None if row is None else iso_time(row.updated_at.timestamp()),
        "problems": [],
    }


def shown_cost(row: CostRow) -> dict[str, Any]:
    return {
        "cost_id": row.cost_id, "smsc_id": row.smsc_id, "mccmnc": row.mccmnc, "prefix": row.prefix, "cost": float(row.cost),
        "currency": row.currency, "valid_from": None if row.valid_from is None else iso_time(row.valid_from.timestamp()),
    }  # fmt: skip


def _no_such_rule() -> Problem:
    return Problem(404, "NOT_FOUND", "There is no such rule")
