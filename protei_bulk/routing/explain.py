"""Why a message goes where it goes: each rule with what kept it from matching. Pure."""

from __future__ import annotations

from attrs import frozen

from protei_bulk.model.account import Account
from protei_bulk.model.message import Message
from protei_bulk.routing.rules import Decision, Router


@frozen
class Verdict:
    """One rule: whether it decided, and why not where it did not."""

    rule: str
    order: int
    matched: bool
    why: str


@frozen
class Explanation:
    """`verdicts` in the order in which the rules are tried; those behind the one that matched are not reached."""

    decision: Decision
    network: str
    verdicts: tuple[Verdict, ...]


def explain(router: Router, account: Account, m: Message, now: float) -> Explanation:
    """Asks every rule; the decision is the router's own."""
    network = router.network(m.dest)
    verdicts = []
    decided = False
    allowed = {rule.position: length for rule, length in router.in_order(m.dest)}
    reached = [rule for rule, _ in router.in_order(m.dest)]
    others = [rule for rule in router.rules if rule.position not in allowed]
    for rule in reached:
        if decided:
            verdicts.append(Verdict(rule.route.name, rule.route.order, False, "not reached: an earlier rule matched"))
            continue
        fault = rule.conditions.fixed_fault(account, m.source, m.channel, network) or rule.conditions.varying_fault(account, m, now)
        decided = not fault
        length = allowed[rule.position]
        why = fault or (f"matched, by prefix {m.dest[:length]}" if length else "matched")
        verdicts.append(Verdict(rule.route.name, rule.route.order, decided, why))
    verdicts += [Verdict(r.route.name, r.route.order, False, f"{m.dest} has none of its prefixes") for r in others]
    return Explanation(router.route(account, m), network, tuple(verdicts))
