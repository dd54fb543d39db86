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

    def days(self, reach: Reach, days: int) -> Deferred[list[Row]]:
        """Usage a day, oldest first; days without any are missing."""
        where, params = reach.where("user_id")
        return self._rows(
            "day sent delivered failed",
            "SELECT period_date, sum(messages_sent), sum(messages_delivered), sum(messages_failed) FROM tbl_quota_usage"
            f" WHERE period_type = 'DAILY' AND period_date > current_date - %s::int AND {where} GROUP BY 1 ORDER BY 1",
            [days, *params],
        )

    def campaigns(self, reach: Reach, *, search: str = "", status: str = "", after: int = 0, most: int = 50) -> Deferred[list[Row]]:
        """The youngest first, one more than asked for where there are more; `after` is the id of the last one seen."""
        where, params = reach.where("c.user_id")
        conditions = [where]
        if search:
            conditions.append("(c.name ILIKE %s OR c.campaign_id = %s OR c.sender_id ILIKE %s)")
            like = "%" + search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
            params += [like, search, like]
        if status:
            conditions.append("c.status = %s")
            params.append(status)
        if after:
            conditions.append("c.id < %s")
            params.append(after)
        return self._rows(
            "pk id name channel sender status total sent delivered failed created schedule completed username",
            "SELECT c.id, c.campaign_id, c.name, c.submission_channel, c.sender_id, c.status, c.total_recipients, c.sent_total,"
            " c.delivered_count, c.failed_count, c.created_at, c.schedule_time, c.completed_at, u.username FROM campaigns c"
            f" JOIN users u ON u.id = c.user_id WHERE {' AND '.join(conditions)} ORDER BY c.id DESC LIMIT %s",
            [*params, most + 1],
        )

    def messages(self, reach: Reach, *, dest: str = "", message_id: str = "", status: str = "", campaign: int = 0, after: str = "",
                 most: int = 50) -> Deferred[list[Row]]:  # fmt: skip
        """The youngest first, one more than asked for where there are more; `after` is the id of the last one seen."""
        where, params = reach.where("m.user_id")
        conditions = [where]
        for value, condition in (
            (message_id, "m.message_id = %s"), (dest, "m.to_addr = %s"), (status, "m.status = %s"), (campaign, "m.campaign_id = %s"),
            (after, "m.message_id < %s"),
        ):  # fmt: skip
            if value:
                conditions.append(condition)
                params.append(value)
        return self._rows(
            "id sender dest text channel status smsc error segments price submitted delivered username",
            "SELECT m.message_id, m.from_addr, m.to_addr, left(m.message_text, 160), m.submission_channel, m.status, m.smsc_id,"
            " m.error_code, m.segments, CASE WHEN m.charge = 'R' THEN 0 ELSE m.price END, m.submitted_at, m.delivered_at, u.username"
            " FROM messages m"
            " JOIN users u ON u.id = m.user_id"
            f" WHERE {' AND '.join(conditions)} ORDER BY m.message_id DESC LIMIT %s",
            [*params, most + 1],
        )

    def campaign(self, reach: Reach, public_id: str) -> Deferred[Row | None]:
        where, params = reach.where("c.user_id")
        d = self._rows(
            "pk id name channel sender status content encoding priority total sent delivered failed unsent created schedule completed"
            " callback username",
            "SELECT c.id, c.campaign_id, c.name, c.submission_channel, c.sender_id, c.status, c.message_content, c.encoding, c.priority,"
            " c.total_recipients, c.sent_total, c.delivered_count, c.failed_count, c.failed_unsent, c.created_at, c.schedule_time,"
            " c.completed_at, c.dlr_callback_url, u.username FROM campaigns c JOIN users u ON u.id = c.user_id"
            f" WHERE c.campaign_id = %s AND {where}",
            [public_id, *params],
        )
        return d.addCallback(lambda rows: rows[0] if rows else None)

    def owner_of(self, message_id: str) -> Deferred[tuple[int, int] | None]:
        """(user, customer) of a message."""
        sql = "SELECT m.user_id, u.customer_id FROM messages m JOIN users u ON u.id = m.user_id WHERE m.message_id = %s"
        return self._db.query(sql, (message_id,)).addCallback(lambda rows: (rows[0][0], rows[0][1]) if rows else None)
