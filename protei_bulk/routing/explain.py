"""Why a message goes where it goes: each rule with what kept it from matching. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from attrs import asdict, frozen

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
    order: tuple[str, ...] = ()  # in which the SMSCs are tried, for this message

    def record(self, stored: Collection[str] = ()) -> dict[str, Any]:
        """For people and programs; `stored` are the rules of the database."""
        d = self.decision
        return {
            "network": self.network or None,
            "rule": d.rule or None,
            "refused": None if d.refusal is None else {"code": d.refusal.code, "text": d.refusal.text},
            "strategy": d.strategy if d.smscs else None,
            "smscs": list(self.order),
            "price": None if d.price is None else float(d.price),
            "rewrite": None if d.rewrite is None else {k: v for k, v in asdict(d.rewrite).items() if v not in ("", -1)},
            "next_after_receipt": d.next_after_receipt,
            "rules": [
                {"rule": v.rule, "source": "database" if v.rule in stored else "file", "order": v.order, "matched": v.matched, "why": v.why}
                for v in self.verdicts
            ],
        }


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
    decision = router.route(account, m)
    return Explanation(decision, network, tuple(verdicts), router.candidates(decision, m.dest) if decision.smscs else ())
