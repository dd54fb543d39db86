"""tbl_smpp_sessions: who is bound where. Counters come in batches from the SMPP server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import orjson
from attrs import frozen
from twisted.internet.defer import Deferred, succeed

from protei_bulk.access.ports import NOBODY, Actor
from protei_bulk.store.changes import AUDIT, audited

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from protei_bulk.store.pool import Database

CHANNEL = "protei_sessions"
#: seconds without a heartbeat (there is one a second) after which a node's sessions are over, and keep nobody out
ALIVE_SECONDS = 15
#: what the audit keeps of the messages that came over a session; those themselves are in `messages`
_SESSION_END = """INSERT INTO tbl_permission_audit (user_id, actor_id, action, result, ip_address, details)
    SELECT user_id, user_id, 'SESSION_END', 'SUCCESS', remote_ip, jsonb_build_object('session_id', session_id,
        'system_id', system_id, 'bind_type', bind_type, 'messages_sent', messages_sent,
        'messages_received', messages_received, 'seconds', round(extract(epoch FROM now() - bound_at)))
    FROM changed"""


@frozen
class SmppSessionRow:
    """current_tps in segments a second; times are aware."""

    session_id: int
    user_id: int
    username: str
    customer_id: int
    system_id: str
    bind_type: str
    remote_ip: str | None
    remote_port: int | None
    session_token: str
    status: str
    node_id: int
    current_tps: Decimal
    messages_sent: int
    messages_received: int
    bound_at: datetime
    last_activity_at: datetime


class SmppSessions:
    """What anybody may do with the table, the command line too; a node opens its own sessions by NodeSessions (binds.py)."""

    def __init__(self, db: Database, node_id: int = 0) -> None:
        self._db = db
        self._node_id = node_id

    def closed(self, token: str) -> Deferred[int]:
        return self.closed_many([token])

    def closed_many(self, tokens: Iterable[str]) -> Deferred[int]:
        """Fires with how many of them were bound."""
        wanted = list(tokens)
        if not wanted:
            return succeed(0)
        sql = f"""WITH changed AS (
                UPDATE tbl_smpp_sessions SET status = 'DISCONNECTED', unbound_at = now(), current_tps = 0
                WHERE session_token = ANY (%s::text[]) AND status <> 'DISCONNECTED' RETURNING *
            ) {_SESSION_END}"""  # noqa: S608
        return self._db.execute(sql, (wanted,))

    def update_activity(self, rows: Sequence[tuple[str, float, int, int]]) -> Deferred[int]:
        """(token, TPS, messages sent, messages received): totals of the session so far, in one statement."""
        if not rows:
            return succeed(0)
        sql = """UPDATE tbl_smpp_sessions s
            SET current_tps = LEAST(x.r, 99999999), messages_sent = x.s, messages_received = x.m,
                last_activity_at = CASE WHEN s.messages_sent <> x.s OR s.messages_received <> x.m
                    THEN now() ELSE s.last_activity_at END
            FROM json_to_recordset(%s::json) AS x (t TEXT, r NUMERIC, s INTEGER, m INTEGER)
            WHERE s.session_token = x.t AND s.status <> 'DISCONNECTED'"""
        data = [{"t": t, "r": r, "s": s & 0x7FFFFFFF, "m": m & 0x7FFFFFFF} for t, r, s, m in rows]
        return self._db.execute(sql, (orjson.dumps(data).decode(),))

    def mark_stale(self, node_id: int | None = None) -> Deferred[int]:
        """At start-up: whatever this node had bound is gone."""
        sql = """UPDATE tbl_smpp_sessions SET status = 'DISCONNECTED', unbound_at = now(), current_tps = 0
            WHERE node_id = %s AND status <> 'DISCONNECTED'"""
        return self._db.execute(sql, (self._node_id if node_id is None else node_id,))

    def request_disconnect(self, token: str, *, actor: Actor = NOBODY) -> Deferred[bool]:
        """Mark the row and tell the node that holds the session. False where none of this token is bound."""
        return self._disconnect("session_token = %s", token, actor, None, None)

    def request_disconnect_id(
        self, session_id: int, *, actor: Actor = NOBODY, customer_id: int | None = None, user_id: int | None = None
    ) -> Deferred[bool]:
        """The same by session_id; of one customer's users only, or of one user, where that is given."""
        return self._disconnect("session_id = %s", session_id, actor, customer_id, user_id)

    def ended_among(self, tokens: Iterable[str]) -> Deferred[list[str]]:
        """Those that are marked as disconnected: for a node that may have missed a notification."""
        wanted = list(tokens)
        if not wanted:
            return succeed([])
        sql = """SELECT session_token FROM tbl_smpp_sessions
            WHERE session_token = ANY (%s::text[]) AND status = 'DISCONNECTED'"""
        return self._db.query(sql, (wanted,)).addCallback(lambda rows: [row[0] for row in rows])

    def bound(
        self,
        *,
        user_id: int | None = None,
        customer_id: int | None = None,
        before: int | None = None,
        limit: int = 10_000,
    ) -> Deferred[list[SmppSessionRow]]:
        """Sessions not disconnected, newest first; before: with a smaller session_id. Not those of a node that is dead."""
        sql = """SELECT s.session_id, s.user_id, u.username, u.customer_id, s.system_id, s.bind_type,
                host(s.remote_ip), s.remote_port, s.session_token, s.status, s.node_id, s.current_tps,
                s.messages_sent, s.messages_received, s.bound_at, s.last_activity_at
            FROM tbl_smpp_sessions s JOIN users u ON u.id = s.user_id
            WHERE s.status <> 'DISCONNECTED' AND (%s::bigint IS NULL OR s.user_id = %s)
              AND (%s::bigint IS NULL OR u.customer_id = %s) AND (%s::bigint IS NULL OR s.session_id < %s)
              AND NOT EXISTS (SELECT 1 FROM tbl_nodes n WHERE n.node_id = s.node_id
                AND n.heartbeat_at < now() - make_interval(secs => %s))
            ORDER BY s.session_id DESC LIMIT %s"""
        rows = self._db.query(sql, (user_id, user_id, customer_id, customer_id, before, before, ALIVE_SECONDS, limit))
        return rows.addCallback(lambda found: [SmppSessionRow(*row) for row in found])

    def drop_old(self, days: int) -> Deferred[int]:
        """Delete what was disconnected so many days ago, and close what a node has that has been dead for a day."""
        sql = """WITH lost AS (
                UPDATE tbl_smpp_sessions s SET status = 'DISCONNECTED', unbound_at = now(), current_tps = 0
                FROM tbl_nodes n WHERE n.node_id = s.node_id AND n.heartbeat_at < now() - interval '1 day'
                    AND s.status <> 'DISCONNECTED'
            ) DELETE FROM tbl_smpp_sessions
            WHERE status = 'DISCONNECTED' AND unbound_at < now() - make_interval(days => %s)"""
        return self._db.execute(sql, (days,))

    def _disconnect(
        self, where: str, value: Any, actor: Actor, customer_id: int | None, user_id: int | None
    ) -> Deferred[bool]:
        more = "|| jsonb_build_object('session_id', session_id)"
        sql = f"""WITH changed AS (
                UPDATE tbl_smpp_sessions SET status = 'DISCONNECTED', unbound_at = now(), current_tps = 0
                WHERE {where} AND status <> 'DISCONNECTED' AND (%s::bigint IS NULL OR user_id = %s)
                  AND (%s::bigint IS NULL OR user_id IN (SELECT id FROM users WHERE customer_id = %s))
                RETURNING session_id, user_id, session_token
            ), audit AS ({AUDIT.format(user="user_id", more=more)})
            SELECT pg_notify('{CHANNEL}', session_token) FROM changed"""  # noqa: S608
        values = (value, user_id, user_id, customer_id, customer_id, *audited(actor, "SESSION_DISCONNECT", {}))
        return self._db.query(sql, values).addCallback(bool)
