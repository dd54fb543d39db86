"""The database for everybody else: a pool, lanes with a connection of their own, and notifications."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import psycopg2
from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from protei_bulk.store.listener import Listener
from protei_bulk.store.pool_connection import (
    Cursor,
    DatabaseUnavailable,
    Link,
    Params,
    Reactor,
    Row,
    quietly,
    session_parameters,
)

__all__ = ["Cursor", "Database", "DatabaseUnavailable", "Lane", "Reactor", "Row"]

T = TypeVar("T")
_Work = Callable[[Link], Coroutine[Any, Any, Any]]

RETRIES = 3
SERIALIZATION_FAILURE, DEADLOCK = "40001", "40P01"
FIRST_DELAY, LAST_DELAY = 0.1, 5.0  # seconds between two attempts to connect
STEADY = 5.0  # a connection that lived so long starts the back-off anew
ANSWER_GRACE = 5.0  # seconds beyond the server's own time-out
CLOSE_GRACE = 5.0  # seconds that close() leaves to what is running

_log = Logger()


class _Job:
    """A statement or transaction, from submission to its answer."""

    __slots__ = ("done", "timer", "work")

    def __init__(self, work: _Work, cancelled: Callable[[_Job], None]) -> None:
        self.work = work
        self.timer: Any = None
        self.done: Deferred[Any] = Deferred(lambda _: cancelled(self))

    def finish(self, result: Any) -> None:
        if self.timer is not None and self.timer.active():
            self.timer.cancel()
        if self.done.called:
            return  # the caller has lost interest
        if isinstance(result, (Failure, Exception)):
            self.done.errback(result)
        else:
            self.done.callback(result)


class _Slot:
    """A place for one connection: connects, and connects again with back-off when it is lost."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._delay = FIRST_DELAY
        self._since = 0.0
        self._timer: Any = None
        self._connecting: Link | None = None
        self.link: Link | None = None

    async def connect(self) -> None:
        """Raises DatabaseUnavailable; the next attempt is due already then."""
        lane = self._lane
        self._timer = None
        link = Link(lane._reactor, answer_timeout=lane._answer_timeout, lost=self._lost)
        self._connecting = link
        try:
            await link.connect(lane._parameters, lane._connect_timeout)
        except DatabaseUnavailable as problem:
            self._again(str(problem))
            raise
        finally:
            self._connecting = None
        if lane._closed:
            link.close()
            raise DatabaseUnavailable("the database is closed")
        self.link = link
        self._since = lane._reactor.seconds()
        lane._free(self)

    def begin(self) -> None:
        """Connect in the background."""
        Deferred.fromCoroutine(quietly(self.connect()))

    def close(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        for link in (self.link, self._connecting):
            if link is not None:
                link.close()

    def _lost(self, link: Link, reason: str) -> None:
        self.link = None
        if self._lane._reactor.seconds() - self._since >= STEADY:
            self._delay = FIRST_DELAY
        self._lane._withdraw(self)
        self._again(reason)

    def _again(self, reason: str) -> None:
        lane = self._lane
        if lane._closed:
            return
        _log.warn("No database connection ({lane}): {reason}", lane=lane.name, reason=reason)
        self._timer = lane._reactor.callLater(self._delay, self.begin)
        self._delay = min(LAST_DELAY, self._delay * 2)


class Lane:
    """Statements in order of submission over ``size`` connections (one, for a lane of your own).

    A statement whose connection is lost fails with DatabaseUnavailable; the connection is replaced, and
    later statements wait for the new one, at most ``max_wait`` seconds where that is given.
    Cancelling a Deferred takes a waiting statement out; one that runs goes on to its end.
    """

    def __init__(
        self,
        reactor: Reactor,
        parameters: dict[str, str],
        *,
        name: str,
        size: int = 1,
        connect_timeout: float = 10.0,
        answer_timeout: float = 0.0,
        max_waiting: int = 1000,
        max_wait: float | None = None,
    ) -> None:
        self.name = name
        self._reactor = reactor
        self._parameters = parameters
        self._connect_timeout = connect_timeout
        self._answer_timeout = answer_timeout
        self._max_waiting = max_waiting
        self._max_wait = max_wait
        self._closed = False
        self._running = 0
        self._idle: list[_Slot] = []
        self._waiting: deque[_Job] = deque()
        self._slots = [_Slot(self) for _ in range(size)]
        self._quiet: Deferred[None] | None = None

    @property
    def connected(self) -> int:
        """Connections that stand."""
        return sum(slot.link is not None for slot in self._slots)

    @property
    def waiting(self) -> int:
        """Statements that wait for a connection."""
        return len(self._waiting)

    def query(self, sql: str, params: Params = ()) -> Deferred[list[Row]]:
        """Run one statement, autocommit: its rows (none for a statement that gives none)."""
        return self._submit(lambda link: link.query(sql, params))

    def execute(self, sql: str, params: Params = ()) -> Deferred[int]:
        """Run one statement, autocommit: the number of rows that it touched."""
        return self._submit(lambda link: link.execute(sql, params))

    def transaction(self, fn: Callable[[Cursor], Deferred[T]]) -> Deferred[T]:
        """Run ``fn`` within a transaction, again (up to 3 times) after a deadlock or serialization failure.

        ``fn`` may thus run several times. Its own errors roll back and come out unchanged.
        """
        return self._submit(lambda link: self._transaction(link, fn))

    async def _transaction(self, link: Link, fn: Callable[[Cursor], Deferred[T]]) -> T:
        for attempt in range(RETRIES):
            try:
                return await link.transaction(fn)
            except psycopg2.Error as problem:
                if problem.pgcode not in (SERIALIZATION_FAILURE, DEADLOCK):
                    raise
            pause: Deferred[None] = Deferred()
            self._reactor.callLater(0.01 * 2**attempt, pause.callback, None)
            await pause
        return await link.transaction(fn)

    def start(self) -> None:
        """Connect in the background, and keep connected."""
        for slot in self._slots:
            if slot.link is None and slot._connecting is None and slot._timer is None:
                slot.begin()

    async def start_first(self) -> None:
        """Connect; raises DatabaseUnavailable where the first connection cannot be had."""
        await self._slots[0].connect()
        self.start()

    async def close(self) -> None:
        """Refuse what waits and what comes; leave a few seconds to what is running; close the connections."""
        if not self._closed:
            self._closed = True
            waiting, self._waiting = self._waiting, deque()
            for job in waiting:
                job.finish(DatabaseUnavailable("the database is closed"))
            if self._running:
                self._quiet = Deferred()
                timer = self._reactor.callLater(CLOSE_GRACE, self._end_quiet)
                await self._quiet
                if timer.active():
                    timer.cancel()
        for slot in self._slots:
            slot.close()

    def _end_quiet(self) -> None:
        if self._quiet is not None and not self._quiet.called:
            self._quiet.callback(None)

    def _submit(self, work: _Work) -> Deferred[Any]:
        if self._closed:
            return fail(DatabaseUnavailable("the database is closed"))
        job = _Job(work, self._cancelled)
        if self._idle:
            self._serve(self._idle.pop(), job)
        elif len(self._waiting) >= self._max_waiting:
            return fail(DatabaseUnavailable(f"{self._max_waiting} statements wait for the database already"))
        else:
            self._waiting.append(job)
            if self._max_wait is not None:
                job.timer = self._reactor.callLater(self._max_wait, self._overdue, job)
        return job.done

    def _serve(self, slot: _Slot, job: _Job) -> None:
        assert slot.link is not None
        self._running += 1
        if job.timer is not None and job.timer.active():
            job.timer.cancel()
        Deferred.fromCoroutine(job.work(slot.link)).addBoth(self._served, slot, slot.link, job)

    def _served(self, result: Any, slot: _Slot, link: Link, job: _Job) -> None:
        self._running -= 1
        if slot.link is link and link.alive:
            self._free(slot)
        job.finish(result)
        if self._closed and not self._running:
            self._end_quiet()

    def _free(self, slot: _Slot) -> None:
        if self._waiting:
            self._serve(slot, self._waiting.popleft())
        else:
            self._idle.append(slot)

    def _withdraw(self, slot: _Slot) -> None:
        if slot in self._idle:
            self._idle.remove(slot)

    def _cancelled(self, job: _Job) -> None:
        if job in self._waiting:
            self._waiting.remove(job)
        if job.timer is not None and job.timer.active():
            job.timer.cancel()

    def _overdue(self, job: _Job) -> None:
        self._waiting.remove(job)
        job.finish(DatabaseUnavailable(f"no database connection within {self._max_wait:g} s"))


class Database:
    """A pool of ``size`` connections, lanes beside it, and one connection that listens.

    All time-outs are in seconds; 0 is none. ``statement_timeout``, ``lock_timeout`` and
    ``idle_in_transaction_timeout`` are kept by the server; one that stays silent for ``statement_timeout``
    and a grace loses the connection. A statement waits at most ``max_wait`` seconds for a connection,
    behind at most ``max_waiting`` others. Errors: DatabaseUnavailable, else psycopg2.Error.
    """

    def __init__(
        self,
        reactor: Reactor,
        dsn: str,
        size: int = 8,
        *,
        connect_timeout: float = 10.0,
        statement_timeout: float = 30.0,
        lock_timeout: float = 10.0,
        idle_in_transaction_timeout: float = 60.0,
        max_waiting: int = 1000,
        max_wait: float = 10.0,
    ) -> None:
        self._reactor = reactor
        self._parameters = session_parameters(
            dsn,
            statement_timeout=statement_timeout,
            lock_timeout=lock_timeout,
            idle_in_transaction_timeout=idle_in_transaction_timeout,
        )
        self._connect_timeout = connect_timeout
        self._answer_timeout = statement_timeout + ANSWER_GRACE if statement_timeout else 0.0
        self._max_waiting = max_waiting
        self._started = False
        self._lanes: list[Lane] = []
        self._pool = self._lane("pool", size, max_wait)
        self._listener = Listener(reactor, self._parameters, connect_timeout)

    @property
    def connected(self) -> int:
        """Connections of the pool that stand."""
        return self._pool.connected

    @property
    def waiting(self) -> int:
        """Statements that wait for a connection of the pool."""
        return self._pool.waiting

    def start(self) -> Deferred[None]:
        """Fires once the first connection stands. Fails with DatabaseUnavailable, and is closed then."""
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        self._started = True
        try:
            await self._pool.start_first()
        except DatabaseUnavailable:
            await self._close()
            raise
        for lane in self._lanes:
            lane.start()
        self._listener.start()

    def close(self) -> Deferred[None]:
        """Close everything; statements that are running have a few seconds to end."""
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        self._listener.close()
        for closing in [Deferred.fromCoroutine(lane.close()) for lane in self._lanes]:
            await closing

    def query(self, sql: str, params: Params = ()) -> Deferred[list[Row]]:
        """Run one statement, autocommit: its rows (none for a statement that gives none)."""
        return self._pool.query(sql, params)

    def execute(self, sql: str, params: Params = ()) -> Deferred[int]:
        """Run one statement, autocommit: the number of rows that it touched."""
        return self._pool.execute(sql, params)

    def transaction(self, fn: Callable[[Cursor], Deferred[T]]) -> Deferred[T]:
        """Run ``fn`` within a transaction: see Lane.transaction."""
        return self._pool.transaction(fn)

    def dedicated(self, name: str = "lane", *, max_wait: float | None = None) -> Lane:
        """A lane with one connection of its own, replaced when it dies. It closes with the database.

        Without ``max_wait`` statements wait until there is a connection.
        """
        lane = self._lane(name, 1, max_wait)
        if self._started:
            lane.start()
        return lane

    def listen(self, channel: str, callback: Callable[[str], None]) -> None:
        """Call ``callback`` with the payload of each NOTIFY, and with "" whenever some may have been missed.

        That is so each time the listening connection stands, the first time included: read everything then.
        """
        self._listener.listen(channel, callback)

    def _lane(self, name: str, size: int, max_wait: float | None) -> Lane:
        lane = Lane(
            self._reactor,
            self._parameters,
            name=name,
            size=size,
            connect_timeout=self._connect_timeout,
            answer_timeout=self._answer_timeout,
            max_waiting=self._max_waiting,
            max_wait=max_wait,
        )
        self._lanes.append(lane)
        return lane
