"""Rules of routing: those of the file and of the database in one order, with a form for the latter; and why a message goes where."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson

from protei_bulk.access.accounts import Credentials
from protei_bulk.channels.portal.actors import actor_of
from protei_bulk.channels.portal.export import csv_answer
from protei_bulk.channels.portal.route_form import MOST_TARGETS, fields_given, fields_of, plain, read_fields
from protei_bulk.channels.portal.shell import Answer, Fault, Page, Shell
from protei_bulk.channels.portal.visit import Flash, Visit
from protei_bulk.model.message import PRIORITIES, Message
from protei_bulk.model.permissions import Permission, Scope
from protei_bulk.settings import Route, Settings
from protei_bulk.settings.routes import read_route, shown_route
from protei_bulk.settings.schema import CHANNELS, STRATEGIES
from protei_bulk.smpp import statuses
from protei_bulk.store.account_rows import NameTaken
from protei_bulk.store.explaining import Explaining
from protei_bulk.store.routes import RouteRows, StoredRoute
from protei_bulk.text.segments import encode_text

_READ, _WRITE = Permission.ROUTES_READ, Permission.ROUTES_WRITE


class RoutePages:
    """`account(username)` finds who sends, for explanations."""

    def __init__(self, shell: Shell, rows: RouteRows, explaining: Explaining, account: Callable[[str], Awaitable[Credentials | None]],
                 settings: Callable[[], Settings], now: Callable[[], float]) -> None:  # fmt: skip
        self._shell, self._rows, self._explaining, self._account = shell, rows, explaining, account
        self._settings, self._now = settings, now

    def pages(self) -> list[Page]:
        return [
            Page("GET", "/routes", _READ, self.show, Scope.ALL),
            Page("GET", "/routes.csv", _READ, self.csv, Scope.ALL),
            Page("GET", "/routes/new", _WRITE, self.new, Scope.ALL),
            Page("POST", "/routes/new", _WRITE, self.add, Scope.ALL),
            Page("GET", "/routes/explain", _READ, self.explain, Scope.ALL),
            Page("POST", "/routes/explain", _READ, self.explain, Scope.ALL),
            Page("GET", "/routes/{id}", _WRITE, self.edit, Scope.ALL),
            Page("POST", "/routes/{id}", _WRITE, self.change, Scope.ALL),
            Page("POST", "/routes/{id}/enabled", _WRITE, self.enable, Scope.ALL),
            Page("POST", "/routes/{id}/delete", _WRITE, self.delete, Scope.ALL),
        ]

    def _smscs(self) -> list[str]:
        return [c.id for c in self._settings().smsc]

    # --- the list

    async def show(self, visit: Visit) -> Answer:
        return self._shell.page(visit, "routes.html", rows=await self._all(visit))

    async def csv(self, visit: Visit) -> Answer:
        names = ("order", "name", "source", "enabled", "match", "to", "strategy", "weights", "price", "reject", "rewrite", "problems")
        cells = (
            (r["order"], r["name"], "database" if r["id"] else "file", "yes" if r["enabled"] else "no", _json(r["match"]),
             ", ".join(r["to"]), r["strategy"], ", ".join(map(str, r["weights"])), r["price"], r["reject"], _json(r["rewrite"]),
             "; ".join(r["problems"]))
            for r in await self._all(visit)
        )  # fmt: skip
        return csv_answer("routes", names, cells)

    async def _all(self, visit: Visit) -> list[dict[str, Any]]:
        named = {r.name for r in self._settings().route}
        rows = [_row(r, None, []) for r in self._settings().route]
        for stored in await self._rows.all():
            route, problems = read_route(stored.table, self._smscs())
            if stored.name in named:
                problems = [*problems, visit._("The configuration file has a rule of this name, which holds.")]
            rows.append(_row(route or read_route(stored.table, None)[0] or Route(stored.name), stored, problems))
        return sorted(rows, key=lambda row: int(row["order"]))

    # --- the form

    async def new(self, visit: Visit) -> Answer:
        return self._form(visit, None, fields_of(Route("", order=100)))

    def _form(self, visit: Visit, row: StoredRoute | None, fields: dict[str, Any], errors: dict[str, str] | None = None) -> Answer:
        smscs = self._smscs()
        places = min(MOST_TARGETS, max(len(fields["targets"]), len(smscs)))
        targets = [*fields["targets"], *[("", "")] * places][:places]
        return self._shell.page(
            visit, "route.html", 422 if errors else 200, row=row, f=fields, errors=errors or {}, smscs=smscs, targets=targets,
            strategies=STRATEGIES, channels=CHANNELS, priorities=PRIORITIES, refusals=_REFUSALS,
        )  # fmt: skip

    async def add(self, visit: Visit) -> Answer:
        fields = fields_given(lambda name: visit.text(name, 2000), visit.all)
        route, errors = read_fields(fields, self._smscs())
        if route is not None and any(r.name == route.name for r in self._settings().route):
            errors = {"name": visit._("The configuration file has a rule of this name.")}
        if route is None or errors:
            return self._form(visit, None, fields, errors)
        try:
            await self._rows.add(shown_route(route), enabled=fields["enabled"], actor=actor_of(visit))
        except NameTaken:
            return self._form(visit, None, fields, {"name": visit._("There is a rule of this name already.")})
        return self._shell.to(visit, "/routes", Flash("good", visit._("Rule %(name)s is there, on all nodes.", name=route.name)))

    async def edit(self, visit: Visit) -> Answer:
        row = await self._row(visit)
        route = read_route(row.table, None)[0] or Route(row.name)
        return self._form(visit, row, fields_of(route, row.enabled))

    async def change(self, visit: Visit) -> Answer:
        row = await self._row(visit)
        fields = fields_given(lambda name: visit.text(name, 2000), visit.all, row.name)
        route, errors = read_fields(fields, self._smscs())
        if route is None:
            return self._form(visit, row, fields, errors)
        return await self._replace(visit, row, shown_route(route), fields["enabled"])

    async def _replace(self, visit: Visit, row: StoredRoute, table: dict[str, Any], enabled: bool) -> Answer:
        if not await self._rows.replace(row.name, table, enabled=enabled, actor=actor_of(visit)):
            raise Fault(404)
        told = visit._("Rule %(name)s is changed, on all nodes.", name=row.name)
        return self._shell.to(visit, "/routes", Flash("good", told))

    async def enable(self, visit: Visit) -> Answer:
        row = await self._row(visit)
        route = read_route(row.table, None)[0]
        return await self._replace(visit, row, shown_route(route) if route is not None else dict(row.table), bool(visit.text("on")))

    async def delete(self, visit: Visit) -> Answer:
        row = await self._row(visit)
        await self._rows.remove(row.name, actor=actor_of(visit))
        return self._shell.to(visit, "/routes", Flash("good", visit._("Rule %(name)s is gone.", name=row.name)))

    async def _row(self, visit: Visit) -> StoredRoute:
        given = visit.places["id"]
        row = await self._rows.by_id(int(given)) if given.isascii() and given.isdigit() and len(given) < 19 else None
        if row is None:
            raise Fault(404)
        return row

    # --- why

    async def explain(self, visit: Visit) -> Answer:
        """Where a message would go now. By POST where a text is given: it is in no address then."""
        given = {name: visit.text(name, 5000 if name == "text" else 500) for name in _ASKED}
        errors: dict[str, str] = {}
        found: dict[str, Any] | None = None
        if given["user"] or given["to"]:
            found = await self._explained(visit, given, errors)
        return self._shell.page(
            visit, "routes_explain.html", 422 if errors else 200, given=given, errors=errors, x=found, channels=CHANNELS,
            priorities=PRIORITIES,
        )  # fmt: skip

    async def _explained(self, visit: Visit, given: dict[str, str], errors: dict[str, str]) -> dict[str, Any] | None:
        m = Message()
        m.dest, m.source, m.text = given["to"].lstrip("+").replace(" ", ""), given["sender"][:20], given["text"]
        m.channel = given["channel"] if given["channel"] in CHANNELS else "HTTP_API"
        m.priority = PRIORITIES.index(given["priority"]) if given["priority"] in PRIORITIES else PRIORITIES.index("NORMAL")
        m.tags = tuple(tag.strip() for tag in given["tags"].split(",") if tag.strip())
        m.segments = encode_text(m.text, "AUTO").segments if m.text else 1
        at = self._now()
        if not (m.dest.isascii() and m.dest.isdigit() and 3 <= len(m.dest) <= 20):
            errors["to"] = visit._("Write an international number: digits with the country code.")
        if given["at"]:
            try:
                at = datetime.fromisoformat(given["at"]).replace(tzinfo=visit.zone).timestamp()
            except (ValueError, OverflowError):
                errors["at"] = visit._("Write a day and a time.")
        known = await self._account(given["user"]) if given["user"] else None
        if known is None:
            errors["user"] = visit._("There is no such user.")
        if errors or known is None:
            return None
        found = await self._explaining.explain(self._settings(), known.account, m, at)
        price = Decimal(repr(found["price"])) if found["price"] else None
        sums = (plain(price), plain(price * m.segments)) if price is not None else ("", "")
        return {**found, "segments": m.segments, "dest": m.dest, "price": sums[0], "sum": sums[1]}


_ASKED = ("user", "to", "sender", "text", "channel", "priority", "tags", "at")
#: errors that a rule may refuse with: those of submit_sm that a client understands
_REFUSALS = tuple(sorted(name for name in map(statuses.name, range(1, 0x500)) if name.startswith("ESME_R") and statuses.code(name)))


def _json(value: dict[str, Any]) -> str:
    return orjson.dumps(value).decode() if value else ""


def _row(route: Route, stored: StoredRoute | None, problems: list[str]) -> dict[str, Any]:
    match = shown_route(route).get("match", {})
    return {
        "id": None if stored is None else stored.route_id, "name": route.name, "order": route.order, "to": route.to,
        "weights": route.weights, "strategy": route.strategy,
        "price": plain(route.price) if route.price else "", "reject": route.reject, "next": route.next_after_receipt,
        "match": match,
        "rewrite": shown_route(route).get("rewrite", {}), "enabled": stored is None or stored.enabled, "problems": problems,
    }  # fmt: skip
