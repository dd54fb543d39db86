"""What the pages about campaigns read: one statement a question, over indexes and roll-ups only, however many messages there are."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred

from protei_bulk.store.messages import Runs
from protei_bulk.store.pages import Reach

Row = dict[str, Any]

#: what a list may be sorted by -> an expression that is never NULL, and the type of its cursor
SORTS = {
    "made": ("c.id", "bigint"), "name": ("COALESCE(c.name, '')", "text"), "recipients": ("c.total_recipients", "integer"),
    "delivered": ("c.delivered_count", "integer"), "failed": ("c.failed_count", "integer"),
}  # fmt: skip
_LIST = (
    "pk id name channel sender status reason planned daily total accepted sent delivered failed unsent created schedule started"
    " completed user_id customer_id username customer submitted_by version"
)
_LIST_SQL = """SELECT c.id, c.campaign_id, c.name, c.submission_channel, c.sender_id, c.status, c.status_reason, c.planned,
    c.day IS NOT NULL, c.total_recipients, c.accepted_total, c.sent_total, c.delivered_count,
    c.failed_count + CASE WHEN c.planned THEN c.refused_count ELSE 0 END,
    c.failed_unsent + CASE WHEN c.planned THEN c.refused_count ELSE 0 END, c.created_at, c.schedule_time, c.started_at, c.completed_at,
    c.user_id, c.customer_id, u.username, k.name, p.submitted_by, COALESCE(p.version, 0)
    FROM campaigns c JOIN users u ON u.id = c.user_id JOIN customers k ON k.id = c.customer_id
    LEFT JOIN campaign_plans p ON p.campaign_id = c.id"""
_POINTS = 90  # of a chart


@frozen
class Campaign:
    """One of them, with its counts as of now; what desk.possible() asks of a row is there too."""

    pk: int
    id: str
    name: str | None
    channel: str
    sender: str | None
    status: str
    reason: str
    planned: bool
    daily: bool
    total: int
    accepted: int
    sent: int
    delivered: int
    failed: int
    unsent: int  # of the failed, those that no SMSC ever took
    created: datetime
    schedule: datetime | None
    started: datetime | None
    completed: datetime | None
    user_id: int
    customer_id: int
    username: str
    customer: str
    submitted_by: int | None
    version: int

    @property
    def underway(self) -> int:
        """Sent, and nobody knows yet what became of them."""
        return max(0, self.sent - self.delivered - (self.failed - self.unsent))

    @property
    def waiting(self) -> int:
        return max(0, self.total - self.sent - self.unsent)

    @property
    def share(self) -> float:
        """Of the recipients, those about whom everything is known."""
        return min(1.0, (self.delivered + self.failed) / self.total) if self.total else 0.0


@frozen
class Progress:
    """A campaign as its live page shows it. Groups: (name, sent, delivered, failed), most first; reasons: (code, failed)."""

    campaign: Campaign
    per_second: float  # messages sent, over the last half minute or since it began
    smscs: list[tuple[str, int, int, int]]
    countries: list[tuple[str, int, int, int]]
    reasons: list[tuple[str, int]]
    step: int  # seconds
    times: list[tuple[float, int, int, int, int]]  # Unix time, accepted, sent, delivered, failed within a step


class CampaignPages:
    def __init__(self, db: Runs) -> None:
        self._db = db

    def page(self, reach: Reach, *, search: str = "", status: str = "", channel: str = "", sort: str = "made", ascending: bool = False,
             after: tuple[str, int] | None = None, most: int = 50) -> Deferred[list[Campaign]]:  # fmt: skip
        """One more than asked for where there are more; `after`: what it is sorted by, and pk, of the last one seen."""
        where, params = reach.where("c.user_id")
        conditions = [where]
        if search:
            conditions.append("(c.name ILIKE %s OR c.campaign_id = %s OR c.sender_id ILIKE %s)")
            like = "%" + search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
            params += [like, search, like]
        for value, column in ((status, "c.status"), (channel, "c.submission_channel")):
            if value:
                conditions.append(f"{column} = %s")
                params.append(value)
        expression, kind = SORTS[sort]
        if after is not None:
            conditions.append(f"({expression}, c.id) {'>' if ascending else '<'} (%s::{kind}, %s)")
            params += after
        way = "ASC" if ascending else "DESC"
        order = f"c.id {way}" if sort == "made" else f"{expression} {way}, c.id {way}"
        sql = f"{_LIST_SQL} WHERE {' AND '.join(conditions)} ORDER BY {order} LIMIT %s"
        return self._campaigns(sql, [*params, most + 1])

    def one(self, reach: Reach, public_id: str) -> Deferred[Campaign | None]:
        where, params = reach.where("c.user_id")
        found = self._campaigns(f"{_LIST_SQL} WHERE c.campaign_id = %s AND {where}", [public_id, *params])
        return found.addCallback(lambda rows: rows[0] if rows else None)

    def running(self, reach: Reach, most: int = 8) -> Deferred[list[Campaign]]:
        """Those that run or stand still, or go out soon; days of SMPP traffic are not among them."""
        where, params = reach.where("c.user_id")
        return self._campaigns(
            f"{_LIST_SQL} WHERE c.day IS NULL AND c.status IN ('RUNNING', 'PAUSED', 'APPROVED') AND {where}"
            " ORDER BY array_position(ARRAY['RUNNING', 'PAUSED', 'APPROVED'], c.status::text), c.id DESC LIMIT %s",
            [*params, most],
        )

    def to_approve(self, reach: Reach, besides: int, most: int = 20) -> Deferred[list[Campaign]]:
        """Those that wait for somebody else than `besides`, the longest waiting first."""
        where, params = reach.where("c.user_id")
        return self._campaigns(
            f"{_LIST_SQL} WHERE c.status = 'PENDING_APPROVAL' AND c.day IS NULL AND c.user_id <> %s"
            f" AND p.submitted_by IS DISTINCT FROM %s AND {where} ORDER BY c.id LIMIT %s",
            [besides, besides, *params, most],
        )

    def _campaigns(self, sql: str, params: list[Any]) -> Deferred[list[Campaign]]:
        return self._db.query(sql, params).addCallback(lambda rows: [Campaign(*r) for r in rows])

    def plan(self, pk: int) -> Deferred[Row]:
        """What does not change while it runs: text, who made and approved it, when it sends, what was refused."""
        names = (
            "content encoding priority callback max_tps smart defaults tags window_from window_to window_days window_zone valid_minutes"
            " submitted_at decided_at submitted_by decided_by gathering measured approval refused"
        )
        sql = """SELECT c.message_content, c.encoding, c.priority, c.dlr_callback_url, c.max_tps, p.smart, p.defaults, p.tags,
                p.window_from, p.window_to, p.window_days, p.window_zone, p.valid_minutes, p.submitted_at, p.decided_at,
                s.username, d.username,
                p.gathering, p.measured, k.campaign_approval, EXISTS (SELECT 1 FROM campaign_refusals r WHERE r.campaign_id = c.id)
            FROM campaigns c JOIN customers k ON k.id = c.customer_id LEFT JOIN campaign_plans p ON p.campaign_id = c.id
            LEFT JOIN users s ON s.id = p.submitted_by LEFT JOIN users d ON d.id = p.decided_by WHERE c.id = %s"""
        return self._db.query(sql, (pk,)).addCallback(lambda rows: dict(zip(names.split(), rows[0], strict=True)) if rows else {})

    def progress(self, pk: int) -> Deferred[Progress | None]:
        """Everything that changes while it runs, in one statement."""
        sql = f"""WITH f AS (SELECT * FROM campaign_figures WHERE campaign_id = %s),
            span AS (SELECT min(at) AS first, max(at) AS last,
                COALESCE(bool_and(at > now() - interval '15 minutes'), FALSE) AS recent FROM campaign_times WHERE campaign_id = %s),
            bin AS (SELECT first, recent, CASE WHEN recent THEN 5 ELSE (
                SELECT min(s) FROM unnest(ARRAY[60, 300, 900, 3600, 21600, 86400, 604800]) s
                WHERE s * {_POINTS} >= extract(epoch FROM last - first) OR s = 604800) END AS step FROM span),
            t AS (
                SELECT at, accepted, sent, delivered, failed FROM campaign_times, bin WHERE campaign_id = %s AND NOT recent
                UNION ALL SELECT at, accepted, sent, delivered, failed FROM tbl_pulse, bin WHERE campaign_id = %s AND recent
            ), binned AS (
                SELECT extract(epoch FROM date_bin(make_interval(secs => step), at, '2000-01-01Z'))::float8 AS at, sum(accepted) AS a,
                       sum(sent) AS s, sum(delivered) AS d, sum(failed) AS f FROM t, bin GROUP BY 1 ORDER BY 1
            )
            SELECT row_to_json(x), (SELECT sum(sent) / LEAST(30, GREATEST(5, extract(epoch FROM slot - min(at) FILTER (WHERE sent > 0))))
                    FROM tbl_pulse, date_bin('5 seconds', now(), '2000-01-01Z') slot
                    WHERE campaign_id = %s AND at >= slot - interval '30 seconds' AND at < slot GROUP BY slot),
                (SELECT json_agg(y) FROM (SELECT json_build_array(smsc_id, sum(sent), sum(delivered), sum(failed)) AS y FROM f
                    GROUP BY smsc_id ORDER BY sum(sent) DESC, sum(failed) DESC LIMIT 30) z),
                (SELECT json_agg(y) FROM (SELECT json_build_array(country, sum(sent), sum(delivered), sum(failed)) AS y FROM f
                    GROUP BY country ORDER BY sum(sent) DESC, sum(failed) DESC LIMIT 30) z),
                (SELECT json_agg(y) FROM (SELECT json_build_array(reason, sum(failed)) AS y FROM f WHERE failed > 0
                    GROUP BY reason ORDER BY sum(failed) DESC LIMIT 30) z),
                (SELECT step FROM bin), (SELECT json_agg(json_build_array(at, a, s, d, f) ORDER BY at) FROM binned)
            FROM ({_LIST_SQL} WHERE c.id = %s) x"""
        return self._db.query(_named(sql), [pk] * sql.count("%s")).addCallback(_progress)


def _named(sql: str) -> str:
    """The list's columns under the names of Campaign's fields, for row_to_json."""
    return sql.replace(") x", ") x (" + ", ".join(_LIST.split()) + ")")


def _progress(rows: list[Any]) -> Progress | None:
    if not rows:
        return None
    x, sent, smscs, countries, reasons, step, times = rows[0]
    for name in ("created", "schedule", "started", "completed"):
        x[name] = datetime.fromisoformat(x[name]) if x[name] else None
    return Progress(
        Campaign(**x), float(sent or 0), [tuple(g) for g in smscs or []], [tuple(g) for g in countries or []],
        [tuple(g) for g in reasons or []], step or 60, [tuple(t) for t in times or []],
    )  # fmt: skip
