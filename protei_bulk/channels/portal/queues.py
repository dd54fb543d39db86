"""What waits, where and how long: the queue in the database by SMSC and priority, held messages, receipts, nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from protei_bulk.channels.portal.actors import actor_of
from protei_bulk.channels.portal.events import Events, Parts, Watch
from protei_bulk.channels.portal.export import csv_answer
from protei_bulk.channels.portal.shell import Answer, Page, Shell
from protei_bulk.channels.portal.visit import Flash, Listing, Visit
from protei_bulk.model.message import PRIORITIES
from protei_bulk.model.permissions import Permission, Scope
from protei_bulk.store.pages_operations import MOST, RELEASED, OperationPages
from protei_bulk.store.rehoming import ANEW
from protei_bulk.store.smscs import SmscRows

_WRITE = Permission.CUSTOMERS_WRITE  # of the platform's administrators only
_PAGE, _EXPORT = 50, 10_000
_SELDOM = 3.0  # seconds
_ALIVE = 5.0  # seconds without a heartbeat (there is one a second) after which a node is shown as silent


class Queues:
    def __init__(self, shell: Shell, events: Events, reads: OperationPages, smscs: SmscRows, now: Callable[[], float]) -> None:
        self._shell, self._events, self._reads, self._smscs, self._now = shell, events, reads, smscs, now
        self._shown: tuple[float, dict[str, Any]] = (float("-inf"), {})

    def pages(self) -> list[Page]:
        return [
            Page("GET", "/queues", _WRITE, self.show, Scope.ALL),
            Page("GET", "/queues.live", _WRITE, self.live, Scope.ALL, watching=True),
            Page("GET", "/queues/held", _WRITE, self.held, Scope.ALL),
            Page("GET", "/queues/held.csv", _WRITE, self.held_csv, Scope.ALL),
            Page("POST", "/queues/release", _WRITE, self.release, Scope.ALL),
        ]

    async def show(self, visit: Visit) -> Answer:
        return self._shell.page(visit, "queues.html", **await self.read())

    async def live(self, visit: Visit) -> Answer:
        return self._events.stream(visit, Watch(("queues",), self._seldom, _parts))

    async def _seldom(self) -> dict[str, Any]:
        """For live pages: it is more than one quick statement."""
        if self._now() - self._shown[0] >= _SELDOM:
            self._shown = (self._now(), await self.read())
        return self._shown[1]

    async def read(self) -> dict[str, Any]:
        """All that the page shows."""
        rows: dict[str, dict[str, Any]] = {}
        for d in await self._reads.depths():
            row = _of(rows, d["smsc"])
            row["due"][d["priority"]], row["age"] = d["due"], max(row["age"], d["age"])
        for w in await self._reads.waiting():
            _of(rows, w["smsc"]).update(later=w["later"], next=w["next"], held=w["held"])
        found = sorted(rows.values(), key=lambda r: str(r["smsc"]))
        said = await self._smscs.node_figures()
        nodes = await self._reads.nodes()
        for n in nodes:
            n["version"], n["figures"] = said.get(n["id"], ("", {}))
        return {
            "rows": found, "elsewhere": await self._reads.elsewhere(), "outbox": await self._reads.outbox(), "nodes": nodes, "most": MOST,
            "released": RELEASED,
            "silent": _ALIVE, "anew": ANEW, "held": sum(r["held"] for r in found), "priorities": list(enumerate(PRIORITIES))[::-1],
        }  # fmt: skip

    # --- held messages

    async def held(self, visit: Visit) -> Answer:
        rows = await self._held(visit, _PAGE)
        page = Listing(visit, len(rows[:_PAGE]), rows[_PAGE - 1]["id"] if len(rows) > _PAGE else "")
        return self._shell.page(visit, "queues_held.html", rows=rows[:_PAGE], page=page, smsc=visit.text("smsc", 64))

    def _held(self, visit: Visit, most: int) -> Any:
        return self._reads.held(visit.text("smsc", 64), visit.text("after", 64), most)

    async def held_csv(self, visit: Visit) -> Answer:
        rows = await self._held(visit, _EXPORT)
        names = ("id", "smsc", "username", "sender", "dest", "submitted", "attempts")
        return csv_answer("held", names, ([r[n].isoformat() if n == "submitted" else r[n] for n in names] for r in rows[:_EXPORT]))

    async def release(self, visit: Visit) -> Answer:
        """All that an SMSC has, or one message. Whoever presses twice releases nothing twice."""
        smsc, id = visit.text("smsc", 64), visit.text("id", 64)
        count = await self._reads.release(smsc, id, actor=actor_of(visit)) if smsc else 0
        if not count:
            return self._shell.to(visit, "/queues", Flash("info", visit._("Nothing is held there any more.")))
        told = visit.ngettext("%(num)s message goes out now.", "%(num)s messages go out now.", count)
        return self._shell.to(visit, "/queues", Flash("good", told))


def _parts(visit: Visit, found: dict[str, Any]) -> Parts:
    return {"queues": ("parts/queues.html", found)}


def _of(rows: dict[str, dict[str, Any]], smsc: str) -> dict[str, Any]:
    return rows.setdefault(smsc, {"smsc": smsc, "due": {}, "age": 0.0, "later": 0, "next": None, "held": 0})
