"""In how many PDUs a message went out, where that is another number than its segments."""

from __future__ import annotations

from protei_bulk.store.messages import Row
from tests.store.test_messages import DAY, MessagesCase


class PartsTest(MessagesCase):
    async def setUp(self) -> None:
        await super().setUp()
        await self.limits()
        self.campaign = await self.messages.day_campaign(self.user, self.customer, DAY, "CAMP-1", "ahmad")

    async def stored(self, segments: int) -> str:
        m = self.message(campaign=self.campaign, segments=segments)
        await self.accept([m])
        return m.id

    def part(self, id: str, n: int, **more: int) -> Row:
        return {"i": id, "n": n, "q": "a", "x": f"x{n}", "z": "SENT", **more}

    async def found(self, *ids: str) -> list[tuple[str, int, int, int]]:
        """(SMSC's id, part, segments, parts) of what is behind these ids."""
        found = await self.messages.find_by_smsc_ids([("a", x) for x in ids], "")
        return sorted((x, part, m.segments, m.parts) for _, x, m, _, part in found)

    async def test_more_than_segments(self) -> None:
        id = await self.stored(1)
        await self.advance([], parts=[self.part(id, 1, t=2)])
        self.assertEqual([], await self.messages.wholly_taken([id]))
        await self.advance([{"i": id, "z": "SENT", "q": "a", "x": "x1"}], parts=[self.part(id, 2, t=2)])
        self.assertEqual([(id, "a", "x1")], await self.messages.wholly_taken([id]))
        self.assertEqual([("x1", 1, 1, 2), ("x2", 2, 1, 2)], await self.found("x1", "x2"))

    async def test_a_whole_one_of_several_segments(self) -> None:
        id = await self.stored(3)
        await self.advance([{"i": id, "z": "SENT", "q": "a", "x": "w"}], parts=[{"i": id, "n": 0, "t": 1}])
        self.assertEqual([("w", 0, 3, 1)], await self.found("w"))
        self.assertEqual([(0,)], await self.db.query("SELECT count(*) FROM message_parts"))

    async def test_whole_after_an_attempt_in_parts(self) -> None:
        """What is left of that attempt is not taken for the message."""
        id = await self.stored(1)
        await self.advance([], parts=[self.part(id, 1, t=2)])
        await self.advance([{"i": id, "z": "SENT", "q": "a", "x": "w"}], parts=[{"i": id, "n": 0, "t": 1}])
        self.assertEqual([("w", 0, 1, 1)], await self.found("w", "x1"))

    async def test_nothing_unusual(self) -> None:
        id = await self.stored(2)
        await self.advance([], parts=[self.part(id, 1)])
        self.assertEqual([], await self.messages.wholly_taken([id]))
        await self.advance([], parts=[self.part(id, 2)])
        self.assertEqual([(id, "a", "x1")], await self.messages.wholly_taken([id]))
        self.assertEqual([("x1", 1, 2, 0), ("x2", 2, 2, 0)], await self.found("x1", "x2"))
