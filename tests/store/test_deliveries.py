from __future__ import annotations

import time

from protei_bulk.channels.http.reports import record
from protei_bulk.model import ids
from protei_bulk.store.deliveries import CampaignRef, Deliveries
from protei_bulk.store.inspect import Inspection
from tests.store.database import DatabaseCase


class DeliveriesTest(DatabaseCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.deliveries = Deliveries(self.db)
        self.maker = ids.IdMaker(time.time)

    async def campaign(self, user_id: int = 7, channel: str = "HTTP_API", day: str | None = None) -> tuple[int, str]:
        public = self.maker.campaign()
        [(pk,)] = await self.db.query(
            """INSERT INTO campaigns (campaign_id, user_id, customer_id, submission_channel, day)
            VALUES (%s, %s, 1, %s, %s) RETURNING id""", (public, user_id, channel, day),
        )  # fmt: skip
        return pk, public

    async def message(self, campaign: int, user_id: int = 7, status: str = "DELIVERED", to: str = "962788123456",
                      id: str | None = None) -> str:  # fmt: skip
        id = id or self.maker.message()
        delivered = status == "DELIVERED"
        await self.db.execute(
            """INSERT INTO messages (message_id, campaign_id, user_id, from_addr, to_addr, message_text, submission_channel,
                status, dlr_status, error_code, submitted_at, delivered_at)
            VALUES (%s, %s, %s, 'A', %s, 'x', 'HTTP_API', %s, %s, '000', to_timestamp(1800000000),
                CASE WHEN %s THEN to_timestamp(1800000005) END)""",
            (id, campaign, user_id, to, status, "DELIVRD" if delivered else None, delivered),
        )
        await self.db.execute(
            "INSERT INTO tbl_counter_delta (user_id, campaign_id, accepted) VALUES (%s, %s, 1)", (user_id, campaign)
        )
        return id

    async def found(self, public_id: str, user_id: int = 7) -> CampaignRef:
        campaign = await self.deliveries.campaign(public_id, user_id)
        assert campaign is not None
        return campaign

    async def test_parts_of_a_long_message(self) -> None:
        ids_ = [await self.message(1) for _ in range(3)]
        await self.db.execute("UPDATE messages SET long_id = %s, long_part = 1, long_total = 2 WHERE message_id = %s", (ids_[0], ids_[0]))
        await self.db.execute("UPDATE messages SET long_id = %s, long_part = 2, long_total = 2 WHERE message_id = %s", (ids_[0], ids_[1]))
        found = await self.deliveries.by_ids(ids_, 7)
        self.assertEqual([(d.long_id, d.part, d.parts) for d in found], [(ids_[0], 1, 2), (ids_[0], 2, 2), (None, None, None)])
        self.assertEqual([record(d).get("long") for d in found], [
            {"message_id": ids_[0], "part": 1, "parts": 2}, {"message_id": ids_[0], "part": 2, "parts": 2}, None,
        ])  # fmt: skip
        shown = await Inspection(self.db).message(ids_[1])
        assert shown is not None
        self.assertEqual([(p["part"], p["message_id"], p["status"]) for p in shown["long_parts"]],
                         [(1, ids_[0], "DELIVERED"), (2, ids_[1], "DELIVERED")])  # fmt: skip
        alone = await Inspection(self.db).message(ids_[2])
        self.assertEqual(alone and alone["long_parts"], [])

    async def test_a_campaign_among_others(self) -> None:
        other, _ = await self.campaign(8)
        await self.message(other, 8)
        pk, public = await self.campaign()
        first = await self.message(pk)
        await self.message(other, 8)
        second = await self.message(pk, status="FAILED", to="962700000000")
        campaign = await self.found(public)
        self.assertEqual((campaign.campaign, campaign.public_id, campaign.total), (pk, public, 2))
        records = await self.deliveries.of_campaign(campaign, 7, after="", limit=10)
        self.assertEqual([r.message_id for r in records], [first, second])
        self.assertEqual(
            (records[0].msisdn, records[0].status, records[0].dlr_status, records[0].submitted_at, records[0].delivered_at,
             records[0].error_code),
            ("962788123456", "DELIVERED", "DELIVRD", 1_800_000_000.0, 1_800_000_005.0, "000"),
        )  # fmt: skip
        self.assertIsNone(records[1].delivered_at)
        for narrow in ({"msisdn": "962700000000"}, {"status": "FAILED"}, {"msisdn": "962700000000", "status": "FAILED"}):
            found = await self.deliveries.of_campaign(campaign, 7, after="", limit=10, **narrow)
            self.assertEqual([r.message_id for r in found], [second])
        found = await self.deliveries.of_campaign(campaign, 7, after=first, limit=10)
        self.assertEqual([r.message_id for r in found], [second])
        self.assertEqual(len(await self.deliveries.of_campaign(campaign, 7, after="", limit=1)), 1)

    async def test_somebody_elses(self) -> None:
        pk, public = await self.campaign(8)
        id = await self.message(pk, 8)
        self.assertIsNone(await self.deliveries.campaign(public, 7))
        self.assertIsNone(await self.deliveries.campaign("CAMP-NONE", 7))
        self.assertEqual(await self.deliveries.by_ids([id], 7), [])
        campaign = await self.found(public, 8)
        self.assertEqual(await self.deliveries.of_campaign(campaign, 7, after="", limit=10), [])

    async def test_by_ids(self) -> None:
        pk, _ = await self.campaign()
        made = [await self.message(pk) for _ in range(3)]
        found = await self.deliveries.by_ids([made[2], made[0], "nonsense"], 7)
        self.assertEqual([r.message_id for r in found], [made[0], made[2]])
        self.assertEqual(await self.deliveries.by_ids(made, 7, campaign=pk + 1), [])
        self.assertEqual(len(await self.deliveries.by_ids(made, 7, campaign=pk, status="DELIVERED")), 3)
        self.assertEqual(await self.deliveries.by_ids(made, 7, msisdn="1"), [])

    async def test_where_a_campaigns_messages_lie(self) -> None:
        early = self.maker.message()
        pk, public = await self.campaign(channel="SMPP", day="2027-01-15")
        await self.message(pk, id=early)
        campaign = await self.found(public)
        self.assertEqual(len(await self.deliveries.of_campaign(campaign, 7, after="", limit=10)), 1)
        self.assertLess(ids.time_ms(campaign.last), time.time() * 1000 + 51 * 3_600_000)
        _, public = await self.campaign(channel="WEB")
        self.assertEqual((await self.found(public)).last, "MSG-ZZZZZZZZZZZZ")
        _, public = await self.campaign()
        campaign = await self.found(public)
        self.assertEqual(campaign.first, "MSG-" + public[5:])

    async def test_a_campaign_under_a_name_of_its_own(self) -> None:
        await self.db.execute(
            """INSERT INTO campaigns (campaign_id, user_id, customer_id, submission_channel)
            VALUES ('CAMP-imported', 7, 1, 'HTTP_API')"""
        )
        campaign = await self.found("CAMP-imported")
        await self.message(campaign.campaign)
        self.assertEqual(len(await self.deliveries.of_campaign(campaign, 7, after="", limit=10)), 1)

    async def test_nothing_of_it_was_accepted(self) -> None:
        pk, _ = await self.campaign()
        await self.deliveries.campaign_failed(pk)
        [(status, over)] = await self.db.query("SELECT status, completed_at IS NOT NULL FROM campaigns WHERE id = %s", (pk,))
        self.assertEqual((status, over), ("FAILED", True))
