from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from protei_bulk.model import ids
from protei_bulk.store.messages import Messages
from tests.store.database import DatabaseCase

_DAY = 86_400_000
#: (id, user, campaign, state, number)
Row = tuple[str, int, int, str, str]


class FindMessagesTests(DatabaseCase):
    """find_messages() gives what reading everything would give."""

    async def setUp(self) -> None:
        await super().setUp()
        self.messages = Messages(self.db, self.db.dedicated(), self.db.dedicated(), 0)
        self.rows: list[Row] = []

    async def fill(self, rows: list[Row]) -> None:
        self.rows += rows
        await self.db.execute(
            "INSERT INTO messages (message_id, campaign_id, user_id, from_addr, to_addr, message_text, submission_channel, status)"
            " SELECT i, c, u, 'Shop', t, 'x', 'SMPP', z FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::text[], %s::text[])"
            " AS x (i, u, c, z, t)",
            tuple(list(column) for column in zip(*rows, strict=True)),
        )

    async def found(self, users: list[int] | None = None, campaign: int | None = None, states: list[str] | None = None,
                    number: str | None = None, before: str | None = None, most: int = 5) -> list[str]:  # fmt: skip
        rows = await self.db.query(
            "SELECT * FROM find_messages(%s::bigint[], %s, %s::text[], %s, %s, %s)", (users, campaign, states, number, before, most)
        )
        return [r[0] for r in rows]

    def read(self, users: list[int] | None = None, campaign: int | None = None, states: list[str] | None = None,
             number: str | None = None, before: str | None = None, most: int = 5) -> list[str]:  # fmt: skip
        tests: list[Callable[[Row], bool]] = [
            lambda r: users is None or r[1] in users, lambda r: campaign is None or r[2] == campaign,
            lambda r: states is None or r[3] in states, lambda r: number is None or r[4] == number,
            lambda r: before is None or r[0] < before,
        ]  # fmt: skip
        return sorted((r[0] for r in self.rows if all(t(r) for t in tests)), reverse=True)[:most]

    async def same(self, **what: Any) -> None:
        self.assertEqual(self.read(**what), await self.found(**what), str(what))

    async def test_all_questions_over_days_and_pages(self) -> None:
        chance = random.Random(5)
        today = int(time.time()) // 86_400 * _DAY
        rows = []
        for n in range(3000):
            day = chance.choice((-1, 0, 1))
            user = chance.choice((7, 7, 7, 8, 9))
            state = chance.choice(("SENT", "DELIVERED", "FAILED"))
            rows.append((ids.first_at(today + day * _DAY + n), user, 100 + user, state, f"96278812{chance.randrange(400):04d}"))
        await self.fill(rows[:2000])
        await self.messages.summarize()
        await self.fill(rows[2000:])  # younger than what the indexes have
        for _ in range(60):
            what = {
                "users": chance.choice((None, [7], [8], [8, 9], [55])), "campaign": chance.choice((None, None, 107, 108, 155)),
                "states": chance.choice((None, None, ["FAILED"], ["SENT", "DELIVERED"])),
                "number": chance.choice((None, None, chance.choice(rows)[4], "1")), "before": chance.choice((None, chance.choice(rows)[0])),
                "most": chance.choice((1, 5, 51)),
            }  # fmt: skip
            await self.same(**what)
            await self.messages.summarize()

    async def test_few_among_many_are_found_far_back(self) -> None:
        today = int(time.time()) // 86_400 * _DAY
        few = [(ids.first_at(today + n * 7001), 8, 108, "SENT", "962788120000") for n in range(20)]
        await self.db.execute(
            "INSERT INTO messages (message_id, campaign_id, user_id, from_addr, to_addr, message_text, submission_channel, status)"
            " SELECT message_id_at(to_timestamp(%s) + n * interval '1 ms'), 107, 7, 'Shop', '96279' || n, 'x', 'SMPP', 'SENT'"
            " FROM generate_series(1, 150000) AS n WHERE n %% 7001 <> 0",
            (today / 1000,),
        )
        await self.fill(few)
        for _ in range(2):
            await self.same(users=[8], most=51)
            await self.same(campaign=108, most=51)
            await self.same(users=[8], campaign=108, before=few[9][0])
            self.assertEqual([], await self.found([8], 107))
            self.assertEqual([ids.first_at(today + 5)], await self.found(number="962795"))
            await self.messages.summarize()

    async def test_what_is_new_is_taken_in_and_an_empty_day_is_not(self) -> None:
        await self.messages.summarize()
        self.assertEqual({0}, set(self.messages._summarized.values()))
        ((first,),) = await self.db.query(
            "SELECT count(*) FROM pg_class c WHERE c.relkind = 'i'"
            " AND c.relname LIKE 'messages_p%%_to_addr_idx' AND pg_relation_size(c.oid) > 0"
        )
        self.assertGreater(first, 0)
        today = int(time.time()) // 86_400 * _DAY
        await self.fill([(ids.first_at(today + n), 7, 107, "SENT", "9" * 20) for n in range(9000)])
        await self.messages.summarize()
        self.assertGreater(max(self.messages._summarized.values()), 0)
        before = dict(self.messages._summarized)
        await self.messages.summarize()
        self.assertEqual(before, self.messages._summarized)

    async def test_a_node_that_starts_takes_in_what_others_have_not(self) -> None:
        today = int(time.time()) // 86_400 * _DAY
        await self.fill([(ids.first_at(today + n), 7, 107, "SENT", f"96278{n:07d}") for n in range(9000)])
        await self.messages.summarize()
        last = max(self.messages._summarized.values())
        await self.fill([(ids.first_at(today + 9000 + n), 7, 107, "SENT", f"96279{n:07d}") for n in range(3000)])
        other = Messages(self.db, self.db.dedicated(), self.db.dedicated(), 1)
        await other.summarize()
        self.assertGreater(max(other._summarized.values()), last)
        for number in ("962780008999", "962790000000", "962790002999"):
            await self.same(number=number)
        await self.messages.summarize()
        self.assertEqual(max(other._summarized.values()), max(self.messages._summarized.values()))
