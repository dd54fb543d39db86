"""The shared budgets as 011_http.sql keeps them, told once more in Python: the database is compared with it, nodes run on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from attrs import define, field

from protei_bulk.channels.http.limits import Ask, Grant, Policy


@define
class Budget:
    full_at: float = 0.0
    counts: dict[int, int] = field(factory=dict)
    held: dict[int, int] = field(factory=dict)


@define
class Holder:
    node: int
    expires: float
    seq: int = 0


class Ledger:
    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.budgets: dict[tuple[str, str], Budget] = {}
        self.holders: dict[int, Holder] = {}
        self.notified: list[str] = []
        self.statements = 0

    def register(self, node: int, term: float) -> int:
        now = self._now()
        for h in self.holders.values():
            if h.node == node and h.expires > now:
                h.expires = now
        self.holders[len(self.holders) + 1] = Holder(node, now + term)
        return len(self.holders)

    def end(self, holder: int) -> None:
        self.holders[holder].expires = min(self.holders[holder].expires, self._now())

    def lease(self, holder: int, seq: int, term: float, asks: Sequence[Ask]) -> list[Grant] | None:
        self.statements += 1
        now, h = self._now(), self.holders[holder]
        if seq <= h.seq or h.expires <= now:
            return None
        h.seq, h.expires = seq, now + term
        nodes = sum(o.expires > now for o in self.holders.values())
        return [self._one(holder, ask, nodes, now) for ask in asks]

    def _one(self, holder: int, ask: Ask, nodes: int, now: float) -> Grant:
        p = ask.policy
        b = self.budgets.setdefault((p.id, ask.key), Budget())
        uses = [(now - ago, n) for ago, n in ask.uses]
        others, held = 0, {}
        for other, n in b.held.items():
            if other == holder:
                continue
            if self.holders[other].expires <= now:
                uses.append((self.holders[other].expires, n))
            else:
                others += n
                held[other] = n
        for at, n in sorted(uses):
            if p.burst:
                b.full_at = max(b.full_at, at) + n * p.interval
            else:
                slot = math.floor(at / (p.window / 60))
                b.counts[slot] = b.counts.get(slot, 0) + n
        if p.burst:
            full_in = max(b.full_at - now, 0.0)
            room = math.floor(p.burst - full_in / p.interval - others - ask.held + 1e-6)
            again = 0.0
        else:
            long = p.window / 60
            b.counts = {s: n for s, n in b.counts.items() if (s + 1) * long > now - p.window}
            room = p.quota - sum(b.counts.values()) - others - ask.held
            again = (min(b.counts) + 1) * long + p.window - now if b.counts else 1.0
            full_in = (max(b.counts) + 1) * long + p.window - now if b.counts else 0.0
        room = max(room, 0)
        granted = min(ask.wanted, math.ceil(room / max(nodes, 1)))
        if p.burst:
            again = full_in - (p.burst - others - ask.held - granted - 1) * p.interval
        if ask.held + granted:
            held[holder] = ask.held + granted
        b.held = held
        if ask.wanted > 0 and not granted and others:
            self.notified.append(f"{p.id} {ask.key}")
        return Grant(granted, room - granted, others, max(again, 0.001), full_in)


def first_excess(policy: Policy, uses: Sequence[float]) -> float | None:
    """When requests at these times were more than the policy allows, whoever let them through."""
    full_at = 0.0
    taken: list[float] = []
    for at in sorted(uses):
        if policy.burst:
            full_at = max(full_at, at)
            if full_at - at > (policy.burst - 1) * policy.interval + 1e-4:
                return at
            full_at += policy.interval
        else:
            taken = [t for t in taken if t > at - policy.window] + [at]
            if len(taken) > policy.quota:
                return at
    return None
