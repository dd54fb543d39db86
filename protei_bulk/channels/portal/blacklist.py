"""The blacklist: numbers and prefixes that nothing is sent to; everybody's for the platform, and one of each customer."""

from __future__ import annotations

from typing import Any

from protei_bulk.channels.portal.actors import actor_of
from protei_bulk.channels.portal.dashboard import reach_of
from protei_bulk.channels.portal.export import csv_answer
from protei_bulk.channels.portal.number_lists import (
    CHUNK,
    MOST,
    PAGE,
    Heavy,
    all_rows,
    form_of,
    list_of,
    one_number,
    read_lines,
)
from protei_bulk.channels.portal.shell import Answer, Page, Shell
from protei_bulk.channels.portal.sorting import plain
from protei_bulk.channels.portal.visit import Flash, Listing, Visit
from protei_bulk.model.permissions import Permission, Scope
from protei_bulk.store.guards import Entry, GuardRows
from protei_bulk.store.pages_guards import GuardPages
from protei_bulk.store.pages_people import PeoplePages

READ, WRITE = Permission.GUARDS_READ, Permission.GUARDS_WRITE
_PAGE = 50


class Blacklist:
    def __init__(self, shell: Shell, rows: GuardRows, reads: GuardPages, people: PeoplePages,
                 heavy: Heavy) -> None:  # fmt: skip
        self._shell, self._rows, self._reads, self._people, self._heavy = shell, rows, reads, people, heavy

    def pages(self) -> list[Page]:
        wide = Scope.CUSTOMER
        return [
            Page("GET", "/blacklist", READ, self.show, wide),
            Page("GET", "/blacklist.csv", READ, self.csv, wide),
            Page("POST", "/blacklist", WRITE, self.add, wide),
            Page("POST", "/blacklist/remove", WRITE, self.remove, wide),
            Page("POST", "/blacklist/undo", WRITE, self.undo, wide),
            Page("GET", "/blacklist/import", WRITE, self.ask, wide),
            Page("POST", "/blacklist/import", WRITE, self.take, wide),
        ]

    async def show(self, visit: Visit) -> Answer:
        return await self._show(visit)

    async def _show(self, visit: Visit, given: dict[str, str] | None = None, errors: dict[str, str] | None = None) -> Answer:
        whose, shown = await list_of(visit, self._people, everybody=True)
        rows = await self._found(visit, whose, _PAGE, _after(visit.text("after", 60)))
        more = _cursor(rows[_PAGE - 1][0]) if len(rows) > _PAGE else ""
        removed = visit.whole("removed", high=2**62)
        gone = await self._reads.removed(removed, reach_of(visit).customer_id) if removed and visit.can(WRITE) else None
        return self._shell.page(
            visit, "blacklist.html", 422 if errors else 200, **shown, rows=rows[:_PAGE], page=Listing(visit, len(rows[:_PAGE]), more),
            given=given or {"number": "", "reason": ""}, errors=errors or {}, gone=gone,
        )  # fmt: skip

    async def _found(self, visit: Visit, whose: int | None, most: int, after: tuple[int, int, int] | None) -> list[tuple[Entry, str]]:
        digits = "".join(c for c in visit.text("q", 40) if c.isascii() and c.isdigit()).lstrip("0")[:18]
        if visit.text("q") and not digits:
            return []
        return list(await self._reads.barred(whose, number=digits, after=after, most=most))

    async def csv(self, visit: Visit) -> Answer:
        whose, _ = await list_of(visit, self._people, everybody=True)
        rows = await all_rows(lambda after: self._found(visit, whose, PAGE, after), lambda row: _place(row[0]))
        cells = ((e.number + "*" * e.is_prefix, e.reason, plain(e.created_at), e.customer_id or "", name) for e, name in rows)
        return await self._heavy(csv_answer, "blacklist", ("number", "reason", "since", "customer_id", "customer"), cells)

    # --- one

    async def add(self, visit: Visit) -> Answer:
        whose, _ = await list_of(visit, self._people, everybody=True)
        given = {"number": visit.text("number", 60), "reason": visit.text("reason", 1000)}
        found, errors = one_number(given["number"], True), {}
        if found is None:
            errors["number"] = visit._("Write an international number with its country code, or first digits and * for all that begin so.")
        if len(given["reason"]) > 200:
            errors["reason"] = visit._("Write at most 200 characters.")
        if found is None or errors:
            return await self._show(visit, given, errors)
        await self._rows.bar(whose or 0, [found[0]], found[1], given["reason"], actor=actor_of(visit))
        told = visit._("%(number)s is barred, on all nodes.", number=f"{found[0]}{'*' * found[1]}")
        return self._shell.to(visit, _page(visit), Flash("good", told))

    async def remove(self, visit: Visit) -> Answer:
        number = visit.whole("entry", high=2**62)
        if not await self._rows.unbar_entry(number, reach_of(visit).customer_id, actor=actor_of(visit)):
            return self._shell.to(visit, _page(visit), Flash("info", visit._("That entry was gone already.")))
        return self._shell.to(visit, _page(visit, removed=number))

    async def undo(self, visit: Visit) -> Answer:
        entry = await self._reads.removed(visit.whole("entry", high=2**62), reach_of(visit).customer_id)
        if entry is None:
            return self._shell.to(visit, _page(visit), Flash("info", visit._("That is too long ago: add the number again.")))
        await self._rows.bar(entry.customer_id, [int(entry.number)], entry.is_prefix, entry.reason, actor=actor_of(visit))
        told = visit._("%(number)s is barred again.", number=f"{entry.number}{'*' * entry.is_prefix}")
        return self._shell.to(visit, _page(visit), Flash("good", told))

    # --- a file of them

    async def ask(self, visit: Visit) -> Answer:
        return await self._ask(visit, "", "")

    async def _ask(self, visit: Visit, text: str, reason: str, found: Any = None, errors: dict[str, str] | None = None) -> Answer:
        _, shown = await list_of(visit, self._people, everybody=True)
        return self._shell.page(
            visit, "numbers_import.html", 422 if errors else 200, **shown, kind="blacklist", text=text, note=reason, sender="", found=found,
            errors=errors or {}, most=MOST,
        )  # fmt: skip

    async def take(self, visit: Visit) -> Answer:
        whose, _ = await list_of(visit, self._people, everybody=True)
        form = await form_of(visit, self._heavy)
        text, reason, step = form.content("text"), form.text("note"), form.text("step", 10)
        if step == "change":
            return await self._ask(visit, text, reason)
        found, errors = await self._heavy(read_lines, text, True), {}
        if not found.count:
            errors["text"] = visit._("There is no number in it.")
        elif found.count > MOST:
            errors["text"] = visit._("These are more than %(num)s numbers: take the command line for them.", num=MOST)
        if len(reason) > 200:
            errors["note"] = visit._("Write at most 200 characters.")
        if errors or step != "confirm":
            return await self._ask(visit, text, reason, None if errors else found, errors)
        for is_prefix, numbers in ((False, found.numbers), (True, found.prefixes)):
            for n in range(0, len(numbers), CHUNK):
                await self._rows.bar(whose or 0, numbers[n : n + CHUNK], is_prefix, reason, actor=actor_of(visit))
        told = visit.ngettext("%(num)s number is barred, on all nodes.", "%(num)s numbers are barred, on all nodes.", found.count)
        return self._shell.to(visit, _page(visit), Flash("good", told))


def _page(visit: Visit, removed: int = 0) -> str:
    """The list that the form came from."""
    customer = visit.whole("customer", -1, high=2**62)
    query = [f"customer={customer}"] * (customer >= 0) + [f"removed={removed}"] * bool(removed)
    return "/blacklist" + ("?" + "&".join(query) if query else "")


def _place(e: Entry) -> tuple[int, int, int]:
    return e.customer_id, int(e.is_prefix), int(e.number)


def _cursor(e: Entry) -> str:
    return "-".join(map(str, _place(e)))


def _after(cursor: str) -> tuple[int, int, int] | None:
    parts = cursor.split("-")
    if len(parts) != 3 or not all(p.isascii() and p.isdigit() and len(p) < 19 for p in parts):
        return None
    return int(parts[0]), int(parts[1]), int(parts[2])
