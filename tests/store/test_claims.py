from __future__ import annotations

import contextlib
import time
from typing import Any

import psycopg2

from protei_bulk.model import ids
from protei_bulk.store.claims import Claims
from protei_bulk.store.depths import QueueDepths
from protei_bulk.store.leases import enter_node
from protei_bulk.store.messages import _COLUMNS, WIDTH, Messages, message_from_row
from tests.store.database import DatabaseCase

_NOW = int(time.time() * 1000)


class ClaimsCase(DatabaseCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.user = await self.ahmad()
        self.node, self.epoch = await enter_node(self.db, "one")
        self.now = 1000.0
        self.claims = Claims(self.db, self.node, "", _COLUMNS, WIDTH, message_from_row, lambda: self.now)

    async def fill(self, count: int, *, at: int = _NOW, priority: int = 1, due: str = "now()") -> list[str]:
        """Messages in the queue table; ids in their order."""
        names = [ids.first_at(at + n) for n in range(count)]
        await self.db.execute(
            "INSERT INTO messages (message_id, campaign_id, user_id, from_addr, to_addr, message_text, submission_channel, status, smsc_id,"
            " priority)"
            " SELECT i, 1, %s, 'Shop', '962788123456', 'x', 'SMPP', 'QUEUED', 'a', %s FROM unnest(%s::text[]) i",
            (self.user, priority, names),
        )
        await self.db.execute(
            "INSERT INTO tbl_message_queue (message_id, smsc_id, priority, due_at, match_key)"
            f" SELECT i, 'a', %s, {due}, 1 FROM unnest(%s::text[]) i",
            (priority, names),
        )
        return names

    async def claimed(self, most: int) -> list[str]:
        return [m.id for m in await self.claims.claim("a", most)]

    async def test_goes_on_where_it_ended_and_finds_what_came_behind_its_back(self) -> None:
        young = await self.fill(6)
        self.assertEqual(young[:2], await self.claimed(2))
        old = await self.fill(2, at=_NOW - 10_000)
        self.assertEqual(young[2:4], await self.claimed(2))
        self.now += 10.5
        self.assertEqual(old, await self.claimed(2))
        self.assertEqual(young[4:], await self.claimed(5))
        older = await self.fill(1, at=_NOW - 20_000)
        self.assertEqual([], await self.claimed(5))
        self.now += 1.1
        self.assertEqual(older, await self.claimed(5))

    async def test_urgent_ones_first(self) -> None:
        normal = await self.fill(4)
        await self.claimed(1)
        urgent = await self.fill(2, at=_NOW - 5000, priority=3)
        self.assertEqual([*urgent, normal[1]], await self.claimed(3))

    async def test_what_this_node_puts_back_is_found_at_once(self) -> None:
        messages = Messages(self.db, self.db, self.db, self.node, self.epoch)
        names = await self.fill(5)
        self.assertEqual(names[:3], [m.id for m in await messages.claim("a", 3)])
        await messages.enqueue([{"i": names[0], "q": "a", "y": 1, "w": 0, "a": 0, "h": False, "c": time.time()}])
        self.assertEqual([names[0], names[3]], [m.id for m in await messages.claim("a", 2)])

    async def test_schedules_by_their_time(self) -> None:
        late = await self.fill(2, due="now() + interval '0.2 s'")
        soon = await self.fill(3, at=_NOW + 100, due="now() + interval '0.1 s'")
        await self.db.query("SELECT pg_sleep(0.3)")
        self.assertEqual(soon[:2], await self.claimed(2))
        self.assertEqual(sorted([soon[2], *late]), await self.claimed(3))

    async def test_an_open_transaction_does_not_slow_it_down(self) -> None:
        """200,000 rows come and go; each claim looks at what it takes, and not at what is gone."""
        with contextlib.closing(psycopg2.connect(self.dsn)) as other, other.cursor() as cursor:
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("SELECT count(*) FROM tbl_message_queue")
            for turn in range(20):
                names = await self.fill(10_000, at=_NOW + turn * 10_000)
                for _ in range(5):
                    before = await self._read()
                    got = await self.claimed(2000)
                    read = await self._read() - before
                    self.assertEqual(2000, len(got))
                    if turn:
                        self.assertLess(read, 20_000)
                await self.db.execute("DELETE FROM tbl_message_queue WHERE message_id = ANY (%s)", (names,))
            self.assertEqual([], await self.claimed(10))

    async def _read(self) -> int:
        """Index entries of the queue that were looked at so far."""
        await self.db.query("SELECT pg_stat_force_next_flush()")
        rows: list[tuple[Any, ...]] = await self.db.query(
            "SELECT sum(idx_tup_read)::bigint FROM pg_stat_user_indexes WHERE relname LIKE 'tbl_message_queue%%'", ()
        )
        return int(rows[0][0])


class DepthsTest(ClaimsCase):
    async def test_depth_and_age(self) -> None:
        depths = QueueDepths(self.db, lambda: ["b", "a"])
        await self.fill(30, due="now() - interval '1 minute'")
        await self.fill(10, at=_NOW + 100, due="now() + interval '1 hour'")
        await self.claimed(5)
        await depths.sample()
        self.assertEqual({"a": 35, "b": 0}, depths.depths)
        self.assertTrue(59 < depths.ages["a"] < 120, depths.ages)
        self.assertEqual(0, depths.ages["b"])
        await self.db.execute("ANALYZE tbl_message_queue")
        [(smsc, depth, _)] = await self.db.query("SELECT * FROM queue_figures(ARRAY['a'], 20)")
        self.assertEqual("a", smsc)
        self.assertTrue(25 <= depth <= 45, depth)  # guessed


class RotationTest(DatabaseCase):
    async def parts(self) -> list[str]:
        rows = await self.db.query(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'tbl_message_queue'::regclass ORDER BY 1"
        )
        return [r[0] for r in rows]

    async def test_empty_days_go(self) -> None:
        self.assertEqual(4, len(await self.parts()))
        for name, days in (("tbl_message_queue_p20260101", 0), ("tbl_message_queue_p20260102", 1)):
            await self.db.execute(
                f"CREATE TABLE {name} PARTITION OF tbl_message_queue FOR VALUES FROM ('MSG-0{days}') TO ('MSG-0{days + 1}')"
            )
        await self.db.execute("INSERT INTO tbl_message_queue (message_id, smsc_id) VALUES ('MSG-01A', 'a'), ('MSG-00', 'a')")
        await self.db.execute("DELETE FROM tbl_message_queue WHERE message_id = 'MSG-00'")
        with contextlib.closing(psycopg2.connect(self.dsn)) as other, other.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM tbl_message_queue")
            self.assertEqual([(0,)], await self.db.query("SELECT rotate_queue()"))  # somebody looks at it: later
        self.assertEqual([(1,)], await self.db.query("SELECT rotate_queue()"))
        self.assertEqual(5, len(await self.parts()))
        self.assertEqual([("MSG-01A",)], await self.db.query("SELECT message_id FROM tbl_message_queue"))
