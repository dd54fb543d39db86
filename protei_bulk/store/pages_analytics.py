"""Figures of traffic over time and by what it met, from roll-ups; see docs/decisions/traffic-figures.md."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred

from protei_bulk.store.messages import Runs
from protei_bulk.store.pages import Reach

CHANNEL, SMSC, COUNTRY, REASON = "C", "S", "N", "R"
_MOST = 100  # lines of one breakdown
_SUMS = "sum(accepted), sum(segments), sum(sent), sum(delivered), sum(failed)"


@frozen
class Sums:
    """Messages, but for `segments`. By SMSC, country and reason nothing is known of what was accepted."""

    accepted: int = 0
    segments: int = 0
    sent: int = 0
    delivered: int = 0
    failed: int = 0

    @property
    def rate(self) -> float | None:
        """Delivered, of those about which something is known."""
        return self.delivered / (self.delivered + self.failed) if self.delivered + self.failed else None

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.accepted + other.accepted, self.segments + other.segments, self.sent + other.sent,
                    self.delivered + other.delivered, self.failed + other.failed)  # fmt: skip


class Analytics:
    """Days are each account's own; both ends are within."""

    def __init__(self, db: Runs) -> None:
        self._db = db

    def days(self, reach: Reach, first: date, last: date) -> Deferred[dict[date, Sums]]:
        where, params = reach.where("user_id")
        return self._sums(
            f"SELECT day, {_SUMS} FROM tbl_traffic_days WHERE dim = 'C' AND day BETWEEN %s AND %s AND {where} GROUP BY 1 ORDER BY 1",
            [first, last, *params],
        )

    def hours(self, reach: Reach, since: datetime, until: datetime) -> Deferred[dict[datetime, Sums]]:
        """Of the last 35 days."""
        where, params = reach.where("user_id")
        return self._sums(
            f"SELECT at, {_SUMS} FROM tbl_traffic_hours WHERE dim = 'C' AND at >= %s AND at < %s AND {where} GROUP BY 1 ORDER BY 1",
            [since, until, *params],
        )

    def by(self, reach: Reach, first: date, last: date) -> Deferred[dict[str, list[tuple[str, Sums]]]]:
        """For each of CHANNEL, SMSC, COUNTRY and REASON, its values with most first."""
        where, params = reach.where("user_id")
        sql = f"""SELECT * FROM (
                SELECT x.*, row_number() OVER (PARTITION BY dim ORDER BY s + f DESC, a DESC) AS place FROM (
                    SELECT dim, value, sum(accepted) AS a, sum(segments) AS g, sum(sent) AS s, sum(delivered) AS d, sum(failed) AS f
                    FROM tbl_traffic_days WHERE dim IN ('C', 'S', 'N', 'R') AND day BETWEEN %s AND %s AND {where} GROUP BY 1, 2) x
            ) y WHERE place <= {_MOST} ORDER BY dim, place"""  # noqa: S608

        def sorted_out(rows: list[Any]) -> dict[str, list[tuple[str, Sums]]]:
            found: dict[str, list[tuple[str, Sums]]] = {CHANNEL: [], SMSC: [], COUNTRY: [], REASON: []}
            for dim, value, *sums, _ in rows:
                found[dim].append((value, Sums(*(int(s) for s in sums))))
            return found

        return self._db.query(sql, [first, last, *params]).addCallback(sorted_out)

    def users(self, reach: Reach, first: date, last: date) -> Deferred[dict[tuple[str, str], Sums]]:
        """By (account, customer), most first."""
        where, params = reach.where("t.user_id")
        sql = f"""SELECT u.username, k.name, x.* FROM (
                SELECT user_id, {_SUMS} FROM tbl_traffic_days t WHERE dim = 'C' AND day BETWEEN %s AND %s AND {where}
                GROUP BY 1 ORDER BY 2 DESC LIMIT {_MOST}
            ) x JOIN users u ON u.id = x.user_id JOIN customers k ON k.id = u.customer_id"""  # noqa: S608
        d = self._db.query(sql, [first, last, *params])
        return d.addCallback(lambda rows: {(r[0], r[1]): Sums(*(int(s) for s in r[3:])) for r in rows})

    def _sums(self, sql: str, params: list[Any]) -> Deferred[dict[Any, Sums]]:
        return self._db.query(sql, params).addCallback(lambda rows: {r[0]: Sums(*(int(s) for s in r[1:])) for r in rows})
