"""One embedded PostgreSQL for each test process, and a fresh migrated database for each test.

    dsn = fresh_database()

The server starts with the first call and ends with the process; all its files go then. A database is a clone
of a migrated template (some 50 ms); the oldest ones that nobody uses are dropped on the way.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections import deque
from pathlib import Path

import psycopg2
import psycopg2.extensions
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.store import embedded_place as places
from protei_bulk.store.migrate import migrate

TEMPLATE = "template_protei"
KEPT = 4
# Nothing here need survive a crash.
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "400",
    "max_wal_size": "1GB",
}


class _Server:
    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="protei-test-"))
        self.folder.chmod(0o711)
        self.place = places.prepare(self.folder)
        self.secret, _ = places.password(self.folder)
        self.numbers = itertools.count(1)
        self.databases: deque[str] = deque()
        self.process: subprocess.Popen[bytes] | None = None
        atexit.register(self.stop)
        self._initialise()
        self._start()
        with self.administrator() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {TEMPLATE}")
        migrate(self.dsn(TEMPLATE))

    def dsn(self, database: str) -> str:
        return places.dsn(self.place, self.secret, database)

    def administrator(self) -> contextlib.closing[psycopg2.extensions.connection]:
        connection = psycopg2.connect(self.dsn("postgres"), connect_timeout=10)
        connection.autocommit = True
        return contextlib.closing(connection)

    def clone(self, template: str) -> str:
        name = f"test_{next(self.numbers)}"
        with self.administrator() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
            for _ in range(len(self.databases) - KEPT):
                old = self.databases.popleft()
                # DROP DATABASE would wait 5 s for a session in it.
                cursor.execute("SELECT 1 FROM pg_stat_activity WHERE datname = %s", (old,))
                if cursor.fetchone():
                    self.databases.append(old)
                else:
                    cursor.execute(f"DROP DATABASE {old}")
        self.databases.append(name)
        return self.dsn(name)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.place.run.parent != self.place.root:
            shutil.rmtree(self.place.run, ignore_errors=True)
        if self.place.root.parent != self.folder.resolve():
            shutil.rmtree(self.place.root, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _initialise(self) -> None:
        password_file = self.folder / "initial-password"
        password_file.write_text(self.secret)
        places.own(self.place, password_file, 0o400)
        self.place.data.mkdir(mode=0o700)
        places.own(self.place, self.place.data, 0o700)
        arguments = [*places.initdb_arguments(self.place.data, password_file), "--no-sync"]
        subprocess.run(
            places.command(self.place, "initdb", *arguments),
            env=places.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=True,
        )

    def _start(self) -> None:
        places.write_configuration(self.place, SETTINGS)
        log = self.folder / "log"
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                places.command(self.place, "postgres", *places.server_arguments(self.place)),
                env=places.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        while True:
            with contextlib.suppress(psycopg2.OperationalError), self.administrator():
                return
            if self.process.poll() is not None:
                raise RuntimeError(f"PostgreSQL for the tests did not start: {log.read_text()}")
            time.sleep(0.02)


_server: _Server | None = None
_owner = 0


def _running() -> _Server:
    global _server, _owner
    if _server is None or _owner != os.getpid():
        _owner = os.getpid()
        _server = _Server()
    return _server


def reachable_folder(test: SynchronousTestCase) -> Path:
    """A folder for a test that starts an embedded server of its own, removed after it.

    What mktemp() gives is closed to all but us: as root, the data would go to /var/lib and stay there.
    """
    made = Path(tempfile.mkdtemp(prefix="protei-test-"))
    made.chmod(0o711)
    test.addCleanup(shutil.rmtree, made)
    return made


def fresh_database() -> str:
    """The DSN of a new database with the whole schema, and nothing else, in it."""
    return _running().clone(TEMPLATE)


def empty_database() -> str:
    """The DSN of a new database without a schema."""
    return _running().clone("template0")
