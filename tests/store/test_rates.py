from __future__ import annotations

import time
from random import Random
from typing import Any

from protei_bulk.channels.http.budgets import Budgets
from protei_bulk.channels.http.limits import Ask, Policy, Verdict
from protei_bulk.store.rates import Lease, Rates
from tests.channels.http.ledger import Ledger, first_excess
from tests.store.database import DatabaseCase

KEY = Policy("key", 60, 60, 10)
ADDRESS = Policy("address", 1000, 3600)


class RatesTest(DatabaseCase):
    async def setUp(self) -> None:
        await super().setUp()
        self.rates = Rates(self.db, 1)

    async def lease(self, holder: int, seq: int, *asks: Ask) -> list[Lease]:
        found = await self.rates.lease(holder, seq, 30.0, asks)
        assert found is not None
        return found

    async def test_in_the_order_asked(self) -> None:
        holder = await self.rates.register(30.0)
        asks = [Ask(KEY, "b", [], 0, 3), Ask(ADDRESS, "10.0.0.1", [], 0, 50), Ask(KEY, "a", [], 0, 20)]
        found = await self.lease(holder, 1, *asks)
        self.assertEqual([(g.granted, g.left, g.others) for g in found], [(3, 7, 0), (50, 950, 0), (10, 0, 0)])
        self.assertAlmostEqual(found[2].again, 1.0, 3)

    async def test_a_statement_that_comes_late_is_not_applied(self) -> None:
        holder = await self.rates.register(30.0)
        await self.lease(holder, 2, Ask(KEY, "a", [], 0, 1))
        self.assertIsNone(await self.rates.lease(holder, 1, 30.0, [Ask(KEY, "a", [], 0, 1)]))
        self.assertEqual(await self.lease(holder, 3), [])

    async def test_a_restart_ends_what_the_node_held(self) -> None:
        first = await self.rates.register(30.0)
        await self.lease(first, 1, Ask(KEY, "a", [], 0, 4))
        second = await self.rates.register(30.0)
        self.assertIsNone(await self.rates.lease(first, 2, 30.0, []))
        [found] = await self.lease(second, 1, Ask(KEY, "a", [], 0, 10))
        self.assertEqual((found.granted, found.others), (6, 0))

    async def test_whole_budgets_are_forgotten(self) -> None:
        holder = await self.rates.register(30.0)
        await self.lease(holder, 1, Ask(KEY, "old", [], 0, 0), Ask(KEY, "new", [], 0, 0), Ask(ADDRESS, "used", [(0.0, 5)], 0, 0))
        await self.db.execute(
            "UPDATE tbl_rate_budgets SET touched_at = now() - interval '5 hours',"
            " clean_at = clean_at - interval '4 hours' WHERE key <> 'new'"
        )
        await self.rates.purge()
        self.assertEqual(sorted(await self.db.query("SELECT key FROM tbl_rate_budgets")), [("new",), ("used",)])

    async def test_the_function_does_what_the_ledger_says(self) -> None:
        """Intervals are so long that the seconds a run takes do not matter."""
        random = Random(5)
        policies = [Policy("b", 10, 10_003.7, 7), Policy("w", 60, 360_000.0), Policy("c", 3, 30_001.1, 40)]
        ledger = Ledger(time.time)
        nodes = {n: Rates(self.db, n) for n in (1, 2, 3)}
        holders: dict[int, list[int]] = {}  # node -> holder in the database, in the ledger, sequence
        for node in nodes:
            holders[node] = [await nodes[node].register(9000.0), ledger.register(node, 9000.0), 0]
        held: dict[tuple[int, Policy, str], int] = {}
        for step in range(400):
            node = random.randrange(1, 4)
            if random.random() < 0.04:
                ago = random.randrange(0, 5000)
                await self.db.execute(
                    "UPDATE tbl_rate_holders SET expires_at = now() - make_interval(secs => %s) WHERE holder_id = %s",
                    (ago, holders[node][0]),
                )
                ledger.holders[holders[node][1]].expires = time.time() - ago
                holders[node] = [await nodes[node].register(9000.0), ledger.register(node, 9000.0), 0]
                held = {k: n for k, n in held.items() if k[0] != node}
            asks = []
            for policy in policies:
                for key in random.sample(["x", "y"], random.randrange(0, 3)):
                    have = held.get((node, policy, key), 0)
                    spent = random.randrange(0, have + 1)
                    back = random.randrange(0, have - spent + 1)
                    ages = sorted((random.randrange(0, 8000) for _ in range(spent)), reverse=True)
                    asks.append(Ask(policy, key, [(float(a), 1) for a in ages], have - spent - back, random.randrange(0, 9)))
            random.shuffle(asks)
            here = holders[node]
            here[2] += 1
            found = await nodes[node].lease(here[0], here[2], 9000.0, asks)
            expected = ledger.lease(here[1], here[2], 9000.0, asks)
            assert found is not None and expected is not None
            for ask, f, e in zip(asks, found, expected, strict=True):
                self.assertEqual((f.granted, f.left, f.others), (e.granted, e.left, e.others), (step, ask))
                self.assertLess(abs(f.again - e.again) + abs(f.full_in - e.full_in), 60)
                held[node, ask.policy, ask.key] = ask.held + f.granted


class TwoNodesTest(DatabaseCase):
    """Two nodes on one database, with real time."""

    async def setUp(self) -> None:
        await super().setUp()
        from twisted.internet import reactor

        self.nodes = []
        for n in (1, 2):
            node = Budgets(Rates(self.db.dedicated(f"rates{n}"), n), reactor, time.monotonic)  # type: ignore[arg-type]
            self.db.listen("protei_rates", node.recall)
            node.start()
            self.nodes.append(node)
            self.addCleanup(node.close)

    async def verdicts(self, policy: Policy, key: str, *turns: int) -> list[tuple[float, float]]:
        """(when it was let in, its wait) of one request at each of these nodes, all at once."""
        found = []

        def heard(verdict: Verdict) -> None:
            found.append((time.monotonic(), verdict.wait))

        asked: list[Any] = []
        for turn in turns:
            verdict = self.nodes[turn].take(policy, key)
            if isinstance(verdict, Verdict):
                heard(verdict)
            else:
                asked.append(verdict.addCallback(heard))
        for d in asked:
            await d
        return found

    async def test_the_sum_over_both(self) -> None:
        policy = Policy("key", 1200, 60, 10)
        began = time.monotonic()
        found = []
        for _ in range(60):
            found += await self.verdicts(policy, "ahmad", 0, 1, 1, 0)
        taken = [at for at, wait in found if not wait]
        seconds = time.monotonic() - began
        self.assertIsNone(first_excess(policy, taken))
        self.assertGreaterEqual(len(taken), 10)
        self.assertLessEqual(len(taken), 10 + 20 * seconds)

    async def test_a_window_over_both(self) -> None:
        found = []
        for _ in range(30):
            found += await self.verdicts(Policy("address", 50, 3600), "10.0.0.1", 0, 1)
        self.assertEqual(sum(not wait for _, wait in found), 50)

    async def test_what_is_spent_from_memory_costs_no_statement(self) -> None:
        policy = Policy("key", 60_000, 60, 1000)
        await self.verdicts(policy, "ahmad", 0)
        counted = "SELECT sum(last_seq) FROM tbl_rate_holders"
        [[before]] = await self.db.query(counted)
        found = await self.verdicts(policy, "ahmad", *([0] * 400))
        [[after]] = await self.db.query(counted)
        self.assertEqual(sum(not wait for _, wait in found), 400)
        self.assertLessEqual(after - before, 1)
