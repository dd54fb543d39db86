from __future__ import annotations

from protei_bulk.store.answers import unrecorded
from tests.store.test_rehoming import QueueCase


class AnswersTest(QueueCase):
    async def sent(self, smsc: str, x: str) -> str:
        id = await self.accept()
        await self.messages.advance([{"i": id, "z": "SENT", "q": smsc, "x": x}], 0, None, [], [], [id], [])
        return id

    async def test_what_is_news(self) -> None:
        new, recorded, resent = await self.accept(), await self.sent("a", "x1"), await self.sent("a", "x2")
        nobody = ("MSG-000000000000", "a", "x", 0)
        answers = [(new, "a", "x0", 0), (recorded, "a", "x1", 0), (resent, "a", "x2", 0), (resent, "b", "x3", 0), nobody]
        self.assertEqual([(new, "a", "x0", 0), (resent, "b", "x3", 0), nobody], await unrecorded(self.db, answers))

    async def test_parts_of_the_smsc_that_took_it_last(self) -> None:
        id = await self.accept(segments=2)
        answers = [(id, "a", "x1", 1), (id, "a", "x2", 2), (id, "b", "y1", 1), (id, "b", "y2", 2)]
        self.assertEqual(answers[2:], await unrecorded(self.db, answers))
        self.assertEqual(answers[:2], await unrecorded(self.db, answers[:2]))

    async def test_what_was_taken_in_vain_waits_for_the_next(self) -> None:
        id = await self.sent("a", "x1")
        await self.messages.advance(None, 0, None, [], [], [], [], again=[{"i": id, "q": "a", "w": "a:UNDELIV:005:x1"}])
        self.assertEqual([], await unrecorded(self.db, [(id, "a", "x1", 0), (id, "a", "x1", 1)]))
        self.assertEqual([(id, "b", "y1", 0)], await unrecorded(self.db, [(id, "a", "x1", 0), (id, "b", "y1", 0)]))

    async def test_nothing(self) -> None:
        self.assertEqual([], await unrecorded(self.db, []))
