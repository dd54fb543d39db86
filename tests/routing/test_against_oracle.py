"""The router beside one that simply asks every rule."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.model.account import Account, matches_any
from protei_bulk.model.message import PRIORITIES, Message
from protei_bulk.routing.explain import explain
from protei_bulk.routing.numbering import NumberPlan, PortedNumbers
from protei_bulk.routing.rules import Router
from protei_bulk.settings import Match, Route

SMSCS = ("A", "B", "C")
PLAN = NumberPlan({"9627": "41601", "96278": "41603", "44": "23410"}, PortedNumbers([("962781", "41601")]))
ACCOUNT = Account(user_id=1, username="ahmad", customer_id=7, tags=("vip",))

some = st.sampled_from


def subset(*words: str) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(some(words), max_size=2, unique=True).map(tuple)


matches = st.builds(
    Match,
    prefix=subset("9", "96", "962", "9627", "96278", "44", "447"),
    sender=subset("Bank", "B*", "Shop"),
    user=subset("ahmad", "lina", "a*"),
    customer=subset("7", "8"),
    channel=subset("SMPP", "WEB"),
    network=subset("41601", "41603", "416", "234"),
    priority=subset(*PRIORITIES),
    min_segments=st.integers(1, 3),
    max_segments=some((0, 0, 1, 2)),
    tags=subset("vip", "otp"),
    pattern=some(("", "", "code", "^x")),
    time=some(("", "", "08:00-20:00", "22:00-06:00 Asia/Amman")),
)
routes = st.lists(
    st.builds(
        Route, name=st.just("r"), to=st.lists(some(SMSCS), min_size=1, max_size=3, unique=True).map(tuple), order=st.integers(1, 3),
        match=matches, reject=st.just(""),
    ),
    max_size=8,
).map(lambda rules: [evolve(r, name=f"r{i}") for i, r in enumerate(rules)])  # fmt: skip
accounts = st.builds(
    lambda user, customer, tags, smscs, id: evolve(
        ACCOUNT, user_id=id, username=user, customer_id=customer, tags=tags, allowed_smsc=smscs
    ),
    some(("ahmad", "lina")), some((7, 8)), subset("vip", "otp"), subset(*SMSCS), st.just(0),
)  # fmt: skip


@st.composite
def messages(draw: Any) -> Message:
    m = Message()
    m.dest = draw(some(("962781", "962782", "962791", "447700900123", "33612345678", "9", "9627")))
    m.source = draw(some(("Bank", "Brand", "Shop")))
    m.channel = draw(some(("SMPP", "WEB", "HTTP_API")))
    m.priority = draw(st.integers(0, 3))
    m.segments = draw(st.integers(1, 3))
    m.tags = draw(subset("vip", "otp", "news"))
    m.text = draw(some(("your code", "xmas", "")))
    return m


def naive(rules: list[Route], account: Account, m: Message, now: float) -> tuple[str, tuple[str, ...]]:
    best: tuple[int, int, int] | None = None
    winner: Route | None = None
    router = Router([], SMSCS, lambda: now, plan=PLAN)
    for position, rule in enumerate(sorted(rules, key=lambda r: r.order)):
        match = rule.match
        lengths = [len(p) for p in match.prefix if m.dest.startswith(p)]
        if match.prefix and not lengths:
            continue
        network = router.network(m.dest)
        if not (matches_any(account.username, match.user) and matches_any(str(account.customer_id), match.customer)):
            continue
        if not (matches_any(m.channel, match.channel) and matches_any(m.source, match.sender)):
            continue
        if match.network and not network.startswith(match.network):
            continue
        if Router([evolve(rule, match=Match(
            priority=match.priority, min_segments=match.min_segments, max_segments=match.max_segments, tags=match.tags,
            pattern=match.pattern, time=match.time,
        ))], SMSCS, lambda: now).route(account, m).rule != rule.name:  # fmt: skip
            continue
        rank = (rule.order, -max(lengths, default=0), position)
        if best is None or rank < best:
            best, winner = rank, rule
    if winner is None:
        return "", () if rules else tuple(s for s in SMSCS if matches_any(s, account.allowed_smsc))
    return winner.name, tuple(s for s in winner.to if matches_any(s, account.allowed_smsc))


def known(rules: list[Route], smscs: tuple[str, ...]) -> list[Route]:
    return [evolve(r, to=tuple(s for s in r.to if s in smscs)) for r in rules]


class Oracle(SynchronousTestCase):
    @given(routes, st.lists(st.tuples(accounts, messages()), min_size=1, max_size=6), subset(*SMSCS))
    @settings(deadline=None)
    def test_smscs_that_are_not_there(self, rules: list[Route], asked: list[tuple[Account, Message]], there: tuple[str, ...]) -> None:
        """As if no rule had named them; a rule of which nothing is left refuses."""
        router = Router(rules, there, lambda: 0.0, plan=PLAN)
        for account, m in asked:
            rule, _ = naive(rules, account, m, 0.0)
            left = {r.name: r.to for r in known(rules, there)}.get(rule, () if rules else there)
            smscs = tuple(s for s in left if matches_any(s, account.allowed_smsc))
            router.forget()
            decision = router.route(account, m)
            self.assertEqual(decision.smscs, smscs)
            self.assertEqual(decision.refusal is None, bool(smscs))

    @given(routes, some(SMSCS), subset(*SMSCS))
    @settings(deadline=None)
    def test_rules_that_lead_elsewhere_too(self, rules: list[Route], away: str, usable: tuple[str, ...]) -> None:
        router = Router(rules, SMSCS, lambda: 0.0, plan=PLAN)
        expected = [r.name for r in sorted(rules, key=lambda r: r.order) if away in r.to and set(r.to) & set(usable) - {away}]
        if not rules and set(usable) - {away}:
            expected = [""]
        self.assertEqual(router.with_alternative(away, usable), expected)

    @given(routes, st.lists(st.tuples(accounts, messages(), some((0.0, 36_000.0, 80_000.0))), min_size=1, max_size=12))
    @settings(deadline=None)
    def test_agrees(self, rules: list[Route], asked: list[tuple[Account, Message, float]]) -> None:
        now = [0.0]
        router = Router(rules, SMSCS, lambda: now[0], plan=PLAN)
        numbers: dict[Account, int] = {}
        for account, m, at in asked:
            account = evolve(account, user_id=numbers.setdefault(account, len(numbers)))
            now[0] = at
            rule, smscs = naive(rules, account, m, at)
            for _ in range(2):  # the second answer comes from memory
                decision = router.route(account, m)
                self.assertEqual((decision.rule if decision.rule != "default" else "", decision.smscs), (rule, smscs))
                self.assertEqual(decision.refusal is None, bool(smscs))
                self.assertEqual(router.recalled(decision.stored, account), smscs if rule or not rules else ())
            told = explain(router, account, m, at)
            self.assertEqual([v.rule for v in told.verdicts if v.matched], [rule] if rule else [])
            self.assertEqual(len(told.verdicts), len(rules))
