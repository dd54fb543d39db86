"""The first page: what is left, what happens now and happened today, what runs, and what needs somebody."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Protocol

from attrs import frozen
from twisted.internet.defer import Deferred

from protei_bulk.channels.portal.charts import Chart, line_chart
from protei_bulk.channels.portal.events import Events, Parts, Watch
from protei_bulk.channels.portal.shell import Answer, Page, Shell
from protei_bulk.channels.portal.visit import Visit
from protei_bulk.model.permissions import Permission, Scope, scope_of
from protei_bulk.store.pages import Reach
from protei_bulk.store.pages_campaigns import Campaign, CampaignPages
from protei_bulk.store.pages_dashboard import PULSE, SLOT, DashboardReads, Figures
from protei_bulk.store.rehoming import SmscState, best_state

_FULL = 0.8  # of the quota: from here on it is told
_SOUND = frozenset({"BOUND", "PROBING"})

Pulse = tuple[int, list[tuple[int, int, int, int]]]


class Parked(Protocol):
    def parked(self, reach: Reach) -> Deferred[tuple[int, bool]]: ...


class States(Protocol):
    def states(self) -> Deferred[list[SmscState]]: ...


class Desk(Protocol):
    def possible(self, account: Any, campaign: Any) -> list[str]: ...


def reach_of(visit: Visit) -> Reach:
    """Whose things the reader may see on this page."""
    if visit.scope is Scope.ALL:
        return Reach()
    if visit.scope is Scope.CUSTOMER:
        return Reach(customer_id=visit.who.customer_id)
    return Reach(user_id=visit.who.user_id)


@frozen
class Waiting:
    """What needs somebody, as read for one reader. `down`: (SMSC, state)."""

    approvals: list[Campaign]
    parked: int
    down: list[tuple[str, str]]


class Dashboard:
    def __init__(self, shell: Shell, events: Events, reads: DashboardReads, campaigns: CampaignPages, desk: Desk, parked: Parked,
                 states: States) -> None:  # fmt: skip
        self._shell, self._events, self._reads, self._campaigns = shell, events, reads, campaigns
        self._desk, self._parked, self._states = desk, parked, states

    def pages(self) -> list[Page]:
        return [
            Page("GET", "/", Permission.ANALYTICS, self.show),
            Page("GET", "/dashboard.live", Permission.ANALYTICS, self.live, watching=True),
        ]

    async def show(self, visit: Visit) -> Answer:
        reach = reach_of(visit)
        figures = await self._reads.figures(reach, visit.who.user_id)
        days = await self._reads.days(reach, 14)
        return self._shell.page(
            visit, "dashboard.html", trend=_trend(visit, days), **_figures(visit, figures), **_pulse(visit, await self._reads.pulse(reach)),
            **_running(visit, await self._campaigns.running(reach)), **_waiting(visit, await self._waiting(visit, reach)),
        )  # fmt: skip

    async def live(self, visit: Visit) -> Answer:
        reach, who = reach_of(visit), visit.who

        def part(id: str, template: str, values: Any) -> Any:
            def show(visit: Visit, data: Any) -> Parts:
                return {id: (template, values(visit, data))}

            return show

        return self._events.stream(
            visit,
            Watch(("figures", reach, who.user_id), lambda: self._reads.figures(reach, who.user_id),
                  part("now-figures", "parts/dashboard_figures.html", _figures)),
            Watch(("pulse", reach), lambda: self._reads.pulse(reach), part("now-pulse", "parts/dashboard_pulse.html", _pulse),
                  audience="pulse"),
            Watch(("running", reach), lambda: self._campaigns.running(reach),
                  part("now-running", "parts/dashboard_running.html", _running), audience="running"),
            Watch(("waiting", reach, who.user_id), lambda: self._waiting(visit, reach),
                  part("now-waiting", "parts/dashboard_waiting.html", _waiting), every=5.0),
        )  # fmt: skip

    async def _waiting(self, visit: Visit, reach: Reach) -> Waiting:
        who = visit.who
        found = await self._campaigns.to_approve(reach, who.user_id, 5) if visit.can(Permission.APPROVE) else []
        down: list[tuple[str, str]] = []
        if scope_of(who.role, Permission.CUSTOMERS_WRITE) is Scope.ALL:
            states = await self._states.states()
            best = [best_state(states, smsc) for smsc in dict.fromkeys(s.smsc for s in states if s.alive)]
            down = [(s.smsc, s.state) for s in best if s is not None and s.state not in _SOUND]
        parked, _ = await self._parked.parked(reach)
        return Waiting([x for x in found if "approve" in self._desk.possible(who, x)], parked, down)


def _figures(visit: Visit, f: Figures) -> dict[str, Any]:
    return {"f": f, "quota_full": f.share >= _FULL, "own": visit.scope is Scope.OWN}


def _running(visit: Visit, rows: list[Campaign]) -> dict[str, Any]:
    return {"running": rows}


def _waiting(visit: Visit, w: Waiting) -> dict[str, Any]:
    return {"w": w}


def _pulse(visit: Visit, pulse: Pulse) -> dict[str, Any]:
    """Messages a second over the last minutes; the figure is that of the last fifteen seconds."""
    last, slots = pulse
    known = {at: figures for at, *figures in slots}
    moments = [last - PULSE + SLOT + n * SLOT for n in range(PULSE // SLOT)]
    rates = [[v / SLOT for v in known.get(at, (0, 0, 0))] for at in moments]
    now = [sum(r[n] for r in rates[-3:]) / 3 for n in range(3)]
    labels = [datetime.fromtimestamp(at, visit.zone).strftime("%H:%M") for at in moments]
    series = [(visit._("Sent"), [r[1] for r in rates]), (visit._("Delivered"), [r[2] for r in rates])]
    return {"now": now, "pulse": line_chart(labels, series, height=180, ticks=5) if slots else None}


def _trend(visit: Visit, days: list[tuple[Any, int, int, int]]) -> Chart | None:
    if not days:
        return None
    known = {day: figures for day, *figures in days}
    last = max(known)
    line = [last - timedelta(days=n) for n in range(13, -1, -1)]
    figures = [[int(v) for v in known.get(day, (0, 0, 0))] for day in line]
    names = (visit._("Sent"), visit._("Delivered"), visit._("Failed"))
    return line_chart([f"{d.day}.{d.month}." for d in line], [(name, [f[n] for f in figures]) for n, name in enumerate(names)], height=180)
