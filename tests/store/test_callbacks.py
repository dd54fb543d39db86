from __future__ import annotations

import time
from typing import Any

import orjson

from protei_bulk.store.callbacks import CallbackOutbox, CallbackSecrets, Retry, SecretVersion
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
        [parked] = await self.outbox.listed(status="PARKED")
        self.assertEqual((parked.callback_id, parked.attempts, parked.url), (2, 4, "https://shop.example/"))
        self.assertEqual((parked.next_attempt_at, parked.delivered_at), (None, None))
        self.assertEqual(await self.outbox.listed(user_id=8), [])
        self.assertEqual([r.callback_id for r in await self.outbox.listed(before=3)], [2, 1])
        self.assertEqual([r.callback_id for r in await self.outbox.listed(message_id="MSG-3")], [3])
        self.assertEqual(await self.outbox.listed(customer_id=1), [])
        self.assertEqual(await self.outbox.replay([1, 2, 3], user_id=8), [])
        self.assertEqual(await self.outbox.replay([1, 2, 3]), [2])
        self.assertEqual([r.callback_id for r in await self.outbox.claim(3)], [2])

    async def test_what_was_delivered_stays_for_a_while(self) -> None:
        await self.add(3)
        await self.db.execute("UPDATE tbl_callback_outbox SET message_id = 'MO-1' WHERE callback_id = 3")
        await self.outbox.retry([Retry(1, 1, 0.0, False, "HTTP 500")])
        await self.outbox.done([1, 2, 3], keep=True)
        rows = await self.outbox.listed()
        found = [(r.callback_id, r.status, r.attempts, r.last_error) for r in rows]
        self.assertEqual(found, [(2, "DELIVERED", 1, ""), (1, "DELIVERED", 2, "")])
        self.assertIsNotNone(rows[0].delivered_at)
        self.assertEqual(await self.outbox.claim(10), [])
        self.assertEqual(await self.outbox.replay(None), [])
        self.assertEqual(await self.outbox.replay([1]), [])
        self.assertEqual(await self.outbox.replay([1], delivered=True), [1])
        self.assertEqual([r.callback_id for r in await self.outbox.claim(10)], [1])
        await self.db.execute("UPDATE tbl_callback_outbox SET delivered_at = now() - interval '25 hours' WHERE callback_id = 2")
        self.assertEqual(await self.outbox.expire(30, 24), 1)
        self.assertEqual([r.callback_id for r in await self.outbox.listed()], [1])

    async def test_secrets_by_version(self) -> None:
        secrets = CallbackSecrets(self.db)
        await self.add()
        [row] = await self.outbox.claim(1, 0.0)
        self.assertEqual((row.version, row.overlap), (1, False))
        self.assertEqual(await secrets.current(7), SecretVersion())
        found = await secrets.rotate(7, 3600.0, actor_id=9, ip="192.0.2.1")
        self.assertEqual(found.version, 2)
        self.assertLess(abs((found.previous_until or 0) - time.time() - 3600), 60)
        self.assertEqual(await secrets.current(7), found)
        [row] = await self.outbox.claim(1, 0.0)
        self.assertEqual((row.version, row.overlap), (2, True))
        self.assertEqual((await secrets.rotate(7, 0.0)), SecretVersion(3, None))
        [row] = await self.outbox.claim(1, 0.0)
        self.assertEqual((row.version, row.overlap), (3, False))
        self.assertEqual((await self.audit())[0], ("CALLBACK_SECRET_ROTATED", 7, 9, {"version": 2}))

    async def test_expire(self) -> None:
        await self.add(2)
        await self.db.execute("UPDATE tbl_callback_outbox SET created_at = now() - interval '31 days' WHERE callback_id = 1")
        self.assertEqual(await self.outbox.expire(30), 1)
        self.assertEqual([row[0] for row in await self.states()], [2])
