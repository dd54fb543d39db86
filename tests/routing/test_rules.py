from __future__ import annotations

from decimal import Decimal
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.model.account import Account
from protei_bulk.model.message import NO_ALLOWED_SMSC, NO_ROUTE, Message
from protei_bulk.routing.conditions import TimeWindow
from protei_bulk.routing.rules import Decision, Router
from protei_bulk.settings import Match, Route

ACCOUNT = Account(user_id=1, username="ahmad", customer_id=7)


def message(dest: str, source: str = "MyCompany", text: str = "", channel: str = "SMPP", **more: Any) -> Message:
    m = Message()
    m.dest, m.source, m.text, m.channel = dest, source, text, channel
    for name, value in more.items():
        setattr(m, name, value)
    return m


def route(name: str, to: tuple[str, ...], order: int = 100, price: str = "0", **match: Any) -> Route:
    return Route(name, to, order, Match(**match), price=Decimal(price))


class Routing(SynchronousTestCase):
    def decide(self, *routes: Route, dest: str = "962788123456", source: str = "MyCompany", account: Account = ACCOUNT, text: str = "",
               now: float = 0.0) -> Decision:  # fmt: skip
        return Router(routes, ["A", "B", "C"], lambda: now).route(account, message(dest, source, text))

    def test_without_rules_all_in_order(self) -> None:
        self.assertEqual(self.decide().smscs, ("A", "B", "C"))

    def test_order_before_prefix_before_position(self) -> None:
        rules = (
            route("long", ("A",), 10, prefix=("96278",)),
            route("short", ("B",), 10, prefix=("962",)),
            route("first", ("C",), 5, prefix=("44",)),
        )
        self.assertEqual(self.decide(*rules).rule, "long")
        self.assertEqual(self.decide(*reversed(rules)).rule, "long")
        self.assertEqual(self.decide(*rules, dest="962790000000").rule, "short")
        self.assertEqual(self.decide(*rules, dest="447700900123").rule, "first")
        self.assertIs(self.decide(*rules, dest="33612345678").refusal, NO_ROUTE)

    def test_conditions(self) -> None:
        for condition in ({"sender": ("Other",)}, {"user": ("x",)}, {"customer": ("8",)}, {"channel": ("WEB",)}, {"pattern": "otp"}):
            self.assertIs(self.decide(route("r", ("A",), **condition)).refusal, NO_ROUTE, str(condition))
        for condition in ({"sender": ("My*",)}, {"user": ("ahmad",)}, {"customer": ("7",)}, {"channel": ("SMPP",)}, {"pattern": "o.p"}):
            self.assertEqual(self.decide(route("r", ("A",), **condition), text="your otp").smscs, ("A",), str(condition))

    def test_allowed_smsc_always_filters(self) -> None:
        account = evolve(ACCOUNT, allowed_smsc=("B",))
        self.assertEqual(self.decide(account=account).smscs, ("B",))
        self.assertIs(self.decide(route("r", ("A",)), account=account).refusal, NO_ALLOWED_SMSC)

    def test_price(self) -> None:
        self.assertEqual(self.decide(route("r", ("A",), price="0.015")).price, Decimal("0.015"))

    def test_round_robin_begins_with_another_each_time(self) -> None:
        rule = Route("r", ("A", "B", "C"), strategy="round-robin")
        router = Router([rule], ["A", "B", "C"], lambda: 0.0)
        taken = [router.candidates(router.route(ACCOUNT, message("96279")), "96279") for _ in range(4)]
        self.assertEqual([t[0] for t in taken], ["A", "B", "C", "A"])
        self.assertEqual(taken[1], ("B", "C", "A"))

    def test_time_windows(self) -> None:
        midnight = TimeWindow.parse("22:00-06:00 Asia/Amman")
        self.assertTrue(midnight.holds(1_800_000_000 - 1_800_000_000 % 86_400 + 20 * 3600))
        self.assertFalse(midnight.holds(1_800_000_000 - 1_800_000_000 % 86_400 + 9 * 3600))
        self.assertRaises(ValueError, TimeWindow.parse, "22:00")

    def test_remembered_answers_are_dropped_on_change(self) -> None:
        router = Router([], ["A"], lambda: 0.0)
        self.assertEqual(router.route(ACCOUNT, message("96279")).smscs, ("A",))
        router.forget()
        account = evolve(ACCOUNT, allowed_smsc=("Z",))
        self.assertIs(router.route(account, message("96279")).refusal, NO_ALLOWED_SMSC)
