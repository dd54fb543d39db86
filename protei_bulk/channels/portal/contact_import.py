"""A file becomes contacts: its columns are named, and a process of its own puts it into the list."""

from __future__ import annotations

from typing import Any

import orjson

from protei_bulk.campaigns.draft import read_draft, write_draft
from protei_bulk.campaigns.recipients import Recipients
from protei_bulk.channels.portal.actors import actor_of
from protei_bulk.channels.portal.contacts import the_list
from protei_bulk.channels.portal.reasons import file_reason, number_reason
from protei_bulk.channels.portal.shell import Answer, Page, Shell
from protei_bulk.channels.portal.visit import Flash, Visit
from protei_bulk.model.permissions import Permission
from protei_bulk.settings import Settings
from protei_bulk.store.contacts import ContactList, Contacts
from protei_bulk.store.drafts import Drafts
from protei_bulk.store.pages import Reach
from protei_bulk.store.uploads import Uploads

_OVER = ("done", "failed", "cancelled")


class ContactImport:
    def __init__(self, shell: Shell, contacts: Contacts, uploads: Uploads, drafts: Drafts, recipients: Recipients, settings: Any) -> None:
        self._shell, self._contacts, self._uploads, self._drafts = shell, contacts, uploads, drafts
        self._recipients, self._settings = recipients, settings

    def pages(self) -> list[Page]:
        send = Permission.SEND
        return [
            Page("GET", "/contacts/{id}/import", send, self.show),
            Page("POST", "/contacts/{id}/import", send, self.begin),
            Page("POST", "/contacts/{id}/import/cancel", send, self.cancel),
            Page("GET", "/contacts/{id}/importing", send, self.progress, watching=True),
        ]

    async def show(self, visit: Visit) -> Answer:
        return await self._page(visit, await the_list(visit, self._contacts))

    async def _page(self, visit: Visit, row: ContactList, error: str = "", status: int = 200, upload: int = 0, mapping: Any = "") -> Answer:
        settings: Settings = self._settings()
        country = await self._drafts.default_country(row.customer_id)
        return self._shell.page(
            visit, "contact_import.html", status, row=row, error=error, upload=upload, mapping=mapping,
            megabytes=settings.uploads.max_megabytes, country=country, **self._shown(visit, row),
        )  # fmt: skip

    def _shown(self, visit: Visit, row: ContactList) -> dict[str, Any]:
        """How far the last import is, for its part of the page."""
        x = dict(row.importing or {})
        refused = sorted((x.get("refused") or {}).items(), key=lambda pair: -pair[1])
        return {
            "x": x, "running": bool(x) and x.get("state") not in _OVER,
            "refused": [(number_reason(visit, code), n) for code, n in refused], "refused_total": sum(n for _, n in refused),
            "refusals": [(line, given, number_reason(visit, code)) for line, given, code in x.get("refusals") or []],
            "why": file_reason(visit, str(x.get("error") or ""), str(x.get("detail") or "")),
        }  # fmt: skip

    async def begin(self, visit: Visit) -> Answer:
        row = await the_list(visit, self._contacts)
        key = visit.whole("upload", high=2**62)
        upload = await self._uploads.get(Reach(user_id=visit.who.user_id), key) if key else None
        if upload is None or upload.state != "ready":
            return await self._page(visit, row, visit._("Choose a file first."), 422)
        try:
            given = orjson.loads(visit.raw("mapping")[:20_000])
        except orjson.JSONDecodeError:
            given = {}
        # Only what is known is kept of it.
        mapping = write_draft(read_draft({"recipients": {"mapping": given if isinstance(given, dict) else {}}}))["recipients"]["mapping"]
        if mapping["number"] < 0:
            text = visit._("Say which column holds the phone numbers.")
            return await self._page(visit, row, text, 422, upload=key, mapping=mapping)
        country = await self._drafts.default_country(row.customer_id)
        await self._contacts.note_import(row.customer_id, row.id, upload.name, actor=actor_of(visit))
        await self._recipients.import_into(row.id, key, row.customer_id, mapping, country)
        return self._shell.to(visit, f"/contacts/{row.id}/import")

    async def cancel(self, visit: Visit) -> Answer:
        row = await the_list(visit, self._contacts)
        await self._recipients.cancel_import(row.id)
        text = visit._("The import is cancelled. The list is as it was before.")
        return self._shell.to(visit, f"/contacts/{row.id}/import", Flash("info", text))

    async def progress(self, visit: Visit) -> Answer:
        """The part of the page that says how far it is; asked for again and again by static/js/importing.js."""
        row = await the_list(visit, self._contacts)
        return self._shell.page(visit, "contact_importing.html", row=row, **self._shown(visit, row))
