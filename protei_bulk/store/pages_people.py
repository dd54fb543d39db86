"""What the pages of users and customers read: lists that sort, a page at a time, and what stands beside one of them."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from protei_bulk.store.pages import Row
from protei_bulk.store.pool import Database

#: what a list sorts by -> the expression, and the type that a cursor's text is read as
USER_SORTS = {
    "name": ("lower(u.username)", "text"),
    "made": ("u.id", "bigint"),
    "login": ("COALESCE(extract(epoch FROM u.last_login_at) * 1000000, 0)::bigint", "bigint"),
    "customer": ("lower(c.name)", "text"),
}
CUSTOMER_SORTS = {
    "name": ("lower(c.name)", "text"),
    "made": ("c.id", "bigint"),
    "balance": ("c.balance", "numeric"),
}
_TODAY = """LEFT JOIN tbl_quota_usage q ON q.user_id = u.id AND q.period_type = 'DAILY' AND q.period_hour = 0
    AND q.period_date = (now() AT TIME ZONE u.timezone)::date"""


class PeoplePages:
    """`customer_id`, where it is given, is a wall. Deferreds fail with DatabaseUnavailable or psycopg2.Error."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def _rows(self, names: str, sql: str, params: list[Any] | tuple[Any, ...] = ()) -> Deferred[list[Row]]:
        columns = names.split()
        return self._db.query(sql, params).addCallback(lambda rows: [dict(zip(columns, r, strict=True)) for r in rows])

    # --- users

    def users(self, customer_id: int | None, *, search: str = "", role: str = "", status: str = "", sort: str = "name",
              falling: bool = False, after: tuple[str, int] | None = None, most: int = 50) -> Deferred[list[Row]]:  # fmt: skip
        """One more than asked for where there are more. search: in the name, whatever its case.

        `after`: the `place` and id of the last one seen; a `place` that is none of this list's sort gives nothing.
        """
        conditions, params = ["u.status <> 'DELETED'"], []
        for value, condition in ((customer_id, "u.customer_id = %s"), (role or None, "u.role = %s"), (status or None, "u.status = %s")):
            if value is not None:
                conditions.append(condition)
                params.append(value)
        if search:
            conditions.append("(position(lower(%s) IN lower(u.username)) > 0 OR position(lower(%s) IN lower(u.email)) > 0)")
            params += [search, search]
        expression, kind = USER_SORTS[sort]
        _after(conditions, params, expression, kind, "u.id", falling, after)
        way = "DESC" if falling else "ASC"
        return self._rows(
            "id username customer_id customer role status email bind_type smpp http tps daily two_factor has_key created login sent place",
            "SELECT u.id, u.username, u.customer_id, c.name, u.role, u.status, u.email, u.bind_type, u.can_use_smpp, u.can_use_http,"
            " u.max_tps, COALESCE(u.max_msg_per_day, 500000), u.two_factor_enabled, u.api_key IS NOT NULL, u.created_at, u.last_login_at,"
            f" COALESCE(q.messages_sent, 0), ({expression})::text FROM users u JOIN customers c ON c.id = u.customer_id {_TODAY}"
            f" WHERE {' AND '.join(conditions)} ORDER BY {expression} {way}, u.id {way} LIMIT %s",
            [*params, most + 1],
        )

    def user(self, user_id: int) -> Deferred[Row | None]:
        """What Account does not have, and today's figures. `secret`: whether there is a password for outbinds."""
        d = self._rows(
            "outbind_host outbind_port secret sent delivered failed month",
            "SELECT u.outbind_host, u.outbind_port, u.outbind_password IS NOT NULL, COALESCE(q.messages_sent, 0),"
            " COALESCE(q.messages_delivered, 0), COALESCE(q.messages_failed, 0), (SELECT COALESCE(sum(m.messages_sent), 0) FROM"
            " tbl_quota_usage m WHERE m.user_id = u.id AND m.period_type = 'DAILY' AND m.period_hour = 0"
            " AND m.period_date >= date_trunc('month', now() AT TIME ZONE u.timezone)::date)"
            f" FROM users u {_TODAY} WHERE u.id = %s",
            (user_id,),
        )
        return d.addCallback(lambda rows: rows[0] if rows else None)

    # --- customers

    def names(self, customer_id: int | None = None, most: int = 500) -> Deferred[list[tuple[int, str, str]]]:
        """(id, name, currency) of those that are there, by name."""
        return self._db.query(
            "SELECT id, name, currency FROM customers WHERE status <> 'DELETED' AND (%s::bigint IS NULL OR id = %s)"
            " ORDER BY lower(name), id LIMIT %s",
            (customer_id, customer_id, most),
        )

    def customers(self, *, search: str = "", status: str = "", sort: str = "name", falling: bool = False,
                  after: tuple[str, int] | None = None, most: int = 50) -> Deferred[list[Row]]:  # fmt: skip
        """As `users`. `low`: the balance has used most of the credit."""
        conditions, params = ["c.status <> 'DELETED'"], []
        if status:
            conditions.append("c.status = %s")
            params.append(status)
        if search:
            conditions.append("position(lower(%s) IN lower(c.name)) > 0")
            params.append(search)
        expression, kind = CUSTOMER_SORTS[sort]
        _after(conditions, params, expression, kind, "c.id", falling, after)
        way = "DESC" if falling else "ASC"
        return self._rows(
            "id name status balance credit_limit currency timezone created users place",
            "SELECT c.id, c.name, c.status, c.balance, c.credit_limit, c.currency, c.timezone, c.created_at,"
            " (SELECT count(*) FROM users u WHERE u.customer_id = c.id AND u.status <> 'DELETED'),"
            f" ({expression})::text FROM customers c"
            f" WHERE {' AND '.join(conditions)} ORDER BY {expression} {way}, c.id {way} LIMIT %s",
            [*params, most + 1],
        )

    def customer(self, customer_id: int) -> Deferred[Row | None]:
        """All that is set of one that is there."""
        d = self._rows(
            "id name status balance credit_limit currency timezone created charge_on weight allowed_countries blocked_countries"
            " campaign_approval default_country users",
            "SELECT id, name, status, balance, credit_limit, currency, timezone, created_at, charge_on, weight, allowed_countries,"
            " blocked_countries, campaign_approval, default_country,"
            " (SELECT count(*) FROM users u WHERE u.customer_id = c.id AND u.status <> 'DELETED')"
            " FROM customers c WHERE id = %s AND status <> 'DELETED'",
            (customer_id,),
        )
        return d.addCallback(lambda rows: rows[0] if rows else None)

    def month(self, customer_id: int) -> Deferred[Row]:
        """Usage since the first of the month, in the zones of the accounts."""
        d = self._rows(
            "sent delivered failed",
            "SELECT COALESCE(sum(q.messages_sent), 0), COALESCE(sum(q.messages_delivered), 0), COALESCE(sum(q.messages_failed), 0)"
            " FROM users u JOIN tbl_quota_usage q ON q.user_id = u.id AND q.period_type = 'DAILY' AND q.period_hour = 0"
            " AND q.period_date >= date_trunc('month', now() AT TIME ZONE u.timezone)::date WHERE u.customer_id = %s",
            (customer_id,),
        )
        return d.addCallback(lambda rows: rows[0])


def _after(conditions: list[str], params: list[Any], expression: str, kind: str, number: str, falling: bool,
           after: tuple[str, int] | None) -> None:  # fmt: skip
    if after is not None:
        place, last = after
        if kind != "text" and not _is_number(place):
            conditions.append("FALSE")
            return
        conditions.append(f"({expression}, {number}) {'<' if falling else '>'} (%s::{kind}, %s)")
        params += [place, last]


def _is_number(text: str) -> bool:
    bare = text.removeprefix("-").replace(".", "", 1)
    return bare.isascii() and bare.isdigit() and len(bare) < 19
