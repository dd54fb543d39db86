"""What the pages of number lists read: blacklists and opt-outs a page at a time, or what they say of one number; by indexes only."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred

from protei_bulk.store.guards import Entry
from protei_bulk.store.pool import Database

MOST = 200  # customers or accounts with guards of their own that are shown
_LISTS = "SELECT 0::bigint AS id UNION ALL SELECT id FROM customers"  # of everybody, and of each customer


@frozen
class OptedOut:
    """`sender` "": whatever the sender. `customer` is its name."""

    customer_id: int
    customer: str
    number: str
    sender: str
    source: str
    note: str
    actor: str
    at: datetime


class GuardPages:
    """`customer_id` None: of all lists. Deferreds fail with DatabaseUnavailable or psycopg2.Error."""

    def __init__(self, db: Database) -> None:
        self._db = db

    # --- blacklists

    def barred(self, customer_id: int | None, *, number: str = "", after: tuple[int, int, int] | None = None, most: int = 50
               ) -> Deferred[list[tuple[Entry, str]]]:  # fmt: skip
        """Entries with the names of their customers, by list, prefixes last, and number; one more where there are more.

        number: digits; entries that it falls under, and that begin with it as prefixes. after: (customer, is_prefix, number).
        """
        conditions: list[str] = ["b.active"]
        params: list[Any] = []
        if customer_id is not None:
            conditions.append("b.customer_id = %s")
            params.append(customer_id)
        if number:
            heads = [int(number[:n]) for n in range(1, len(number) + 1) if int(number[:n]) > 0]
            lists = "SELECT %s::bigint AS id" if customer_id is not None else _LISTS
            conditions.append(
                f"(b.customer_id, b.is_prefix, b.number) IN (SELECT l.id, x.p, x.n FROM ({lists}) l,"
                " (SELECT FALSE AS p, %s::bigint AS n UNION ALL SELECT TRUE, unnest(%s::bigint[])) x)"
            )
            params += [*([customer_id] if customer_id is not None else []), int(number), heads]
        if after is not None:
            conditions.append("(b.customer_id, b.is_prefix, b.number) > (%s, %s, %s)")
            params += [after[0], bool(after[1]), after[2]]
        d = self._db.query(
            "SELECT b.entry_id, b.customer_id, b.number::text, b.is_prefix, b.reason, b.created_at, COALESCE(c.name, '')"
            " FROM tbl_blacklist b LEFT JOIN customers c ON c.id = b.customer_id"
            f" WHERE {' AND '.join(conditions)} ORDER BY b.customer_id, b.is_prefix, b.number LIMIT %s",
            [*params, most + 1],
        )
        return d.addCallback(lambda rows: [(Entry(*r[:6]), r[6]) for r in rows])

    def removed(self, entry_id: int, customer_id: int | None) -> Deferred[Entry | None]:
        """An entry that was taken away within the last hour: what an undo puts back."""
        d = self._db.query(
            "SELECT entry_id, customer_id, number::text, is_prefix, reason, created_at FROM tbl_blacklist WHERE entry_id = %s"
            " AND NOT active AND changed_at > now() - interval '1 hour' AND (%s::bigint IS NULL OR customer_id = %s)",
            (entry_id, customer_id, customer_id),
        )
        return d.addCallback(lambda rows: Entry(*rows[0]) if rows else None)

    # --- opt-outs

    def opted_out(self, customer_id: int | None, *, number: str = "", after: tuple[int, str, int] | None = None, most: int = 50
                  ) -> Deferred[list[OptedOut]]:  # fmt: skip
        """Who is opted out now, by customer, sender and number; one more where there are more. after: (customer, sender, number)."""
        conditions: list[str] = ["k.opted_out"]
        params: list[Any] = []
        if customer_id is not None:
            conditions.append("k.customer_id = %s")
            params.append(customer_id)
        if number:
            lists = "SELECT %s::bigint AS id" if customer_id is not None else "SELECT id FROM customers"
            conditions.append(
                "(k.customer_id, k.sender, k.number) IN (SELECT DISTINCT h.customer_id, h.sender, h.number"
                f" FROM ({lists}) l JOIN tbl_opt_outs h ON h.customer_id = l.id AND h.number = %s)"
            )
            params += [*([customer_id] if customer_id is not None else []), int(number)]
        if after is not None:
            conditions.append("(k.customer_id, k.sender, k.number) > (%s, %s, %s)")
            params += after
        d = self._db.query(
            "SELECT k.customer_id, COALESCE(c.name, ''), k.number::text, k.sender, COALESCE(o.source, ''), COALESCE(o.note, ''),"
            " COALESCE(u.username, ''), k.at FROM tbl_opt_out_state k"
            " LEFT JOIN LATERAL (SELECT source, note, actor_id FROM tbl_opt_outs o WHERE o.customer_id = k.customer_id"
            " AND o.number = k.number AND o.sender = k.sender ORDER BY o.opt_out_id DESC LIMIT 1) o ON TRUE"
            " LEFT JOIN users u ON u.id = o.actor_id AND u.customer_id = k.customer_id LEFT JOIN customers c ON c.id = k.customer_id"
            f" WHERE {' AND '.join(conditions)} ORDER BY k.customer_id, k.sender, k.number LIMIT %s",
            [*params, most + 1],
        )
        return d.addCallback(lambda rows: [OptedOut(*r) for r in rows])

    def lately(self, customer_id: int, sender: str, number: int) -> Deferred[bool | None]:
        """What was recorded of a number in the portal within the last hour: out (True), in again (False); None: nothing."""
        d = self._db.query(
            "SELECT k.opted_out FROM tbl_opt_out_state k CROSS JOIN LATERAL (SELECT source FROM tbl_opt_outs o"
            " WHERE o.customer_id = k.customer_id AND o.number = k.number AND o.sender = k.sender ORDER BY o.opt_out_id DESC LIMIT 1) o"
            " WHERE k.customer_id = %s AND k.sender = %s AND k.number = %s AND o.source = 'PORTAL' AND k.at > now() - interval '1 hour'",
            (customer_id, sender, number),
        )
        return d.addCallback(lambda rows: rows[0][0] if rows else None)

    def history(self, customer_id: int, number: int, most: int = 500) -> Deferred[list[dict[str, Any]]]:
        """All that the ledger says of a number, the newest first."""
        names = ("sender", "opted_out", "source", "message_id", "actor", "note", "at")
        d = self._db.query(
            "SELECT o.sender, o.opted_out, o.source, o.message_id, COALESCE(u.username, ''), o.note, o.at FROM tbl_opt_outs o"
            " LEFT JOIN users u ON u.id = o.actor_id AND u.customer_id = o.customer_id"
            " WHERE o.customer_id = %s AND o.number = %s ORDER BY o.opt_out_id DESC LIMIT %s",
            (customer_id, number, most),
        )
        return d.addCallback(lambda rows: [dict(zip(names, r, strict=True)) for r in rows])

    # --- other guards

    def countries(self, customer_id: int | None) -> Deferred[list[dict[str, Any]]]:
        """Customers that are kept to countries, or out of some; at most MOST."""
        names = ("id", "name", "allowed", "blocked")
        d = self._db.query(
            "SELECT id, name, allowed_countries, blocked_countries FROM customers WHERE status <> 'DELETED'"
            " AND (%s::bigint IS NULL OR id = %s)"
            " AND (allowed_countries <> '[]' OR blocked_countries <> '[]') ORDER BY lower(name), id LIMIT %s",
            (customer_id, customer_id, MOST),
        )
        return d.addCallback(lambda rows: [dict(zip(names, r, strict=True)) for r in rows])

    def accounts(self, customer_id: int | None) -> Deferred[list[dict[str, Any]]]:
        """Accounts with a guard of their own; at most MOST."""
        names = ("id", "username", "customer", "duplicate_seconds", "transactional", "velocity")
        d = self._db.query(
            "SELECT u.id, u.username, c.name, u.duplicate_seconds, u.transactional, u.velocity FROM users u JOIN customers c"
            " ON c.id = u.customer_id WHERE u.status <> 'DELETED' AND (%s::bigint IS NULL OR u.customer_id = %s)"
            " AND (u.duplicate_seconds > 0 OR u.transactional OR u.velocity <> 'node') ORDER BY lower(u.username), u.id LIMIT %s",
            (customer_id, customer_id, MOST),
        )
        return d.addCallback(lambda rows: [dict(zip(names, r, strict=True)) for r in rows])
