"""Which SMSCs may carry a message, in which order, at what price, and under which addresses. Pure.

Rules are tried by `order`, then by the longest matching prefix, then as written; the
first that matches decides. Without any rule, every SMSC is a candidate in the order of
the configuration.

SMSCs that are not in the configuration are no candidates. What waits in a queue finds its
other candidates by the name of its rule (`recalled`).

For each kind of message (account, channel, sender, longest known prefix, network) the
rules that can match are found once and remembered, in order, up to the first that
always matches: the next message of its kind tries only those, and of them only what
may differ from message to message.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal

from attrs import field, frozen

from protei_bulk.model.account import Account, matches_any
from protei_bulk.model.message import NO_ALLOWED_SMSC, NO_ROUTE, Message, Refusal
from protei_bulk.routing.conditions import Conditions
from protei_bulk.routing.numbering import NumberPlan
from protei_bulk.routing.prefixes import PrefixTable
from protei_bulk.routing.strategies import Facts, Orders
from protei_bulk.settings import Rewrite, Route
from protei_bulk.smpp import statuses

_CACHE_LIMIT = 50_000


@frozen
class Decision:
    """Candidates, the price of one segment (None: the rate deck's), and the rule that said so."""

    smscs: tuple[str, ...]
    price: Decimal | None = None
    rule: str = ""
    strategy: str = "failover"
    refusal: Refusal | None = None
    stored: str = ""  # the rule as the message keeps it; "" for the default
    weights: Mapping[str, int] = field(factory=dict)
    rewrite: Rewrite | None = None
    next_after_receipt: bool = False  # a negative receipt tries the next candidate


class Rule:
    """A route with its conditions taken apart."""

    __slots__ = ("conditions", "known", "position", "refusal", "rewrite", "route", "weights")

    def __init__(self, route: Route, position: int, smsc_ids: Collection[str]) -> None:
        self.route, self.position = route, position
        self.known = tuple(s for s in route.to if s in smsc_ids)
        self.conditions = Conditions(route.match)
        self.weights = dict(zip(route.to, route.weights, strict=False))
        self.rewrite = route.rewrite if route.rewrite != Rewrite() else None
        self.refusal = (
            Refusal("REJECTED_BY_ROUTE", statuses.code(route.reject), f"Rejected by route {route.name}") if route.reject else None
        )

    def decision(self, account: Account) -> Decision:
        r = self.route
        if self.refusal is not None:
            return Decision((), rule=r.name, refusal=self.refusal)
        allowed = tuple(s for s in self.known if matches_any(s, account.allowed_smsc))
        if not allowed:
            return Decision((), rule=r.name, refusal=NO_ALLOWED_SMSC if self.known else NO_ROUTE)
        return Decision(
            allowed, r.price or None, r.name, r.strategy, stored=r.name, weights=self.weights, rewrite=self.rewrite,
            next_after_receipt=r.next_after_receipt,
        )  # fmt: skip


class _Kind:
    """What was found for one kind of message: `always` where nothing can vary, else the rules to try."""

    __slots__ = ("always", "tries")

    def __init__(self, tries: list[tuple[Conditions, Decision]], default: Decision) -> None:
        self.always = default if not tries or not tries[0][0].varying else None
        if self.always is not None and tries:
            self.always = tries[0][1]
        self.tries = [*tries, (None, default)]


class Router:
    """Decides for each message. `now` gives Unix seconds; `facts` feeds least-cost and best-delivery."""

    def __init__(self, routes: Sequence[Route], smsc_ids: Sequence[str], now: Callable[[], float], *, plan: NumberPlan | None = None,
                 facts: Facts | None = None) -> None:  # fmt: skip
        self._now = now
        self._orders = Orders(facts)
        self._plan = plan or NumberPlan()
        self.load(routes, smsc_ids)

    def load(self, routes: Sequence[Route], smsc_ids: Sequence[str]) -> None:
        """Take other rules: the next message sees them."""
        self.smsc_ids = tuple(smsc_ids)
        ids = frozenset(smsc_ids)
        self.rules = [Rule(r, i, ids) for i, r in enumerate(sorted(routes, key=lambda r: r.order))]
        self._by_name = {r.route.name: r for r in self.rules}
        #: how messages of a rule are addressed on their way out, where that is not as submitted
        self.rewrites: Mapping[str, Rewrite] = {r.route.name: r.rewrite for r in self.rules if r.rewrite is not None}
        #: rules whose messages try the next SMSC after a negative receipt
        self.second_tries = {r.route.name: r.known for r in self.rules if r.route.next_after_receipt and len(r.known) > 1}
        #: whether some rule goes by what was delivered
        self.by_delivery = any(r.route.strategy == "best-delivery" for r in self.rules)
        self._without_prefix = [r for r in self.rules if not r.route.match.prefix]
        by_prefix: dict[str, list[Rule]] = {}
        for r in self.rules:
            for p in r.route.match.prefix:
                by_prefix.setdefault(p, []).append(r)
        self._by_prefix = by_prefix
        self._prefixes: PrefixTable[bool] = PrefixTable(dict.fromkeys(by_prefix, True))
        self._by_sender = any(r.route.match.sender for r in self.rules)
        self._by_network = any(r.route.match.network for r in self.rules)
        self._orders.forget()
        self._recalled: dict[tuple[str, int], tuple[str, ...]] = {}
        self._kinds: dict[tuple[int, str, str, str, str], _Kind] = {}

    def number_plan(self, plan: NumberPlan) -> None:
        """Other prefixes of networks, or other ported numbers."""
        self._plan = plan
        self._kinds.clear()

    def network(self, dest: str) -> str:
        """The MCC-MNC of a number, "" where it is not known."""
        return self._plan.network(dest)

    def forget(self) -> None:
        """Drop what is remembered: an account changed."""
        self._kinds.clear()
        self._recalled.clear()

    def candidates(self, decision: Decision, dest: str) -> tuple[str, ...]:
        """The SMSCs in the order for this message."""
        return self._orders.of(decision.strategy, decision.rule, decision.smscs, decision.weights, dest)

    def route(self, account: Account, m: Message) -> Decision:
        """Never raises: `refusal` says why there is no candidate."""
        dest = m.dest
        network = self._plan.network(dest) if self._by_network else ""
        key = (account.user_id, m.channel, m.source if self._by_sender else "", self._prefixes.longest(dest), network)
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) >= _CACHE_LIMIT:
                self._kinds.clear()
            kind = self._kinds[key] = self._kind(account, m, network)
        if kind.always is not None:
            return kind.always
        now = self._now()
        for conditions, decision in kind.tries:
            if conditions is None or not conditions.varying or not conditions.varying_fault(account, m, now):
                return decision
        raise AssertionError("the last try is unconditional")

    def recalled(self, rule: str, account: Account) -> tuple[str, ...]:
        """The candidates of a message that was stored with this rule ("" for the default); none where the rule is gone."""
        key = (rule, account.user_id)
        found = self._recalled.get(key)
        if found is None:
            if len(self._recalled) >= _CACHE_LIMIT:
                self._recalled.clear()
            named = self._by_name.get(rule)
            decision = named.decision(account) if named is not None else self.default(account)
            found = self._recalled[key] = () if rule and named is None else decision.smscs
        return found

    def with_alternative(self, smsc: str, usable: Collection[str]) -> list[str]:
        """The rules ("" for the default) that name this SMSC, and another one among `usable`."""
        found = [r.route.name for r in self.rules if smsc in r.known and any(s != smsc and s in usable for s in r.known)]
        if not self.rules and any(s != smsc and s in usable for s in self.smsc_ids):
            found.append("")
        return found

    def in_order(self, dest: str) -> list[tuple[Rule, int]]:
        """The rules whose prefix allows this number, in the order in which they are tried, with the length that matched."""
        found: dict[int, tuple[Rule, int]] = {r.position: (r, 0) for r in self._without_prefix}
        for length in range(1, len(dest) + 1):
            for r in self._by_prefix.get(dest[:length], ()):
                found[r.position] = (r, length)
        return sorted(found.values(), key=lambda f: (f[0].route.order, -f[1], f[0].position))

    def default(self, account: Account) -> Decision:
        """What holds where no rule matches."""
        if self.rules:
            return Decision((), refusal=NO_ROUTE)
        allowed = tuple(s for s in self.smsc_ids if matches_any(s, account.allowed_smsc))
        if not allowed:
            return Decision((), rule="default", refusal=NO_ALLOWED_SMSC if self.smsc_ids else NO_ROUTE)
        return Decision(allowed, rule="default")

    def _kind(self, account: Account, m: Message, network: str) -> _Kind:
        tries = []
        for rule, _ in self.in_order(m.dest):
            if rule.conditions.fixed_fault(account, m.source, m.channel, network):
                continue
            tries.append((rule.conditions, rule.decision(account)))
            if not rule.conditions.varying:
                break
        return _Kind(tries, self.default(account))
