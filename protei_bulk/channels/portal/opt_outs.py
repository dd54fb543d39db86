"""Opt-outs: who does not want to hear from a customer, or from one sender of it, and how that came."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import urlencode

from protei_bulk.channels.portal.actors import actor_of
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
from protei_bulk.channels.portal.shell import Answer, Fault, Page, Shell
from protei_bulk.channels.portal.sorting import plain
from protei_bulk.channels.portal.visit import Flash, Listing, Visit
from protei_bulk.model.permissions import Permission, Scope
from protei_bulk.store.guards import GuardRows
from protei_bulk.store.pages_guards import GuardPages, OptedOut
from protei_bulk.store.pages_people import PeoplePages

READ, WRITE = Permission.GUARDS_READ, Permission.GUARDS_WRITE
_PAGE = 50


class OptOuts:
    def __init__(self, shell: Shell, rows: GuardRows, reads: GuardPages, people: PeoplePages,
                 heavy: Heavy) -> None:  # fmt: skip
        self._shell, self._rows, self._reads, self._people, self._heavy = shell, rows, reads, people, heavy

    def pages(self) -> list[Page]:
        wide = Scope.CUSTOMER
        return [
            Page("GET", "/opt-outs", READ, self.show, wide),
            Page("GET", "/opt-outs.csv", READ, self.csv, wide),
            Page("POST", "/opt-outs", WRITE, self.record, wide),
            Page("GET", "/opt-outs/import", WRITE, self.ask, wide),
            Page("POST", "/opt-outs/import", WRITE, self.take, wide),
            Page("GET", "/opt-outs/{customer}/{number}", READ, self.history, wide),
        ]

    async def show(self, visit: Visit) -> Answer:
        return await self._show(visit)

    async def _show(self, visit: Visit, given: dict[str, str] | None = None, errors: dict[str, str] | None = None) -> Answer:
        whose, shown = await list_of(visit, self._people, everybody=False)
        rows = await self._found(visit, whose, _PAGE, _after(visit.text("after", 200)))
        more = _cursor(rows[_PAGE - 1]) if len(rows) > _PAGE else ""
        return self._shell.page(
            visit, "opt_outs.html", 422 if errors else 200, **shown, whose=whose, rows=rows[:_PAGE],
            page=Listing(visit, len(rows[:_PAGE]), more), given=given or {"number": "", "sender": "", "note": ""}, errors=errors or {},
            undo=await self._undo(visit),
        )  # fmt: skip

    async def _undo(self, visit: Visit) -> dict[str, Any] | None:
        """What was recorded a moment ago, and can be taken back."""
        customer, number, sender = visit.whole("of", high=2**62), visit.whole("number", high=10**18), visit.text("sender", 21)
        if not number or not visit.can(WRITE) or (visit.scope is not Scope.ALL and customer != visit.who.customer_id):
            return None
        out = await self._reads.lately(customer, sender, number)
        return None if out is None else {"customer": customer, "number": str(number), "sender": sender, "out": out}

    async def _found(self, visit: Visit, whose: int | None, most: int, after: tuple[int, str, int] | None) -> list[OptedOut]:
        digits = "".join(c for c in visit.text("q", 40) if c.isascii() and c.isdigit()).lstrip("0")[:18]
        if visit.text("q") and not digits:
            return []
        return list(await self._reads.opted_out(whose, number=digits, after=after, most=most))

    async def csv(self, visit: Visit) -> Answer:
        whose, _ = await list_of(visit, self._people, everybody=False)
        rows = await all_rows(lambda after: self._found(visit, whose, PAGE, after), lambda o: (o.customer_id, o.sender, int(o.number)))
        cells = ((o.number, o.sender, o.source, o.note, o.actor, plain(o.at), o.customer_id, o.customer) for o in rows)
        names = ("number", "sender", "source", "note", "by", "since", "customer_id", "customer")
        return await self._heavy(csv_answer, "opt-outs", names, cells)

    async def history(self, visit: Visit) -> Answer:
        customer, number = visit.places["customer"], one_number(visit.places["number"], False)
        whose = int(customer) if customer.isascii() and customer.isdigit() and len(customer) < 19 else 0
        if number is None or not whose or (visit.scope is not Scope.ALL and whose != visit.who.customer_id):
            raise Fault(404)
        rows = await self._reads.history(whose, number[0])
        if not rows:
            raise Fault(404, visit._("Nothing is known of this number"))
        names = {id: name for id, name, _ in await self._people.names(whose)}
        return self._shell.page(
            visit, "opt_outs_history.html", number=str(number[0]), rows=rows, customer=names.get(whose, ""), whose=whose,
            wide=visit.scope is Scope.ALL,
        )  # fmt: skip

    # --- one

    async def record(self, visit: Visit) -> Answer:
        """Out, or in again. Both can be undone by the other: the ledger keeps all three."""
        whose, shown = await list_of(visit, self._people, everybody=False)
        given = {"number": visit.text("number", 60), "sender": visit.text("sender", 60), "note": visit.text("note", 1000)}
        found, errors = one_number(given["number"], False), {}
        if found is None:
            errors["number"] = visit._("Write an international number with its country code.")
        if len(given["sender"]) > 21 or not given["sender"].isprintable():
            errors["sender"] = visit._("Write a sender of at most 21 characters.")
        if len(given["note"]) > 200 or not given["note"].isprintable():
            errors["note"] = visit._("Write at most 200 characters.")
        if whose is None:
            errors["customer"] = visit._("Choose a customer first.")
        if found is None or whose is None or errors:
            return await self._show(visit, given, errors)
        out = visit.text("out", 5) != "0"
        await self._rows.record([_row(whose, found[0], given["sender"], out, visit.who.user_id, given["note"])], actor=actor_of(visit))
        query = {"of": whose, "number": found[0], "sender": given["sender"].lower()}
        if shown["chosen"]:
            query["customer"] = whose
        return self._shell.to(visit, "/opt-outs?" + urlencode(query))

    # --- a file of them

    async def ask(self, visit: Visit) -> Answer:
        return await self._ask(visit, "", "", "")

    async def _ask(self, visit: Visit, text: str, note: str, sender: str, found: Any = None,
                   errors: dict[str, str] | None = None) -> Answer:  # fmt: skip
        _, shown = await list_of(visit, self._people, everybody=False)
        return self._shell.page(
            visit, "numbers_import.html", 422 if errors else 200, **shown, kind="opt-outs", text=text, note=note, sender=sender,
            found=found, errors=errors or {}, most=MOST,
        )  # fmt: skip

    async def take(self, visit: Visit) -> Answer:
        whose, _ = await list_of(visit, self._people, everybody=False)
        form = await form_of(visit, self._heavy)
        text, note, sender, step = form.content("text"), form.text("note"), form.text("sender", 60), form.text("step", 10)
        if step == "change":
            return await self._ask(visit, text, note, sender)
        found, errors = await self._heavy(read_lines, text, False), {}
        if not found.count:
            errors["text"] = visit._("There is no number in it.")
        elif found.count > MOST:
            errors["text"] = visit._("These are more than %(num)s numbers: take the command line for them.", num=MOST)
        if len(note) > 200 or not note.isprintable():
            errors["note"] = visit._("Write at most 200 characters.")
        if len(sender) > 21 or not sender.isprintable():
            errors["sender"] = visit._("Write a sender of at most 21 characters.")
        if whose is None:
            errors["customer"] = visit._("Choose a customer first.")
        if errors or whose is None or step != "confirm":
            return await self._ask(visit, text, note, sender, None if errors else found, errors)
        count = 0
        for n in range(0, len(found.numbers), CHUNK):
            rows = [_row(whose, number, sender, True, visit.who.user_id, note) for number in found.numbers[n : n + CHUNK]]
            count += await self._rows.record(rows, actor=actor_of(visit))
        told = visit.ngettext("%(num)s number is opted out now.", "%(num)s numbers are opted out now.", count)
        return self._shell.to(visit, f"/opt-outs?customer={whose}" if visit.scope is Scope.ALL else "/opt-outs", Flash("good", told))


def _row(customer: int, number: int, sender: str, out: bool, actor: int, note: str) -> dict[str, Any]:
    return {"c": customer, "n": number, "s": sender, "o": out, "r": "PORTAL", "a": actor, "t": note}


def _cursor(o: OptedOut) -> str:
    return f"{o.customer_id}-{o.number}-{base64.urlsafe_b64encode(o.sender.encode()).decode()}"


def _after(cursor: str) -> tuple[int, str, int] | None:
    customer, _, rest = cursor.partition("-")
    number, _, sender = rest.partition("-")
    if not all(p.isascii() and p.isdigit() and len(p) < 19 for p in (customer, number)):
        return None
    try:
        return int(customer), base64.urlsafe_b64decode(sender).decode().replace("\0", ""), int(number)
    except ValueError:
        return None
