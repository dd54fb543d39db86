"""Rate limits of the HTTP API (specification section 7.3), a node's part of them. Time in seconds is an argument; no clock inside.

A budget of requests belongs to all nodes that share the database. A node leases tokens of it and spends them here, without
asking anybody; what it holds counts as spent for the others. store.rates has the other half. Without a database the
Keyed* classes limit what this node alone lets through.
"""

from __future__ import annotations

from collections.abc import Hashable

from attrs import frozen

MAX_KEYS = 100_000


@frozen
class Policy:
    """One limit: `quota` requests in `window` seconds.

    With a burst it is a bucket (GCRA): so many at once, then one each window/quota. Without one, no stretch of
    `window` seconds ever has more than `quota`.
    """

    name: str
    quota: int
    window: float
    burst: int = 0

    @property
    def interval(self) -> float:
        return self.window / self.quota

    @property
    def id(self) -> str:
        """As the nodes know it: with other numbers it is another budget."""
        return f"{self.name}:{self.quota}:{self.window:g}:{self.burst}"

    @property
    def lease(self) -> int:
        """Tokens asked for at once. What a node holds when it dies counts as spent, which a window remembers for long."""
        return self.burst or max(1, self.quota // 20)

    @property
    def shown(self) -> str:
        """A member of RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-11); burst is a comment as the draft allows."""
        burst = f";burst={self.burst}" if self.burst else ""
        return f'"{self.name}";q={self.quota};w={self.window:.0f}{burst}'


@frozen
class Verdict:
    """`wait`: seconds until a request could be taken; 0.0: this one is. `left`, `reset`: requests left, seconds until all are."""

    policy: Policy
    wait: float
    left: int
    reset: float

    @property
    def shown(self) -> str:
        """A member of RateLimit."""
        return f'"{self.policy.name}";r={self.left};t={max(0, int(self.reset + 0.999))}'


@frozen
class Ask:
    """What a node tells of a budget, and asks of it: `uses` as (seconds ago, tokens), oldest first; `held` tokens unspent."""

    policy: Policy
    key: str
    uses: list[tuple[float, int]]
    held: int
    wanted: int


@frozen
class Grant:
    """`again`: seconds until there is more than was granted; `full_in`: until all of the budget is there."""

    granted: int
    left: int = 0
    others: int = 0
    again: float = 1.0
    full_in: float = 0.0


class Purse:
    """Tokens of one budget that this node may spend."""

    __slots__ = ("_full_at", "_left", "_left_at", "key", "policy", "refused_until", "tokens", "touched", "uses")

    def __init__(self, policy: Policy, key: str) -> None:
        self.policy, self.key = policy, key
        self.tokens = 0
        self.uses: list[list[float]] = []  # [when, how many], not yet told
        self.refused_until = 0.0
        self.touched = 0.0
        self._left, self._left_at, self._full_at = 0, 0.0, 0.0

    def spend(self, now: float) -> bool:
        """Whether there was a token; it is spent."""
        if not self.tokens:
            return False
        self.tokens -= 1
        self.touched = now
        uses = self.uses
        # Uses close together are told as one at the time of the last: later than it was is never too generous.
        if uses and now - uses[-1][0] < 0.05:
            uses[-1][0] = now
            uses[-1][1] += 1
        else:
            uses.append([now, 1])
        return True

    def verdict(self, now: float, wait: float = 0.0) -> Verdict:
        """`left` is what this node knows of; other nodes may have taken some of it meanwhile."""
        p = self.policy
        left = self.tokens + self._left
        if not p.burst:
            return Verdict(p, wait, 0 if wait else min(left, p.quota), max(self._full_at - now, 0.0))
        left = min(p.burst, left + int((now - self._left_at) / p.interval))
        return Verdict(p, wait, 0 if wait else left, (p.burst - left) * p.interval)

    def ask(self, now: float, wanted: int) -> Ask:
        """What to send. The uses are told with it: `granted` or `untold` follows."""
        uses, self.uses = self.uses, []
        return Ask(self.policy, self.key, [(max(0.0, now - at), int(n)) for at, n in uses], self.tokens, wanted)

    def granted(self, grant: Grant, now: float) -> None:
        self.tokens += grant.granted
        self._left, self._left_at, self._full_at = grant.left, now, now + grant.full_in
        if not grant.left and not grant.others:
            self.refused_until = now + grant.again  # once the tokens are spent

    def untold(self, ask: Ask, asked_at: float) -> None:
        """Nobody knows whether it was heard: told again, at worst uses count twice."""
        self.uses[:0] = [[asked_at - ago, n] for ago, n in ask.uses]

    def void(self) -> None:
        """The lease has ended: all that was held counts as spent, told or not."""
        self.tokens, self.uses = 0, []


class KeyedBuckets:
    """GCRA for each key: `per_minute` requests a minute, `burst` of them at once. 0 a minute: no limit."""

    def __init__(self, per_minute: float, burst: int) -> None:
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
