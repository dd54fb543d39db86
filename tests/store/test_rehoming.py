from __future__ import annotations

import time
from typing import Any

from protei_bulk.model import ids
from protei_bulk.model.message import Message
from protei_bulk.store.leases import enter_node
from protei_bulk.store.messages import Messages, row_of
from protei_bulk.store.rehoming import ANEW, RehomingStore
from tests.store.database import DatabaseCase

DAY = "2027-01-15"


class QueueCase(DatabaseCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.maker = ids.IdMaker(time.time)
        self.node = (await enter_node(self.db, "one"))[0]
        self.messages = Messages(self.db, self.db, self.db, self.node)
        self.store = RehomingStore(self.db, self.node)
        self.user = await self.ahmad()

    async def accept(self, smsc: str = "a", *, route: str = "", due: float = 0.0, priority: int = 1, queued: bool = True,
                     **values: Any) -> str:  # fmt: skip
        m = Message()
        m.id, m.user_id, m.campaign_id = self.maker.message(), self.user, 1
        m.source, m.dest, m.text, m.smsc, m.route, m.priority = "Shop", "962788123456", "Hello", smsc, route, priority
        m.queued, m.not_before = queued, due
        for name, value in values.items():
            setattr(m, name, value)
        charges = [{"u": self.user, "c": 1, "d": DAY, "n": 1, "k": 1, "a": "0", "m": 1}]
        await self.messages.accept(charges, [row_of(m, DAY)], queued)
        return m.id

    async def queue(self) -> list[tuple[str, str, Any]]:
        return await self.db.query("SELECT message_id, smsc_id, claimed_by FROM tbl_message_queue ORDER BY message_id")

    async def message(self, id: str, columns: str) -> tuple[Any, ...]:
        [row] = await self.db.query(f"SELECT {columns} FROM messages WHERE message_id = %s", (id,))
        return row


class QueueTest(QueueCase):
    async def test_the_rule_is_stored(self) -> None:
        self.assertEqual(("vip",), await self.message(await self.accept(route="vip"), "route"))
        self.assertEqual((None,), await self.message(await self.accept(), "route"))

    async def test_what_is_due_by_smsc(self) -> None:
        self.assertEqual([], await self.store.queued())
        for smsc in ("b", "a", "b", "c"):
            await self.accept(smsc)
        await self.accept("later", due=time.time() + 60)
        soon = await self.accept("soon", due=time.time() + 0.1)
        await self.db.query("SELECT pg_sleep(0.15)")
        await self.messages.claim("c", 10)
        self.assertEqual(["a", "b", "soon"], sorted(await self.store.queued()))
        await self.store.ripen("soon", 10)
        self.assertEqual([soon], [m.id for m in (await self.store.claim("soon", 1, "", 10, None)).messages])

    async def test_a_stretch_and_the_rules_that_are_wanted(self) -> None:
        made = [await self.accept(route=("vip", "news", "")[n % 3]) for n in range(9)]
        urgent = await self.accept(route="vip", priority=3)
        first = await self.store.claim("a", 1, "", 4, ["vip"])
        self.assertEqual((4, made[3], [made[0], made[3]]), (first.seen, first.last, [m.id for m in first.messages]))
        second = await self.store.claim("a", 1, first.last, 4, ["vip", ""])
        self.assertEqual([made[5], made[6]], [m.id for m in second.messages])
        self.assertEqual([urgent], [m.id for m in (await self.store.claim("a", 3, "", 4, ["vip"])).messages])
        nothing = await self.store.claim("a", 2, "", 4, None)
        self.assertEqual((0, "", ()), (nothing.seen, nothing.last, nothing.messages))

    async def test_moving(self) -> None:
        one, two, three = [await self.accept(route="old") for _ in range(3)]
        claimed = (await self.store.claim("a", 1, "", 10, None)).messages
        self.assertEqual(["a"] * 3, [m.smsc for m in claimed])
        await self.messages.claim("nobody", 1)
        for _ in range(2):
            await self.store.move([{"i": one, "q": "b"}, {"i": two, "q": "c", "r": "new"}, {"i": three, "q": "a", "w": time.time() + 60}])
        self.assertEqual([(one, "b", None), (two, "c", None), (three, "a", None)], await self.queue())
        self.assertEqual((("old",), ("new",)), (await self.message(one, "route"), await self.message(two, "route")))
        self.assertEqual(["b", "c"], sorted(await self.store.queued()))

    async def test_what_another_node_has_claimed_stays(self) -> None:
        one = await self.accept()
        other = Messages(self.db, self.db, self.db, (await enter_node(self.db, "two"))[0])
        await other.claim("a", 10)
        self.assertEqual((), (await self.store.claim("a", 1, "", 10, None)).messages)
        await self.store.move([{"i": one, "q": "b"}])
        self.assertEqual("a", (await self.queue())[0][1])

    async def test_one_that_is_final_leaves_the_queue(self) -> None:
        one = await self.accept()
        await self.db.execute("UPDATE messages SET status = 'DELETED' WHERE message_id = %s", (one,))
        self.assertEqual((), (await self.store.claim("a", 1, "", 10, None)).messages)
        await self.db.query("SELECT 1")
        self.assertEqual([], await self.queue())

    async def test_refusals_and_the_end_of_validity_come_back(self) -> None:
        one = await self.accept(queued=False)
        end = time.time() + 3600
        row = {"i": one, "q": "a", "y": 1, "w": 0, "a": 2, "h": False, "b": False, "c": time.time(), "n": 3, "e": end, "t": "b:REJECTD:069"}
        await self.messages.enqueue([row])
        [m] = await self.messages.claim("a", 10)
        self.assertEqual((2, 3, "b:REJECTD:069"), (m.attempts, m.refusals, m.tried))
        self.assertAlmostEqual(end, m.valid_until, 3)
        later = {**row, "n": 1, "e": end + 100, "c": time.time() + 1}
        await self.messages.enqueue([later])
        [m] = (await self.store.claim("a", 1, "", 10, None)).messages
        self.assertEqual(3, m.refusals)
        self.assertAlmostEqual(end, m.valid_until, 3)

    async def test_its_own_validity_counts(self) -> None:
        end = time.time() + 60
        one = await self.accept(queued=False, valid_until=end)
        row = {"i": one, "q": "a", "y": 1, "w": 0, "a": 0, "h": False, "b": False, "c": time.time(), "n": 1, "e": end + 1000}
        await self.messages.enqueue([row])
        [m] = await self.messages.claim("a", 10)
        self.assertAlmostEqual(end, m.valid_until, 3)

    async def test_what_waits_too_long_without_being_tried(self) -> None:
        old, scheduled, tried, young = [await self.accept() for _ in range(4)]
        await self.db.execute("UPDATE tbl_message_queue SET due_at = now() - interval '49 hours' WHERE message_id <> %s", (young,))
        await self.db.execute("UPDATE tbl_message_queue SET due_at = now() + interval '1 hour' WHERE message_id = %s", (scheduled,))
        await self.db.execute("UPDATE tbl_message_queue SET expires_at = now() + interval '1 hour' WHERE message_id = %s", (tried,))
        self.assertEqual(1, await self.store.age("MSG-ZZZZZZZZZZZZ", 48, 100))
        self.assertEqual(0, await self.store.age("MSG-0", 48, 100))
        found = await self.db.query("SELECT message_id FROM tbl_message_queue WHERE expires_at <= now()")
        self.assertEqual([(old,)], found)


class AgainTest(QueueCase):
    async def sent(self, id: str, smsc: str, smsc_id: str, again: list[dict[str, Any]] | None = None) -> None:
        row = {"i": id, "z": "SENT", "q": smsc, "x": smsc_id}
        await self.messages.advance([row], 0, None, [], [], [id], [], again=again or [])

    async def test_each_smsc_once(self) -> None:
        one = await self.accept()
        again = [{"i": one, "q": "a", "w": "a:UNDELIV:005"}]
        await self.sent(one, "a", "x1", again)
        self.assertEqual(("SENT", "a:UNDELIV:005"), await self.message(one, "status, tried"))
        self.assertEqual([(one, ANEW, None)], await self.queue())
        [m] = (await self.store.claim(ANEW, 1, "", 10, None)).messages
        self.assertEqual(("a", "a:UNDELIV:005", True), (m.smsc, m.tried, m.queued))
        await self.store.move([{"i": one, "q": "b"}])
        await self.messages.advance(None, 0, None, [], [], [], [], again=again)  # the same once more changes nothing
        self.assertEqual([(one, "b", None)], await self.queue())
        await self.sent(one, "b", "x2", [{"i": one, "q": "b", "w": "b:REJECTD:7"}])
        self.assertEqual(("a:UNDELIV:005 b:REJECTD:7",), await self.message(one, "tried"))
        self.assertEqual([(one, ANEW, None)], await self.queue())

    async def test_not_for_one_that_went_on_meanwhile(self) -> None:
        one = await self.accept()
        await self.sent(one, "b", "x")
        await self.messages.advance(None, 0, None, [], [], [], [], again=[{"i": one, "q": "a", "w": "a:UNDELIV:005"}])
        await self.messages.advance([{"i": one, "z": "DELIVERED", "d": "DELIVRD"}], 0, None, [], [], [], [])
        await self.messages.advance(None, 0, None, [], [], [], [], again=[{"i": one, "q": "b", "w": "b:UNDELIV:005"}])
        self.assertEqual((None,), await self.message(one, "tried"))
        self.assertEqual([], await self.queue())

    async def test_parts_begin_anew(self) -> None:
        one = await self.accept(segments=2)
        parts = [{"i": one, "n": n, "q": "a", "x": f"x{n}", "z": "FAILED", "t": 3} for n in (1, 2, 3)]
        await self.messages.advance([{"i": one, "z": "SENT", "q": "a", "x": "x1"}], 0, None, [], [], [one], parts)
        await self.messages.advance(None, 0, None, [], [], [], [], again=[{"i": one, "q": "a", "w": "a:UNDELIV:"}])
        self.assertEqual([], await self.db.query("SELECT * FROM message_parts"))
        self.assertEqual((None,), await self.message(one, "parts"))


class StatesTest(QueueCase):
    async def test_each_node_has_its_own_and_only_the_newest(self) -> None:
        other = RehomingStore(self.db, (await enter_node(self.db, "two"))[0])
        down = {"q": "b", "z": "DOWN", "w": 1.0, "d": 0, "f": 0}
        await self.store.report([{"q": "a", "z": "BOUND", "w": 100.0, "d": 1.5, "f": 2.0}, down])
        await other.report([{"q": "a", "z": "DOWN", "w": 5.0, "d": 0, "f": 0}])
        await self.store.report([{"q": "a", "z": "DEGRADED", "w": 200.0, "d": 1.5, "f": 2.0}])
        rows = await self.store.states()
        self.assertEqual(
            [(self.node, "a", "DEGRADED", 200.0, 1.5, 2.0), (self.node + 1, "a", "DOWN", 5.0, 0, 0)],
            sorted((r.node, r.smsc, r.state, r.since, r.delivered, r.finished) for r in rows),
        )
        self.assertTrue(all(r.age < 60 and r.alive for r in rows))
        await self.db.execute("UPDATE tbl_nodes SET heartbeat_at = now() - interval '1 minute' WHERE name = 'two'")
        self.assertEqual([True, False], [r.alive for r in await self.store.states()])
        await self.db.execute("UPDATE tbl_nodes SET heartbeat_at = now() - interval '2 hours'")
        self.assertEqual([self.node], [r.node for r in await self.store.states()])
