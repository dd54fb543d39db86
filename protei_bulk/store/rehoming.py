"""Messages in the queue table whose SMSC cannot take them: found, claimed, given to another; and how each node sees its SMSCs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import orjson
from attrs import frozen
from twisted.internet.defer import Deferred

from protei_bulk.model import lifecycle
from protei_bulk.model.message import Message
from protei_bulk.store.claims import undo_claim
from protei_bulk.store.messages import _COLUMNS, WIDTH, Row, Runs, message_from_row

ANEW = "*"  # stands for the SMSC of what waits to be routed once more: no SMSC is called so
_ALIVE = "10 seconds"  # since the last heartbeat of a node
_CONFIGURED = "1 hour"  # after which the SMSCs of a node that is gone are nobody's


@frozen
class Window:
    """A stretch of one SMSC's queue that was looked at: how many rows, the last of them, and those that were claimed."""

    seen: int
    last: str
    messages: tuple[Message, ...]


@frozen
class SmscState:
    """How one node sees one SMSC. `age`: seconds since it wrote that; `since`: Unix seconds."""

    node: int
    smsc: str
    state: str
    since: float
    delivered: float
    finished: float
    age: float
    alive: bool  # the node


def best_state(states: Sequence[SmscState], smsc: str) -> SmscState | None:
    """How the node that has it best sees an SMSC, of those that live; None where none has said."""
    order = ("BOUND", "PROBING", "DEGRADED", "PAUSED", "DOWN")
    return min((s for s in states if s.smsc == smsc and s.alive), key=lambda s: order.index(s.state), default=None)


class RehomingStore:
    """Deferreds fail with DatabaseUnavailable or psycopg2.Error."""

    def __init__(self, db: Runs, node: int) -> None:
        self._db, self._node = db, node
        self._marks = 0

    # --- the queue

    def queued(self) -> Deferred[list[str]]:
        """SMSCs for which something is due."""
        return self._db.query("SELECT queued_smscs()").addCallback(lambda rows: [r[0] for r in rows])

    def ripen(self, smsc: str, most: int) -> Deferred[Any]:
        """What has become due is found by `claim`."""
        return self._db.query("SELECT ripen_queue(%s, %s)", (smsc, most))

    def claim(self, smsc: str, priority: int, after: str, most: int, rules: Sequence[str] | None) -> Deferred[Window]:
        """Looks at so many rows behind an id, and claims those of these rules (None: all). A claim whose answer is lost is undone."""
        self._marks = mark = max(self._marks + 1, time.time_ns() // 1000)
        d = self._db.query(
            "WITH seen AS MATERIALIZED (SELECT message_id FROM tbl_message_queue WHERE smsc_id = %s AND claimed_by IS NULL AND ready"
            " AND priority = %s AND message_id > %s ORDER BY message_id LIMIT %s),"
            " next AS (SELECT q.message_id FROM seen JOIN tbl_message_queue q ON q.message_id = seen.message_id"
            " JOIN messages m ON m.message_id = q.message_id"
            " WHERE q.claimed_by IS NULL AND q.smsc_id = %s AND (%s::text[] IS NULL OR COALESCE(m.route, '') = ANY (%s))"
            " FOR UPDATE OF q SKIP LOCKED),"
            " mine AS (UPDATE tbl_message_queue q SET claimed_by = %s, claimed_at = 'epoch'::timestamptz + %s * interval '1 microsecond'"
            " FROM next WHERE q.message_id = next.message_id"
            " RETURNING q.message_id, q.attempts, q.in_doubt, q.refusals, q.expires_at)"
            f" SELECT w.n, w.last, c.* FROM (SELECT count(*) AS n, COALESCE(max(message_id), '') AS last FROM seen) w LEFT JOIN ("
            f"SELECT {_COLUMNS}, mine.attempts, mine.in_doubt, mine.refusals, COALESCE(extract(epoch FROM mine.expires_at)::float8, 0)"
            " FROM mine JOIN messages m ON m.message_id = mine.message_id) c ON TRUE ORDER BY 3",
            (smsc, priority, after, most, smsc, rules, rules, self._node, mark),
        )

        def read(rows: list[tuple[Any, ...]]) -> Window:
            messages, over = [], []
            for _, _, *row in rows:
                if row[0] is None:
                    continue
                if row[22] in lifecycle.FINAL:
                    over.append(row[0])
                    continue
                m = message_from_row(tuple(row))
                m.attempts, m.in_doubt, m.queued, m.refusals = row[WIDTH], row[WIDTH + 1], True, row[WIDTH + 2]
                m.valid_until = m.valid_until or row[WIDTH + 3]
                if smsc != ANEW:
                    m.smsc = smsc
                messages.append(m)
            if over:
                self._db.execute("DELETE FROM tbl_message_queue WHERE message_id = ANY (%s)", (over,)).addErrback(lambda _: None)
            return Window(rows[0][0], rows[0][1], tuple(messages))

        return d.addCallbacks(read, undo_claim, errbackArgs=(self._db, self._node, mark))

    def move(self, rows: Sequence[Row]) -> Deferred[Any]:
        """Claimed rows go to other queues: see move_queued() in the schema. The same call twice does no harm."""
        return self._db.query("SELECT move_queued(%s::json, %s)", (orjson.dumps(list(rows)).decode(), self._node))

    def age(self, before: str, hours: int, most: int) -> Deferred[int]:
        """What has waited longer than `hours` without being tried has expired; how many rows that are."""
        return self._db.query("SELECT age_queue(%s, %s, %s)", (before, hours, most)).addCallback(lambda rows: int(rows[0][0]))

    # --- what nodes know of their SMSCs

    def report(self, rows: Sequence[Row]) -> Deferred[int]:
        """Writes how this node sees its SMSCs, all of them: [{q smsc, z state, w since, d delivered, f finished}]."""
        return self._db.execute(
            "WITH x AS (SELECT * FROM json_to_recordset(%s::json) AS x (q TEXT, z TEXT, w DOUBLE PRECISION, d DOUBLE PRECISION,"
            " f DOUBLE PRECISION)), gone AS (DELETE FROM tbl_smsc_states WHERE node_id = %s AND smsc_id NOT IN (SELECT q FROM x))"
            " INSERT INTO tbl_smsc_states (node_id, smsc_id, state, since, delivered, finished)"
            " SELECT %s, q, z, to_timestamp(w), d, f FROM x ON CONFLICT (node_id, smsc_id) DO UPDATE SET state = EXCLUDED.state,"
            " since = EXCLUDED.since, delivered = EXCLUDED.delivered, finished = EXCLUDED.finished, updated_at = now()",
            (orjson.dumps(list(rows)).decode(), self._node, self._node),
        )

    def states(self) -> Deferred[list[SmscState]]:
        """Of all nodes that were there within the last hour."""
        d = self._db.query(
            "SELECT s.node_id, s.smsc_id, s.state, extract(epoch FROM s.since)::float8, s.delivered, s.finished,"
            " extract(epoch FROM now() - s.updated_at)::float8, n.heartbeat_at > now() - %s::interval"
            " FROM tbl_smsc_states s JOIN tbl_nodes n ON n.node_id = s.node_id"
            " WHERE n.heartbeat_at > now() - %s::interval OR n.node_id = %s ORDER BY 2, 1",
            (_ALIVE, _CONFIGURED, self._node),
        )
        return d.addCallback(lambda rows: [SmscState(*r) for r in rows])
