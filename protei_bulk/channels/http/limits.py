"""Rate limits of the HTTP API (specification section 7.3). Time in seconds is an argument; no clock inside."""

from __future__ import annotations

from collections.abc import Hashable

MAX_KEYS = 100_000


class KeyedBuckets:
    """GCRA for each key: `per_minute` requests a minute, `burst` of them at once. 0 a minute: no limit."""

    def __init__(self, per_minute: int, burst: int) -> None:
        self._interval = 60.0 / per_minute if per_minute else 0.0
        self._tolerance = self._interval * (max(1, burst) - 1)
        self._full_at: dict[Hashable, float] = {}  # when the bucket of a key is full again

    def take(self, key: Hashable, now: float) -> float:
        """0.0 and a request is taken, or the seconds until one could be."""
        if not self._interval:
            return 0.0
        full_at = max(self._full_at.get(key, 0.0), now)
        wait = full_at - now - self._tolerance
        if wait > 1e-9:
            return wait
        if len(self._full_at) >= MAX_KEYS:
            self._prune(now)
        self._full_at[key] = full_at + self._interval
        return 0.0

    def _prune(self, now: float) -> None:
        """Full buckets say nothing; if there are still too many, the fullest ones go."""
        kept = {k: at for k, at in self._full_at.items() if at > now}
        if len(kept) >= MAX_KEYS:
            kept = dict(sorted(kept.items(), key=lambda pair: pair[1])[MAX_KEYS // 2 :])
        self._full_at = kept


class KeyedWindows:
    """At most `limit` requests for each key in any stretch of `seconds`. 0: no limit.

    Two counters a key: what the window before held counts by the share of it that still overlaps, as if its
    requests had come evenly. The first window of a key is exact.
    """

    def __init__(self, limit: int, seconds: float = 3600.0) -> None:
        self._limit, self._seconds = limit, seconds
        self._windows: dict[Hashable, tuple[float, int, int]] = {}  # key -> (begin, count before, count)

    def take(self, key: Hashable, now: float) -> float:
        """0.0 and a request is taken, or the seconds until one could be."""
        if not self._limit:
            return 0.0
        begin, before, count = self._current(key, now)
        left = self._seconds - (now - begin)
        if before * left / self._seconds + count + 1 > self._limit + 1e-9:
            if count + 1 > self._limit:
                return max(left, 0.001)
            # The share of the window before falls steadily: when is it small enough?
            return max(0.001, left - (self._limit - count - 1) * self._seconds / before)
        if key not in self._windows and len(self._windows) >= MAX_KEYS:
            self._prune(now)
        self._windows[key] = (begin, before, count + 1)
        return 0.0

    def _current(self, key: Hashable, now: float) -> tuple[float, int, int]:
        begin, before, count = self._windows.get(key, (now, 0, 0))
        passed = int((now - begin) // self._seconds)
        if passed == 1:
            return begin + self._seconds, count, 0
        if passed > 1 or passed < 0:
            return now, 0, 0
        return begin, before, count

    def _prune(self, now: float) -> None:
        kept = {k: w for k, w in self._windows.items() if now - w[0] < 2 * self._seconds}
        if len(kept) >= MAX_KEYS:
            kept = dict(sorted(kept.items(), key=lambda pair: pair[1][2])[MAX_KEYS // 2 :])
        self._windows = kept
