"""Usage of accounts by day, and the figures of a campaign."""

from __future__ import annotations

from typing import Any

from protei_bulk.access.ports import NoSuchUser
from protei_bulk.access.service import UnifiedAuthService
from protei_bulk.callbacks.payload import iso_time
from protei_bulk.channels.http.exchange import Exchange
from protei_bulk.channels.http.problems import Problem, Reply, reply
from protei_bulk.channels.http.query import read_query
from protei_bulk.channels.http.shapes import Shape, Whole
from protei_bulk.channels.http.users_api import wall
from protei_bulk.model.permissions import Scope
from protei_bulk.store.administration import Administration
from protei_bulk.store.usage import UsageReads

USAGE: dict[str, Shape] = {
    "days": Whole(1, 366, 30, about="today among them"),
    "user_id": Whole(1, about="of this user alone"),
}
_MOST_DAYS = 20_000  # rows of `history`


class AnalyticsApi:
    def __init__(self, auth: UnifiedAuthService, usage: UsageReads, users: Administration) -> None:
        self._auth, self._usage, self._users = auth, usage, users

    async def usage(self, x: Exchange) -> Reply:
        """Today's figures are those of `user_id`, or of the asking account (specification section 6)."""
        asked = read_query(x, USAGE)
        days, user_id = asked.get("days", 30), asked.get("user_id")
        if user_id is not None:
            if x.scope is Scope.OWN and user_id != x.who.user_id or await self._users.user(user_id, wall(x)) is None:
                raise Problem(404, "NOT_FOUND", "There is no such user")
        elif x.scope is Scope.OWN:
            user_id = x.who.user_id
        try:
            today = await self._auth.get_daily_usage(None, user_id or x.who.user_id)
        except NoSuchUser:
            raise Problem(404, "NOT_FOUND", "There is no such user") from None
        rows = await self._usage.history(user_id=user_id, customer_id=wall(x), days=days, limit=_MOST_DAYS)
        totals = {
            "messages_sent": sum(row.sent for row in rows),
            "messages_delivered": sum(row.delivered for row in rows),
            "messages_failed": sum(row.failed for row in rows),
        }
        history = [
            {
                "date": row.day.isoformat(),
                "user_id": row.user_id,
                "username": row.username,
                "messages_sent": row.sent,
                "messages_delivered": row.delivered,
                "messages_failed": row.failed,
                "peak_tps": float(row.peak_tps),
            }
            for row in rows
        ]
        return reply({"status": "SUCCESS", **today, "days": days, "totals": totals, "history": history})

    async def campaign(self, x: Exchange) -> Reply:
        own = x.who.user_id if x.scope is Scope.OWN else None
        found = await self._usage.campaign(x.path["id"], user_id=own, customer_id=wall(x))
        if found is None:
            raise Problem(404, "CAMPAIGN_NOT_FOUND", "There is no such campaign")
        document: dict[str, Any] = {
            "status": "SUCCESS",
            "campaign_id": found.campaign_id,
            "name": found.name,
            "user_id": found.user_id,
            "campaign_status": found.status,
            "submission_channel": found.channel,
            "sender": found.sender,
            "total": found.total,
            "pending": found.pending,
            "queued": found.queued,
            "sent": found.sent,
            "delivered": found.delivered,
            "failed": found.failed,
            "progress_percentage": float(found.progress),
            "created_at": iso_time(found.created_at.timestamp()),
            "completed_at": iso_time(found.completed_at.timestamp()) if found.completed_at else None,
        }
        return reply(document)
