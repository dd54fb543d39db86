"""The wizard's forms: what was filled in becomes a draft; what is wrong with a draft becomes a text beside its field."""

from __future__ import annotations

import re
from functools import cache
from typing import TypeGuard
from zoneinfo import available_timezones

import orjson
from attrs import evolve

from protei_bulk.campaigns.draft import (
    ENCODINGS,
    MAX_LISTS,
    MAX_NAME,
    MAX_TAG,
    MAX_TAGS,
    MAX_TEXT,
    MAX_TYPED,
    MAX_VALUE,
    MAX_VARIABLES,
    Columns,
    Content,
    Draft,
    Fault,
    Recipients,
    Schedule,
    is_country,
    is_variable,
)
from protei_bulk.channels.portal.visit import Visit
from protei_bulk.model.message import PRIORITIES
from protei_bulk.model.urls import MAX_URL

_COMMAS = re.compile(r"[,;\n]")


def read(step: str, visit: Visit, draft: Draft) -> Draft:
    """The draft with what this step's form says."""
    return {"sender": _sender, "recipients": _recipients, "message": _message, "schedule": _schedule}[step](visit, draft)


def _sender(visit: Visit, draft: Draft) -> Draft:
    tags = tuple(dict.fromkeys(t.strip()[: MAX_TAG + 1] for t in _COMMAS.split(visit.raw("tags")) if t.strip()))
    priority = visit.text("priority", 10)
    return evolve(
        draft,
        name=" ".join(visit.text("name", 4 * MAX_NAME).split())[:MAX_NAME],
        sender=visit.text("sender", 40) or visit.text("other_sender", 40),
        dlr_url=visit.text("dlr_url", MAX_URL + 1),
        tags=tags[: MAX_TAGS + 1],
        message=evolve(draft.message, priority=priority if priority in PRIORITIES else "NORMAL"),
    )


def _recipients(visit: Visit, draft: Draft) -> Draft:
    old = draft.recipients
    country = visit.text("country", 2).upper()
    lists = tuple(sorted({int(x) for x in visit.all("lists") if x.isascii() and x.isdigit() and len(x) < 18}))[:MAX_LISTS]
    groups = tuple(dict.fromkeys(g[:100] for g in visit.all("groups") if g))[:MAX_LISTS]
    upload = visit.whole("upload", high=2**62)
    return evolve(
        draft,
        recipients=Recipients(
            upload, _mapping(visit, old.mapping) if upload else Columns(), lists, groups, visit.raw("numbers")[:MAX_TYPED],
            country if is_country(country) else "",
        ),
    )  # fmt: skip


def _mapping(visit: Visit, old: Columns) -> Columns:
    """`mapping` is a field that holds JSON, as the widget of static/js/upload.js writes it."""
    given = visit.raw("mapping")[:20_000]
    if not given:
        return old
    try:
        found = orjson.loads(given)
    except orjson.JSONDecodeError:
        return old
    if not isinstance(found, dict):
        return old
    variables = found.get("variables")
    named = {k: v for k, v in (variables.items() if isinstance(variables, dict) else ()) if is_variable(k) and _column(v)}
    number, sheet, country = found.get("number"), found.get("sheet"), str(found.get("country") or "").upper()
    return Columns(
        bool(found.get("header", True)), number if _column(number) else -1, dict(list(named.items())[:MAX_VARIABLES]),
        country if is_country(country) else "", str(found.get("delimiter") or "")[:1], str(found.get("encoding") or "")[:20],
        sheet if _column(sheet) else 0,
    )  # fmt: skip


def _column(given: object) -> TypeGuard[int]:
    return type(given) is int and 0 <= given < 1000


def _message(visit: Visit, draft: Draft) -> Draft:
    old = draft.message
    encoding = visit.text("encoding", 10)
    defaults = dict(old.defaults)
    for key in visit.request.args or {}:
        name = key.decode("latin-1").removeprefix("default-")
        if key.startswith(b"default-") and is_variable(name):
            defaults[name] = visit.text(f"default-{name}", MAX_VALUE)
    defaults = {k: v for k, v in defaults.items() if v}
    return evolve(
        draft,
        message=Content(
            visit.raw("text")[:MAX_TEXT], encoding if encoding in ENCODINGS else "AUTO", bool(visit.text("smart")),
            dict(list(defaults.items())[:MAX_VARIABLES]), old.template, old.priority,
        ),
    )  # fmt: skip


def _schedule(visit: Visit, draft: Draft) -> Draft:
    day, clock = visit.text("date", 10), visit.text("time", 5)
    windowed = visit.text("windowed") == "1"
    days = tuple(sorted({int(d) for d in visit.all("days") if d in "0123456" and len(d) == 1}))
    where, when = visit.text("where", 10), visit.text("when", 10)
    return evolve(
        draft,
        schedule=Schedule(
            "later" if when == "later" else "now", f"{day}T{clock}" if day or clock else "", visit.text("zone", 64) or visit.who.timezone,
            visit.text("from", 5) if windowed else "", visit.text("to", 5) if windowed else "",
            days if windowed else tuple(range(7)), "zone" if where == "zone" else "recipient",
            visit.whole("max_tps"), visit.whole("valid") * (60 if visit.text("valid_unit") == "hours" else 1),
        ),
    )  # fmt: skip


def fresh(visit: Visit) -> Draft:
    """What a new campaign begins with."""
    return Draft(schedule=Schedule(zone=visit.who.timezone or "UTC"))


def zones(visit: Visit, chosen: str) -> list[str]:
    """The reader's own and UTC first, then all."""
    first = [z for z in dict.fromkeys([chosen, visit.who.timezone, "UTC"]) if z]
    return first + [z for z in _all_zones() if z not in first]


@cache
def _all_zones() -> tuple[str, ...]:
    return tuple(sorted(z for z in available_timezones() if "/" in z and not z.startswith(("Etc/", "posix/", "right/"))))


def weekdays(visit: Visit) -> list[tuple[int, str]]:
    return [(n, str(name).capitalize()) for n, name in sorted(visit.language.babel.days["format"]["abbreviated"].items())]


# --- what is wrong, in words


def errors_of(visit: Visit, faults: list[Fault], step: str = "") -> dict[str, str]:
    """Field -> text, of one step or of all."""
    return {f.name: fault_text(visit, f) for f in reversed(faults) if not step or f.step == step}


def fault_text(visit: Visit, fault: Fault) -> str:
    _ = visit._
    texts = {
        "NO_NAME": _("Give the campaign a name, so that you find it again."),
        "NO_SENDER": _("Choose who the messages come from."),
        "BAD_SENDER": _("A sender is 1 to 11 letters, digits and signs, or a number of up to 15 digits."),
        "SENDER_NOT_ALLOWED": _("Your account may not send under this name."),
        "BAD_URL": _("Enter a complete address that begins with https:// or http://."),
        "BAD_TAGS": _("At most %(most)s tags of %(longest)s characters each.", most=MAX_TAGS, longest=MAX_TAG),
        "NO_RECIPIENTS": _("Upload a file, choose a list or type numbers."),
        "NO_NUMBER_COLUMN": _("Say which column holds the numbers."),
        "NO_TEXT": _("Write the message."),
        "BAD_ZONE": _("There is no such time zone."),
        "PAST": _("This time has passed."),
        "TOO_FAR": _("At most a year ahead."),
        "NO_TIME": _("Choose a day and a time."),
        "NO_SUCH_TIME": _("There is no such time there, for the clocks change then."),
        "NO_DAYS": _("Choose at least one day."),
        "BAD_HOUR": _("Enter a time such as 09:00."),
        "EMPTY_WINDOW": _("It ends when it begins: nothing would be sent."),
        "NOT_GATHERED": _("The recipients have to be read first."),
        "NOBODY_LEFT": _("No recipient is left: all were refused."),
        "NOT_MEASURED": _("The dry run is not complete yet."),
        "MISSING_VARIABLES": _("Some recipients lack a value that the text needs."),
        "TOO_MUCH": _("At most %(most)s.", most=fault.values.get("most", "")),
    }
    return texts.get(fault.code, fault.code)
