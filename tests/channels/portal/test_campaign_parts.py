"""What the pages about campaigns and analytics compute."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.channels.portal.analytics import _hourly, _span
from protei_bulk.channels.portal.campaign_words import actions, country, failure
from protei_bulk.channels.portal.campaigns import _after, _bar, _chart, _cursor, shown_for
from protei_bulk.channels.portal.i18n import ENGLISH
from protei_bulk.channels.portal.visit import Visit
from protei_bulk.store.pages_campaigns import SORTS, Campaign, Progress
from tests.channels.portal.test_events import FakeRequest

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def visit(**args: str) -> Visit:
    request: Any = FakeRequest()
    request.args = {k.rstrip("_").encode(): [v.encode()] for k, v in args.items()}
    return Visit(request, "/x", "", "", ENGLISH)


def campaign(**other: Any) -> Campaign:
    values: dict[str, Any] = {
        "pk": 7, "id": "CAMP-1", "name": "Summer", "channel": "WEB", "sender": "Shop", "status": "RUNNING", "reason": "", "planned": True,
        "daily": False, "total": 100, "accepted": 100, "sent": 60, "delivered": 40, "failed": 15, "unsent": 5, "created": NOW,
        "schedule": None, "started": NOW, "completed": None, "user_id": 1, "customer_id": 1, "username": "u", "customer": "c",
        "submitted_by": 1, "version": 3,
    }  # fmt: skip
    return Campaign(**(values | other))


class Decisions(SynchronousTestCase):
    def test_of_a_text_that_is_not_on_the_page_none_is_offered(self) -> None:
        names = ["approve", "reject", "withdraw"]
        self.assertEqual(shown_for(names, 3, 3), names)
        self.assertEqual(shown_for(names, 3, 5), ["withdraw"])
        self.assertEqual(shown_for(names, 0, 5), names)


class Counts(SynchronousTestCase):
    def test_each_message_is_in_one_state(self) -> None:
        x = campaign()
        self.assertEqual((x.underway, x.waiting, x.share), (10, 35, 0.55))
        self.assertEqual(x.delivered + x.failed + x.underway + x.waiting, x.total)
        self.assertEqual(campaign(total=0).share, 0.0)

    @given(st.lists(st.floats(0, 1), max_size=6))
    @settings(deadline=None)
    def test_a_bar_is_never_too_long(self, shares: list[float]) -> None:
        pieces = _bar([("x", 1, s, "good") for s in shares])
        self.assertLessEqual(sum(w for _, _, w in pieces), 1000.1)
        for (_, at, width), (_, following, _) in zip(pieces, pieces[1:], strict=False):
            self.assertLess(abs(at + width - following), 0.05)

    def test_a_chart_holds_sums_over_all_steps(self) -> None:
        p = Progress(campaign(), 1.0, [], [], [], 60, [(600.0, 9, 1, 0, 0), (780.0, 0, 2, 1, 1)])
        chart = _chart(visit(), p)
        assert chart is not None
        self.assertEqual([r[1] for r in chart.rows], [(0, 0, 0), (1, 0, 0), (1, 0, 0), (1, 0, 0), (3, 1, 1)])
        self.assertIsNone(_chart(visit(), Progress(campaign(), 0.0, [], [], [], 60, [])))


class Cursors(SynchronousTestCase):
    def test_they_come_back(self) -> None:
        for sort in SORTS:
            value, pk = _after(_cursor(campaign(name="a.b 'c"), sort), sort) or ("", 0)
            self.assertEqual(pk, 7)
            self.assertEqual(value, {"made": "7", "name": "a.b 'c", "recipients": "100", "delivered": "40", "failed": "15"}[sort])

    @given(st.text(max_size=40), st.sampled_from(sorted(SORTS)))
    @settings(deadline=None)
    def test_anything_else_is_none(self, given_: str, sort: str) -> None:
        found = _after(given_, sort)
        self.assertTrue(found is None or sort == "name" or found[0].isdigit())


class Words(SynchronousTestCase):
    def test_every_action_says_what_will_happen(self) -> None:
        names = ["pause", "resume", "cancel", "withdraw", "discard", "approve", "reject", "submit"]
        found = actions(visit(), campaign(name="Shop & Co", total=12345, sent=0, unsent=0), names)
        self.assertEqual([a.name for a in found], names[:-1])
        for a in found:
            self.assertIn("Shop & Co", a.title)
            self.assertTrue(a.text)
        self.assertIn("12,345 messages still wait.", found[0].text)

    def test_countries_and_reasons(self) -> None:
        self.assertEqual([country(visit(), c) for c in ("962", "1", "999", "", "abc")],
                         ["Jordan (+962)", "United States and others (+1)", "Unknown (+999)", "Unknown", "Unknown"])  # fmt: skip
        for code in ("", "EXPIRED", "005", "FAILED", "0x45", "777"):
            self.assertTrue(failure(visit(), code), code)


class Periods(SynchronousTestCase):
    today = date(2026, 11, 24)

    def span(self, **args: str) -> tuple[str, date, date]:
        found = _span(visit(**args), self.today)
        return found.preset, found.first, found.last

    def test_presets_and_days(self) -> None:
        self.assertEqual(self.span(), ("7", date(2026, 11, 18), self.today))
        self.assertEqual(self.span(period="today"), ("today", self.today, self.today))
        self.assertEqual(self.span(from_="2026-11-01", to="2026-11-02"), ("custom", date(2026, 11, 1), date(2026, 11, 2)))
        for wrong in ({"from_": "x"}, {"from_": "2026-11-03", "to": "2026-11-02"}, {"from_": "2020-01-01", "to": "2026-11-02"}):
            self.assertTrue(_span(visit(**wrong), self.today).error, wrong)

    def test_hours_are_shown_while_they_are_kept(self) -> None:
        for args, hourly in (({"period": "today"}, True), ({"period": "7"}, False), ({"from_": "2026-11-01", "to": "2026-11-02"}, True),
                             ({"from_": "2026-10-01", "to": "2026-10-01"}, False)):  # fmt: skip
            self.assertEqual(_hourly(_span(visit(**args), self.today), self.today), hourly, args)
