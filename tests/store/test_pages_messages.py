"""The searches of the portal find what reading everything would find, and look at no more rows at once than they say."""

from __future__ import annotations

import random
import time
from typing import Any
from unittest import mock

from protei_bulk.model import ids
from protei_bulk.store import pages_messages
from protei_bulk.store.pages import Reach
from protei_bulk.store.pages_callbacks import CallbackReads
from protei_bulk.store.pages_inbox import InboxReads
from protei_bulk.store.pages_inbox import Wanted as WantedMo
from protei_bulk.store.pages_messages import MessageSearch, Wanted
from protei_bulk.store.walking import Walk, run_on
from tests.store.database import DatabaseCase

_NOW = int(time.time() * 1000)


class Searches(DatabaseCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.ahmad_id = await self.ahmad()
        await self.accounts.create_customer("Other", {})
        self.other = await self.accounts.create_user("other", "Other", "hash", {})
        self.rows: list[dict[str, Any]] = []

    async def fill(self, n: int, **fixed: Any) -> None:
        chance = random.Random(n)
        rows = [
            {
                "id": ids.first_at(_NOW - (n - i) * 1_000), "user": chance.choice((self.ahmad_id, self.other)),
                "to": f"9627{chance.randrange(9)}", "from": chance.choice(("Shop", "Bank")),
                "status": chance.choice(("SENT", "FAILED", "DELIVERED")), **fixed,
            }
            for i in range(n)
        ]  # fmt: skip
        self.rows += rows
        await self.db.execute(
            "INSERT INTO messages (message_id, user_id, from_addr, to_addr, message_text, submission_channel, status, smpp_msg_id)"
            " SELECT i, u, f, t, 'x', 'SMPP', z, 'smsc-' || i FROM unnest(%s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[])"
            " AS x (i, u, f, t, z)",
            tuple([r[k] for r in rows] for k in ("id", "user", "from", "to", "status")),
        )

    def read(self, w: Wanted) -> list[str]:
        """What `w` asks for, of all rows."""
        users = {self.ahmad_id} if w.reach.user_id or w.reach.customer_id or w.user_id else {self.ahmad_id, self.other}
        return sorted(
            (
                r["id"] for r in self.rows
                if r["user"] in users and w.dest in ("", r["to"]) and w.sender in ("", r["from"]) and w.status in ("", r["status"])
                and (not w.since or r["id"] >= w.since)
            ),
            reverse=True,
        )  # fmt: skip

    async def all_pages(self, search: MessageSearch, w: Wanted, most: int) -> list[str]:
        found: list[str] = []
        for _ in range(200):
            page = await search.page(w, most)
            self.assertLessEqual(len(page.rows), most)
            found += [r["id"] for r in page.rows]
            if not page.next:
                return found
            w = Wanted(**{**{a.name: getattr(w, a.name) for a in w.__attrs_attrs__}, "after": page.next})  # type: ignore[attr-defined]
        raise AssertionError("the search does not end")

    async def test_every_question_finds_everything_page_by_page(self) -> None:
        await self.fill(300)
        search = MessageSearch(self.db)
        since = self.rows[100]["id"]
        customer = (await self.db.query("SELECT customer_id FROM users WHERE id = %s", (self.ahmad_id,)))[0][0]
        with mock.patch.object(pages_messages, "CANDIDATES", 40):
            for reach in (Reach(), Reach(user_id=self.ahmad_id), Reach(customer_id=customer)):
                for more in ({}, {"status": "FAILED"}, {"dest": "96273"}, {"sender": "Bank", "status": "SENT"}, {"since": since},
                             {"dest": "96273", "sender": "Shop"}, {"user_id": self.ahmad_id, "since": since}, {"dest": "1"}):  # fmt: skip
                    w = Wanted(reach=reach, **more)  # type: ignore[arg-type]
                    self.assertEqual(self.read(w), await self.all_pages(search, w, 7), (reach, more))

    async def test_nothing_of_others(self) -> None:
        await self.fill(20, user=self.other)
        search, theirs = MessageSearch(self.db), self.rows[3]["id"]
        mine = Reach(user_id=self.ahmad_id)
        customer = (await self.db.query("SELECT customer_id FROM users WHERE id = %s", (self.ahmad_id,)))[0][0]
        for w in (Wanted(reach=mine), Wanted(reach=mine, ids=(theirs,)), Wanted(reach=mine, user_id=self.other),
                  Wanted(reach=Reach(customer_id=customer), user_id=self.other), Wanted(reach=mine, dest=self.rows[3]["to"]),
                  Wanted(reach=Reach(customer_id=customer), ids=(theirs,)),
                  Wanted(reach=Reach(customer_id=customer), customer_id=99)):  # fmt: skip
            self.assertEqual((await search.page(w, 50)).rows, [], w)
        self.assertIsNone(await search.user_named(mine, "other"))
        self.assertEqual(await search.by_other_id("smsc-" + theirs), [theirs])

    async def test_a_walk_looks_at_so_many_rows_and_says_how_far_it_came(self) -> None:
        await self.fill(100, status="SENT")
        await self.db.execute("UPDATE messages SET status = 'FAILED' WHERE message_id = %s", (self.rows[5]["id"],))

        def walk(after: str = "") -> Walk:
            w = Walk("messages", "message_id", {"id": "t.message_id"}, filters=[("t.status = %s", ["FAILED"])])
            w.within(after)
            return w

        found = await walk().run(self.db, 10, stretch=30)
        self.assertEqual((found.rows, found.next, found.full), ([], self.rows[70]["id"], False))
        found = await walk(found.next).run(self.db, 10, stretch=80)
        self.assertEqual(([r["id"] for r in found.rows], found.next), ([self.rows[5]["id"]], ""))
        whole = await run_on(walk(), self.db, 10, 3)
        self.assertEqual((len(whole.rows), whole.next), (1, ""))

    async def test_a_walk_along_the_key_reads_no_more_than_its_stretch(self) -> None:
        """By the plan that the database reports: the scan under the limit gives up after it."""
        await self.fill(4000)
        await self.db.query("ANALYZE messages")
        w = Walk("messages", "message_id", {"id": "t.message_id"}, filters=[("t.to_addr = %s", ["1"])])
        asked: list[tuple[str, Any]] = []

        class Noted:
            def query(self, sql: str, params: Any = ()) -> Any:
                asked.append((sql, params))
                return db.query(sql, params)

            def execute(self, sql: str, params: Any = ()) -> Any:
                raise AssertionError

        db = self.db
        await w.run(Noted(), 10, stretch=50)
        for sql, params in asked:
            [(plan,)] = await self.db.query("EXPLAIN (ANALYZE, FORMAT JSON, TIMING OFF) " + sql, params)
            self.assertLessEqual(_read(plan[0]["Plan"]), 52, sql)

    async def test_the_inbox(self) -> None:
        rows = [
            (
                ids.first_at(_NOW - n * 1000, ids.MO_PREFIX), self.ahmad_id if n % 2 else self.other, f"9627{n % 5}",
                "STOP" if n % 3 else "50%_off",
            )
            for n in range(40)
        ]  # fmt: skip
        await self.db.execute(
            "INSERT INTO tbl_mo_messages (message_id, smsc_id, from_addr, to_addr, message_text, payload, user_id, status)"
            " SELECT i, 'A', f, '90', t, '', u, 'ROUTED' FROM unnest(%s::text[], %s::bigint[], %s::text[], %s::text[]) AS x (i, u, f, t)",
            tuple(list(c) for c in zip(*rows, strict=True)),
        )
        reads, mine = InboxReads(self.db), Reach(user_id=self.ahmad_id)
        for wanted, test in (
            (WantedMo(reach=mine), lambda r: True), (WantedMo(reach=mine, text="stop"), lambda r: r[3] == "STOP"),
            (WantedMo(reach=mine, text="0%_O"), lambda r: r[3] != "STOP"),
            (WantedMo(reach=mine, number="96272"), lambda r: r[2] == "96272"),
            (WantedMo(reach=mine, source="96271", status="ROUTED"), lambda r: r[2] == "96271"),
            (WantedMo(reach=mine, id=rows[0][0]), lambda r: False),
        ):  # fmt: skip
            found = await reads.page(wanted, 50)
            self.assertEqual([r["id"] for r in found.rows], [r[0] for r in rows if r[1] == self.ahmad_id and test(r)], wanted)
        one = await reads.one(rows[1][0])
        assert one is not None
        self.assertEqual((one["username"], one["callbacks"], one["opt_out"]), ("ahmad", [], None))

    async def test_callbacks(self) -> None:
        await self.db.execute(
            "INSERT INTO tbl_callback_outbox (user_id, message_id, url, payload, status)"
            " SELECT u, 'MSG-' || n, 'http://x', '{}', z FROM unnest(%s::bigint[], %s::int[], %s::text[]) AS x (u, n, z)",
            ([self.ahmad_id] * 3 + [self.other], [1, 2, 3, 4], ["PARKED", "PENDING", "PARKED", "PARKED"]),
        )
        reads, mine = CallbackReads(self.db), Reach(user_id=self.ahmad_id)
        self.assertEqual([r["message"] for r in (await reads.page(mine)).rows], ["MSG-3", "MSG-2", "MSG-1"])
        self.assertEqual([r["message"] for r in (await reads.page(mine, status="PARKED")).rows], ["MSG-3", "MSG-1"])
        self.assertEqual((await reads.page(mine, message_id="MSG-4")).rows, [])
        self.assertEqual([r["status"] for r in (await reads.page(mine, message_id="MSG-2")).rows], ["PENDING"], "of one that is no more")
        await self.fill(1)
        ended = self.rows[0]["id"]
        await self.db.execute("UPDATE messages SET ended_at = now() WHERE message_id = %s", (ended,))
        await self.db.execute("UPDATE tbl_callback_outbox SET message_id = %s WHERE message_id IN ('MSG-2', 'MSG-4')", (ended,))
        self.assertEqual([r["status"] for r in (await reads.page(mine, message_id=ended)).rows], ["PENDING"])
        self.assertEqual([r["status"] for r in (await reads.page(Reach(), message_id=ended)).rows], ["PARKED", "PENDING"])
        self.assertEqual((await reads.parked(mine), await reads.parked(Reach())), ((2, False), (3, False)))


def _read(node: dict[str, Any]) -> int:
    """The most rows that one scan below has given."""
    rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0) if "Scan" in node["Node Type"] else 0
    return max([int(rows), *(_read(child) for child in node.get("Plans", ()))])
