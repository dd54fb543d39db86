from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.inbound.rules import MoRouter, Target, keywords
from protei_bulk.settings import MoMatch, MoRule, MoTarget


def rule(name: str, order: int = 100, **match: Any) -> MoRule:
    return MoRule(name, MoTarget(user=name), order, MoMatch(**match))


class RulesTest(SynchronousTestCase):
    def routed(self, router: MoRouter, text: str | None = "hello", *, smsc: str = "A", source: str = "962790000001",
               dest: str = "12345") -> str:  # fmt: skip
        target = router.route(smsc, source, dest, text)
        return target.rule if target is not None else ""

    def test_none(self) -> None:
        self.assertIsNone(MoRouter([]).route("A", "1", "2", "x"))

    def test_the_first_by_order_then_as_written(self) -> None:
        router = MoRouter([rule("late", 200), rule("b", dest=("12345",)), rule("c"), rule("early", 1, dest=("9*",))])
        self.assertEqual(self.routed(router), "b")
        self.assertEqual(self.routed(router, dest="1"), "c")
        self.assertEqual(self.routed(router, dest="999"), "early")

    def test_conditions(self) -> None:
        router = MoRouter([rule("x", smsc=("A", "B*"), dest=("123*", "9"), sender=("96279*",), keyword=("VOTE",))])
        self.assertEqual(self.routed(router, "vote 1"), "x")
        self.assertEqual(self.routed(router, "vote 1", smsc="B7", dest="9"), "x")
        for wrong in ({"smsc": "C"}, {"dest": "99"}, {"source": "1"}):
            self.assertEqual(self.routed(router, "vote 1", **wrong), "")
        self.assertEqual(self.routed(router, "votes"), "")
        self.assertEqual(self.routed(router, None), "")

    def test_user_and_url(self) -> None:
        router = MoRouter([MoRule("r", MoTarget("ahmad", "https://x/y"))])
        self.assertEqual(router.route("A", "1", "2", None), Target("r", "ahmad", "https://x/y"))

    def test_other_rules_from_now_on(self) -> None:
        router = MoRouter([rule("old")])
        router.load([rule("new")])
        self.assertEqual(self.routed(router), "new")

    def test_keywords(self) -> None:
        for written, text in (
            ("stop", "STOP"), ("STOP", "  stop please"), ("straße", "STRASSE 7"), ("ΣΤΟΠ", "στοπ"), ("وقف", "\u200fوقف الآن"),
            ("stop", "Stop!"), ("stop", "“stop”"), ("café", "cafe\u0301"), ("ＳＴＯＰ", "stop"), ("1", "1."), ("#1", "#1 please"),
            ("?", "?"), ("हिंदी", "हिंदी।"),
        ):  # fmt: skip
            self.assertEqual(self.routed(MoRouter([rule("x", keyword=(written,))]), text), "x", (written, text))
        for written, text in (("stop", ""), ("stop", "   "), ("stop", "please stop"), ("stop", "stopped"), ("stop", "!!!"), ("1", "#1x")):
            self.assertEqual(self.routed(MoRouter([rule("x", keyword=(written,))]), text), "", (written, text))
        self.assertEqual(keywords(None), ())
