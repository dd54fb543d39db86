"""Texts that a customer keeps to use again: list, new, edit, delete with a way back."""

from __future__ import annotations

from typing import Any

from protei_bulk.campaigns.draft import ENCODINGS, MAX_TEXT
from protei_bulk.channels.portal.export import csv_answer
from protei_bulk.channels.portal.shell import Answer, Fault, Page, Shell
from protei_bulk.channels.portal.visit import Flash, Listing, Visit
from protei_bulk.channels.portal.wizard_message import actor_of
from protei_bulk.model.permissions import Permission
from protei_bulk.store.message_templates import (
    MAX_TEMPLATES,
    MessageTemplate,
    MessageTemplates,
    NameTaken,
    TooMany,
)
from protei_bulk.text.gsm import is_gsm
from protei_bulk.text.smart import smart

_PAGE = 50
_NEW = MessageTemplate(0, "", "", "AUTO", True, None, None)


class TemplatePages:
    def __init__(self, shell: Shell, store: MessageTemplates) -> None:
        self._shell, self._store = shell, store

    def pages(self) -> list[Page]:
        send = Permission.SEND  # they belong to the customer: all who may send share them
        return [
            Page("GET", "/templates", send, self.list),
            Page("GET", "/templates.csv", send, self.csv),
            Page("GET", "/templates/new", send, self.new),
            Page("POST", "/templates/new", send, self.make),
            Page("GET", "/templates/{id}", send, self.edit),
            Page("POST", "/templates/{id}", send, self.change),
            Page("POST", "/templates/{id}/delete", send, self.delete),
            Page("POST", "/templates/{id}/restore", send, self.restore),
        ]

    async def list(self, visit: Visit) -> Answer:
        rows = await self._store.some(
            visit.who.customer_id, search=visit.text("q", 100), after=visit.whole("after", high=2**62), most=_PAGE
        )
        more = str(rows[_PAGE - 1].id) if len(rows) > _PAGE else ""
        page = Listing(visit, len(rows[:_PAGE]), more)
        return self._shell.page(
            visit, "templates.html", rows=[(t, alphabet(t)) for t in rows[:_PAGE]], page=page, gone=visit.whole("gone", high=2**62)
        )

    async def csv(self, visit: Visit) -> Answer:
        rows = await self._store.some(visit.who.customer_id, search=visit.text("q", 100), most=MAX_TEMPLATES)
        names = ("name", "text", "variables", "encoding", "changed", "by")
        return csv_answer("templates", names, (
            (t.name, t.text, " ".join(t.variables), t.encoding, t.updated_at.isoformat(timespec="seconds"), t.updated_by) for t in rows
        ))  # fmt: skip

    async def new(self, visit: Visit) -> Answer:
        return self._form(visit, _NEW)

    async def make(self, visit: Visit) -> Answer:
        given = _read(visit, 0)
        errors = _errors(visit, given)
        if not errors:
            try:
                await self._store.make(visit.who.customer_id, given.name, given.text, given.encoding, given.smart, actor_of(visit))
                return self._shell.to(visit, "/templates", Flash("good", visit._("The template is kept.")))
            except NameTaken:
                errors["name"] = visit._("There is a template with this name already.")
            except TooMany:
                errors["name"] = visit._("There are too many templates. Delete some first.")
        return self._form(visit, given, 422, errors)

    async def edit(self, visit: Visit) -> Answer:
        return self._form(visit, await self._theirs(visit))

    async def change(self, visit: Visit) -> Answer:
        kept = await self._theirs(visit)
        given = _read(visit, kept.id)
        errors = _errors(visit, given)
        if not errors:
            try:
                there = await self._store.change(
                    visit.who.customer_id, kept.id, given.name, given.text, given.encoding, given.smart, actor_of(visit)
                )
                if not there:
                    raise Fault(404)
                return self._shell.to(visit, "/templates", Flash("good", visit._("The template is changed.")))
            except NameTaken:
                errors["name"] = visit._("There is a template with this name already.")
        return self._form(visit, given, 422, errors)

    async def delete(self, visit: Visit) -> Answer:
        id = _id(visit)
        name = await self._store.delete(visit.who.customer_id, id, actor_of(visit))
        if name is None:
            raise Fault(404)
        return self._shell.to(visit, f"/templates?gone={id}", Flash("good", visit._("%(name)s is deleted.", name=name)))

    async def restore(self, visit: Visit) -> Answer:
        try:
            name = await self._store.restore(visit.who.customer_id, _id(visit), actor_of(visit))
        except NameTaken:
            flash = Flash("bad", visit._("There is another template with this name by now. Rename that one first."))
            return self._shell.to(visit, "/templates", flash)
        if name is None:
            raise Fault(404)
        return self._shell.to(visit, "/templates", Flash("good", visit._("%(name)s is there again.", name=name)))

    async def _theirs(self, visit: Visit) -> MessageTemplate:
        found = await self._store.get(visit.who.customer_id, _id(visit))
        if found is None:
            raise Fault(404)
        return found

    def _form(self, visit: Visit, t: MessageTemplate, status: int = 200, errors: dict[str, str] | None = None) -> Answer:
        shown: dict[str, Any] = {"t": t, "errors": errors or {}, "known": list(t.variables), "alphabet": alphabet(t)}
        return self._shell.page(visit, "template.html", status, **shown)


def alphabet(t: MessageTemplate) -> str:
    """In which it goes out, as far as its own text says."""
    if t.encoding == "UCS2":
        return "UCS-2"
    return "GSM 7-bit" if is_gsm(t.text) or (t.smart and not smart(t.text).foreign) else "UCS-2"


def _id(visit: Visit) -> int:
    given = visit.places["id"]
    if not (given.isascii() and given.isdigit() and len(given) < 18):
        raise Fault(404)
    return int(given)


def _read(visit: Visit, id: int) -> MessageTemplate:
    encoding = visit.text("encoding", 10)
    return MessageTemplate(
        id, " ".join(visit.text("name", 400).split())[:100], visit.raw("text")[:MAX_TEXT], encoding if encoding in ENCODINGS else "AUTO",
        bool(visit.text("smart")), None, None,
    )  # fmt: skip


def _errors(visit: Visit, t: MessageTemplate) -> dict[str, str]:
    errors = {}
    if not t.name:
        errors["name"] = visit._("Give the template a name.")
    if not t.text.strip():
        errors["text"] = visit._("Write the message.")
    return errors
