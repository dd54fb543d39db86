"""The pool against a real PostgreSQL."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from typing import Any

import psycopg2
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import CancelledError, Deferred, DeferredList, fail, inlineCallbacks
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from protei_bulk.store.pool import Cursor, Database, DatabaseUnavailable
from tests.support.postgres import fresh_database

reactor: Any = global_reactor
Steps = Generator[Deferred[Any], Any, None]


class PoolTestCase(TestCase):
    timeout = 30

    def setUp(self) -> None:
        self.dsn = fresh_database()

    def database(self, size: int = 2, **options: Any) -> Database:
        database = Database(reactor, options.pop("dsn", self.dsn), size, **options)
        self.addCleanup(database.close)
        return database

    def turn(self, seconds: float = 0.01) -> Deferred[None]:
        pause: Deferred[None] = Deferred()
        reactor.callLater(seconds, pause.callback, None)
        return pause

    @inlineCallbacks
    def until(self, condition: Callable[[], object]) -> Steps:
        """Wait for something that the server or the reactor brings about."""
        while not condition():
            yield self.turn()

    def server(self, sql: str, params: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Run a statement from outside."""
        connection = psycopg2.connect(self.dsn)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql, params)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def terminate(self, pid: int) -> None:
        self.assertEqual(self.server("SELECT pg_terminate_backend(%s)", (pid,)), [(True,)])


class StatementTests(PoolTestCase):
    @inlineCallbacks
    def test_query_and_execute(self) -> Steps:
        database = self.database()
        yield database.start()
        self.assertEqual((yield database.query("SELECT %s::int, %s::text", (1, "é"))), [(1, "é")])
        self.assertEqual((yield database.query("SELECT %(a)s::int", {"a": 2})), [(2,)])
        self.assertEqual((yield database.execute("CREATE TABLE t (a INT)")), -1)
        self.assertEqual((yield database.query("INSERT INTO t VALUES (1)")), [])
        self.assertEqual((yield database.execute("INSERT INTO t VALUES (%s), (%s)", (2, 3))), 2)

    @inlineCallbacks
    def test_without_parameters_a_percent_sign_is_itself(self) -> Steps:
        database = self.database()
        yield database.start()
        self.assertEqual((yield database.query("SELECT 'abc' LIKE 'a%'")), [(True,)])

    @inlineCallbacks
    def test_an_error_of_a_statement_leaves_the_connection(self) -> Steps:
        database = self.database(size=1)
        yield database.start()
        ((pid,),) = yield database.query("SELECT pg_backend_pid()")
        for wrong in ("SELECT 1/0", "SELEC", "SELECT %s, %s"):
            yield self.assertFailure(
                database.query(wrong, (1,) if "%" in wrong else ()), psycopg2.Error, IndexError
            )
        yield self.assertFailure(database.query("SELECT %s", (object(),)), psycopg2.ProgrammingError)
        yield self.assertFailure(database.query("SELECT %s", ("\0",)), ValueError)
        self.assertEqual((yield database.query("SELECT pg_backend_pid()")), [(pid,)])

    @inlineCallbacks
    def test_session(self) -> Steps:
        database = self.database(statement_timeout=7, lock_timeout=3, idle_in_transaction_timeout=2)
        yield database.start()
        for name, value in [
            ("statement_timeout", "7s"),
            ("lock_timeout", "3s"),
            ("idle_in_transaction_session_timeout", "2s"),
            ("timezone", "UTC"),
            ("client_encoding", "UTF8"),
        ]:
            self.assertEqual((yield database.query("SELECT current_setting(%s)", (name,))), [(value,)])

    @inlineCallbacks
    def test_many_at_once(self) -> Steps:
        database = self.database(size=3)
        yield database.start()
        answers = yield DeferredList([database.query("SELECT %s::int", (n,)) for n in range(200)])
        self.assertEqual([rows for _, rows in answers], [[(n,)] for n in range(200)])
        yield self.until(lambda: database.connected == 3)

    @inlineCallbacks
    def test_the_server_ends_a_slow_statement(self) -> Steps:
        database = self.database(size=1, statement_timeout=0.05)
        yield database.start()
        yield self.assertFailure(database.query("SELECT pg_sleep(10)"), psycopg2.errors.QueryCanceled)
        self.assertEqual((yield database.query("SELECT 1")), [(1,)])


class TransactionTests(PoolTestCase):
    @inlineCallbacks
    def setUp(self) -> Steps:
        super().setUp()
        self.db = self.database()
        yield self.db.start()
        yield self.db.execute("CREATE TABLE t (a INT)")

    @inlineCallbacks
    def test_commit(self) -> Steps:
        @inlineCallbacks
        def work(cursor: Cursor) -> Generator[Deferred[Any], Any, str]:
            count = yield cursor.execute("INSERT INTO t VALUES (1), (2)")
            rows = yield cursor.query("SELECT a FROM t ORDER BY a")
            return f"{count} {rows}"

        self.assertEqual((yield self.db.transaction(work)), "2 [(1,), (2,)]")
        self.assertEqual(self.server("SELECT count(*) FROM t"), [(2,)])

    @inlineCallbacks
    def test_an_error_rolls_back_and_comes_out_unchanged(self) -> Steps:
        def work(cursor: Cursor) -> Deferred[Any]:
            return cursor.execute("INSERT INTO t VALUES (1)").addCallback(lambda _: fail(KeyError("mine")))

        yield self.assertFailure(self.db.transaction(work), KeyError)
        yield self.assertFailure(self.db.transaction(lambda c: c.query("SELECT 1/0")), psycopg2.DataError)
        self.assertEqual((yield self.db.query("SELECT count(*) FROM t")), [(0,)])

    @inlineCallbacks
    def test_a_swallowed_error_is_no_commit(self) -> Steps:
        @inlineCallbacks
        def work(cursor: Cursor) -> Steps:
            yield cursor.execute("INSERT INTO t VALUES (1)")
            with contextlib.suppress(psycopg2.DataError):
                yield cursor.query("SELECT 1/0")

        yield self.assertFailure(self.db.transaction(work), psycopg2.InternalError)

    def failing(self, code: str, times: int, tries: list[int]) -> Callable[[Cursor], Deferred[Any]]:
        def work(cursor: Cursor) -> Deferred[Any]:
            tries.append(1)
            if len(tries) > times:
                return cursor.query("INSERT INTO t VALUES (1) RETURNING a")
            return cursor.query(f"DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '{code}'; END $$")

        return work

    @inlineCallbacks
    def test_deadlocks_and_serialization_failures_are_tried_again(self) -> Steps:
        for code in ("40001", "40P01"):
            tries: list[int] = []
            self.assertEqual((yield self.db.transaction(self.failing(code, 3, tries))), [(1,)])
            self.assertEqual(len(tries), 4)

    @inlineCallbacks
    def test_but_not_without_end(self) -> Steps:
        tries: list[int] = []
        work = self.failing("40001", 9, tries)
        yield self.assertFailure(self.db.transaction(work), psycopg2.extensions.TransactionRollbackError)
        self.assertEqual(len(tries), 4)

    @inlineCallbacks
    def test_a_true_deadlock(self) -> Steps:
        yield self.db.execute("INSERT INTO t VALUES (1), (2)")
        inside: list[int] = []

        def work(first: int, second: int) -> Callable[[Cursor], Deferred[Any]]:
            @inlineCallbacks
            def crossing(cursor: Cursor) -> Steps:
                yield cursor.execute("SET LOCAL deadlock_timeout = '20ms'")
                yield cursor.execute("UPDATE t SET a = a WHERE a = %s", (first,))
                inside.append(first)
                yield self.until(lambda: len(set(inside)) == 2)
                yield cursor.execute("UPDATE t SET a = a WHERE a = %s", (second,))

            return crossing

        one, two = self.db.transaction(work(1, 2)), self.db.transaction(work(2, 1))
        yield one
        yield two
        self.assertEqual(len(inside), 3)

    @inlineCallbacks
    def test_a_connection_lost_within_is_told(self) -> Steps:
        @inlineCallbacks
        def work(cursor: Cursor) -> Steps:
            yield cursor.execute("INSERT INTO t VALUES (1)")
            ((pid,),) = yield cursor.query("SELECT pg_backend_pid()")
            self.terminate(pid)
            yield cursor.query("SELECT 1")

        problem = yield self.assertFailure(self.db.transaction(work), DatabaseUnavailable)
        self.assertFalse(problem.maybe_done)
        self.assertEqual((yield self.db.query("SELECT count(*) FROM t")), [(0,)])

    @inlineCallbacks
    def test_a_commit_without_an_answer_may_be_done(self) -> Steps:
        yield self.db.execute("CREATE TABLE late (a INT UNIQUE DEFERRABLE INITIALLY DEFERRED, pid INT)")
        yield self.db.execute(
            "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$"
        )
        yield self.db.execute(
            "CREATE CONSTRAINT TRIGGER dies AFTER INSERT ON late DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION die()"
        )
        d = self.db.transaction(lambda cursor: cursor.execute("INSERT INTO late VALUES (1)"))
        problem = yield self.assertFailure(d, DatabaseUnavailable)
        self.assertTrue(problem.maybe_done)

    @inlineCallbacks
    def test_a_forgotten_transaction_is_ended_by_the_server(self) -> Steps:
        database = self.database(size=1, idle_in_transaction_timeout=0.05)
        yield database.start()
        d = database.transaction(
            lambda cursor: self.turn(0.3).addCallback(lambda _: cursor.query("SELECT 1"))
        )
        yield self.assertFailure(d, DatabaseUnavailable)
        self.assertEqual((yield database.query("SELECT 1")), [(1,)])


class WaitingTests(PoolTestCase):
    @inlineCallbacks
    def test_no_more_than_max_waiting(self) -> Steps:
        database = self.database(size=1, max_waiting=2)
        yield database.start()
        sleeping = database.query("SELECT pg_sleep(0.1)")
        waiting = [database.query("SELECT 1"), database.query("SELECT 1")]
        yield self.assertFailure(database.query("SELECT 1"), DatabaseUnavailable)
        self.assertEqual(database.waiting, 2)
        yield sleeping
        for d in waiting:
            self.assertEqual((yield d), [(1,)])

    @inlineCallbacks
    def test_no_longer_than_max_wait(self) -> Steps:
        database = self.database(size=1, max_wait=0.05)
        yield database.start()
        sleeping = database.query("SELECT pg_sleep(0.2)")
        problem = yield self.assertFailure(database.query("SELECT 1"), DatabaseUnavailable)
        self.assertIn("within 0.05 s", str(problem))
        self.assertFalse(problem.maybe_done)
        yield sleeping

    @inlineCallbacks
    def test_a_cancelled_statement_that_waits_is_never_run(self) -> Steps:
        database = self.database(size=1)
        yield database.start()
        yield database.execute("CREATE TABLE t (a INT)")
        sleeping = database.query("SELECT pg_sleep(0.05)")
        waiting = database.execute("INSERT INTO t VALUES (1)")
        waiting.cancel()
        yield self.assertFailure(waiting, CancelledError)
        yield sleeping
        self.assertEqual((yield database.query("SELECT count(*) FROM t")), [(0,)])

    @inlineCallbacks
    def test_a_cancelled_statement_that_runs_gives_its_connection_back(self) -> Steps:
        database = self.database(size=1)
        yield database.start()
        running = database.query("SELECT pg_sleep(0.05)")
        running.cancel()
        yield self.assertFailure(running, CancelledError)
        self.assertEqual((yield database.query("SELECT 1")), [(1,)])

    @inlineCallbacks
    def test_a_statement_cancelled_within_a_transaction_costs_the_connection(self) -> Steps:
        database = self.database(size=1)
        yield database.start()
        ((pid,),) = yield database.query("SELECT pg_backend_pid()")
        d = database.transaction(lambda cursor: cursor.query("SELECT pg_sleep(10)").addTimeout(0.02, reactor))
        yield self.assertFailure(d, DatabaseUnavailable)
        self.assertNotEqual((yield database.query("SELECT pg_backend_pid()")), [(pid,)])

    @inlineCallbacks
    def test_close(self) -> Steps:
        database = self.database(size=1)
        yield database.start()
        running = database.query("SELECT pg_sleep(0.05), 1")
        waiting = database.query("SELECT 1")
        closed = database.close()
        yield self.assertFailure(waiting, DatabaseUnavailable)
        yield self.assertFailure(database.query("SELECT 1"), DatabaseUnavailable)
        yield closed
        self.assertEqual(len(self.successResultOf(running)), 1)
        yield database.close()

    def test_before_the_start_statements_wait(self) -> Deferred[Any]:
        database = self.database()
        d = database.query("SELECT 1")
        database.start()
        return d.addCallback(self.assertEqual, [(1,)])


class ConnectTests(PoolTestCase):
    @inlineCallbacks
    def test_a_wrong_password(self) -> Steps:
        dsn = psycopg2.extensions.make_dsn(self.dsn, password="wrong")
        problem = yield self.assertFailure(self.database(dsn=dsn).start(), DatabaseUnavailable)
        self.assertIn("password", str(problem))

    @inlineCallbacks
    def test_nobody_listens(self) -> Steps:
        dsn = psycopg2.extensions.make_dsn(self.dsn, host=self.mktemp())
        yield self.assertFailure(self.database(dsn=dsn).start(), DatabaseUnavailable)

    def test_a_malformed_dsn(self) -> None:
        self.assertRaises(psycopg2.ProgrammingError, self.database, dsn="no such=thing =")

    @inlineCallbacks
    def test_a_server_that_does_not_answer(self) -> Steps:
        class Silent(Protocol):
            def connectionMade(self) -> None:
                peers.append(self)

            def connectionLost(self, reason: Any = None) -> None:
                gone.callback(None)

        peers: list[Any] = []
        gone: Deferred[None] = Deferred()
        port = reactor.listenTCP(0, Factory.forProtocol(Silent), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        dsn = f"host=127.0.0.1 port={port.getHost().port} user=u dbname=d"
        database = self.database(dsn=dsn, connect_timeout=0.1)
        problem = yield self.assertFailure(database.start(), DatabaseUnavailable)
        self.assertIn("no connection within 0.1 s", str(problem))
        yield gone
        self.assertEqual(len(peers), 1)
