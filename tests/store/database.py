"""A test case with a database of its own, and a few rows in it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from protei_bulk.store.accounts import Accounts
from protei_bulk.store.pool import Database
from tests.support.postgres import fresh_database


class DatabaseCase(TestCase):
    timeout = 60

    async def setUp(self) -> None:
        self.dsn = fresh_database()
        self.db = Database(reactor, self.dsn, 2)  # type: ignore[arg-type]
        self.addCleanup(self.db.close)
        await self.db.start()
        self.accounts = Accounts(self.db)

    async def ahmad(self, **values: Any) -> int:
        """Customer Demo (in JOD, in Amman) and its user ahmad: the user's id."""
        await self.accounts.create_customer(
            "Demo",
            {
                "balance": Decimal("25000.50"),
                "credit_limit": 50000,
                "currency": "JOD",
                "timezone": "Asia/Amman",
            },
        )
        return await self.accounts.create_user("ahmad", "Demo", "hash", values)

    async def audit(self) -> list[tuple[Any, ...]]:
        return await self.db.query(
            "SELECT action, user_id, actor_id, details FROM tbl_permission_audit ORDER BY audit_id"
        )
