"""What customers pay, and what they paid: ledger, statement, rate decks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from attrs import frozen

from protei_bulk.callbacks.payload import iso_time
from protei_bulk.channels.http.account_api import Read
from protei_bulk.channels.http.exchange import Exchange
from protei_bulk.channels.http.fields import invalid, kind
from protei_bulk.channels.http.problems import Problem, Reply, reply
from protei_bulk.channels.http.query import LIMIT, PAGE, make_cursor, path_id, read_cursor, read_query
from protei_bulk.channels.http.shapes import Amount, Body, Choice, Moment, Shape, Text
from protei_bulk.channels.http.users_api import wall
from protei_bulk.channels.statements import statement_csv
from protei_bulk.routing.rate_sheet import Entry as RateEntry
from protei_bulk.routing.rate_sheet import entry
from protei_bulk.store.administration import Administration, CustomerRow
from protei_bulk.store.decks import RateRow, RateRows
from protei_bulk.store.money import KINDS, Entry, Ledger

_MOST_RATES = 1_000  # entries of a request; files are for the command line
_MOST_LINES = 20_000  # of a statement
_SPAN = timedelta(days=31)

LEDGER: dict[str, Shape] = {
    **PAGE,
    "kind": Choice(KINDS),
    "from": Moment("the earliest time"),
    "to": Moment("up to, not including"),
}
STATEMENT: dict[str, Shape] = {"from": Moment("31 days before `to` where there is none"), "to": Moment("now where there is none")}
RATES: dict[str, Shape] = dict(PAGE)
_RATE = Body(
    {
        "prefix": Text(20, 1, r"[0-9]+"),
        "mccmnc": Text(6, 3, r"[0-9]{3}([0-9]{2,3})?", about="a network, or a country (MCC)"),
        "price": Amount(Decimal(0), about="of a segment; null: not in the deck any more"),
        "valid_from": Moment("the one of the request where there is none"),
    },
    ("price",),
    nullable=("price",),
)
_COMMON: dict[str, Shape] = {"valid_from": Moment("from ever where there is none")}


def _schema(**more: Any) -> dict[str, Any]:
    properties = {
        **more,
        "rates": {"type": "array", "minItems": 1, "maxItems": _MOST_RATES, "items": _RATE.schema},
        "valid_from": _COMMON["valid_from"].schema,
        "whole": {"type": "boolean", "description": "these are all that the deck has then: what else it has ends"},
    }
    return {"type": "object", "additionalProperties": False, "required": [*more, "rates"], "properties": properties}


_CURRENCY = Text(3, 3, r"[A-Z]{3}")
SET_RATES = _schema()
SET_DEFAULT = _schema(currency=_CURRENCY.schema)


@frozen
class Money:
    ledger: Ledger
    rates: RateRows


class MoneyApi:
    def __init__(self, money: Money, customers: Administration, body: Read) -> None:
        self._ledger, self._rates, self._customers, self._body = money.ledger, money.rates, customers, body

    async def ledger(self, x: Exchange) -> Reply:
        row = await self._customer(x)
        asked = read_query(x, LEDGER)
        limit = asked.get("limit", LIMIT)
        cursor = read_cursor(asked.get("cursor"), int, int)
        before = None if cursor is None else (_moment(cursor[0]), cursor[1])
        found = await self._ledger.entries(
            row.customer_id, kind=asked.get("kind"), since=asked.get("from"), until=asked.get("to"), before=before, limit=limit + 1
        )
        document: dict[str, Any] = {"status": "SUCCESS", "currency": row.currency, "entries": [shown_entry(e) for e in found[:limit]]}
        if len(found) > limit:
            last = found[limit - 1]
            document["next_cursor"] = make_cursor((last.created_at - _EPOCH) // timedelta(microseconds=1), last.entry_id)
        return reply(document)

    async def statement(self, x: Exchange) -> Reply:
        row = await self._customer(x)
        asked = read_query(x, STATEMENT)
        until = asked.get("to") or datetime.now(UTC) + timedelta(minutes=1)
        try:
            since = asked.get("from") or until - _SPAN
        except OverflowError:
            raise invalid("query.to", "is too early") from None
        found = await self._ledger.statement(row.customer_id, since, until, limit=_MOST_LINES + 1)
        if len(found) > _MOST_LINES:
            raise invalid("query.from", f"more than {_MOST_LINES} lines: ask for less time")
        text = "\ufeff" + statement_csv(found, row.timezone)
        name = f'attachment; filename="statement-{row.customer_id}.csv"'
        return Reply(200, text.encode("utf-8", "replace"), "text/csv; charset=utf-8", (("Content-Disposition", name),))

    async def rates(self, x: Exchange) -> Reply:
        return await self._list(x, (await self._customer(x)).customer_id)

    async def default_rates(self, x: Exchange) -> Reply:
        return await self._list(x, None)

    async def set_rates(self, x: Exchange) -> Reply:
        row = await self._customer(x)
        return await self._set(x, self._read(x, ()), row.customer_id, "")

    async def set_default_rates(self, x: Exchange) -> Reply:
        given = self._read(x, ("currency",))
        return await self._set(x, given, None, _CURRENCY.read(given["currency"], "$.currency"))

    async def remove_rate(self, x: Exchange) -> Reply:
        row = await self._customer(x)
        if not await self._rates.remove(path_id(x, "rate_id", "rate"), customer_id=row.customer_id, actor=x.actor):
            raise Problem(404, "NOT_FOUND", "There is no such rate")
        return reply({"status": "SUCCESS", "message": "Gone, from now on."})

    # --- below

    async def _customer(self, x: Exchange) -> CustomerRow:
        number = path_id(x, "customer_id", "customer")
        row = await self._customers.customer(number) if wall(x) in (None, number) else None
        if row is None:
            raise Problem(404, "NOT_FOUND", "There is no such customer")
        return row

    async def _list(self, x: Exchange, customer_id: int | None) -> Reply:
        asked = read_query(x, RATES)
        limit = asked.get("limit", LIMIT)
        after = (read_cursor(asked.get("cursor"), int) or (0,))[0]
        found = await self._rates.list(customer_id, after=after, limit=limit + 1)
        document: dict[str, Any] = {"status": "SUCCESS", "rates": [shown_rate(r) for r in found[:limit]]}
        if len(found) > limit:
            document["next_cursor"] = make_cursor(found[limit - 1].rate_id)
        return reply(document)

    def _read(self, x: Exchange, more: tuple[str, ...]) -> dict[str, Any]:
        given: Any = self._body(x)
        if not isinstance(given, dict):
            raise invalid("$", f"expected an object, got {kind(given)}")
        for name in given:
            if name not in (*more, "rates", "valid_from", "whole"):
                raise invalid(f"$.{name[:100]}", "there is no such field")
        for name in (*more, "rates"):
            if name not in given:
                raise invalid(f"$.{name}", "is required")
        if not isinstance(given.get("whole", False), bool):
            raise invalid("$.whole", "expected true or false")
        return dict(given)

    async def _set(self, x: Exchange, given: dict[str, Any], customer_id: int | None, currency: str) -> Reply:
        since = _COMMON["valid_from"].read(given["valid_from"], "$.valid_from") if "valid_from" in given else None
        rows = given["rates"]
        if not isinstance(rows, list) or not 1 <= len(rows) <= _MOST_RATES:
            raise invalid("$.rates", f"expected an array of 1 to {_MOST_RATES}")
        found: dict[tuple[Any, ...], RateEntry] = {}
        for n, row in enumerate(rows):
            read = _RATE.read(row, f"$.rates[{n}]")
            price = "" if read["price"] is None else format(read["price"], "f")
            try:
                made = entry(read.get("mccmnc", ""), read.get("prefix", ""), price, read.get("valid_from", since))
            except ValueError as error:
                raise invalid(f"$.rates[{n}]", str(error)) from None
            if (made[0], made[1], made[3]) in found:
                raise invalid(f"$.rates[{n}]", "given twice")
            found[made[0], made[1], made[3]] = made
        count = await self._rates.put(
            customer_id, currency, list(found.values()), whole=given.get("whole", False), since=since, actor=x.actor
        )
        return reply({"status": "SUCCESS", "entries": count})


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _moment(microseconds: int) -> datetime:
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        raise invalid("query.cursor", "expected the next_cursor of an earlier answer") from None


def shown_entry(e: Entry) -> dict[str, Any]:
    return {
        "entry_id": e.entry_id, "timestamp": iso_time(e.created_at.timestamp()), "kind": e.kind, "amount": float(e.amount),
        "reserved": float(e.held), "messages": e.messages, "reference": e.reference, "balance": float(e.balance),
        "reserved_in_all": float(e.reserved),
    }  # fmt: skip


def shown_rate(r: RateRow) -> dict[str, Any]:
    return {
        "rate_id": r.rate_id, "currency": r.currency or None, "mccmnc": r.mccmnc or None, "prefix": r.prefix or None,
        "price": None if r.price is None else float(r.price),
        "valid_from": None if r.valid_from is None else iso_time(r.valid_from.timestamp()),
    }  # fmt: skip
