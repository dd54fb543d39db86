"""The wizard's last step, and what an approver looks at: a dry run over what was gathered and counted, and what is in the way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from protei_bulk.campaigns.desk import NotReady, Unknown
from protei_bulk.campaigns.draft import STEPS, Draft, faults
from protei_bulk.campaigns.rendering import Unsendable
from protei_bulk.campaigns.states import NotPossible
from protei_bulk.channels.portal import wizard_forms as forms
from protei_bulk.channels.portal.dashboard import reach_of
from protei_bulk.channels.portal.reasons import file_reason
from protei_bulk.channels.portal.shell import Answer, Fault, Page, Shell
from protei_bulk.channels.portal.visit import Flash, Visit
from protei_bulk.channels.portal.wizard_figures import Figures, figures, in_words
from protei_bulk.channels.portal.wizard_message import rendered_for, unsendable
from protei_bulk.channels.portal.wizard_words import number, reason, steps, words
from protei_bulk.model.account import Account
from protei_bulk.model.permissions import Permission
from protei_bulk.settings import Settings
from protei_bulk.store.accounts import Accounts
from protei_bulk.store.drafts import Drafts, Stored
from protei_bulk.store.pages import Pages

log = Logger()

_BUSY = ("waiting", "running")


class Works(Protocol):
    """Gathers recipients and counts messages, in the background; see campaigns.recipients."""

    def gather(self, pk: int) -> Any: ...

    def measure(self, pk: int) -> Any: ...


class Desk(Protocol):
    def act(self, account: Account, public_id: str, name: str, *, reason: str = "", ip: str = "",
            user_agent: str = "", version: int | None = None) -> Awaitable[str]: ...  # fmt: skip


class Usage(Protocol):
    def get_daily_usage(self, db: object = None, user_id: int = 0) -> Deferred[dict[str, Any]]: ...


@frozen
class Obstacle:
    """What keeps the campaign from being sent, and the step that mends it."""

    step: str
    text: str


@define
class Run:
    """The dry run as far as it is. `state`: "" where the steps before are not right, gathering, counting, failed, done."""

    state: str = ""
    done: int = 0
    of: int = 0
    error: str = ""
    figures: Figures | None = None
    obstacles: list[Obstacle] = field(factory=list)
    warnings: list[str] = field(factory=list)


class Review:
    def __init__(self, shell: Shell, drafts: Drafts, accounts: Accounts, pages: Pages, usage: Usage, intake: Any, works: Works, desk: Desk,
                 settings: Callable[[], Settings], now: Callable[[], float]) -> None:  # fmt: skip
        self._shell, self._drafts, self._accounts, self._pages, self._usage = shell, drafts, accounts, pages, usage
        self._intake, self._works, self._desk, self._settings, self._now = intake, works, desk, settings, now

    def pages(self) -> list[Page]:
        decide = Permission.APPROVE
        return [
            Page("GET", "/campaigns/{id}/review", decide, self.look),
            Page("POST", "/campaigns/{id}/review/approve", decide, self.approve),
            Page("POST", "/campaigns/{id}/review/reject", decide, self.reject),
        ]

    # --- for whoever makes it

    async def show(self, visit: Visit, stored: Stored, status: int = 200, **values: Any) -> Answer:
        run = await self._run(visit, stored, visit.who, start=True)
        done = [s for s in STEPS[:-1] if s not in {f.step for f in faults(stored.draft, visit.who, self._now())}]
        shown = {"steps": steps(visit), "step": "review", "done": done, "conflict": False, "approver": False, "may_decide": False}
        template = "wizard/review_part.html" if visit.text("part") else "wizard/review.html"
        return self._shell.page(visit, template, status, **{**shown, **await self._values(visit, stored, run), **values})

    async def act(self, visit: Visit, stored: Stored) -> Answer:
        go = visit.text("go", 20)
        here = f"/campaigns/{stored.id}/edit"
        if go == "again":
            await self.gather(stored)
            return self._shell.to(visit, f"{here}/review")
        if go == "close":
            return self._shell.to(visit, "/campaigns", Flash("good", visit._("The draft is kept. You find it among the campaigns.")))
        if go != "submit":
            return self._shell.to(visit, f"{here}/{go if go in STEPS else 'schedule'}")
        if visit.whole("version") != stored.version:
            return await self.show(visit, stored, 409, conflict=True)
        run = await self._run(visit, stored, visit.who, start=True)
        if run.state != "done" or run.obstacles:
            return await self.show(visit, stored, 422)
        try:
            state = await self._desk.act(
                visit.who, stored.id, "submit", ip=visit.ip, user_agent=visit.user_agent, version=stored.version
            )
        except NotReady as error:
            return await self.show(visit, stored, 422, refused=[Obstacle(f.step, forms.fault_text(visit, f)) for f in error.faults])
        except (NotPossible, Unknown):
            said = visit._("The campaign has changed meanwhile. Look at it again.")
            return self._shell.to(visit, f"/campaigns/{stored.id}", Flash("warn", said))
        said = visit._("The campaign is submitted.")
        if state == "PENDING_APPROVAL":
            said = visit._("The campaign waits for somebody to approve it.")
        return self._shell.to(visit, f"/campaigns/{stored.id}", Flash("good", said))

    # --- for whoever approves it

    async def look(self, visit: Visit) -> Answer:
        stored = await self._theirs(visit)
        account = await self._account(stored)
        if stored.status != "PENDING_APPROVAL" or account is None:
            return self._shell.to(visit, f"/campaigns/{stored.id}")
        return await self._for_approver(visit, stored, account)

    async def _for_approver(self, visit: Visit, stored: Stored, account: Account, status: int = 200, **values: Any) -> Answer:
        run = await self._run(visit, stored, account, start=False)
        mine = visit.who.user_id in (stored.user_id, stored.submitted_by)
        shown = {"approver": True, "may_decide": not mine, "errors": {}, "reason": "", "owner": account.username, "conflict": False}
        return self._shell.page(visit, "wizard/approve.html", status, **{**shown, **await self._values(visit, stored, run), **values})

    async def approve(self, visit: Visit) -> Answer:
        return await self._decide(visit, "approve", "", visit._("The campaign is approved."))

    async def reject(self, visit: Visit) -> Answer:
        reason = " ".join(visit.text("reason", 1000).split())[:300]
        if not reason:
            stored = await self._theirs(visit)
            account = await self._account(stored)
            if stored.status == "PENDING_APPROVAL" and account is not None:
                said = visit._("Say what is to be changed.")
                return await self._for_approver(visit, stored, account, 422, errors={"reason": said})
        return await self._decide(visit, "reject", reason, visit._("The campaign went back to whoever made it."))

    async def _decide(self, visit: Visit, name: str, reason: str, said: str) -> Answer:
        stored = await self._theirs(visit)
        flash = Flash("good", said)
        try:
            await self._desk.act(
                visit.who, stored.id, name, reason=reason, ip=visit.ip, user_agent=visit.user_agent, version=visit.whole("version") or None
            )
        except NotReady as error:
            flash = Flash("bad", " ".join(forms.fault_text(visit, f) for f in error.faults)[:500])
        except Unknown:
            raise Fault(404) from None
        except NotPossible:
            flash = Flash("warn", visit._("Somebody else was faster, or you may not decide about this campaign."))
        return self._shell.to(visit, f"/campaigns/{stored.id}", flash)

    async def _theirs(self, visit: Visit) -> Stored:
        found = await self._drafts.get(reach_of(visit), visit.places["id"])
        if found is None:
            raise Fault(404)
        return found

    async def _account(self, stored: Stored) -> Account | None:
        found = await self._accounts.by_user_id(stored.user_id)
        return None if found is None else found.account

    # --- the dry run

    async def gather(self, stored: Stored) -> None:
        """Reads the recipients, or reads them again."""
        await _done(self._works.gather(stored.pk))

    async def _run(self, visit: Visit, stored: Stored, account: Account, *, start: bool) -> Run:
        run, draft = Run(), stored.draft
        wrong = faults(draft, account, self._now())
        if stored.status != "DRAFT":  # its time may be near by now
            wrong = [f for f in wrong if f.code != "PAST"]
        run.obstacles = [Obstacle(f.step, forms.fault_text(visit, f)) for f in wrong]
        steps = {f.step for f in wrong}
        if "recipients" in steps:
            return run
        if not stored.recipients_ready:
            needed = draft.changed.get("recipients", 0)
            await self._work(visit, run, stored.gathering, needed, "gathering", self._works.gather if start else None, stored.pk)
            return run
        if "message" in steps:
            return run
        if not stored.measure_ready:
            needed = max(stored.gathered, draft.changed.get("message", 0))
            await self._work(visit, run, stored.measured, needed, "counting", self._works.measure if start else None, stored.pk)
            return run
        if steps & {"sender", "schedule"}:  # ways and the end go by these
            return run
        run.state = "done"
        usage = await self._usage.get_daily_usage(None, stored.user_id)
        purse = await self._pages.purse(stored.customer_id)
        run.figures = f = figures(stored, account, self._intake, usage, purse, self._settings().smsc, self._now())
        self._judge(visit, stored, f, run)
        return run

    async def _work(self, visit: Visit, run: Run, report: dict[str, Any], needed: int, name: str, begin: Callable[[int], Any] | None,
                    pk: int) -> None:  # fmt: skip
        current = report.get("version", 0) >= needed
        state = report.get("state") if current else None
        if state == "failed":
            run.state, run.error = "failed", file_reason(visit, str(report.get("error") or ""), str(report.get("detail") or ""))
            return
        run.state, run.done, run.of = name, int(report.get("done") or 0) if current else 0, int(report.get("of") or 0) if current else 0
        if state not in _BUSY and begin is not None:
            await _done(begin(pk))

    def _judge(self, visit: Visit, stored: Stored, f: Figures, run: Run) -> None:
        _, measured = visit._, stored.measured
        if not f.recipients:
            run.obstacles.append(Obstacle("recipients", _("No recipient is left: all were refused.")))
        missing = measured.get("missing")
        for name, n in missing.items() if isinstance(missing, dict) else ():
            if n:
                run.obstacles.append(Obstacle("message", visit.ngettext(
                    "%(count)s recipient has no %(name)s: give it a default.", "%(count)s recipients have no %(name)s: give it a default.",
                    int(n), count=number(visit, int(n)), name=name)))  # fmt: skip
        if measured.get("unencodable"):
            n = int(measured["unencodable"])
            run.obstacles.append(Obstacle("message", visit.ngettext(
                "For %(count)s recipient the text does not fit the alphabet you chose.",
                "For %(count)s recipients the text does not fit the alphabet you chose.", n, count=number(visit, n))))  # fmt: skip
        if measured.get("too_long"):
            run.obstacles.append(Obstacle("message", _("For some recipients the message is too long.")))
        if measured.get("empty"):
            run.obstacles.append(Obstacle("message", _("For some recipients nothing is left of the text.")))
        if f.recipients and not f.taken:
            run.obstacles.append(Obstacle("recipients", _("No route leads to any of these recipients.")))
        elif f.recipients > f.taken:
            run.warnings.append(visit.ngettext("No route leads to %(count)s recipient.", "No route leads to %(count)s recipients.",
                                               f.recipients - f.taken, count=number(visit, f.recipients - f.taken)))  # fmt: skip
        if f.over_quota:
            run.warnings.append(_("The quota of the day is not enough: the campaign pauses when %(count)s parts are left.",
                                  count=number(visit, f.over_quota)))  # fmt: skip
        if f.short:
            run.warnings.append(_("The balance does not cover it: the campaign pauses when it is used up. %(money)s are missing.",
                                  money=f.money(visit, f.short)))  # fmt: skip
        if f.unpriced and f.cost:
            run.warnings.append(visit.ngettext(
                "%(count)s part has no price in your rate deck.", "%(count)s parts have no price in your rate deck.", f.unpriced,
                count=number(visit, f.unpriced)))  # fmt: skip

    async def _values(self, visit: Visit, stored: Stored, run: Run) -> dict[str, Any]:
        samples = await self._drafts.first_recipients(stored.pk) if stored.recipients_ready else []
        return {
            "stored": stored, "draft": stored.draft, "run": run, "refused": [], "words": words(visit, stored.draft, self._now()),
            "previews": [(n, _preview(visit, stored.draft, v)) for n, v in samples],
            "summary": in_words(visit, stored.draft, run.figures) if run.figures is not None else "",
            "titles": dict(steps(visit)), "errors": {}, "reason": reason(visit), "country_names": visit.language.babel.territories,
        }  # fmt: skip


def _preview(visit: Visit, draft: Draft, variables: dict[str, str]) -> tuple[str, int, str]:
    """(text, parts, what is wrong)."""
    try:
        r = rendered_for(draft, variables)
    except Unsendable as error:
        return draft.message.text, 0, unsendable(visit, error)
    return r.text, r.segments, ""


def _steps(visit: Visit) -> list[tuple[str, str]]:
    titles = (visit._("Sender"), visit._("Recipients"), visit._("Message"), visit._("Schedule"), visit._("Review"))
    return list(zip(STEPS, titles, strict=True))


async def _done(result: Any) -> None:
    """Of a function that may give something to wait for."""
    if hasattr(result, "__await__"):
        await result
