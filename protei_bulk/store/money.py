"""The ledger: what changed each balance, and whether the two agree; margins. Reads, but for the folding of old rows."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

from attrs import frozen
from twisted.internet.defer import Deferred

from protei_bulk.store.messages import Runs

KINDS = ("TOPUP", "RESERVE", "CAPTURE", "RELEASE", "ADJUST")


@frozen
class Entry:
    """`amount` is what it does to the balance, `held` to what is reserved; `balance` and `reserved` are the sums with it."""

    entry_id: int
    created_at: datetime
    kind: str
    amount: Decimal
    held: Decimal
    messages: int
    reference: str
    balance: Decimal
    reserved: Decimal


@frozen
class Difference:
    """A customer whose balance, or what is reserved, is not what the ledger says. `messages`: None where nobody has counted."""

    customer_id: int
    name: str
    balance: Decimal
    ledger: Decimal
    reserved: Decimal
    messages: Decimal | None


@frozen
class Margin:
    """Of a day (UTC): `revenue` in the customer's `currency`, `cost` in that of the settings."""

    day: date
    customer: str
    route: str
    smsc_id: str
    segments: int
    revenue: Decimal
    currency: str
    cost: Decimal


class Ledger:
    """Deferreds fail with DatabaseUnavailable or psycopg2.Error."""

    def __init__(self, db: Runs) -> None:
        self._db = db

    def entries(self, customer_id: int, *, kind: str | None = None, since: datetime | None = None, until: datetime | None = None,
                before: tuple[datetime, int] | None = None, limit: int = 50) -> Deferred[list[Entry]]:  # fmt: skip
        """Newest first, those before a place (created_at, entry_id)."""
        at, number = before or (None, None)
        return self._read(
            "SELECT * FROM ({}) e WHERE (%s::text IS NULL OR kind = %s) AND (%s::timestamptz IS NULL OR created_at >= %s)"
            " AND (%s::timestamptz IS NULL OR created_at < %s) AND (%s::timestamptz IS NULL OR (created_at, entry_id) < (%s, %s))"
            " ORDER BY created_at DESC, entry_id DESC LIMIT %s",
            (customer_id, kind, kind, since, since, until, until, at, at, number, limit),
        )

    def statement(self, customer_id: int, since: datetime | None = None, until: datetime | None = None, *, limit: int = 1_000_000
                  ) -> Deferred[list[Entry]]:  # fmt: skip
        """Oldest first."""
        return self._read(
            "SELECT * FROM ({}) e WHERE (%s::timestamptz IS NULL OR created_at >= %s) AND (%s::timestamptz IS NULL OR created_at < %s)"
            " ORDER BY created_at, entry_id LIMIT %s",
            (customer_id, since, since, until, until, limit),
        )

    def _read(self, sql: str, params: tuple[object, ...]) -> Deferred[list[Entry]]:
        running = (
            "SELECT entry_id, created_at, kind, amount, held, messages, reference,"
            " sum(amount) OVER w AS balance, sum(held) OVER w AS reserved FROM tbl_ledger WHERE customer_id = %s"
            " WINDOW w AS (ORDER BY created_at, entry_id)"
        )
        return self._db.query(sql.format(running), params).addCallback(lambda rows: [Entry(*r) for r in rows])

    def check(self, *, messages: bool = False) -> Deferred[list[Difference]]:
        """Customers whose ledger does not add up, at one moment. `messages`: and with what of them is reserved; it reads them all."""
        counted = (
            "(SELECT u.customer_id, sum(m.price) AS a FROM messages m JOIN users u ON u.id = m.user_id"
            " WHERE m.charge IN ('A', 'D') GROUP BY 1)"
        )
        none = "(SELECT NULL::bigint AS customer_id, NULL::numeric AS a)"
        d = self._db.query(
            "SELECT * FROM (SELECT c.id, c.name, c.balance, COALESCE(l.a, 0) AS ledger, COALESCE(l.h, 0) AS reserved,"
            " CASE WHEN %s THEN COALESCE(m.a, 0) END AS counted FROM customers c"
            " LEFT JOIN (SELECT customer_id, sum(amount) AS a, sum(held) AS h FROM tbl_ledger GROUP BY 1) l ON l.customer_id = c.id"
            f" LEFT JOIN {counted if messages else none} m ON m.customer_id = c.id) t"
            " WHERE balance <> ledger OR reserved < 0 OR counted <> reserved ORDER BY id",
            (messages,),
        )
        return d.addCallback(lambda rows: [Difference(*r) for r in rows])

    def margin(self, since: date, until: date) -> Deferred[list[Margin]]:
        """By day, customer, rule and SMSC, the first and the last day among them; what was captured lately follows within a second."""
        d = self._db.query(
            "SELECT m.day, c.name, m.route, m.smsc_id, m.segments, m.revenue, c.currency, m.cost FROM tbl_margin m"
            " JOIN customers c ON c.id = m.customer_id WHERE m.day BETWEEN %s AND %s ORDER BY m.day, c.name, m.route, m.smsc_id",
            (since, until),
        )
        return d.addCallback(lambda rows: [Margin(*r) for r in rows])

    def fold(self) -> Deferred[int]:
        """Whole hours that are over become one row for each customer, kind and reference; hours of usage are dropped with time."""
        return self._db.query("SELECT fold_ledger(), forget_hours()").addCallback(lambda rows: int(rows[0][0]))
