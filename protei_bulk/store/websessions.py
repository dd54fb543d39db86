"""tbl_web_sessions: logins in the portal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from protei_bulk.access.limits import plain_address
from protei_bulk.access.ports import Login, WebSession

if TYPE_CHECKING:
    from protei_bulk.store.pool import Database


class WebSessions:
    def __init__(self, db: Database) -> None:
        self._db = db

    def open(
        self, session_id: str, user_id: int, token_id: str, *, seconds: float, ip: str, user_agent: str
    ) -> Deferred[None]:
        """A login that lasts so many seconds at most, however often it is refreshed."""
        sql = """WITH over AS (DELETE FROM tbl_web_sessions WHERE expires_at < now())
            INSERT INTO tbl_web_sessions (session_id, user_id, token_id, expires_at, ip_address, user_agent)
            VALUES (%s, %s, %s, now() + make_interval(secs => %s), %s::inet, NULLIF(%s, ''))"""
        address = plain_address(ip)
        agent = user_agent.encode("utf-8", "replace").decode().replace("\0", "")[:255]
        row = (session_id, user_id, token_id, seconds, None if address is None else str(address), agent)
        return self._db.execute(sql, row).addCallback(lambda _: None)

    def get(self, session_id: str) -> Deferred[WebSession | None]:
        """None where it is over, by time, logout, or a new password."""
        sql = """SELECT session_id, user_id, token_id, previous_id,
                extract(epoch FROM now() - rotated_at)::float8, extract(epoch FROM expires_at - now())::float8
            FROM tbl_web_sessions WHERE session_id = %s AND revoked_at IS NULL AND expires_at > now()"""
        rows = self._db.query(sql, (session_id,))
        return rows.addCallback(lambda found: WebSession(*found[0]) if found else None)

    def rotate(self, session_id: str, old_token_id: str, new_token_id: str) -> Deferred[bool]:
        """False where the old token is not the newest, or the session is over."""
        sql = """UPDATE tbl_web_sessions SET previous_id = token_id, token_id = %s, rotated_at = now()
            WHERE session_id = %s AND token_id = %s AND revoked_at IS NULL AND expires_at > now()"""
        return self._db.execute(sql, (new_token_id, session_id, old_token_id)).addCallback(bool)

    def revoke(self, session_id: str, user_id: int | None = None) -> Deferred[bool]:
        """End it, on all nodes: they hear of it as of a change of the account. Of this user only, where one is given."""
        sql = """WITH gone AS (UPDATE tbl_web_sessions SET revoked_at = now()
                WHERE session_id = %s AND revoked_at IS NULL AND expires_at > now() AND (%s::bigint IS NULL OR user_id = %s)
                RETURNING user_id)
            SELECT pg_notify('protei_accounts', 'user:' || user_id) FROM gone"""
        return self._db.query(sql, (session_id, user_id, user_id)).addCallback(bool)

    def of_user(self, user_id: int) -> Deferred[list[Login]]:
        """Those that stand, newest first; the newest hundred."""
        sql = """SELECT session_id, host(ip_address), user_agent, extract(epoch FROM created_at)::float8,
                extract(epoch FROM rotated_at)::float8, extract(epoch FROM expires_at)::float8
            FROM tbl_web_sessions WHERE user_id = %s AND revoked_at IS NULL AND expires_at > now()
            ORDER BY created_at DESC LIMIT 100"""
        return self._db.query(sql, (user_id,)).addCallback(lambda rows: [Login(*row) for row in rows])
