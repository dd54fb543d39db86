"""Long exports: as fast as the browser takes them, bounded in number, and never half without being seen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.channels.portal.i18n import ENGLISH
from protei_bulk.channels.portal.shell import Answer, Fault
from protei_bulk.channels.portal.streaming import OF_A_CUSTOMER, OF_A_USER, SLOW, Exports
from protei_bulk.channels.portal.visit import Visit
from tests.channels.portal.test_events import FakeRequest, account


class LongExports(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.exports = Exports(self.clock)
        self.read = 0

    async def batches(self, count: int, broken: bool = False) -> AsyncIterator[list[Sequence[Any]]]:
        for n in range(count):
            self.read += 1
            yield [[n, "=1+1"]]
        if broken:
            raise RuntimeError("the database is away")

    def begin(self, count: int = 3, user: int = 1, **options: Any) -> tuple[FakeRequest, Answer, list[Any]]:
        request, ended = FakeRequest(), []  # type: FakeRequest, list[Any]
        visit = Visit(request, "/x", "", "", ENGLISH, account=account(user))  # type: ignore[arg-type]
        answer = self.exports.csv(visit, "x", ("a", "b"), self.batches(count, **options))
        assert answer.then is not None
        answer.then.addCallback(ended.append)
        return request, answer, ended

    def text(self, request: FakeRequest) -> str:
        return b"".join(request.written).decode()

    def test_rows_and_headings(self) -> None:
        request, answer, ended = self.begin()
        self.assertEqual((answer.body, len(ended), request.producer), ("\ufeff", 1, None))
        self.assertEqual(self.text(request), "a,b\r\n0,'=1+1\r\n1,'=1+1\r\n2,'=1+1\r\n")
        self.assertEqual(self.text(self.begin(0)[0]), "a,b\r\n")

    def test_nothing_is_read_while_the_browser_is_behind(self) -> None:
        waits: Deferred[None] = Deferred()

        async def slow() -> AsyncIterator[list[Sequence[Any]]]:
            await waits
            async for batch in self.batches(5):
                yield batch

        request = FakeRequest()
        visit = Visit(request, "/x", "", "", ENGLISH, account=account())  # type: ignore[arg-type]
        self.exports.csv(visit, "x", ("a", "b"), slow())
        request.producer.pauseProducing()
        waits.callback(None)
        self.assertEqual(self.read, 1)
        request.producer.resumeProducing()
        self.assertEqual(self.read, 5)

    def test_who_leaves_ends_it(self) -> None:
        waits: Deferred[None] = Deferred()

        async def endless() -> AsyncIterator[list[Sequence[Any]]]:
            while True:
                self.read += 1
                yield [[1, 2]]
                await waits

        request = FakeRequest()
        visit = Visit(request, "/x", "", "", ENGLISH, account=account())  # type: ignore[arg-type]
        self.exports.csv(visit, "x", ("a", "b"), endless())
        request.gone.callback(None)
        waits.callback(None)
        self.assertEqual(self.read, 2)
        self.begin()

    def test_who_reads_nothing_keeps_no_place(self) -> None:
        waits: Deferred[None] = Deferred()

        async def stuck() -> AsyncIterator[list[Sequence[Any]]]:
            await waits
            yield [[1, 2]]
            yield [[1, 2]]

        request = FakeRequest()
        visit = Visit(request, "/x", "", "", ENGLISH, account=account())  # type: ignore[arg-type]
        self.exports.csv(visit, "x", ("a", "b"), stuck())
        request.producer.pauseProducing()
        self.clock.advance(SLOW - 1)
        request.producer.resumeProducing()  # slow, but alive
        request.producer.pauseProducing()
        self.clock.advance(SLOW - 1)
        self.assertFalse(request.transport.aborted)
        self.clock.advance(1)
        self.assertTrue(request.transport.aborted)
        request.gone.callback(None)
        waits.callback(None)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        for _ in range(OF_A_USER + 1):
            self.begin()

    def test_who_leaves_while_behind(self) -> None:
        """The transport says so before the request knows: an answer that ended in between would be finished with its producer."""
        waits: Deferred[None] = Deferred()

        async def stuck() -> AsyncIterator[list[Sequence[Any]]]:
            await waits
            yield [[1, 2]]
            yield [[1, 2]]

        request, ended = FakeRequest(), []  # type: FakeRequest, list[Any]
        visit = Visit(request, "/x", "", "", ENGLISH, account=account())  # type: ignore[arg-type]
        answer = self.exports.csv(visit, "x", ("a", "b"), stuck())
        assert answer.then is not None
        answer.then.addCallback(ended.append)
        request.producer.pauseProducing()
        waits.callback(None)
        request.producer.stopProducing()
        self.assertEqual(ended, [])
        request.gone.callback(None)
        self.assertEqual(len(ended), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_customer_leaves_room_for_others(self) -> None:
        waits: Deferred[None] = Deferred()

        async def stuck() -> AsyncIterator[list[Sequence[Any]]]:
            await waits
            yield [[1, 2]]

        def ask(user: int, customer: int) -> None:
            who = evolve(account(user), customer_id=customer)
            self.exports.csv(Visit(FakeRequest(), "/x", "", "", ENGLISH, account=who), "x", ("a", "b"), stuck())  # type: ignore[arg-type]

        for user in range(OF_A_CUSTOMER):
            ask(user, 1)
        self.assertRaises(Fault, ask, 100, 1)
        ask(101, 2)

    def test_what_breaks_off_is_seen(self) -> None:
        request, _, ended = self.begin(2, broken=True)
        self.assertTrue(request.transport.aborted)
        self.assertEqual(len(ended), 1)

    def test_so_many_at_once(self) -> None:
        waits: Deferred[None] = Deferred()

        async def stuck() -> AsyncIterator[list[Sequence[Any]]]:
            await waits
            yield [[1, 2]]

        for user in (1, 2, 3, 4):
            for _ in range(OF_A_USER):
                visit = Visit(FakeRequest(), "/x", "", "", ENGLISH, account=account(user))  # type: ignore[arg-type]
                self.exports.csv(visit, "x", ("a", "b"), stuck())
            self.assertRaises(Fault, self.begin, user=user)
        self.assertRaises(Fault, self.begin, user=5)
        waits.callback(None)
        self.begin(user=5)
