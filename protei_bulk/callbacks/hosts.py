"""Which callback goes out next: fair between hosts, with a bounded number at a time. Pure.

A host that does not answer is suspect: one request at a time. Suspects and hosts that take long get at most half
of the places together, and few of their rows are held in memory, so that the others always find room.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

_SMOOTHING = 0.2
_LONG = 2.0  # seconds of a request that make a host a slow one
_AHEAD = 20.0  # of a host no more rows are held than it takes in so many seconds
_FARTHEST = 3600.0  # seconds; a row put off is looked at again after that at the latest


def host_of(url: str) -> str:
    """The part of a URL that tells one server from another; "" where there is none."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2].lower()
    except ValueError:
        return ""


class Host(Generic[T]):
    __slots__ = ("active", "horizon", "latency", "listed", "name", "queue", "slow", "suspect")

    def __init__(self, name: str) -> None:
        self.name = name
        self.queue: deque[T] = deque()
        self.active = 0
        self.suspect = False
        self.slow = False
        self.latency = 0.1  # seconds a request takes, smoothed
        self.horizon = 0.0  # until when its rows are spread over time already
        self.listed = False


class Hosts(Generic[T]):
    """`most` requests at a time, `per_host` of them to one host; at most `waiting` rows held for a host."""

    def __init__(self, most: int = 50, per_host: int = 10, waiting: int = 200) -> None:
        self._most, self._per_host, self._waiting = most, per_host, waiting
        self._hosts: dict[str, Host[T]] = {}
        self._turn: deque[Host[T]] = deque()
        self.active = 0
        self.queued = 0
        self._slow_active = 0

    def put(self, name: str, item: T) -> bool:
        """Queues an item; False where the host has enough waiting."""
        host = self._hosts.get(name)
        if host is None:
            if len(self._hosts) > 10_000:
                self._forget_idle()
            host = self._hosts[name] = Host(name)
        if len(host.queue) >= self._room(host):
            return False
        host.queue.append(item)
        self.queued += 1
        self._list(host)
        return True

    def put_off(self, name: str, now: float) -> float:
        """Seconds after which a surplus row of the host should be looked at again.

        Each row gets a later moment, spaced by what the host manages: it is moved about once, not every second.
        """
        host = self._hosts[name]
        allowed = self._allowed(host)
        if host.horizon <= now:
            host.horizon = now + len(host.queue) * host.latency / allowed
        host.horizon = min(host.horizon + host.latency / allowed, now + _FARTHEST)
        return max(1.0, host.horizon - now)

    def take(self) -> tuple[str, T] | None:
        """The next item that may go out, now counted as active."""
        if self.active >= self._most:
            return None
        for _ in range(len(self._turn)):
            host = self._turn.popleft()
            if host.slow and self._slow_active >= max(1, self._most // 2):
                self._turn.append(host)
                continue
            host.listed = False
            if host.active >= self._allowed(host):
                continue  # it became suspect meanwhile; listed again when one ends
            item = host.queue.popleft()
            self.queued -= 1
            host.active += 1
            self.active += 1
            self._slow_active += host.slow
            self._list(host)
            return host.name, item
        return None

    def finished(self, name: str, seconds: float, answered: bool) -> None:
        """A request ended. `answered`: the host gave an answer, whatever it was."""
        host = self._hosts[name]
        host.latency += _SMOOTHING * (max(seconds, 0.001) - host.latency)
        host.suspect = not answered
        slow = host.suspect or host.latency > _LONG
        if slow != host.slow:
            host.slow = slow
            self._slow_active += host.active if slow else -host.active
        self.returned(name)

    def returned(self, name: str) -> None:
        """What was taken is not sent after all: nothing is learnt about the host."""
        host = self._hosts[name]
        self.active -= 1
        self._slow_active -= host.slow
        host.active -= 1
        if host.queue:
            self._list(host)
        elif not host.active and not host.slow:
            del self._hosts[name]

    def trim(self, name: str) -> list[T]:
        """The newest items of a host that it will not take soon, taken out: it has become slow since they came."""
        host = self._hosts.get(name)
        items: list[T] = []
        if host is not None:
            room = self._room(host)
            if len(host.queue) > 2 * room:
                items = [host.queue.pop() for _ in range(len(host.queue) - room)]
                items.reverse()
                self.queued -= len(items)
        return items

    def drain(self) -> list[T]:
        """Everything queued, taken out."""
        items = [item for host in self._hosts.values() for item in host.queue]
        for host in self._hosts.values():
            host.queue.clear()
            host.listed = False
        self._turn.clear()
        self.queued = 0
        return items

    def _allowed(self, host: Host[T]) -> int:
        return 1 if host.suspect else self._per_host

    def _room(self, host: Host[T]) -> int:
        return max(2, min(self._waiting, int(self._allowed(host) * _AHEAD / host.latency)))

    def _list(self, host: Host[T]) -> None:
        if not host.listed and host.queue and host.active < self._allowed(host):
            host.listed = True
            self._turn.append(host)

    def _forget_idle(self) -> None:
        for name in [n for n, h in self._hosts.items() if not h.active and not h.queue]:
            del self._hosts[name]
