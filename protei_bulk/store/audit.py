"""tbl_permission_audit and tbl_api_requests, written in batches behind the back of the requests.

What is handed in costs the caller a list append. While the database is away a bounded number of rows waits;
what goes beyond is counted in `dropped` and said in the log, since audit must never stop the traffic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import orjson
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from protei_bulk.access.limits import plain_address
from protei_bulk.store.batcher import Batcher
from protei_bulk.store.pool_connection import DatabaseUnavailable

_EVENTS = """INSERT INTO tbl_permission_audit
    (user_id, actor_id, action, result, ip_address, user_agent, details, created_at)
    SELECT COALESCE(x.u, n.id), x.b, x.a, x.r, x.i, x.g, COALESCE(x.d, '{}'), to_timestamp(x.w)
    FROM json_to_recordset(%s::json) AS x (u BIGINT, b BIGINT, a TEXT, r TEXT, i INET, g TEXT, d JSONB,
        w DOUBLE PRECISION)
    LEFT JOIN users n ON x.u IS NULL AND n.username = COALESCE(x.d ->> 'username', x.d ->> 'system_id')"""
_REQUESTS = """INSERT INTO tbl_api_requests
    (user_id, endpoint, method, auth_type, api_key, ip_address, user_agent, request_size, response_status,
     response_time_ms, error_message, created_at)
    SELECT u, e, m, a, k, i, g, z, s, t, f, to_timestamp(w)
    FROM json_to_recordset(%s::json) AS x (u BIGINT, e TEXT, m TEXT, a TEXT, k TEXT, i INET, g TEXT,
        z INTEGER, s INTEGER, t INTEGER, f TEXT, w DOUBLE PRECISION)"""
_RETRY_SECONDS = 1.0
_MAX_INTEGER = 2**31 - 1


class Clock(Protocol):
    """What is needed of the reactor."""

    def seconds(self) -> float: ...

    def callLater(self, delay: float, callable: Callable[..., object], /, *args: Any, **kw: Any) -> Any: ...


class Executor(Protocol):
    """A Lane of its own, or the Database."""

    def execute(self, sql: str, params: Any = ()) -> Deferred[int]: ...


class AuditLog:
    """Give it a lane of its own (`db.dedicated("audit")`), so that it waits behind nobody."""

    _log = Logger()

    def __init__(
        self, db: Executor, reactor: Clock, *, max_waiting: int = 20_000, max_rows: int = 1000
    ) -> None:
        self._db = db
        self._reactor = reactor
        self._max_waiting = max_waiting
        self._closed = False
        self._retries: dict[Deferred[None], Any] = {}
        self._events: Batcher[tuple[Any, ...]] = Batcher(
            self._store_events, reactor=reactor, max_rows=max_rows
        )
        self._requests: Batcher[tuple[Any, ...]] = Batcher(
            self._store_requests, reactor=reactor, max_rows=max_rows
        )
        self.dropped = 0

    @property
    def pending(self) -> int:
        """Rows not stored yet."""
        return self._events.pending + self._requests.pending

    def event(
        self,
        action: str,
        success: bool,
        *,
        user_id: int | None = None,
        actor_id: int | None = None,
        ip: str = "",
        user_agent: str = "",
        details: Mapping[str, object] | None = None,
    ) -> None:
        """A row of tbl_permission_audit: what was tried, by whom, and whether it went well.

        Without a user_id it is about the user that `username` or `system_id` of the details names, if there is one: an
        attempt to be somebody is of interest to him.
        """
        if self._room(self._events):
            now = self._reactor.seconds()
            self._events.add((user_id, actor_id, action, success, ip, user_agent, details, now))

    def request(
        self,
        *,
        endpoint: str,
        method: str,
        status: int,
        milliseconds: float,
        user_id: int | None = None,
        auth_type: str | None = None,
        key_hash: str = "",
        ip: str = "",
        user_agent: str = "",
        size: int = 0,
        error: str = "",
    ) -> None:
        """A row of tbl_api_requests. auth_type: API_KEY, BASIC_AUTH, JWT. size in octets.

        Of key_hash (SHA-256 of the API key, hex) only the beginning is kept.
        """
        if self._room(self._requests):
            self._requests.add(
                (user_id, endpoint, method, auth_type, key_hash, ip, user_agent, size, status, milliseconds,
                 error, self._reactor.seconds())
            )  # fmt: skip

    def drained(self) -> Deferred[None]:
        """Fires once everything handed in is stored (or given up)."""
        return self._events.drained().addCallback(lambda _: self._requests.drained())

    def close(self) -> Deferred[None]:
        """Store what waits, but wait for a database that is away no longer: fires when that is over."""
        self._closed = True
        retries, self._retries = self._retries, {}
        for waiter, call in retries.items():
            call.cancel()
            waiter.callback(None)
        return self.drained()

    def _room(self, batcher: Batcher[tuple[Any, ...]]) -> bool:
        if batcher.pending < self._max_waiting:
            return True
        if self.dropped % 10_000 == 0:
            self._log.warn("audit rows are dropped: {n} wait for the database", n=batcher.pending)
        self.dropped += 1
        return False

    def _store_events(self, rows: list[tuple[Any, ...]]) -> Deferred[None]:
        data = []
        for user_id, actor_id, action, success, ip, user_agent, details, when in rows:
            result = "SUCCESS" if success else "FAILURE"
            shown = {_text(k, 100): _plain(v) for k, v in details.items()} if details else None
            data.append(
                {"u": user_id, "b": actor_id, "a": _text(action, 50), "r": result, "i": _address(ip),
                 "g": _text(user_agent, 255), "d": shown, "w": when}
            )  # fmt: skip
        return Deferred.fromCoroutine(self._store(_EVENTS, data))

    def _store_requests(self, rows: list[tuple[Any, ...]]) -> Deferred[None]:
        data = []
        for user_id, endpoint, method, auth, key, ip, user_agent, size, status, ms, error, when in rows:
            data.append(
                {"u": user_id, "e": _text(endpoint, 255) or "", "m": _text(method, 10) or "", "a": auth,
                 "k": _text(key, 12), "i": _address(ip), "g": _text(user_agent, 255),
                 "z": min(size, _MAX_INTEGER), "s": status, "t": min(round(ms), _MAX_INTEGER),
                 "f": _text(error, 500), "w": when}
            )  # fmt: skip
        return Deferred.fromCoroutine(self._store(_REQUESTS, data))

    async def _store(self, sql: str, data: list[dict[str, Any]]) -> None:
        encoded = orjson.dumps(data).decode()
        while True:
            try:
                await self._db.execute(sql, (encoded,))
                return
            except DatabaseUnavailable:
                # A row stored twice, where the answer was lost, is better than one missing.
                if self._closed:
                    self._give_up(len(data), "the database is away")
                    return
                await self._later()
            except Exception as error:
                if len(data) == 1:
                    self._give_up(1, type(error).__name__)  # its text may repeat what is in the row
                    return
                # One row that the database will not have does not cost the others.
                half = len(data) // 2
                await self._store(sql, data[:half])
                data = data[half:]
                encoded = orjson.dumps(data).decode()

    def _give_up(self, rows: int, why: str) -> None:
        self.dropped += rows
        self._log.error("{rows} audit rows are lost: {why}", rows=rows, why=why)

    def _later(self) -> Deferred[None]:
        waiter: Deferred[None] = Deferred()

        def go() -> None:
            del self._retries[waiter]
            waiter.callback(None)

        self._retries[waiter] = self._reactor.callLater(_RETRY_SECONDS, go)
        return waiter


def _address(text: str) -> str | None:
    address = plain_address(text)
    return None if address is None else str(address)


def _text(value: object, length: int) -> str | None:
    """Text that a column takes: no NUL, no half characters, not too long. None for nothing."""
    text = str(value or "").encode("utf-8", "replace").decode().replace("\0", "")
    return text[:length] or None


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, bool | int | float) else _text(value, 500)
