"""Whether a message may go where it wants to: countries, lists, pauses, duplicates. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from protei_bulk.guards.countries import region_of
from protei_bulk.guards.duplicates import Duplicates, key_of
from protei_bulk.guards.numbers import Barred, NumberSet, PrefixSet, number_of
from protei_bulk.guards.velocity import COUNTRY, RANGE
from protei_bulk.model import message as refusals
from protei_bulk.model.account import Account
from protei_bulk.model.guards import NO_GUARDS
from protei_bulk.model.message import Message, Refusal

EVERYBODY = 0  # instead of a customer


@frozen
class Pause:
    """An account sends nothing to a range of numbers, or to a country, until it is released."""

    pause_id: int
    user_id: int
    kind: str
    target: str


class Lists:
    """Who gets nothing: `barred` by customer, EVERYBODY's for all; `opted_out` by customer and sender in lower case, "" for any."""

    def __init__(self) -> None:
        self.barred: dict[int, Barred] = {}
        self.opted_out: dict[int, dict[str, NumberSet]] = {}

    def bar(self, customer: int, number: int, is_prefix: bool, there: bool) -> None:
        barred = self.barred.setdefault(customer, Barred())
        (barred.prefixes if is_prefix else barred.numbers).set(number, there)

    def opt(self, customer: int, sender: str, number: int, out: bool) -> None:
        senders = self.opted_out.setdefault(customer, {})
        senders.setdefault(sender.lower(), NumberSet()).set(number, out)

    @property
    def changes(self) -> int:
        """How much lies over what was read as a whole."""
        barred = sum(b.numbers.changes for b in self.barred.values())
        return barred + sum(s.changes for senders in self.opted_out.values() for s in senders.values())

    @property
    def numbers(self) -> int:
        """Entries of the blacklists."""
        return sum(len(b) for b in self.barred.values())

    @property
    def opt_outs(self) -> int:
        return sum(len(s) for senders in self.opted_out.values() for s in senders.values())


class _Paused:
    """Of one account."""

    __slots__ = ("countries", "ranges")

    def __init__(self, pauses: Iterable[Pause]) -> None:
        pauses = list(pauses)
        self.countries = frozenset(p.target for p in pauses if p.kind == COUNTRY)
        self.ranges = PrefixSet(n for p in pauses if p.kind == RANGE if (n := number_of(p.target)))

    def find(self, number: int, dest: str) -> str:
        if self.countries and (region := region_of(dest)) in self.countries:
            return region
        return self.ranges.find(number) if self.ranges else ""


class Checker:
    """`busy` says whether anything here concerns accounts without guards of their own."""

    def __init__(self, lists: Lists | None = None, duplicates: Duplicates | None = None) -> None:
        self.lists = lists or Lists()
        self.duplicates = duplicates or Duplicates()
        self.allowed: frozenset[str] = frozenset()  # countries of all; empty: every one
        self.blocked: frozenset[str] = frozenset()
        self._paused: dict[int, _Paused] = {}

    @property
    def busy(self) -> bool:
        return bool(self.allowed or self.blocked or self._paused or self.lists.numbers or self.lists.opt_outs)

    def pause(self, pauses: Iterable[Pause]) -> None:
        """These are in force, and no others."""
        by_user: dict[int, list[Pause]] = {}
        for p in pauses:
            by_user.setdefault(p.user_id, []).append(p)
        self._paused = {user: _Paused(those) for user, those in by_user.items()}

    def check(self, account: Account, m: Message) -> Refusal | None:
        """Why it may not go; `m.refusal_detail` says more. What may go is remembered against duplicates: see `forget`."""
        dest = m.dest
        number = number_of(dest)
        guards = account.guards or NO_GUARDS
        if self.allowed or self.blocked or guards.countries:
            region = region_of(dest)
            if not (self._global(region) and guards.admits(region)):
                m.refusal_detail = region or "no country"
                return refusals.COUNTRY_NOT_ALLOWED
        barred = self.lists.barred
        if barred:
            for customer in (EVERYBODY, account.customer_id):
                entry = barred[customer].find(number) if customer in barred else ""
                if entry:
                    return refusals.BLACKLISTED
        if not guards.transactional:
            senders = self.lists.opted_out.get(account.customer_id)
            if senders is not None and any(sender in senders and number in senders[sender] for sender in ("", m.source.lower())):
                return refusals.OPTED_OUT
        if self._paused:
            paused = self._paused.get(account.user_id)
            if paused is not None and (target := paused.find(number, dest)):
                m.refusal_detail = target
                return refusals.VELOCITY
        if guards.duplicate_seconds and not self.duplicates.take(key_of(account.user_id, m), guards.duplicate_seconds, m.created):
            return refusals.DUPLICATE
        return None

    def _global(self, region: str) -> bool:
        return region not in self.blocked and (not self.allowed or region in self.allowed)

    def forget(self, user_id: int, m: Message) -> None:
        """It was not stored after all: whoever sends it again is heard."""
        if self.duplicates:
            self.duplicates.forget(key_of(user_id, m))
