"""Dry runs: cost, ways and the end of a campaign."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.campaigns.estimate import Estimate, Share, end, estimate, speed
from protei_bulk.campaigns.windows import SendingWindow
from protei_bulk.campaigns.zones import zones_of
from protei_bulk.model.account import Account
from protei_bulk.model.message import Message
from protei_bulk.routing.rules import Decision, Router
from protei_bulk.settings import Route
from protei_bulk.settings.routes import read_route

ACCOUNT = Account(1, "ahmad", 1)


def route(**table: object) -> Route:
    found, problems = read_route({"name": "r", **table}, None)
    assert found is not None, problems
    return found


def message(dest: str, segments: int) -> Message:
    m = Message()
    m.dest, m.segments, m.source, m.channel = dest, segments, "MyCompany", "WEB"
    return m


def run(histogram: list[list[object]], router: Router, prices: dict[str, str] | None = None) -> Estimate:
    known = prices or {}

    def price(account: Account, dest: str) -> Decimal | None:
        return next((Decimal(p) for prefix, p in known.items() if dest.startswith(prefix)), None)

    def order(way: Decision, dest: str) -> tuple[str, ...]:
        return router.candidates(way, dest)

    return estimate(ACCOUNT, histogram, message, router.route, price, order)  # type: ignore[arg-type]


class Estimates(SynchronousTestCase):
    def test_a_million(self) -> None:
        router = Router([], ["SMSC1", "SMSC2"], lambda: 0.0)
        found = run([["9627881", 1, 980_000], ["9627999", 2, 20_000]], router, {"962": "0.02"})
        self.assertEqual((found.recipients, found.segments, found.taken), (1_000_000, 1_020_000, 1_000_000))
        self.assertEqual(found.cost, Decimal("20400.00"))
        self.assertEqual(found.ways, (Share("SMSC1", 1_020_000, 1.0),))

    def test_ways_and_refusals(self) -> None:
        router = Router([
            route(order=1, match={"prefix": ["96279"]}, to=["A", "B"], strategy="weighted", weights=[3, 1], price=0.01),
            route(name="even", order=2, match={"prefix": ["96278"]}, to=["A", "B"], strategy="round-robin"),
            route(name="none", order=3, match={"prefix": ["20"]}, reject="ESME_RINVDSTADR"),
        ], ["A", "B"], lambda: 0.0)  # fmt: skip
        found = run([["9627911", 1, 400], ["9627811", 2, 100], ["2010012", 1, 7], ["4915112", 1, 3]], router, {"96278": "0.5"})
        self.assertEqual(found.refused, {"REJECTED_BY_ROUTE": 7, "NO_ROUTE": 3})
        self.assertEqual({w.smsc: w.segments for w in found.ways}, {"A": 400, "B": 200})
        self.assertEqual((found.cost, found.unpriced, found.taken), (Decimal("104.00"), 0, 500))

    def test_without_prices_it_is_free(self) -> None:
        found = run([["9627881", 1, 5]], Router([], ["A"], lambda: 0.0))
        self.assertEqual((found.cost, found.unpriced), (0, 5))
        self.assertEqual(run([], Router([], ["A"], lambda: 0.0)).ways, ())

    @settings(deadline=None, max_examples=50)
    @given(st.lists(st.tuples(st.sampled_from(["9627911", "2010012", "1"]), st.integers(1, 4), st.integers(1, 10**6)), max_size=20))
    def test_the_parts_make_the_whole(self, rows: list[tuple[str, int, int]]) -> None:
        router = Router([route(to=["A", "B", "C"], strategy="weighted", weights=[1, 2, 0])], ["A", "B", "C"], lambda: 0.0)
        found = run([list(r) for r in rows], router)
        self.assertEqual(found.segments, sum(s * n for _, s, n in rows))
        self.assertAlmostEqual(sum(w.share for w in found.ways), 1.0 if rows else 0.0)


class Ends(SynchronousTestCase):
    def at(self, hour: int, day: int = 24) -> float:
        return datetime(2026, 11, day, hour, 0, tzinfo=ZoneInfo("Asia/Amman")).timestamp()

    def test_speed_is_that_of_the_narrowest_way(self) -> None:
        ways = (Share("A", 75, 0.75), Share("B", 25, 0.25))
        self.assertEqual(speed(ways, {"A": 300, "B": 50}), 200.0)
        self.assertEqual(speed(ways, {"A": 300, "B": 500}, 0, 100), 100.0)
        self.assertEqual(speed(ways, {}), 0.0)

    def test_at_any_hour(self) -> None:
        self.assertEqual(end(self.at(12), {"JO": 36_000}, 10.0, None, zones_of), self.at(13))

    def test_what_is_left_goes_on_the_next_day(self) -> None:
        window = SendingWindow.parse("09:00", "21:00")
        finished = end(self.at(20), {"JO": 2 * 36_000}, 10.0, window, zones_of)
        self.assertEqual(finished, self.at(10, 25))
        self.assertEqual(end(self.at(22), {"JO": 36_000}, 10.0, window, zones_of), self.at(10, 25))

    def test_each_country_has_its_hours(self) -> None:
        window = SendingWindow.parse("09:00", "21:00")
        finished = end(self.at(12), {"JO": 36_000, "NZ": 36_000}, 10.0, window, zones_of)
        self.assertIsNotNone(finished)
        local = datetime.fromtimestamp(finished or 0, ZoneInfo("Pacific/Auckland"))
        self.assertEqual((local.hour, local.minute), (10, 0))

    def test_never_within_two_weeks(self) -> None:
        window = SendingWindow.parse("09:00", "10:00", (0,))
        self.assertIsNone(end(self.at(12), {"JO": 10**7}, 1.0, window, zones_of))
