"""A circuit breaker: an SMSC that mostly fails is left alone for a while, then tried with a few messages. Pure.

Time is an argument, in seconds, and never goes back.
"""

from __future__ import annotations

CLOSED, OPEN, HALF_OPEN = "CLOSED", "OPEN", "HALF_OPEN"
_MANY = 1 << 30


class Breaker:
    """`share` of failures among at least `least` answers of the last `window` seconds opens it; 0 switches it off.

    Open, nothing is sent for `rest` seconds, twice as long after each probe that failed, at
    most `longest`. Then, half open, `probes` messages may go out: when that many answers were
    good it closes, and with the first bad one it opens again.
    """

    __slots__ = ("_bad", "_buckets", "_good", "_out", "_rest", "_until", "least", "longest", "probes", "rest", "share", "state", "window")

    def __init__(self, share: float = 0.5, least: int = 20, window: float = 30.0, rest: float = 5.0, longest: float = 300.0,
                 probes: int = 5) -> None:  # fmt: skip
        self.share, self.least, self.window, self.rest, self.longest, self.probes = share, least, window, rest, longest, probes
        self.state = CLOSED
        self._buckets: list[tuple[int, int, int]] = []  # (second, good, bad), oldest first
        self._good = self._bad = 0
        self._until = 0.0  # when an open one is tried
        self._rest = rest
        self._out = 0  # probes sent

    def allows(self, now: float) -> int:
        """How many messages may go out now."""
        if self.state == CLOSED:
            return _MANY
        if self.state == OPEN:
            if now < self._until:
                return 0
            self.state = HALF_OPEN
            self._out = self._good = self._bad = 0
            self._buckets.clear()
        return max(0, self.probes - self._out)

    def wait(self, now: float) -> float:
        """Seconds until an open one is tried; 0 for others."""
        return max(0.0, self._until - now) if self.state == OPEN else 0.0

    def sent(self, count: int) -> None:
        """So many messages went out; only probes are counted."""
        if self.state == HALF_OPEN:
            self._out += count

    def answers(self, good: int, bad: int, now: float) -> bool:
        """So many answers came, or failed to come in time. True where this opened or closed it."""
        if not self.share or self.state == OPEN:
            return False
        self._good += good
        self._bad += bad
        if self.state == HALF_OPEN:
            if bad:
                self._rest = min(self.longest, self._rest * 2)
                self._open(now)
                return True
            if self._good >= self.probes:
                self.state = CLOSED
                self._rest = self.rest
                self._forget()
                return True
            return False
        second = int(now)
        if self._buckets and self._buckets[-1][0] == second:
            _, g, b = self._buckets[-1]
            self._buckets[-1] = (second, g + good, b + bad)
        else:
            self._buckets.append((second, good, bad))
            while self._buckets[0][0] < now - self.window:
                _, g, b = self._buckets.pop(0)
                self._good -= g
                self._bad -= b
        total = self._good + self._bad
        if bad and total >= self.least and self._bad >= self.share * total:
            self._open(now)
            return True
        return False

    def lost(self) -> None:
        """The connection went, and with it probes whose answers will not come: they may be sent anew."""
        if self.state == HALF_OPEN:
            self._out = self._good

    def _open(self, now: float) -> None:
        self.state = OPEN
        self._until = now + self._rest
        self._forget()

    def _forget(self) -> None:
        self._buckets.clear()
        self._good = self._bad = 0
