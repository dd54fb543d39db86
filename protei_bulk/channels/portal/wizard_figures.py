"""The figures of a dry run: what a campaign costs, which way it goes, what is left, when it ends."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from attrs import frozen

from protei_bulk.campaigns import estimate as estimates
from protei_bulk.campaigns.draft import Draft, columns
from protei_bulk.campaigns.numbers import country_of
from protei_bulk.campaigns.windows import SendingWindow
from protei_bulk.campaigns.zones import zones_of
from protei_bulk.channels.portal.formats import money_text
from protei_bulk.channels.portal.visit import Visit
from protei_bulk.channels.portal.wizard_message import message_of
from protei_bulk.channels.portal.wizard_words import moment, number
from protei_bulk.intake.calendar import Calendar
from protei_bulk.model.account import Account
from protei_bulk.model.message import Message
from protei_bulk.routing.rules import Decision
from protei_bulk.settings import Smsc
from protei_bulk.store.drafts import Stored


class Intake(Protocol):
    def way(self, account: Account, m: Message) -> Decision: ...

    def in_turn(self, decision: Decision, dest: str) -> tuple[str, ...]: ...

    def deck_price(self, account: Account, dest: str) -> Decimal | None: ...


@frozen
class Figures:
    """Money in `currency`. `quota_left` None: no limit. `end` Unix seconds; None: more than two weeks away."""

    recipients: int
    taken: int
    segments: int
    cost: Decimal
    unpriced: int
    currency: str
    ways: tuple[estimates.Share, ...]
    refused: dict[str, int]
    quota_left: int | None
    quota: int | None  # of the day on which it begins
    balance: Decimal
    credit: Decimal
    start: float
    end: float | None
    rate: float  # parts a second; 0.0: nothing limits it
    rest: dict[str, int]  # what was refused when the recipients were gathered, by code
    countries: list[tuple[str, int]]
    longest: int  # parts

    @property
    def end_at(self) -> datetime | None:
        return None if self.end is None else datetime.fromtimestamp(self.end, UTC)

    @property
    def over_quota(self) -> int:
        return 0 if self.quota is None else max(0, self.segments - self.quota)

    @property
    def short(self) -> Decimal:
        """What balance and credit lack."""
        return max(Decimal(0), self.cost - self.balance - self.credit)

    @property
    def free(self) -> bool:
        return self.cost == 0

    def money(self, visit: Visit, amount: Decimal) -> str:
        return money(visit, amount, self.currency)


def figures(stored: Stored, account: Account, intake: Intake, usage: dict[str, Any], purse: dict[str, Any], smscs: Sequence[Smsc],
            now: float) -> Figures:  # fmt: skip
    draft, measured = stored.draft, stored.measured
    histogram = measured.get("histogram") or []
    channel = columns(draft)["submission_channel"]
    m = message_of(draft, "", channel=channel)

    def message(dest: str, segments: int) -> Message:
        m.dest, m.segments = dest, segments
        return m

    found = estimates.estimate(account, histogram, message, intake.way, intake.deck_price, intake.in_turn)  # type: ignore[arg-type]
    limits = {c.id: _least(c.max_tps, c.max_tps_per_bind * c.binds) for c in smscs}
    rate = estimates.speed(found.ways, limits, draft.schedule.max_tps, account.max_tps)
    at = draft.schedule.moment() if draft.schedule.when == "later" else None
    start = max(now, at.timestamp()) if at is not None else now
    most, day = int(usage["max_messages"] or 0), Calendar().day
    today = day(account.timezone, start) == day(account.timezone, now)
    gathering = stored.gathering
    countries = gathering.get("countries") if isinstance(gathering.get("countries"), dict) else {}
    rest = gathering.get("refused") if isinstance(gathering.get("refused"), dict) else {}
    return Figures(
        found.recipients, found.taken, found.segments, found.cost, found.unpriced, purse["currency"], found.ways, dict(found.refused),
        int(usage["remaining"]) if most else None, (int(usage["remaining"]) if today else most) if most else None, purse["balance"],
        purse["credit_limit"], start,
        estimates.end(start, _by_country(histogram), rate, *_hours(draft)), rate,
        {str(k): int(v) for k, v in (rest or {}).items() if v},
        sorted(((str(k), int(v)) for k, v in (countries or {}).items()), key=lambda c: -c[1]),
        max((int(row[1]) for row in histogram), default=0),
    )  # fmt: skip


def _hours(draft: Draft) -> tuple[SendingWindow | None, Any]:
    s = draft.schedule
    if not s.windowed or not s.days:
        return None, zones_of
    window = SendingWindow.parse(s.begin or "00:00", s.end or "23:59:59", s.days)
    if s.where == "zone":
        here = (ZoneInfo(s.zone),)
        return window, lambda country: here
    return window, zones_of


def _by_country(histogram: Sequence[Sequence[Any]]) -> dict[str, int]:
    out: dict[str, int] = {}
    for prefix, segments, count in histogram:
        country = country_of(str(prefix))
        region = country.region if country is not None else ""
        out[region] = out.get(region, 0) + int(segments) * int(count)
    return out


def _least(*limits: int) -> int:
    return min((n for n in limits if n > 0), default=0)


def money(visit: Visit, amount: Decimal, currency: str) -> str:
    return money_text(amount, currency, visit.language.babel)


def in_words(visit: Visit, draft: Draft, f: Figures) -> str:
    """What submitting does, in one sentence."""
    _ = visit._
    values = {"messages": number(visit, f.taken), "parts": number(visit, f.segments)}
    what = _("%(messages)s messages in %(parts)s parts", **values)
    if f.taken == 1:
        what = _("1 message in %(parts)s parts", **values) if f.segments > 1 else _("1 message in 1 part")
    if not f.free:
        what = _("%(what)s for %(money)s", what=what, money=f.money(visit, f.cost))
    at = draft.schedule.moment() if draft.schedule.when == "later" else None
    if at is None:
        return _("%(what)s, starting at once.", what=what)
    return _("%(what)s, starting on %(when)s (%(zone)s).", what=what, when=moment(visit, at), zone=draft.schedule.zone)
