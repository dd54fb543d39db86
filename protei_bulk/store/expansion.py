"""What the campaign engine reads and writes: campaigns that run, their blocks of recipients, what is held for paused ones."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import time
from typing import Any

import orjson
from attrs import frozen
from twisted.internet.defer import Deferred

from protei_bulk.store.messages import Runs


@frozen
class Plan:
    """A campaign that runs, to be expanded. `max_tps`: segments a second, 0 without limit. `valid_minutes` 0: as the node has it."""

    id: int
    public_id: str
    user_id: int
    channel: str
    sender: str
    text: str
    encoding: str
    smart: bool
    defaults: dict[str, str]
    tags: tuple[str, ...]
    priority: str
    dlr_url: str | None
    max_tps: int
    window_from: time | None
    window_to: time | None
    window_days: tuple[int, ...]
    window_zone: str
    valid_minutes: int


@frozen
class Progress:
    """Of a campaign that runs, by the counters of a moment ago."""

    id: int
    accepted: int
    gone: int  # sent, or ended before it was
    max_tps: int


@frozen
class Block:
    """`recipients`: [[number, {variables}] or [number], ...]. `since`: some of it may be stored, none under a smaller id."""

    number: int
    country: str
    since: str | None
    recipients: list[list[Any]]


_PLAN = """SELECT c.id, c.campaign_id, c.user_id, c.submission_channel, COALESCE(c.sender_id, ''), COALESCE(c.message_content, ''),
    COALESCE(c.encoding, 'AUTO'), p.smart, p.defaults, p.tags, c.priority, c.dlr_callback_url, c.max_tps,
    p.window_from, p.window_to, p.window_days, p.window_zone, p.valid_minutes
    FROM campaigns c JOIN campaign_plans p ON p.campaign_id = c.id WHERE c.planned AND c.status = 'RUNNING'"""


def _plan(row: Sequence[Any]) -> Plan:
    values = list(row)
    values[9], values[15] = tuple(row[9] or ()), tuple(row[15] or ())
    return Plan(*values)


class Expansion:
    """Deferreds fail with DatabaseUnavailable or psycopg2.Error. A call that was lost can be made again."""

    def __init__(self, db: Runs, node: int, epoch: int) -> None:
        self._db, self._node, self._epoch = db, node, epoch

    # --- each second

    def lead(self) -> Deferred[bool]:
        """Whether this node is the one that expands. PB001: its life is over."""
        return self._db.query("SELECT lead_campaigns(%s, %s)", (self._node, self._epoch)).addCallback(lambda rows: bool(rows[0][0]))

    def stopped(self) -> Deferred[frozenset[int]]:
        """Campaigns of which nothing may go out."""
        d = self._db.query("SELECT id FROM campaigns WHERE status = 'PAUSED' OR draining")
        return d.addCallback(lambda rows: frozenset(r[0] for r in rows))

    def due(self) -> Deferred[Any]:
        """Those whose time has come run; those that waited for another day's quota go on once there is some; what is complete is so."""
        return self._db.query(
            "UPDATE campaigns SET status = 'RUNNING', started_at = COALESCE(started_at, now()), status_at = now(), status_reason = ''"
            " WHERE planned AND status = 'APPROVED' AND (schedule_time IS NULL OR schedule_time <= now());"
            "UPDATE campaigns SET status = 'RUNNING', status_at = now(), status_reason = '' WHERE planned AND status = 'PAUSED'"
            " AND status_reason = 'QUOTA_EXCEEDED' AND status_at < now() - interval '5 seconds' AND quota_for_campaign(id);"
            "SELECT complete_campaigns()"
        )

    def running(self, known: Collection[int]) -> Deferred[list[Plan]]:
        """Plans of campaigns that run, but for those that are known."""
        d = self._db.query(_PLAN + " AND c.id <> ALL (%s::bigint[]) ORDER BY c.id", (list(known),))
        return d.addCallback(lambda rows: [_plan(r) for r in rows])

    def progress(self, campaigns: Collection[int]) -> Deferred[list[Progress]]:
        """Of those of these that still run."""
        d = self._db.query(
            "SELECT id, accepted_total, sent_total + failed_unsent, max_tps FROM campaigns"
            " WHERE id = ANY (%s::bigint[]) AND status = 'RUNNING'",
            (list(campaigns),),
        )
        return d.addCallback(lambda rows: [Progress(*r) for r in rows])

    # --- blocks

    def countries(self, campaign: int) -> Deferred[list[str]]:
        """Of blocks that are not done."""
        d = self._db.query("SELECT DISTINCT country FROM campaign_blocks WHERE campaign_id = %s AND state <> 'D'", (campaign,))
        return d.addCallback(lambda rows: [r[0] for r in rows])

    def take(self, campaign: int, country: str, held: Collection[int], since: str, most: int) -> Deferred[list[Block]]:
        """The next blocks of a country, but for those in hand. What is taken up now has no smaller id than `since`."""
        d = self._db.query(
            "WITH next AS (SELECT block, since FROM campaign_blocks WHERE campaign_id = %s AND state <> 'D' AND country = %s"
            " AND block <> ALL (%s::int[]) ORDER BY block LIMIT %s FOR UPDATE)"
            " UPDATE campaign_blocks b SET state = 'T', since = COALESCE(b.since, %s) FROM next n"
            " WHERE b.campaign_id = %s AND b.block = n.block"
            " RETURNING b.block, b.country, n.since, b.recipients",
            (campaign, country, list(held), most, since, campaign),
        )
        return d.addCallback(lambda rows: [Block(r[0], r[1], r[2], orjson.loads(r[3])) for r in sorted(rows)])

    def stored(self, campaign: int, since: str) -> Deferred[set[str]]:
        """Numbers that have a message of this campaign already."""
        d = self._db.query("SELECT to_addr FROM messages WHERE campaign_id = %s AND message_id >= %s"
            " AND error_code IS DISTINCT FROM 'NOTSTORED'",  # disowned
            (campaign, since),
        )
        return d.addCallback(lambda rows: {r[0] for r in rows})

    def finish(self, campaign: int, blocks: list[tuple[int, list[dict[str, str]]]]) -> Deferred[Any]:
        """Blocks are done; `blocks` holds (number, refused), and refused {t number, c code, d detail}."""
        sql = ";".join("SELECT finish_block(%s, %s, %s::json)" for _ in blocks)
        values: list[Any] = []
        for number, refused in blocks:
            values += [campaign, number, orjson.dumps(refused).decode() if refused else None]
        return self._db.query(sql, tuple(values))

    def give_back(self, campaign: int, number: int, rest: list[list[Any]], refused: list[dict[str, str]]) -> Deferred[Any]:
        """What is left of a block waits; everything else of it is stored or refused."""
        return self._db.query(
            "SELECT give_back_block(%s, %s, %s, %s, %s::json)",
            (campaign, number, orjson.dumps(rest).decode(), len(rest), orjson.dumps(refused).decode() if refused else None),
        )

    # --- states

    def pause(self, campaign: int, reason: str) -> Deferred[Any]:
        """The engine cannot go on with it."""
        return self._db.query(
            "UPDATE campaigns SET status = 'PAUSED', status_at = now(), status_reason = %s WHERE id = %s AND status = 'RUNNING'",
            (reason, campaign),
        )

    # --- what is held

    def hold_queued(self) -> Deferred[bool]:
        """A stretch of what waits in the queue for campaigns that are stopped is held. Whether there is more."""
        return self._db.query("SELECT hold_queued(5000)").addCallback(lambda rows: bool(rows[0][0]))

    def release(self) -> Deferred[list[str]]:
        """Some of what was held for campaigns that go on is due: the SMSCs that it waits for. None is left where there are none."""
        return self._db.query("SELECT release_held(5000)").addCallback(lambda rows: list(rows[0][0] or ()))

    def draining(self, busy: Collection[int]) -> Deferred[list[int]]:
        """Cancelled campaigns of which messages may still wait; those are left out of which none does. `busy`: still being expanded."""
        d = self._db.query("SELECT drained_campaigns(%s::bigint[])", (list(busy),))
        return d.addCallback(lambda rows: list(rows[0][0] or ()))

    def forget(self, messages_days: int) -> Deferred[Any]:
        """Recipients of campaigns that are over."""
        return self._db.query("SELECT forget_campaigns(%s)", (messages_days,))
