"""tbl_callback_outbox: what must be told to customers over HTTP, leased to the node that is at it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import orjson
from attrs import frozen
from twisted.internet.defer import Deferred


class Runs(Protocol):
    """A Database, or a lane of it."""

    def query(self, sql: str, params: Any = ()) -> Deferred[list[tuple[Any, ...]]]: ...

    def execute(self, sql: str, params: Any = ()) -> Deferred[int]: ...


@frozen
class CallbackRow:
    """attempts: those made so far."""

    callback_id: int
    user_id: int
    message_id: str
    url: str
    payload: dict[str, Any]
    attempts: int


@frozen
class Retry:
    """A failed attempt: the row is due again in `delay` seconds, or parked for an operator."""

    callback_id: int
    attempts: int
    delay: float
    parked: bool
    error: str


@frozen
class ParkedCallback:
    callback_id: int
    user_id: int
    message_id: str
    url: str
    attempts: int
    last_error: str
    created_at: float  # Unix seconds


class CallbackOutbox:
    """Fails with DatabaseUnavailable or psycopg2.Error, as the database does."""

    def __init__(self, db: Runs) -> None:
        self._db = db

    def claim(self, limit: int, lease: float = 300.0) -> Deferred[list[CallbackRow]]:
        """Due rows, oldest first; for `lease` seconds nobody else is given them."""
        sql = """WITH due AS (
                SELECT callback_id FROM tbl_callback_outbox WHERE status = 'PENDING' AND next_attempt_at <= now()
                ORDER BY next_attempt_at LIMIT %s FOR UPDATE SKIP LOCKED)
            UPDATE tbl_callback_outbox o SET next_attempt_at = now() + make_interval(secs => %s)
            FROM due WHERE o.callback_id = due.callback_id
            RETURNING o.callback_id, o.user_id, o.message_id, o.url, o.payload, o.attempts"""

        def read(rows: list[tuple[Any, ...]]) -> list[CallbackRow]:
            return [CallbackRow(*row) for row in sorted(rows, key=lambda row: row[0])]

        return self._db.query(sql, (limit, lease)).addCallback(read)

    def done(self, ids: Sequence[int]) -> Deferred[int]:
        """The customer has them."""
        return self._db.execute("DELETE FROM tbl_callback_outbox WHERE callback_id = ANY (%s)", (list(ids),))

    def retry(self, rows: Sequence[Retry]) -> Deferred[int]:
        data = [
            {"i": r.callback_id, "a": r.attempts, "d": r.delay, "p": r.parked, "e": _storable(r.error)}
            for r in rows
        ]
        return self._db.execute(
            """UPDATE tbl_callback_outbox o SET attempts = x.a, last_error = x.e,
                next_attempt_at = now() + make_interval(secs => x.d),
                status = CASE WHEN x.p THEN 'PARKED' ELSE 'PENDING' END
            FROM json_to_recordset(%s::json) AS x (i BIGINT, a SMALLINT, d DOUBLE PRECISION, p BOOLEAN, e TEXT)
            WHERE o.callback_id = x.i""",
            (orjson.dumps(data).decode(),),
        )

    def defer(self, rows: Sequence[tuple[int, float]]) -> Deferred[int]:
        """Claimed but not tried: (callback_id, seconds until it is due again)."""
        data = orjson.dumps([{"i": i, "d": delay} for i, delay in rows]).decode()
        return self._db.execute(
            """UPDATE tbl_callback_outbox o SET next_attempt_at = now() + make_interval(secs => x.d)
            FROM json_to_recordset(%s::json) AS x (i BIGINT, d DOUBLE PRECISION)
            WHERE o.callback_id = x.i AND o.status = 'PENDING'""",
            (data,),
        )

    def parked(self, limit: int = 100, *, user_id: int | None = None, before: int | None = None) -> Deferred[
        list[ParkedCallback]
    ]:
        """Those given up, newest first; of one user where given, older than `before` for the next page."""
        d = self._db.query(
            """SELECT callback_id, user_id, message_id, url, attempts, COALESCE(last_error, ''),
                extract(epoch FROM created_at)::float8
            FROM tbl_callback_outbox WHERE status = 'PARKED'
              AND (%s::bigint IS NULL OR user_id = %s) AND (%s::bigint IS NULL OR callback_id < %s)
            ORDER BY callback_id DESC LIMIT %s""",
            (user_id, user_id, before, before, limit),
        )
        return d.addCallback(lambda rows: [ParkedCallback(*row) for row in rows])

    def replay(self, ids: Sequence[int], *, user_id: int | None = None) -> Deferred[int]:
        """Parked rows are tried anew, all attempts before them; how many there were."""
        return self._db.execute(
            """UPDATE tbl_callback_outbox SET status = 'PENDING', attempts = 0, next_attempt_at = now()
            WHERE callback_id = ANY (%s) AND status = 'PARKED' AND (%s::bigint IS NULL OR user_id = %s)""",
            (list(ids), user_id, user_id),
        )

    def expire(self, days: int) -> Deferred[int]:
        """Forgets what is older than so many days, parked or not."""
        return self._db.execute(
            "DELETE FROM tbl_callback_outbox WHERE created_at < now() - make_interval(days => %s)", (days,)
        )


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\0", "")[:500]
