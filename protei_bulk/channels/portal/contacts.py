"""Contact lists: all of a customer, new ones, their names and groups; and what the wizard offers of them."""

from __future__ import annotations

import re
from typing import Any

from protei_bulk.channels.portal.actors import actor_of
from protei_bulk.channels.portal.export import csv_answer
from protei_bulk.channels.portal.shell import Answer, Fault, Page, Shell
from protei_bulk.channels.portal.visit import Flash, Listing, Visit
from protei_bulk.model.permissions import Permission
from protei_bulk.store.contacts import MOST_LISTS, ContactList, Contacts, NameTaken, TooMany

_PAGE = 50
_MAX_NAME, _MAX_GROUPS, _MAX_GROUP = 100, 20, 50
_COMMAS = re.compile("[,;\n\u060c\u061b]")


class ContactLists:
    """All who may send for a customer share its lists."""

    def __init__(self, shell: Shell, contacts: Contacts) -> None:
        self._shell, self._contacts = shell, contacts

    def pages(self) -> list[Page]:
        send = Permission.SEND
        return [
            Page("GET", "/contacts", send, self.show),
            Page("GET", "/contacts.csv", send, self.export),
            Page("GET", "/contacts/new", send, self.new),
            Page("POST", "/contacts/new", send, self.make),
            Page("GET", "/contacts/{id}/edit", send, self.edit),
            Page("POST", "/contacts/{id}/edit", send, self.change),
            Page("POST", "/contacts/{id}/remove", send, self.remove),
            Page("POST", "/contacts/{id}/restore", send, self.restore),
        ]

    async def choices(self, visit: Visit) -> dict[str, Any]:
        """For a campaign: lists and groups."""
        customer = visit.who.customer_id
        lists = await self._contacts.some(customer, most=MOST_LISTS)
        return {"lists": lists[:MOST_LISTS], "groups": await self._contacts.groups(customer)}

    async def show(self, visit: Visit) -> Answer:
        customer = visit.who.customer_id
        rows = await self._contacts.some(
            customer, search=visit.text("q", 100), group=visit.text("group", _MAX_GROUP), after=visit.whole("after", high=2**62), most=_PAGE
        )
        more = str(rows[_PAGE - 1].id) if len(rows) > _PAGE else ""
        page = Listing(visit, len(rows[:_PAGE]), more)
        return self._shell.page(
            visit, "contacts.html", rows=rows[:_PAGE], page=page, groups=await self._contacts.groups(customer),
            gone=visit.whole("gone", high=2**62),
        )  # fmt: skip

    async def export(self, visit: Visit) -> Answer:
        search, group = visit.text("q", 100), visit.text("group", _MAX_GROUP)
        rows = await self._contacts.some(visit.who.customer_id, search=search, group=group, most=MOST_LISTS)
        return csv_answer("contact-lists", ("name", "groups", "contacts", "changed"), (
            (r.name, ", ".join(r.groups), r.size, r.changed_at.isoformat(timespec="seconds")) for r in rows
        ))  # fmt: skip

    async def new(self, visit: Visit) -> Answer:
        return await self._form(visit, None, "", "")

    async def make(self, visit: Visit) -> Answer:
        name, groups, errors = _given(visit)
        if not errors:
            try:
                made = await self._contacts.make(visit.who.customer_id, name, groups, actor=actor_of(visit))
                text = visit._("The list is there. Add contacts one by one, or import a file.")
                return self._shell.to(visit, f"/contacts/{made}", Flash("good", text))
            except NameTaken:
                errors["name"] = visit._("There is a list with this name already.")
            except TooMany:
                errors["name"] = visit._("There are too many lists. Delete some first.")
        return await self._form(visit, None, visit.text("name", 1000), visit.text("groups"), errors)

    async def _form(self, visit: Visit, row: ContactList | None, name: str, groups: str, errors: dict[str, str] | None = None) -> Answer:
        known = await self._contacts.groups(visit.who.customer_id)
        return self._shell.page(
            visit, "contact_list_edit.html", 422 if errors else 200, row=row, name=name, groups=groups, known=known, errors=errors or {}
        )

    async def edit(self, visit: Visit) -> Answer:
        row = await the_list(visit, self._contacts)
        return await self._form(visit, row, row.name, ", ".join(row.groups))

    async def change(self, visit: Visit) -> Answer:
        row = await the_list(visit, self._contacts)
        name, groups, errors = _given(visit)
        if not errors:
            try:
                await self._contacts.rename(row.customer_id, row.id, name, groups, actor=actor_of(visit))
                return self._shell.to(visit, f"/contacts/{row.id}", Flash("good", visit._("The list is changed.")))
            except NameTaken:
                errors["name"] = visit._("There is a list with this name already.")
        return await self._form(visit, row, visit.text("name", 1000), visit.text("groups"), errors)

    async def remove(self, visit: Visit) -> Answer:
        row = await the_list(visit, self._contacts)
        await self._contacts.remove(row.customer_id, row.id, actor=actor_of(visit))
        text = visit._("The list %(name)s is deleted. For a day you can undo that.", name=row.name)
        return self._shell.to(visit, f"/contacts?gone={row.id}", Flash("good", text))

    async def restore(self, visit: Visit) -> Answer:
        try:
            back = await self._contacts.restore(visit.who.customer_id, number_in(visit, "id"), actor=actor_of(visit))
        except NameTaken:
            text = visit._("Another list has its name now. Rename that one first.")
            return self._shell.to(visit, f"/contacts?gone={number_in(visit, 'id')}", Flash("bad", text))
        if not back:
            raise Fault(404)
        return self._shell.to(visit, f"/contacts/{number_in(visit, 'id')}", Flash("good", visit._("The list is back.")))


def number_in(visit: Visit, place: str) -> int:
    """Of the path; 0 where it is none."""
    given = visit.places[place]
    return int(given) if given.isascii() and given.isdigit() and len(given) < 19 else 0


async def the_list(visit: Visit, contacts: Contacts) -> ContactList:
    """That of the path, where it is the reader's customer's. Raises Fault."""
    row = await contacts.get(visit.who.customer_id, number_in(visit, "id"))
    if row is None:
        raise Fault(404)
    return row


def _given(visit: Visit) -> tuple[str, list[str], dict[str, str]]:
    """Name and groups of the form, and what is wrong with them."""
    name = " ".join(visit.text("name", 1000).split())
    groups = list(dict.fromkeys(" ".join(g.split()) for g in _COMMAS.split(visit.raw("groups")[:2000]) if g.strip()))
    errors = {}
    if not name:
        errors["name"] = visit._("Give the list a name.")
    elif len(name) > _MAX_NAME or not name.isprintable():
        errors["name"] = visit._("A name has up to %(most)s characters.", most=_MAX_NAME)
    if len(groups) > _MAX_GROUPS or any(len(g) > _MAX_GROUP or not g.isprintable() for g in groups):
        errors["groups"] = visit._("Up to %(most)s groups, with up to %(longest)s characters each.", most=_MAX_GROUPS, longest=_MAX_GROUP)
    return name, groups, errors
