"""What SMSCs charge for a segment: what least-cost routing goes by, the cheapest for each destination first."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from protei_bulk.channels.portal.actors import actor_of
from protei_bulk.channels.portal.export import csv_answer
from protei_bulk.channels.portal.shell import Answer, Fault, Page, Shell
from protei_bulk.channels.portal.visit import Flash, Listing, Visit
from protei_bulk.model.permissions import Permission, Scope
from protei_bulk.settings import Settings
from protei_bulk.store.pages_operations import OperationPages
from protei_bulk.store.routes import CostRows

_READ, _WRITE = Permission.ROUTES_READ, Permission.ROUTES_WRITE
_PAGE, _EXPORT = 100, 100_000
_GIVEN = ("smsc", "mccmnc", "prefix", "cost", "currency", "valid_from")


class CostPages:
    def __init__(self, shell: Shell, reads: OperationPages, rows: CostRows, settings: Callable[[], Settings]) -> None:
        self._shell, self._reads, self._rows, self._settings = shell, reads, rows, settings

    def pages(self) -> list[Page]:
        return [
            Page("GET", "/routes/costs", _READ, self.show, Scope.ALL),
            Page("GET", "/routes/costs.csv", _READ, self.csv, Scope.ALL),
            Page("POST", "/routes/costs", _WRITE, self.set, Scope.ALL),
            Page("POST", "/routes/costs/{id}/delete", _WRITE, self.delete, Scope.ALL),
        ]

    async def show(self, visit: Visit) -> Answer:
        return await self._show(visit)

    async def _show(self, visit: Visit, given: dict[str, str] | None = None, errors: dict[str, str] | None = None) -> Answer:
        skip = visit.whole("after", high=10_000_000)
        rows = await self._found(visit, skip, _PAGE)
        page = Listing(visit, len(rows[:_PAGE]), str(skip + _PAGE) if len(rows) > _PAGE else "")
        shown = given or {**dict.fromkeys(_GIVEN, ""), "currency": self._settings().routing.currency}
        return self._shell.page(
            visit, "routes_costs.html", 422 if errors else 200, rows=rows[:_PAGE], page=page, smscs=[c.id for c in self._settings().smsc],
            given=shown, errors=errors or {},
        )  # fmt: skip

    def _found(self, visit: Visit, skip: int, most: int) -> Any:
        digits = "".join(c for c in visit.text("q", 30) if c.isdigit())[:20]
        return self._reads.costs(smsc=visit.text("only", 64), number=digits, skip=skip, most=most)

    async def csv(self, visit: Visit) -> Answer:
        rows = (await self._found(visit, 0, _EXPORT))[:_EXPORT]
        names = ("mccmnc", "prefix", "smsc", "cost", "currency", "valid_from")
        cells = ([v.isoformat() if isinstance(v, datetime) else str(v) if isinstance(v, Decimal) else v for v in (r[n] for n in names)]
                 for r in rows)  # fmt: skip
        return csv_answer("costs", names, cells)

    async def set(self, visit: Visit) -> Answer:
        given = {name: visit.text(name, 64) for name in _GIVEN}
        errors: dict[str, str] = {}
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", given["smsc"]):
            errors["smsc"] = visit._("Choose an SMSC.")
        if not re.fullmatch(r"([0-9]{3}|[0-9]{5,6})?", given["mccmnc"]):
            errors["mccmnc"] = visit._("Write MCC and MNC, five or six digits, or an MCC of three.")
        if not re.fullmatch(r"[0-9]{0,20}", given["prefix"]):
            errors["prefix"] = visit._("Write digits with the country code.")
        elif given["mccmnc"] and given["prefix"]:
            errors["prefix"] = visit._("A network or a prefix, not both.")
        if not re.fullmatch(r"[A-Z]{3}", given["currency"]):
            errors["currency"] = visit._("Write a currency such as USD.")
        cost = _amount(given["cost"])
        if cost is None:
            errors["cost"] = visit._("Write an amount, 0 or more, with at most 6 decimals.")
        begin = None
        if given["valid_from"]:
            try:
                begin = datetime.fromisoformat(given["valid_from"]).replace(tzinfo=visit.zone)
            except (ValueError, OverflowError):
                errors["valid_from"] = visit._("Write a day and a time.")
        if errors or cost is None:
            return await self._show(visit, given, errors)
        actor = actor_of(visit)
        await self._rows.set(given["smsc"], given["mccmnc"], given["prefix"], cost, given["currency"], begin, actor=actor)
        return self._shell.to(visit, "/routes/costs", Flash("good", visit._("The cost is noted, on all nodes.")))

    async def delete(self, visit: Visit) -> Answer:
        given = visit.places["id"]
        if not (given.isascii() and given.isdigit() and len(given) < 19) or not await self._rows.remove(int(given), actor=actor_of(visit)):
            raise Fault(404)
        return self._shell.to(visit, "/routes/costs", Flash("good", visit._("The cost is gone.")))


def _amount(text: str) -> Decimal | None:
    """From 0 to a million, with at most six decimals; None for anything else."""
    if not re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,6})?", text):
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        return None
