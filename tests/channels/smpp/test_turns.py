from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.channels.smpp.turns import Turns


class Reactor:
    """One turn at a time."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], Any]] = []

    def callLater(self, delay: float, f: Callable[[], Any]) -> None:  # noqa: N802
        self.calls.append(f)

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for f in calls:
            f()


class Session:
    def __init__(self, name: int, served: list[int]) -> None:
        self.name, self.served = name, served

    def serve(self) -> None:
        self.served.append(self.name)


class TurnsTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Reactor()
        self.turns = Turns(self.reactor)
        self.served: list[int] = []

    def ask(self, octets: list[int]) -> None:
        for name, most in enumerate(octets):
            session = Session(name, self.served)
            if self.turns.begin(session, most):
                session.serve()

    def served_by_turn(self) -> list[int]:
        counts = [len(self.served)]
        while self.reactor.calls:
            self.reactor.turn()
            counts.append(len(self.served))
        return counts

    def test_full_windows_one_a_turn(self) -> None:
        self.ask([10_000] * 4)
        self.assertEqual([1, 2, 3, 4, 4], self.served_by_turn())

    def test_a_thousand_that_bind_need_a_few(self) -> None:
        self.ask([60] * 1000)
        self.assertEqual(68, self.served_by_turn()[0])
        self.assertEqual(list(range(1000)), self.served)
        self.assertLess(len(self.served_by_turn()), 20)

    def test_a_large_one_does_not_wait_behind_itself(self) -> None:
        one = Session(0, self.served)
        self.assertTrue(self.turns.begin(one, 30_000))
        self.assertTrue(self.turns.begin(one, 30_000))
        self.assertFalse(self.turns.begin(Session(1, self.served), 60))
        self.assertFalse(self.turns.begin(one, 60))

    @given(st.lists(st.integers(1, 70_000), max_size=50))
    def test_all_are_served_in_their_order(self, octets: list[int]) -> None:
        self.setUp()
        self.ask(octets)
        self.served_by_turn()
        self.assertEqual(list(range(len(octets))), self.served)
