from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail

from protei_bulk.model import ids
from protei_bulk.store.messages import Messages
from tests.store.database import DatabaseCase


class AnswerLost(Exception):
    pass


class LosesAnswers:
    """A connection that dies after what it was asked has happened."""

    def __init__(self, db: Any) -> None:
        self.db, self.lose = db, False

    def query(self, sql: str, params: Sequence[Any] = ()) -> Deferred[list[tuple[Any, ...]]]:
        d: Deferred[Any] = self.db.query(sql, params)
        return d.addCallback(lambda _: fail(AnswerLost())) if self.lose else d

    def execute(self, sql: str, params: Sequence[Any] = ()) -> Deferred[int]:
        d: Deferred[int] = self.db.execute(sql, params)
        return d


class MessagesCase(DatabaseCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.line = LosesAnswers(self.db)
        self.messages = Messages(self.line, self.db, self.db, 0)
        self.maker = ids.IdMaker(time.time)
        await self.db.query("SELECT ensure_partitions()")

    async def message(self, segments: int = 1) -> str:
        id = self.maker.message()
        await self.db.execute(
            "INSERT INTO messages (message_id, user_id, from_addr, to_addr, message_text, submission_channel, status, smsc_id, segments)"
            " VALUES (%s, 7, 'A', '962788123456', 'x', 'SMPP', 'QUEUED', 'a', %s)",
            (id, segments),
        )
        return id


class ClaimTest(MessagesCase):
    async def test_what_a_claim_without_an_answer_took_comes_with_the_next(self) -> None:
        id = await self.message()
        await self.messages.enqueue([{"i": id, "q": "a", "y": 1, "w": 0, "a": 0, "h": False}])
        self.line.lose = True
        await self.assertFailure(self.messages.claim("a", 10), AnswerLost)
        self.line.lose = False
        self.assertEqual([id], [m.id for m in await self.messages.claim("a", 10)])
        self.assertEqual([], await self.messages.claim("a", 10))


class PartsTest(MessagesCase):
    async def test_only_whole_messages_count_as_taken(self) -> None:
        whole, half = await self.message(2), await self.message(2)
        parts = [{"i": i, "n": n, "q": "a", "x": f"{i}-{n}", "z": "SENT"} for i, n in ((whole, 1), (whole, 2), (half, 1))]
        await self.messages.advance(None, 0, None, [], [], [], parts)
        self.assertEqual([(whole, "a", f"{whole}-1")], await self.messages.wholly_taken([whole, half]))

    async def test_the_state_of_a_part_never_regresses(self) -> None:
        id = await self.message(2)
        for status in ("SENT", "DELIVERED", "SENT"):
            await self.messages.advance(None, 0, None, [], [], [], [{"i": id, "n": 1, "q": "a", "x": "x", "z": status}])
        self.assertEqual([(1, "DELIVERED", "x", "")], await self.messages.part_states(id))
