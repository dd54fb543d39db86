"""Keeps the router up to date: rules of the file and of the database in one order, networks, ported numbers, costs.

What cannot be read leaves what there was. A rule of the database that is wrong, or is called like one of the
file, is left out and logged; the others hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from protei_bulk.pacing.rereading import Rereading
from protei_bulk.routing.costs import Cost, CostTable
from protei_bulk.routing.facts import RoutingFacts
from protei_bulk.routing.numbering import NumberPlan
from protei_bulk.routing.rules import Router
from protei_bulk.settings import Route, Settings
from protei_bulk.settings.routes import read_route

log = Logger()

CHANNEL = "protei_routes"
_RULES, _NETWORKS, _PORTED, _COSTS = "tbl_routes", "tbl_networks", "tbl_ported_numbers", "tbl_smsc_costs"
_ALL = frozenset({_RULES, _NETWORKS, _PORTED, _COSTS})
_LONGEST_WAIT = 86_400.0


class Stored(Protocol):
    """A rule of the database."""

    @property
    def name(self) -> str: ...

    @property
    def enabled(self) -> bool: ...

    @property
    def table(self) -> Mapping[str, Any]: ...


class Charged(Protocol):
    @property
    def cost_of(self) -> Cost: ...


class Store(Protocol):
    def rules(self) -> Deferred[Any]:
        """A list of Stored."""

    def costs(self) -> Deferred[Any]:
        """A list of Charged."""

    def numbers(self, ported: bool) -> Deferred[NumberPlan]: ...


class Clock(Protocol):
    def seconds(self) -> float: ...

    def callLater(self, delay: float, f: Callable[..., Any], *args: Any) -> Any: ...  # noqa: N802


class RoutingTables:
    """`loaded()` is called after each change of the rules or the costs."""

    def __init__(self, router: Router, facts: RoutingFacts, store: Store, settings: Settings, clock: Clock,
                 loaded: Callable[[], None]) -> None:  # fmt: skip
        self._router, self._facts, self._store, self._settings, self._clock = router, facts, store, settings, clock
        self._loaded = loaded
        self._stored: list[Stored] = []
        self._costs: list[Cost] = []
        self._rereading: Rereading[str] = Rereading("routing tables", self._read, clock)
        self._due: Any = None
        self._said: set[str] = set()
        self.in_file = self.in_database = self.ported = 0  # rules in force, and numbers

    async def start(self) -> None:
        """Reads everything. Raises what the database raises."""
        await self._read(set(_ALL))

    def changed(self, payload: str) -> None:
        """A notification: the name of a table, or empty for "anything"."""
        self._rereading.changed({payload} if payload in _ALL else set(_ALL))

    def configure(self, settings: Settings) -> None:
        """Other rules in the file, other SMSCs (SIGHUP)."""
        self._settings = settings
        self._facts.quality.half_life, self._facts.quality.least = settings.routing.delivery_half_life, settings.routing.delivery_least
        self._merge()
        self._price()

    def close(self) -> None:
        self._rereading.close()
        if self._due is not None and self._due.active():
            self._due.cancel()

    async def _read(self, wanted: set[str]) -> None:
        if _RULES in wanted:
            self._stored = list(await self._store.rules())
            self._merge()
        if wanted & {_NETWORKS, _PORTED}:
            plan = await self._store.numbers(_PORTED in wanted)
            self.ported = plan.ported
            self._router.number_plan(plan)
            self._facts.replaced()
        if _COSTS in wanted:
            self._costs = [row.cost_of for row in await self._store.costs()]
            self._price()

    def _merge(self) -> None:
        ids = [c.id for c in self._settings.smsc]
        named = {r.name for r in self._settings.route}
        rules: list[Route] = []
        said: set[str] = set()
        for row in self._stored:
            if not row.enabled:
                continue
            route, problems = read_route(row.table, None, f"{_RULES}.{row.name}")
            if row.name in named:
                route, problems = None, [f"{_RULES}.{row.name}: there is a [[route]] of this name, which holds"]
            if route is not None:
                rules.append(route)
                problems = [f"{_RULES}.{row.name}.to: no [[smsc]] has the id {s}" for s in route.to if s not in ids]
            said.update(problems)
        for problem in sorted(said - self._said):
            log.error("{problem}", problem=problem)
        self._said = said
        self.in_file, self.in_database = len(self._settings.route), len(rules)
        self._router.load([*self._settings.route, *rules], ids)
        self._loaded()

    def _price(self) -> None:
        """Costs as they are now, and again when the next of them becomes valid."""
        if self._due is not None and self._due.active():
            self._due.cancel()
        now, routing = self._clock.seconds(), self._settings.routing
        table = CostTable(self._costs, now, routing.currency, {r.currency: r.value for r in routing.rate})
        self._facts.costs = table
        for currency in sorted(table.without_rate):
            log.error("costs in {currency} do not count: there is no [[routing.rate]] for it", currency=currency)
        if table.changes_at != float("inf") and not self._rereading.closed:
            self._due = self._clock.callLater(min(_LONGEST_WAIT, max(0.0, table.changes_at - now)), self._price)
        self._loaded()
