from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.channels.smpp.checks import Checks
from protei_bulk.smpp import commands
from tests.channels.smpp.fakes import RESP, World


class ChecksTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.checks = Checks(2)
        self.begun: list[int] = []
        self.running: dict[int, Deferred[Any]] = {}

    def add(self, number: int) -> None:
        def begin() -> Deferred[Any]:
            self.begun.append(number)
            self.running[number] = Deferred()
            return self.running[number]

        self.checks.add(begin)

    def test_so_many_at_a_time_in_their_order(self) -> None:
        for n in range(5):
            self.add(n)
        self.assertEqual([0, 1], self.begun)
        self.running[1].callback(None)
        self.assertEqual([0, 1, 2], self.begun)
        self.running[0].errback(OSError("gone"))
        self.running[2].callback(None)
        self.assertEqual([0, 1, 2, 3, 4], self.begun)

    def test_those_that_end_at_once(self) -> None:
        done: list[int] = []
        for n in range(3000):
            self.checks.add(lambda n=n: (done.append(n), succeed(None) if n % 2 else fail(OSError()))[1])  # type: ignore[misc]
        self.assertEqual(list(range(3000)), done)

    def test_one_that_is_not_wanted_any_more(self) -> None:
        self.checks.add(lambda: None)
        self.add(1)
        self.add(2)
        self.assertEqual([1, 2], self.begun)

    def test_sessions_that_left_while_they_waited(self) -> None:
        world = World()
        world.factory.checks = Checks(1)
        world.auth.waiting = []
        first, second, third = world.connect(), world.connect(), world.connect()
        for peer in (first, second, third):
            peer.bind()
        self.assertEqual(1, len(world.auth.asked))
        second.lose()
        ((d, result),) = world.auth.waiting
        world.auth.waiting = None
        d.callback(result)
        self.assertEqual(2, len(world.auth.asked))
        for peer in (first, third):
            self.assertEqual([(commands.BIND_TRANSCEIVER | RESP, 0)], peer.answers())
