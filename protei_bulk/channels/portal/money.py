"""Money: balance, what is on hold, the ledger with its statement, top-ups, and margins."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from protei_bulk.access import fields
from protei_bulk.channels.portal.actors import actor_of
from protei_bulk.channels.portal.export import csv_answer
from protei_bulk.channels.portal.shell import Answer, Fault, Page, Shell
from protei_bulk.channels.portal.visit import Flash, Listing, Visit
from protei_bulk.channels.statements import statement_csv
from protei_bulk.model.permissions import Permission, Scope
from protei_bulk.store.administration import Administration, TooMuch
from protei_bulk.store.money import KINDS, Ledger
from protei_bulk.store.pages_money import MARGIN_BY, Line, MoneyPages
from protei_bulk.store.pages_people import PeoplePages

READ, WRITE = Permission.CUSTOMERS_READ, Permission.CUSTOMERS_WRITE
_PAGE, _EXPORT, _LINES = 50, 10_000, 20_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONTH = timedelta(days=31)


async def customer_of(visit: Visit, reads: PeoplePages) -> dict[str, Any]:
    """Whose money the address asks for: the reader's own where it says nothing. Raises Fault 404 beyond the reader's reach."""
    given = visit.text("customer", 20)
    number = visit.who.customer_id if not given else visit.whole("customer", high=2**62)
    if visit.scope is not Scope.ALL and number != visit.who.customer_id:
        raise Fault(404, visit._("There is no such customer"))
    row = await reads.customer(number)
    if row is None:
        raise Fault(404, visit._("There is no such customer"))
    return row


class Money:
    """`costs_in` gives the currency of costs."""

    def __init__(self, shell: Shell, store: Administration, ledger: Ledger, reads: PeoplePages, money: MoneyPages,
                 costs_in: Callable[[], str]) -> None:  # fmt: skip
        self._shell, self._store, self._ledger, self._reads, self._money, self._costs_in = shell, store, ledger, reads, money, costs_in
        self._booking: set[tuple[int, Decimal, str]] = set()  # top-ups under way: a form that comes twice at once

    def pages(self) -> list[Page]:
        return [
            Page("GET", "/money", READ, self.show, Scope.CUSTOMER),
            Page("GET", "/money.csv", READ, self.csv, Scope.CUSTOMER),
            Page("GET", "/money/statement.csv", READ, self.statement, Scope.CUSTOMER),
            Page("GET", "/money/top-up", WRITE, self.top_up, Scope.ALL),
            Page("POST", "/money/top-up", WRITE, self.book, Scope.ALL),
            Page("GET", "/money/margin", WRITE, self.margin, Scope.ALL),
            Page("GET", "/money/margin.csv", WRITE, self.margin_csv, Scope.ALL),
        ]

    # --- the ledger

    async def show(self, visit: Visit) -> Answer:
        x = await customer_of(visit, self._reads)
        errors: dict[str, str] = {}
        rows = await self._entries(visit, x, _PAGE, errors)
        more = _cursor(rows[_PAGE - 1]) if len(rows) > _PAGE else ""
        page = Listing(visit, len(rows[:_PAGE]), more)
        return self._shell.page(
            visit, "money.html", 422 if errors else 200, **await frame(visit, x, self._reads), rows=rows[:_PAGE], page=page, kinds=KINDS,
            errors=errors, held=await self._money.held(x["id"]), spent=await self._money.spent(x["id"]),
        )  # fmt: skip

    async def _entries(self, visit: Visit, x: dict[str, Any], most: int, errors: dict[str, str]) -> list[Line]:
        since, until = _days(visit, _zone(x), errors)
        if errors:
            return []
        kind = visit.text("kind", 10)
        return list(
            await self._money.entries(
                x["id"], kind=kind if kind in KINDS else None, since=since, until=until, before=_before(visit.text("after", 40)),
                most=most,
            )
        )  # fmt: skip

    async def csv(self, visit: Visit) -> Answer:
        x = await customer_of(visit, self._reads)
        rows = (await self._entries(visit, x, _EXPORT, {}))[:_EXPORT]
        zone = _zone(x)
        names = ("time", "kind", "amount", "held", "messages", "reference", "balance", "currency")
        cells = (
            (e.created_at.astimezone(zone).isoformat(timespec="seconds"), e.kind, e.amount, e.held, e.messages, e.reference, e.balance,
             x["currency"]) for e in rows
        )  # fmt: skip
        return csv_answer(f"ledger-{x['id']}", names, cells)

    async def statement(self, visit: Visit) -> Answer:
        """Oldest first, as the API's: of the last 31 days where nothing is said."""
        x = await customer_of(visit, self._reads)
        errors: dict[str, str] = {}
        since, until = _days(visit, _zone(x), errors)
        if errors:
            raise Fault(422, visit._("That is no day"), visit._("Write days such as 2026-01-31."))
        until = until or datetime.now(UTC) + timedelta(minutes=1)
        since = since or until - _MONTH
        found = await self._ledger.statement(x["id"], since, until, limit=_LINES + 1)
        if len(found) > _LINES:
            raise Fault(422, visit._("That is too much for one statement"), visit._("Ask for less time."))
        return Answer(
            ("\ufeff" + statement_csv(found, x["timezone"])).encode("utf-8", "replace"), content_type="text/csv; charset=utf-8",
            headers=(("Content-Disposition", f'attachment; filename="statement-{x["id"]}.csv"'),),
        )  # fmt: skip

    # --- top-ups: what will happen is shown before it does

    async def top_up(self, visit: Visit) -> Answer:
        x = await customer_of(visit, self._reads)
        return await self._top_up(visit, x, {"way": "add", "amount": "", "reference": ""})

    async def _top_up(self, visit: Visit, x: dict[str, Any], given: dict[str, str], errors: dict[str, str] | None = None,
                      amount: Decimal | None = None, again: int = 0) -> Answer:  # fmt: skip
        return self._shell.page(
            visit, "money_top_up.html", 422 if errors else 200, **await frame(visit, x, self._reads), f=given, errors=errors or {},
            amount=amount, again=again,
        )  # fmt: skip

    async def book(self, visit: Visit) -> Answer:
        x = await customer_of(visit, self._reads)
        given = {name: visit.text(name, 200) for name in ("way", "amount", "reference")}
        errors: dict[str, str] = {}
        amount = Decimal(0)
        with contextlib.suppress(fields.FieldError):  # a comma is refused: it is a decimal sign to some
            amount = fields.money(given["amount"])
        if amount <= 0:
            errors["amount"] = visit._("Write an amount above 0, with at most 6 decimals.")
        if given["way"] not in ("add", "take"):
            errors["way"] = visit._("Choose one of these.")
        if not given["reference"] or len(given["reference"]) > 64 or not given["reference"].isprintable():
            errors["reference"] = visit._("Say what it is for in at most 64 characters: an invoice, a transfer.")
        if errors or visit.text("step", 10) == "change":
            return await self._top_up(visit, x, given, errors)
        signed = amount if given["way"] == "add" else -amount
        what = (x["id"], signed, given["reference"])
        if visit.text("step", 10) != "confirm" or what in self._booking:
            return await self._top_up(visit, x, given, None, signed, await self._money.lately(*what) + (what in self._booking))
        self._booking.add(what)
        try:
            booked = await self._money.lately(*what)
            if booked != visit.whole("again"):  # of which the form does not know
                return await self._top_up(visit, x, given, None, signed, booked)
            balance = await self._store.top_up(*what, actor=actor_of(visit))
        except TooMuch:
            return await self._top_up(visit, x, given, {"amount": visit._("The balance would be more than there is room for.")})
        finally:
            self._booking.discard(what)
        if balance is None:
            raise Fault(404, visit._("There is no such customer"))
        told = visit._(
            "Booked: the balance of %(name)s is %(balance)s %(currency)s now.", name=x["name"], balance=f"{balance.normalize():f}",
            currency=x["currency"],
        )  # fmt: skip
        return self._shell.to(visit, f"/money?customer={x['id']}", Flash("good", told))

    # --- margins

    async def margin(self, visit: Visit) -> Answer:
        by, since, until, errors = _margin_of(visit)
        rows = [] if errors else await self._money.margins(by, since, until)
        totals: dict[str, list[Any]] = {}
        for r in rows:
            total = totals.setdefault(r["currency"], [0, Decimal(0), Decimal(0)])
            for n, key in enumerate(("segments", "revenue", "cost")):
                total[n] += r[key]
        return self._shell.page(
            visit, "money_margin.html", 422 if errors else 200, rows=rows, by=by, since=since, until=until, errors=errors, totals=totals,
            cost_currency=self._costs_in(), x=None,
        )  # fmt: skip

    async def margin_csv(self, visit: Visit) -> Answer:
        by, since, until, errors = _margin_of(visit)
        rows = [] if errors else await self._money.margins(by, since, until, most=_EXPORT)
        names = (by, "currency", "segments", "revenue", "cost", "cost_currency")
        cells = ((r["name"], r["currency"], r["segments"], r["revenue"], r["cost"], self._costs_in()) for r in rows)
        return csv_answer("margin", names, cells)


async def frame(visit: Visit, x: dict[str, Any], reads: PeoplePages) -> dict[str, Any]:
    """What the head of each page of a customer's money shows."""
    wide = visit.scope is Scope.ALL
    customers = await reads.names() if wide else []
    if wide and all(c[0] != x["id"] for c in customers):
        customers = [(x["id"], x["name"], x["currency"]), *customers]
    return {"x": x, "customers": customers, "wide": wide}


def _zone(x: dict[str, Any]) -> ZoneInfo:
    return ZoneInfo(x["timezone"])


def _days(visit: Visit, zone: ZoneInfo, errors: dict[str, str]) -> tuple[datetime | None, datetime | None]:
    """The first moment and the one after the last, of days in the customer's zone."""
    found: list[datetime | None] = []
    for name, more in (("from", 0), ("to", 1)):
        given = visit.text(name, 20)
        try:
            found.append((datetime.fromisoformat(given[:10]) + timedelta(days=more)).replace(tzinfo=zone) if given else None)
        except (ValueError, OverflowError):
            errors[name] = visit._("Write a day such as 2026-01-31.")
            found.append(None)
    return found[0], found[1]


def _margin_of(visit: Visit) -> tuple[str, Any, Any, dict[str, str]]:
    by = visit.text("by", 10)
    errors: dict[str, str] = {}
    since, until = _days(visit, ZoneInfo("UTC"), errors)
    last = (until - timedelta(days=1)).date() if until else datetime.now(UTC).date()
    first = since.date() if since else last.replace(day=1)
    return by if by in MARGIN_BY else "route", first, last, errors


def _cursor(e: Line) -> str:
    since = e.created_at.astimezone(UTC) - _EPOCH
    return f"{(since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds}-{e.entry_id}"


def _before(cursor: str) -> tuple[datetime, int] | None:
    at, _, number = cursor.partition("-")
    if not (at.isascii() and at.isdigit() and len(at) < 17 and number.isascii() and number.isdigit() and len(number) < 19):
        return None
    return _EPOCH + timedelta(microseconds=int(at)), int(number)
