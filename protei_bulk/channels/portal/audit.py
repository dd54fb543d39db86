"""The audit log: what was done and tried, by whom, from where."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import orjson
from attrs import define, field

from protei_bulk.channels.portal.dashboard import reach_of
from protei_bulk.channels.portal.export import csv_answer
from protei_bulk.channels.portal.shell import Answer, Page, Shell
from protei_bulk.channels.portal.visit import Listing, Visit
from protei_bulk.model.permissions import Permission, Scope
from protei_bulk.store.accounts import Accounts
from protei_bulk.store.audit_reads import AuditEvent, AuditReads
from protei_bulk.store.pages_names import Names

_PAGE, _EXPORT = 50, 10_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RESULTS = ("SUCCESS", "FAILURE")


@define
class Asked:
    """What the filters say. `nothing`: they name somebody whom the reader cannot see, or who is not there."""

    values: dict[str, Any] = field(factory=dict)
    errors: dict[str, str] = field(factory=dict)
    nothing: bool = False


class AuditPages:
    def __init__(self, shell: Shell, reads: AuditReads, accounts: Accounts, names: Names) -> None:
        self._shell, self._reads, self._accounts, self._names = shell, reads, accounts, names

    def pages(self) -> list[Page]:
        return [
            Page("GET", "/audit", Permission.AUDIT, self.show, Scope.CUSTOMER),
            Page("GET", "/audit.csv", Permission.AUDIT, self.csv, Scope.CUSTOMER),
        ]

    async def show(self, visit: Visit) -> Answer:
        asked = await self._asked(visit)
        rows = await self._rows(visit, asked, _PAGE)
        more = _cursor(rows[_PAGE - 1]) if len(rows) > _PAGE else ""
        rows = rows[:_PAGE]
        page = Listing(visit, len(rows), more)
        shown = [(r, actor, own) for r, (actor, own) in zip(rows, await self._actors(visit, rows), strict=True)]
        status = 422 if asked.errors else 200
        return self._shell.page(visit, "audit.html", status, rows=shown, page=page, errors=asked.errors, details=lines)

    async def csv(self, visit: Visit) -> Answer:
        asked = await self._asked(visit)
        rows = (await self._rows(visit, asked, _EXPORT))[:_EXPORT]
        cells = (
            (r.audit_id, r.created_at.isoformat(timespec="seconds"), r.action, r.result, r.username, actor,
             r.ip_address if own else "", r.user_agent if own else "", orjson.dumps(r.details).decode())
            for r, (actor, own) in zip(rows, await self._actors(visit, rows), strict=True)
        )  # fmt: skip
        return csv_answer("audit", ("id", "time", "action", "result", "user", "actor", "ip", "user_agent", "details"), cells)

    async def _rows(self, visit: Visit, asked: Asked, most: int) -> list[AuditEvent]:
        if asked.nothing or asked.errors:
            return []
        reach = reach_of(visit)
        return list(await self._reads.events(customer_id=reach.customer_id, limit=most + 1, **asked.values))

    async def _actors(self, visit: Visit, rows: list[AuditEvent]) -> list[tuple[str, bool]]:
        """Who did each, and whether the reader may know from where: a customer is told no more of the operator than that it was he."""
        customer = reach_of(visit).customer_id
        names = await self._names.users({r.actor_id for r in rows if r.actor_id is not None}, customer)
        found = []
        for r in rows:
            own = customer is None or r.actor_id is None or r.actor_id in names
            found.append((names.get(r.actor_id or 0, "") if own else visit._("the operator"), own))
        return found

    async def _asked(self, visit: Visit) -> Asked:
        asked = Asked()
        values, errors = asked.values, asked.errors
        action = visit.text("action", 50).upper().replace(" ", "_")
        if action:
            values["action"] = action
        if visit.text("result", 10) in _RESULTS:
            values["result"] = visit.text("result", 10)
        for name, column in (("user", "user_id"), ("actor", "actor_id")):
            given = visit.text(name, 100)
            if given:
                known = await self._accounts.by_username(given)
                if known is None:
                    asked.nothing = True
                else:
                    values[column] = known.account.user_id
        if visit.text("ip", 64):
            try:
                values["ip_address"] = str(ip_network(visit.text("ip", 64), strict=False))
            except ValueError:
                errors["ip"] = visit._("Write an address, or a network such as 10.0.0.0/8.")
        for name, column, day in (("from", "since", 0), ("to", "until", 1)):
            given = visit.text(name, 20)
            if given:
                try:
                    values[column] = datetime.fromisoformat(given).replace(tzinfo=visit.zone) + timedelta(days=day)
                except (ValueError, OverflowError):
                    errors[name] = visit._("Write a day such as 2026-01-31.")
        before, _, number = visit.text("after", 40).partition("-")
        if before.isascii() and before.isdigit() and number.isascii() and number.isdigit() and len(before) < 17 and len(number) < 19:
            values["before"] = (_EPOCH + timedelta(microseconds=int(before)), int(number))
        return asked


def _cursor(row: AuditEvent) -> str:
    since = row.created_at.astimezone(UTC) - _EPOCH
    return f"{(since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds}-{row.audit_id}"


def lines(details: Any, path: str = "", most: int = 60) -> list[tuple[str, str]]:
    """What happened, a line a value: nested keys are joined by points. Of a change, `before` stands beside what it became."""
    found: list[tuple[str, str]] = []
    if isinstance(details, dict):
        for key, value in details.items():
            found += lines(value, f"{path}.{key}" if path else str(key), most)
    elif isinstance(details, list) and any(isinstance(x, dict | list) for x in details):
        for n, value in enumerate(details, 1):
            found += lines(value, f"{path}.{n}", most)
    elif isinstance(details, list):
        found.append((path, ", ".join(map(_plain, details)) or "–"))
    else:
        found.append((path, _plain(details)))
    return found[:most]


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "–" if value in (None, "") else str(value)
