"""Connections that die: each failure is told once, and the pool comes back."""

from __future__ import annotations

import os
import signal
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks
from twisted.logger import LogLevel, capturedLogs

from protei_bulk.store import pool as module
from protei_bulk.store.embedded import EmbeddedPostgres
from protei_bulk.store.pool import DatabaseUnavailable
from tests.store.test_pool import PoolTestCase, Steps, reactor
from tests.support.postgres import reachable_folder

SESSIONS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s"


class LossTests(PoolTestCase):
    @inlineCallbacks
    def test_idle_connections_are_replaced(self) -> Steps:
        database = self.database(size=2)
        yield database.start()
        yield self.until(lambda: database.connected == 2)
        pids = self.server(SESSIONS, ("protei-bulk",))
        self.assertEqual(len(pids), 2)
        for (pid,) in pids:
            self.terminate(pid)
        yield self.until(lambda: database.connected == 0)
        self.assertEqual((yield database.query("SELECT 1")), [(1,)])
        yield self.until(lambda: database.connected == 2)

    @inlineCallbacks
    def test_a_statement_in_flight_fails_and_the_next_one_does_not(self) -> Steps:
        database = self.database(size=1)
        yield database.start()
        ((pid,),) = yield database.query("SELECT pg_backend_pid()")
        running, waiting = database.query("SELECT pg_sleep(10)"), database.query("SELECT pg_backend_pid()")
        self.terminate(pid)
        problem = yield self.assertFailure(running, DatabaseUnavailable)
        self.assertTrue(problem.maybe_done)
        ((other,),) = yield waiting
        self.assertNotEqual(pid, other)

    @inlineCallbacks
    def test_a_killed_session_that_nobody_has_noticed_yet(self) -> Steps:
        database = self.database(size=1)
        yield database.start()
        ((pid,),) = yield database.query("SELECT pg_backend_pid()")
        self.terminate(pid)
        yield self.assertFailure(database.query("SELECT 1"), DatabaseUnavailable)
        self.assertEqual((yield database.query("SELECT 1")), [(1,)])

    @inlineCallbacks
    def test_a_lane_is_replaced(self) -> Steps:
        database = self.database(size=1)
        lane = database.dedicated("batches")
        yield database.start()
        ((pid,),) = yield lane.query("SELECT pg_backend_pid()")
        self.assertNotEqual([(pid,)], (yield database.query("SELECT pg_backend_pid()")))
        running, waiting = lane.query("SELECT pg_sleep(10)"), lane.query("SELECT pg_backend_pid()")
        self.terminate(pid)
        yield self.assertFailure(running, DatabaseUnavailable)
        ((other,),) = yield waiting
        self.assertNotEqual(pid, other)

    @inlineCallbacks
    def test_a_lane_keeps_the_order(self) -> Steps:
        database = self.database(size=1)
        yield database.start()
        lane = database.dedicated()
        yield lane.execute("CREATE TABLE t (id SERIAL, a INT)")
        yield gatherResults([lane.execute("INSERT INTO t (a) VALUES (%s)", (n,)) for n in range(50)])
        rows = yield lane.query("SELECT a FROM t ORDER BY id")
        self.assertEqual(rows, [(n,) for n in range(50)])

    @inlineCallbacks
    def test_a_server_that_falls_silent(self) -> Steps:
        self.patch(module, "ANSWER_GRACE", 0.1)
        database = self.database(size=1, statement_timeout=0.1)
        yield database.start()
        ((pid,),) = yield database.query("SELECT pg_backend_pid()")
        os.kill(pid, signal.SIGSTOP)
        try:
            problem = yield self.assertFailure(database.query("SELECT 1"), DatabaseUnavailable)
        finally:
            os.kill(pid, signal.SIGCONT)
        self.assertIn("no answer within 0.2 s", str(problem))
        self.assertEqual((yield database.query("SELECT 1")), [(1,)])

    @inlineCallbacks
    def test_no_descriptor_of_a_dead_connection_stays_in_the_reactor(self) -> Steps:
        database = self.database(size=1)
        yield database.start()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            ((pid,),) = yield database.query("SELECT pg_backend_pid()")
            running = database.query("SELECT pg_sleep(10)")
            self.terminate(pid)
            yield self.assertFailure(running, DatabaseUnavailable)
            yield database.query("SELECT 1")
        self.assertLessEqual(len(os.listdir("/proc/self/fd")), before + 1)


class ListenTests(PoolTestCase):
    @inlineCallbacks
    def test_notifications(self) -> Steps:
        database = self.database(size=1)
        heard: list[tuple[str, str]] = []
        database.listen("one", lambda payload: heard.append(("one", payload)))
        yield database.start()
        yield self.until(lambda: heard == [("one", "")])
        with capturedLogs() as lines:
            database.listen("two", lambda payload: heard.append(("two", payload)))
        self.assertEqual([line for line in lines if line["log_level"] >= LogLevel.warn], [])  # our own doing is no alarm
        yield self.until(lambda: ("two", "") in heard)
        del heard[:]
        yield database.query("SELECT pg_notify('one', 'a'), pg_notify('two', 'b'), pg_notify('three', 'c')")
        yield self.until(lambda: len(heard) == 2)
        self.assertEqual(heard, [("one", "a"), ("two", "b")])

    @inlineCallbacks
    def test_after_a_loss_everything_is_read_anew(self) -> Steps:
        database = self.database(size=1)
        heard: list[str] = []
        database.listen("one", heard.append)
        yield database.start()
        yield self.until(lambda: heard == [""])
        ((pid,),) = self.server(SESSIONS, ("protei-bulk listen",))
        self.terminate(pid)
        yield self.until(lambda: heard == ["", ""])
        yield database.query("SELECT pg_notify('one', 'a')")
        yield self.until(lambda: heard == ["", "", "a"])

    @inlineCallbacks
    def test_a_callback_that_fails_harms_no_other(self) -> Steps:
        def broken(payload: str) -> None:
            raise ZeroDivisionError

        database = self.database(size=1)
        heard: list[str] = []
        database.listen("one", broken)
        database.listen("one", heard.append)
        yield database.start()
        yield self.until(lambda: heard == [""])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_channel_is_an_identifier(self) -> None:
        self.assertRaises(ValueError, self.database().listen, "a; DROP TABLE users", print)


class ServerTests(PoolTestCase):
    """The whole server goes and comes back."""

    def setUp(self) -> None:
        self.postgres = EmbeddedPostgres(reactor, reachable_folder(self), settings={"fsync": "off"})
        self.addCleanup(self.postgres.stop)

    @inlineCallbacks
    def test_stop_and_start(self) -> Steps:
        dsn = yield self.postgres.start()
        self.dsn = dsn
        database = self.database(size=2, max_wait=0.2)
        lane = database.dedicated()
        heard: list[str] = []
        database.listen("one", heard.append)
        yield database.start()
        yield lane.query("SELECT 1")
        yield self.until(lambda: heard == [""] and database.connected == 2)
        running = lane.query("SELECT pg_sleep(10)")
        yield self.postgres.stop()
        yield self.assertFailure(running, DatabaseUnavailable)
        yield self.until(lambda: database.connected == 0)
        patient: Deferred[Any] = lane.query("SELECT 2")
        yield self.assertFailure(database.query("SELECT 1"), DatabaseUnavailable)
        self.assertEqual((yield self.postgres.start()), dsn)
        self.assertEqual((yield patient), [(2,)])
        yield self.until(lambda: database.connected == 2 and heard == ["", ""])
        yield database.close()
