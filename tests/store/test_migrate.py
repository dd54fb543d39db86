from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg2
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.store import migrate as module
from protei_bulk.store.migrate import Migration, MigrationError, SchemaTooNew, known_migrations, migrate
from tests.support.postgres import empty_database


class KnownMigrationsTests(SynchronousTestCase):
    def test_the_files_are_numbered_from_one(self) -> None:
        found = known_migrations()
        self.assertEqual([m.version for m in found], list(range(1, len(found) + 1)))
        self.assertEqual(found[0].name, "001_initial.sql")
        self.assertIn("CREATE TABLE", found[0].sql)


class MigrateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.dsn = empty_database()

    def known(self, *statements: str) -> list[Migration]:
        made = [Migration(n, f"{n:03}_test.sql", sql) for n, sql in enumerate(statements, 1)]
        self.patch(module, "known_migrations", lambda: made)
        return made

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        connection = psycopg2.connect(self.dsn)
        self.addCleanup(connection.close)
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def test_applies_each_file_once(self) -> None:
        names = [m.name for m in known_migrations()]
        self.assertEqual(migrate(self.dsn), names)
        self.assertEqual(migrate(self.dsn), [])
        self.assertEqual(self.rows("SELECT name FROM schema_version ORDER BY version"), [(n,) for n in names])
        self.assertEqual(self.rows("SELECT count(*) FROM messages"), [(0,)])

    def test_applies_what_is_missing(self) -> None:
        self.known("CREATE TABLE one ()")
        migrate(self.dsn)
        self.known("never run again", "CREATE TABLE two ()", "CREATE TABLE three ()")
        self.assertEqual(migrate(self.dsn), ["002_test.sql", "003_test.sql"])

    def test_a_percent_sign_is_taken_as_it_stands(self) -> None:
        self.known("CREATE TABLE one AS SELECT '100%s'::text AS a")
        migrate(self.dsn)
        self.assertEqual(self.rows("SELECT a FROM one"), [("100%s",)])

    def test_several_at_once(self) -> None:
        with ThreadPoolExecutor(4) as threads:
            results = list(threads.map(lambda _: migrate(self.dsn), range(4)))
        names = [m.name for m in known_migrations()]
        self.assertEqual(sorted(results), [[], [], [], names])

    def test_a_failing_file_leaves_nothing_of_itself(self) -> None:
        self.known("CREATE TABLE one ()", "CREATE TABLE two (); SELECT 1/0")
        self.assertRaises(psycopg2.errors.DivisionByZero, migrate, self.dsn)
        self.assertEqual(
            self.rows("SELECT to_regclass('one')::text, to_regclass('two')::text"), [("one", None)]
        )
        self.known("CREATE TABLE one ()", "CREATE TABLE two ()")
        self.assertEqual(migrate(self.dsn), ["002_test.sql"])

    def test_a_newer_schema_is_left_alone(self) -> None:
        self.known("CREATE TABLE one ()", "CREATE TABLE two ()")
        migrate(self.dsn)
        self.known("CREATE TABLE one ()")
        error = self.assertRaises(SchemaTooNew, migrate, self.dsn)
        self.assertIn("schema 2, this version knows 1", str(error))

    def test_nobody_is_waited_for_without_end(self) -> None:
        other = psycopg2.connect(self.dsn)
        self.addCleanup(other.close)
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", (module.ADVISORY_LOCK,))
        error = self.assertRaises(MigrationError, migrate, self.dsn, lock_timeout=0.05)
        self.assertIn("another process", str(error))

    def test_the_encoding_must_hold_every_text(self) -> None:
        connection = psycopg2.connect(self.dsn)
        self.addCleanup(connection.close)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(
                "CREATE DATABASE ascii_only ENCODING 'SQL_ASCII' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
            )
            self.addCleanup(lambda: connection.cursor().execute("DROP DATABASE ascii_only"))
        dsn = psycopg2.extensions.make_dsn(self.dsn, dbname="ascii_only")
        error = self.assertRaises(MigrationError, migrate, dsn)
        self.assertIn("UTF8", str(error))
