"""Administration of customers: list, make, change, suspend, delete, top up."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from protei_bulk.access import fields
from protei_bulk.callbacks.payload import iso_time
from protei_bulk.channels.http.account_api import Read
from protei_bulk.channels.http.exchange import Exchange
from protei_bulk.channels.http.fields import invalid
from protei_bulk.channels.http.problems import Problem, Reply, reply
from protei_bulk.channels.http.query import LIMIT, PAGE, make_cursor, path_id, read_cursor, read_query
from protei_bulk.channels.http.shapes import PRINTABLE, Amount, Body, Choice, Flag, Items, Shape, Text
from protei_bulk.channels.http.users_api import TIMEZONE, wall
from protei_bulk.guards.countries import REGIONS
from protei_bulk.model.charging import POLICIES
from protei_bulk.store.account_rows import NameTaken
from protei_bulk.store.administration import Administration, CustomerRow, StillInUse, TooMuch

COUNTRY = Choice(sorted(REGIONS))
_FIELDS: dict[str, Shape] = {
    "name": Text(100, 1, rf"(?! ){PRINTABLE}(?<! )"),
    "status": Choice(fields.STATUSES),
    "credit_limit": Amount(Decimal(0), about="how far the balance may fall below zero"),
    "currency": Text(3, 3, r"[A-Z]{3}"),
    "timezone": TIMEZONE,
    "allowed_countries": Items(COUNTRY, 300, about="of recipients (ISO 3166-1 alpha-2); none: every one"),
    "blocked_countries": Items(COUNTRY, 300),
    "charge_on": Choice(POLICIES, about="when the price of a message is reserved no more, but spent"),
    "weight": Amount(Decimal("0.001"), about="of its share of each SMSC, up to 10000"),
    "campaign_approval": Flag(about="somebody else must approve each campaign of the portal"),
    "default_country": Choice(("", *sorted(REGIONS)), about="of numbers without a country code; empty: none"),
}
CREATE = Body({**_FIELDS, "balance": Amount()}, ("name",))
CHANGE = Body(_FIELDS, least=1)
_REFERENCE = Text(64, about="what the ledger says of it")
TOP_UP = Body({"amount": Amount(about="a negative one takes from the balance"), "reference": _REFERENCE}, ("amount",))
LIST: dict[str, Shape] = {
    **PAGE,
    "status": Choice(fields.STATUSES),
    "search": Text(100, 1, about="a part of the name"),
}


class CustomersApi:
    def __init__(self, store: Administration, body: Read) -> None:
        self._store, self._body = store, body

    async def list(self, x: Exchange) -> Reply:
        asked = read_query(x, LIST)
        limit = asked.get("limit", LIMIT)
        after = (read_cursor(asked.get("cursor"), int) or (0,))[0]
        rows = await self._store.customers(
            customer_id=wall(x), status=asked.get("status"), search=asked.get("search"), after=after, limit=limit + 1
        )
        document: dict[str, Any] = {"status": "SUCCESS", "customers": [shown(row) for row in rows[:limit]]}
        if len(rows) > limit:
            document["next_cursor"] = make_cursor(rows[limit - 1].customer_id)
        return reply(document)

    async def get(self, x: Exchange) -> Reply:
        return await self._answer(self._id(x))

    async def create(self, x: Exchange) -> Reply:
        values = _columns(CREATE.read(self._body(x)))
        name = values["name"]
        try:
            number = await self._store.create_customer(name, values, actor=x.actor)
        except NameTaken:
            raise _taken(name) from None
        return await self._answer(number, 201)

    async def change(self, x: Exchange) -> Reply:
        number, values = self._id(x), _columns(CHANGE.read(self._body(x)))
        if number == x.who.customer_id and values.get("status", "ACTIVE") != "ACTIVE":
            raise Problem(403, "NOT_PERMITTED", "This is your own customer: you would be out")
        try:
            if not await self._store.change_customer(number, values, actor=x.actor):
                raise _no_such_customer()
        except NameTaken:
            raise _taken(values["name"]) from None
        return await self._answer(number)

    async def delete(self, x: Exchange) -> Reply:
        try:
            gone = await self._store.delete_customer(self._id(x), actor=x.actor)
        except StillInUse:
            raise Problem(409, "STILL_IN_USE", "The customer has users; delete them first") from None
        if gone is None:
            raise _no_such_customer()
        message = "Gone: it had no users." if gone else "Deleted. It stays in the books; its name stays taken."
        return reply({"status": "SUCCESS", "kept": not gone, "message": message})

    async def top_up(self, x: Exchange) -> Reply:
        number, given = self._id(x), TOP_UP.read(self._body(x))
        try:
            balance = await self._store.top_up(number, given["amount"], given.get("reference", ""), actor=x.actor)
        except TooMuch:
            raise invalid("$.amount", "the balance would be more than there is room for") from None
        if balance is None:
            raise _no_such_customer()
        return reply({"status": "SUCCESS", "customer_id": number, "balance": float(balance)})

    def _id(self, x: Exchange) -> int:
        number = path_id(x, "customer_id", "customer")
        if wall(x) not in (None, number):
            raise _no_such_customer()
        return number

    async def _answer(self, number: int, status: int = 200) -> Reply:
        row = await self._store.customer(number)
        if row is None:
            raise _no_such_customer()
        return reply({"status": "SUCCESS", "customer": shown(row)}, status)


def shown(row: CustomerRow) -> dict[str, Any]:
    return {
        "customer_id": row.customer_id,
        "name": row.name,
        "status": row.status,
        "balance": float(row.balance),
        "credit_limit": float(row.credit_limit),
        "currency": row.currency,
        "timezone": row.timezone,
        "charge_on": row.charge_on,
        "weight": float(row.weight),
        "campaign_approval": row.campaign_approval,
        "default_country": row.default_country,
        "allowed_countries": list(row.allowed_countries),
        "blocked_countries": list(row.blocked_countries),
        "users": row.users,
        "created_at": iso_time(row.created_at.timestamp()),
    }


def _columns(given: dict[str, Any]) -> dict[str, Any]:
    try:
        return fields.customer_fields(given)
    except fields.FieldError as error:
        name, _, why = str(error).partition(": ")
        raise invalid(f"$.{name}", why) from None


def _taken(name: str) -> Problem:
    return Problem(409, "NAME_TAKEN", f"There is, or was, a customer {name}")


def _no_such_customer() -> Problem:
    return Problem(404, "NOT_FOUND", "There is no such customer")
