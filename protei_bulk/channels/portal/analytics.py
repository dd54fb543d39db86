"""Analytics: traffic of a period over time and by what it met. From roll-ups: it costs the same however many messages there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

from attrs import frozen

from protei_bulk.channels.portal.campaign_words import country, failure
from protei_bulk.channels.portal.charts import Chart, line_chart
from protei_bulk.channels.portal.dashboard import reach_of
from protei_bulk.channels.portal.export import csv_answer
from protei_bulk.channels.portal.shell import Answer, Page, Shell
from protei_bulk.channels.portal.visit import Visit
from protei_bulk.model.permissions import Permission, Scope
from protei_bulk.store.pages import Reach
from protei_bulk.store.pages_analytics import CHANNEL, COUNTRY, REASON, SMSC, Analytics, Sums
from protei_bulk.store.pages_messages import MessageSearch

_LONGEST = 396  # days, as long as they are kept
_HOURS_KEPT = 34
_PRESETS = {"today": 1, "7": 7, "30": 30, "90": 90}
#: what a table may be exported by -> the heading of its first column
_BY = {"time": "time", "channel": "channel", "smsc": "smsc", "country": "calling_code", "reason": "code", "user": "account"}
_DIMS = {"channel": CHANNEL, "smsc": SMSC, "country": COUNTRY, "reason": REASON}


@frozen
class Span:
    """Days of the reader's zone, both within. `hourly`: shown by the hour."""

    preset: str  # one of _PRESETS, or "custom"
    first: date
    last: date
    error: str = ""

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1


class AnalyticsPages:
    def __init__(self, shell: Shell, reads: Analytics, search: MessageSearch, now: Callable[[], float]) -> None:
        self._shell, self._reads, self._search, self._now = shell, reads, search, now

    def pages(self) -> list[Page]:
        return [
            Page("GET", "/analytics", Permission.ANALYTICS, self.show),
            Page("GET", "/analytics.csv", Permission.ANALYTICS, self.csv),
        ]

    async def show(self, visit: Visit) -> Answer:
        span, (reach, unknown) = _span(visit, self._today(visit)), await self._reach(visit)
        hourly = _hourly(span, self._today(visit))
        over_time = await self._over_time(visit, reach, span, hourly)
        found = await self._reads.by(reach, span.first, span.last)
        wide = visit.scope is not Scope.OWN and not visit.text("user")
        users = await self._reads.users(reach, span.first, span.last) if wide else {}
        total = sum((s for _, s in found[CHANNEL]), Sums())
        failed = sum(s.failed for _, s in found[REASON]) or 1
        return self._shell.page(
            visit, "analytics.html", 422 if span.error or unknown else 200, span=span, presets=tuple(_PRESETS), total=total, hourly=hourly,
            chart=_chart(visit, over_time, hourly), channels=found[CHANNEL], smscs=found[SMSC],
            countries=[(country(visit, v), s) for v, s in found[COUNTRY]], users=users, wide=visit.scope is not Scope.OWN,
            all=visit.scope is Scope.ALL, reasons=[(failure(visit, v), v, s.failed, s.failed / failed) for v, s in found[REASON]],
            unknown=unknown, query=visit.link().partition("?")[2],
        )  # fmt: skip

    async def csv(self, visit: Visit) -> Answer:
        span, (reach, _) = _span(visit, self._today(visit)), await self._reach(visit)
        by = visit.text("by", 10)
        by = by if by in _BY and (by != "smsc" or visit.scope is Scope.ALL) else "time"  # SMSCs are for operators
        rows: Iterable[tuple[Any, Sums]]
        if by == "time":
            hourly = _hourly(span, self._today(visit))
            over_time = await self._over_time(visit, reach, span, hourly)
            rows = [(at.isoformat(timespec="minutes") if isinstance(at, datetime) else at.isoformat(), s) for at, s in over_time]
        elif by == "user":
            users = await self._reads.users(reach, span.first, span.last) if visit.scope is not Scope.OWN else {}
            rows = [(name, s) for (name, _customer), s in users.items()]
        else:
            rows = (await self._reads.by(reach, span.first, span.last))[_DIMS[by]]
        columns = ["failed"] if by == "reason" else ["sent", "delivered", "failed"]
        if by in ("time", "channel", "user"):  # of the others it is not known what was accepted
            columns = ["accepted", "segments", *columns]
        lines = ([key, *(getattr(s, c) for c in columns)] for key, s in rows)
        return csv_answer(f"analytics-{by}-{span.first}-{span.last}", [_BY[by], *columns], lines)

    def _today(self, visit: Visit) -> date:
        return datetime.fromtimestamp(self._now(), visit.zone).date()

    async def _reach(self, visit: Visit) -> tuple[Reach, bool]:
        """With the filter by account; and whether there is none of that name."""
        reach, name = reach_of(visit), visit.text("user", 100)
        if not name or visit.scope is Scope.OWN:
            return reach, False
        found = await self._search.user_named(reach, name)
        return (Reach(user_id=0), True) if found is None else (Reach(user_id=found), False)

    async def _over_time(self, visit: Visit, reach: Reach, span: Span, hourly: bool) -> list[tuple[Any, Sums]]:
        line: list[Any]
        known: dict[Any, Sums]
        if hourly:
            since = datetime(span.first.year, span.first.month, span.first.day, tzinfo=visit.zone).astimezone(UTC)
            end = span.last + timedelta(days=1)
            until = datetime(end.year, end.month, end.day, tzinfo=visit.zone).astimezone(UTC)
            hours = await self._reads.hours(reach, since.replace(minute=0), until)
            known = {at.astimezone(UTC): s for at, s in hours.items()}
            now, hour = datetime.fromtimestamp(self._now(), UTC), since.replace(minute=0)
            line = [hour + timedelta(hours=n) for n in range(int((until - since).total_seconds() // 3600))]
            return [(at.astimezone(visit.zone), known.get(at, Sums())) for at in line if at <= now]
        known = await self._reads.days(reach, span.first, span.last)
        line = [span.first + timedelta(days=n) for n in range(span.days)]
        return [(day, known.get(day, Sums())) for day in line]


def _hourly(span: Span, today: date) -> bool:
    return span.days <= 2 and span.first > today - timedelta(days=_HOURS_KEPT)


def _span(visit: Visit, today: date) -> Span:
    """What the form says; what cannot be is told and a week is shown."""
    preset = visit.text("period", 10)
    week = Span("7", today - timedelta(days=6), today)
    given = visit.text("from", 10), visit.text("to", 10)
    if preset in _PRESETS or not any(given):
        days = _PRESETS.get(preset, 7)
        return Span(preset if preset in _PRESETS else "7", today - timedelta(days=days - 1), today)
    try:
        last = date.fromisoformat(given[1]) if given[1] else today
        first = date.fromisoformat(given[0]) if given[0] else last - timedelta(days=6)
    except (ValueError, OverflowError):
        return Span(week.preset, week.first, week.last, visit._("Write a day such as 2026-01-31."))
    if first > last:
        return Span(week.preset, week.first, week.last, visit._("The first day comes after the last."))
    if (last - first).days >= _LONGEST:
        return Span(week.preset, week.first, week.last, visit._("That is more than a year."))
    return Span("custom", first, last)


def _chart(visit: Visit, over_time: list[tuple[Any, Sums]], hourly: bool) -> Chart | None:
    if not any(s.accepted or s.sent or s.delivered or s.failed for _, s in over_time):
        return None
    labels = [at.strftime("%H:%M") if hourly else f"{at.day}.{at.month}." for at, _ in over_time]
    names = (visit._("Sent"), visit._("Delivered"), visit._("Failed"))
    series = [(n, [getattr(s, key) for _, s in over_time]) for n, key in zip(names, ("sent", "delivered", "failed"), strict=True)]
    return line_chart(labels, series, width=1080, height=260, ticks=10)
