"""What the pages about campaigns say: countries, reasons, and what each button will do."""

from __future__ import annotations

from typing import Any

import phonenumbers
from attrs import frozen
from babel.numbers import format_decimal

from protei_bulk.channels.portal.meanings import meaning
from protei_bulk.channels.portal.visit import Visit
from protei_bulk.store.pages_campaigns import Campaign


@frozen
class Action:
    """A button with its dialog. `reason`: it asks why."""

    name: str
    button: str
    title: str
    text: str
    kind: str = ""
    reason: bool = False


def actions(visit: Visit, x: Campaign, names: list[str]) -> list[Action]:
    _, n = visit._, visit.ngettext
    name = x.name or x.id
    waiting = n("%(num)s message still waits.", "%(num)s messages still wait.", x.waiting, num=_number(visit, x.waiting))
    known = {
        "pause": Action("pause", _("Pause"), _("Pause %(name)s?", name=name),
                        waiting + " " + _("Nothing more goes out until you resume it. What is with the SMSCs already stays there.")),
        "resume": Action("resume", _("Resume"), _("Resume %(name)s?", name=name), waiting + " " + _("They go out from now on."), "primary"),
        "cancel": Action("cancel", _("Cancel it"), _("Cancel %(name)s for good?", name=name),
                         waiting + " " + _("They will never be sent. This cannot be undone; what was sent stays sent."), "danger", True),
        "withdraw": Action("withdraw", _("Back to draft"), _("Make %(name)s a draft again?", name=name),
                           _("It will not be sent until it is submitted again.")),
        "discard": Action("discard", _("Discard"), _("Discard the draft %(name)s?", name=name),
                          _("The draft and its recipients are deleted. This cannot be undone."), "danger"),
        "approve": Action("approve", _("Approve"), _("Approve %(name)s?", name=name), _release(visit, x), "primary"),
        "reject": Action("reject", _("Send back"), _("Send %(name)s back?", name=name),
                         _("It becomes a draft again, and whoever made it reads your reason."), "", True),
    }  # fmt: skip
    return [known[a] for a in names if a in known]


def _release(visit: Visit, x: Campaign) -> str:
    to = visit.ngettext("It goes to %(num)s recipient", "It goes to %(num)s recipients", x.total, num=_number(visit, x.total))
    return f"{to}, " + (visit._("at its time.") if x.schedule else visit._("at once."))


def _number(visit: Visit, n: int) -> str:
    return format_decimal(n, locale=visit.language.babel, numbering_system="latn")


def done_words(visit: Visit, name: str, x: Campaign) -> str:
    """What is told once after an action."""
    _, called = visit._, x.name or x.id
    texts = {
        "pause": _("%(name)s is paused.", name=called), "resume": _("%(name)s goes on.", name=called),
        "cancel": _("%(name)s is cancelled.", name=called), "withdraw": _("%(name)s is a draft again.", name=called),
        "discard": _("The draft %(name)s is deleted.", name=called), "approve": _("%(name)s is approved.", name=called),
        "reject": _("%(name)s was sent back.", name=called),
    }  # fmt: skip
    return texts[name]


def country(visit: Visit, code: str) -> str:
    """Of a calling code: the country in the reader's language, with the code."""
    if not code.isdigit():
        return visit._("Unknown")
    regions = [r for r in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(int(code), ()) if r != "001"]
    names = [str(visit.language.babel.territories.get(r, r)) for r in regions[:2]]
    if len(regions) > 2:
        names = [visit._("%(country)s and others", country=names[0])]
    return f"{' / '.join(names) or visit._('Unknown')} (+{code})"


def failure(visit: Visit, code: str) -> str:
    """Why messages failed, in words; the code stands beside it."""
    _ = visit._
    states: dict[str, Any] = {
        "": _("Ended before it was sent"), "FAILED": _("Failed, and nobody said why"), "REJECTED": _("Refused"),
        "DELETED": _("Deleted by the SMSC"), "UNKNOWN": _("The SMSC does not know what became of it"),
        "NOTSTORED": _("Not accepted: the database was away"),
    }  # fmt: skip
    return states.get(code) or meaning(code, False, visit._) or _("Error %(code)s", code=code)
