"""Who is in a contact list: search, add, change, take out and put back, export."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

from phonenumbers import country_code_for_region

from protei_bulk.campaigns.draft import is_variable
from protei_bulk.campaigns.numbers import BadNumber, Numbers
from protei_bulk.channels.portal.actors import actor_of
from protei_bulk.channels.portal.contacts import number_in, the_list
from protei_bulk.channels.portal.reasons import number_reason
from protei_bulk.channels.portal.shell import Answer, Fault, Page, Shell
from protei_bulk.channels.portal.streaming import Exports
from protei_bulk.channels.portal.visit import Flash, Listing, Visit
from protei_bulk.model.permissions import Permission
from protei_bulk.store.contacts import Contact, ContactList, Contacts
from protei_bulk.store.drafts import Drafts

_PAGE, _EXPORT = 50, 5000
_MAX_NAME, _MAX_VARIABLES, _MAX_VALUE = 200, 30, 200
_SEARCHED_NUMBER = re.compile(r"[+0-9\u0660-\u0669\u06f0-\u06f9][0-9\u0660-\u0669\u06f0-\u06f9 ().-]*\Z")


class ContactPages:
    def __init__(self, shell: Shell, contacts: Contacts, drafts: Drafts, exports: Exports) -> None:
        self._shell, self._contacts, self._drafts, self._exports = shell, contacts, drafts, exports

    def pages(self) -> list[Page]:
        send = Permission.SEND
        return [
            Page("GET", "/contacts/{id}", send, self.show),
            Page("GET", "/contacts/{id}/export.csv", send, self.export),
            Page("GET", "/contacts/{id}/add", send, self.new),
            Page("POST", "/contacts/{id}/add", send, self.add),
            Page("GET", "/contacts/{id}/contact/{number}", send, self.edit),
            Page("POST", "/contacts/{id}/contact/{number}", send, self.change),
            Page("POST", "/contacts/{id}/take-out", send, self.take_out),
            Page("POST", "/contacts/{id}/put-back", send, self.put_back),
        ]

    async def show(self, visit: Visit) -> Answer:
        row = await the_list(visit, self._contacts)
        country = await self._drafts.default_country(row.customer_id)
        number, name = searched(visit.text("q", 100), country)
        after = _cursor(visit.text("after"))
        found = await self._contacts.contacts(row.id, number=number, name=name, after=after, most=_PAGE)
        rows = found[:_PAGE]
        more = _token(rows[-1][1], rows[-1][0]) if len(found) > _PAGE else ""
        return self._shell.page(
            visit, "contact_list.html", row=row, rows=rows, page=Listing(visit, len(rows), more), back=visit.whole("back", high=2**62)
        )

    async def export(self, visit: Visit) -> Answer:
        row = await the_list(visit, self._contacts)
        names = sorted({k for c in await self._contacts.contacts(row.id, most=1000) for k in c[2]})[:_MAX_VARIABLES]

        async def batches() -> AsyncIterator[list[Sequence[Any]]]:
            after: tuple[str, str] | None = None
            while True:
                found = await self._contacts.contacts(row.id, after=after, most=_EXPORT)
                rows = found[:_EXPORT]
                yield [(c[0], c[1], *(c[2].get(n, "") for n in names), _rest(c, names)) for c in rows]
                if len(found) <= _EXPORT:
                    return
                after = ("", rows[-1][0])

        name = re.sub(r"[^A-Za-z0-9]+", "-", row.name).strip("-").lower() or f"contacts-{row.id}"
        return self._exports.csv(visit, name[:60], ("msisdn", "name", *names, "more"), batches())

    # --- one contact

    async def new(self, visit: Visit) -> Answer:
        row = await the_list(visit, self._contacts)
        return self._form(visit, row, "", ("", "", {}))

    async def add(self, visit: Visit) -> Answer:
        row = await the_list(visit, self._contacts)
        return await self._put(visit, row, "")

    async def edit(self, visit: Visit) -> Answer:
        row = await the_list(visit, self._contacts)
        return self._form(visit, row, visit.places["number"], await self._contact(row, visit.places["number"]))

    async def change(self, visit: Visit) -> Answer:
        row = await the_list(visit, self._contacts)
        await self._contact(row, visit.places["number"])
        return await self._put(visit, row, visit.places["number"])

    async def _contact(self, row: ContactList, number: str) -> Contact:
        found = await self._contacts.contact(row.id, number) if number.isascii() and number.isdigit() else None
        if found is None:
            raise Fault(404)
        return found

    async def _put(self, visit: Visit, row: ContactList, old: str) -> Answer:
        given, errors = _given(visit, await self._drafts.default_country(row.customer_id))
        if not errors:
            done = await self._contacts.put(row.customer_id, row.id, given, old, actor=actor_of(visit))
            if done:
                text = visit._("+%(number)s is in the list.", number=given[0])
                if old:
                    text = visit._("+%(number)s is changed.", number=given[0])
                another = "/add" if visit.text("go", 10) == "another" else ""
                return self._shell.to(visit, f"/contacts/{row.id}{another}", Flash("good", text))
            errors["number"] = visit._("This number is in the list already.")
        typed = (visit.text("number", 40), given[1], dict(given[2]))
        return self._form(visit, row, old, typed, errors)

    def _form(self, visit: Visit, row: ContactList, old: str, contact: Contact, errors: dict[str, str] | None = None) -> Answer:
        number = "+" + contact[0] if old and not errors else contact[0]
        values = [*contact[2].items(), *[("", "")] * 3]
        return self._shell.page(
            visit, "contact.html", 422 if errors else 200, row=row, old=old, number=number, name=contact[1], values=values,
            errors=errors or {},
        )  # fmt: skip

    # --- out and back

    async def take_out(self, visit: Visit) -> Answer:
        row = await the_list(visit, self._contacts)
        numbers = [n for n in visit.all("number") if n.isascii() and n.isdigit() and len(n) < 21][:1000]
        removal, n = await self._contacts.take_out(row.customer_id, row.id, numbers, actor=actor_of(visit)) if numbers else (0, 0)
        if not n:
            return self._shell.to(visit, f"/contacts/{row.id}", Flash("info", visit._("Nothing was chosen.")))
        text = visit.ngettext(
            "%(num)s contact is out of the list. For a day you can undo that.",
            "%(num)s contacts are out of the list. For a day you can undo that.", n,
        )  # fmt: skip
        return self._shell.to(visit, f"/contacts/{row.id}?back={removal}", Flash("good", text))

    async def put_back(self, visit: Visit) -> Answer:
        row = await the_list(visit, self._contacts)
        n = await self._contacts.put_back(row.customer_id, row.id, visit.whole("removal", high=2**62), actor=actor_of(visit))
        text = visit.ngettext("%(num)s contact is back.", "%(num)s contacts are back.", n)
        return self._shell.to(visit, f"/contacts/{number_in(visit, 'id')}", Flash("good" if n else "info", text))


def searched(text: str, country: str) -> tuple[str, str]:
    """(beginning of the number, beginning of the name): what a search is for."""
    if not text or not _SEARCHED_NUMBER.match(text):
        return "", text
    try:
        return Numbers(country).read(text), ""
    except BadNumber:  # not all of it yet
        digits = re.sub(r"\D", "", text)
        plain = "".join(str(int(d)) for d in digits)
        trunk = re.match("0+", plain)
        if trunk is not None and country and len(trunk[0]) == 1:
            return f"{country_code_for_region(country)}{plain[1:]}", ""
        return plain.lstrip("0"), ""


def _given(visit: Visit, country: str) -> tuple[Contact, dict[str, str]]:
    errors = {}
    number = ""
    try:
        number = Numbers(country).read(visit.text("number", 40))
    except BadNumber as bad:
        errors["number"] = visit._("This is no phone number: %(why)s.", why=number_reason(visit, bad.code))
        if not country:  # 079… is one where it is written
            errors["number"] += " " + visit._("Numbers must have their country code.")
    name = " ".join(visit.text("name", 1000).split())[:_MAX_NAME]
    variables: dict[str, str] = {}
    for key, value in zip(visit.all("key"), visit.all("value"), strict=False):
        key, value = key.strip(), " ".join(value.split())[:_MAX_VALUE]
        if not key and not value:
            continue
        if not is_variable(key):
            errors["variables"] = visit._("Names of variables are letters, digits and _, each of them once.")
        if value and len(variables) < _MAX_VARIABLES:
            variables[key[:64]] = value
    return (number, name, variables), errors


def _rest(contact: Contact, names: Sequence[str]) -> str:
    rest = {k: v for k, v in contact[2].items() if k not in names}
    return json.dumps(rest, ensure_ascii=False) if rest else ""


def _token(name: str, number: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([name[:200], number]).encode()).decode()


def _cursor(token: str) -> tuple[str, str] | None:
    try:
        name, number = json.loads(base64.urlsafe_b64decode(token))
        found = str(name).replace("\0", ""), str(number).replace("\0", "")
        "".join(found).encode()  # half a surrogate pair is no text
        return found
    except (ValueError, TypeError):
        return None
