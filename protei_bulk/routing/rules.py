"""Which SMSCs may carry a message, in which order, and at what price. Pure.

Rules are tried by `order`, then by the longest matching prefix, then as written;
the first that matches decides. Without any rule, every SMSC is a candidate in the
order of the configuration.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime, time
from decimal import Decimal
from zoneinfo import ZoneInfo

from attrs import field, frozen

from protei_bulk.model.account import Account, matches_any
from protei_bulk.model.message import NO_ALLOWED_SMSC, NO_ROUTE, Refusal
from protei_bulk.settings import Route

_CACHE_LIMIT = 50_000


@frozen
class Decision:
    """Candidates in order of preference, the price of one segment, and the rule that said so."""

    smscs: tuple[str, ...]
    price: Decimal | int = 0
    rule: str = ""
    strategy: str = "failover"
    refusal: Refusal | None = None


@frozen
class TimeWindow:
    """`HH:MM-HH:MM [zone]`, over midnight where the end comes first; UTC where no zone stands."""

    begin: time
    end: time
    zone: ZoneInfo

    @classmethod
    def parse(cls, text: str) -> TimeWindow:
        """Raises ValueError with the reason."""
        span, _, zone = text.strip().partition(" ")
        begin, dash, end = span.partition("-")
        if not dash:
            raise ValueError(f'expected "HH:MM-HH:MM [zone]", got "{text}"')
        return cls(time.fromisoformat(begin), time.fromisoformat(end), ZoneInfo(zone or "UTC"))

    def holds(self, now: float) -> bool:
        at = datetime.fromtimestamp(now, self.zone).time()
        if self.begin <= self.end:
            return self.begin <= at < self.end
        return at >= self.begin or at < self.end


@frozen
class _Rule:
    route: Route
    pattern: re.Pattern[str] | None
    window: TimeWindow | None
    longest: int = field(default=0)

    def prefix_length(self, dest: str) -> int:
        """Length of the longest prefix that matches, 0 where none is asked for, -1 for no match."""
        prefixes = self.route.match.prefix
        if not prefixes:
            return 0
        return max((len(p) for p in prefixes if dest.startswith(p)), default=-1)

    def matches(self, account: Account, source: str, channel: str, text: str, now: float) -> bool:
        m = self.route.match
        return (
            matches_any(source, m.sender)
            and matches_any(account.username, m.user)
            and matches_any(str(account.customer_id), m.customer)
            and matches_any(channel, m.channel)
            and (self.pattern is None or self.pattern.search(text) is not None)
            and (self.window is None or self.window.holds(now))
        )


class Router:
    """Decides for each message; equal questions are answered from memory."""

    def __init__(self, routes: Sequence[Route], smsc_ids: Sequence[str], now: Callable[[], float]) -> None:
        self._now = now
        self.load(routes, smsc_ids)

    def load(self, routes: Sequence[Route], smsc_ids: Sequence[str]) -> None:
        """Take other rules: the next message sees them."""
        ordered = sorted(routes, key=lambda r: r.order)
        self._rules = [
            _Rule(
                r,
                re.compile(r.match.pattern) if r.match.pattern else None,
                TimeWindow.parse(r.match.time) if r.match.time else None,
            )
            for r in ordered
        ]
        self._default = None if routes else Decision(tuple(smsc_ids), 0, "default")
        self._digits = max((len(p) for r in routes for p in r.match.prefix), default=0)
        self._by_sender = any(r.match.sender for r in routes)
        self._cacheable = not any(rule.pattern or rule.window for rule in self._rules)
        self._cache: dict[tuple[int, str, str, str], Decision] = {}
        self._turns: dict[str, int] = {}

    def candidates(self, decision: Decision) -> tuple[str, ...]:
        """The SMSCs in the order for this message: round-robin begins with another one each time."""
        smscs = decision.smscs
        if decision.strategy != "round-robin" or len(smscs) < 2:
            return smscs
        turn = self._turns[decision.rule] = (self._turns.get(decision.rule, -1) + 1) % len(smscs)
        return smscs[turn:] + smscs[:turn]

    def forget(self) -> None:
        """Drop what is remembered: an account changed."""
        self._cache.clear()

    def route(self, account: Account, source: str, dest: str, channel: str, text: str) -> Decision:
        """Never raises: `refusal` says why there is no candidate."""
        if not self._cacheable:
            return self._decide(account, source, dest, channel, text)
        key = (account.user_id, channel, source if self._by_sender else "", dest[: self._digits])
        found = self._cache.get(key)
        if found is None:
            if len(self._cache) >= _CACHE_LIMIT:
                self._cache.clear()
            found = self._cache[key] = self._decide(account, source, dest, channel, text)
        return found

    def _decide(self, account: Account, source: str, dest: str, channel: str, text: str) -> Decision:
        decision = self._default or self._first_rule(account, source, dest, channel, text)
        if decision is None or not decision.smscs:
            return Decision((), refusal=NO_ROUTE)
        allowed = tuple(s for s in decision.smscs if matches_any(s, account.allowed_smsc))
        if not allowed:
            return Decision((), rule=decision.rule, refusal=NO_ALLOWED_SMSC)
        return Decision(allowed, decision.price, decision.rule, decision.strategy)

    def _first_rule(self, account: Account, source: str, dest: str, channel: str, text: str) -> Decision | None:
        best: _Rule | None = None
        best_length = -1
        for rule in self._rules:
            if best is not None and rule.route.order != best.route.order:
                break
            length = rule.prefix_length(dest)
            if length > best_length and rule.matches(account, source, channel, text, self._now()):
                best, best_length = rule, length
        if best is None:
            return None
        r = best.route
        return Decision(tuple(r.to), r.price, r.name, r.strategy)
