"""tbl_idempotency_keys: requests that must have their effect once, however often they come (see 011_http.sql)."""

from __future__ import annotations

from collections import Counter
from typing import Any, Protocol

from attrs import frozen
from twisted.internet.defer import Deferred

KEPT = 24 * 3600.0  # seconds that an answer is kept


class Runs(Protocol):
    """A Database, or a lane of it."""

    def query(self, sql: str, params: Any = ()) -> Deferred[list[tuple[Any, ...]]]: ...

    def execute(self, sql: str, params: Any = ()) -> Deferred[int]: ...


@frozen
class Claim:
    """state: NEW, RESUMED, DONE, OTHER, BUSY. began, ended: Unix seconds between which the one before was at it."""

    state: str
    number: int
    status: int
    content_type: str
    body: str
    wait: float
    began: float
    ended: float


@frozen
class Stored:
    """What is there of a campaign: "" where it is not, and messages by (recipient, MD5 of the text)."""

    public_id: str
    messages: Counter[tuple[str, str]]


class IdempotencyKeyRows:
    """Deferreds fail with DatabaseUnavailable or psycopg2.Error."""

    def __init__(self, db: Runs) -> None:
        self._db = db

    def claim(self, user_id: int, key: str, body_hash: str, owner: str, lease: float) -> Deferred[Claim]:
        """`lease`: seconds without a word after which an owner is gone."""
        sql = """SELECT state, COALESCE(number, 0), COALESCE(status, 0), COALESCE(kind, ''), COALESCE(body, ''), wait,
            extract(epoch FROM began)::float8, extract(epoch FROM ended)::float8
            FROM claim_idempotency_key(%s, %s, %s, %s, %s, %s)"""
        d = self._db.query(sql, (user_id, key, body_hash, owner, lease, KEPT))
        return d.addCallback(lambda rows: Claim(*rows[0]))

    def stored(self, user_id: int, number: int, first: str, last: str) -> Deferred[Stored]:
        """Messages of a campaign with ids in between."""
        sql = """SELECT c.campaign_id, m.to_addr, m.text, m.n FROM campaigns c LEFT JOIN (
                SELECT to_addr, md5(message_text) AS text, count(*) AS n FROM messages
                WHERE campaign_id = %s AND user_id = %s AND message_id BETWEEN %s AND %s GROUP BY 1, 2
            ) m ON TRUE WHERE c.id = %s AND c.user_id = %s"""

        def read(rows: list[tuple[Any, ...]]) -> Stored:
            counts = Counter({(to, text): n for _, to, text, n in rows if to is not None})
            return Stored(rows[0][0] if rows else "", counts)

        return self._db.query(sql, (number, user_id, first, last, number, user_id)).addCallback(read)

    def renew(self, user_id: int, key: str, owner: str) -> Deferred[bool]:
        """False where it belongs to another one now."""
        sql = "UPDATE tbl_idempotency_keys SET touched_at = now() WHERE user_id = %s AND idempotency_key = %s AND owner = %s"
        return self._db.execute(sql, (user_id, key, owner)).addCallback(bool)

    def finish(self, user_id: int, key: str, owner: str, status: int, content_type: str, body: str) -> Deferred[bool]:
        sql = """UPDATE tbl_idempotency_keys SET response_status = %s, content_type = %s, response_body = %s, touched_at = now()
            WHERE user_id = %s AND idempotency_key = %s AND owner = %s"""
        return self._db.execute(sql, (status, content_type, body, user_id, key, owner)).addCallback(bool)

    def release(self, user_id: int, key: str, owner: str) -> Deferred[bool]:
        """Nothing has come of it: the key may be used anew."""
        sql = "DELETE FROM tbl_idempotency_keys WHERE user_id = %s AND idempotency_key = %s AND owner = %s"
        return self._db.execute(sql, (user_id, key, owner)).addCallback(bool)

    def expire(self) -> Deferred[int]:
        return self._db.execute("DELETE FROM tbl_idempotency_keys WHERE created_at < now() - make_interval(secs => %s)", (KEPT,))
