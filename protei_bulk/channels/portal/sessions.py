"""SMPP sessions: who is bound, who was, and the end of one."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from protei_bulk.channels.portal.actors import actor_of
from protei_bulk.channels.portal.dashboard import reach_of
from protei_bulk.channels.portal.events import Events, Parts, Watch
from protei_bulk.channels.portal.export import csv_answer
from protei_bulk.channels.portal.shell import Answer, Fault, Page, Shell
from protei_bulk.channels.portal.visit import Flash, Listing, Visit
from protei_bulk.model.permissions import Permission, Scope
from protei_bulk.store.pages import Row
from protei_bulk.store.pages_operations import OperationPages
from protei_bulk.store.sessions import SmppSessions

_PAGE, _EXPORT = 50, 10_000


class Sessions:
    def __init__(self, shell: Shell, events: Events, reads: OperationPages, sessions: SmppSessions) -> None:
        self._shell, self._events, self._reads, self._sessions = shell, events, reads, sessions

    def pages(self) -> list[Page]:
        return [
            Page("GET", "/sessions", Permission.SESSIONS, self.show),
            Page("GET", "/sessions.live", Permission.SESSIONS, self.live, watching=True),
            Page("GET", "/sessions.csv", Permission.SESSIONS, self.csv),
            Page("POST", "/sessions/{id}/disconnect", Permission.DISCONNECT, self.disconnect),
        ]

    async def show(self, visit: Visit) -> Answer:
        rows = await self._found(visit, _PAGE)
        stream = "/sessions.live?" + visit.link().partition("?")[2]
        return self._shell.page(visit, "sessions.html", stream=stream, **_values(visit, rows))

    async def live(self, visit: Visit) -> Answer:
        """Who is bound; what the addresses of both have in common says which of them."""

        async def read() -> list[Row]:
            return list(await self._found(visit, _PAGE))

        asked = (visit.text("q", 100), visit.whole("after", high=2**62))
        return self._events.stream(visit, Watch(("sessions", reach_of(visit), asked), read, _parts))

    def _found(self, visit: Visit, most: int) -> Any:
        return self._reads.sessions(
            reach_of(visit), ended=_ended(visit), search=visit.text("q", 100), after=visit.whole("after", high=2**62), most=most
        )

    async def csv(self, visit: Visit) -> Answer:
        rows = await self._found(visit, _EXPORT)
        names = ("id", "username", "system_id", "bind_type", "ip", "port", "node", "sent", "received", "bound", "active", "ended")
        cells = ([v.isoformat(timespec="seconds") if hasattr(v, "isoformat") else v for v in (r[n] for n in names)] for r in rows[:_EXPORT])
        return csv_answer("sessions", names, cells)

    async def disconnect(self, visit: Visit) -> Answer:
        reach, given = reach_of(visit), visit.places["id"]
        number = int(given) if given.isascii() and given.isdigit() and len(given) < 19 else 0
        done = await self._sessions.request_disconnect_id(
            number, actor=actor_of(visit), customer_id=reach.customer_id, user_id=reach.user_id
        )
        if not done:
            if not number:
                raise Fault(404)
            return self._shell.to(visit, "/sessions", Flash("info", visit._("That session is over already, or it is not one of yours.")))
        return self._shell.to(visit, "/sessions", Flash("good", visit._("The session is being ended. Its client may bind again.")))


def _values(visit: Visit, rows: list[Row]) -> dict[str, Any]:
    more = str(rows[_PAGE - 1]["id"]) if len(rows) > _PAGE else ""
    page = Listing(evolve(visit, path="/sessions"), len(rows[:_PAGE]), more)
    return {"rows": rows[:_PAGE], "page": page, "ended": _ended(visit), "wide": visit.scope is not Scope.OWN}


def _parts(visit: Visit, rows: list[Row]) -> Parts:
    return {"sessions": ("parts/sessions.html", _values(visit, rows))}


def _ended(visit: Visit) -> bool:
    return visit.text("show", 10) == "ended"
