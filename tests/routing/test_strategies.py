from __future__ import annotations

from collections import Counter
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.routing.numbering import NumberPlan, PortedNumbers
from protei_bulk.routing.prefixes import PrefixTable
from protei_bulk.routing.strategies import Orders


class Facts:
    def __init__(self, costs: dict[str, Decimal] | None = None, shares: dict[str, float] | None = None) -> None:
        self.costs, self.shares = costs or {}, shares or {}

    def cost(self, smsc: str, dest: str) -> Decimal | None:
        return self.costs.get(smsc)

    def delivered_share(self, smsc: str) -> float | None:
        return self.shares.get(smsc)


class StrategiesTest(SynchronousTestCase):
    @given(st.dictionaries(st.sampled_from("ABCDE"), st.integers(0, 9), min_size=2).filter(lambda w: any(w.values())))
    @settings(deadline=None)
    def test_weighted_keeps_its_shares_exactly(self, weights: dict[str, int]) -> None:
        orders, smscs = Orders(), tuple(weights)
        total = sum(weights.values())
        firsts = [orders.of("weighted", "r", smscs, weights, "")[0] for _ in range(3 * total)]
        for begin in range(0, 3 * total, total):
            self.assertEqual(Counter(firsts[begin : begin + total]), Counter({s: w for s, w in weights.items() if w}))

    def test_weighted_keeps_the_others_for_failover(self) -> None:
        self.assertEqual(sorted(Orders().of("weighted", "r", ("A", "B", "C"), {"A": 5}, "")), ["A", "B", "C"])

    def test_least_cost(self) -> None:
        orders = Orders(Facts({"B": Decimal("0.01"), "A": Decimal("0.02")}))
        self.assertEqual(orders.of("least-cost", "r", ("C", "A", "B"), {}, "962"), ("B", "A", "C"))
        self.assertEqual(Orders().of("least-cost", "r", ("C", "A"), {}, "962"), ("C", "A"))

    def test_best_delivery_tries_the_unknown_now_and_then(self) -> None:
        orders = Orders(Facts(shares={"A": 0.7, "B": 0.9}))
        firsts = Counter(orders.of("best-delivery", "r", ("A", "B", "C"), {}, "")[0] for _ in range(40))
        self.assertEqual(firsts, Counter({"B": 38, "C": 2}))
        self.assertEqual(orders.of("best-delivery", "r", ("A", "B", "C"), {}, ""), ("C", "B", "A"))
        self.assertEqual(orders.of("best-delivery", "r", ("A", "B", "C"), {}, ""), ("B", "A", "C"))


class NumbersTest(SynchronousTestCase):
    @given(st.dictionaries(st.text("0123", min_size=1, max_size=4), st.text("ab", min_size=1), max_size=20), st.text("0123", max_size=6))
    @settings(deadline=None)
    def test_longest_prefix(self, table: dict[str, str], number: str) -> None:
        best = max((p for p in table if number.startswith(p)), key=len, default="")
        self.assertEqual(PrefixTable(table).longest(number), best)
        self.assertEqual(PrefixTable(table).find(number, "none"), table.get(best, "none"))

    @given(
        st.dictionaries(st.text("0123456789", min_size=1, max_size=15), st.sampled_from(("41601", "41603"))),
        st.text("0123456789", max_size=15),
    )
    @settings(deadline=None)
    def test_ported_numbers(self, ported: dict[str, str], number: str) -> None:
        rows = {int(n): network for n, network in ported.items()}
        self.assertEqual(PortedNumbers(ported.items()).network(number), rows.get(int(number), "") if number else "")

    def test_porting_wins_over_the_prefix(self) -> None:
        plan = NumberPlan({"96279": "41601"}, PortedNumbers([("962791111111", "41603")]))
        self.assertEqual([plan.network(n) for n in ("962791111111", "962791111112", "1", "abc")], ["41603", "41601", "", ""])
