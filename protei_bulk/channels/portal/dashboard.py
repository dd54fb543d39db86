"""The first page: what is left, what happened today, what runs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from protei_bulk.channels.portal.charts import line_chart
from protei_bulk.channels.portal.shell import Answer, Page, Shell
from protei_bulk.channels.portal.visit import Visit
from protei_bulk.model.permissions import Permission, Scope
from protei_bulk.store.pages import Pages, Reach


class Usage(Protocol):
    def get_daily_usage(self, db: object = None, user_id: int = 0) -> Deferred[dict[str, Any]]: ...


def reach_of(visit: Visit) -> Reach:
    """Whose things the reader may see on this page."""
    if visit.scope is Scope.ALL:
        return Reach()
    if visit.scope is Scope.CUSTOMER:
        return Reach(customer_id=visit.who.customer_id)
    return Reach(user_id=visit.who.user_id)


class Dashboard:
    def __init__(self, shell: Shell, pages: Pages, usage: Usage) -> None:
        self._shell, self._pages, self._usage = shell, pages, usage

    def pages(self) -> list[Page]:
        return [Page("GET", "/", Permission.ANALYTICS, self.show)]

    async def show(self, visit: Visit) -> Answer:
        reach = reach_of(visit)
        usage = await self._usage.get_daily_usage(None, visit.who.user_id)
        purse = await self._pages.purse(visit.who.customer_id)
        days = await self._pages.days(reach, 14)
        campaigns = await self._pages.campaigns(reach, most=6)
        return self._shell.page(
            visit, "dashboard.html", usage=usage, purse=purse, chart=self._chart(visit, days), campaigns=campaigns[:6],
            today=self._today(days),
        )

    @staticmethod
    def _today(days: list[dict[str, Any]]) -> dict[str, Any]:
        return days[-1] if days else {"sent": 0, "delivered": 0, "failed": 0}

    @staticmethod
    def _chart(visit: Visit, days: list[dict[str, Any]]) -> Any:
        if not days:
            return None
        known = {d["day"]: d for d in days}
        last = max(known)
        line = [last - timedelta(days=n) for n in range(13, -1, -1)]
        labels = [f"{d.day}.{d.month}." for d in line]
        series = [
            (title, [int(known[d][key]) if d in known else 0 for d in line])
            for title, key in ((visit._("Sent"), "sent"), (visit._("Delivered"), "delivered"), (visit._("Failed"), "failed"))
        ]
        return line_chart(labels, series)
