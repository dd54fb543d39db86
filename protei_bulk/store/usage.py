"""What an account has used and has left. Reads only: the intake takes quota and money itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.defer import Deferred, succeed

from protei_bulk.access.ports import Balance, Usage

if TYPE_CHECKING:
    from datetime import date, datetime
    from decimal import Decimal

    from protei_bulk.store.pool import Database

_NUMBER = re.compile(r"[0-9]{1,18}\Z", re.ASCII)
_TODAY = """LEFT JOIN tbl_quota_usage q ON q.user_id = u.id AND q.period_type = 'DAILY' AND q.period_hour = 0
    AND q.period_date = (now() AT TIME ZONE u.timezone)::date"""
_USAGE = """COALESCE(q.messages_sent, 0), COALESCE(q.messages_delivered, 0), COALESCE(q.messages_failed, 0),
    COALESCE(u.max_msg_per_day, 500000)"""


@frozen
class UsageDay:
    """Segments accepted, messages delivered and failed on a day of the account's time zone."""

    user_id: int
    username: str
    day: date
    sent: int
    delivered: int
    failed: int
    peak_tps: Decimal


@frozen
class CampaignFigures:
    """The specification's get_campaign_stats, and what the campaign is. Times are aware."""

    campaign_id: str
    name: str | None
    user_id: int
    status: str
    channel: str
    sender: str | None
    total: int
    pending: int
    queued: int
    sent: int
    delivered: int
    failed: int
    progress: Decimal
    created_at: datetime
    completed_at: datetime | None


class UsageReads:
    """Delivered and failed follow within about a second (the roll-up); sent and money are exact."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def today(self, user_id: int) -> Deferred[Usage | None]:
        """None where there is no such user."""
        sql = f"SELECT {_USAGE} FROM users u {_TODAY} WHERE u.id = %s"  # noqa: S608
        return self._db.query(sql, (user_id,)).addCallback(lambda rows: Usage(*rows[0]) if rows else None)

    def balance(self, user_id: int) -> Deferred[Balance | None]:
        """None where there is no such user."""
        sql = f"""SELECT c.balance, c.credit_limit, c.currency, {_USAGE}
            FROM users u JOIN customers c ON c.id = u.customer_id {_TODAY} WHERE u.id = %s"""  # noqa: S608

        def read(rows: list[tuple[Any, ...]]) -> Balance | None:
            return Balance(rows[0][0], rows[0][1], rows[0][2], Usage(*rows[0][3:])) if rows else None

        return self._db.query(sql, (user_id,)).addCallback(read)

    def history(
        self, *, user_id: int | None = None, customer_id: int | None = None, days: int = 30, limit: int = 100_000
    ) -> Deferred[list[UsageDay]]:
        """The last `days` days, today among them, newest first; of a user, a customer's users, or all."""
        sql = """SELECT q.user_id, u.username, q.period_date, q.messages_sent, q.messages_delivered,
                q.messages_failed, q.peak_tps
            FROM tbl_quota_usage q JOIN users u ON u.id = q.user_id
            WHERE q.period_type = 'DAILY' AND q.period_hour = 0
              AND q.period_date > (now() AT TIME ZONE u.timezone)::date - %s
              AND (%s::bigint IS NULL OR q.user_id = %s) AND (%s::bigint IS NULL OR u.customer_id = %s)
            ORDER BY q.period_date DESC, u.username LIMIT %s"""
        rows = self._db.query(sql, (days, user_id, user_id, customer_id, customer_id, limit))
        return rows.addCallback(lambda found: [UsageDay(*row) for row in found])

    def campaign(
        self, public_id: str, *, user_id: int | None = None, customer_id: int | None = None
    ) -> Deferred[CampaignFigures | None]:
        """By `CAMP-...` or by its number; of a user, a customer's users, or all. None where there is none."""
        number = int(public_id) if _NUMBER.match(public_id) else None
        if "\0" in public_id or len(public_id) > 64:
            return succeed(None)
        sql = """SELECT c.campaign_id, c.name, c.user_id, c.status, c.submission_channel, c.sender_id, s.total, s.pending,
                s.queued, s.sent, s.delivered, s.failed, s.progress_percentage, c.created_at, c.completed_at
            FROM campaigns c, get_campaign_stats(c.id) s
            WHERE c.id = COALESCE(%s::bigint, (SELECT k.id FROM campaigns k WHERE k.campaign_id = %s))
              AND (%s::bigint IS NULL OR c.user_id = %s) AND (%s::bigint IS NULL OR c.customer_id = %s)"""
        rows = self._db.query(sql, (number, public_id, user_id, user_id, customer_id, customer_id))
        return rows.addCallback(lambda found: CampaignFigures(*found[0]) if found else None)
