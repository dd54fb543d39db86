from __future__ import annotations

from typing import Any

import orjson

from protei_bulk.store.callbacks import CallbackOutbox, Retry
from tests.store.database import DatabaseCase


class CallbackOutboxTest(DatabaseCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.outbox = CallbackOutbox(self.db)

    async def add(self, count: int = 1, user_id: int = 7) -> None:
        await self.db.execute(
            """INSERT INTO tbl_callback_outbox (user_id, message_id, url, payload)
            SELECT %s, 'MSG-' || n, 'https://shop.example/', %s FROM generate_series(1, %s) AS n""",
            (user_id, orjson.dumps({"status": "DELIVRD", "n": 1}).decode(), count),
        )

    async def states(self) -> list[tuple[Any, ...]]:
        return await self.db.query(
            """SELECT callback_id, status, attempts, last_error, round(extract(epoch FROM next_attempt_at - now()))::int
            FROM tbl_callback_outbox ORDER BY callback_id"""
        )

    async def test_claimed_once(self) -> None:
        await self.add(5)
        rows = await self.outbox.claim(3)
        self.assertEqual([r.callback_id for r in rows], [1, 2, 3])
        self.assertEqual((rows[0].user_id, rows[0].message_id, rows[0].url), (7, "MSG-1", "https://shop.example/"))
        self.assertEqual((rows[0].payload, rows[0].attempts), ({"status": "DELIVRD", "n": 1}, 0))
        self.assertEqual([r.callback_id for r in await self.outbox.claim(3)], [4, 5])
        self.assertEqual(await self.outbox.claim(3), [])
        self.assertEqual([row[4] for row in await self.states()], [300] * 5)

    async def test_a_lease_ends(self) -> None:
        await self.add()
        await self.outbox.claim(1, 0.0)
        self.assertEqual(len(await self.outbox.claim(1)), 1)

    async def test_done(self) -> None:
        await self.add(3)
        self.assertEqual(await self.outbox.done([1, 3]), 2)
        self.assertEqual([row[0] for row in await self.states()], [2])

    async def test_retry_park_replay(self) -> None:
        await self.add(3)
        await self.outbox.claim(3)
        await self.outbox.retry([Retry(1, 1, 25.0, False, "HTTP 500\0\ud800"), Retry(2, 4, 5.0, True, "x" * 600)])
        await self.outbox.defer([(3, 60.0), (2, 60.0)])
        first, second, third = await self.states()
        self.assertEqual(first, (1, "PENDING", 1, "HTTP 500?", 25))
        self.assertEqual(second[:3], (2, "PARKED", 4))
        self.assertEqual(len(second[3]), 500)
        self.assertEqual((third[2], third[4]), (0, 60))
        [parked] = await self.outbox.parked()
        self.assertEqual((parked.callback_id, parked.attempts, parked.url), (2, 4, "https://shop.example/"))
        self.assertEqual(await self.outbox.parked(user_id=8), [])
        self.assertEqual(await self.outbox.parked(before=2), [])
        self.assertEqual(await self.outbox.replay([1, 2, 3], user_id=8), 0)
        self.assertEqual(await self.outbox.replay([1, 2, 3]), 1)
        self.assertEqual([r.callback_id for r in await self.outbox.claim(3)], [2])

    async def test_expire(self) -> None:
        await self.add(2)
        await self.db.execute("UPDATE tbl_callback_outbox SET created_at = now() - interval '31 days' WHERE callback_id = 1")
        self.assertEqual(await self.outbox.expire(30), 1)
        self.assertEqual([row[0] for row in await self.states()], [2])
