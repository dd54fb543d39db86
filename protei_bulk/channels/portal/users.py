"""Users: the list, and one with all that is set of it. A customer's administrator has those of its customer."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from protei_bulk.access import fields
from protei_bulk.access.one_time import one_time_password
from protei_bulk.access.password_policy import fault
from protei_bulk.access.service import UnifiedAuthService
from protei_bulk.channels.http.users_api import INHERITED
from protei_bulk.channels.portal.actors import actor_of
from protei_bulk.channels.portal.dashboard import reach_of
from protei_bulk.channels.portal.export import csv_answer
from protei_bulk.channels.portal.shell import Answer, Fault, Page, Shell
from protei_bulk.channels.portal.sorting import plain, read_sort, sorted_page
from protei_bulk.channels.portal.user_form import (
    EVERY,
    fields_given,
    fields_of,
    may_set,
    permissions_of,
    read_fields,
)
from protei_bulk.channels.portal.user_texts import wrong_texts
from protei_bulk.channels.portal.visit import Flash, Visit
from protei_bulk.model.account import Account
from protei_bulk.model.permissions import ROLES, Permission, Scope
from protei_bulk.store.account_rows import NameTaken
from protei_bulk.store.administration import Administration, UserRow
from protei_bulk.store.audit_reads import AuditReads
from protei_bulk.store.pages_names import Names
from protei_bulk.store.pages_people import USER_SORTS, PeoplePages

READ, WRITE = Permission.USERS_READ, Permission.USERS_WRITE
_PAGE, _EXPORT, _RECENT = 50, 10_000, 10


class Users:
    def __init__(self, shell: Shell, auth: UnifiedAuthService, store: Administration, reads: PeoplePages, audit: AuditReads,
                 names: Names) -> None:  # fmt: skip
        self._shell, self._auth, self._store, self._reads, self._audit, self._names = shell, auth, store, reads, audit, names

    def pages(self) -> list[Page]:
        wide = Scope.CUSTOMER
        return [
            Page("GET", "/users", READ, self.index, wide),
            Page("GET", "/users.csv", READ, self.csv, wide),
            Page("GET", "/users/new", WRITE, self.new, wide),
            Page("POST", "/users/new", WRITE, self.add, wide),
            Page("GET", "/users/{id}", READ, self.show, wide),
            Page("GET", "/users/{id}/permissions", READ, self.permissions, wide),
            Page("GET", "/users/{id}/edit", WRITE, self.edit, wide),
            Page("POST", "/users/{id}/edit", WRITE, self.change, wide),
        ]

    # --- the list

    async def index(self, visit: Visit) -> Answer:
        rows, sort, falling = await self._found(visit, _PAGE)
        rows, page = sorted_page(visit, rows, _PAGE, sort, falling)
        wide = visit.scope is Scope.ALL
        customers = list(await self._reads.names()) if wide else []
        wanted = visit.whole("customer", high=2**62)
        if wide and wanted and all(c[0] != wanted for c in customers):
            customers += await self._reads.names(wanted)
        return self._shell.page(visit, "users.html", rows=rows, page=page, roles=ROLES, customers=customers, wide=wide)

    async def _found(self, visit: Visit, most: int) -> tuple[list[dict[str, Any]], str, bool]:
        sort, falling, after = read_sort(visit, USER_SORTS, "name")
        role, status = visit.text("role", 20), visit.text("status", 20)
        customer = reach_of(visit).customer_id or visit.whole("customer", high=2**62) or None
        rows = await self._reads.users(
            customer, search=visit.text("q", 100), role=role if role in ROLES else "", status=status if status in fields.STATUSES else "",
            sort=sort, falling=falling, after=after, most=most,
        )  # fmt: skip
        return rows, sort, falling

    async def csv(self, visit: Visit) -> Answer:
        rows, _, _ = await self._found(visit, _EXPORT)
        names = (
            "id", "username", "customer", "role", "status", "email", "bind_type", "smpp", "http", "tps", "daily", "two_factor", "has_key",
            "created", "login", "sent",
        )  # fmt: skip
        return csv_answer("users", names, ([plain(r[n]) for n in names] for r in rows[:_EXPORT]))

    # --- one

    async def target(self, visit: Visit, to_change: bool = False) -> UserRow:
        """The user in the path, where the reader's role reaches it. Raises Fault."""
        given = visit.places["id"]
        number = int(given) if given.isascii() and given.isdigit() and len(given) < 19 else 0
        row = await self._store.user(number, reach_of(visit).customer_id) if number else None
        if row is None:
            raise Fault(404, visit._("There is no such user"))
        if to_change and not _below(visit, row.found.account):
            raise Fault(403, visit._("This user administers the platform"))
        return row

    async def show(self, visit: Visit) -> Answer:
        return await self.shown(visit, await self.target(visit))

    async def shown(self, visit: Visit, row: UserRow) -> Answer:
        account = row.found.account
        wall = reach_of(visit).customer_id
        events: list[Any] = []
        if visit.can(Permission.AUDIT):
            events = await self._audit.events(customer_id=wall, user_id=account.user_id, limit=_RECENT)
        names = await self._names.users({e.actor_id for e in events if e.actor_id is not None}, wall)
        return self._shell.page(
            visit, "user.html", **self._frame(visit, row), more=await self._reads.user(account.user_id) or {}, events=events, names=names,
            logins=await self._auth.logins(account.user_id) if visit.can(WRITE) else [],
        )  # fmt: skip

    def _frame(self, visit: Visit, row: UserRow) -> dict[str, Any]:
        account = row.found.account
        return {
            "row": row, "x": account, "own": account.user_id == visit.who.user_id, "wide": visit.scope is Scope.ALL,
            "changing": visit.can(WRITE) and _below(visit, account),
        }  # fmt: skip

    async def permissions(self, visit: Visit) -> Answer:
        row = await self.target(visit)
        return self._shell.page(visit, "user_permissions.html", **self._frame(visit, row), groups=permissions_of(row.found.account))

    # --- the form

    async def edit(self, visit: Visit) -> Answer:
        row = await self.target(visit, to_change=True)
        return self._form(visit, row, await self._before(row))

    async def _before(self, row: UserRow) -> dict[str, Any]:
        more = await self._reads.user(row.found.account.user_id) or {}
        return fields_of(row.found.account, {**more, "email": row.found.email})

    def _form(self, visit: Visit, row: UserRow, shown: dict[str, Any], errors: dict[str, str] | None = None) -> Answer:
        return self._shell.page(
            visit, "user_edit.html", 422 if errors else 200, **self._frame(visit, row), f=shown, errors=errors or {}, **_choices(visit)
        )

    async def change(self, visit: Visit) -> Answer:
        row = await self.target(visit, to_change=True)
        account, before = row.found.account, await self._before(row)
        given = fields_given(visit.text, before, visit.scope)
        values, wrong = read_fields(given, before, visit.scope)
        errors = wrong_texts(visit, wrong)
        if "role" in values:
            if account.user_id == visit.who.user_id:
                errors["role"] = visit._("Your own role is for another administrator to change.")
            elif values["role"] not in granted(visit):
                errors["role"] = visit._("Only those who administer the platform make others who do.")
        if errors:
            return self._form(visit, row, given, errors)
        there = f"/users/{account.user_id}"
        if not values:
            return self._shell.to(visit, there, Flash("info", visit._("Nothing has changed.")))
        if not await self._store.change_user(account.user_id, values, actor=actor_of(visit), customer_id=reach_of(visit).customer_id):
            raise Fault(404, visit._("There is no such user"))
        return self._shell.to(visit, there, Flash("good", visit._("%(name)s is changed, on all nodes.", name=account.username)))

    # --- a new one

    async def new(self, visit: Visit) -> Answer:
        shown = {**fields_of(_start(visit), {}), "timezone": ""}
        customer = visit.whole("customer", high=2**62) or visit.who.customer_id
        return await self._new(visit, {**shown, "username": "", "customer": str(customer)})

    async def _new(self, visit: Visit, shown: dict[str, Any], errors: dict[str, str] | None = None) -> Answer:
        customers = list(await self._reads.names(reach_of(visit).customer_id))
        if visit.scope is Scope.ALL and shown["customer"] not in {str(c[0]) for c in customers}:  # one beyond the first of many
            customers += await self._reads.names(int(shown["customer"]))
        return self._shell.page(
            visit, "user_new.html", 422 if errors else 200, f=shown, errors=errors or {}, customers=customers,
            wide=visit.scope is Scope.ALL, **_choices(visit),
        )  # fmt: skip

    async def add(self, visit: Visit) -> Answer:
        before = {**fields_of(_start(visit), {}), "timezone": ""}
        given = fields_given(visit.text, before, visit.scope)
        values, wrong = read_fields(given, before, visit.scope)
        errors = wrong_texts(visit, wrong)
        name, password = visit.text("username", 200), visit.raw("password")[:1024]
        customer = reach_of(visit).customer_id or visit.whole("customer", high=2**62)
        if not _is_name(name):
            errors["username"] = visit._("Write a name of at most 100 characters without a colon or spaces.")
        if given["role"] not in granted(visit):
            errors["role"] = visit._("Only those who administer the platform make others who do.")
        if password and fault(password, name):
            errors["password"] = visit._("Choose another one: at least 8 characters, not your name, and none that everybody tries first.")
        shown = {**given, "username": name, "customer": str(customer)}
        if errors:
            return await self._new(visit, shown, errors)
        if visit.scope is not Scope.ALL:
            values = {**{k: list(v) if isinstance(v, tuple) else v for k, v in _own(visit).items()}, **values}
        made = "" if password else one_time_password()
        values = {"role": given["role"], **values, **await self._auth.password_hashes(password or made)}
        try:
            user_id = await self._store.create_user(name, customer, values, actor=actor_of(visit))
        except NameTaken:
            return await self._new(visit, shown, {"username": visit._("There is, or was, a user of this name.")})
        if user_id is None:
            return await self._new(visit, shown, {"customer": visit._("There is no such customer.")})
        if not made:
            told = visit._("%(name)s can log in now.", name=name)
            return self._shell.to(visit, f"/users/{user_id}", Flash("good", told))
        return self._shell.page(visit, "user_secret.html", user_id=user_id, name=name, kind="new", secret=made)


def _own(visit: Visit) -> dict[str, Any]:
    """What a user gets of the customer's administrator who makes it: at most what he has himself."""
    return {field: getattr(visit.who, field) for field in INHERITED}


def _start(visit: Visit) -> Account:
    """What the form of a new user begins with."""
    return evolve(Account(0, "", 0), **({} if visit.scope is Scope.ALL else _own(visit)))


def _is_name(name: str) -> bool:
    try:
        return not any(c.isspace() for c in fields.username(name))
    except fields.FieldError:
        return False


def granted(visit: Visit) -> tuple[str, ...]:
    """Roles that the reader may give."""
    return ROLES if visit.scope is Scope.ALL else tuple(r for r in ROLES if r != "ADMIN")


def _below(visit: Visit, account: Account) -> bool:
    return visit.scope is Scope.ALL or account.role != "ADMIN"


def _choices(visit: Visit) -> dict[str, Any]:
    return {
        "roles": granted(visit), "alphabets": [(a, a) for a in fields.ALPHABETS],
        "settable": {n for n in EVERY if may_set(n, visit.scope)},
    }  # fmt: skip
