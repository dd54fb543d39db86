from __future__ import annotations

from decimal import Decimal

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.settings import Match, Rate, Rewrite, Route, Routing, SettingsError, parse
from protei_bulk.settings.routes import read_route, shown_route

SMSC = '[[smsc]]\nid = "A"\nhost = "h"\nport = 1\n'


class Tables(SynchronousTestCase):
    def problems(self, text: str) -> list[str]:
        return self.assertRaises(SettingsError, parse, text).problems

    def test_errors_of_an_smsc(self) -> None:
        settings = parse(SMSC + 'errors = {ESME_RINVDSTADR = "next", 0x0400 = "retry", "1025" = "pause", ESME_RSYSERR = "reject"}\n')
        self.assertEqual(settings.smsc[0].errors, ((0x0B, "next"), (0x400, "retry"), (1025, "pause"), (8, "reject")))
        for table, words in (
            ('{ESME_RNOTHING = "retry"}', 'not "ESME_RNOTHING"'), ('{ESME_ROK = "retry"}', 'not "ESME_ROK"'), ('{0 = "retry"}', 'not "0"'),
            ('{0x1FFFFFFFF = "retry"}', 'not "0x1FFFFFFFF"'), ('{0x08 = "perhaps"}', "one of pause, retry, next, reject for 0x08"),
            ("{0x08 = 1}", "one of pause"), ('"retry"', "a table such as"), ("[1]", "a table such as"),
        ):  # fmt: skip
            [problem] = self.problems(SMSC + f"errors = {table}\n")
            self.assertTrue(problem.startswith("smsc.1.errors: expected "), problem)
            self.assertIn(words, problem)

    def test_what_must_agree(self) -> None:
        text = SMSC + "retry_min = 10\nretry_max = 5\nbreaker_rest = 10\nbreaker_rest_max = 5\n"
        words = [("retry_max", "retry_min"), ("breaker_rest_max", "breaker_rest")]
        self.assertEqual(self.problems(text), [f"smsc.1.{most}: expected at least {least} (10), got 5" for most, least in words])

    def test_currencies(self) -> None:
        settings = parse('[routing]\ncurrency = "JOD"\nvalidity_hours = 24\n[[routing.rate]]\ncurrency = "USD"\nvalue = 0.709\n')
        self.assertEqual(settings.routing, Routing(24, "JOD", (Rate("USD", Decimal("0.709")),)))
        self.assertIn("routing.currency: expected a currency", self.problems('[routing]\ncurrency = "jod"\n')[0])
        self.assertIn("routing.rate.1.value: missing", self.problems('[[routing.rate]]\ncurrency = "USD"\n')[0])


class Rules(SynchronousTestCase):
    def test_what_comes_from_elsewhere_is_read_as_the_file_is(self) -> None:
        table = {"name": "r", "to": "A", "price": 0.025, "match": {"prefix": ["962"]}, "rewrite": {"dest_ton": 1}}
        route = Route("r", ("A",), 100, Match(("962",)), price=Decimal("0.025"), rewrite=Rewrite(dest_ton=1))
        self.assertEqual(read_route(table, ["A"]), (route, []))

    def test_every_fault_with_its_path(self) -> None:
        table = {"to": ["B"], "match": {"prefix": ["x"], "time": "soon"}, "weights": [1, 2], "more": 1}
        route, problems = read_route(table, ["A"], "rules.7")
        self.assertIsNone(route)
        self.assertEqual(
            [p.partition(":")[0] for p in problems],
            ["rules.7.more", "rules.7.name", "rules.7.match.prefix.1", "rules.7.match.time", "rules.7.weights", "rules.7.to.1"],
        )

    def test_there_and_back(self) -> None:
        for route in (
            Route("r", ("A", "B"), 5, Match(("1",), time="08:00-09:00"), "weighted", (3, 1), Decimal("0.5"), Rewrite("X"), "", True),
            Route("no", reject="ESME_RINVDSTADR"),
        ):  # fmt: skip
            for everything in (False, True):
                self.assertEqual(read_route(shown_route(route, everything=everything), None)[0], route)
        self.assertEqual(shown_route(Route("no", reject="ESME_RINVDSTADR")), {"name": "no", "reject": "ESME_RINVDSTADR"})
