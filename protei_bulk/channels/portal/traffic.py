"""Campaigns: the list, and the page of one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from protei_bulk.channels.portal.dashboard import reach_of
from protei_bulk.channels.portal.export import csv_answer
from protei_bulk.channels.portal.shell import Answer, Fault, Page, Shell
from protei_bulk.channels.portal.visit import Listing, Visit
from protei_bulk.model.permissions import Permission
from protei_bulk.store.pages import Pages

_PAGE, _EXPORT = 50, 10_000
CAMPAIGN_STATES = ("DRAFT", "PENDING_APPROVAL", "APPROVED", "RUNNING", "PAUSED", "COMPLETED", "CANCELLED")


class Traffic:
    def __init__(self, shell: Shell, pages: Pages) -> None:
        self._shell, self._pages = shell, pages

    def pages(self) -> list[Page]:
        seen = Permission.ANALYTICS  # its scope says whose traffic
        return [
            Page("GET", "/campaigns", seen, self.campaigns),
            Page("GET", "/campaigns.csv", seen, self.campaigns_csv),
            Page("GET", "/campaigns/{id}", seen, self.campaign),
        ]

    # --- campaigns

    async def campaigns(self, visit: Visit) -> Answer:
        rows = await self._campaigns(visit, _PAGE)
        more = str(rows[_PAGE - 1]["pk"]) if len(rows) > _PAGE else ""
        listing = Listing(visit, len(rows[:_PAGE]), more)
        return self._shell.page(visit, "campaigns.html", rows=rows[:_PAGE], page=listing, states=CAMPAIGN_STATES)

    def _campaigns(self, visit: Visit, most: int) -> Any:
        status = visit.text("status", 20)
        return self._pages.campaigns(
            reach_of(visit), search=visit.text("q", 100), status=status if status in CAMPAIGN_STATES else "",
            after=visit.whole("after", high=2**62), most=most,
        )  # fmt: skip

    async def campaigns_csv(self, visit: Visit) -> Answer:
        rows = await self._campaigns(visit, _EXPORT)
        names = ("id", "name", "username", "channel", "sender", "status", "total", "sent", "delivered", "failed", "created", "completed")
        return csv_answer("campaigns", names, ([_plain(r[n]) for n in names] for r in rows[:_EXPORT]))

    async def campaign(self, visit: Visit) -> Answer:
        found = await self._pages.campaign(reach_of(visit), visit.places["id"])
        if found is None:
            raise Fault(404)
        total = found["total"] or 0
        shares = [
            (visit._("Delivered"), found["delivered"], "good"), (visit._("Failed"), found["failed"], "bad"),
            (visit._("Sent, no receipt yet"), max(0, found["sent"] - found["delivered"] - (found["failed"] - found["unsent"])), ""),
            (visit._("Waiting"), max(0, total - found["sent"] - found["unsent"]), ""),
        ]  # fmt: skip
        bars = [(name, n, n / total if total else 0, kind) for name, n, kind in shares]
        return self._shell.page(visit, "campaign.html", x=found, bars=bars)


def _plain(value: Any) -> Any:
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else value
