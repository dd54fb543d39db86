from __future__ import annotations

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.routing.costs import Cost, CostTable
from protei_bulk.routing.facts import RoutingFacts
from protei_bulk.routing.quality import Quality

EVER = float("-inf")
networks = st.sampled_from(("", "416", "41601", "41603", "234"))
prefixes = st.sampled_from(("", "9", "96278", "962", "44"))
costs = st.lists(
    st.builds(
        lambda smsc, network, prefix, cost, currency, begin: Cost(smsc, network, "" if network else prefix, Decimal(cost), currency, begin),
        st.sampled_from("AB"), networks, prefixes, st.integers(0, 9), st.sampled_from(("USD", "EUR", "XXX")),
        st.sampled_from((EVER, 5.0, 10.0)),
    ),
    max_size=12, unique_by=lambda c: (c.smsc, c.network, c.prefix, c.valid_from),
)  # fmt: skip


def naive(rows: list[Cost], now: float, smsc: str, dest: str, network: str) -> Decimal | None:
    """Every entry is asked."""
    worth = {"USD": Decimal(1), "EUR": Decimal(2)}
    young: dict[tuple[str, str], Cost] = {}
    for c in rows:
        known = young.get((c.network, c.prefix))
        if c.smsc == smsc and c.valid_from <= now and (known is None or known.valid_from < c.valid_from):
            young[c.network, c.prefix] = c
    known_worth = [c for c in young.values() if c.currency in worth]
    by_network = [c for c in known_worth if network and c.network in (network, network[:3]) and c.network]
    by_prefix = [c for c in known_worth if not c.network and dest.startswith(c.prefix)]
    best = max(by_network, key=lambda c: len(c.network), default=None) or max(by_prefix, key=lambda c: len(c.prefix), default=None)
    return None if best is None else best.cost * worth[best.currency]


class Costs(SynchronousTestCase):
    @given(
        costs, st.sampled_from((0.0, 5.0, 7.0, 20.0)), st.sampled_from(("962781", "447700", "1")), st.sampled_from(("", "41601", "23410"))
    )
    @settings(deadline=None)
    def test_agrees_with_one_that_asks_every_entry(self, rows: list[Cost], now: float, dest: str, network: str) -> None:
        table = CostTable(rows, now, "USD", {"EUR": Decimal(2)})
        for smsc in "ABC":
            self.assertEqual(table.cost(smsc, dest, network), naive(rows, now, smsc, dest, network))
        self.assertEqual(table.changes_at, min((c.valid_from for c in rows if c.valid_from > now), default=float("inf")))

    def test_currencies_without_a_rate(self) -> None:
        table = CostTable([Cost("A", "", "", Decimal(1), "JOD")], 0.0, "USD")
        self.assertEqual((table.without_rate, table.cost("A", "1", "")), ({"JOD"}, None))

    def test_a_ported_number_costs_what_its_network_costs(self) -> None:
        facts = RoutingFacts(lambda dest: "41603" if dest == "962791" else "", Quality())
        facts.costs = CostTable([Cost("A", "", "96279", Decimal(1), "USD"), Cost("A", "41603", "", Decimal(2), "USD")])
        self.assertEqual([facts.cost("A", dest) for dest in ("962791", "962792", "44")], [2, 1, None])


class Shares(SynchronousTestCase):
    def heard(self, q: Quality, smsc: str, delivered: int, failed: int) -> None:
        for n in range(delivered + failed):
            q.note(smsc, n < delivered)

    def test_share(self) -> None:
        q = Quality(3600.0, least=10)
        self.heard(q, "A", 8, 2)
        self.heard(q, "B", 8, 1)
        self.assertIsNone(q.share("A"))
        q.fold(1000.0)
        self.assertEqual((q.share("A"), q.share("B"), q.share("C")), (0.8, None, None))

    def test_it_forgets(self) -> None:
        q = Quality(100.0, least=10)
        self.heard(q, "A", 0, 40)
        q.fold(1000.0)
        self.heard(q, "A", 20, 0)
        q.fold(1100.0)  # 40 count as 20 now
        self.assertEqual((q.share("A"), q.own("A")), (0.5, (20.0, 40.0)))
        q.fold(1400.0)
        self.assertIsNone(q.share("A"))  # five receipts are left of it

    def test_a_restart_and_other_nodes(self) -> None:
        q = Quality(100.0, least=10)
        q.restore([("A", 20.0, 40.0, 100.0)])
        q.hear([("A", 10.0, 10.0, 0.0), ("A", 20.0, 20.0, 100.0), ("B", 5.0, 10.0, 0.0)])
        q.fold(1000.0)
        self.assertEqual((q.share("A"), q.share("B"), q.own("B")), (0.75, 0.5, (0.0, 0.0)))
