"""Idle HTTP connections, a few of them: the same as `bin/bench --idle 10000`."""

from __future__ import annotations

import socket
from unittest import TestCase as PlainCase

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from protei_bulk.bench.idle import _open
from protei_bulk.bench.report import show_idle
from tests.bench.test_smoke import bench


class IdleTest(TestCase):
    timeout = 120

    async def test_they_stay_and_others_are_answered(self) -> None:
        r = await deferToThread(bench, "--idle", "400")
        self.assertEqual((r["connections"], r["lost"]), (400, 0))
        self.assertLess(r["memory_held_mib"], 500)
        self.assertGreater(r["latency"]["p50"], 0)
        self.assertIn("400 idle HTTP connections", show_idle(r))


class OpenTest(PlainCase):
    def test_an_end_that_is_closed_shows(self) -> None:
        ours, other = socket.socketpair()
        with ours:
            self.assertTrue(_open(ours))
            other.close()
            self.assertFalse(_open(ours))
