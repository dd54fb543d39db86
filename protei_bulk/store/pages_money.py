"""What the pages of money read: what is held and spent, entries of rate decks by number, margins summed up."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred

from protei_bulk.store.pages import Row
from protei_bulk.store.pool import Database

#: mccmnc, prefix, price, valid_from
Removed = tuple[str, str, Decimal | None, datetime | None]
#: by what margins are summed up -> the expression
MARGIN_BY = {"route": "m.route", "smsc": "m.smsc_id", "customer": "c.name", "day": "m.day::text"}


@frozen
class DeckEntry:
    """`state`: NOW, LATER, BEFORE (another one holds since), or ENDED (no price from then on). `valid_from` None: from ever."""

    rate_id: int
    mccmnc: str
    prefix: str
    price: Decimal | None
    valid_from: datetime | None
    state: str


@frozen
class Line:
    """Of the ledger: `amount` is what it does to the balance, `held` to what is on hold; `balance` is the sum with it, None: not asked."""

    entry_id: int
    created_at: datetime
    kind: str
    amount: Decimal
    held: Decimal
    messages: int
    reference: str
    balance: Decimal | None


class MoneyPages:
    """Deferreds fail with DatabaseUnavailable or psycopg2.Error."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def _rows(self, names: str, sql: str, params: list[Any] | tuple[Any, ...] = ()) -> Deferred[list[Row]]:
        columns = names.split()
        return self._db.query(sql, params).addCallback(lambda rows: [dict(zip(columns, r, strict=True)) for r in rows])

    def held(self, customer_id: int) -> Deferred[Decimal]:
        """What is reserved now, and comes back or is spent."""
        d = self._db.query("SELECT COALESCE(sum(held), 0) FROM tbl_ledger WHERE customer_id = %s", (customer_id,))
        return d.addCallback(lambda rows: rows[0][0])

    def spent(self, customer_id: int) -> Deferred[Decimal]:
        """Since the first of the month in the customer's zone: what messages took from the balance, less what came back."""
        d = self._db.query(
            "SELECT COALESCE(-sum(l.amount), 0) FROM tbl_ledger l JOIN customers c ON c.id = l.customer_id WHERE l.customer_id = %s"
            " AND l.kind IN ('RESERVE', 'CAPTURE', 'RELEASE')"
            " AND l.created_at >= date_trunc('month', now() AT TIME ZONE c.timezone) AT TIME ZONE c.timezone",
            (customer_id,),
        )
        return d.addCallback(lambda rows: rows[0][0])

    def entries(self, customer_id: int, *, kind: str | None = None, since: datetime | None = None, until: datetime | None = None,
                before: tuple[datetime, int] | None = None, most: int = 50) -> Deferred[list[Line]]:  # fmt: skip
        """The newest first, those before a place (created_at, entry_id); one more where there are more.

        The balance after each is counted back from the one of now, so that a page costs what is newer than it; of one kind it is left out,
        for a few of that kind may lie far apart.
        """
        conditions: list[str] = ["customer_id = %s"]
        params: list[Any] = [customer_id]
        for value, condition in ((kind, "kind = %s"), (since, "created_at >= %s"), (until, "created_at < %s")):
            if value is not None:
                conditions.append(condition)
                params.append(value)
        if before is not None:
            conditions.append("(created_at, entry_id) < (%s, %s)")
            params += before
        columns = "entry_id, created_at, kind, amount, held, messages, reference" + (", NULL" if kind is not None else "")
        newest_first = "ORDER BY created_at DESC, entry_id DESC"
        page = f"SELECT {columns} FROM tbl_ledger WHERE {' AND '.join(conditions)} {newest_first} LIMIT %s"  # noqa: S608
        params.append(most + 1)
        if kind is not None:
            return self._db.query(page, params).addCallback(lambda rows: [Line(*r) for r in rows])
        sql = f"""WITH page AS MATERIALIZED ({page}),
            top AS (SELECT created_at, entry_id FROM page {newest_first} LIMIT 1),
            within AS (
                SELECT l.entry_id, sum(l.amount) OVER (ORDER BY l.created_at DESC, l.entry_id DESC ROWS UNBOUNDED PRECEDING) - l.amount AS a
                FROM tbl_ledger l, top WHERE l.customer_id = %s AND l.created_at >= (SELECT min(created_at) FROM page)
                  AND (l.created_at, l.entry_id) <= (top.created_at, top.entry_id)),
            newer AS (
                SELECT COALESCE(sum(l.amount), 0) AS a FROM tbl_ledger l, top
                WHERE l.customer_id = %s AND l.created_at >= top.created_at AND (l.created_at, l.entry_id) > (top.created_at, top.entry_id))
            SELECT p.entry_id, p.created_at, p.kind, p.amount, p.held, p.messages, p.reference, c.balance - n.a - w.a
            FROM page p JOIN within w ON w.entry_id = p.entry_id, newer n, customers c WHERE c.id = %s
            ORDER BY p.created_at DESC, p.entry_id DESC"""  # noqa: S608
        return self._db.query(sql, [*params, *[customer_id] * 3]).addCallback(lambda rows: [Line(*r) for r in rows])

    def lately(self, customer_id: int, amount: Decimal, reference: str, minutes: int = 10) -> Deferred[int]:
        """How often the same top-up was booked a moment ago."""
        d = self._db.query(
            "SELECT count(*) FROM tbl_ledger WHERE customer_id = %s AND created_at > now() - make_interval(mins => %s)"
            " AND kind IN ('TOPUP', 'ADJUST') AND amount = %s AND reference = %s",
            (customer_id, minutes, amount, reference),
        )
        return d.addCallback(lambda rows: int(rows[0][0]))

    # --- rate decks

    def deck(self, customer_id: int | None, currency: str, *, number: str = "", after: tuple[str, str, str] | None = None,
             most: int = 50) -> Deferred[list[DeckEntry]]:  # fmt: skip
        """Of a customer's deck, or of the default one of a currency, by network and prefix; one more where there are more.

        number: digits; entries whose prefix they begin with, or that begin with them, and networks that begin with them.
        after: mccmnc, prefix, and valid_from as PostgreSQL writes it.
        """
        conditions, params = ["COALESCE(r.customer_id, 0) = %s", "r.currency = %s"], [customer_id or 0, "" if customer_id else currency]
        if number:
            prefix = "r.prefix <> '' AND (starts_with(r.prefix, %s) OR starts_with(%s, r.prefix))"
            conditions.append(f"(starts_with(r.mccmnc, %s) OR ({prefix}))")
            params += [number] * 3
        if after is not None:
            conditions.append("(r.mccmnc, r.prefix, r.valid_from) > (%s, %s, %s::timestamptz)")
            params += after
        d = self._db.query(
            "SELECT r.rate_id, r.mccmnc, r.prefix, r.price, NULLIF(r.valid_from, '-infinity'),"
            " CASE WHEN r.valid_from > now() THEN 'LATER' WHEN EXISTS (SELECT 1 FROM tbl_rates o WHERE COALESCE(o.customer_id, 0) ="
            " COALESCE(r.customer_id, 0) AND o.currency = r.currency AND o.mccmnc = r.mccmnc AND o.prefix = r.prefix"
            " AND o.valid_from > r.valid_from AND o.valid_from <= now()) THEN 'BEFORE' WHEN r.price IS NULL THEN 'ENDED' ELSE 'NOW' END"
            f" FROM tbl_rates r WHERE {' AND '.join(conditions)} ORDER BY r.mccmnc, r.prefix, r.valid_from LIMIT %s",
            [*params, most + 1],
        )
        return d.addCallback(lambda rows: [DeckEntry(*r) for r in rows])

    def removed(self, rate_id: int, customer_id: int | None, actor_id: int) -> Deferred[Removed | None]:
        """An entry (mccmnc, prefix, price, valid_from) that this actor took out of this deck within the last hour, as the audit has it."""
        d = self._db.query(
            "SELECT b ->> 'mccmnc', b ->> 'prefix', (b ->> 'price')::numeric, NULLIF((b ->> 'valid_from')::timestamptz, '-infinity')"
            " FROM (SELECT details -> 'before' AS b FROM tbl_permission_audit WHERE created_at > now() - interval '1 hour'"
            " AND action = 'RATE_REMOVE' AND actor_id = %s AND details ->> 'rate_id' = %s ORDER BY created_at DESC LIMIT 1) a"
            " WHERE b ->> 'customer_id' IS NOT DISTINCT FROM %s::bigint::text"
            " AND NOT EXISTS (SELECT 1 FROM tbl_rates r WHERE COALESCE(r.customer_id, 0) = COALESCE(%s, 0)"
            " AND r.currency = b ->> 'currency' AND r.mccmnc = b ->> 'mccmnc'"
            " AND r.prefix = b ->> 'prefix' AND r.valid_from = (b ->> 'valid_from')::timestamptz)",
            (actor_id, str(rate_id), customer_id, customer_id),
        )
        return d.addCallback(lambda rows: rows[0] if rows else None)

    def currencies(self) -> Deferred[list[str]]:
        """Of default decks, and of customers."""
        d = self._db.query(
            "SELECT currency FROM (SELECT DISTINCT currency FROM customers WHERE status <> 'DELETED' UNION"
            " SELECT DISTINCT currency FROM tbl_rates WHERE customer_id IS NULL) c WHERE currency <> '' ORDER BY 1"
        )
        return d.addCallback(lambda rows: [r[0] for r in rows])

    def prices(self, customer_id: int | None, currency: str) -> Deferred[dict[tuple[str, str], Decimal | None]]:
        """What a deck says now, by (mccmnc, prefix)."""
        d = self._db.query(
            "SELECT DISTINCT ON (mccmnc, prefix) mccmnc, prefix, price FROM tbl_rates WHERE COALESCE(customer_id, 0) = %s AND currency = %s"
            " AND valid_from <= now() ORDER BY mccmnc, prefix, valid_from DESC",
            (customer_id or 0, "" if customer_id else currency),
        )
        return d.addCallback(lambda rows: {(r[0], r[1]): r[2] for r in rows})

    # --- margins

    def margins(self, by: str, since: date, until: date, *, customer_id: int | None = None, most: int = 1000) -> Deferred[list[Row]]:
        """Days of UTC, the first and the last among them; a row a currency of customers, the greatest revenue first."""
        expression = MARGIN_BY[by]
        return self._rows(
            "name currency segments revenue cost",
            f"SELECT {expression}, c.currency, sum(m.segments), sum(m.revenue), sum(m.cost) FROM tbl_margin m"
            " JOIN customers c ON c.id = m.customer_id WHERE m.day BETWEEN %s AND %s AND (%s::bigint IS NULL OR m.customer_id = %s)"
            f" GROUP BY 1, 2 ORDER BY {'1 DESC' if by == 'day' else '4 DESC, 1'}, 2 LIMIT %s",
            (since, until, customer_id, customer_id, most),
        )
