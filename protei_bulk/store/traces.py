"""tbl_traces: whose PDUs operators want to see now. Every node writes them to its own log."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from protei_bulk.store.pool import Database

CHANNEL = "protei_traces"
KINDS = ("USER", "SMSC")


@frozen
class TraceRow:
    """kind is one of KINDS, name that of the user or the connector's id."""

    kind: str
    name: str
    until: datetime
    seconds: float  # that are left, by the database's clock


class TraceTable:
    """Every change is announced on CHANNEL and stands in tbl_permission_audit."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def on(self, kind: str, name: str, minutes: int, *, actor_id: int | None = None) -> Deferred[bool]:
        """From now on, for so many minutes; replaces what is left of an earlier one. False for a user whom there is not."""
        sql = """WITH wanted AS (
                INSERT INTO tbl_traces (kind, name, until)
                SELECT %s, %s, now() + make_interval(mins => %s)
                WHERE %s <> 'USER' OR EXISTS (SELECT 1 FROM users WHERE username = %s)
                ON CONFLICT (kind, name) DO UPDATE SET until = EXCLUDED.until, created_at = now()
                RETURNING kind, name
            ), audit AS (
                INSERT INTO tbl_permission_audit (user_id, actor_id, action, result, details)
                SELECT (SELECT id FROM users WHERE kind = 'USER' AND username = name), %s, 'TRACE_ON', 'SUCCESS',
                    jsonb_build_object('kind', kind, 'name', name, 'minutes', %s)
                FROM wanted
            ) SELECT pg_notify(%s, '') FROM wanted"""
        params = (kind, name, minutes, kind, name, actor_id, minutes, CHANNEL)
        return self._db.query(sql, params).addCallback(bool)

    def off(self, kind: str | None = None, name: str | None = None, *, actor_id: int | None = None) -> Deferred[int]:
        """One, or all of them; what has ended by itself goes too. Fires with how many were on."""
        sql = """WITH gone AS (
                DELETE FROM tbl_traces WHERE until <= now() OR (kind = COALESCE(%s, kind) AND name = COALESCE(%s, name))
                RETURNING kind, name, until > now() AS was_on
            ), audit AS (
                INSERT INTO tbl_permission_audit (user_id, actor_id, action, result, details)
                SELECT (SELECT id FROM users WHERE kind = 'USER' AND username = name), %s, 'TRACE_OFF', 'SUCCESS',
                    jsonb_build_object('kind', kind, 'name', name)
                FROM gone WHERE was_on
            ) SELECT count(*) FILTER (WHERE was_on), pg_notify(%s, '') FROM gone"""
        return self._db.query(sql, (kind, name, actor_id, CHANNEL)).addCallback(_count)

    def active(self) -> Deferred[list[TraceRow]]:
        """Those that are on, by name."""
        sql = """SELECT kind, name, until, extract(epoch FROM until - now())::float8
            FROM tbl_traces WHERE until > now() ORDER BY kind DESC, name"""
        return self._db.query(sql).addCallback(lambda rows: [TraceRow(*row) for row in rows])


def _count(rows: list[tuple[Any, ...]]) -> int:
    return int(rows[0][0]) if rows else 0
