"""Customers: the list, and one with its money, its users and what is set of it. For those who administer the platform."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from protei_bulk.access import fields
from protei_bulk.channels.portal.actors import actor_of
from protei_bulk.channels.portal.export import csv_answer
from protei_bulk.channels.portal.shell import Answer, Fault, Page, Shell
from protei_bulk.channels.portal.sorting import plain, read_sort, sorted_page
from protei_bulk.channels.portal.user_form import words
from protei_bulk.channels.portal.user_texts import wrong_texts
from protei_bulk.channels.portal.visit import Flash, Visit
from protei_bulk.guards.countries import REGIONS
from protei_bulk.model.permissions import Permission, Scope
from protei_bulk.store.account_rows import NameTaken
from protei_bulk.store.administration import Administration, StillInUse
from protei_bulk.store.pages_money import MoneyPages
from protei_bulk.store.pages_people import CUSTOMER_SORTS, PeoplePages

READ, WRITE = Permission.CUSTOMERS_READ, Permission.CUSTOMERS_WRITE
_PAGE, _EXPORT, _USERS = 50, 10_000, 20
_TEXTS = ("name", "credit_limit", "currency", "timezone", "weight", "charge_on", "default_country")
_LISTS = ("allowed_countries", "blocked_countries")
_START: Mapping[str, Any] = {
    "name": "", "credit_limit": "0", "currency": "USD", "timezone": "UTC", "weight": "1", "charge_on": "ACCEPT", "default_country": "",
    "allowed_countries": "", "blocked_countries": "", "campaign_approval": False, "balance": "0",
}  # fmt: skip


class Customers:
    def __init__(self, shell: Shell, store: Administration, reads: PeoplePages, money: MoneyPages) -> None:
        self._shell, self._store, self._reads, self._money = shell, store, reads, money

    def pages(self) -> list[Page]:
        return [
            Page("GET", "/customers", READ, self.index, Scope.ALL),
            Page("GET", "/customers.csv", READ, self.csv, Scope.ALL),
            Page("GET", "/customers/new", WRITE, self.new, Scope.ALL),
            Page("POST", "/customers/new", WRITE, self.add, Scope.ALL),
            Page("GET", "/customers/{id}", READ, self.show, Scope.ALL),
            Page("GET", "/customers/{id}/edit", WRITE, self.edit, Scope.ALL),
            Page("POST", "/customers/{id}/edit", WRITE, self.change, Scope.ALL),
            Page("POST", "/customers/{id}/status", WRITE, self.status, Scope.ALL),
            Page("POST", "/customers/{id}/delete", WRITE, self.delete, Scope.ALL),
        ]

    # --- the list

    async def index(self, visit: Visit) -> Answer:
        rows, sort, falling = await self._found(visit, _PAGE)
        rows, page = sorted_page(visit, rows, _PAGE, sort, falling)
        return self._shell.page(visit, "customers.html", rows=rows, page=page)

    async def _found(self, visit: Visit, most: int) -> tuple[list[dict[str, Any]], str, bool]:
        sort, falling, after = read_sort(visit, CUSTOMER_SORTS, "name")
        status = visit.text("status", 20)
        rows = await self._reads.customers(
            search=visit.text("q", 100), status=status if status in fields.STATUSES else "", sort=sort, falling=falling, after=after,
            most=most,
        )  # fmt: skip
        return rows, sort, falling

    async def csv(self, visit: Visit) -> Answer:
        rows, _, _ = await self._found(visit, _EXPORT)
        names = ("id", "name", "status", "balance", "credit_limit", "currency", "timezone", "users", "created")
        return csv_answer("customers", names, ([plain(r[n]) for n in names] for r in rows[:_EXPORT]))

    # --- one

    async def _row(self, visit: Visit) -> dict[str, Any]:
        given = visit.places["id"]
        number = int(given) if given.isascii() and given.isdigit() and len(given) < 19 else 0
        row = await self._reads.customer(number) if number else None
        if row is None:
            raise Fault(404, visit._("There is no such customer"))
        return row

    async def show(self, visit: Visit) -> Answer:
        row = await self._row(visit)
        users = await self._reads.users(row["id"], most=_USERS)
        return self._shell.page(
            visit, "customer.html", x=row, users=users[:_USERS], more=len(users) > _USERS, month=await self._reads.month(row["id"]),
            held=await self._money.held(row["id"]), spent=await self._money.spent(row["id"]), own=row["id"] == visit.who.customer_id,
        )  # fmt: skip

    # --- the form

    async def edit(self, visit: Visit) -> Answer:
        row = await self._row(visit)
        return self._form(visit, row, fields_of(row))

    def _form(self, visit: Visit, row: dict[str, Any] | None, shown: Mapping[str, Any], errors: dict[str, str] | None = None) -> Answer:
        return self._shell.page(
            visit, "customer_edit.html", 422 if errors else 200, x=row, f=shown, errors=errors or {}, regions=sorted(REGIONS),
        )  # fmt: skip

    async def change(self, visit: Visit) -> Answer:
        row = await self._row(visit)
        before = fields_of(row)
        given = _given(visit)
        values, wrong = read_fields(given, before)
        if wrong:
            return self._form(visit, row, given, wrong_texts(visit, wrong))
        there = f"/customers/{row['id']}"
        if not values:
            return self._shell.to(visit, there, Flash("info", visit._("Nothing has changed.")))
        try:
            if not await self._store.change_customer(row["id"], values, actor=actor_of(visit)):
                raise Fault(404, visit._("There is no such customer"))
        except NameTaken:
            return self._form(visit, row, given, {"name": visit._("There is, or was, a customer of this name.")})
        return self._shell.to(visit, there, Flash("good", visit._("%(name)s is changed, on all nodes.", name=given["name"])))

    async def new(self, visit: Visit) -> Answer:
        return self._form(visit, None, _START)

    async def add(self, visit: Visit) -> Answer:
        given = {**_given(visit), "balance": visit.text("balance", 40) or "0"}
        values, wrong = read_fields(given, {}, new=True)
        if wrong:
            return self._form(visit, None, given, wrong_texts(visit, wrong))
        try:
            number = await self._store.create_customer(values["name"], values, actor=actor_of(visit))
        except NameTaken:
            return self._form(visit, None, given, {"name": visit._("There is, or was, a customer of this name.")})
        told = visit._("%(name)s is made. Its first user is the next step.", name=values["name"])
        return self._shell.to(visit, f"/customers/{number}", Flash("good", told))

    # --- at once

    async def status(self, visit: Visit) -> Answer:
        row = await self._row(visit)
        to = "ACTIVE" if visit.text("to", 20) == "ACTIVE" else "SUSPENDED"
        if row["id"] == visit.who.customer_id and to != "ACTIVE":
            raise Fault(403, visit._("This is your own customer: you would be out"))
        if row["status"] != to and not await self._store.change_customer(row["id"], {"status": to}, actor=actor_of(visit)):
            raise Fault(404, visit._("There is no such customer"))
        if to == "ACTIVE":
            told = Flash("good", visit._("%(name)s is active again.", name=row["name"]))
        else:
            told = Flash("warn", visit._("%(name)s is suspended, and all its users with it.", name=row["name"]))
        return self._shell.to(visit, f"/customers/{row['id']}", told)

    async def delete(self, visit: Visit) -> Answer:
        row = await self._row(visit)
        try:
            gone = await self._store.delete_customer(row["id"], actor=actor_of(visit))
        except StillInUse:
            told = Flash("bad", visit._("%(name)s still has users: delete them first.", name=row["name"]))
            return self._shell.to(visit, f"/customers/{row['id']}", told)
        if gone is None:
            raise Fault(404, visit._("There is no such customer"))
        if gone:
            told = Flash("warn", visit._("%(name)s is gone.", name=row["name"]))
        else:
            told = Flash("warn", visit._("%(name)s is deleted. It stays in the books, and its name stays taken.", name=row["name"]))
        return self._shell.to(visit, "/customers", told)


def fields_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """What the form shows."""
    found: dict[str, Any] = {name: str(row[name]) for name in _TEXTS}
    for name in ("credit_limit", "weight"):
        found[name] = f"{row[name].normalize():f}" if row[name] else "0"
    found |= {name: "\n".join(row[name]) for name in _LISTS}
    found["campaign_approval"] = row["campaign_approval"]
    return found


def _given(visit: Visit) -> dict[str, Any]:
    found: dict[str, Any] = {name: visit.text(name, 200) for name in _TEXTS}
    found |= {name: visit.text(name, 5000) for name in _LISTS}
    found["campaign_approval"] = bool(visit.text("campaign_approval", 10))
    return found


def read_fields(given: Mapping[str, Any], before: Mapping[str, Any], new: bool = False) -> tuple[dict[str, Any], set[str]]:
    """Columns of what has changed, and the names of fields that are wrong."""
    values: dict[str, Any] = {}
    wrong: set[str] = set()
    for name in (*_TEXTS, *_LISTS, "campaign_approval", *(("balance",) if new else ())):
        if given[name] == before.get(name):
            continue
        value = [w.upper() for w in words(given[name])] if name in _LISTS else given[name]
        try:
            values |= fields.customer_fields({name: value})
        except fields.FieldError:
            wrong.add(name)
    return values, wrong
