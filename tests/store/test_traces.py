from __future__ import annotations

from twisted.internet.defer import Deferred

from protei_bulk.store.traces import TraceTable
from tests.store.database import DatabaseCase


class TraceTableTest(DatabaseCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.user_id = await self.ahmad()
        self.table = TraceTable(self.db)

    async def names(self) -> list[tuple[str, str]]:
        return [(row.kind, row.name) for row in await self.table.active()]

    async def test_on_and_off(self) -> None:
        self.assertTrue(await self.table.on("USER", "ahmad", 10))
        self.assertFalse(await self.table.on("USER", "nobody", 10))
        self.assertTrue(await self.table.on("SMSC", "Zain", 5, actor_id=9))
        self.assertEqual([("USER", "ahmad"), ("SMSC", "Zain")], await self.names())
        seconds = (await self.table.active())[1].seconds
        self.assertTrue(290 < seconds <= 300, seconds)
        self.assertTrue(await self.table.on("SMSC", "Zain", 60))
        self.assertGreater((await self.table.active())[1].seconds, 3500)
        self.assertEqual(1, await self.table.off("USER", "ahmad"))
        self.assertEqual(0, await self.table.off("USER", "ahmad"))
        self.assertEqual(1, await self.table.off())
        self.assertEqual([], await self.names())
        self.assertEqual(
            [("TRACE_ON", self.user_id, None, {"kind": "USER", "name": "ahmad", "minutes": 10}),
             ("TRACE_ON", None, 9, {"kind": "SMSC", "name": "Zain", "minutes": 5})],
            [row for row in await self.audit() if row[0] == "TRACE_ON"][:2],
        )  # fmt: skip

    async def test_it_ends_by_itself(self) -> None:
        await self.table.on("USER", "ahmad", 10)
        await self.db.execute("UPDATE tbl_traces SET until = now() - interval '1 second'")
        self.assertEqual([], await self.names())
        self.assertEqual(0, await self.table.off())
        self.assertEqual([], await self.db.query("SELECT name FROM tbl_traces"))

    async def test_the_nodes_hear_of_it(self) -> None:
        heard: list[Deferred[None]] = [Deferred(), Deferred(), Deferred()]
        waiting = iter(heard)
        self.db.listen("protei_traces", lambda _: next(waiting).callback(None))
        await heard[0]
        await self.table.on("USER", "ahmad", 10)
        await heard[1]
        await self.table.off()
        await heard[2]
