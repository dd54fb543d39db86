"""Where a message would go and why, by the rules of the file and of the database as they are now."""

from __future__ import annotations

from typing import Any

from protei_bulk.model.account import Account
from protei_bulk.model.message import Message
from protei_bulk.routing.costs import CostTable
from protei_bulk.routing.explain import explain
from protei_bulk.routing.facts import RoutingFacts
from protei_bulk.routing.numbering import NumberPlan
from protei_bulk.routing.quality import Quality
from protei_bulk.routing.rules import Router
from protei_bulk.settings import Settings
from protei_bulk.settings.routes import read_route
from protei_bulk.store.messages import Runs
from protei_bulk.store.rehoming import RehomingStore, best_state
from protei_bulk.store.routes import CostRows, RouteRows

_NODE = -1  # none of the nodes


class Explaining:
    """Fails with DatabaseUnavailable or psycopg2.Error."""

    def __init__(self, db: Runs) -> None:
        self._db = db

    async def explain(self, settings: Settings, account: Account, m: Message, now: float) -> dict[str, Any]:
        """See Explanation.record(); beside it how the nodes see each SMSC that is a candidate. `now`: Unix seconds."""
        named = {r.name for r in settings.route}
        rules, stored = list(settings.route), []
        for row in await RouteRows(self._db).all():
            route, _ = read_route(row.table, None)
            if row.enabled and route is not None and row.name not in named:
                rules.append(route)
                stored.append(row.name)
        plan = NumberPlan({m.dest: await self.network(m.dest)})
        states = await RehomingStore(self._db, _NODE).states()
        quality = Quality(settings.routing.delivery_half_life, settings.routing.delivery_least)
        quality.hear((s.smsc, s.delivered, s.finished, s.age) for s in states)
        quality.fold(now)
        facts = RoutingFacts(plan.network, quality)
        rates = {r.currency: r.value for r in settings.routing.rate}
        facts.costs = CostTable([c.cost_of for c in await CostRows(self._db).all()], now, settings.routing.currency, rates)
        router = Router(rules, [c.id for c in settings.smsc], lambda: now, plan=plan, facts=facts)
        found = explain(router, account, m, now)
        record = found.record(stored)
        record["network"] = plan.network(m.dest) or None
        record["smscs"] = [
            {
                "smsc_id": id, "state": getattr(best_state(states, id), "state", None),
                "cost": None if facts.cost(id, m.dest) is None else float(facts.cost(id, m.dest) or 0),
                "delivered_share": quality.share(id),
            }
            for id in record["smscs"]
        ]  # fmt: skip
        return record

    async def network(self, number: str) -> str:
        """The MCC-MNC of a number; "" where it is not known."""
        if not (number.isascii() and number.isdigit() and len(number) <= 20):
            return ""
        heads = [number[:n] for n in range(1, len(number) + 1)]
        rows = await self._db.query(
            "SELECT mccmnc FROM (SELECT mccmnc, 99 AS rank FROM tbl_ported_numbers WHERE number::text = %s AND number = %s"
            " UNION ALL SELECT mccmnc, length(prefix) FROM tbl_networks WHERE prefix = ANY (%s)) n ORDER BY rank DESC LIMIT 1",
            (number, int(number) if len(number) <= 18 else 0, heads),
        )
        return rows[0][0] if rows else ""
