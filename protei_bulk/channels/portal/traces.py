"""PDUs that operators want to see now: which accounts and connectors are traced, and until when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from protei_bulk.channels.portal.shell import Answer, Page, Shell
from protei_bulk.channels.portal.visit import Flash, Visit
from protei_bulk.model.permissions import Permission, Scope
from protei_bulk.settings import Settings
from protei_bulk.store.traces import KINDS, TraceTable

_WRITE = Permission.CUSTOMERS_WRITE  # of the platform's administrators only: a trace shows who writes to whom
_MINUTES = (5, 10, 30, 60, 240, 1440)


class Traces:
    def __init__(self, shell: Shell, table: TraceTable, settings: Callable[[], Settings]) -> None:
        self._shell, self._table, self._settings = shell, table, settings

    def pages(self) -> list[Page]:
        return [
            Page("GET", "/traces", _WRITE, self.show, Scope.ALL),
            Page("POST", "/traces", _WRITE, self.on, Scope.ALL),
            Page("POST", "/traces/off", _WRITE, self.off, Scope.ALL),
        ]

    async def show(self, visit: Visit) -> Answer:
        return await self._show(visit)

    async def _show(self, visit: Visit, status: int = 200, errors: dict[str, str] | None = None) -> Answer:
        values: dict[str, Any] = {
            "rows": await self._table.active(), "errors": errors or {},
            "smscs": [("", visit._("None")), *((c.id, c.id) for c in self._settings().smsc)],
            "minutes": _MINUTES,
        }  # fmt: skip
        return self._shell.page(visit, "traces.html", status, **values)

    async def on(self, visit: Visit) -> Answer:
        kind = visit.text("kind", 8)
        name = visit.text("user" if kind == "USER" else "smsc", 100)
        minutes = visit.whole("minutes", 0, 1, 1440)
        errors: dict[str, str] = {}
        if kind not in KINDS:
            errors["kind"] = visit._("Choose an account or a connector.")
        if not minutes:
            errors["minutes"] = visit._("Choose from 1 to 1440 minutes.")
        if kind == "SMSC" and name not in [c.id for c in self._settings().smsc]:
            errors["smsc"] = visit._("There is no such connector.")
        if kind == "USER" and not name:
            errors["user"] = visit._("Write the name of a user.")
        if not errors and not await self._table.on(kind, name, minutes, actor_id=visit.who.user_id):
            errors["user"] = visit._("There is no such user.")
        if errors:
            return await self._show(visit, 422, errors)
        told = visit._("%(name)s is traced. The lines are in the logs of the nodes.", name=name)
        return self._shell.to(visit, "/traces", Flash("good", told))

    async def off(self, visit: Visit) -> Answer:
        kind, name = visit.text("kind", 8), visit.text("name", 100)
        if kind not in KINDS or not name:
            return await self._show(visit, 422)
        gone = await self._table.off(kind, name, actor_id=visit.who.user_id)
        text = visit._("%(name)s is traced no more.", name=name) if gone else visit._("That trace was over already.")
        return self._shell.to(visit, "/traces", Flash("good" if gone else "info", text))
