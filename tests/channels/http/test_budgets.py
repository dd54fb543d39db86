from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any
from unittest import TestCase

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.channels.http import budgets, limits
from protei_bulk.channels.http.budgets import Budgets
from protei_bulk.channels.http.limits import Ask, Policy, Purse, Verdict
from tests.channels.http.ledger import Ledger, first_excess

KEY = Policy("key", 60, 60, 10)
ADDRESS = Policy("address", 100, 3600)


class Store:
    """A way to the ledger: `delay()` seconds there and back; `lost()` says whether a statement, or its answer, is lost."""

    def __init__(self, ledger: Ledger, clock: Clock, node: int = 1) -> None:
        self.ledger, self.clock, self.node = ledger, clock, node
        self.delay: Callable[[], float] = lambda: 0.0
        self.lost: Callable[[], bool] = lambda: False
        self.gone = False
        self.peers: list[Budgets] = []

    def _run(self, statement: Callable[[], Any]) -> Deferred[Any]:
        if self.gone:
            return fail(ConnectionError("gone"))
        d: Deferred[Any] = Deferred()

        def arrive() -> None:
            if self.lost():
                self.clock.callLater(self.delay(), d.errback, ConnectionError("lost on the way"))
                return
            result = statement()
            while self.ledger.notified:
                payload = self.ledger.notified.pop()
                for peer in self.peers:
                    self.clock.callLater(self.delay(), peer.recall, payload)
            if self.lost():
                self.clock.callLater(self.delay(), d.errback, ConnectionError("answer lost"))
            else:
                self.clock.callLater(self.delay(), d.callback, result)

        self.clock.callLater(self.delay(), arrive)
        return d

    def register(self, term: float) -> Deferred[int]:
        return self._run(lambda: self.ledger.register(self.node, term))

    def lease(self, holder: int, seq: int, term: float, asks: Sequence[Ask]) -> Deferred[Any]:
        return self._run(lambda: self.ledger.lease(holder, seq, term, asks))

    def end(self, holder: int) -> Deferred[int]:
        return self._run(lambda: self.ledger.end(holder))

    def purge(self) -> Deferred[int]:
        return succeed(0)


class BudgetsCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.ledger = Ledger(self.clock.seconds)
        self.stores: list[Store] = []
        self.nodes = [self.node(1)]

    def node(self, number: int) -> Budgets:
        store = Store(self.ledger, self.clock, number)
        node = Budgets(store, self.clock, self.clock.seconds)
        self.stores.append(store)
        for s in self.stores:
            s.peers.append(node)
        store.peers = list(self.stores[0].peers)
        return node

    def take(self, n: int = 1, node: int = 0, policy: Policy = KEY, key: str = "ahmad") -> list[Verdict]:
        """What so many requests at once hear."""
        asked = [self.nodes[node].take(policy, key) for _ in range(n)]
        for _ in range(20):
            self.clock.advance(0.02)
        return [v if isinstance(v, Verdict) else self.successResultOf(v) for v in asked]

    def taken(self, *args: Any, **kw: Any) -> int:
        return sum(v.wait == 0 for v in self.take(*args, **kw))


class OneNodeTest(BudgetsCase):
    def test_the_whole_burst_at_once(self) -> None:
        verdicts = self.take(12)
        self.assertEqual([v.wait == 0 for v in verdicts], [True] * 10 + [False] * 2)
        self.assertEqual([v.left for v in verdicts[:10]], list(range(9, -1, -1)))
        self.assertAlmostEqual(verdicts[-1].wait, 1.0, 1)

    def test_then_one_a_second(self) -> None:
        self.take(10)
        self.clock.advance(5.0)
        self.assertEqual(self.taken(10), 5)

    def test_what_is_held_or_used_up_costs_no_statement(self) -> None:
        self.take(1)
        before = self.ledger.statements
        self.assertEqual(self.taken(9), 9)
        self.assertEqual(self.ledger.statements, before)
        self.assertEqual(self.taken(5), 0)
        before = self.ledger.statements
        for _ in range(100):
            self.take(1)[0]
        self.assertLessEqual(self.ledger.statements - before, 50)  # 40 s at one token a second, and the heartbeats

    def test_requests_that_come_together_share_a_statement(self) -> None:
        asked = [self.nodes[0].take(KEY, f"user{i}") for i in range(500)]
        self.clock.advance(0.0)
        for _ in range(10):
            self.clock.advance(0.001)
        self.assertEqual(self.ledger.statements, 1)
        self.assertEqual({self.successResultOf(v).wait for v in asked if isinstance(v, Deferred)}, {0.0})

    def test_a_window_is_exact(self) -> None:
        self.assertEqual(self.taken(150, policy=ADDRESS), 100)
        self.clock.advance(3000)
        [verdict] = self.take(policy=ADDRESS)
        self.assertTrue(0 < verdict.wait <= 720)
        self.clock.advance(verdict.wait)
        self.assertEqual(self.taken(150, policy=ADDRESS), 100)

    def test_more_at_once_than_could_ever_be_let_through_is_refused_at_once(self) -> None:
        asked = [self.nodes[0].take(KEY, "ahmad") for _ in range(1000)]
        self.assertEqual(sum(isinstance(v, Verdict) for v in asked), 990)
        for _ in range(10):
            self.clock.advance(0.01)
        self.assertEqual(sum(self.successResultOf(v).wait == 0 for v in asked if isinstance(v, Deferred)), 10)

    def test_what_is_unused_goes_back(self) -> None:
        self.nodes[0].start()
        self.take(3)
        self.clock.pump([1.0] * 700)
        self.assertEqual(self.ledger.budgets[KEY.id, "ahmad"].held, {})
        self.assertEqual(self.nodes[0]._purses, {})
        self.assertEqual(self.taken(11), 10)

    def test_the_number_of_budgets_in_memory_is_bounded(self) -> None:
        self.patch(limits, "MAX_KEYS", 10)
        for i in range(50):
            self.take(key=f"user{i}")
        self.assertLessEqual(len(self.nodes[0]._purses), 11)
        self.assertLessEqual(sum(sum(b.held.values()) for b in self.ledger.budgets.values()), 110)

    def test_a_stop_gives_everything_back(self) -> None:
        self.take(3)
        d = Deferred.fromCoroutine(self.nodes[0].close())
        self.clock.pump([0.0] * 5)
        self.successResultOf(d)
        self.assertEqual(self.ledger.budgets[KEY.id, "ahmad"].held, {})
        self.nodes = [self.node(1)]
        self.assertIn(self.taken(11), (7, 8))  # some time has passed


class SeveralNodesTest(BudgetsCase):
    def setUp(self) -> None:
        super().setUp()
        self.nodes.append(self.node(2))

    def test_the_sum_is_the_limit(self) -> None:
        asked = [self.nodes[i % 2].take(KEY, "ahmad") for i in range(40)]
        for _ in range(30):
            self.clock.advance(0.02)
        verdicts = [v if isinstance(v, Verdict) else self.successResultOf(v) for v in asked]
        self.assertEqual(sum(v.wait == 0 for v in verdicts), 10)

    def test_what_one_node_holds_unused_the_other_gets(self) -> None:
        self.assertEqual(self.taken(1, node=0), 1)  # node 1 was alone: it holds the other nine
        self.assertEqual(self.ledger.budgets[KEY.id, "ahmad"].held, {1: 10})  # one is spent, and not yet told
        self.assertEqual(self.taken(20, node=1), 9)

    def test_a_dead_node_keeps_nothing(self) -> None:
        self.taken(1, node=0)
        self.stores[0].peers.clear()
        for s in self.stores:
            s.peers = [self.nodes[1]]
        self.nodes[1].start()
        self.assertEqual(self.taken(1, node=1), 0)
        self.clock.pump([1.0] * 26)
        self.assertEqual(self.taken(20, node=1), 10)

    def test_one_that_was_silent_too_long_spends_nothing_any_more(self) -> None:
        self.taken(1, node=0)
        self.clock.advance(budgets.TERM + 11)
        self.assertEqual(self.taken(20, node=1), 10)
        self.assertEqual(self.taken(20, node=0), 0)


class NoDatabaseTest(BudgetsCase):
    def test_each_node_limits_by_itself_and_shares_again(self) -> None:
        self.stores[0].gone = True
        asked = self.nodes[0].take(KEY, "ahmad")
        assert isinstance(asked, Deferred)
        self.clock.pump([0.25] * 12)
        self.assertNoResult(asked)
        self.clock.pump([0.25] * 4)
        self.assertEqual(self.successResultOf(asked).wait, 0.0)
        self.assertEqual(self.taken(20), 9)
        self.stores[0].gone = False
        self.clock.pump([1.0] * 3)
        self.assertEqual(self.taken(20), 10)
        self.assertTrue(self.ledger.statements)

    def test_a_moment_without_it_is_waited_for(self) -> None:
        self.stores[0].gone = True
        asked = self.nodes[0].take(KEY, "ahmad")
        assert isinstance(asked, Deferred)
        self.clock.pump([0.25] * 4)
        self.stores[0].gone = False
        self.clock.pump([0.25] * 3)
        self.assertEqual(self.successResultOf(asked).wait, 0.0)
        self.assertFalse(self.nodes[0]._away)


class PropertyTest(TestCase):
    @settings(deadline=None, max_examples=60)
    @given(st.randoms(use_true_random=False), st.integers(1, 4), st.sampled_from([
        Policy("key", 60, 60, 10), Policy("key", 600, 60, 3), Policy("key", 30, 60, 1), Policy("ip", 40, 120), Policy("ip", 5, 60),
    ]))  # fmt: skip
    def test_the_sum_over_nodes_never_exceeds_the_limit(self, random: Random, nodes: int, policy: Policy) -> None:
        """Slow and lost statements, lost answers, nodes that die and come again."""
        clock = Clock()
        clock.advance(1000.0)
        ledger = Ledger(clock.seconds)
        uses: list[float] = []
        stores: dict[int, Store] = {}
        alive: dict[int, Budgets] = {}
        trouble = random.choice([0.0, 0.02, 0.2])

        def begin(number: int) -> None:
            store = stores[number] = Store(ledger, clock, number)
            store.delay = lambda: random.choice([0.0, 0.001, 0.01, 0.5])
            store.lost = lambda: random.random() < trouble
            alive[number] = Budgets(store, clock, clock.seconds)
            alive[number].start()
            for s in stores.values():
                s.peers = list(alive.values())

        def heard(verdict: Verdict, number: int, asked: Budgets) -> None:
            # One that limits by itself, or has died, lets nobody in: there is no database to serve him, or no process.
            if verdict.wait == 0 and alive.get(number) is asked and not asked._away:
                uses.append(clock.seconds())

        for number in range(nodes):
            begin(number)
        for _ in range(random.choice([50, 400])):
            number = random.randrange(nodes)
            node = alive[number]
            for _ in range(random.choice([1, 1, 1, 5])):
                verdict = node.take(policy, "k")
                if isinstance(verdict, Verdict):
                    heard(verdict, number, node)
                else:
                    verdict.addCallback(heard, number, node)
            if random.random() < 0.01:
                dead = alive[number]
                assert dead._beat_timer is not None
                dead._beat_timer.cancel()
                stores[number].gone = True
                begin(number)
            clock.advance(random.choice([0.0, 0.0, 0.01, 0.1, 1.0, 4.0, 20.0]))
        self.assertIsNone(first_excess(policy, uses), (policy, sorted(uses)))

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 10)), max_size=30))
    def test_a_purse_tells_every_use_once(self, steps: list[tuple[float, int]]) -> None:
        purse, now, spent, told = Purse(KEY, "k"), 0.0, 0, 0
        for gap, tokens in steps:
            now += gap
            purse.tokens += tokens
            while purse.spend(now):
                spent += 1
            told += sum(n for ago, n in purse.ask(now, 0).uses)
        self.assertEqual(spent, told)
