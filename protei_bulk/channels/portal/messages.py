"""Messages: the list, and the whole story of one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from protei_bulk.channels.portal.dashboard import reach_of
from protei_bulk.channels.portal.export import csv_answer
from protei_bulk.channels.portal.shell import Answer, Fault, Page, Shell
from protei_bulk.channels.portal.visit import Listing, Visit
from protei_bulk.model.permissions import Permission, Scope, scope_of
from protei_bulk.store.inspect import Inspection
from protei_bulk.store.pages import Pages

_PAGE, _EXPORT = 50, 10_000
MESSAGE_STATES = ("QUEUED", "SCHEDULED", "SENT", "DELIVERED", "FAILED", "REJECTED", "EXPIRED", "DELETED", "UNKNOWN")


class Messages:
    def __init__(self, shell: Shell, pages: Pages, inspection: Inspection) -> None:
        self._shell, self._pages, self._inspection = shell, pages, inspection

    def pages(self) -> list[Page]:
        seen = Permission.ANALYTICS  # its scope says whose traffic
        return [
            Page("GET", "/messages", seen, self.messages),
            Page("GET", "/messages.csv", seen, self.messages_csv),
            Page("GET", "/messages/{id}", seen, self.message),
        ]

    async def messages(self, visit: Visit) -> Answer:
        rows = await self._messages(visit, _PAGE)
        more = rows[_PAGE - 1]["id"] if len(rows) > _PAGE else ""
        listing = Listing(visit, len(rows[:_PAGE]), more)
        return self._shell.page(visit, "messages.html", rows=rows[:_PAGE], page=listing, states=MESSAGE_STATES)

    async def _messages(self, visit: Visit, most: int) -> list[dict[str, Any]]:
        asked, status = visit.text("q", 64), visit.text("status", 20)
        campaign = 0
        if visit.text("campaign", 64):
            found = await self._pages.campaign(reach_of(visit), visit.text("campaign", 64))
            if found is None:
                return []
            campaign = found["pk"]
        digits = "".join(c for c in asked if c.isdigit())
        is_id = asked.upper().startswith("MSG-")
        return await self._pages.messages(
            reach_of(visit), dest="" if is_id else digits, message_id=asked.upper() if is_id else "", campaign=campaign,
            status=status if status in MESSAGE_STATES else "", after=visit.text("after", 64), most=most,
        )  # fmt: skip

    async def messages_csv(self, visit: Visit) -> Answer:
        rows = await self._messages(visit, _EXPORT)
        names = ("id", "username", "sender", "dest", "text", "channel", "status", "error", "segments", "price", "submitted", "delivered")
        return csv_answer("messages", names, ([_plain(r[n]) for n in names] for r in rows[:_EXPORT]))

    async def message(self, visit: Visit) -> Answer:
        id = visit.places["id"]
        owner = await self._pages.owner_of(id)
        if owner is None or not _may_see(visit, *owner):
            raise Fault(404)
        found = await self._inspection.message(id)
        if found is None:
            raise Fault(404)
        moments = ("submitted_at", "sent_at", "delivered_at", "valid_until")
        times = {k: datetime.fromisoformat(found[k]) if found.get(k) else None for k in moments}
        operator = scope_of(visit.who.role, Permission.CUSTOMERS_WRITE) is Scope.ALL
        return self._shell.page(visit, "message.html", m=found, times=times, operator=operator)


def _may_see(visit: Visit, user_id: int, customer_id: int) -> bool:
    reach = reach_of(visit)
    if reach.user_id is not None:
        return user_id == reach.user_id
    return reach.customer_id is None or customer_id == reach.customer_id


def _plain(value: Any) -> Any:
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else value
