"""In which order a route's SMSCs are tried for a message. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Protocol


class Facts(Protocol):
    """What two strategies ask about an SMSC."""

    def cost(self, smsc: str, dest: str) -> Decimal | None:
        """What the operator takes for one segment to this number; None where nobody has said."""

    def delivered_share(self, smsc: str) -> float | None:
        """Share of the lately finished messages that were delivered, 0 to 1; None where there are too few."""


class Orders:
    """Remembers whose turn it is. Every order holds all the SMSCs: those behind the first are for failover."""

    def __init__(self, facts: Facts | None = None) -> None:
        self._facts = facts
        self._turns: dict[str, int] = {}
        self._credit: dict[str, dict[str, float]] = {}
        self._by_name: dict[str, Callable[[str, tuple[str, ...], Mapping[str, int], str], tuple[str, ...]]] = {
            "failover": lambda rule, smscs, weights, dest: smscs,
            "round-robin": self._round_robin,
            "weighted": self._weighted,
            "least-cost": self._least_cost,
            "best-delivery": self._best_delivery,
        }

    def forget(self) -> None:
        """The rules are others now."""
        self._turns.clear()
        self._credit.clear()

    def of(self, strategy: str, rule: str, smscs: tuple[str, ...], weights: Mapping[str, int], dest: str) -> tuple[str, ...]:
        """The SMSCs in the order for the next message. Raises KeyError for a strategy that does not exist."""
        if len(smscs) < 2:
            return smscs
        return self._by_name[strategy](rule, smscs, weights, dest)

    def _round_robin(self, rule: str, smscs: tuple[str, ...], weights: Mapping[str, int], dest: str) -> tuple[str, ...]:
        turn = self._turns[rule] = (self._turns.get(rule, -1) + 1) % len(smscs)
        return smscs[turn:] + smscs[:turn]

    def _weighted(self, rule: str, smscs: tuple[str, ...], weights: Mapping[str, int], dest: str) -> tuple[str, ...]:
        """Smooth weighted round robin: in any stretch of sum(weights) messages each SMSC has exactly its weight."""
        credit = self._credit.setdefault(rule, {})
        total = 0
        best, most = smscs[0], float("-inf")
        for s in smscs:
            weight = weights.get(s, 1)
            total += weight
            now = credit[s] = credit.get(s, 0.0) + weight
            if now > most and weight:
                best, most = s, now
        credit[best] -= total
        return (best, *(s for s in smscs if s != best))

    def _least_cost(self, rule: str, smscs: tuple[str, ...], weights: Mapping[str, int], dest: str) -> tuple[str, ...]:
        """Cheapest first; one without a known cost comes after those that have one; equal ones as written."""
        facts = self._facts
        if facts is None:
            return smscs
        costs = {s: facts.cost(s, dest) for s in smscs}
        return tuple(sorted(smscs, key=lambda s: (costs[s] is None, costs[s] or 0)))

    def _best_delivery(self, rule: str, smscs: tuple[str, ...], weights: Mapping[str, int], dest: str) -> tuple[str, ...]:
        """Best share first; one with too few messages is tried every twentieth time, so that it gets a share of its own."""
        facts = self._facts
        if facts is None:
            return smscs
        shares = {s: facts.delivered_share(s) for s in smscs}
        ordered = tuple(sorted(smscs, key=lambda s: -(shares[s] if shares[s] is not None else -1.0)))  # type: ignore[operator]
        unknown = [s for s in smscs if shares[s] is None]
        turn = self._turns[rule] = self._turns.get(rule, -1) + 1
        if unknown and turn % 20 == 0:
            first = unknown[turn // 20 % len(unknown)]
            return (first, *(s for s in ordered if s != first))
        return ordered
