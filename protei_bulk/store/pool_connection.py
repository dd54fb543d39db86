"""One connection to PostgreSQL: a txpostgres connection with its traps closed.

txpostgres has no connect time-out, leaves the cursor of a closed connection in the reactor (whose
descriptor number the next socket inherits, and wedges), logs the death of an idle connection as
an unhandled error, shows a statement time-out as a cancelled Deferred, blocks on cancelling, and
reports a lost COMMIT as a failed rollback. Here each
failure has one name, and a connection that failed once is closed and never used again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar, cast

import psycopg2
import psycopg2.extensions
from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.python.failure import Failure
from txpostgres import txpostgres

T = TypeVar("T")
Params = Sequence[Any] | Mapping[str, Any]
Row = tuple[Any, ...]


class DatabaseUnavailable(Exception):
    """The connection went away, or none could be had in time. The caller may try again.

    ``maybe_done``: the statement (or COMMIT) had been sent, so it may have taken effect all the same.
    """

    def __init__(self, reason: str, *, maybe_done: bool = False) -> None:
        super().__init__(reason)
        self.maybe_done = maybe_done


class Reactor(Protocol):
    """What connections need of the reactor: IReactorTime and IReactorFDSet."""

    def seconds(self) -> float: ...
    def callLater(self, delay: float, callable: Callable[..., object], /, *args: Any, **kw: Any) -> Any: ...
    def addReader(self, reader: Any, /) -> None: ...
    def addWriter(self, writer: Any, /) -> None: ...
    def removeReader(self, reader: Any, /) -> None: ...
    def removeWriter(self, writer: Any, /) -> None: ...


def session_parameters(
    dsn: str, *, statement_timeout: float, lock_timeout: float, idle_in_transaction_timeout: float
) -> dict[str, str]:
    """libpq's parameters for a connection of ours: time-outs in seconds (0: none), UTC, UTF-8.

    What the DSN itself says in ``options`` wins. Raises psycopg2.ProgrammingError for a malformed DSN.
    """
    given = {key: str(value) for key, value in psycopg2.extensions.parse_dsn(dsn).items()}
    options = [
        # The newest partition has no statistics yet: the planner takes it for tiny and would read all of it for each row looked up.
        "-c enable_seqscan=off -c jit=off",
        f"-c statement_timeout={int(statement_timeout * 1000)}",
        f"-c lock_timeout={int(lock_timeout * 1000)}",
        f"-c idle_in_transaction_session_timeout={int(idle_in_transaction_timeout * 1000)}",
        "-c timezone=UTC",
        given.pop("options", ""),
    ]
    ours = {
        "client_encoding": "utf8",
        "application_name": "protei-bulk",
        "keepalives_idle": "30",
        "keepalives_interval": "10",
        "keepalives_count": "3",
        "tcp_user_timeout": "30000",
    }
    return {**ours, **given, "options": " ".join(options).strip()}


class _Uncancellable:
    """Cancelling gives the descriptor up (the connection dies then) instead of blocking on the server's answer.

    And a statement that the server cancelled, for its time-out say, is no cancelled Deferred.
    """

    def _cancel(self: Any, d: Deferred[Any]) -> None:
        self.reactor.removeReader(self)
        self.reactor.removeWriter(self)
        self._pollingD = None

    def _handleCancellation(self, failure: Failure) -> Failure:
        return failure


class _Cursor(_Uncancellable, txpostgres.Cursor):  # type: ignore[misc]
    """txpostgres' cursor."""


class _Connection(_Uncancellable, txpostgres.Connection):  # type: ignore[misc]
    """txpostgres' connection, which tells of its death and delivers notifications at once."""

    cursorFactory = _Cursor

    def __init__(
        self, reactor: Reactor, died: Callable[[str], None], notified: Callable[[str, str], None]
    ) -> None:
        # Any cooperator keeps txpostgres from reaching for the global reactor; nothing uses it.
        super().__init__(reactor, cooperator=object())
        self._died = died
        self._notified = notified

    def close(self) -> None:
        if self._connection is None:
            return
        for cursor in tuple(self._cursors):
            self.reactor.removeReader(cursor)
            self.reactor.removeWriter(cursor)
        super().close()
        self._connection.close()  # a broken one counts as closed for txpostgres, but keeps its descriptor

    def continuePolling(self, swallowErrors: bool = False) -> None:
        try:
            super().continuePolling(swallowErrors)
        except Exception as problem:  # nobody waits for an answer: the idle connection died
            self._died(str(problem).strip())

    def connectionLost(self, reason: Any) -> None:
        super().connectionLost(reason)
        if self._connection.closed:
            self._died(reason.getErrorMessage())

    def checkForNotifies(self) -> None:
        while self._connection.notifies:
            notice = self._connection.notifies.pop(0)
            self._notified(notice.channel, notice.payload)


class Cursor:
    """What ``transaction`` hands to its function. One statement at a time."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._cursor = link._cursor()

    def query(self, sql: str, params: Params = ()) -> Deferred[list[Row]]:
        """Run a statement: its rows."""
        return Deferred.fromCoroutine(self._query(sql, params))

    def execute(self, sql: str, params: Params = ()) -> Deferred[int]:
        """Run a statement: the number of rows that it touched."""
        return Deferred.fromCoroutine(self._execute(sql, params))

    def fetchall(self) -> list[Row]:
        """Rows of the last statement that nobody has fetched yet; none where it gives no rows."""
        return [] if self._cursor.description is None else cast("list[Row]", self._cursor.fetchall())

    async def _query(self, sql: str, params: Params) -> list[Row]:
        await self._link._run(self._cursor, sql, params)
        return self.fetchall()

    async def _execute(self, sql: str, params: Params) -> int:
        await self._link._run(self._cursor, sql, params)
        return int(self._cursor.rowcount)


class Link:
    """One connection for one statement or transaction at a time. Dies once, is never revived."""

    def __init__(
        self,
        reactor: Reactor,
        *,
        answer_timeout: float,
        lost: Callable[[Link, str], None],
        notified: Callable[[str, str], None] = lambda channel, payload: None,
    ) -> None:
        self._reactor = reactor
        self._answer_timeout = answer_timeout
        self._lost = lost
        self._connection = _Connection(reactor, self.die, notified)
        self._death: str | None = None
        self._up = False

    @property
    def alive(self) -> bool:
        return self._up and self._death is None

    async def connect(self, parameters: Mapping[str, str], timeout: float) -> None:
        """Raises DatabaseUnavailable where there is no connection within ``timeout`` seconds."""
        timer = self._reactor.callLater(timeout, self.die, f"no connection within {timeout:g} s")
        try:
            await self._connection.connect(**parameters)
        except Exception as problem:
            reason = self._death or _first_line(problem)
            self.close()
            raise DatabaseUnavailable(reason) from problem
        finally:
            if timer.active():
                timer.cancel()
        if self._death is not None:
            raise DatabaseUnavailable(self._death)
        self._up = True

    def die(self, reason: str) -> None:
        """Close a connection that failed: whoever waits gets DatabaseUnavailable."""
        if self._death is not None:
            return
        self._death = reason or "the connection was lost"
        was_up = self._up
        self._connection.close()
        if was_up:
            self._lost(self, self._death)

    def close(self) -> None:
        """Close without telling anybody."""
        if self._death is None:
            self._death = "the connection was closed"
        self._connection.close()

    async def query(self, sql: str, params: Params = ()) -> list[Row]:
        return await Cursor(self)._query(sql, params)

    async def execute(self, sql: str, params: Params = ()) -> int:
        return await Cursor(self)._execute(sql, params)

    async def transaction(self, fn: Callable[[Cursor], Deferred[T]]) -> T:
        """Run ``fn`` between BEGIN and COMMIT; ROLLBACK where it fails."""
        cursor = Cursor(self)
        try:
            await cursor._execute("BEGIN", ())
            result: T = await maybeDeferred(fn, cursor)
        except Exception as problem:
            if self._death is not None:  # COMMIT was never sent: nothing is done
                raise DatabaseUnavailable(self._death) from problem
            await self._roll_back(cursor)
            raise
        await cursor._execute("COMMIT", ())
        if cursor._cursor.statusmessage == "ROLLBACK":
            raise psycopg2.InternalError("rolled back: an error within the transaction had been swallowed")
        return result

    async def _roll_back(self, cursor: Cursor) -> None:
        try:
            await cursor._execute("ROLLBACK", ())
        except Exception as problem:
            self.die(f"no rollback: {_first_line(problem)}")

    def _cursor(self) -> Any:
        if not self.alive:
            raise DatabaseUnavailable(self._death or "not connected")
        try:
            return self._connection.cursor()
        except psycopg2.Error as problem:
            self.die(_first_line(problem))
            raise DatabaseUnavailable(_first_line(problem)) from problem

    async def _run(self, cursor: Any, sql: str, params: Params) -> None:
        if not self.alive:
            raise DatabaseUnavailable(self._death or "not connected")
        timer = None
        if self._answer_timeout:
            # The server ends slow statements itself; this one is for a server that no longer answers.
            reason = f"no answer within {self._answer_timeout:g} s"
            timer = self._reactor.callLater(self._answer_timeout, self.die, reason)
        try:
            await cursor.execute(sql, params or None)
        except Exception as problem:
            if self._death is None and not _is_fatal(problem, bool(self._connection.closed)):
                raise
            self.die(_first_line(problem))
            raise DatabaseUnavailable(self._death or "", maybe_done=True) from problem
        finally:
            if timer is not None and timer.active():
                timer.cancel()


async def quietly(work: Coroutine[Any, Any, Any]) -> None:
    """Do something whose loss is seen to elsewhere."""
    with contextlib.suppress(DatabaseUnavailable):
        await work


def _first_line(problem: BaseException) -> str:
    return (str(problem).strip() or type(problem).__name__).splitlines()[0]


_FATAL = (error.ConnectionClosed, CancelledError, txpostgres.AlreadyPolling, txpostgres.UnexpectedPollResult)


def _is_fatal(problem: Exception, closed: bool) -> bool:
    """Whether a connection is of no more use after this error."""
    if closed:
        return True
    if not isinstance(problem, psycopg2.Error):
        return isinstance(problem, _FATAL)
    if problem.pgcode is None:
        # libpq's own report; a mistake of the caller would be ProgrammingError or the like.
        return isinstance(problem, (psycopg2.OperationalError, psycopg2.InterfaceError)) or (
            type(problem) is psycopg2.DatabaseError
        )
    return problem.diag.severity_nonlocalized in ("FATAL", "PANIC")
