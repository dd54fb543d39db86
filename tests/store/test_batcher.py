from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.store.batcher import Batcher


class BatcherTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.batches: list[list[int]] = []
        self.answers: list[Deferred[Any]] = []

    def run_batch(self, batch: list[int]) -> Deferred[Any]:
        self.batches.append(batch)
        answer: Deferred[Any] = Deferred()
        self.answers.append(answer)
        return answer

    def batcher(self, **options: int) -> Batcher[int]:
        return Batcher(self.run_batch, reactor=self.clock, **options)

    def test_one_turn_is_one_batch(self) -> None:
        batcher = self.batcher()
        batcher.add(1)
        batcher.add(2)
        self.assertEqual(self.batches, [])
        self.clock.advance(0)
        self.assertEqual(self.batches, [[1, 2]])
        self.assertEqual(batcher.pending, 2)

    def test_the_next_batch_gathers_while_one_is_in_flight(self) -> None:
        batcher = self.batcher()
        batcher.add(1)
        self.clock.advance(0)
        batcher.add(2)
        self.clock.advance(0)
        batcher.extend([3, 4])
        self.clock.advance(0)
        self.assertEqual(self.batches, [[1]])
        self.answers[0].callback(None)
        self.assertEqual(self.batches, [[1], [2, 3, 4]])

    def test_at_most_max_rows(self) -> None:
        batcher = self.batcher(max_rows=2)
        batcher.extend(range(5))
        self.clock.advance(0)
        for _ in range(3):
            self.answers[-1].callback(None)
        self.assertEqual(self.batches, [[0, 1], [2, 3], [4]])
        self.assertEqual(batcher.pending, 0)

    def test_concurrency(self) -> None:
        batcher = self.batcher(max_rows=1, concurrency=2)
        batcher.extend([1, 2, 3])
        self.clock.advance(0)
        self.assertEqual(self.batches, [[1], [2]])
        self.answers[1].callback(None)
        self.assertEqual(self.batches, [[1], [2], [3]])
        self.assertEqual(batcher.pending, 2)

    def test_drained(self) -> None:
        batcher = self.batcher()
        self.successResultOf(batcher.drained())
        batcher.add(1)
        first, second = batcher.drained(), batcher.drained()
        second.cancel()
        self.failureResultOf(second)
        self.clock.advance(0)
        self.assertNoResult(first)
        self.answers[0].callback(None)
        self.successResultOf(first)

    def test_what_is_added_by_a_run_is_drained_too(self) -> None:
        batcher = self.batcher()
        batcher.add(1)
        drained = batcher.drained()
        self.clock.advance(0)
        batcher.add(2)
        self.answers[0].callback(None)
        self.assertNoResult(drained)
        self.answers[1].callback(None)
        self.successResultOf(drained)

    def test_an_escaped_error_costs_its_batch_only(self) -> None:
        batcher = self.batcher()
        batcher.add(1)
        self.clock.advance(0)
        batcher.add(2)
        self.answers[0].errback(ZeroDivisionError())
        self.assertEqual(self.batches, [[1], [2]])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_run_that_raises(self) -> None:
        def run(batch: list[int]) -> Deferred[Any]:
            raise ZeroDivisionError

        batcher: Batcher[int] = Batcher(run, reactor=self.clock)
        batcher.add(1)
        self.clock.advance(0)
        self.assertEqual(batcher.pending, 0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_many_runs_that_end_at_once_do_not_recurse(self) -> None:
        done: list[int] = []

        def run(batch: list[int]) -> Deferred[None]:
            done.extend(batch)
            return succeed(None)

        batcher: Batcher[int] = Batcher(run, reactor=self.clock, max_rows=1)
        batcher.extend(range(5000))
        self.clock.advance(0)
        self.assertEqual(done, list(range(5000)))

    def test_an_idle_batcher_leaves_no_timer(self) -> None:
        batcher = self.batcher()
        batcher.extend([])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_limits_are_checked(self) -> None:
        self.assertRaises(ValueError, self.batcher, max_rows=0)
        self.assertRaises(ValueError, self.batcher, concurrency=0)

    @given(st.lists(st.sampled_from(["add", "turn", "answer"])), st.integers(1, 3), st.integers(1, 3))
    def test_nothing_is_lost_doubled_or_reordered(
        self, steps: list[str], rows: int, concurrency: int
    ) -> None:
        self.setUp()
        batcher = self.batcher(max_rows=rows, concurrency=concurrency)
        added = 0
        for step in steps:
            if step == "add":
                batcher.add(added)
                added += 1
            elif step == "turn":
                self.clock.advance(0)
            else:
                waiting = [d for d in self.answers if not d.called]
                if waiting:
                    waiting[-1].callback(None)
            self.assertLessEqual(len([d for d in self.answers if not d.called]), concurrency)
        self.clock.advance(0)
        while any(not d.called for d in self.answers):
            next(d for d in self.answers if not d.called).callback(None)
        self.assertEqual([item for batch in self.batches for item in batch], list(range(added)))
        self.assertLessEqual(max(map(len, self.batches), default=0), rows)
        self.successResultOf(batcher.drained())
