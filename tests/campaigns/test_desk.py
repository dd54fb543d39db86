"""What people do with campaigns, on a real database."""

from __future__ import annotations

import contextlib
from typing import Any

import psycopg2
from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.trial.unittest import TestCase

from protei_bulk.access.ports import Actor
from protei_bulk.campaigns.desk import CampaignDesk, NotReady, Unknown
from protei_bulk.campaigns.draft import Draft, Recipients, Schedule
from protei_bulk.campaigns.states import NotPossible
from protei_bulk.model.account import Account
from protei_bulk.model.campaign import Campaign
from protei_bulk.store.campaigns import CampaignRows
from protei_bulk.store.drafts import Drafts
from protei_bulk.store.pages import Reach
from protei_bulk.store.pool import Database
from tests.support.postgres import fresh_database

NOW = 1_800_000_000.0
DRAFT = Draft(name="Sale", sender="MyCompany", recipients=Recipients(numbers="962788123456"), changed={"recipients": 1, "message": 1})


class DeskTests(TestCase):
    timeout = 60

    async def setUp(self) -> None:
        self.dsn = fresh_database()
        self.db = Database(reactor, self.dsn, 4)
        await self.db.start()
        self.addCleanup(self.db.close)
        self.sql("INSERT INTO customers (name) VALUES ('A'), ('B')")
        for name, customer, role in (
            ("ann", 1, "SENDER"), ("bob", 1, "SENDER"), ("boss", 1, "CUSTOMER_ADMIN"), ("eve", 2, "CUSTOMER_ADMIN"),
            ("root", 2, "ADMIN"), ("look", 1, "VIEWER"),
        ):  # fmt: skip
            self.sql(f"INSERT INTO users (customer_id, username, password_hash, role) VALUES ({customer}, '{name}', '', '{role}')")
        rows = self.sql("SELECT id, username, customer_id, role FROM users ORDER BY id")
        self.who = {name: Account(user_id=id, username=name, customer_id=customer, role=role) for id, name, customer, role in rows}
        self.numbers = 0

        async def number(account: Account) -> Campaign:
            self.numbers += 1
            return Campaign(1000 + self.numbers, f"CAMP-COPY{self.numbers}", {})

        self.drafts = Drafts(self.db)
        self.desk = CampaignDesk(CampaignRows(self.db), self.drafts, lambda: NOW, number)

    def sql(self, text: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(psycopg2.connect(self.dsn)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(text)
            return list(cursor.fetchall()) if cursor.description else []

    async def draft(self, ready: bool = True, text: str = "Hello", schedule: Schedule | None = None) -> str:
        self.numbers += 1
        id = f"CAMP-{self.numbers}"
        draft = evolve(DRAFT, message=evolve(DRAFT.message, text=text), schedule=schedule or Schedule())
        ann = self.who["ann"]
        await self.drafts.make(self.numbers, id, ann.user_id, 1, draft, Actor(ann.user_id))
        if ready:
            self.sql(f"INSERT INTO campaign_blocks (campaign_id, block, size, recipients) VALUES ({self.numbers}, 1, 2, '[]')")
            self.sql(
                "UPDATE campaign_plans SET gathered = 1, gathering = '{\"accepted\": 2}',"
                " measured = '{\"state\": \"done\", \"version\": 1}'"
                f" WHERE campaign_id = {self.numbers}"
            )
        return id

    async def act(self, who: str, id: str, name: str, **more: Any) -> str:
        return await self.desk.act(self.who[who], id, name, ip="192.0.2.1", **more)

    async def refuses(self, error: type[Exception], who: str, id: str, name: str) -> Exception:
        try:
            await self.act(who, id, name)
        except error as found:
            return found
        raise AssertionError(f"{who} could {name}")

    async def test_from_draft_to_cancelled(self) -> None:
        id = await self.draft()
        self.assertEqual(await self.act("ann", id, "submit"), "APPROVED")
        self.assertEqual(self.sql("SELECT total_recipients FROM campaigns"), [(2,)])
        self.sql("UPDATE campaigns SET status = 'RUNNING'")
        self.assertEqual(await self.act("ann", id, "pause", reason="wait"), "PAUSED")
        self.assertEqual(await self.act("boss", id, "resume"), "RUNNING")
        self.assertEqual(await self.act("root", id, "cancel"), "CANCELLED")
        self.assertEqual(self.sql("SELECT draining, status_reason FROM campaigns"), [(True, "")])
        self.assertEqual(
            self.sql("SELECT action, actor_id, details ->> 'campaign_id' FROM tbl_permission_audit ORDER BY audit_id")[1:],
            [("CAMPAIGN_SUBMIT", 1, id), ("CAMPAIGN_PAUSE", 1, id), ("CAMPAIGN_RESUME", 3, id), ("CAMPAIGN_CANCEL", 5, id)],
        )

    async def test_who_may(self) -> None:
        id = await self.draft()
        for stranger in ("eve", "bob"):
            await self.refuses(Unknown, stranger, id, "submit")
        await self.refuses(NotPossible, "look", id, "submit")
        await self.refuses(NotPossible, "boss", id, "submit")
        await self.act("ann", id, "submit")
        self.sql("UPDATE campaigns SET status = 'RUNNING'")
        await self.refuses(Unknown, "eve", id, "pause")
        await self.refuses(NotPossible, "look", id, "pause")
        await self.refuses(NotPossible, "ann", id, "resume")

    async def test_the_approver_is_somebody_else(self) -> None:
        self.sql("UPDATE customers SET campaign_approval = TRUE")
        self.sql("UPDATE users SET role = 'CUSTOMER_ADMIN' WHERE username = 'ann'")
        self.who["ann"] = evolve(self.who["ann"], role="CUSTOMER_ADMIN")
        id = await self.draft()
        self.assertEqual(await self.act("ann", id, "submit"), "PENDING_APPROVAL")
        await self.refuses(NotPossible, "ann", id, "approve")
        await self.refuses(Unknown, "bob", id, "approve")
        self.assertEqual(await self.act("boss", id, "reject", reason="the price is wrong"), "DRAFT")
        self.assertEqual(self.sql("SELECT status_reason FROM campaigns"), [("the price is wrong",)])
        await self.act("ann", id, "submit")
        self.assertEqual(await self.act("boss", id, "approve"), "APPROVED")
        self.assertEqual(self.sql("SELECT submitted_by, decided_by FROM campaign_plans"), [(1, 3)])

    async def test_what_is_approved_is_what_was_seen(self) -> None:
        self.sql("UPDATE customers SET campaign_approval = TRUE")
        id = await self.draft()
        await self.act("ann", id, "submit")  # boss looks at version 1
        await self.act("ann", id, "withdraw")
        self.sql("UPDATE campaign_plans SET version = 2")  # another text
        await self.act("ann", id, "submit")
        try:
            await self.act("boss", id, "approve", version=1)
        except NotPossible:
            self.assertEqual(await self.act("boss", id, "approve", version=2), "APPROVED")
        else:
            raise AssertionError("approved unseen")

    async def test_two_approvers_at_once(self) -> None:
        self.sql("UPDATE customers SET campaign_approval = TRUE")
        id = await self.draft()
        await self.act("ann", id, "submit")
        both = await DeferredList(
            [Deferred.fromCoroutine(self.act("boss", id, "approve")), Deferred.fromCoroutine(self.act("root", id, "reject"))],
            consumeErrors=True,
        )
        self.assertEqual(sorted(good for good, _ in both), [False, True])
        [bad] = [result for good, result in both if not good]
        self.assertIsInstance(bad.value, NotPossible)
        self.assertEqual(len(self.sql("SELECT 1 FROM tbl_permission_audit WHERE action IN ('CAMPAIGN_APPROVE', 'CAMPAIGN_REJECT')")), 1)

    async def test_what_is_not_ready_says_what_lacks(self) -> None:
        async def lacks(id: str) -> list[tuple[str, str]]:
            error = await self.refuses(NotReady, "ann", id, "submit")
            assert isinstance(error, NotReady)
            return [(f.step, f.code) for f in error.faults]

        self.assertEqual(await lacks(await self.draft(ready=False)), [("recipients", "NOT_GATHERED")])
        self.assertEqual(await lacks(await self.draft(text=" ")), [("message", "NO_TEXT")])
        late = await self.draft(schedule=Schedule(when="later", at="2020-01-01T10:00"))
        self.assertEqual(await lacks(late), [("schedule", "PAST")])
        id = await self.draft(text="%NAME%")
        self.sql(f"UPDATE campaign_plans SET measured = measured || '{{\"missing\": {{\"NAME\": 2}}}}' WHERE campaign_id = {self.numbers}")
        self.assertEqual(await lacks(id), [("message", "MISSING_VARIABLES")])
        id = await self.draft()
        self.sql(f"UPDATE campaign_plans SET gathering = '{{\"accepted\": 0}}' WHERE campaign_id = {self.numbers}")
        self.assertEqual(await lacks(id), [("recipients", "NOBODY_LEFT")])

    async def test_a_copy_is_a_draft_of_whoever_asks(self) -> None:
        id = await self.draft()
        copy = await self.desk.copy(self.who["boss"], id)
        stored = await self.drafts.get(Reach(user_id=self.who["boss"].user_id), copy)
        assert stored is not None
        self.assertEqual((stored.status, stored.draft.message.text, stored.recipients_ready), ("DRAFT", "Hello", False))
        with self.assertRaises(Unknown):
            await self.desk.copy(self.who["eve"], id)
        with self.assertRaises(NotPossible):
            await self.desk.copy(self.who["look"], id)

    async def test_a_draft_can_be_thrown_away(self) -> None:
        id = await self.draft()
        await self.refuses(NotPossible, "look", id, "discard")
        self.assertEqual(await self.act("ann", id, "discard"), "")
        self.assertEqual(self.sql("SELECT (SELECT count(*) FROM campaigns), (SELECT count(*) FROM campaign_blocks)"), [(0, 0)])
        await self.refuses(Unknown, "ann", id, "submit")

    async def test_campaigns_of_requests_stop_and_go_on_only(self) -> None:
        self.sql(
            "INSERT INTO campaigns (campaign_id, user_id, customer_id, submission_channel, status)"
            " VALUES ('R', 1, 1, 'HTTP_API', 'RUNNING')"
        )
        standing = await CampaignRows(self.db).standing("R")
        assert standing is not None
        self.assertEqual(self.desk.possible(self.who["ann"], standing), ["pause", "cancel"])
        self.sql("UPDATE campaigns SET status = 'APPROVED'")
        await self.refuses(NotPossible, "ann", "R", "withdraw")
        self.sql("UPDATE campaigns SET day = '2026-01-01', status = 'RUNNING'")
        await self.refuses(NotPossible, "ann", "R", "pause")
