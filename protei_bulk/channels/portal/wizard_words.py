"""What a schedule means, in sentences."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from babel.dates import format_datetime
from babel.lists import format_list
from babel.numbers import format_decimal

from protei_bulk.campaigns.draft import STEPS, Draft, zone_of
from protei_bulk.channels.portal.reasons import number_reason
from protei_bulk.channels.portal.visit import Visit
from protei_bulk.channels.portal.wizard_forms import weekdays

_ASCII = {0x660 + n: str(n) for n in range(10)}


def moment(visit: Visit, at: datetime) -> str:
    return format_datetime(at, "EEEE d MMMM yyyy, HH:mm", locale=visit.language.babel).translate(_ASCII)


def number(visit: Visit, n: int) -> str:
    return format_decimal(n, locale=visit.language.babel, numbering_system="latn")


def begins(visit: Visit, draft: Draft) -> str:
    s, _ = draft.schedule, visit._
    try:
        at = s.moment()
    except (ValueError, OverflowError):
        return _("It begins at a time that is still to be chosen.")
    if at is None:
        return _("It begins as soon as it is submitted.")
    said = _("It begins on %(when)s in %(zone)s.", when=moment(visit, at), zone=s.zone)
    if visit.zone.key != s.zone and at.utcoffset() != at.astimezone(visit.zone).utcoffset():
        said += " " + _("For you that is %(when)s.", when=moment(visit, at.astimezone(visit.zone)))
    return said


def words(visit: Visit, draft: Draft, now: float) -> list[str]:
    """now: Unix seconds."""
    s, _ = draft.schedule, visit._
    said = [begins(visit, draft)]
    if s.windowed and s.days:
        if s.begin and s.end:
            hours = _("from %(begin)s to %(end)s", begin=s.begin, end=s.end)
            if s.begin > s.end:
                hours = _("from %(begin)s to %(end)s the next day", begin=s.begin, end=s.end)
        else:
            hours = _("all day")
        where = _("where each recipient is") if s.where == "recipient" else _("in %(zone)s", zone=s.zone)
        names = dict(weekdays(visit))
        if len(s.days) == 7:
            said.append(_("Messages go out %(hours)s, %(where)s.", hours=hours, where=where))
        else:
            on = format_list([names[d] for d in s.days], locale=visit.language.babel)
            said.append(_("Messages go out on %(days)s, %(hours)s, %(where)s.", days=on, hours=hours, where=where))
        said.append(_("What is left when these hours end goes on when they begin again."))
        if s.where == "zone":
            try:
                here = datetime.fromtimestamp(now, UTC).astimezone(zone_of(s.zone))
                said.append(_("It is %(time)s there now.", time=here.strftime("%H:%M")))
            except ValueError:
                pass
    else:
        said.append(_("Messages go out at any hour, day and night."))
    if s.max_tps:
        said.append(_("No more than %(rate)s parts go out in a second.", rate=number(visit, s.max_tps)))
    else:
        said.append(_("It goes as fast as your account and the operators allow."))
    if s.valid_minutes:
        hours_, minutes = divmod(s.valid_minutes, 60)
        span = visit.ngettext("%(num)s hour", "%(num)s hours", hours_)
        if minutes:
            span = visit.ngettext("%(num)s minute", "%(num)s minutes", s.valid_minutes)
        said.append(_("A message that cannot be delivered within %(span)s is given up.", span=span))
    return said


def reason(visit: Visit) -> Callable[[str], str]:
    """Why recipients are left out, in words, by code."""
    _ = visit._
    routes = {"NO_ROUTE": _("No route"), "NO_ALLOWED_SMSC": _("No route"), "REJECTED_BY_ROUTE": _("Refused by a route")}
    return lambda code: routes.get(code) or number_reason(visit, code)


def steps(visit: Visit) -> list[tuple[str, str]]:
    titles = (visit._("Sender"), visit._("Recipients"), visit._("Message"), visit._("Schedule"), visit._("Review"))
    return list(zip(STEPS, titles, strict=True))
