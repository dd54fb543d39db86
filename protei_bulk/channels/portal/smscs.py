"""Connectors to SMSCs: how each does on whichever node runs it, and what an operator may order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from attrs import asdict, define, fields, frozen

from protei_bulk.channels.portal.actors import actor_of
from protei_bulk.channels.portal.charts import line_chart
from protei_bulk.channels.portal.events import Events, Parts, Watch
from protei_bulk.channels.portal.export import csv_answer
from protei_bulk.channels.portal.shell import Answer, Fault, Page, Shell
from protei_bulk.channels.portal.visit import Flash, Visit
from protei_bulk.connectors.figures import shown_settings
from protei_bulk.model.permissions import Permission, Scope
from protei_bulk.settings import Settings, Smsc
from protei_bulk.store.rehoming import RehomingStore, SmscState
from protei_bulk.store.smscs import MOST_TPS, Day, Order, Seen, SmscRows

_WRITE = Permission.CUSTOMERS_WRITE  # of the platform's administrators only
_FRESH = 15.0  # seconds after which what a node said counts as old


@frozen
class Connector:
    """One line of the list. `seen` is what the node says that runs it; None where none does, or none has said so lately."""

    id: str
    state: str
    since: float | None
    order: Order
    seen: Seen | None
    today: Day
    here: bool  # it is in the configuration of this node
    last: Seen | None  # what the node said that ran it last


@define
class Overview:
    """Compares by its contents: the same is not shown anew."""

    connectors: list[Connector]

    def find(self, id: str) -> Connector | None:
        return next((c for c in self.connectors if c.id == id), None)


class Smscs:
    def __init__(self, shell: Shell, events: Events, rows: SmscRows, states: RehomingStore, settings: Callable[[], Settings]) -> None:
        self._shell, self._events, self._rows, self._states, self._settings = shell, events, rows, states, settings

    def pages(self) -> list[Page]:
        return [
            Page("GET", "/smscs", _WRITE, self.show, Scope.ALL),
            Page("GET", "/smscs.csv", _WRITE, self.csv, Scope.ALL),
            Page("GET", "/smscs.live", _WRITE, self.live, Scope.ALL, watching=True),
            Page("GET", "/smscs/{id}", _WRITE, self.one, Scope.ALL),
            Page("GET", "/smscs/{id}/live", _WRITE, self.one_live, Scope.ALL, watching=True),
            Page("POST", "/smscs/{id}/pause", _WRITE, self.pause, Scope.ALL),
            Page("POST", "/smscs/{id}/resume", _WRITE, self.resume, Scope.ALL),
            Page("POST", "/smscs/{id}/rate", _WRITE, self.rate, Scope.ALL),
            Page("POST", "/smscs/{id}/reconnect", _WRITE, self.reconnect, Scope.ALL),
        ]

    async def overview(self) -> Overview:
        """All connectors that a living node has, and those of this node's configuration."""
        seen, states = await self._rows.seen(), await self._states.states()
        orders, today = await self._rows.orders(), await self._rows.today()
        here = [c.id for c in self._settings().smsc]
        ids = dict.fromkeys([*here, *(s.smsc for s in states if s.alive), *(s.smsc for s in seen if s.holds)])
        return Overview([_connector(id, seen, states, orders.get(id, Order(id)), today.get(id, Day()), id in here) for id in ids])

    # --- pages

    async def show(self, visit: Visit) -> Answer:
        return self._shell.page(visit, "smscs.html", rows=(await self.overview()).connectors)

    async def csv(self, visit: Visit) -> Answer:
        figures = ("tps", "outstanding", "window", "errors", "latency", "lane", "depth", "age", "error")
        cells = []
        for x in (await self.overview()).connectors:
            said = x.seen.figures if x.seen is not None else {}
            today = (x.today.sent, x.today.delivered, x.today.failed, x.today.refused)
            cells.append((x.id, x.state, x.seen.node if x.seen is not None else "", *(said.get(name) for name in figures), *today))
        return csv_answer("smscs", ("id", "state", "node", *figures, "sent", "delivered", "failed", "refused"), cells)

    async def live(self, visit: Visit) -> Answer:
        return self._events.stream(visit, Watch(_KEY, self.overview, _list, audience="smscs"))

    async def one_live(self, visit: Visit) -> Answer:
        id = (await self._found(visit)).id

        async def read() -> Overview:
            found = (await self.overview()).find(id)
            return Overview([found] if found is not None else [])

        return self._events.stream(visit, Watch(("smsc", id), read, _single, audience=f"smsc {id}"))

    async def one(self, visit: Visit) -> Answer:
        return await self._one(visit)

    async def _one(self, visit: Visit, errors: Mapping[str, str] | None = None) -> Answer:
        found = await self._found(visit)
        days = dict(await self._rows.days(found.id, 14))
        return self._shell.page(
            visit, "smsc.html", 422 if errors else 200, x=found, errors=errors or {}, chart=_chart(visit, days),
            settings=self._shown_settings(found), most_tps=MOST_TPS,
        )  # fmt: skip

    async def _found(self, visit: Visit) -> Connector:
        found = (await self.overview()).find(visit.places["id"])
        if found is None:
            raise Fault(404)
        return found

    def _shown_settings(self, x: Connector) -> dict[str, Any]:
        """What it runs with; where nobody runs it, what this node would run it with."""
        if x.seen is not None and x.seen.settings:
            names = [a.name for a in fields(Smsc) if a.name in x.seen.settings]
            return {name: x.seen.settings[name] for name in names}
        return next((shown_settings(c) for c in self._settings().smsc if c.id == x.id), {})

    # --- orders

    async def pause(self, visit: Visit) -> Answer:
        x = await self._found(visit)
        done = await self._rows.pause(x.id, visit.text("reason", 200), actor=actor_of(visit))
        told = visit._("%(name)s is paused: nothing more is sent to it.", name=x.id) if done else visit._("It was paused already.")
        return self._back(visit, x, told, done)

    async def resume(self, visit: Visit) -> Answer:
        x = await self._found(visit)
        done = await self._rows.resume(x.id, actor=actor_of(visit))
        return self._back(visit, x, visit._("%(name)s goes on.", name=x.id) if done else visit._("It was not paused."), done)

    async def rate(self, visit: Visit) -> Answer:
        x = await self._found(visit)
        given = visit.text("max_tps", 10)
        if visit.text("configured"):
            tps = None
        elif given.isascii() and given.isdigit() and int(given) <= MOST_TPS:
            tps = int(given)
        else:
            return await self._one(visit, {"max_tps": visit._("Write a whole number from 0, for no limit, to a million.")})
        done = await self._rows.rate(x.id, tps, actor=actor_of(visit))
        told = visit._("The rate of %(name)s is changed.", name=x.id) if done else visit._("That was its rate already.")
        return self._back(visit, x, told, done)

    async def reconnect(self, visit: Visit) -> Answer:
        x = await self._found(visit)
        await self._rows.reconnect(x.id, actor=actor_of(visit))
        return self._back(visit, x, visit._("%(name)s binds anew: its node ends the binds and makes new ones.", name=x.id), True)

    def _back(self, visit: Visit, x: Connector, told: str, done: bool) -> Answer:
        return self._shell.to(visit, f"/smscs/{x.id}", Flash("good" if done else "info", told))


def _connector(id: str, seen: list[Seen], states: list[SmscState], order: Order, today: Day, here: bool) -> Connector:
    said = [s for s in seen if s.smsc == id]
    holder = next((s for s in said if s.holds and s.age < _FRESH), None)
    # The state of the node that runs it; those of the others say DOWN.
    best = min((s for s in states if s.smsc == id and s.alive), key=lambda s: _BEST.index(s.state), default=None)
    state = holder.figures.get("state", "DOWN") if holder is not None else "NOWHERE"
    since = best.since if best is not None and best.state == state else None
    return Connector(id, state, since, order, holder, today, here, holder or next(iter(said), None))


def _list(visit: Visit, found: Overview) -> Parts:
    return {"smscs": ("parts/smscs.html", {"rows": found.connectors})}


def _single(visit: Visit, found: Overview) -> Parts:
    return {"smsc": ("parts/smsc.html", {"x": found.connectors[0]})} if found.connectors else {}


_KEY = ("smscs",)
_BEST = ("BOUND", "PROBING", "DEGRADED", "PAUSED", "DOWN")


def _chart(visit: Visit, days: Mapping[Any, Day]) -> Any:
    if not days:
        return None
    last = max(days)
    line = [last - timedelta(days=n) for n in range(13, -1, -1)]
    known = [asdict(days[d]) if d in days else asdict(Day()) for d in line]
    titles = ((visit._("Sent"), "sent"), (visit._("Delivered"), "delivered"), (visit._("Failed"), "failed"))
    return line_chart([f"{d.day}.{d.month}." for d in line], [(title, [k[key] for k in known]) for title, key in titles])
