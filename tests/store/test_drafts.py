"""Drafts and templates in the database: versions, races, whose they are."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults

from protei_bulk.access.ports import Actor
from protei_bulk.campaigns.draft import Content, Draft, Recipients, Schedule
from protei_bulk.store.drafts import TESTS_A_DAY, TESTS_AN_HOUR, Drafts
from protei_bulk.store.message_templates import MessageTemplates, NameTaken
from protei_bulk.store.pages import Reach
from tests.store.database import DatabaseCase

GOOD = Draft(
    "Summer", "MyCompany", recipients=Recipients(numbers="+962788123456"), message=Content("Hi %NAME%", defaults={"NAME": "friend"}),
    schedule=Schedule("later", "2026-12-24T18:30", "Asia/Amman", "09:00", "21:00", (0, 1), "zone", 100, 60), tags=("a",),
)  # fmt: skip


class DraftsTest(DatabaseCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.user_id = await self.ahmad()
        [(self.customer_id,)] = await self.db.query("SELECT customer_id FROM users WHERE id = %s", (self.user_id,))
        self.drafts = Drafts(self.db)
        await self.drafts.make(7, "CAMP-7", self.user_id, self.customer_id, GOOD, Actor(self.user_id, "192.0.2.1"))

    async def read(self) -> Any:
        found = await self.drafts.get(Reach(user_id=self.user_id), "CAMP-7")
        assert found is not None
        return found

    async def test_it_is_kept_with_its_columns(self) -> None:
        found = await self.read()
        self.assertEqual((found.draft, found.version, found.status), (GOOD, 1, "DRAFT"))
        columns = await self.db.query(
            "SELECT c.name, c.sender_id, c.message_content, c.submission_channel, c.max_tps, extract(epoch FROM c.schedule_time)::bigint,"
            " p.smart, p.defaults::text, p.tags::text, p.window_from::text, p.window_days::text, p.window_zone, p.valid_minutes"
            " FROM campaigns c JOIN campaign_plans p ON p.campaign_id = c.id WHERE planned"
        )
        self.assertEqual(columns, [("Summer", "MyCompany", "Hi %NAME%", "SCHEDULER", 100, 1798126200, True, '{"NAME": "friend"}', '["a"]',
                                    "09:00:00", "{0,1}", "Asia/Amman", 60)])  # fmt: skip
        self.assertIn(("CAMPAIGN_CREATE", self.user_id, self.user_id, {"name": "Summer", "campaign_id": "CAMP-7"}), await self.audit())

    async def test_nobody_elses(self) -> None:
        for reach in (Reach(user_id=self.user_id + 1), Reach(customer_id=self.customer_id + 1)):
            self.assertIsNone(await self.drafts.get(reach, "CAMP-7"))

    async def test_of_two_saves_one_counts(self) -> None:
        changed = [evolve(GOOD, name=name) for name in ("one", "two", "three")]
        versions = await gatherResults([self.drafts.save(7, 1, draft) for draft in changed])
        self.assertEqual(sorted(map(str, versions)), ["2", "None", "None"])
        won = changed[versions.index(2)].name
        self.assertEqual((await self.read()).draft.name, won)
        self.assertEqual(await self.db.query("SELECT name FROM campaigns"), [(won,)])
        self.assertIsNone(await self.drafts.save(7, 1, GOOD))
        self.assertEqual(await self.drafts.save(7, 2, GOOD), 3)

    async def test_what_was_submitted_stays(self) -> None:
        await self.db.execute("UPDATE campaigns SET status = 'APPROVED'")
        self.assertIsNone(await self.drafts.save(7, 1, evolve(GOOD, name="late")))
        self.assertEqual((await self.read()).draft.name, "Summer")

    async def test_what_is_ready(self) -> None:
        async def ready(gathered: int, measured: str, changed: dict[str, int]) -> tuple[bool, bool]:
            await self.db.execute(
                "UPDATE campaign_plans SET gathered = %s, measured = %s::jsonb, draft = jsonb_set(draft, '{changed}', %s::jsonb)",
                (gathered, measured, str(changed).replace("'", '"')),
            )
            found = await self.read()
            return found.recipients_ready, found.measure_ready

        done = '{"state": "done", "version": 4}'
        self.assertEqual(await ready(0, done, {}), (False, False))
        self.assertEqual(await ready(3, done, {"recipients": 2, "message": 4}), (True, True))
        self.assertEqual(await ready(3, done, {"recipients": 5, "message": 4}), (False, False))
        self.assertEqual(await ready(3, done, {"recipients": 2, "message": 5}), (True, False))
        self.assertEqual(await ready(5, done, {"recipients": 5, "message": 1}), (True, False))
        self.assertEqual(await ready(3, '{"state": "running", "version": 4}', {"message": 1}), (True, False))

    async def test_first_recipients(self) -> None:
        self.assertEqual(await self.drafts.first_recipients(7), [])
        blocks = '[["962788000001", {"NAME": "Lina"}], ["962788000002"], ["962788000003", {"N": 5}], ["962788000004"]]'
        insert = "INSERT INTO campaign_blocks (campaign_id, block, size, recipients) VALUES (7, 2, 1, '[]'), (7, 1, 4, %s)"
        await self.db.execute(insert, (blocks,))
        found = await self.drafts.first_recipients(7)
        self.assertEqual(found, [("962788000001", {"NAME": "Lina"}), ("962788000002", {}), ("962788000003", {"N": "5"})])

    async def test_tests_are_few_whoever_asks_at_once(self) -> None:
        taken = await gatherResults([self.drafts.take_test(self.user_id) for _ in range(TESTS_AN_HOUR + 5)])
        self.assertEqual(sum(taken), TESTS_AN_HOUR)
        for _ in range(4):
            await self.db.execute("UPDATE campaign_tests SET sent_at = sent_at - interval '2 hours'")
            await gatherResults([self.drafts.take_test(self.user_id) for _ in range(TESTS_AN_HOUR)])
        self.assertEqual(await self.db.query("SELECT count(*) FROM campaign_tests"), [(TESTS_A_DAY,)])
        await self.db.execute("UPDATE campaign_tests SET sent_at = sent_at - interval '2 hours'")
        self.assertFalse(await self.drafts.take_test(self.user_id))


class TemplatesTest(DatabaseCase):
    async def test_names_are_of_one_customer_and_come_back(self) -> None:
        await self.ahmad()
        await self.accounts.create_customer("Other", {})
        [(demo,), (other,)] = await self.db.query("SELECT id FROM customers ORDER BY id")
        templates, actor = MessageTemplates(self.db), Actor(None)
        made = await templates.make(demo, "Hello", "Hi %NAME% %SUM% %NAME%", "AUTO", True, actor)
        await templates.make(other, "Hello", "theirs", "AUTO", True, actor)
        await self.assertFailure(Deferred.fromCoroutine(templates.make(demo, "HELLO", "x", "AUTO", True, actor)), NameTaken)
        [found] = await templates.some(demo, search="hi %n")
        self.assertEqual((found.id, found.variables), (made, ("NAME", "SUM")))
        self.assertEqual(await templates.some(demo, search="_"), [])
        for customer, expected in ((other, None), (demo, "Hello")):
            self.assertEqual(await templates.delete(customer, made, actor), expected)
        self.assertIsNone(await templates.get(demo, made))
        again = await templates.make(demo, "Hello", "new", "AUTO", True, actor)
        await self.assertFailure(Deferred.fromCoroutine(templates.restore(demo, made, actor)), NameTaken)
        self.assertTrue(await templates.change(demo, again, "Goodbye", "new", "AUTO", True, actor))
        self.assertFalse(await templates.change(other, again, "Mine", "new", "AUTO", True, actor))
        self.assertEqual(await templates.restore(demo, made, actor), "Hello")
        self.assertEqual([t.id for t in await templates.some(demo)], [again, made])
        self.assertEqual([t.id for t in await templates.some(demo, after=again)], [made])
