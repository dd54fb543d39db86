from __future__ import annotations

from decimal import Decimal

from protei_bulk.access.ports import Balance, Usage
from protei_bulk.store.usage import UsageReads
from tests.store.database import DatabaseCase


class UsageTest(DatabaseCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.user_id = await self.ahmad()
        self.usage = UsageReads(self.db)
        [(self.customer_id,)] = await self.db.query("SELECT id FROM customers")

    async def test_nothing_yet(self) -> None:
        self.assertEqual(await self.usage.today(self.user_id), Usage(0, 0, 0, 500_000))
        self.assertIsNone(await self.usage.today(999))
        self.assertIsNone(await self.usage.balance(999))

    async def test_the_specifications_functions_and_ours_agree(self) -> None:
        await self.db.query("SELECT update_quota_usage(%s, %s, 12500)", (self.user_id, self.customer_id))
        await self.db.execute("UPDATE tbl_quota_usage SET messages_delivered = 12400, messages_failed = 100")
        usage = Usage(12500, 12400, 100, 500_000)
        self.assertEqual(await self.usage.today(self.user_id), usage)
        self.assertEqual(usage.remaining, 487_500)
        self.assertEqual(await self.usage.balance(self.user_id),
                         Balance(Decimal("25000.50"), Decimal(50000), "JOD", usage))  # fmt: skip
        self.assertEqual(await self.db.query("SELECT check_daily_quota(%s)", (self.user_id,)), [(True,)])
        await self.accounts.set_user("ahmad", {"max_msg_per_day": 12500})
        self.assertEqual(await self.db.query("SELECT check_daily_quota(%s)", (self.user_id,)), [(False,)])
        self.assertEqual((await self.usage.today(self.user_id) or Usage()).remaining, 0)

    async def test_yesterday_does_not_count(self) -> None:
        await self.db.query("SELECT update_quota_usage(%s, %s, 5)", (self.user_id, self.customer_id))
        await self.db.execute("UPDATE tbl_quota_usage SET period_date = period_date - 1")
        self.assertEqual((await self.usage.today(self.user_id) or Usage(1)).sent, 0)

    async def test_history(self) -> None:
        await self.db.query("SELECT update_quota_usage(%s, %s, 5)", (self.user_id, self.customer_id))
        for back in (1, 40):
            await self.db.execute(
                """INSERT INTO tbl_quota_usage (user_id, customer_id, period_date, period_type, messages_sent)
                SELECT %s, %s, account_today(%s) - %s, 'DAILY', 7""", (self.user_id, self.customer_id, self.user_id, back)
            )  # fmt: skip
        days = await self.usage.history(user_id=self.user_id)
        self.assertEqual([(d.username, d.sent) for d in days], [("ahmad", 5), ("ahmad", 7)])
        self.assertEqual(len(await self.usage.history(customer_id=self.customer_id, days=60)), 3)
        self.assertEqual(await self.usage.history(customer_id=self.customer_id + 1), [])
