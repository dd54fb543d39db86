"""Who guesses passwords has to wait, and nobody can make a customer wait.

Three counts of failures. By name and address: a fixed number a minute. By account, over all addresses, and by
address, over all names: after some failures each further one doubles the delay, up to a quarter of an hour. The
last two do not hold where an account comes from an address from which it has come in before: strangers who guess
at its password lock out strangers. A credential that was found right lately, from an address that is known, always goes on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from ipaddress import IPv6Address
from typing import Protocol

from attrs import define, field, frozen
from twisted.internet.defer import Deferred

from protei_bulk.access.clock import Clock
from protei_bulk.access.limits import FailedAttempts, plain_address

FREE_FAILURES = 50  # NIST SP 800-63B section 5.2.2 allows 100
LONGEST_SECONDS = 900.0
_FORGET_SECONDS = 3600.0
_KEYS = 50_000
_MINUTE = 60.0


@define
class _Count:
    failures: int = 0
    running: int = 0
    until: float = 0.0
    last: float = 0.0


class Backoff:
    """After `free` failures of a key each further one doubles its delay, from a second to `longest`. free 0: never.

    Beyond `free`, attempts go one at a time, or a burst would slip through while the first is being checked.
    An hour without a failure forgets.
    """

    def __init__(self, clock: Clock, free: int = FREE_FAILURES, longest: float = LONGEST_SECONDS) -> None:
        self.free = free
        self._clock = clock
        self._longest = longest
        self._counts: dict[Hashable, _Count] = {}

    def wait(self, key: Hashable) -> float:
        """Seconds until an attempt may be made; 0.0 for now."""
        count = self._counts.get(key)
        if count is None or not self.free:
            return 0.0
        now = self._clock.seconds()
        if not count.running and now - count.last > _FORGET_SECONDS:
            del self._counts[key]
            return 0.0
        if count.failures + count.running < self.free:
            return 0.0
        if count.running:
            return 1.0
        return max(0.0, count.until - now)

    def begin(self, key: Hashable) -> float:
        """0.0, and end() must follow; or the seconds to wait."""
        wait = self.wait(key)
        if not wait:
            if len(self._counts) >= _KEYS and key not in self._counts:
                self._prune()
            self._counts.setdefault(key, _Count()).running += 1
        return wait

    def end(self, key: Hashable, failed: bool) -> None:
        count = self._counts.get(key)
        if count is None:
            return
        count.running -= 1
        if failed:
            count.failures += 1
            count.last = self._clock.seconds()
            beyond = count.failures - self.free
            if beyond >= 0:
                count.until = count.last + min(self._longest, 2.0 ** min(beyond, 30))
        elif not count.failures and not count.running:
            del self._counts[key]

    def forgive(self, key: Hashable) -> None:
        """Forget its failures."""
        count = self._counts.get(key)
        if count is not None:
            count.failures, count.until = 0, 0.0
            if not count.running:
                del self._counts[key]

    def _prune(self) -> None:
        """The half whose last failure is the longest ago goes."""
        idle = sorted((c.last, n) for n, c in enumerate(self._counts.values()) if not c.running)
        keys = list(self._counts)
        for _, n in idle[: max(1, len(idle) // 2)]:
            del self._counts[keys[n]]


class AddressBook(Protocol):
    """The addresses that accounts have come in from, over restarts and nodes."""

    def is_known(self, username: str, network: str) -> Deferred[bool]: ...

    def seen(self, user_id: int, network: str) -> None:
        """Kept later, in a batch; costs the caller an append."""


@frozen
class Attempt:
    """One that may be made. `wait` above 0 says that it may not, and for how long."""

    wait: float = 0.0
    name: str = ""
    ip: str = ""
    credential: bytes = field(default=b"", repr=False)
    pair: bool = False
    guarded: bool = False


class Guard:
    """begin() before a password is checked, end() after it. `pairs` counts by name and address."""

    def __init__(self, pairs: FailedAttempts, accounts: Backoff, addresses: Backoff, known: KnownAddresses) -> None:
        self.pairs = pairs
        self._accounts, self._addresses, self._known = accounts, addresses, known

    async def begin(self, name: str, ip: str, credential: bytes, verified: bool = False) -> Attempt:
        """verified: memory knows the credential to be right. Fails as the database does."""
        network = network_of(ip)
        if verified and self._known.recently(name, network):
            return Attempt(0.0, name, ip, credential)
        if not self.pairs.begin((name, ip), credential):
            return Attempt(_MINUTE)
        try:
            known = self._known.recently(name, network)
            if not known and (self._accounts.wait(name) or self._addresses.wait(network)):
                known = await self._known.known(name, network)
        except BaseException:
            self.pairs.end((name, ip), credential, False)
            raise
        if not known:
            wait = self._accounts.begin(name)
            if not wait:
                wait = self._addresses.begin(network)
                if wait:
                    self._accounts.end(name, False)
            if wait:
                self.pairs.end((name, ip), credential, False)
                return Attempt(wait)
        return Attempt(0.0, name, ip, credential, True, not known)

    def end(self, attempt: Attempt, *, failed: bool, user_id: int | None = None) -> None:
        """user_id: whose credential it was, where it was right."""
        if attempt.pair:
            self.pairs.end((attempt.name, attempt.ip), attempt.credential, failed)
        if attempt.guarded:
            self._accounts.end(attempt.name, failed)
            self._addresses.end(network_of(attempt.ip), failed)
        if user_id is not None:
            self._known.note(attempt.name, user_id, network_of(attempt.ip))


class KnownAddresses:
    """Memory first: an address that an account has used since this node's start costs no statement."""

    def __init__(self, book: AddressBook, clock: Clock, remember_seconds: float = 86_400.0) -> None:
        self._book, self._clock, self._seconds = book, clock, remember_seconds
        self._recent: OrderedDict[tuple[str, str], float] = OrderedDict()

    def recently(self, name: str, network: str) -> bool:
        since = self._recent.get((name, network))
        return since is not None and self._clock.seconds() - since <= self._seconds

    async def known(self, name: str, network: str) -> bool:
        return bool(network) and await self._book.is_known(name, network)

    def note(self, name: str, user_id: int, network: str) -> None:
        if not network or self.recently(name, network):
            return
        self._recent[name, network] = self._clock.seconds()
        self._recent.move_to_end((name, network))
        while len(self._recent) > _KEYS:
            self._recent.popitem(last=False)
        self._book.seen(user_id, network)


def network_of(ip: str) -> str:
    """What one customer has: an IPv4 address, or a /64 of IPv6; "" for what is no address."""
    address = plain_address(ip)
    if isinstance(address, IPv6Address):
        return str(IPv6Address(int(address) >> 64 << 64)) + "/64"
    return "" if address is None else str(address)
