"""Rate limits over all nodes: leases tokens of shared budgets in batches, and answers requests from what it holds.

A request whose budget holds a token, or is known to be used up, costs no statement; another waits for the next batch, a
few milliseconds. While a batch is in flight the next one gathers. Where the database stays away for longer than PATIENCE,
each node limits by itself: what is let through then can be answered by nothing that needs the database.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from protei_bulk.channels.http import limits
from protei_bulk.channels.http.limits import Ask, Grant, KeyedBuckets, KeyedWindows, Policy, Purse, Verdict

TERM = 15.0  # seconds without a word after which a node's tokens count as spent
BEAT = 5.0
BATCH = 1000  # budgets in one statement
PATIENCE = 3.0  # seconds that a request may wait for the database before this node decides alone
RETRY = 0.25
RECALL = 0.15  # seconds that other nodes have to give back what they hold unused
LOOK_OVER = 60.0  # seconds between looks at what is held for nobody, or spent and not yet told
IDLE = 600.0  # seconds after which an unused budget is given back
PURGE = 3600.0

log = Logger()


class Lease(Protocol):
    @property
    def granted(self) -> int: ...

    @property
    def left(self) -> int: ...

    @property
    def others(self) -> int: ...

    @property
    def again(self) -> float: ...

    @property
    def full_in(self) -> float: ...


class Store(Protocol):
    """store.rates.Rates."""

    def register(self, term: float) -> Deferred[int]: ...

    def lease(self, holder: int, seq: int, term: float, asks: Sequence[Ask]) -> Deferred[Any]: ...

    def end(self, holder: int) -> Deferred[int]: ...

    def purge(self) -> Deferred[int]: ...


class Clock(Protocol):
    def callLater(self, delay: float, f: Any, /, *args: Any) -> Any: ...  # noqa: N802


Key = tuple[Policy, str]


class Alone:
    """The limits of one process that shares them with nobody."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._now = monotonic
        self._known: dict[Policy, KeyedBuckets | KeyedWindows] = {}

    def take(self, policy: Policy, key: str) -> Verdict:
        known = self._known.get(policy)
        if known is None:
            known = KeyedBuckets(60.0 / policy.interval, policy.burst) if policy.burst else KeyedWindows(policy.quota, policy.window)
            self._known[policy] = known
        wait = known.take(key, self._now())
        return Verdict(policy, wait, 0 if wait else 1, wait or policy.interval)


class Budgets:
    """`monotonic()` in seconds, of a clock that is never set."""

    def __init__(self, store: Store, clock: Clock, monotonic: Callable[[], float]) -> None:
        self._store, self._clock, self._now = store, clock, monotonic
        self._purses: dict[Key, Purse] = {}
        self._waiting: dict[Key, list[Deferred[Verdict]]] = {}
        self._asking: dict[Key, None] = {}  # what the next batch is about, in order
        self._recalled: set[Key] = set()
        self._holder = 0
        self._seq = 0
        self._valid_until = 0.0
        self._busy = self._closed = False
        self._flush_timer: Any = None
        self._failing_since: float | None = None
        self._away = False
        self._alone = Alone(monotonic)
        self._beat_timer: Any = None
        self._looked_over = self._purged = 0.0
        self._quiet: list[Deferred[None]] = []

    # --- requests

    def take(self, policy: Policy, key: str) -> Verdict | Deferred[Verdict]:
        """Whether one more request is within a limit; most often known at once."""
        now = self._now()
        if self._away or self._closed:
            return self._alone.take(policy, key)
        purse = self._purses.get((policy, key))
        if purse is None:
            purse = self._new(policy, key)
        elif purse.tokens and now < self._valid_until:
            purse.spend(now)
            return purse.verdict(now)
        elif now < purse.refused_until:
            return purse.verdict(now, purse.refused_until - now)
        waiting = self._waiting.setdefault((policy, key), [])
        if len(waiting) >= (policy.burst or policy.quota):
            return purse.verdict(now, policy.interval)  # not all of these can be let through
        waiter: Deferred[Verdict] = Deferred()
        waiting.append(waiter)
        if (policy, key) not in self._recalled:
            self._ask((policy, key))
        return waiter

    def _new(self, policy: Policy, key: str) -> Purse:
        if len(self._purses) >= limits.MAX_KEYS:
            self._drop(next(iter(self._purses)))
        purse = self._purses[policy, key] = Purse(policy, key)
        return purse

    # --- life

    def start(self) -> None:
        self._beat_timer = self._clock.callLater(BEAT, self._beat)

    def recall(self, payload: str) -> None:
        """Another node has nothing left: it gets what is unused here (payload of a notification, "" for none)."""
        name, _, key = payload.partition(" ")
        for purse in [p for k, p in self._purses.items() if k[1] == key and k[0].id == name and p.tokens]:
            purse.tokens = 0
            self._ask((purse.policy, key))

    def _beat(self) -> None:
        self._beat_timer = self._clock.callLater(BEAT, self._beat)
        now = self._now()
        if now - self._looked_over >= LOOK_OVER:
            self._looked_over = now
            self._look_over(now)
        if now - self._purged >= PURGE:
            self._purged = now
            self._store.purge().addErrback(lambda f: log.warn("rate limits: {why}", why=f.getErrorMessage()))
        if self._holder and not self._busy:
            self._flush()

    def _look_over(self, now: float) -> None:
        for key, purse in list(self._purses.items()):
            if now - purse.touched > IDLE and key not in self._waiting:
                self._drop(key)
            elif purse.uses and now - purse.uses[0][0] > LOOK_OVER:
                self._ask(key)

    def _drop(self, key: Key) -> None:
        """The purse goes, once its tokens are given back."""
        purse = self._purses[key]
        if purse.tokens or purse.uses or key in self._waiting:
            purse.tokens = 0
            self._purses[key] = self._purses.pop(key)  # to the end: the next one to make room is another
            self._ask(key)
        else:
            del self._purses[key]

    async def close(self) -> None:
        """Gives everything back."""
        self._closed = True
        for timer in (self._beat_timer, self._flush_timer):
            if timer is not None and timer.active():
                timer.cancel()
        for key, purse in self._purses.items():
            if purse.tokens or purse.uses:
                purse.tokens = 0
                self._asking[key] = None
        while self._holder and (self._asking or self._busy) and self._failing_since is None:
            if not self._busy:
                self._flush()
            if self._busy:
                quiet: Deferred[None] = Deferred()
                self._quiet.append(quiet)
                await quiet
        self._refuse_all()
        if self._holder:
            await self._store.end(self._holder).addErrback(lambda f: None)

    # --- batches

    def _ask(self, key: Key) -> None:
        self._asking[key] = None
        if self._flush_timer is None and not self._busy and not self._closed:
            self._flush_timer = self._clock.callLater(0, self._flush)

    def _flush(self) -> None:
        if self._flush_timer is not None and self._flush_timer.active():
            self._flush_timer.cancel()
        self._flush_timer = None
        if self._busy:
            return
        self._busy = True
        Deferred.fromCoroutine(self._exchange()).addErrback(self._failed).addBoth(self._done)

    async def _exchange(self) -> None:
        sent = self._now()
        if not self._holder:
            self._holder = await self._store.register(TERM)
            self._valid_until = sent + 0.9 * TERM
            sent = self._now()
        keys = list(self._asking)[:BATCH]
        purses = [self._purses[k] for k in keys if k in self._purses]
        for k in keys:
            del self._asking[k]
        asks = [p.ask(sent, self._wanted(p)) for p in purses]
        self._seq += 1
        try:
            leases = await self._store.lease(self._holder, self._seq, TERM, asks)
        except BaseException:
            for purse, ask in zip(purses, asks, strict=True):
                purse.untold(ask, sent)
                self._asking[purse.policy, purse.key] = None
            raise
        if leases is None:
            log.warn("rate limits: the lease has run out; a new one is taken")
            self._lost()
            for purse in purses:
                self._asking[purse.policy, purse.key] = None
        else:
            self._valid_until = sent + 0.9 * TERM
            for purse, lease in zip(purses, leases, strict=True):
                self._leased(purse, Grant(lease.granted, lease.left, lease.others, lease.again, lease.full_in))
        self._failing_since = None
        if self._away:
            self._away = False
            self._alone = Alone(self._now)
            log.info("rate limits: shared with the other nodes again")

    def _wanted(self, purse: Purse) -> int:
        waiting = len(self._waiting.get((purse.policy, purse.key), ()))
        return max(waiting, purse.policy.lease) - purse.tokens if waiting else 0

    def _lost(self) -> None:
        self._holder, self._seq = 0, 0
        for purse in self._purses.values():
            purse.void()

    def _leased(self, purse: Purse, grant: Grant) -> None:
        key = (purse.policy, purse.key)
        now = self._now()
        purse.granted(grant, now)
        waiting = self._waiting.get(key, [])
        told = []
        while waiting and purse.spend(now):
            told.append((waiting.pop(0), purse.verdict(now)))
        if not waiting:
            self._waiting.pop(key, None)
            self._recalled.discard(key)
            if not purse.tokens and not purse.uses and now >= purse.refused_until:
                self._purses.pop(key, None)  # it says nothing any more
        elif grant.granted and grant.left:
            self._asking[key] = None
        elif not grant.granted and grant.others and key not in self._recalled:
            self._recalled.add(key)
            self._clock.callLater(RECALL, self._ask_again, key)
        else:
            self._recalled.discard(key)
            del self._waiting[key]
            wait = max(grant.again, 0.5 if grant.others else 0.0)
            purse.refused_until = now + wait
            told += [(waiter, purse.verdict(now, wait)) for waiter in waiting]
        for waiter, verdict in told:
            waiter.callback(verdict)

    def _ask_again(self, key: Key) -> None:
        if key in self._waiting:
            self._ask(key)
        else:
            self._recalled.discard(key)

    def _failed(self, failure: Failure) -> None:
        now = self._now()
        if self._failing_since is None:
            self._failing_since = now
            log.warn("rate limits: {why}", why=failure.getErrorMessage())
        if not self._away and now - self._failing_since >= PATIENCE:
            self._away = True
            log.warn("rate limits: without the database each node limits by itself")
            self._refuse_all()

    def _refuse_all(self) -> None:
        waiting, self._waiting = self._waiting, {}
        self._recalled.clear()
        for (policy, key), waiters in waiting.items():
            for waiter in waiters:
                    waiter.callback(self._alone.take(policy, key))

    def _done(self, _: object) -> None:
        self._busy = False
        quiet, self._quiet = self._quiet, []
        for d in quiet:
            d.callback(None)
        if self._asking and self._flush_timer is None and not self._closed:
            self._flush_timer = self._clock.callLater(0 if self._failing_since is None else 1.0 if self._away else RETRY, self._flush)
