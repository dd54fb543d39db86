"""Two small questions of a login: may this address come in, and has it failed too often."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from ipaddress import IPv4Network as _V4

from attrs import define, field

from protei_bulk.access.clock import Clock

_KEYS = 50_000


@lru_cache(4096)  # one client asks again and again
def plain_address(text: str) -> IPv4Address | IPv6Address | None:
    """The address; an IPv4 address written as IPv6 (``::ffff:10.0.0.1``) is the IPv4 address.

    None for a text that is no address.
    """
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def address_allowed(text: str, networks: tuple[_V4 | IPv6Network, ...]) -> bool:
    """Whether a list admits an address: an empty list admits all, what is no address only then."""
    if not networks:
        return True
    address = plain_address(text)
    return address is not None and any(address in network for network in networks)


@define
class _Record:
    failures: deque[float] = field(factory=deque)
    running: dict[bytes, int] = field(factory=dict)


class FailedAttempts:
    """At most `limit` failures a minute for each key; successes do not count. 0: no limit.

    Different credentials under check count as if they had failed already, so that a burst
    of guesses does not slip through while the first is still being checked.
    """

    def __init__(self, clock: Clock, limit: int, seconds: float = 60.0) -> None:
        self.limit = limit
        self._clock = clock
        self._seconds = seconds
        self._records: dict[Hashable, _Record] = {}

    def begin(self, key: Hashable, credential: bytes) -> bool:
        """Whether the attempt may be made; if so end() must follow."""
        record = self._fresh(key)
        if record is None:
            record = self._records[key] = _Record()
        running = record.running
        if self.limit and len(record.failures) + len(running) - (credential in running) >= self.limit:
            return False
        running[credential] = running.get(credential, 0) + 1
        return True

    def end(self, key: Hashable, credential: bytes, failed: bool) -> None:
        record = self._records.get(key)
        if record is None:
            return
        left = record.running.pop(credential, 1) - 1
        if left > 0:
            record.running[credential] = left
        if failed:
            record.failures.append(self._clock.seconds())
        elif not record.running and not record.failures:
            del self._records[key]
        if len(self._records) > _KEYS:
            self._prune()

    def _fresh(self, key: Hashable) -> _Record | None:
        record = self._records.get(key)
        if record is not None:
            oldest = self._clock.seconds() - self._seconds
            while record.failures and record.failures[0] <= oldest:
                record.failures.popleft()
        return record

    def _prune(self) -> None:
        """Drop what is over; if that is not enough, the half that failed least lately."""
        for key in list(self._records):
            record = self._fresh(key)
            if record is not None and not record.failures and not record.running:
                del self._records[key]
        if len(self._records) > _KEYS // 2:
            idle = [(r.failures[-1], k) for k, r in self._records.items() if not r.running]
            for _, key in sorted(idle, key=lambda pair: pair[0])[: len(idle) // 2]:
                del self._records[key]
