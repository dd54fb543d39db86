"""Campaigns: the list, and the live page of one with what can be done to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from attrs import evolve

from protei_bulk.campaigns.desk import CampaignDesk, NotReady, Unknown
from protei_bulk.campaigns.states import NotPossible
from protei_bulk.channels.portal.campaign_words import actions, country, done_words, failure
from protei_bulk.channels.portal.charts import Chart, line_chart
from protei_bulk.channels.portal.dashboard import reach_of
from protei_bulk.channels.portal.events import Events, Parts, Watch
from protei_bulk.channels.portal.export import csv_answer
from protei_bulk.channels.portal.messages import of_campaign, operates
from protei_bulk.channels.portal.reasons import number_reason
from protei_bulk.channels.portal.shell import Answer, Fault, Page, Shell
from protei_bulk.channels.portal.streaming import Exports
from protei_bulk.channels.portal.visit import Flash, Listing, Visit
from protei_bulk.model.permissions import Permission, Scope, scope_of
from protei_bulk.store.pages_campaigns import SORTS, Campaign, CampaignPages, Progress
from protei_bulk.store.pages_messages import MessageSearch, Wanted

_PAGE, _EXPORT, _BATCH = 50, 10_000, 500
STATES = ("DRAFT", "PENDING_APPROVAL", "APPROVED", "RUNNING", "PAUSED", "COMPLETED", "CANCELLED", "FAILED")
CHANNELS = ("WEB", "SCHEDULER", "HTTP_API", "SMPP")
_COLUMNS = ("id", "name", "username", "channel", "sender", "status", "total", "sent", "delivered", "failed", "created", "schedule",
            "started", "completed")  # fmt: skip
_MESSAGE_COLUMNS = ("id", "sender", "dest", "text", "status", "smsc", "error", "segments", "price", "currency", "submitted", "delivered")


class Campaigns:
    def __init__(self, shell: Shell, events: Events, reads: CampaignPages, desk: CampaignDesk, search: MessageSearch,
                 exports: Exports) -> None:  # fmt: skip
        self._shell, self._events, self._reads, self._desk = shell, events, reads, desk
        self._search, self._exports = search, exports

    def pages(self) -> list[Page]:
        seen = Permission.ANALYTICS  # its scope says whose traffic
        return [
            Page("GET", "/campaigns", seen, self.all),
            Page("GET", "/campaigns.live", seen, self.all_live, watching=True),
            Page("GET", "/campaigns.csv", seen, self.all_csv),
            Page("GET", "/campaigns/{id}", seen, self.one),
            Page("GET", "/campaigns/{id}/live", seen, self.one_live, watching=True),
            Page("GET", "/campaigns/{id}/messages.csv", seen, self.messages_csv),
            Page("POST", "/campaigns/{id}/copy", Permission.SEND, self.copy),
            Page("POST", "/campaigns/{id}/do/{action}", seen, self.act),
        ]

    # --- the list

    async def all(self, visit: Visit) -> Answer:
        rows = await self._list(visit, _PAGE)
        approvals = await self._approvals(visit)
        values = self._list_values(visit, rows)
        return self._shell.page(visit, "campaigns.html", states=STATES, channels=CHANNELS, approvals=approvals, **values)

    async def all_live(self, visit: Visit) -> Answer:
        visit.path = "/campaigns"  # its links lead to the page

        def show(visit: Visit, rows: list[Campaign]) -> Parts:
            return {"campaign-list": ("parts/campaign_list.html", self._list_values(visit, rows))}

        key = ("campaigns", reach_of(visit), *(visit.text(n, 100) for n in ("q", "status", "channel", "sort", "direction", "after")))
        return self._events.stream(visit, Watch(key, lambda: self._list(visit, _PAGE), show))

    def _list_values(self, visit: Visit, rows: list[Campaign]) -> dict[str, Any]:
        sort, ascending = _sorting(visit)
        more = _cursor(rows[_PAGE - 1], sort) if len(rows) > _PAGE else ""
        page = Listing(visit, len(rows[:_PAGE]), more, sort, "asc" if ascending else "desc")
        return {"rows": rows[:_PAGE], "page": page, "wide": visit.scope is not Scope.OWN, "all": visit.scope is Scope.ALL}

    async def _list(self, visit: Visit, most: int) -> list[Campaign]:
        status, channel = visit.text("status", 20), visit.text("channel", 20)
        sort, ascending = _sorting(visit)
        return await self._reads.page(
            reach_of(visit), search=visit.text("q", 100), status=status if status in STATES else "", sort=sort, ascending=ascending,
            channel=channel if channel in CHANNELS else "", after=_after(visit.text("after", 300), sort), most=most,
        )  # fmt: skip

    async def _approvals(self, visit: Visit) -> list[Campaign]:
        """Those that wait for this reader."""
        found = await self._reads.to_approve(reach_of(visit), visit.who.user_id)
        return [x for x in found if "approve" in self._desk.possible(visit.who, x)]

    async def all_csv(self, visit: Visit) -> Answer:
        rows = await self._list(visit, _EXPORT)
        return csv_answer("campaigns", _COLUMNS, ([_plain(getattr(r, n)) for n in _COLUMNS] for r in rows[:_EXPORT]))

    # --- one

    async def _find(self, visit: Visit) -> Campaign:
        found = await self._reads.one(reach_of(visit), visit.places["id"])
        if found is None:
            raise Fault(404)
        return found

    async def one(self, visit: Visit) -> Answer:
        x = await self._find(visit)
        progress = await self._reads.progress(x.pk)
        if progress is None:
            raise Fault(404)
        plan = await self._reads.plan(x.pk)
        values = self._values(visit, progress)
        return self._shell.page(
            visit, "campaign.html", plan=plan, refusal=lambda code: number_reason(visit, code), refused_path="/campaigns/{id}/refused.csv",
            **values,
        )  # fmt: skip

    async def one_live(self, visit: Visit) -> Answer:
        x = await self._find(visit)

        def show(visit: Visit, progress: Progress | None) -> Parts:
            if progress is None:
                return {}
            values = self._values(visit, progress)
            return {"campaign-head": ("parts/campaign_head.html", values), "campaign-live": ("parts/campaign_live.html", values)}

        return self._events.stream(visit, Watch(("campaign", x.pk), lambda: self._reads.progress(x.pk), show))

    def _values(self, visit: Visit, p: Progress) -> dict[str, Any]:
        x = p.campaign
        names = self._desk.possible(visit.who, x)
        offered = shown_for(names, visit.whole("version"), x.version)
        total = max(1, x.total)
        shares = [
            (visit._("Delivered"), x.delivered, x.delivered / total, "good"), (visit._("Failed"), x.failed, x.failed / total, "bad"),
            (visit._("Sent, no receipt yet"), x.underway, x.underway / total, "sent"),
            (visit._("Waiting"), x.waiting, x.waiting / total, "waiting"),
        ]  # fmt: skip
        left = x.waiting / p.per_second if p.per_second and x.status == "RUNNING" and not x.daily else None
        return {
            "x": x, "shares": shares, "bar": _bar(shares), "speed": p.per_second, "left": left, "chart": _chart(visit, p),
            "smscs": p.smscs, "operator": operates(visit), "countries": [(country(visit, c), *rest) for c, *rest in p.countries],
            "reasons": [(failure(visit, code), code, n, n / max(1, x.failed)) for code, n in p.reasons],
            "actions": actions(visit, x, offered), "copies": x.planned and visit.can(Permission.SEND),
            "edits": x.planned and x.status == "DRAFT" and x.user_id == visit.who.user_id and visit.can(Permission.SEND),
            "reviews": "approve" in names,
        }  # fmt: skip

    # --- what is done to it

    async def act(self, visit: Visit) -> Answer:
        name = visit.places["action"]
        x = await self._find(visit)
        if name not in ("pause", "resume", "cancel", "withdraw", "discard", "approve", "reject"):
            raise Fault(404)
        there = f"/campaigns/{x.id}"
        try:
            await self._desk.act(
                visit.who, x.id, name, reason=visit.text("reason", 300), ip=visit.ip, user_agent=visit.user_agent,
                version=visit.whole("version") or None,
            )  # fmt: skip
        except Unknown:
            raise Fault(404) from None
        except (NotPossible, NotReady):
            why = visit._("That is not possible any more: the campaign has changed. Look at it as it is now.")
            return self._shell.to(visit, there, Flash("warn", why))
        told = Flash("good", done_words(visit, name, x))
        return self._shell.to(visit, "/campaigns" if name == "discard" else there, told)

    async def copy(self, visit: Visit) -> Answer:
        visit.scope = scope_of(visit.who.role, Permission.ANALYTICS)  # of what may be seen; the desk knows what may be copied
        x = await self._find(visit)
        try:
            id = await self._desk.copy(
                visit.who, x.id, name=visit._("Copy of %(name)s", name=x.name or x.id)[:100], ip=visit.ip, user_agent=visit.user_agent
            )
        except Unknown:
            raise Fault(404) from None
        except NotPossible:
            return self._shell.to(visit, f"/campaigns/{x.id}", Flash("warn", visit._("This campaign cannot be copied.")))
        return self._shell.to(visit, f"/campaigns/{id}/edit", Flash("good", visit._("This is a copy. Nothing of it was sent yet.")))

    # --- its messages

    async def messages_csv(self, visit: Visit) -> Answer:
        x = await self._find(visit)
        campaign = {"pk": x.pk, "created": x.created, "completed": x.completed}
        wanted = of_campaign(Wanted(reach=reach_of(visit)), campaign)
        names = [n for n in _MESSAGE_COLUMNS if n != "smsc" or operates(visit)]
        return self._exports.csv(visit, f"{x.id}-messages", names, self._batches(wanted, names))

    async def _batches(self, wanted: Wanted, names: Sequence[str]) -> AsyncIterator[list[Sequence[Any]]]:
        while True:
            found = await self._search.page(wanted, _BATCH)
            yield [[_plain(r[n]) for n in names] for r in found.rows]
            if not found.next:
                return
            wanted = evolve(wanted, after=str(found.next))


def shown_for(names: list[str], seen: int, version: int) -> list[str]:
    """What a live page offers: decisions only about the plan that it was loaded with, for its text stays what it was. seen 0: of now."""
    return names if seen in (0, version) else [n for n in names if n not in ("approve", "reject")]


def _sorting(visit: Visit) -> tuple[str, bool]:
    sort = visit.text("sort", 20)
    return (sort if sort in SORTS else "made"), visit.text("direction", 4) == "asc"


def _cursor(x: Campaign, sort: str) -> str:
    value: Any = {"made": x.pk, "name": x.name or "", "recipients": x.total, "delivered": x.delivered}.get(sort, x.failed)
    return f"{x.pk}.{value}"


def _after(given: str, sort: str) -> tuple[str, int] | None:
    pk, _, value = given.partition(".")
    if not (pk.isascii() and pk.isdigit()) or len(pk) > 18:
        return None
    if sort != "name" and not (value.isascii() and value.isdigit() and len(value) <= 9 + 9 * (sort == "made")):
        return None
    return value, int(pk)


def _bar(shares: list[tuple[str, int, float, str]]) -> list[tuple[str, float, float]]:
    """Class, left end and width of each piece of a bar of 1000 units."""
    pieces, at = [], 0.0
    for _, _, share, kind in shares:
        width = min(share * 1000, 1000 - at)
        if width > 0:
            pieces.append((kind, round(at, 2), round(width, 2)))
        at += width
    return pieces


def _chart(visit: Visit, p: Progress) -> Chart | None:
    """Sums over time; None where there is hardly anything to see."""
    if not p.times:
        return None
    step, first, last = p.step, p.times[0][0], p.times[-1][0]
    known = {at: figures for at, *figures in p.times}
    moments = [first - step + n * step for n in range(round((last - first) / step) + 2)][-400:]
    style = "%H:%M:%S" if step < 60 else "%H:%M" if step < 3600 * 6 else "%d.%m."
    sums, series = [0, 0, 0, 0], [[], [], [], []]  # type: list[int], list[list[int]]
    for at in moments:
        for n, value in enumerate(known.get(at, (0, 0, 0, 0))):
            sums[n] += value
            series[n].append(sums[n])
    labels = [datetime.fromtimestamp(at, visit.zone).strftime(style) for at in moments]
    names = (visit._("Sent"), visit._("Delivered"), visit._("Failed"))
    return line_chart(labels, list(zip(names, series[1:], strict=True)), width=1080, height=240)


def _plain(value: Any) -> Any:
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else value
