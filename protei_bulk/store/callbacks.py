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
    """attempts: those made so far. version: of the secret to sign with, and with the one before it where `overlap`."""

    callback_id: int
    user_id: int
    message_id: str
    url: str
    payload: dict[str, Any]
    attempts: int
    version: int = 1
    overlap: bool = False


@frozen
class Retry:
    """A failed attempt: the row is due again in `delay` seconds, or parked for an operator."""

    callback_id: int
    attempts: int
    delay: float
    parked: bool
    error: str


@frozen
class Callback:
    """status: PENDING, PARKED, DELIVERED. Times in Unix seconds; next_attempt_at of one that is PENDING."""

    callback_id: int
    user_id: int
    message_id: str
    url: str
    status: str
    attempts: int
    last_error: str
    created_at: float
    next_attempt_at: float | None
    delivered_at: float | None


class CallbackOutbox:
    """Fails with DatabaseUnavailable or psycopg2.Error, as the database does."""

    def __init__(self, db: Runs) -> None:
        self._db = db

    def claim(self, limit: int, lease: float = 300.0) -> Deferred[list[CallbackRow]]:
        """Due rows, oldest first; for `lease` seconds nobody else is given them."""
        sql = """WITH due AS (
                SELECT callback_id, user_id FROM tbl_callback_outbox WHERE status = 'PENDING' AND next_attempt_at <= now()
                ORDER BY next_attempt_at LIMIT %s FOR UPDATE SKIP LOCKED)
            UPDATE tbl_callback_outbox o SET next_attempt_at = now() + make_interval(secs => %s)
            FROM due LEFT JOIN tbl_callback_secrets s ON s.user_id = due.user_id WHERE o.callback_id = due.callback_id
            RETURNING o.callback_id, o.user_id, o.message_id, o.url, o.payload, o.attempts, COALESCE(s.version, 1),
                COALESCE(s.previous_until > now(), FALSE)"""

        def read(rows: list[tuple[Any, ...]]) -> list[CallbackRow]:
            return [CallbackRow(*row) for row in sorted(rows, key=lambda row: row[0])]

        return self._db.query(sql, (limit, lease)).addCallback(read)

    def done(self, ids: Sequence[int], keep: bool = False) -> Deferred[int]:
        """The customer has them; `keep`: where he can look at them for a while. Of a message from a mobile its own row tells."""
        if not keep:
            return self._db.execute("DELETE FROM tbl_callback_outbox WHERE callback_id = ANY (%s)", (list(ids),))
        return self._db.execute(
            """WITH gone AS (DELETE FROM tbl_callback_outbox WHERE callback_id = ANY (%s) AND message_id LIKE 'MO-%%')
            UPDATE tbl_callback_outbox SET status = 'DELIVERED', attempts = attempts + 1, last_error = NULL, delivered_at = now()
            WHERE callback_id = ANY (%s) AND message_id NOT LIKE 'MO-%%'""",
            (list(ids), list(ids)),
        )

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

    def listed(
        self,
        limit: int = 100,
        *,
        user_id: int | None = None,
        customer_id: int | None = None,
        status: str | None = None,
        message_id: str | None = None,
        before: int | None = None,
    ) -> Deferred[list[Callback]]:
        """Newest first; of one user or customer, in one status, of one message where given; older than `before` for the next page."""
        conditions, values = _where(user_id, customer_id)
        for condition, value in (("status = %s", status), ("message_id = %s", message_id), ("callback_id < %s", before)):
            if value is not None:
                conditions.append(condition)
                values.append(value)
        # The name of a condition is never the caller's: only values are.
        sql = f"""SELECT callback_id, user_id, message_id, url, status, attempts, COALESCE(last_error, ''),
                extract(epoch FROM created_at)::float8,
                CASE WHEN status = 'PENDING' THEN extract(epoch FROM next_attempt_at)::float8 END, extract(epoch FROM delivered_at)::float8
            FROM tbl_callback_outbox WHERE {' AND '.join(conditions)} ORDER BY callback_id DESC LIMIT %s"""
        return self._db.query(sql, (*values, limit)).addCallback(lambda rows: [Callback(*row) for row in rows])

    def replay(
        self, ids: Sequence[int] | None, *, user_id: int | None = None, customer_id: int | None = None, delivered: bool = False
    ) -> Deferred[list[int]]:
        """Parked ones, with `delivered` those too, are tried anew, all attempts before them: their ids. None: all that are parked."""
        conditions, values = _where(user_id, customer_id)
        if ids is not None:
            conditions.append("callback_id = ANY (%s)")
            values.append(list(ids))
        conditions.append("status IN ('PARKED', 'DELIVERED')" if delivered and ids is not None else "status = 'PARKED'")
        sql = f"""UPDATE tbl_callback_outbox SET status = 'PENDING', attempts = 0, next_attempt_at = now(), delivered_at = NULL
            WHERE {' AND '.join(conditions)} RETURNING callback_id"""
        return self._db.query(sql, values).addCallback(lambda rows: sorted(row[0] for row in rows))

    def expire(self, days: int, delivered_hours: int = 0, most: int = 10_000) -> Deferred[int]:
        """Forgets what is older than so many days, parked or not, and what was delivered so many hours ago; at most so many at once."""
        return self._db.execute(
            """DELETE FROM tbl_callback_outbox WHERE callback_id IN (
                (SELECT callback_id FROM tbl_callback_outbox
                 WHERE status = 'DELIVERED' AND delivered_at < now() - make_interval(hours => %s) ORDER BY delivered_at LIMIT %s)
                UNION ALL
                (SELECT callback_id FROM tbl_callback_outbox WHERE created_at < now() - make_interval(days => %s) LIMIT %s))""",
            (delivered_hours, most, days, most),
        )


@frozen
class SecretVersion:
    """previous_until: Unix seconds until which the version before is signed with too; None for not at all."""

    version: int = 1
    previous_until: float | None = None


class CallbackSecrets:
    """tbl_callback_secrets: which secret an account's callbacks are signed with. The secrets themselves are in no database."""

    def __init__(self, db: Runs) -> None:
        self._db = db

    def current(self, user_id: int) -> Deferred[SecretVersion]:
        sql = """SELECT version, CASE WHEN previous_until > now() THEN extract(epoch FROM previous_until)::float8 END
            FROM tbl_callback_secrets WHERE user_id = %s"""
        return self._db.query(sql, (user_id,)).addCallback(lambda rows: SecretVersion(*rows[0]) if rows else SecretVersion())

    def rotate(self, user_id: int, overlap: float, *, actor_id: int | None = None, ip: str | None = None) -> Deferred[SecretVersion]:
        """The next one, beside the one before for `overlap` seconds; audited."""
        sql = """WITH changed AS (
                INSERT INTO tbl_callback_secrets (user_id, version, previous_until) VALUES (%s, 2, now() + make_interval(secs => %s))
                ON CONFLICT (user_id) DO UPDATE SET version = tbl_callback_secrets.version + 1, previous_until = EXCLUDED.previous_until
                RETURNING user_id, version, previous_until),
            audit AS (INSERT INTO tbl_permission_audit (user_id, actor_id, action, result, ip_address, details)
                SELECT user_id, %s, 'CALLBACK_SECRET_ROTATED', 'SUCCESS', %s::inet, jsonb_build_object('version', version) FROM changed)
            SELECT version, CASE WHEN previous_until > now() THEN extract(epoch FROM previous_until)::float8 END FROM changed"""
        d = self._db.query(sql, (user_id, overlap, actor_id, ip or None))
        return d.addCallback(lambda rows: SecretVersion(*rows[0]))


def _where(user_id: int | None, customer_id: int | None) -> tuple[list[str], list[Any]]:
    conditions: list[str] = ["TRUE"]
    values: list[Any] = []
    if user_id is not None:
        conditions.append("user_id = %s")
        values.append(user_id)
    if customer_id is not None:
        conditions.append("user_id IN (SELECT id FROM users WHERE customer_id = %s)")
        values.append(customer_id)
    return conditions, values


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\0", "")[:500]
