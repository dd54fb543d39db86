"""Runs campaigns: starts them at their time, expands them on one node, stops their messages on all nodes when they are paused.

Every node looks once a second, and at once when a campaign changes its state (NOTIFY protei_campaigns). One of them leads: it
expands. Where it ends or dies, another goes on where it was, as soon as nothing of the dead one can be stored any more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Protocol

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from protei_bulk.campaigns.runner import Clock, Intake, PlanLike, Runner
from protei_bulk.campaigns.runner import Store as Blocks
from protei_bulk.model.account import Account

log = Logger()

CHANNEL = "protei_campaigns"
_EVERY = 1.0  # seconds
_DRAIN = 20  # thousands of messages of cancelled campaigns that are ended in one look


class Store(Blocks, Protocol):
    """See store.expansion."""

    def lead(self) -> Deferred[bool]: ...

    def stopped(self) -> Deferred[frozenset[int]]: ...

    def due(self) -> Deferred[Any]: ...

    def running(self, known: Collection[int]) -> Deferred[Any]: ...

    def progress(self, campaigns: Collection[int]) -> Deferred[Any]: ...

    def hold_queued(self) -> Deferred[bool]: ...

    def release(self) -> Deferred[list[str]]: ...

    def draining(self, busy: Collection[int]) -> Deferred[list[int]]: ...


class Fleet(Protocol):
    def crowded(self, ids: Collection[str]) -> bool: ...

    def nudge(self, ids: Iterable[str]) -> None: ...


class Holding(Protocol):
    def stop(self, campaigns: frozenset[int]) -> None: ...


class Engine:
    """`load(user_id)` fires with an account, `known(user_id)` gives it as this node knows it.

    `end_held(campaign)` ends some of what is held for a cancelled campaign, and fires with how many that was.
    """

    def __init__(self, store: Store, intake: Intake, fleet: Fleet, holding: Holding, clock: Clock,
                 load: Callable[[int], Deferred[Account | None]], known: Callable[[int], Account | None],
                 end_held: Callable[[int], Any]) -> None:  # fmt: skip
        self._store, self._intake, self._fleet, self._holding, self._clock = store, intake, fleet, holding, clock
        self._load, self._known, self._end_held = load, known, end_held
        self.runners: dict[int, Runner] = {}
        self.leads = False
        self._next: IDelayedCall | None = None
        self._looking: Deferred[None] | None = None
        self._again = False
        self._stopped = False
        self.expanded = 0  # messages handed in by runners that have ended

    # --- life

    async def prepare(self) -> None:
        """Before any connector runs: what is stopped waits, from the first message on. Raises what the store raises."""
        self._holding.stop(await self._store.stopped())

    def start(self) -> None:
        self._stopped = False
        self._look()

    def stop(self) -> Deferred[Any]:
        """Nothing more is handed in; fires once what was is answered, and blocks are given back."""
        self._stopped = True
        if self._next is not None and self._next.active():
            self._next.cancel()
        for runner in self.runners.values():
            runner.stop()
        waiting: list[Deferred[Any]] = [_echo(r.finished) for r in self.runners.values() if r.finished is not None]
        if self._looking is not None:
            waiting.append(_echo(self._looking))
        return DeferredList(waiting) if waiting else succeed(None)

    def heard(self, payload: str = "") -> None:
        """A campaign has changed its state."""
        campaign, _, state = payload.partition(" ")
        if campaign.isdecimal() and state in ("PAUSED", "CANCELLED"):
            runner = self.runners.get(int(campaign))
            if runner is not None:
                runner.stop()
        self._again = True
        self._look()

    @property
    def handed_in(self) -> int:
        """Messages, since this process began."""
        return self.expanded + sum(r.expanded for r in self.runners.values())

    # --- each second

    def _look(self) -> None:
        if self._looking is not None or self._stopped:
            return
        if self._next is not None and self._next.active():
            self._next.cancel()
        self._again = False

        async def work() -> None:
            try:
                await self.look()
            except Exception as error:  # the database, as a rule
                log.warn("campaigns: {why}", why=str(error))

        def over(_: object) -> None:
            self._looking = None
            if not self._stopped:
                self._next = self._clock.callLater(0.0 if self._again else _EVERY, self._look)

        self._looking = Deferred.fromCoroutine(work())
        self._looking.addCallback(over)

    async def look(self) -> None:
        """Once: what every node does, and what the leading one does."""
        self._holding.stop(await self._store.stopped())
        self.leads = await self._store.lead()
        if not self.leads:
            for runner in self.runners.values():
                runner.stop()
            self._sweep()
            return
        await self._store.due()
        self._sweep()
        progress = {p.id: p for p in await self._store.progress(list(self.runners))}
        for id, runner in self.runners.items():
            if id not in progress:
                runner.stop()
                continue
            p = progress[id]
            runner.progress(p.accepted, p.gone)
            if p.max_tps != runner.max_tps:
                runner.rate(p.max_tps)
        for plan in await self._store.running(list(self.runners)):
            try:
                await self._run(plan)
            except Exception as error:  # others, and what is stopped, go on all the same
                log.warn("campaign {id}: {why}", id=plan.public_id, why=str(error))
        released = await self._store.release()
        if released:
            self._fleet.nudge(released)
            self._again = True  # there may be more
        if await self._store.hold_queued():
            self._again = True
        await self._drain()

    def _sweep(self) -> None:
        for id, runner in list(self.runners.items()):
            if not runner.running:
                self.expanded += runner.expanded
                del self.runners[id]

    async def _run(self, plan: PlanLike) -> None:
        account = await self._load(plan.user_id)
        if account is None or not _may_send(account):
            await self._store.pause(plan.id, "ACCOUNT_SUSPENDED")
            return
        [p] = await self._store.progress([plan.id]) or [None]
        if p is None or self._stopped:
            return

        def now() -> Account | None:
            current = self._known(plan.user_id)
            return current if current is not None and _may_send(current) else None

        try:
            runner = Runner(plan, self._store, self._intake, self._clock, now, self._fleet.crowded, p.accepted)
        except ValueError as error:  # a sender that is none
            await self._store.pause(plan.id, f"INVALID: {error}"[:300])
            return
        runner.progress(p.accepted, p.gone)
        self.runners[plan.id] = runner
        runner.start()
        log.info("campaign {id} runs", id=plan.public_id)

    async def _drain(self) -> None:
        for campaign in await self._store.draining(list(self.runners)):
            for _ in range(_DRAIN):
                if self._stopped or not await self._end_held(campaign):
                    break


def _may_send(account: Account) -> bool:
    return account.active and account.may_send


def _echo(of: Deferred[Any]) -> Deferred[Any]:
    """Fires when `of` does, whatever with."""
    d: Deferred[Any] = Deferred()

    def both(result: Any) -> Any:
        d.callback(None)
        return result

    of.addBoth(both)
    return d
