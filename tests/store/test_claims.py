from __future__ import annotations

import contextlib
import random
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

    async def fill(self, count: int, *, at: int = _NOW, priority: int = 1, due: str = "now()", owner: int = 1) -> list[str]:
        """Messages in the queue table; ids in their order."""
        names = [ids.first_at(at + n) for n in range(count)]
        await self.db.execute(
            "INSERT INTO messages (message_id, campaign_id, user_id, from_addr, to_addr, message_text, submission_channel, status, smsc_id,"
            " priority)"
            " SELECT i, 1, %s, 'Shop', '962788123456', 'x', 'SMPP', 'QUEUED', 'a', %s FROM unnest(%s::text[]) i",
            (self.user, priority, names),
        )
        await self.db.execute(
            "INSERT INTO tbl_message_queue (message_id, smsc_id, priority, due_at, match_key, owner)"
            f" SELECT i, 'a', %s, {due}, 1, %s FROM unnest(%s::text[]) i",
            (priority, owner, names),
        )
        return names

    async def claimed(self, most: int) -> list[str]:
        return [m.id for m in await self.claims.claim("a", most)]


class ClaimsTests(ClaimsCase):
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

    async def test_what_is_committed_while_a_claim_runs_is_read_too(self) -> None:
        await self.db.execute("ALTER FUNCTION claim_queue RENAME TO really_claim_queue")
        await self.db.execute(
            "CREATE FUNCTION claim_queue(p_smsc TEXT, p_node INTEGER, p_mark BIGINT, p_most INTEGER, p_due TIMESTAMPTZ, p_due_id TEXT,"
            " p_priorities SMALLINT[], p_owners BIGINT[], p_floors TEXT[]) RETURNS TABLE (o_id TEXT, o_priority SMALLINT, o_owner BIGINT,"
            " o_attempts SMALLINT, o_in_doubt BOOLEAN, o_refusals SMALLINT, o_expires TIMESTAMPTZ, o_due TIMESTAMPTZ) LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM pg_advisory_xact_lock(77); RETURN QUERY SELECT * FROM really_claim_queue(p_smsc, p_node, p_mark, p_most,"
            " p_due, p_due_id, p_priorities, p_owners, p_floors); END $$"
        )
        before = await self.fill(1, at=_NOW - 1000)
        with contextlib.closing(psycopg2.connect(self.dsn)) as other, other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(77)")
            claiming = self.claims.claim("a", 10)
            while not await self.db.query("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
                pass
            meanwhile = await self.fill(3, due="now() - interval '1 minute'")  # as if it had begun before
            cursor.execute("SELECT pg_advisory_unlock(77)")
            self.assertEqual([*before, *meanwhile], [m.id for m in await claiming])

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


class FairTests(ClaimsCase):
    """Customers share what is claimed within a priority."""

    async def test_one_with_a_backlog_leaves_half_to_another(self) -> None:
        much = await self.fill(3000, owner=1)
        self.assertEqual(much[:100], await self.claimed(100))
        little = await self.fill(80, at=_NOW + 10_000, owner=2)
        self.assertEqual(sorted([*much[100:150], *little[:50]]), await self.claimed(100))
        self.assertEqual(sorted([*much[150:220], *little[50:]]), await self.claimed(100))  # the rest of its share is the other's
        self.assertEqual(much[220:320], await self.claimed(100))

    async def test_by_weight(self) -> None:
        for name, weight in (("light", 1), ("heavy", 3)):
            await self.accounts.create_customer(name, {})
            await self.db.execute("UPDATE customers SET weight = %s WHERE name = %s", (weight, name))
        [(light, heavy)] = await self.db.query(
            "SELECT min(id) FILTER (WHERE name = 'light'), min(id) FILTER (WHERE name = 'heavy') FROM customers"
        )
        first = await self.fill(500, owner=light)
        second = await self.fill(500, at=_NOW + 1000, owner=heavy)
        self.assertEqual(sorted([*first[:100], *second[:300]]), await self.claimed(400))

    async def test_more_customers_than_rows_are_claimed(self) -> None:
        names = [name for n in range(40) for name in await self.fill(2, at=_NOW + n * 10, owner=100 + n)]
        found: list[str] = []
        for _ in range(9):
            found += await self.claimed(9)
        self.assertEqual(names, sorted(found))
        self.assertEqual([], await self.claimed(9))

    async def test_what_waited_for_a_time_leaves_half_to_what_did_not(self) -> None:
        later = await self.fill(50, due="now() + interval '0.1 s'", owner=1)
        await self.db.query("SELECT pg_sleep(0.2)")
        now = await self.fill(50, at=_NOW + 100, owner=2)
        self.assertEqual(sorted([*later[:10], *now[:10]]), await self.claimed(20))
        self.assertEqual(sorted([*later[10:], *now[10:]]), sorted([*await self.claimed(60), *await self.claimed(60)]))

    async def test_the_customer_is_found_where_nobody_names_it(self) -> None:
        [name] = await self.fill(1)
        await self.db.execute("DELETE FROM tbl_message_queue")
        await self.db.execute("INSERT INTO tbl_message_queue (message_id, smsc_id) VALUES (%s, 'a'), ('MSG-01', 'a')", (name,))
        [(customer,)] = await self.db.query("SELECT customer_id FROM users")
        rows = await self.db.query("SELECT message_id, owner FROM tbl_message_queue ORDER BY 1")
        self.assertEqual([("MSG-01", 0), (name, customer)], rows)

    async def test_any_mixture(self) -> None:
        """Each row once; higher priorities first; the old ones of a customer first; nobody less than a share while it has more."""
        for seed in range(12):
            chance = random.Random(seed)
            await self.db.execute("TRUNCATE messages, tbl_message_queue")
            self.claims.forget()
            waiting: dict[tuple[int, int], list[str]] = {}
            at = _NOW
            for _ in range(chance.randrange(3, 10)):
                count, priority, owner = chance.choice((1, 3, 40)), chance.choice((0, 1, 1, 3)), chance.randrange(4)
                waiting.setdefault((priority, owner), []).extend(await self.fill(count, at=at, priority=priority, owner=owner))
                at += 50
            while any(waiting.values()):
                most = chance.choice((1, 7, 30))
                if chance.random() < 0.3:
                    self.now += 20  # from the beginning again
                got = set(await self.claimed(most))
                self.assertEqual(min(most, sum(map(len, waiting.values()))), len(got), seed)
                room = most
                for priority in (3, 2, 1, 0):
                    flows = {o: names for (p, o), names in waiting.items() if p == priority and names}
                    shares = {o: [n for n in names if n in got] for o, names in flows.items()}
                    for o, names in flows.items():
                        self.assertEqual(names[: len(shares[o])], shares[o], seed)
                        if len(shares[o]) < len(names):
                            self.assertGreaterEqual(len(shares[o]), room // len(flows), seed)
                    taken = sum(map(len, shares.values()))
                    self.assertEqual(min(room, sum(map(len, flows.values()))), taken, seed)
                    room -= taken
                    for o in flows:
                        waiting[priority, o] = flows[o][len(shares[o]) :]
            self.assertEqual([], await self.claimed(5))


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
