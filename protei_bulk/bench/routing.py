"""What a message costs the router: microseconds, in one process, with 10,000 prefixes in 1,000 rules."""

from __future__ import annotations

import random
import time
from array import array
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from protei_bulk.model.account import Account
from protei_bulk.model.message import Message
from protei_bulk.routing.costs import Cost, CostTable
from protei_bulk.routing.facts import RoutingFacts
from protei_bulk.routing.numbering import NumberPlan, PortedNumbers
from protei_bulk.routing.quality import Quality
from protei_bulk.routing.rules import Router
from protei_bulk.settings import Match, Route

PREFIXES, RULES, PORTED, MESSAGES = 10_000, 1000, 1_000_000, 50_000
_SMSCS = tuple(f"SMSC{n}" for n in range(4))
_NETWORKS = tuple(str(41600 + n) for n in range(50))


def measure(messages: int = MESSAGES, prefixes: int = PREFIXES, rules: int = RULES, ported: int = PORTED) -> dict[str, Any]:
    """Names of what is measured -> microseconds a message; `rules` and the like beside them."""
    chance = random.Random(7)
    sent = _messages(chance, messages)
    accounts = [Account(n, f"user{n}", n // 3) for n in range(20)]
    heads = [str(chance.randrange(10**3, 10**7)) for _ in range(prefixes)]
    share = max(1, prefixes // rules)
    matches = [Match(tuple(heads[n * share : (n + 1) * share]), sender=("X*",) if n % 3 == 0 else ()) for n in range(rules - 11)]
    by_prefix = [Route(f"r{n}", _SMSCS[:2], chance.randrange(5), match) for n, match in enumerate(matches)]
    by_text = [Route(f"p{n}", _SMSCS[:1], 9, Match(pattern=f"otp{n}")) for n in range(10)]
    rest = Route("rest", _SMSCS, 99)
    plan = NumberPlan({head: chance.choice(_NETWORKS) for head in heads}, _ported(chance, ported))
    networks = [Route(f"n{n}", _SMSCS[:2], 1, Match(network=(network,))) for n, network in enumerate(_NETWORKS)]
    result: dict[str, Any] = {"messages": messages, "prefixes": prefixes, "rules": rules, "ported": ported}
    cold, warm = _twice(Router([*by_prefix, *by_text, rest], _SMSCS, time.time), accounts, sent)
    result["first"], result["again"] = cold, warm
    result["networks"] = _twice(Router([*networks, *by_prefix, rest], _SMSCS, time.time, plan=plan), accounts, sent)[1]
    quality = Quality(least=1)
    for n, smsc in enumerate(_SMSCS):
        for k in range(100):
            quality.note(smsc, k > n)
    quality.fold(1.0)
    facts = RoutingFacts(plan.network, quality)
    facts.costs = CostTable([Cost(s, network, "", Decimal(n), "USD") for n, s in enumerate(_SMSCS) for network in _NETWORKS])
    for strategy in ("round-robin", "weighted", "least-cost", "best-delivery"):
        router = Router([Route("all", _SMSCS, strategy=strategy)], _SMSCS, time.time, plan=plan, facts=facts)
        result[strategy] = _twice(router, accounts, sent)[1]
    return result


def _messages(chance: random.Random, count: int) -> list[Message]:
    sent = []
    for _ in range(count):
        m = Message()
        m.dest, m.source, m.text = str(chance.randrange(10**11, 10**12)), "MyCompany", "Your parcel is on its way"
        sent.append(m)
    return sent


def _ported(chance: random.Random, count: int) -> PortedNumbers:
    numbers = sorted({chance.randrange(10**11, 10**12) for _ in range(count)})
    which = array("I", (n % len(_NETWORKS) for n in range(len(numbers))))
    return PortedNumbers.from_arrays(_NETWORKS, array("Q", numbers), which)


def _twice(router: Router, accounts: list[Account], sent: list[Message]) -> tuple[float, float]:
    """The first time, and the best of three more."""

    def route() -> None:
        decide, order, count = router.route, router.candidates, len(accounts)
        for n, m in enumerate(sent):
            decision = decide(accounts[n % count], m)
            if decision.strategy != "failover":
                order(decision, m.dest)

    first = _microseconds(route, len(sent))
    return first, min(_microseconds(route, len(sent)) for _ in range(3))


def _microseconds(work: Callable[[], None], count: int) -> float:
    begun = time.perf_counter()
    work()
    return round((time.perf_counter() - begun) * 1e6 / count, 2)
