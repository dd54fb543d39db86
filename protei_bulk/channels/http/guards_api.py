"""What stops messages: blacklists, opt-outs, pauses of the velocity guard. A customer's administrator has those of its customer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen

from protei_bulk.callbacks.payload import iso_time
from protei_bulk.channels.http.account_api import Read
from protei_bulk.channels.http.exchange import Exchange
from protei_bulk.channels.http.fields import invalid
from protei_bulk.channels.http.problems import Problem, Reply, reply
from protei_bulk.channels.http.query import LIMIT, PAGE, make_cursor, path_id, read_cursor, read_query
from protei_bulk.channels.http.shapes import Body, Choice, Flag, Shape, Text, Whole
from protei_bulk.channels.http.users_api import wall
from protei_bulk.guards.numbers import number_of
from protei_bulk.settings.guards import Guards as Settings
from protei_bulk.store.guards import Entry, Event, GuardRows, OptOut

NUMBER = Text(19, 3, r"\+?[0-9]{3,18}", expected="expected the digits of an international number")
ENTRY = Text(20, 1, r"\+?[0-9]{1,18}\*?", about="digits, with * after those of a prefix", expected="expected digits, with * after a prefix")
_CUSTOMER = Whole(1, about="for the platform's administrators; others have their own")
EVENTS: dict[str, Shape] = {**PAGE, "customer_id": _CUSTOMER, "state": Choice(("PAUSED",), about="only pauses in force")}
BLACKLIST: dict[str, Shape] = {
    **PAGE, "customer_id": Whole(0, about="0: everybody's list"),
    "number": Text(19, 3, NUMBER.pattern, about="entries that it falls under"),
}  # fmt: skip
BAR = Body({"number": ENTRY, "reason": Text(200), "customer_id": Whole(0, about="0, or none: everybody's list")}, ("number",))
OPT_OUTS: dict[str, Shape] = {**PAGE, "customer_id": _CUSTOMER, "number": NUMBER}
HISTORY: dict[str, Shape] = {"customer_id": _CUSTOMER, "number": NUMBER}
RECORD = Body(
    {
        "number": NUMBER, "opted_out": Flag(about="false: wants to hear again"), "sender": Text(21, 1, about="this one alone; none: all"),
        "note": Text(200), "customer_id": _CUSTOMER,
    },
    ("number", "opted_out"),
)  # fmt: skip


@frozen
class GuardsAdmin:
    """What the routes need."""

    rows: GuardRows
    settings: Callable[[], Settings]


class GuardsApi:
    def __init__(self, admin: GuardsAdmin, body: Read) -> None:
        self._rows, self._settings, self._body = admin.rows, admin.settings, body

    # --- what is switched on and what was found

    async def show(self, x: Exchange) -> Reply:
        found, settings = await self._rows.switches(wall(x)), self._settings()
        document = {
            "status": "SUCCESS",
            "velocity": settings.velocity.mode,
            "allowed_countries": list(settings.allowed_countries),
            "blocked_countries": list(settings.blocked_countries),
            "customers": [row for row in found if row["customer_id"]],
        }
        if wall(x) is None:
            document["blacklisted"] = found[0]["blacklisted"]
        return reply(document)

    async def events(self, x: Exchange) -> Reply:
        asked = read_query(x, EVENTS)
        limit = asked.get("limit", LIMIT)
        before = (read_cursor(asked.get("cursor"), int) or (None,))[0]
        rows = await self._rows.events(
            customer_id=_of(x, asked), paused=asked.get("state") == "PAUSED", before=before, limit=limit + 1
        )
        document: dict[str, Any] = {"status": "SUCCESS", "events": [_event(e) for e in rows[:limit]]}
        if len(rows) > limit:
            document["next_cursor"] = make_cursor(rows[limit - 1].event_id)
        return reply(document)

    async def release(self, x: Exchange) -> Reply:
        if not await self._rows.release(path_id(x, "event_id", "pause"), actor=x.actor):
            raise Problem(404, "NOT_FOUND", "There is no such pause in force")
        return reply({"status": "SUCCESS", "message": "Released."})

    # --- blacklist

    async def blacklist(self, x: Exchange) -> Reply:
        asked = read_query(x, BLACKLIST)
        limit = asked.get("limit", LIMIT)
        after = (read_cursor(asked.get("cursor"), int) or (0,))[0]
        rows = await self._rows.barred(_of(x, asked), number=_number(asked.get("number")), after=after, limit=limit + 1)
        document: dict[str, Any] = {"status": "SUCCESS", "entries": [_entry(e) for e in rows[:limit]]}
        if len(rows) > limit:
            document["next_cursor"] = make_cursor(rows[limit - 1].entry_id)
        return reply(document)

    async def bar(self, x: Exchange) -> Reply:
        given = BAR.read(self._body(x))
        word = given["number"].lstrip("+")
        is_prefix, number = word.endswith("*"), number_of(word.rstrip("*"))
        if not number or (not is_prefix and number < 100):
            raise invalid("$.number", "expected the digits of an international number, with * after those of a prefix")
        [entry_id] = await self._rows.bar(_of(x, given) or 0, [number], is_prefix, given.get("reason", ""), actor=x.actor)
        return reply({"status": "SUCCESS", "entry_id": entry_id}, 201)

    async def unbar(self, x: Exchange) -> Reply:
        if not await self._rows.unbar_entry(path_id(x, "entry_id", "entry"), wall(x), actor=x.actor):
            raise Problem(404, "NOT_FOUND", "There is no such entry")
        return reply({"status": "SUCCESS", "message": "Taken away."})

    # --- opt-outs

    async def opt_outs(self, x: Exchange) -> Reply:
        asked = read_query(x, OPT_OUTS)
        limit = asked.get("limit", LIMIT)
        after = read_cursor(asked.get("cursor"), int, str, int) or (0, "", 0)
        rows = await self._rows.opt_outs(
            _of(x, asked), number=_number(asked.get("number")), after=(after[0], after[1], after[2]), limit=limit + 1
        )
        document: dict[str, Any] = {"status": "SUCCESS", "opt_outs": [_opt_out(o) for o in rows[:limit]]}
        if len(rows) > limit:
            last = rows[limit - 1]
            document["next_cursor"] = make_cursor(last.customer_id, last.sender, int(last.number))
        return reply(document)

    async def history(self, x: Exchange) -> Reply:
        asked = read_query(x, HISTORY)
        number = _number(asked.get("number"))
        if number is None:
            raise invalid("query.number", "is required")
        rows = await self._rows.history(_of(x, asked), number)
        return reply({"status": "SUCCESS", "opt_outs": [_opt_out(o) for o in rows]})

    async def record(self, x: Exchange) -> Reply:
        given = RECORD.read(self._body(x))
        customer, number = _of(x, given), _number(given["number"])
        if customer is None:
            raise invalid("$.customer_id", "is required")
        row = {
            "c": customer, "n": number, "s": given.get("sender", ""), "o": given["opted_out"], "r": "API", "a": x.who.user_id,
            "t": given.get("note", ""),
        }  # fmt: skip
        recorded = await self._rows.record([row], actor=x.actor)
        return reply({"status": "SUCCESS", "recorded": recorded}, 201)


def _of(x: Exchange, given: dict[str, Any]) -> int | None:
    """Whose things are asked for; None: everybody's."""
    own: int | None = wall(x)
    wanted: int | None = given.get("customer_id")
    if own is not None and wanted not in (None, own):
        raise Problem(404, "NOT_FOUND", "There is no such customer")
    return wanted if own is None else own


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    number = number_of(text.lstrip("+"))
    if number < 100:
        raise invalid("number", "expected the digits of an international number")
    return number


def _event(e: Event) -> dict[str, Any]:
    return {
        "event_id": e.event_id, "user_id": e.user_id, "username": e.username, "mode": e.mode, "kind": e.kind, "target": e.target,
        "country": e.region or None, "messages": e.messages, "limit": e.most, "created_at": iso_time(e.created_at.timestamp()),
        "ends_at": iso_time(e.ends_at.timestamp() if e.ends_at else None),
        "released_at": iso_time(e.released_at.timestamp() if e.released_at else None),
    }  # fmt: skip


def _entry(e: Entry) -> dict[str, Any]:
    return {
        "entry_id": e.entry_id, "customer_id": e.customer_id, "number": e.number + "*" * e.is_prefix, "reason": e.reason,
        "created_at": iso_time(e.created_at.timestamp()),
    }  # fmt: skip


def _opt_out(o: OptOut) -> dict[str, Any]:
    return {
        "customer_id": o.customer_id, "number": o.number, "sender": o.sender or None, "opted_out": o.opted_out, "source": o.source,
        "message_id": o.message_id, "actor_id": o.actor_id, "note": o.note, "at": iso_time(o.at.timestamp()),
    }  # fmt: skip
