"""What else keeps messages back: countries, duplicates, and traffic that the velocity guard has noticed or paused."""

from __future__ import annotations

from collections.abc import Callable

from protei_bulk.channels.portal.actors import actor_of
from protei_bulk.channels.portal.dashboard import reach_of
from protei_bulk.channels.portal.export import csv_answer
from protei_bulk.channels.portal.shell import Answer, Page, Shell
from protei_bulk.channels.portal.sorting import plain
from protei_bulk.channels.portal.visit import Flash, Listing, Visit
from protei_bulk.model.permissions import Permission, Scope
from protei_bulk.settings.guards import Guards as Settings
from protei_bulk.store.guards import Event, GuardRows
from protei_bulk.store.pages_guards import MOST, GuardPages

_PAGE, _EXPORT = 50, 10_000


class Guards:
    def __init__(self, shell: Shell, rows: GuardRows, reads: GuardPages, settings: Callable[[], Settings]) -> None:
        self._shell, self._rows, self._reads, self._settings = shell, rows, reads, settings

    def pages(self) -> list[Page]:
        return [
            Page("GET", "/guards", Permission.GUARDS_READ, self.show, Scope.CUSTOMER),
            Page("GET", "/guards.csv", Permission.GUARDS_READ, self.csv, Scope.CUSTOMER),
            Page("POST", "/guards/release", Permission.GUARDS_RELEASE, self.release, Scope.ALL),
        ]

    async def show(self, visit: Visit) -> Answer:
        wall = reach_of(visit).customer_id
        rows = await self._events(visit, _PAGE)
        more = str(rows[_PAGE - 1].event_id) if len(rows) > _PAGE else ""
        return self._shell.page(
            visit, "guards.html", rows=rows[:_PAGE], page=Listing(visit, len(rows[:_PAGE]), more), settings=self._settings(),
            countries=await self._reads.countries(wall), accounts=await self._reads.accounts(wall), most=MOST,
            wide=visit.scope is Scope.ALL, paused=visit.text("state", 10) == "PAUSED",
        )  # fmt: skip

    async def _events(self, visit: Visit, most: int) -> list[Event]:
        return list(
            await self._rows.events(
                customer_id=reach_of(visit).customer_id, paused=visit.text("state", 10) == "PAUSED",
                before=visit.whole("after", high=2**62) or None, limit=most + 1,
            )
        )  # fmt: skip

    async def csv(self, visit: Visit) -> Answer:
        rows = (await self._events(visit, _EXPORT))[:_EXPORT]
        names = ("event_id", "username", "kind", "target", "region", "messages", "most", "mode", "created_at", "ends_at", "released_at")
        return csv_answer("guards", names, ([plain(getattr(e, n)) for n in names] for e in rows))

    async def release(self, visit: Visit) -> Answer:
        done = await self._rows.release(visit.whole("event", high=2**62), actor=actor_of(visit))
        told = visit._("The pause is over, on all nodes.") if done else visit._("That pause was over already.")
        return self._shell.to(visit, "/guards", Flash("good" if done else "info", told))
