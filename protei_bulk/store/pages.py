"""What the portal's pages read: one statement a question, over indexes and roll-ups only, whatever is stored.

Every question is asked for somebody: `user_id` limits it to one account, `customer_id` to one customer, None to nobody.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred

from protei_bulk.store.pool import Database

Row = dict[str, Any]


@frozen
class Reach:
    """Whose things a page shows. Both None: everybody's."""

    user_id: int | None = None
    customer_id: int | None = None

    def where(self, user: str) -> tuple[str, list[Any]]:
        """A condition on a column that holds users.id."""
        if self.user_id is not None:
            return f"{user} = %s", [self.user_id]
        if self.customer_id is not None:
            return f"{user} IN (SELECT id FROM users WHERE customer_id = %s)", [self.customer_id]
        return "TRUE", []


class Pages:
    def __init__(self, db: Database) -> None:
        self._db = db

    def _rows(self, names: str, sql: str, params: list[Any] | tuple[Any, ...] = ()) -> Deferred[list[Row]]:
        columns = names.split()
        return self._db.query(sql, params).addCallback(lambda rows: [dict(zip(columns, r, strict=True)) for r in rows])

    def customer_name(self, customer_id: int) -> Deferred[str]:
        return self._db.query("SELECT name FROM customers WHERE id = %s", (customer_id,)).addCallback(lambda r: str(r[0][0]) if r else "")

    def purse(self, customer_id: int) -> Deferred[Row]:
        """Balance, credit limit and currency of a customer."""
        sql = "SELECT balance, credit_limit, currency FROM customers WHERE id = %s"
        d = self._rows("balance credit_limit currency", sql, (customer_id,))
        return d.addCallback(lambda rows: rows[0])

    def owner_of(self, message_id: str) -> Deferred[tuple[int, int] | None]:
        """(user, customer) of a message."""
        sql = "SELECT m.user_id, u.customer_id FROM messages m JOIN users u ON u.id = m.user_id WHERE m.message_id = %s"
        return self._db.query(sql, (message_id,)).addCallback(lambda rows: (rows[0][0], rows[0][1]) if rows else None)
