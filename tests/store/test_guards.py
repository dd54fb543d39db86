"""Blacklists, opt-outs and pauses in PostgreSQL; what nodes read of them."""

from __future__ import annotations

import psycopg2
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from protei_bulk.access.ports import NOBODY, Actor
from protei_bulk.guards.checker import Lists
from protei_bulk.guards.velocity import Excess
from protei_bulk.store.guard_lists import GuardStore, Imported, import_numbers, read_lists
from tests.store.database import DatabaseCase

FIRST, SECOND = 962790000001, 962790000002


class GuardsTest(DatabaseCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.user = await self.ahmad()
        [(self.customer,)] = await self.db.query("SELECT customer_id FROM users")
        self.rows = GuardStore(self.db, self.dsn, reactor)
        self.addCleanup(self.rows.close)

    async def followed(self, lists: Lists, version: int) -> int:
        """As a node does."""
        changes = await self.rows.changes(version, 1000)
        assert changes is not None
        for customer, number, is_prefix, there in changes[0]:
            lists.bar(customer, number, is_prefix, there)
        for customer, sender, number, out in changes[1]:
            lists.opt(customer, sender, number, out)
        return changes[2]

    async def same(self, lists: Lists) -> None:
        """What was followed is what would be read."""
        whole, _ = await self.rows.load()
        for number in (FIRST, SECOND, 962771234567):
            for customer in (0, self.customer):
                found = [x.barred[customer].find(number) if customer in x.barred else "" for x in (whole, lists)]
                self.assertEqual(found[0], found[1])
                for sender in ("", "shop"):
                    found_out = [number in x.opted_out.get(customer, {}).get(sender, ()) for x in (whole, lists)]
                    self.assertEqual(found_out[0], found_out[1])

    async def test_nodes_follow(self) -> None:
        lists, version = await self.rows.load()
        self.assertEqual((lists.numbers, version), (0, 0))
        await self.rows.bar(0, [FIRST, SECOND], False, "spam", actor=NOBODY)
        await self.rows.bar(self.customer, [96277], True, "", actor=NOBODY)
        version = await self.followed(lists, version)
        self.assertEqual(lists.barred[0].find(FIRST), str(FIRST))
        self.assertEqual(lists.barred[self.customer].find(962771234567), "96277*")
        await self.same(lists)
        self.assertTrue(await self.rows.unbar(0, FIRST, False, actor=NOBODY))
        self.assertFalse(await self.rows.unbar(0, FIRST, False, actor=NOBODY))
        [entry] = await self.rows.barred(self.customer)
        self.assertFalse(await self.rows.unbar_entry(entry.entry_id, self.customer + 1, actor=NOBODY))
        self.assertTrue(await self.rows.unbar_entry(entry.entry_id, self.customer, actor=NOBODY))
        await self.rows.record([{"c": self.customer, "n": FIRST, "s": "Shop", "o": True, "r": "CLI"}])
        version = await self.followed(lists, version)
        self.assertEqual((lists.numbers, lists.opt_outs), (1, 1))
        await self.same(lists)
        self.assertEqual(await self.followed(lists, version), version)
        self.assertIsNone(await self.rows.changes(0, 2))
        actions = [a for a, *_ in await self.audit()]
        self.assertEqual(actions[-4:], ["BLACKLIST_ADD", "BLACKLIST_ADD", "BLACKLIST_REMOVE", "BLACKLIST_REMOVE"])

    async def test_whole_lists_in_more_than_one_piece(self) -> None:
        await self.db.execute("INSERT INTO tbl_blacklist (number) SELECT 962790000000 + i FROM generate_series(1, 250000) i")
        lists, _ = await self.rows.load()
        self.assertEqual(lists.numbers, 250_000)
        self.assertTrue(all(lists.barred[0].find(962790000000 + i) for i in (1, 200_000, 200_001, 250_000)))
        self.assertEqual(lists.barred[0].find(962790250001), "")

    async def test_a_version_is_never_overtaken(self) -> None:
        """Who writes second waits for the first: its version is higher, and committed later."""
        first, second = psycopg2.connect(self.dsn), psycopg2.connect(self.dsn)
        self.addCleanup(first.close)
        self.addCleanup(second.close)
        first.cursor().execute("INSERT INTO tbl_blacklist (number) VALUES (111111)")
        waiting = deferToThread(second.cursor().execute, "SET lock_timeout = '200ms'; INSERT INTO tbl_blacklist (number) VALUES (222222)")
        await self.assertFailure(waiting, psycopg2.errors.LockNotAvailable)

    async def test_the_ledger(self) -> None:
        def row(out: bool, sender: str = "", at: float = 0.0, **more: object) -> dict[str, object]:
            return {"c": self.customer, "n": FIRST, "s": sender, "o": out, "r": "API", **({"w": at} if at else {}), **more}

        actor = Actor(self.user, "10.0.0.1", "test")
        self.assertEqual(await self.rows.record([row(True, "Shop"), row(True, "Bank")], actor=actor), 2)
        self.assertEqual({o.sender for o in await self.rows.opt_outs(self.customer)}, {"shop", "bank"})
        await self.rows.record([row(False, "Shop")])
        self.assertEqual([o.sender for o in await self.rows.opt_outs(self.customer, number=FIRST)], ["bank"])
        self.assertEqual(await self.rows.record([row(False)]), 2)  # from all: each of them, and whatever comes
        self.assertEqual(await self.rows.opt_outs(None), [])
        self.assertEqual([o.opted_out for o in await self.rows.history(None, FIRST)], [True, True, False, False, False])
        # What is told late does not undo what came after it.
        await self.rows.record([row(True, at=2e9)])
        await self.rows.record([row(False, at=1e9)])
        self.assertEqual(len(await self.rows.opt_outs(None)), 1)
        # A message counts once.
        self.assertEqual(await self.rows.record([row(True, r="MO", m="MO-1")]), 1)
        self.assertEqual(await self.rows.record([row(True, r="MO", m="MO-1")]), 0)
        for sql in ("UPDATE tbl_opt_outs SET opted_out = FALSE", "DELETE FROM tbl_opt_outs", "TRUNCATE tbl_opt_outs"):
            await self.assertFailure(self.db.execute(sql), psycopg2.errors.RaiseException)

    async def test_imports(self) -> None:
        bad: list[int] = []

        def run(lines: list[str], **options: object) -> Imported:
            return import_numbers(self.dsn, lines, lambda n, _: bad.append(n), customer_id=self.customer, **options)  # type: ignore[arg-type]

        lines = ["\ufeffnumber;why\n", f"+{FIRST};x\n", f"00{SECOND}\n", '"962 77*",y\n', f"{FIRST}\n", "12\n", "\n"]
        self.assertEqual(await deferToThread(run, lines), Imported(4, 3, 0, 2))
        self.assertEqual(bad, [1, 6])
        self.assertEqual(await deferToThread(run, [str(SECOND)], replace=True), Imported(1, 0, 2, 0))
        self.assertEqual([e.number for e in await self.rows.barred(self.customer)], [str(SECOND)])
        self.assertEqual(await deferToThread(run, ["nonsense"], replace=True), Imported(0, 0, 0, 1))  # an empty file takes nothing away
        self.assertEqual(await deferToThread(run, [str(FIRST), str(SECOND)], opt_out=True), Imported(2, 2, 0, 0))
        self.assertEqual(await deferToThread(run, [str(FIRST), "96277*"], opt_out=True), Imported(1, 0, 0, 1))
        lists, _ = await deferToThread(read_lists, self.dsn)
        self.assertEqual((lists.numbers, lists.opt_outs), (1, 2))

    async def test_pauses(self) -> None:
        burst, hour = Excess(self.user, "RANGE", "96279000", "JO", 2001, 2000), Excess(self.user, "COUNTRY", "JM", "JM", 9, 8)
        found = [(burst, "pause"), (hour, "alert")]
        numbers = await self.rows.found(found, 1, 0.0)
        self.assertEqual(await self.rows.found(found[:1], 2, 0.0), [])  # it is paused already
        [event] = await self.rows.events(paused=True)
        self.assertEqual((event.event_id, event.target, event.username), (numbers[0], "96279000", "ahmad"))
        self.assertEqual(len(await self.rows.events(customer_id=self.customer)), 2)
        self.assertTrue(await self.rows.release(event.event_id, actor=NOBODY))
        self.assertFalse(await self.rows.release(event.event_id, actor=NOBODY))
        await self.rows.found(found[:1], 1, 60.0)
        self.assertEqual(await self.rows.end_pauses(), 0)
        await self.db.execute("UPDATE tbl_velocity_events SET ends_at = now() WHERE released_at IS NULL")
        await self.rows.end_pauses()
        self.assertEqual(await self.rows.events(paused=True), [])
        actions = sorted(a for a, *_ in await self.audit() if a.startswith("VELOCITY"))
        self.assertEqual(actions, ["VELOCITY_ALERT", "VELOCITY_PAUSED", "VELOCITY_PAUSED", "VELOCITY_RELEASED"])

    async def test_baselines(self) -> None:
        rows = [{"u": self.user, "r": r, "a": 1.5, "b": 20.0, "h": 30} for r in ("JO", "SA")]
        await self.rows.save_baselines(3, rows)
        await self.rows.save_baselines(3, rows[:1])
        self.assertEqual((await self.rows.baselines(3))[0], rows[:1])
        self.assertEqual((await self.rows.baselines(4))[0], [])

    async def test_account_columns(self) -> None:
        await self.accounts.set_user("ahmad", {"duplicate_seconds": 60, "transactional": True, "velocity": "pause"})
        await self.accounts.set_customer("Demo", {"allowed_countries": ["JO"], "blocked_countries": []})
        found = await self.accounts.by_username("ahmad")
        assert found is not None and found.account.guards is not None
        guards = found.account.guards
        self.assertEqual((guards.duplicate_seconds, guards.transactional, found.account.velocity), (60, True, "pause"))
        self.assertEqual((guards.admits("JO"), guards.admits("SA")), (True, False))
