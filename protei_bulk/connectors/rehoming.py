"""Routes once more what waits in the queue table for an SMSC that cannot take it.

Three kinds: what waits for an SMSC that is down or ill while another candidate is not; what an SMSC took in
vain, and its route says that the next one is tried; and what waits for an SMSC that no node's configuration
names any more. The last is routed as if it came now, under the rules of now; where nothing is left for it, it
fails, and its sender is told. Prices stay what they were.

Each round looks at a stretch of each such queue and claims what it can move. What it holds is in the table, claimed by
this node: a crash gives it back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from protei_bulk.connectors.fleet import Fleet
from protei_bulk.model import ids, lifecycle, tried
from protei_bulk.model.account import Account
from protei_bulk.model.message import PRIORITIES, Message
from protei_bulk.receipts.outcomes import Outcomes
from protei_bulk.routing.rules import Router
from protei_bulk.store.rehoming import ANEW, SmscState, Window

log = Logger()

_EVERY, _AT_ONCE = 1.0, 0.05  # seconds between rounds, and where a round has left something
_STRETCH = 2000  # rows of one queue that a round looks at
_PATIENCE = 1.0  # seconds that an SMSC must have been away: one that comes back keeps what is its own
_NOT_HERE = 5.0  # seconds that a message waits which only its account keeps from another SMSC
_AGE_EVERY = 60.0
_SELDOM = 10.0  # where all SMSCs are well: the look walks over what others claimed, as long as some transaction sees it


class Store(Protocol):
    def queued(self) -> Deferred[list[str]]: ...

    def ripen(self, smsc: str, most: int) -> Deferred[Any]: ...

    def claim(self, smsc: str, priority: int, after: str, most: int, rules: Sequence[str] | None) -> Deferred[Window]: ...

    def move(self, rows: Sequence[dict[str, Any]]) -> Deferred[Any]: ...

    def age(self, before: str, hours: int, most: int) -> Deferred[int]: ...

    def states(self) -> Deferred[list[SmscState]]: ...


class Clock(Protocol):
    def seconds(self) -> float: ...

    def callLater(self, delay: float, f: Callable[..., Any], *args: Any) -> Any: ...  # noqa: N802


class Rehoming:
    """`accounts(user_ids)` fires with those that are there. `validity_hours`: of messages that name no end themselves."""

    def __init__(self, store: Store, fleet: Fleet, router: Router, outcomes: Outcomes,
                 accounts: Callable[[Collection[int]], Deferred[dict[int, Account]]], clock: Clock, node: int) -> None:  # fmt: skip
        self._store, self._fleet, self._router, self._outcomes = store, fleet, router, outcomes
        self._accounts, self._clock, self._node = accounts, clock, node
        self.validity_hours = 48
        self._away: dict[str, float] = {}  # SMSC -> since when it takes nothing
        self._places: dict[tuple[str, int], str] = {}  # (queue, priority) -> the id up to which it was looked at
        self._next: IDelayedCall | None = None
        self._running: Deferred[None] | None = None
        self._stopped = False
        self._aged_at = 0.0
        self._asked_at = float("-inf")
        self._woken = True
        self.moved = self.failed = 0

    def start(self) -> None:
        self._stopped = False
        self._schedule(_EVERY)

    def wake(self) -> None:
        """There is something to do."""
        self._woken = True
        if self._next is not None and self._next.active():
            self._next.reset(0.0)

    def stop(self) -> Deferred[None]:
        """Fires once nothing is under way."""
        self._stopped = True
        if self._next is not None and self._next.active():
            self._next.cancel()
        idle: Deferred[None] = Deferred()
        if self._running is None:
            idle.callback(None)
        else:
            self._running.addBoth(lambda _: idle.callback(None))
        return idle

    def _schedule(self, delay: float) -> None:
        if not self._stopped:
            self._next = self._clock.callLater(delay, self._begin)

    def _begin(self) -> None:
        more = [False]

        async def work() -> None:
            try:
                more[0] = await self.round()
            except Exception as error:  # the database, as a rule
                log.warn("routing anew: {why}", why=str(error))

        self._running = Deferred.fromCoroutine(work())

        def over(_: object) -> None:
            self._running = None
            self._schedule(_AT_ONCE if more[0] else _EVERY)

        self._running.addBoth(over)

    # --- a round

    async def round(self) -> bool:
        """One stretch of each queue; whether there is more to look at now."""
        now = self._clock.seconds()
        if now - self._aged_at >= _AGE_EVERY:
            self._aged_at = now
            before = ids.first_at(max(0, int((now - self.validity_hours * 3600) * 1000)))
            await self._store.age(before, self.validity_hours, 1000)
        usable = set(self._fleet.usable)
        for smsc, connector in self._fleet.connectors.items():
            if smsc in usable or not connector.running:
                self._away.pop(smsc, None)
            else:
                self._away.setdefault(smsc, now)
        if not self._away and not self._woken and now - self._asked_at < _SELDOM:
            return False  # what is left is for SMSCs that nobody names any more
        self._asked_at, self._woken = now, True
        queued = [q for q in await self._store.queued() if q not in usable]
        self._woken = bool(queued)
        if not queued:
            self._places.clear()
            return False
        states = await self._store.states()
        more = False
        for smsc in queued:
            if smsc == ANEW:
                more |= await self._stretch(smsc, None, self._next_try)
            elif smsc in self._fleet.connectors:
                if smsc not in self._away:
                    continue  # another node runs it, and sees to it
                if now - self._away[smsc] < _PATIENCE or _bound_elsewhere(smsc, states, self._node):
                    continue
                free = {s for s in usable if not self._fleet.connectors[s].backlogged} | self._fleet.elsewhere
                rules = self._router.with_alternative(smsc, free)
                if rules:
                    more |= await self._stretch(smsc, rules, self._other)
            elif not any(s.smsc == smsc and s.node != self._node for s in states):
                more |= await self._stretch(smsc, None, self._anew)
        return more

    async def _stretch(self, smsc: str, rules: Sequence[str] | None,
                       decide: Callable[[Message, Account | None], dict[str, Any] | None]) -> bool:  # fmt: skip
        await self._store.ripen(smsc, _STRETCH)
        more = False
        for priority in range(len(PRIORITIES) - 1, -1, -1):
            place = smsc, priority
            window = await self._store.claim(smsc, priority, self._places.get(place, ""), _STRETCH, rules)
            if window.seen < _STRETCH:
                self._places.pop(place, None)
            else:
                self._places[place] = window.last
                more = True
            if window.messages:
                await self._rehome(smsc, window.messages, decide)
        return more

    async def _rehome(self, smsc: str, messages: Sequence[Message],
                      decide: Callable[[Message, Account | None], dict[str, Any] | None]) -> None:  # fmt: skip
        try:
            accounts = await self._accounts({m.user_id for m in messages})
        except Exception:
            await self._until_moved([{"i": m.id, "q": smsc} for m in messages])
            raise
        rows = []
        for m in messages:
            row = decide(m, accounts.get(m.user_id))
            if row is None:
                self.failed += 1
            else:
                rows.append(row)
        if rows:
            await self._until_moved(rows)
            gone = sum(1 for row in rows if row["q"] != smsc)
            self.moved += gone
            if gone:
                log.info("{n} messages that waited for {smsc} go elsewhere", n=gone, smsc="another try" if smsc == ANEW else smsc)
            self._fleet.nudge({row["q"] for row in rows})

    async def _until_moved(self, rows: list[dict[str, Any]]) -> None:
        """They are claimed: until the database says that they are not, nobody else sends them."""
        n = 0
        while True:
            try:
                await self._store.move(rows)
                return
            except Exception as error:
                n += 1
                if self._stopped:
                    raise
                if n <= 3 or n % 30 == 0:
                    log.warn("moving {count} messages, attempt {n}: {why}", count=len(rows), n=n, why=str(error))
                wait: Deferred[None] = Deferred()
                self._clock.callLater(1.0, wait.callback, None)
                await wait

    # --- where to: a row of `move`, or None for what has failed

    def _other(self, m: Message, account: Account | None) -> dict[str, Any] | None:
        """Its SMSC is away."""
        candidates = self._router.recalled(m.route, account) if account is not None else ()
        vain = tried.smscs(m.tried)
        to = self._fleet.best([s for s in candidates if s != m.smsc and s not in vain], m)
        if to is None:
            return {"i": m.id, "q": m.smsc, "w": self._clock.seconds() + _NOT_HERE}
        return {"i": m.id, "q": to}

    def _next_try(self, m: Message, account: Account | None) -> dict[str, Any] | None:
        """An SMSC took it in vain."""
        over = bool(m.valid_until) and m.valid_until <= self._clock.seconds()
        candidates = self._router.recalled(m.route, account) if account is not None and not over else ()
        vain = tried.smscs(m.tried)
        left = [s for s in candidates if s not in vain]
        if not left or m.route not in self._router.second_tries:
            _, stat, err = tried.last(m.tried)
            self._outcomes.failed(m, lifecycle.FROM_RECEIPT.get(stat, lifecycle.FAILED), err, own=False)
            return None
        return {"i": m.id, "q": self._fleet.best(left, m) or left[0]}

    def _anew(self, m: Message, account: Account | None) -> dict[str, Any] | None:
        """Its SMSC is no more."""
        if account is None:
            self._outcomes.failed(m, lifecycle.FAILED, "NO_ACCOUNT")
            return None
        decision = self._router.route(account, m)
        if decision.refusal is not None:
            self._outcomes.failed(m, lifecycle.FAILED, decision.refusal.code)
            return None
        candidates = self._router.candidates(decision, m.dest)
        return {"i": m.id, "q": self._fleet.best(candidates, m) or candidates[0], "r": decision.stored}


def _bound_elsewhere(smsc: str, states: Sequence[SmscState], node: int) -> bool:
    return any(s.smsc == smsc and s.node != node and s.alive and s.state == "BOUND" for s in states)
