from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from attrs import evolve, frozen
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.intake.tables import RoutingTables
from protei_bulk.model.account import Account
from protei_bulk.model.message import Message
from protei_bulk.routing.costs import Cost
from protei_bulk.routing.facts import RoutingFacts
from protei_bulk.routing.numbering import NumberPlan, PortedNumbers
from protei_bulk.routing.quality import Quality
from protei_bulk.routing.rules import Router
from protei_bulk.settings import Rate, Route, Routing, Settings, Smsc

NOW = 1_800_000_000.0
SETTINGS = Settings(
    smsc=(Smsc("A", "h", 1), Smsc("B", "h", 1)), route=(Route("file", ("A",), 50),), routing=Routing(rate=(Rate("EUR", Decimal(2)),))
)
ACCOUNT = Account(user_id=1, username="ahmad", customer_id=1)


@frozen
class Row:
    table: dict[str, Any]
    enabled: bool = True

    @property
    def name(self) -> str:
        return str(self.table["name"])


@frozen
class CostRow:
    cost_of: Cost


class Store:
    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.prices: list[CostRow] = []
        self.plan = NumberPlan()
        self.broken = False
        self.asked: list[str] = []
        self.hold: Deferred[Any] | None = None

    def _answer(self, what: str, value: Any) -> Deferred[Any]:
        self.asked.append(what)
        if self.broken:
            return fail(OSError("away"))
        if self.hold is not None:
            return self.hold.addCallback(lambda _: value)
        return succeed(value)

    def rules(self) -> Deferred[Sequence[Row]]:
        return self._answer("rules", list(self.rows))

    def costs(self) -> Deferred[Sequence[CostRow]]:
        return self._answer("costs", list(self.prices))

    def numbers(self, ported: bool) -> Deferred[NumberPlan]:
        return self._answer(f"numbers {ported}", self.plan)


class Tables(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.store = Clock(), Store()
        self.clock.advance(NOW)
        self.facts = RoutingFacts(lambda dest: self.router.network(dest), Quality())
        self.router = Router(SETTINGS.route, ["A", "B"], self.clock.seconds, facts=self.facts)
        self.times: list[int] = []
        self.tables = RoutingTables(self.router, self.facts, self.store, SETTINGS, self.clock, lambda: self.times.append(1))

    def start(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.tables.start()))

    def names(self) -> list[str]:
        return [r.route.name for r in self.router.rules]

    def routed(self, dest: str = "962788") -> tuple[str, tuple[str, ...]]:
        m = Message()
        m.dest = dest
        decision = self.router.route(ACCOUNT, m)
        return decision.rule, decision.smscs

    def test_both_kinds_stand_in_one_order(self) -> None:
        self.store.rows = [Row({"name": n, "to": ["B"], "order": o}) for n, o in (("late", 60), ("early", 40), ("same", 50))]
        self.start()
        self.assertEqual(self.names(), ["early", "file", "same", "late"])
        self.assertEqual((self.routed(), self.tables.in_file, self.tables.in_database), (("early", ("B",)), 1, 3))

    def test_a_change_is_in_force_when_it_is_heard(self) -> None:
        self.start()
        self.assertEqual(self.routed(), ("file", ("A",)))
        self.store.rows = [Row({"name": "new", "to": ["B"], "order": 1})]
        self.store.asked.clear()
        loaded = len(self.times)
        self.tables.changed("tbl_routes")
        self.assertEqual((self.routed(), self.store.asked), (("new", ("B",)), ["rules"]))
        self.assertGreater(len(self.times), loaded)
        self.store.rows = [Row({"name": "new", "to": ["B"], "order": 1}, enabled=False)]
        self.tables.changed("")  # the connection was lost: anything may have changed
        self.assertEqual(self.routed(), ("file", ("A",)))
        self.assertEqual(self.store.asked[1:], ["rules", "numbers True", "costs"])

    def test_notifications_while_it_reads_are_one_more_reading(self) -> None:
        self.start()
        self.store.asked.clear()
        held = self.store.hold = Deferred()
        for _ in range(5):
            self.tables.changed("tbl_routes")
        self.assertEqual(self.store.asked, ["rules"])
        self.store.hold = None
        held.callback(None)
        self.assertEqual(self.store.asked, ["rules", "rules"])

    def test_what_is_wrong_is_left_out_and_said_once(self) -> None:
        self.store.rows = [
            Row({"name": "bad", "to": ["A"], "match": {"prefix": ["x"]}}), Row({"name": "file", "to": ["B"], "order": 1}),
            Row({"name": "good", "to": ["Z", "B"], "order": 2}),
            Row({"name": "lost", "to": ["Z"], "order": 3, "match": {"prefix": ["44"]}}),
        ]  # fmt: skip
        self.start()
        self.assertEqual(self.names(), ["good", "lost", "file"])
        self.assertEqual(self.routed(), ("good", ("B",)))

    def test_a_rule_whose_smscs_are_gone_refuses(self) -> None:
        self.store.rows = [Row({"name": "lost", "to": ["Z"], "order": 1})]
        self.start()
        m = Message()
        m.dest = "962788"
        refusal = self.router.route(ACCOUNT, m).refusal
        assert refusal is not None
        self.assertEqual(refusal.code, "NO_ROUTE")

    def test_other_settings(self) -> None:
        self.store.rows = [Row({"name": "db", "to": ["C"], "order": 1})]
        self.start()
        settings = evolve(SETTINGS, smsc=(*SETTINGS.smsc, Smsc("C", "h", 1)), route=(Route("other", ("A",), 0),))
        self.tables.configure(settings)
        self.assertEqual(self.names(), ["other", "db"])
        self.assertEqual(self.router.smsc_ids, ("A", "B", "C"))

    def test_numbers(self) -> None:
        self.store.plan = NumberPlan({"962": "41601"}, PortedNumbers([("962788", "41603")]))
        self.start()
        self.assertEqual((self.router.network("962788"), self.router.network("962789"), self.tables.ported), ("41603", "41601", 1))
        self.store.asked.clear()
        self.tables.changed("tbl_networks")
        self.tables.changed("tbl_ported_numbers")
        self.assertEqual(self.store.asked, ["numbers False", "numbers True"])

    def test_a_database_that_is_away_changes_nothing_and_is_asked_again(self) -> None:
        self.start()
        self.store.broken = True
        self.tables.changed("tbl_routes")
        self.tables.changed("tbl_smsc_costs")
        self.assertEqual(self.routed(), ("file", ("A",)))
        self.store.broken = False
        self.store.rows = [Row({"name": "new", "to": ["B"], "order": 1})]
        self.clock.advance(2.0)
        self.assertEqual(self.routed(), ("new", ("B",)))
        self.tables.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_at_the_start_it_fails(self) -> None:
        self.store.broken = True
        self.failureResultOf(Deferred.fromCoroutine(self.tables.start()), OSError)

    def test_costs_become_valid_in_time(self) -> None:
        self.store.prices = [
            CostRow(Cost("A", "", "", Decimal(1), "USD")), CostRow(Cost("A", "", "", Decimal(3), "EUR", NOW + 60)),
            CostRow(Cost("B", "", "", Decimal(1), "XXX")),
        ]  # fmt: skip
        self.start()
        self.assertEqual((self.facts.cost("A", "962"), self.facts.cost("B", "962")), (1, None))
        self.clock.advance(60.0)
        self.assertEqual(self.facts.cost("A", "962"), 6)
        self.store.prices = []
        self.tables.changed("tbl_smsc_costs")
        self.assertIsNone(self.facts.cost("A", "962"))
        self.assertEqual(self.clock.getDelayedCalls(), [])
