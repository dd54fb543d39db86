"""Puts together what decides where messages go, and where they go instead."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.threadpool import ThreadPool

from protei_bulk.connectors.fleet import Fleet
from protei_bulk.connectors.rehoming import Rehoming
from protei_bulk.connectors.watch import Watch
from protei_bulk.connectors.ways import WayQueue
from protei_bulk.intake.tables import CHANNEL, RoutingTables
from protei_bulk.model.account import Account
from protei_bulk.observe.metrics import Figure, one
from protei_bulk.receipts.outcomes import Outcomes
from protei_bulk.routing.facts import RoutingFacts
from protei_bulk.routing.numbering import NumberPlan
from protei_bulk.routing.quality import Quality
from protei_bulk.routing.rules import Router
from protei_bulk.settings import Settings
from protei_bulk.store.messages import Messages
from protei_bulk.store.numbers import NumberTables
from protei_bulk.store.pool import Database
from protei_bulk.store.rehoming import RehomingStore
from protei_bulk.store.routes import CostRow, CostRows, RouteRows, StoredRoute


class _Tables:
    """What RoutingTables reads."""

    def __init__(self, db: Database, numbers: NumberTables) -> None:
        self._rules, self._costs, self._numbers = RouteRows(db), CostRows(db), numbers

    def rules(self) -> Deferred[list[StoredRoute]]:
        return self._rules.all()

    def costs(self) -> Deferred[list[CostRow]]:
        return self._costs.all()

    def numbers(self, ported: bool) -> Deferred[NumberPlan]:
        return self._numbers.load(ported)


class Routing:
    """`router` for the intake, `ways` as queue of the connectors. `accounts(user_ids)` fires with those that are there."""

    def __init__(self, settings: Settings, reactor: Any, db: Database, dsn: str, node: int, messages: Messages, fleet: Fleet,
                 accounts: Callable[[Collection[int]], Deferred[dict[int, Account]]]) -> None:  # fmt: skip
        s = settings
        self._reactor, self._db, self._node, self._fleet, self._accounts = reactor, db, node, fleet, accounts
        self._settings = settings
        self.quality = Quality(s.routing.delivery_half_life, s.routing.delivery_least)
        self.facts = RoutingFacts(lambda dest: self.router.network(dest), self.quality)
        self.router = Router(s.route, [c.id for c in s.smsc], reactor.seconds, facts=self.facts)
        self.ways = WayQueue(messages, self.router, accounts)
        self._threads = ThreadPool(0, 1, "numbers")
        self._threads.start()
        self._outcomes: Outcomes | None = None
        self.tables = RoutingTables(
            self.router, self.facts, _Tables(db, NumberTables(dsn, reactor, self._threads)), s, reactor, self._loaded
        )  # fmt: skip
        store = RehomingStore(db, node)
        self.watch = Watch(store, fleet, self.quality, reactor, node)
        self._store = store
        self.rehoming: Rehoming

    @property
    def validity(self) -> float:
        """Seconds that a message without an end of its own is tried."""
        return self._settings.routing.validity_hours * 3600.0

    def connect(self, outcomes: Outcomes) -> None:
        """Outcomes tell what is heard of SMSCs, and of messages that try the next one."""
        self._outcomes = outcomes
        self.rehoming = Rehoming(self._store, self._fleet, self.router, outcomes, self._accounts, self._reactor, self._node)
        self.rehoming.validity_hours = self._settings.routing.validity_hours
        outcomes.routed_again = self.rehoming.wake
        self._loaded()

    async def start(self) -> None:
        """Before anything is accepted. Raises what the database raises."""
        await self.tables.start()
        await self.watch.restore()
        self._db.listen(CHANNEL, self.tables.changed)
        self.watch.start()
        self.rehoming.start()

    def configure(self, settings: Settings) -> None:
        """Other rules, other SMSCs (SIGHUP)."""
        self._settings = settings
        self.rehoming.validity_hours = settings.routing.validity_hours
        for c in self._fleet.connectors.values():
            c.failures.validity = self.validity
        self.tables.configure(settings)
        self.rehoming.wake()

    def stop(self) -> Deferred[Any]:
        """Before the connectors stop. Fires once nothing is being routed anew."""
        self.tables.close()
        return self.rehoming.stop()

    def close(self) -> Deferred[Any]:
        """At the end; the database is still there."""
        self._threads.stop()
        return self.watch.stop()

    def counters(self) -> list[Figure]:
        return [
            ("protei_rerouted", "Messages that waited for an SMSC and went to another one.", (), one(lambda: self.rehoming.moved)),
            ("protei_unroutable", "Messages that waited, and no SMSC was left for them.", (), one(lambda: self.rehoming.failed)),
        ]

    def gauges(self) -> list[Figure]:
        def shares() -> list[tuple[tuple[str, ...], float]]:
            known = ((id, self.quality.share(id)) for id in self._fleet.connectors)
            return [((id,), share) for id, share in known if share is not None]

        return [
            ("protei_routes", "Rules in force.", ("source",),
             lambda: [(("file",), self.tables.in_file), (("database",), self.tables.in_database)]),
            ("protei_ported_numbers", "Ported numbers in memory.", (), one(lambda: self.tables.ported)),
            ("protei_smsc_delivered_share", "Of the lately finished messages, those delivered.", ("smsc",), shares),
        ]  # fmt: skip

    def _loaded(self) -> None:
        self._fleet.rewrite(self.router.rewrites)
        if self._outcomes is not None:
            self._outcomes.second_tries = self.router.second_tries
            self._outcomes.heard = self.quality.note if self.router.by_delivery else None
            self._outcomes.cost = self.facts.cost if len(self.facts.costs) else None
