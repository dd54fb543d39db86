"""Which connectors this node runs, and which other nodes live: one statement every two seconds.

A connector runs on the node that holds its lease. The node counts a lease from the moment before it asked for it, by a clock that
nobody sets and that counts while the machine sleeps: it stops sending a second before the lease ends, whatever keeps it from
renewing. A lease that ran out is taken over by others; one that was given back, at once.

A node whose heartbeat has not changed for eight seconds, in which this one saw it every few seconds, is dead: after an outage of
the database nobody is. Whoever is first puts what it held into the queue table, and from then on it can store and claim nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from protei_bulk.connectors.health import BOUND
from protei_bulk.store.leases import Lease, Peer

log = Logger()

TERM = 6.0  # seconds of a lease
MARGIN = 1.0  # seconds before its end when nothing is sent any more
EVERY = 2.0  # seconds between renewals
GIVE_UP = 6.0  # seconds after the end of a lease that could not be renewed when the binds are given up
DEAD = 8.0  # seconds without a heartbeat
_SEEN = 5.0  # seconds between two looks at the other nodes, no more: a longer silence was ours, or the database's
_PREFIX = "smsc:"


def boot_seconds() -> float:
    """Seconds that only grow, and grow while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Store(Protocol):
    def renew(self, resources: Collection[str], seconds: float, take: bool) -> Deferred[list[Lease]]: ...

    def release(self, resources: Collection[str]) -> Deferred[Any]: ...

    def leave(self) -> Deferred[bool]: ...

    def peers(self) -> Deferred[list[Peer]]: ...

    def take_over(self, peer: Peer, hold: Sequence[str]) -> Deferred[tuple[int, int] | None]: ...


class Connectors(Protocol):
    """What leases decide about."""

    elsewhere: frozenset[str]  # SMSCs that other nodes have bound

    def run(self, smsc: str) -> None: ...

    def hand_over(self, smsc: str) -> None:
        """Another node may run it from now on."""

    def resume(self, smsc: str) -> None:
        """Its lease holds again."""


class Grant:
    """Whether a connector may send: asked each turn."""

    __slots__ = ("_clock", "fencing", "until")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.until = 0.0
        self.fencing = 0

    @property
    def valid(self) -> bool:
        return self._clock() < self.until


class Leases:
    """`hold()` names the SMSCs whose messages wait for a person after a crash; `alone(bool)` is told whether other nodes live."""

    def __init__(self, store: Store, connectors: Connectors, clock: Any, node: int, hold: Callable[[], Sequence[str]],
                 alone: Callable[[bool], None], *, seconds: Callable[[], float] = boot_seconds) -> None:  # fmt: skip
        self._store, self._connectors, self._clock, self._node, self._hold = store, connectors, clock, node, hold
        self._alone, self._seconds = alone, seconds
        self._grants: dict[str, Grant] = {}
        self._held: set[str] = set()
        self._answered = seconds()
        self._take_from = 0.0  # when what has run out may be had
        self._peers: dict[tuple[int, int, object], float] = {}  # (node, epoch, heartbeat) -> since when it is so
        self._seen_at = 0.0
        self._taking: set[int] = set()
        self._next: IDelayedCall | None = None
        self._again = False
        self._running: Deferred[None] | None = None
        self._winding_up = self._stopped = False
        self._watch = LoopingCall(self._look_at_clock)
        self._watch.clock = clock
        self.taken_over = 0

    def grant(self, smsc: str) -> Grant:
        """What the connector of this id asks; it may run when `run` is called."""
        known = self._grants.get(smsc)
        if known is None:
            known = self._grants[smsc] = Grant(self._seconds)
        return known

    @property
    def held(self) -> Collection[str]:
        """SMSCs whose connectors run here."""
        return self._held

    # --- life

    async def start(self) -> None:
        """The first round: what can be had is run when this is over. Raises what the store raises."""
        await self.round()
        self._watch.start(0.5, now=False)
        self._schedule(EVERY)

    def wake(self) -> None:
        """Something has changed hands."""
        if self._running is not None:
            self._again = True
        elif self._next is not None and self._next.active():
            self._next.reset(0.0)

    def change(self, smscs: Iterable[str]) -> None:
        """These are in the configuration now."""
        gone = self._grants.keys() - set(smscs)
        for smsc in gone:
            del self._grants[smsc]
        held = self._held & gone
        self._held -= gone
        if held:
            self._release(held)
        self.wake()

    def wind_up(self) -> None:
        """The connectors stop: what runs here is renewed, and nothing more is taken."""
        self._winding_up = True

    def void(self) -> None:
        """This life of the node is over: nothing is sent any more."""
        self.wind_up()
        for grant in self._grants.values():
            grant.until = 0.0

    def stop(self) -> Deferred[Any]:
        """The connectors run no more: others may. Fires once that is written."""
        self._stopped = True
        if self._watch.running:
            self._watch.stop()
        if self._next is not None and self._next.active():
            self._next.cancel()
        idle: Deferred[Any] = Deferred()
        if self._running is None:
            idle.callback(None)
        else:
            self._running.addBoth(lambda _: idle.callback(None))

        def release(_: object) -> Deferred[Any]:
            held, self._held = self._held, set()
            return self._store.release([_PREFIX + s for s in held]) if held else succeed(None)

        return idle.addCallback(release)

    def leave(self) -> Deferred[bool]:
        """At the very end, where everything is recorded: what waits in memory is for others."""
        return self._store.leave()

    def _release(self, smscs: Collection[str]) -> None:
        d = self._store.release([_PREFIX + s for s in smscs])
        d.addErrback(lambda f: log.warn("giving back {n} connectors: {why}", n=len(smscs), why=f.getErrorMessage()))

    def _schedule(self, delay: float) -> None:
        if not self._stopped:
            self._next = self._clock.callLater(delay, self._begin)

    def _begin(self) -> None:
        delay = [EVERY]

        async def work() -> None:
            try:
                delay[0] = await self.round()
            except Exception as error:  # the database, as a rule
                log.warn("renewing leases: {why}", why=str(error).splitlines()[0] if str(error) else type(error).__name__)
                delay[0] = EVERY / 4

        self._running = Deferred.fromCoroutine(work())

        def over(_: object) -> None:
            self._running = None
            again, self._again = self._again, False
            self._schedule(0.0 if again else delay[0])

        self._running.addBoth(over)

    # --- a round

    async def round(self) -> float:
        """Renews, takes what is free, hands over what is lost; seconds until the next one."""
        asked = self._seconds()
        if asked - self._answered >= _SEEN:  # after an outage, who held something may renew it first
            self._take_from = asked + 1.5 * EVERY
        take = asked >= self._take_from
        rows = await self._store.renew([_PREFIX + s for s in (self._held if self._winding_up else self._grants)], TERM, take)
        self._answered = asked
        soon = EVERY
        elsewhere = set()
        for lease in rows:
            smsc = lease.resource[len(_PREFIX) :]
            grant = self._grants.get(smsc)
            if grant is None or (self._winding_up and smsc not in self._held):
                if lease.node == self._node:
                    self._release([smsc])  # out of the configuration while we asked
            elif lease.node == self._node:
                self._granted(smsc, grant, lease, asked + TERM - MARGIN)
            else:
                if smsc in self._held:
                    log.warn("{smsc}: node {n} runs it now", smsc=smsc, n=lease.node)
                    self._lose(smsc)
                if lease.state == BOUND and lease.left > 0:
                    elsewhere.add(smsc)
                soon = min(soon, max(0.25, lease.left + 0.05))
        if not self._winding_up:
            self._connectors.elsewhere = frozenset(elsewhere)
        await self._look_at_others()
        return soon

    def _granted(self, smsc: str, grant: Grant, lease: Lease, until: float) -> None:
        paused = not grant.valid
        grant.until, grant.fencing = until, lease.fencing
        if smsc not in self._held:
            self._held.add(smsc)
            log.info("{smsc}: runs here, {n}", smsc=smsc, n=lease.fencing)
            self._connectors.run(smsc)
        elif paused:
            self._connectors.resume(smsc)

    def _lose(self, smsc: str) -> None:
        self._held.discard(smsc)
        self._grants[smsc].until = 0.0
        self._connectors.hand_over(smsc)

    def _look_at_clock(self) -> None:
        """Connectors whose lease ran out send nothing; their binds go a while later, for another node may want them."""
        now = self._seconds()
        for smsc in [s for s in self._held if now >= self._grants[s].until + MARGIN + GIVE_UP]:
            log.warn("{smsc}: its lease ran out and could not be renewed", smsc=smsc)
            self._lose(smsc)

    # --- other nodes

    async def _look_at_others(self) -> None:
        now = self._seconds()
        peers = await self._store.peers()
        if now - self._seen_at > _SEEN:
            self._peers.clear()
        self._seen_at = now
        self._alone(not peers)
        known, self._peers = self._peers, {}
        for peer in peers:
            key = peer.node, peer.epoch, peer.heartbeat
            since = self._peers[key] = known.get(key, now)
            if now - since >= DEAD and peer.node not in self._taking:
                self._taking.add(peer.node)
                self._take_over(peer)

    def _take_over(self, peer: Peer) -> None:
        """Beside the rounds: it may take longer than a lease."""

        def done(found: tuple[int, int] | None) -> None:
            if found is not None:
                self.taken_over += 1
                log.warn("node {name} ({n}) is dead: {q} of its messages and {r} receipts are for the others now",
                         name=peer.name, n=peer.node, q=found[0], r=found[1])  # fmt: skip

        d = self._store.take_over(peer, self._hold())
        d.addCallbacks(done, lambda f: log.warn("taking over node {name}: {why}", name=peer.name, why=f.getErrorMessage()))
        d.addBoth(lambda _: self._taking.discard(peer.node))
