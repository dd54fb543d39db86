"""Token buckets that compute instead of ticking: time is an argument. Pure."""

from __future__ import annotations


class TokenBucket:
    """GCRA: `rate` units a second, up to `burst` at once. A rate of 0 limits nothing.

    Over any stretch of t seconds it lets through at most rate * t + burst units.
    """

    __slots__ = ("_full_at", "burst", "rate")

    def __init__(self, rate: float, burst: float | None = None) -> None:
        self.rate = rate
        self.burst = max(1.0, rate if burst is None else burst)
        self._full_at = float("-inf")  # when the bucket will be full again

    def change(self, rate: float, burst: float | None = None) -> None:
        """Another rate from now on; what was taken stays taken."""
        self.rate = rate
        self.burst = max(1.0, rate if burst is None else burst)

    def take(self, units: float, now: float) -> float:
        """Takes `units` and returns 0.0, or takes nothing and returns the seconds to wait.

        More units than the burst can ever hold are let through once the bucket is full, and
        paid off afterwards: else a message of many segments would wait for ever.
        """
        if self.rate <= 0:
            return 0.0
        start = max(self._full_at, now)
        wait = start + units / self.rate - now - max(self.burst, units) / self.rate
        if wait > 1e-9:
            return wait
        self._full_at = start + units / self.rate
        return 0.0

    def charge(self, units: float, now: float) -> None:
        """Takes `units` in any case: what is not there is paid off before the next."""
        if self.rate > 0:
            self._full_at = max(self._full_at, now) + units / self.rate

    def available(self, now: float) -> int:
        """Whole units that could be taken now; a large number where nothing is limited."""
        if self.rate <= 0:
            return 1 << 30
        return int(self.burst - max(0.0, self._full_at - now) * self.rate + 1e-6)

    def wait(self, units: float, now: float) -> float:
        """Seconds until `units` could be taken."""
        if self.rate <= 0:
            return 0.0
        start = max(self._full_at, now)
        return max(0.0, start + units / self.rate - now - max(self.burst, units) / self.rate)
