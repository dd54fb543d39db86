"""Rate decks in the database. Every change leaves its row in tbl_permission_audit, in the same statement."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson
from attrs import frozen
from twisted.internet.defer import Deferred

from protei_bulk.access.ports import Actor
from protei_bulk.routing.decks import Rate
from protei_bulk.store.changes import AUDIT, audited
from protei_bulk.store.messages import Runs

_PAGE = 20_000  # rows at a time: the reactor turns between two pages


@frozen
class RateRow:
    """`customer_id` None: of the default deck, in `currency`. `price` None: not in the deck from then on. `valid_from` None: from ever."""

    rate_id: int
    customer_id: int | None
    currency: str
    mccmnc: str
    prefix: str
    price: Decimal | None
    valid_from: datetime | None


class RateRows:
    """Deferreds fail with DatabaseUnavailable or psycopg2.Error where nothing else is said. What comes in has been checked."""

    def __init__(self, db: Runs) -> None:
        self._db = db

    def rates(self, customer_id: int | None) -> Deferred[list[tuple[int, str, Rate]]]:
        """(customer or 0, currency, entry) of one deck; 0 the default ones, None all."""
        return Deferred.fromCoroutine(self._rates(customer_id))

    async def _rates(self, customer_id: int | None) -> list[tuple[int, str, Rate]]:
        found: list[tuple[int, str, Rate]] = []
        after = 0
        while True:
            rows = await self._db.query(
                "SELECT rate_id, COALESCE(customer_id, 0), currency, mccmnc, prefix, price,"
                " COALESCE(extract(epoch FROM NULLIF(valid_from, '-infinity'))::float8, '-infinity') FROM tbl_rates"
                " WHERE rate_id > %s AND (%s::bigint IS NULL OR COALESCE(customer_id, 0) = %s) ORDER BY rate_id LIMIT %s",
                (after, customer_id, customer_id, _PAGE),
            )
            found += [(r[1], r[2], Rate(r[3], r[4], r[5], r[6])) for r in rows]
            if len(rows) < _PAGE:
                return found
            after = rows[-1][0]

    def list(self, customer_id: int | None, *, after: int = 0, limit: int = 1_000_000) -> Deferred[list[RateRow]]:
        """Of one deck, by number; None: the default ones."""
        d = self._db.query(
            "SELECT rate_id, customer_id, currency, mccmnc, prefix, price, NULLIF(valid_from, '-infinity') FROM tbl_rates"
            " WHERE COALESCE(customer_id, 0) = %s AND rate_id > %s ORDER BY rate_id LIMIT %s",
            (customer_id or 0, after, limit),
        )
        return d.addCallback(lambda rows: [RateRow(*r) for r in rows])

    def put(self, customer_id: int | None, currency: str, rows: Sequence[tuple[str, str, Decimal | None, datetime | None]], *,
            whole: bool = False, since: datetime | None = None, actor: Actor) -> Deferred[int]:  # fmt: skip
        """Sets entries (mccmnc, prefix, price, valid_from); one of the same and time is replaced. Fires with how many there are.

        `currency` is of the default deck only. `whole`: the rows are all that the deck has from `since` on (None: from ever); what
        else it has ends then.
        """
        given = orjson.dumps([
            {"m": m, "p": p, "c": None if price is None else str(price), "v": None if v is None else v.isoformat()}
            for m, p, price, v in rows
        ]).decode()  # fmt: skip
        sql = f"""WITH given AS (
                SELECT x.m, x.p, x.c, COALESCE(x.v, '-infinity') AS v
                FROM json_to_recordset(%s::json) AS x (m TEXT, p TEXT, c NUMERIC, v TIMESTAMPTZ)),
            ended AS (
                SELECT DISTINCT r.mccmnc AS m, r.prefix AS p, NULL::numeric AS c, COALESCE(%s::timestamptz, '-infinity') AS v
                FROM tbl_rates r
                WHERE %s AND r.customer_id IS NOT DISTINCT FROM %s AND r.currency = %s AND r.price IS NOT NULL
                  AND NOT EXISTS (SELECT 1 FROM given g WHERE g.m = r.mccmnc AND g.p = r.prefix)),
            put AS (
                INSERT INTO tbl_rates (customer_id, currency, mccmnc, prefix, price, valid_from)
                SELECT %s, %s, m, p, c, v FROM (SELECT * FROM given UNION ALL SELECT * FROM ended) e
                ON CONFLICT (COALESCE(customer_id, 0), currency, mccmnc, prefix, valid_from) DO UPDATE SET price = EXCLUDED.price
                RETURNING rate_id),
            changed AS (SELECT count(*) AS n FROM put),
            audit AS ({AUDIT.format(user="NULL::bigint", more="")}) SELECT n FROM changed"""  # noqa: S608
        details: dict[str, Any] = {"customer_id": customer_id, "currency": currency, "entries": len(rows), "whole": whole}
        if len(rows) <= 20:
            details["rates"] = [[m, p, None if c is None else str(c), v] for m, p, c, v in rows]
        params = (given, since, whole, customer_id, currency, customer_id, currency, *audited(actor, "RATES_SET", details))
        return self._db.query(sql, params).addCallback(lambda found: int(found[0][0]))

    def remove(self, rate_id: int, *, customer_id: int | None = None, actor: Actor) -> Deferred[bool]:
        """False where there is none of this number, or it is not of this customer's deck."""
        sql = f"""WITH changed AS (DELETE FROM tbl_rates r WHERE rate_id = %s AND (%s::bigint IS NULL OR customer_id = %s)
                RETURNING to_jsonb(r) AS before),
            audit AS ({AUDIT.format(user="NULL::bigint", more="|| jsonb_build_object('before', before)")})
            SELECT 1 FROM changed"""  # noqa: S608
        params = [rate_id, customer_id, customer_id, *audited(actor, "RATE_REMOVE", {"rate_id": rate_id})]
        return self._db.query(sql, params).addCallback(bool)
