"""What the wizard's steps hold, until a campaign is released. Pure.

A draft keeps what was typed, right or wrong: going back and forth loses nothing. `faults` says
what keeps it from being sent, and on which step; `columns` is what the engine and all lists read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from attrs import evolve, field, frozen

from protei_bulk.model.account import Account, matches_any
from protei_bulk.model.message import PRIORITIES
from protei_bulk.model.senders import read_sender
from protei_bulk.model.urls import MAX_URL, url_fault
from protei_bulk.text.variables import VARIABLE

STEPS = ("sender", "recipients", "message", "schedule", "review")
ENCODINGS = ("AUTO", "GSM7", "UCS2")
MAX_NAME, MAX_TEXT, MAX_TYPED, MAX_TAGS, MAX_TAG, MAX_VALUE = 200, 40_000, 200_000, 20, 64, 200
MAX_LISTS, MAX_VARIABLES = 50, 50
MAX_AHEAD = 366 * 86_400.0  # seconds that a schedule may lie ahead
MAX_TPS, MAX_VALID = 1_000_000, 7 * 24 * 60  # segments a second; minutes

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z")
_COUNTRY = re.compile(r"[A-Z]{2}\Z")
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]\Z")


@frozen
class Columns:
    """Which columns of an uploaded file say what. `number` and the values of `variables` count from 0; -1: none was chosen."""

    header: bool = True
    number: int = -1
    variables: Mapping[str, int] = field(factory=dict)
    country: str = ""
    delimiter: str = ""
    encoding: str = ""
    sheet: int = 0


@frozen
class Recipients:
    upload: int = 0
    mapping: Columns = Columns()
    lists: tuple[int, ...] = ()
    groups: tuple[str, ...] = ()
    numbers: str = ""
    country: str = ""

    @property
    def any(self) -> bool:
        return bool(self.upload or self.lists or self.groups or self.numbers.strip())


@frozen
class Content:
    text: str = ""
    encoding: str = "AUTO"
    smart: bool = True
    defaults: Mapping[str, str] = field(factory=dict)
    template: int = 0
    priority: str = "NORMAL"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(VARIABLE.findall(self.text)))


@frozen
class Schedule:
    """`at` is local time in `zone`. Hours `begin` to `end` on `days` (0 Monday); both empty: always. `where`: recipient or zone."""

    when: str = "now"
    at: str = ""
    zone: str = "UTC"
    begin: str = ""
    end: str = ""
    days: tuple[int, ...] = tuple(range(7))
    where: str = "recipient"
    max_tps: int = 0
    valid_minutes: int = 0

    @property
    def windowed(self) -> bool:
        return bool(self.begin or self.end) or set(self.days) != set(range(7))

    def moment(self) -> datetime | None:
        """When it begins, aware, in its zone; None for at once. Raises ValueError where there is no such time."""
        if self.when != "later":
            return None
        local = datetime.fromisoformat(self.at).replace(tzinfo=zone_of(self.zone))
        if local.astimezone(UTC).astimezone(local.tzinfo).replace(tzinfo=None) != local.replace(tzinfo=None):
            raise ValueError("the clocks skip it")
        return local


@frozen
class Draft:
    """`changed` has the version at which the recipients and the text became what they are."""

    name: str = ""
    sender: str = ""
    channel: str = "SMS"
    recipients: Recipients = Recipients()
    message: Content = Content()
    schedule: Schedule = Schedule()
    dlr_url: str = ""
    tags: tuple[str, ...] = ()
    changed: Mapping[str, int] = field(factory=dict)


@frozen
class Fault:
    """`name` is the field of the form; `code` what is wrong with it; `values` what a text about it names."""

    step: str
    name: str
    code: str
    values: Mapping[str, Any] = field(factory=dict)


# --- JSON


def read_draft(document: Mapping[str, Any] | None) -> Draft:
    """Of whatever is stored: what is not of the right kind is left out."""
    d = _Reader(document)
    r, m, s = d.part("recipients"), d.part("message"), d.part("schedule")
    c = r.part("mapping")
    variables = {k: v for k, v in c.part("variables").items.items() if _NAME.match(k) and _whole(v)}
    days = tuple(sorted({x for x in s.many("days") if _whole(x) and x < 7})) if "days" in s.items else tuple(range(7))
    return Draft(
        d.text("name", MAX_NAME), d.text("sender", 40), "SMS",
        Recipients(
            r.whole("upload"),
            Columns(
                bool(c.items.get("header", True)), c.whole("number", -1), dict(list(variables.items())[:MAX_VARIABLES]),
                c.text("country", 2), c.text("delimiter", 1), c.text("encoding", 20), c.whole("sheet"),
            ),
            tuple(x for x in r.many("lists") if _whole(x))[:MAX_LISTS], tuple(str(x)[:100] for x in r.many("groups"))[:MAX_LISTS],
            r.text("numbers", MAX_TYPED), r.text("country", 2),
        ),
        Content(
            m.text("text", MAX_TEXT), m.one_of("encoding", ENCODINGS), bool(m.items.get("smart", True)),
            {k: str(v)[:MAX_VALUE] for k, v in list(m.part("defaults").items.items())[:MAX_VARIABLES] if _NAME.match(k)},
            m.whole("template"), m.one_of("priority", PRIORITIES, "NORMAL"),
        ),
        Schedule(
            s.one_of("when", ("now", "later")), s.text("at", 20), s.text("zone", 64) or "UTC", s.text("from", 5), s.text("to", 5), days,
            s.one_of("where", ("recipient", "zone")), s.whole("max_tps"), s.whole("valid_minutes"),
        ),
        d.text("dlr_url", MAX_URL + 1), tuple(str(t)[: MAX_TAG + 1] for t in d.many("tags"))[: MAX_TAGS + 1],
        {k: v for k, v in d.part("changed").items.items() if _whole(v)},
    )  # fmt: skip


def write_draft(draft: Draft) -> dict[str, Any]:
    r, m, s = draft.recipients, draft.message, draft.schedule
    c = r.mapping
    return {
        "name": draft.name, "sender": draft.sender, "channel": draft.channel,
        "recipients": {
            "upload": r.upload,
            "mapping": {
                "header": c.header, "number": c.number, "variables": dict(c.variables), "country": c.country, "delimiter": c.delimiter,
                "encoding": c.encoding, "sheet": c.sheet,
            },
            "lists": list(r.lists), "groups": list(r.groups), "numbers": r.numbers, "country": r.country,
        },
        "message": {
            "text": m.text, "encoding": m.encoding, "smart": m.smart, "defaults": dict(m.defaults), "template": m.template,
            "priority": m.priority,
        },
        "schedule": {
            "when": s.when, "at": s.at, "zone": s.zone, "from": s.begin, "to": s.end, "days": list(s.days), "where": s.where,
            "max_tps": s.max_tps, "valid_minutes": s.valid_minutes,
        },
        "dlr_url": draft.dlr_url, "tags": list(draft.tags), "changed": dict(draft.changed),
    }  # fmt: skip


def stamped(before: Draft, after: Draft, version: int) -> Draft:
    """`after` with the version from which on its recipients and its text hold."""
    changed = dict(before.changed)
    if (before.recipients, before.sender) != (after.recipients, after.sender):  # who opted out goes by the sender
        changed["recipients"] = version
    a, b = before.message, after.message
    if (a.text, a.encoding, a.smart, a.defaults) != (b.text, b.encoding, b.smart, b.defaults):
        changed["message"] = version
    return evolve(after, changed=changed)


def columns(draft: Draft) -> dict[str, Any]:
    """Of campaigns and campaign_plans, what follows from a draft. What is not right yet is left empty."""
    m, s = draft.message, draft.schedule
    try:
        moment = s.moment()
    except (ValueError, OverflowError):
        moment = None
    windowed = s.windowed and _window_fault(s) is None
    return {
        "name": draft.name or None, "sender_id": read_sender(draft.sender)[0] if sender_fault(draft.sender) is None else None,
        "message_content": m.text or None, "encoding": m.encoding, "priority": m.priority,
        "schedule_time": None if moment is None else moment.isoformat(), "max_tps": min(s.max_tps, MAX_TPS),
        "dlr_callback_url": draft.dlr_url if draft.dlr_url and url_fault(draft.dlr_url) is None else None,
        "submission_channel": "SCHEDULER" if moment is not None else "WEB",
        "smart": m.smart, "defaults": {k: v for k, v in m.defaults.items() if v}, "tags": list(draft.tags),
        "window_from": (s.begin or "00:00") if windowed else None, "window_to": (s.end or "23:59:59") if windowed else None,
        "window_days": list(s.days) if windowed and set(s.days) != set(range(7)) else None,
        "window_zone": s.zone if windowed and s.where == "zone" else "", "valid_minutes": min(s.valid_minutes, MAX_VALID),
    }  # fmt: skip


# --- what is wrong


def faults(draft: Draft, account: Account, now: float) -> list[Fault]:
    """What keeps it from being sent, as far as the draft alone can say; now: Unix seconds."""
    return [*_sender(draft, account), *_recipients(draft), *_message(draft), *_schedule(draft, now)]


def sender_fault(sender: str) -> str | None:
    if not sender:
        return "NO_SENDER"
    try:
        read_sender(sender)
    except ValueError:
        return "BAD_SENDER"
    return None


def _sender(draft: Draft, account: Account) -> list[Fault]:
    found = []
    if not draft.name.strip():
        found.append(Fault("sender", "name", "NO_NAME"))
    code = sender_fault(draft.sender)
    if code is None and not matches_any(read_sender(draft.sender)[0], account.allowed_sender_ids):
        code = "SENDER_NOT_ALLOWED"
    if code is not None:
        found.append(Fault("sender", "sender", code))
    if draft.dlr_url and url_fault(draft.dlr_url) is not None:
        found.append(Fault("sender", "dlr_url", "BAD_URL"))
    if len(draft.tags) > MAX_TAGS or any(not 0 < len(t) <= MAX_TAG or not t.isprintable() for t in draft.tags):
        found.append(Fault("sender", "tags", "BAD_TAGS", {"most": MAX_TAGS, "longest": MAX_TAG}))
    return found


def _recipients(draft: Draft) -> list[Fault]:
    r = draft.recipients
    if not r.any:
        return [Fault("recipients", "numbers", "NO_RECIPIENTS")]
    if r.upload and r.mapping.number < 0:
        return [Fault("recipients", "upload", "NO_NUMBER_COLUMN")]
    return []


def _message(draft: Draft) -> list[Fault]:
    if not draft.message.text.strip():
        return [Fault("message", "text", "NO_TEXT")]
    return []


def _schedule(draft: Draft, now: float) -> list[Fault]:
    s, found = draft.schedule, []
    try:
        zone_of(s.zone)
    except ValueError:
        return [Fault("schedule", "zone", "BAD_ZONE")]
    try:
        moment = s.moment()
        if moment is not None and moment.timestamp() <= now:
            found.append(Fault("schedule", "at", "PAST"))
        elif moment is not None and moment.timestamp() > now + MAX_AHEAD:
            found.append(Fault("schedule", "at", "TOO_FAR"))
    except (ValueError, OverflowError):
        found.append(Fault("schedule", "at", "NO_SUCH_TIME" if _is_time(s.at) else "NO_TIME"))
    window = _window_fault(s)
    if window is not None:
        found.append(Fault("schedule", window[0], window[1]))
    if s.max_tps > MAX_TPS:
        found.append(Fault("schedule", "max_tps", "TOO_MUCH", {"most": MAX_TPS}))
    if s.valid_minutes > MAX_VALID:
        found.append(Fault("schedule", "valid_minutes", "TOO_MUCH", {"most": MAX_VALID}))
    return found


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _window_fault(s: Schedule) -> tuple[str, str] | None:
    if not s.days:
        return "days", "NO_DAYS"
    if not s.begin and not s.end:
        return None
    for name, given in (("from", s.begin), ("to", s.end)):
        if not _CLOCK.match(given):
            return name, "BAD_HOUR"
    if time.fromisoformat(s.begin) == time.fromisoformat(s.end):
        return "to", "EMPTY_WINDOW"
    return None


def zone_of(name: str) -> ZoneInfo:
    """Raises ValueError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"there is no time zone {name!r}") from None


def is_variable(name: str) -> bool:
    return _NAME.match(name) is not None


def is_country(code: str) -> bool:
    return not code or _COUNTRY.match(code) is not None


def _whole(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


class _Reader:
    def __init__(self, items: object) -> None:
        self.items: Mapping[str, Any] = items if isinstance(items, Mapping) else {}

    def part(self, name: str) -> _Reader:
        return _Reader(self.items.get(name))

    def many(self, name: str) -> list[Any]:
        found = self.items.get(name)
        return list(found) if isinstance(found, list | tuple) else []

    def text(self, name: str, most: int) -> str:
        found = self.items.get(name)
        return found[:most] if isinstance(found, str) else ""

    def whole(self, name: str, default: int = 0) -> int:
        found = self.items.get(name)
        return found if type(found) is int and _whole(found) else default

    def one_of(self, name: str, known: tuple[str, ...], default: str = "") -> str:
        found = self.items.get(name)
        return found if isinstance(found, str) and found in known else default or known[0]
