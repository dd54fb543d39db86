"""What the campaign engine reads and writes."""

from __future__ import annotations

from typing import Any

from protei_bulk.store.expansion import Expansion
from protei_bulk.store.leases import enter_node
from tests.store.database import DatabaseCase
from tests.support.campaigns import plan


class ExpansionTests(DatabaseCase):
    async def setUp(self) -> None:
        await super().setUp()
        await self.db.execute("INSERT INTO customers (name) VALUES ('A')")
        await self.db.execute("INSERT INTO users (customer_id, username, password_hash) VALUES (1, 'ahmad', '')")
        self.node, self.epoch = await enter_node(self.db, "one")
        self.expansion = Expansion(self.db, self.node, self.epoch)

    async def one(self, sql: str) -> tuple[Any, ...]:
        [row] = await self.db.query(sql)
        return tuple(row)

    def plan(self, *numbers: str, **more: Any) -> int:
        return plan(self.dsn, numbers, **more)[0]

    async def test_one_node_leads_until_it_is_over(self) -> None:
        node, epoch = await enter_node(self.db, "two")
        other = Expansion(self.db, node, epoch)
        self.assertTrue(await self.expansion.lead())
        self.assertFalse(await other.lead())
        self.assertTrue(await self.expansion.lead())
        await self.db.execute("UPDATE tbl_nodes SET gone_at = now() WHERE node_id = %s", (self.node,))
        self.assertTrue(await other.lead())
        self.assertFalse(await self.expansion.lead())

    async def test_blocks_by_country_and_what_was_begun(self) -> None:
        campaign = self.plan(*(f"9627{n:08d}" for n in range(5)), block=2)
        self.assertEqual(await self.expansion.countries(campaign), ["JO"])
        self.assertEqual(await self.expansion.take(campaign, "SA", [], "MSG-0", 2), [])
        first, second = await self.expansion.take(campaign, "JO", [], "MSG-0", 2)
        self.assertEqual((first.number, first.since, second.recipients), (1, None, [["962700000002"], ["962700000003"]]))
        [again] = await self.expansion.take(campaign, "JO", [2, 3], "MSG-9", 2)
        self.assertEqual((again.number, again.since), (1, "MSG-0"))
        await self.expansion.give_back(campaign, 1, [["962700000001"]], [{"t": "962700000000", "c": "NO_ROUTE", "d": ""}])
        [rest] = await self.expansion.take(campaign, "JO", [2, 3], "MSG-9", 2)
        self.assertEqual((rest.since, rest.recipients), (None, [["962700000001"]]))
        for _ in range(2):  # an answer was lost
            await self.expansion.finish(campaign, [(1, []), (2, [{"t": "962700000002", "c": "OPTED_OUT", "d": ""}])])
        self.assertEqual(await self.one("SELECT refused_count FROM campaigns"), (2,))
        await self.expansion.give_back(campaign, 3, [], [])
        self.assertEqual(await self.expansion.countries(campaign), [])

    async def test_states_by_themselves(self) -> None:
        campaign = self.plan("962700000000", state="APPROVED")
        late = self.plan("962700000000", state="APPROVED", schedule_time="2100-01-01")
        await self.expansion.due()
        [found] = await self.expansion.running([])
        self.assertEqual((found.id, found.defaults, found.window_from), (campaign, {}, None))
        self.assertEqual(await self.expansion.running([campaign]), [])
        self.assertEqual(await self.one(f"SELECT status FROM campaigns WHERE id = {late}"), ("APPROVED",))
        await self.expansion.pause(campaign, "QUOTA_EXCEEDED")
        self.assertEqual(await self.expansion.stopped(), frozenset({campaign}))
        await self.expansion.due()
        self.assertEqual(await self.one(f"SELECT status FROM campaigns WHERE id = {campaign}"), ("PAUSED",))
        await self.db.execute("UPDATE campaigns SET status_at = now() - interval '10 seconds'")
        await self.expansion.due()
        self.assertEqual(await self.one(f"SELECT status FROM campaigns WHERE id = {campaign}"), ("RUNNING",))
        await self.expansion.finish(campaign, [(1, [{"t": "962700000000", "c": "NO_ROUTE", "d": ""}])])
        await self.expansion.due()
        self.assertEqual(await self.one(f"SELECT status, refused_count FROM campaigns WHERE id = {campaign}"), ("COMPLETED", 1))

    async def test_receipts_that_never_come_do_not_keep_a_campaign_open_for_ever(self) -> None:
        campaign = self.plan("962700000000", "962700000001", state="RUNNING")
        await self.expansion.finish(campaign, [(1, [])])
        await self.db.execute(
            "UPDATE campaigns SET accepted_total = 2, sent_total = 2, delivered_count = 1, started_at = now() - interval '2 days'"
        )
        await self.expansion.due()
        self.assertEqual(await self.one("SELECT status FROM campaigns"), ("RUNNING",))
        await self.db.execute("UPDATE campaigns SET started_at = now() - interval '4 days', sent_total = 1")
        await self.expansion.due()
        self.assertEqual(await self.one("SELECT status FROM campaigns"), ("RUNNING",))
        await self.db.execute("UPDATE campaigns SET sent_total = 2")
        await self.expansion.due()
        self.assertEqual(await self.one("SELECT status FROM campaigns"), ("COMPLETED",))

    async def test_what_is_held_comes_out_when_its_campaign_goes_on(self) -> None:
        campaign = self.plan("962700000000", state="PAUSED")
        await self.db.execute(
            "INSERT INTO tbl_message_queue (message_id, smsc_id, due_at, held_for) VALUES ('MSG-1', 'S1', 'infinity', %s)", (campaign,)
        )
        self.assertEqual(await self.expansion.release(), [])
        await self.db.execute("UPDATE campaigns SET status = 'RUNNING'")
        self.assertEqual(await self.expansion.release(), ["S1"])
        self.assertEqual(await self.one("SELECT held_for, ready, due_at <= now() FROM tbl_message_queue"), (None, True, True))

    async def test_what_waits_for_a_campaign_of_requests_is_held(self) -> None:
        await self.db.execute(
            "INSERT INTO campaigns (campaign_id, user_id, customer_id, submission_channel, status) VALUES ('R', 1, 1, 'HTTP_API', 'PAUSED')"
        )
        [(now,)] = await self.db.query("SELECT left(message_id_at(now()), 12)")
        for n in range(3):
            await self.db.execute(
                "INSERT INTO messages (message_id, campaign_id, user_id, from_addr, to_addr, message_text, submission_channel, status)"
                f" VALUES ('{now}000{n}', 1, 1, 'A', '96279000000{n}', 'x', 'HTTP_API', 'QUEUED')"
            )
            await self.db.execute(f"INSERT INTO tbl_message_queue (message_id, smsc_id) VALUES ('{now}000{n}', 'S1')")
        while await self.expansion.hold_queued():
            pass
        self.assertEqual(await self.one("SELECT count(*) FROM tbl_message_queue WHERE held_for = 1 AND NOT ready"), (3,))

    async def waiting(self, campaign: int, *, due: str = "now()", doubt: bool = False) -> str:
        """A message of a campaign that waits in the queue."""
        [(id,)] = await self.db.query("SELECT left(message_id_at(now()), 12) || lpad((count(*) + 1)::text, 4, '0') FROM messages")
        await self.db.execute(
            "INSERT INTO messages (message_id, campaign_id, user_id, from_addr, to_addr, message_text, submission_channel, status)"
            " VALUES (%s, %s, 1, 'A', '962790000001', 'x', 'WEB', 'QUEUED')", (id, campaign),
        )  # fmt: skip
        row = f"VALUES (%s, 'S1', {due}, %s)"
        await self.db.execute("INSERT INTO tbl_message_queue (message_id, smsc_id, due_at, in_doubt) " + row, (id, doubt))
        return str(id)

    async def held(self) -> list[str]:
        while await self.expansion.hold_queued():
            pass
        return [r[0] for r in await self.db.query("SELECT message_id FROM tbl_message_queue WHERE held_for IS NOT NULL ORDER BY 1")]

    async def test_of_a_cancelled_one_is_held_what_waits_for_an_smsc_that_is_away(self) -> None:
        campaign = self.plan("962700000000", state="RUNNING")
        other = await self.waiting(self.plan("962700000001", state="RUNNING"))
        waits, later = await self.waiting(campaign), await self.waiting(campaign, due="now() + interval '1 hour'")
        await self.waiting(campaign, doubt=True)
        await self.db.execute("UPDATE campaigns SET status = 'CANCELLED', draining = TRUE, status_at = now() WHERE id = %s", (campaign,))
        self.assertEqual(await self.held(), [waits, later])
        behind = await self.waiting(campaign)
        self.assertEqual(await self.held(), [waits, later])
        await self.db.execute("UPDATE campaign_holds SET at = at - interval '1 minute'")
        await self.db.execute("UPDATE campaigns SET status_at = status_at - interval '2 minutes'")
        self.assertEqual(await self.held(), [waits, later, behind])
        self.assertNotIn(other, await self.held())

    async def test_a_pause_does_not_bring_forward_what_is_to_go_out_later(self) -> None:
        campaign = self.plan("962700000000", state="PAUSED", planned=False)
        due = await self.waiting(campaign)
        await self.waiting(campaign, due="now() + interval '1 hour'")
        self.assertEqual(await self.held(), [due])

    async def test_of_a_cancelled_one_nothing_is_ever_due_again(self) -> None:
        campaign = self.plan("962700000000", state="CANCELLED", draining=True)
        await self.waiting(campaign)
        await self.held()
        await self.db.execute("UPDATE campaigns SET accepted_total = 1, status_at = now() - interval '9 days'")
        self.assertEqual(await self.expansion.draining([]), [])
        self.assertEqual(await self.expansion.release(), [])
        self.assertEqual(len(await self.held()), 1)

    async def test_no_campaign_is_drained_while_it_is_still_expanded(self) -> None:
        campaign = self.plan("962700000000", state="CANCELLED", draining=True)
        await self.db.execute("UPDATE campaigns SET status_at = now() - interval '10 seconds'")
        self.assertEqual(await self.expansion.draining([campaign]), [campaign])
        self.assertEqual(await self.expansion.draining([]), [])

    async def test_what_is_held_is_released_a_part_at_a_time(self) -> None:
        paused, goes_on = self.plan("962700000000", state="PAUSED"), self.plan("962700000001", state="RUNNING")
        await self.db.execute(
            "INSERT INTO tbl_message_queue (message_id, smsc_id, due_at, held_for, match_key, owner)"
            " SELECT 'MSG-' || n, 'S1', 'infinity', CASE WHEN n < 3 THEN %s ELSE %s END, 1, 1 FROM generate_series(0, 5003) AS n",
            (paused, goes_on),
        )
        self.assertEqual([await self.expansion.release() for _ in range(3)], [["S1"], ["S1"], []])
        self.assertEqual(await self.one("SELECT count(*), min(held_for), max(held_for) FROM tbl_message_queue WHERE held_for > 0"),
                         (3, paused, paused))  # fmt: skip

    async def test_a_paused_one_without_anything_left_is_complete(self) -> None:
        campaign = self.plan("962700000000", state="PAUSED")
        await self.expansion.due()
        self.assertEqual(await self.one("SELECT status FROM campaigns"), ("PAUSED",))
        await self.expansion.take(campaign, "JO", [], "MSG-0", 1)
        await self.expansion.finish(campaign, [(1, [{"t": "962700000000", "c": "NO_ROUTE", "d": ""}])])
        await self.expansion.due()
        self.assertEqual(await self.one("SELECT status FROM campaigns"), ("COMPLETED",))

    async def test_it_is_complete_once_all_is_counted_whatever_was_planned(self) -> None:
        campaign = self.plan("962700000000", state="RUNNING")
        await self.db.execute("UPDATE campaigns SET total_recipients = 5")  # a list became shorter since
        await self.expansion.take(campaign, "JO", [], "MSG-0", 1)
        await self.expansion.finish(campaign, [(1, [])])
        await self.db.execute("INSERT INTO tbl_counter_delta (user_id, campaign_id, accepted) VALUES (1, %s, 1)", (campaign,))
        await self.expansion.due()
        self.assertEqual(await self.one("SELECT status FROM campaigns"), ("RUNNING",))
        await self.db.execute("SELECT roll_up_counters()")
        await self.expansion.due()
        self.assertEqual(await self.one("SELECT status FROM campaigns"), ("RUNNING",))
        await self.db.execute("INSERT INTO tbl_counter_delta (user_id, campaign_id, delivered) VALUES (1, %s, 1)", (campaign,))
        await self.db.execute("SELECT roll_up_counters()")
        await self.expansion.due()
        self.assertEqual(await self.one("SELECT status FROM campaigns"), ("COMPLETED",))

    async def test_it_goes_on_by_itself_only_where_a_message_has_room(self) -> None:
        campaign = self.plan("962700000000", state="PAUSED", status_reason="QUOTA_EXCEEDED")
        await self.db.execute("UPDATE campaigns SET status_at = now() - interval '10 seconds'")
        await self.db.execute("UPDATE campaign_plans SET measured = '{\"histogram\": [[\"9627000\", 1, 5], [\"9627000\", 3, 1]]}'")
        await self.db.execute("UPDATE users SET max_msg_per_day = 10")
        await self.db.execute("SELECT update_quota_usage(1, 1, 8)")
        await self.expansion.due()
        self.assertEqual(await self.one("SELECT status FROM campaigns"), ("PAUSED",))
        await self.db.execute("UPDATE users SET max_msg_per_day = 11")
        await self.expansion.due()
        self.assertEqual(await self.one(f"SELECT status FROM campaigns WHERE id = {campaign}"), ("RUNNING",))

    async def test_recipients_of_a_draft_that_is_no_more_are_forgotten(self) -> None:
        campaign = self.plan("962700000000", state="DRAFT")
        kept = self.plan("962700000001", state="DRAFT")
        await self.db.execute("DELETE FROM campaigns WHERE id = %s", (campaign,))  # its recipients came a moment later
        await self.expansion.forget(30)
        self.assertEqual(await self.db.query("SELECT campaign_id FROM campaign_blocks"), [(kept,)])

    async def test_recipients_are_forgotten(self) -> None:
        campaign = self.plan("962700000000", state="COMPLETED")
        running = self.plan("962700000001", state="RUNNING")
        await self.db.execute("UPDATE campaigns SET completed_at = now() - interval '2 days'")
        await self.db.execute("INSERT INTO campaign_refusals (campaign_id, stage, given, code) VALUES (%s, 'E', '1', 'X')", (campaign,))
        await self.expansion.forget(30)
        self.assertEqual(await self.db.query("SELECT campaign_id FROM campaign_blocks"), [(running,)])
        self.assertEqual(await self.one("SELECT count(*) FROM campaign_refusals"), (1,))
        await self.expansion.forget(1)
        self.assertEqual(await self.one("SELECT count(*) FROM campaign_refusals"), (0,))
