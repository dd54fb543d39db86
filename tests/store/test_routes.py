from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from twisted.internet.defer import Deferred

from protei_bulk.access.ports import NOBODY, Actor
from protei_bulk.settings import Match, Rewrite, Route
from protei_bulk.settings.routes import read_route
from protei_bulk.store.account_rows import NameTaken
from protei_bulk.store.routes import CostRows, RouteRows
from tests.store.database import DatabaseCase

FULL = {
    "name": "vip", "order": 5, "to": ["A", "B"], "strategy": "weighted", "weights": [3, 1], "price": "0.025",
    "match": {"prefix": ["96278"], "time": "08:00-20:00 Asia/Amman", "min_segments": 2}, "rewrite": {"sender": "Brand", "dest_ton": 1},
    "next_after_receipt": True,
}  # fmt: skip


class RouteRowsTest(DatabaseCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.routes = RouteRows(self.db)

    async def test_what_goes_in_comes_out(self) -> None:
        for table in (FULL, {"name": "plain", "to": "A"}, {"name": "no", "reject": "ESME_RINVDSTADR", "order": -3}):
            await self.routes.add(table, actor=NOBODY)
            row = await self.routes.get(table["name"])
            assert row is not None
            given, read = read_route(table, None)[0], read_route(row.table, None)[0]
            self.assertEqual(given, read)
            self.assertIsNotNone(read)
        self.assertEqual(["no", "vip", "plain"], [r.name for r in await self.routes.all()])
        full = read_route((await self.routes.all())[1].table, None)[0]
        match = Match(("96278",), time="08:00-20:00 Asia/Amman", min_segments=2)
        self.assertEqual(
            Route("vip", ("A", "B"), 5, match, "weighted", (3, 1), Decimal("0.025"), Rewrite("Brand", dest_ton=1), "", True), full
        )

    async def test_names_are_given_once(self) -> None:
        await self.routes.add({"name": "a", "to": ["A"]}, actor=NOBODY)
        await self.assertFailure(self.routes.add({"name": "a", "to": ["B"]}, actor=NOBODY), NameTaken)
        self.assertIsNone(await self.routes.get("b"))
        self.assertFalse(await self.routes.replace("b", {"to": ["A"]}, enabled=True, actor=NOBODY))
        self.assertFalse(await self.routes.remove("b", actor=NOBODY))

    async def test_replacing_leaves_nothing_of_the_old_one(self) -> None:
        await self.routes.add(FULL, actor=NOBODY)
        self.assertTrue(await self.routes.replace("vip", {"to": ["C"]}, enabled=False, actor=NOBODY))
        row = await self.routes.get("vip")
        assert row is not None
        self.assertEqual((Route("vip", ("C",)), False), (read_route(row.table, None)[0], row.enabled))

    async def test_every_change_is_in_the_audit(self) -> None:
        user_id = await self.ahmad()
        actor = Actor(user_id, "192.0.2.1", "curl")
        await self.routes.add(FULL, actor=actor)
        await self.routes.replace("vip", {"to": ["C"], "order": 7}, enabled=False, actor=actor)
        await self.routes.remove("vip", actor=actor)
        found = [row for row in await self.audit() if row[0].startswith("ROUTE")]
        actions = [("ROUTE_ADD", None, user_id), ("ROUTE_SET", None, user_id), ("ROUTE_REMOVE", None, user_id)]
        self.assertEqual(actions, [r[:3] for r in found])
        self.assertEqual(FULL, found[0][3]["route"])
        self.assertEqual(({"to": ["C"], "order": 7}, 5), (found[1][3]["route"], found[1][3]["before"]["position"]))
        self.assertEqual((["C"], False), (found[2][3]["before"]["targets"], found[2][3]["before"]["enabled"]))

    async def test_nodes_hear_of_it(self) -> None:
        heard: list[str] = []
        waiting: list[Deferred[None]] = [Deferred() for _ in range(3)]

        def hear(payload: str) -> None:
            heard.append(payload)
            waiting[len(heard) - 1].callback(None)

        self.db.listen("protei_routes", hear)
        await waiting[0]
        await self.routes.add(FULL, actor=NOBODY)
        await waiting[1]
        await self.routes.remove("vip", actor=NOBODY)
        await waiting[2]
        self.assertEqual(["", "tbl_routes", "tbl_routes"], heard)


class CostRowsTest(DatabaseCase):
    async def test_set_replace_remove(self) -> None:
        costs = CostRows(self.db)
        january = datetime(2025, 1, 1, tzinfo=UTC)
        await costs.set("A", "41601", "", Decimal("0.01"), "USD", None, actor=NOBODY)
        number = await costs.set("A", "", "96278", Decimal("0.02"), "USD", january, actor=NOBODY)
        self.assertEqual(number, await costs.set("A", "", "96278", Decimal("0.025"), "EUR", january, actor=NOBODY))
        await costs.set("B", "", "", Decimal("0.03"), "USD", None, actor=NOBODY)
        rows = await costs.all("A")
        self.assertEqual(
            [("", "96278", Decimal("0.025"), "EUR", january), ("41601", "", Decimal("0.01"), "USD", None)],
            [(r.mccmnc, r.prefix, r.cost, r.currency, r.valid_from) for r in rows],
        )
        self.assertEqual((january.timestamp(), float("-inf")), (rows[0].cost_of.valid_from, rows[1].cost_of.valid_from))
        self.assertTrue(await costs.remove(number, actor=NOBODY))
        self.assertFalse(await costs.remove(number, actor=NOBODY))
        self.assertEqual(2, len(await costs.all()))
        self.assertEqual(["COST_SET"] * 4 + ["COST_REMOVE"], [row[0] for row in await self.audit() if row[0].startswith("COST")])
