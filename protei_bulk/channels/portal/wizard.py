"""The wizard in which a campaign is made: five steps, each of which keeps a draft.

Everything that is typed is stored, right or wrong, when one goes on or back and, with scripts, a moment after typing. A form
says which version of the draft it was made from: the second of two tabs is told that the first has changed it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import orjson
from attrs import evolve
from phonenumbers import SUPPORTED_REGIONS
from twisted.internet.defer import Deferred

from protei_bulk.access.ports import Actor
from protei_bulk.campaigns.draft import STEPS, Draft, faults, stamped, write_draft
from protei_bulk.channels.portal import wizard_forms as forms
from protei_bulk.channels.portal.dashboard import reach_of
from protei_bulk.channels.portal.reasons import file_reason
from protei_bulk.channels.portal.shell import Answer, Fault, Page, Shell
from protei_bulk.channels.portal.visit import Flash, Visit
from protei_bulk.channels.portal.wizard_message import MessageStep
from protei_bulk.channels.portal.wizard_review import Review
from protei_bulk.channels.portal.wizard_words import reason, steps, words
from protei_bulk.model.account import Account
from protei_bulk.model.campaign import Campaign
from protei_bulk.model.permissions import Permission
from protei_bulk.store.drafts import Drafts, Stored

_TYPED = STEPS[:-1]  # steps with a form


class Opens(Protocol):
    """Of the intake, what makes numbers of campaigns."""

    def open_campaign(self, account: Account, *, channel: str, name: str | None, sender: str, content: str | None, encoding: str,
                      priority: str, dlr_url: str | None, schedule_time: float | None) -> Deferred[Campaign]: ...  # fmt: skip


class Lists(Protocol):
    """Contact lists and groups to choose from; see store.contacts."""

    async def choices(self, visit: Visit) -> dict[str, Any]: ...


class Wizard:
    def __init__(self, shell: Shell, drafts: Drafts, intake: Opens, message: MessageStep, review: Review, lists: Lists | None,
                 megabytes: Callable[[], int], now: Callable[[], float]) -> None:  # fmt: skip
        self._shell, self._drafts, self._intake, self._message, self._review = shell, drafts, intake, message, review
        self._lists, self._megabytes, self._now = lists, megabytes, now

    def pages(self) -> list[Page]:
        send = Permission.SEND  # its scope is the account itself: nobody edits another's draft
        return [
            Page("GET", "/campaigns/create", send, self.begin),
            Page("POST", "/campaigns/create", send, self.make),
            Page("GET", "/campaigns/{id}/edit", send, self.resume),
            Page("GET", "/campaigns/{id}/edit/{step}", send, self.show),
            Page("POST", "/campaigns/{id}/edit/{step}", send, self.save),
        ]

    # --- a new one

    async def begin(self, visit: Visit) -> Answer:
        return await self._show(visit, "sender", None, forms.fresh(visit))

    async def make(self, visit: Visit) -> Answer:
        draft = stamped(Draft(), forms.read("sender", visit, forms.fresh(visit)), 1)
        account = visit.who
        wrong = [f for f in faults(draft, account, self._now()) if f.step == "sender"]
        auto = visit.text("auto") == "1"
        if auto and not (draft.name or draft.sender or draft.dlr_url or draft.tags):
            return _json({"saved": False})
        if wrong and not auto and visit.text("go") == "next":
            return await self._show(visit, "sender", None, draft, 422, errors=forms.errors_of(visit, wrong))
        opened = await self._intake.open_campaign(
            account, channel="WEB", name=None, sender="", content=None, encoding="AUTO", priority="NORMAL", dlr_url=None, schedule_time=None
        )
        actor = Actor(account.user_id, visit.ip, visit.user_agent)
        await self._drafts.make(opened.id, opened.public_id, account.user_id, account.customer_id, draft, actor)
        path = f"/campaigns/{opened.public_id}/edit"
        if auto:
            return _json({"saved": True, "version": 1, "path": f"{path}/sender"})
        return self._go(visit, path, "sender", opened.public_id)

    # --- one that is there

    async def resume(self, visit: Visit) -> Answer:
        """The first step that is not right yet."""
        stored = await self._mine(visit)
        wrong = {f.step for f in faults(stored.draft, visit.who, self._now())}
        step = next((s for s in _TYPED if s in wrong), "review")
        return self._shell.to(visit, f"/campaigns/{stored.id}/edit/{step}")

    async def show(self, visit: Visit) -> Answer:
        stored, step = await self._mine(visit), visit.places["step"]
        if step not in STEPS:
            raise Fault(404)
        if stored.status != "DRAFT":
            return self._no_draft(visit, stored)
        if step == "review":
            return await self._review.show(visit, stored)
        if step == "recipients" and visit.text("part"):
            values = await self._values(visit, step, stored, stored.draft)
            return self._shell.page(visit, "wizard/gathered_part.html", stored=stored, **values)
        if step == "message" and visit.text("part"):
            samples = await self._drafts.first_recipients(stored.pk) if stored.recipients_ready else []
            return _json({"ready": stored.recipients_ready, "samples": samples})
        return await self._show(visit, step, stored, stored.draft)

    async def save(self, visit: Visit) -> Answer:
        stored, step = await self._mine(visit), visit.places["step"]
        if step not in _TYPED and step != "review":
            raise Fault(404)
        auto = visit.text("auto") == "1"
        if stored.status != "DRAFT":
            if auto:
                return _json({"saved": False, "gone": True}, 409)
            return self._no_draft(visit, stored)
        if step == "review":
            return await self._review.act(visit, stored)
        draft = forms.read(step, visit, stored.draft)
        kept = await self._keep(visit, stored, draft)
        if kept is None:
            if auto:
                return _json({"saved": False, "version": stored.version}, 409)
            return await self._show(visit, step, stored, draft, 409, conflict=True)
        wrong = [f for f in faults(kept.draft, visit.who, self._now()) if f.step == step]
        if auto:
            said = words(visit, kept.draft, self._now()) if step == "schedule" else None
            return _json({"saved": True, "version": kept.version, "words": said})
        return await self._after(visit, step, kept, forms.errors_of(visit, wrong))

    async def _keep(self, visit: Visit, stored: Stored, draft: Draft) -> Stored | None:
        """As it is stored then; None where another tab was faster."""
        draft = stamped(stored.draft, draft, stored.version + 1)
        if draft == stored.draft:
            return stored  # nothing new: whatever version the form was made from
        if visit.whole("version") != stored.version:
            return None
        version = await self._drafts.save(stored.pk, stored.version, draft)
        return None if version is None else evolve(stored, draft=draft, version=version)

    async def _after(self, visit: Visit, step: str, stored: Stored, errors: dict[str, str]) -> Answer:
        go, path = visit.text("go", 20), f"/campaigns/{stored.id}/edit"
        if step == "recipients" and not errors and stored.draft.recipients.any and (go == "check" or not stored.recipients_wanted):
            await self._review.gather(stored)
        if step == "message" and go in ("test", "template", "keep"):
            draft, answer = await self._message.act(visit, go, stored)
            if draft is not None:
                if await self._keep_own(stored, draft):
                    return self._shell.to(visit, f"{path}/message#f-text")
                return await self._show(visit, step, stored, draft, 409, conflict=True)
            return await self._show(visit, step, stored, stored.draft, answer.pop("status", 200), **answer)
        if errors and go in ("next", "check", ""):
            return await self._show(visit, step, stored, stored.draft, 422, errors=errors)
        return self._go(visit, path, step, stored.id)

    async def _keep_own(self, stored: Stored, draft: Draft) -> bool:
        return await self._drafts.save(stored.pk, stored.version, stamped(stored.draft, draft, stored.version + 1)) is not None

    def _go(self, visit: Visit, path: str, step: str, id: str) -> Answer:
        """Where the button leads that was pressed."""
        go, at = visit.text("go", 20), STEPS.index(step)
        if go == "close":
            return self._shell.to(visit, "/campaigns", Flash("good", visit._("The draft is kept. You find it among the campaigns.")))
        if go in ("check", "stay"):
            return self._shell.to(visit, f"{path}/{step}" + ("#result" if go == "check" else ""))
        wanted = go if go in STEPS else STEPS[max(0, at - 1)] if go == "back" else STEPS[min(at + 1, len(STEPS) - 1)]
        return self._shell.to(visit, f"{path}/{wanted}")

    async def _mine(self, visit: Visit) -> Stored:
        found = await self._drafts.get(reach_of(visit), visit.places["id"])
        if found is None:
            raise Fault(404)
        return found

    def _no_draft(self, visit: Visit, stored: Stored) -> Answer:
        text = visit._("This campaign was submitted already. Withdraw it first if you want to change it.")
        return self._shell.to(visit, f"/campaigns/{stored.id}", Flash("warn", text))

    # --- pages

    async def _show(self, visit: Visit, step: str, stored: Stored | None, draft: Draft, status: int = 200, **values: Any) -> Answer:
        shown: dict[str, Any] = {"errors": {}, "conflict": False, "step": step, "steps": steps(visit), "stored": stored, "draft": draft}
        wrong = {f.step for f in faults(draft, visit.who, self._now())}
        shown["done"] = [s for s in _TYPED if s not in wrong] if stored is not None else []
        shown |= await self._values(visit, step, stored, draft)
        return self._shell.page(visit, f"wizard/{step}.html", status, **{**shown, **values})

    async def _values(self, visit: Visit, step: str, stored: Stored | None, draft: Draft) -> dict[str, Any]:
        account = visit.who
        if step == "sender":
            fixed = [s for s in account.allowed_sender_ids if not s.endswith("*")]
            free = not account.allowed_sender_ids or len(fixed) < len(account.allowed_sender_ids)
            begins = [s[:-1] for s in account.allowed_sender_ids if s.endswith("*")]
            used = await self._drafts.choices(account.user_id) if free else []
            return {"fixed": fixed, "free": free, "begins": begins, "used": [u for u in used if u not in fixed]}
        if step == "recipients":
            assert stored is not None
            lists = await self._lists.choices(visit) if self._lists is not None else {"lists": [], "groups": []}
            country = draft.recipients.country or await self._drafts.default_country(account.customer_id)
            mapping = write_draft(draft)["recipients"]["mapping"] if draft.recipients.upload else ""
            why = file_reason(visit, str(stored.gathering.get("error") or ""), str(stored.gathering.get("detail") or ""))
            return {
                **lists, "country": country, "countries": countries(visit), "ready": stored.recipients_ready, "reason": reason(visit),
                "country_names": visit.language.babel.territories, "mapping": mapping, "megabytes": self._megabytes(), "why": why,
            }  # fmt: skip
        if step == "message":
            assert stored is not None
            return await self._message.values(visit, stored, draft)
        return {
            "zones": [(z, z.replace("_", " ")) for z in forms.zones(visit, draft.schedule.zone)], "weekdays": forms.weekdays(visit),
            "words": words(visit, draft, self._now()),
        }  # fmt: skip


def countries(visit: Visit) -> list[tuple[str, str]]:
    """Those that have a calling code, by their names."""
    names = visit.language.babel.territories
    found = sorted((str(names[code]), code) for code in SUPPORTED_REGIONS if code in names)
    return [(code, f"{name} ({code})") for name, code in found]


def _json(document: Any, status: int = 200) -> Answer:
    return Answer(orjson.dumps(document), status, "application/json")
