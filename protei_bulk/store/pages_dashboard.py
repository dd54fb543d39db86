"""What the first page shows, each as one statement over roll-ups."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred

from protei_bulk.store.messages import Runs
from protei_bulk.store.pages import Reach

_DEFAULT_QUOTA = 500_000  # where the account has NULL
PULSE, SLOT = 600, 5  # seconds


@frozen
class Figures:
    """Of the reader's own quota, its customer's purse, and today's messages of all within reach."""

    quota: int  # 0: no limit
    used: int
    balance: Decimal
    credit: Decimal
    currency: str
    a_day: Decimal  # spent, on the average of a week
    accepted: int
    sent: int
    delivered: int
    failed: int

    @property
    def left(self) -> int:
        return max(0, self.quota - self.used)

    @property
    def share(self) -> float:
        return min(1.0, self.used / self.quota) if self.quota else 0.0

    @property
    def available(self) -> Decimal:
        return self.balance + self.credit

    @property
    def low(self) -> bool:
        """Not two days' worth is left, or nothing is."""
        return self.a_day > 0 and self.available < 2 * self.a_day


class DashboardReads:
    def __init__(self, db: Runs) -> None:
        self._db = db

    def figures(self, reach: Reach, user_id: int) -> Deferred[Figures]:
        where, params = reach.where("t.user_id")
        sql = f"""SELECT COALESCE(u.max_msg_per_day, {_DEFAULT_QUOTA}), COALESCE(q.messages_sent, 0), k.balance, k.credit_limit, k.currency,
                COALESCE((SELECT sum(revenue) / 7 FROM tbl_margin m WHERE m.customer_id = k.id AND m.day >= current_date - 7
                    AND m.day < current_date), 0), d.accepted, d.sent, d.delivered, d.failed
            FROM users u JOIN customers k ON k.id = u.customer_id
            LEFT JOIN tbl_quota_usage q ON q.user_id = u.id AND q.period_type = 'DAILY' AND q.period_hour = 0
                AND q.period_date = (now() AT TIME ZONE u.timezone)::date,
            (SELECT COALESCE(sum(accepted), 0) AS accepted, COALESCE(sum(sent), 0) AS sent, COALESCE(sum(delivered), 0) AS delivered,
                COALESCE(sum(failed), 0) AS failed FROM tbl_traffic_days t JOIN users o ON o.id = t.user_id
                WHERE t.dim = 'C' AND t.day >= current_date - 1 AND t.day = (now() AT TIME ZONE o.timezone)::date AND {where}) d
            WHERE u.id = %s"""  # noqa: S608
        return self._db.query(sql, [*params, user_id]).addCallback(lambda rows: Figures(*rows[0]))

    def days(self, reach: Reach, days: int) -> Deferred[list[tuple[Any, int, int, int]]]:
        """(day, sent, delivered, failed), oldest first; days without any are missing."""
        where, params = reach.where("user_id")
        return self._db.query(
            "SELECT day, sum(sent), sum(delivered), sum(failed) FROM tbl_traffic_days"  # noqa: S608
            f" WHERE dim = 'C' AND day > current_date - %s::int AND {where} GROUP BY 1 ORDER BY 1",
            [days, *params],
        )

    def pulse(self, reach: Reach) -> Deferred[tuple[int, list[tuple[int, int, int, int]]]]:
        """Unix time of the newest slot that is over; and (slot, accepted, sent, delivered) of those with any in the last PULSE seconds."""
        where, params = reach.where("user_id")
        slot = f"'{SLOT} seconds'"
        sql = f"""SELECT extract(epoch FROM date_bin({slot}, now() - interval {slot}, '2000-01-01Z'))::bigint, (
            SELECT json_agg(json_build_array(at, a, s, d) ORDER BY at) FROM (
                SELECT extract(epoch FROM at)::bigint AS at, sum(accepted) AS a, sum(sent) AS s, sum(delivered) AS d FROM tbl_pulse
                WHERE at > now() - make_interval(secs => {PULSE} + 2 * {SLOT}) AND at < date_bin({slot}, now(), '2000-01-01Z') AND {where}
                GROUP BY 1) x)"""  # noqa: S608
        return self._db.query(sql, params).addCallback(lambda rows: (rows[0][0], [tuple(x) for x in rows[0][1] or []]))
