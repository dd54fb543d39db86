"""Brings a database to the schema of this version: numbered files, each applied once, each in a transaction.

Blocking (psycopg2): the daemon calls it in a thread, the command line directly.
"""

from __future__ import annotations

import re
from importlib import resources
from typing import Any

import psycopg2
import psycopg2.errors
from attrs import frozen

ADVISORY_LOCK = 7_305_804_400
OLDEST_SERVER = 150_000
_NAME = re.compile(r"(\d{3})_\w+\.sql")


class MigrationError(Exception):
    """The database cannot be brought to this schema; the text says why and what to do."""


class SchemaTooNew(MigrationError):
    """A newer version of the program has migrated this database: this one must not touch it."""


@frozen
class Migration:
    """One numbered file of ``schema/``."""

    version: int
    name: str
    sql: str


def known_migrations() -> list[Migration]:
    """The files of this version, by number. Raises MigrationError for a gap or a doubled number."""
    found = []
    for entry in resources.files("protei_bulk.store").joinpath("schema").iterdir():
        match = _NAME.fullmatch(entry.name)
        if match:
            found.append(Migration(int(match[1]), entry.name, entry.read_text("utf-8")))
    found.sort(key=lambda m: m.version)
    if [m.version for m in found] != list(range(1, len(found) + 1)):
        raise MigrationError(f"schema files are not numbered 1 to {len(found)}: {[m.name for m in found]}")
    return found


def migrate(dsn: str, *, connect_timeout: int = 10, lock_timeout: float = 60.0) -> list[str]:
    """Apply what is missing and return the names of the files applied, oldest first.

    Several nodes may call it at once: an advisory lock (which dies with its connection) lets one work and the
    others wait, at most ``lock_timeout`` seconds; the same limit holds for the lock of any table.
    Raises SchemaTooNew, MigrationError, or psycopg2.Error.
    """
    migrations = known_migrations()
    connection = psycopg2.connect(
        dsn, connect_timeout=connect_timeout, client_encoding="utf8", application_name="protei-bulk migrate"
    )
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
            cursor.execute("SELECT set_config('lock_timeout', %s, false)", (str(int(lock_timeout * 1000)),))
            _check_server(cursor)
            try:
                cursor.execute("SELECT pg_advisory_lock(%s)", (ADVISORY_LOCK,))
            except psycopg2.errors.LockNotAvailable:
                raise MigrationError(
                    f"another process has been migrating this database for more than {lock_timeout:g} s"
                ) from None
            return _apply(cursor, migrations)
    finally:
        connection.close()


def _check_server(cursor: Any) -> None:
    cursor.execute("SELECT current_setting('server_version_num')::int, current_setting('server_encoding')")
    version, encoding = cursor.fetchone()
    if version < OLDEST_SERVER:
        raise MigrationError(f"PostgreSQL 15 or newer is needed, this server is {version // 10_000}")
    if encoding != "UTF8":
        raise MigrationError(f"the database's encoding must be UTF8, it is {encoding}")


def _apply(cursor: Any, migrations: list[Migration]) -> list[str]:
    cursor.execute(
        "CREATE TABLE IF NOT EXISTS schema_version ("
        "version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at TIMESTAMPTZ NOT NULL DEFAULT now())"
    )
    cursor.execute("SELECT COALESCE(max(version), 0) FROM schema_version")
    (present,) = cursor.fetchone()
    if present > len(migrations):
        raise SchemaTooNew(
            f"the database has schema {present}, this version knows {len(migrations)}: install the newer one"
        )
    applied = []
    for migration in migrations[present:]:
        cursor.execute("BEGIN")
        try:
            cursor.execute(migration.sql)
            row = (migration.version, migration.name)
            cursor.execute("INSERT INTO schema_version (version, name) VALUES (%s, %s)", row)
            cursor.execute("COMMIT")
        except psycopg2.Error:
            if not cursor.connection.closed:
                cursor.execute("ROLLBACK")
            raise
        applied.append(migration.name)
    return applied
