"""What a node does by the clock: heartbeat, roll-up of counters, partitions, a look at parked receipts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from protei_bulk.model import ids
from protei_bulk.settings import Retention

log = Logger()


class NodeStore(Protocol):
    def heartbeat(self, low_water: str) -> Deferred[int]: ...

    def roll_up(self) -> Deferred[Any]: ...

    def partitions(self, messages_days: int, audit_days: int) -> Deferred[Any]: ...


class Outbox(Protocol):
    def expire_outbox(self, days: int) -> Deferred[int]: ...


class Rematches(Protocol):
    def rematch(self) -> Deferred[None]: ...


class Upkeep:
    """`oldest()` names the oldest message that waits in memory: a restart looks no further back.

    `more` are others' jobs, with the seconds between two times.
    """

    def __init__(self, clock: Any, node: NodeStore, outbox: Outbox, matcher: Rematches, retention: Retention, maker: ids.IdMaker,
                 oldest: Callable[[], str | None], more: Sequence[tuple[float, Callable[[], Deferred[Any]]]] = ()) -> None:  # fmt: skip
        self._clock, self._node, self._oldest, self._maker = clock, node, oldest, maker
        self._jobs: list[tuple[float, Callable[[], Deferred[Any]]]] = [
            (1.0, self._beat),
            (1.0, node.roll_up),
            (30.0, matcher.rematch),
            (600.0, lambda: node.partitions(retention.messages_days, retention.audit_days)),
            (3600.0, lambda: outbox.expire_outbox(retention.messages_days)),
            *more,
        ]
        self._loops: list[LoopingCall] = []

    def start(self) -> None:
        for seconds, job in self._jobs:
            loop = LoopingCall(self._run, job)
            loop.clock = self._clock
            self._loops.append(loop)
            loop.start(seconds, now=False)

    def _run(self, job: Callable[[], Deferred[Any]]) -> Deferred[Any]:
        # The loop waits for the Deferred: a slow database never has two of a kind to do.
        # One that raises at once must not end its loop either.
        return maybeDeferred(job).addErrback(lambda f: log.warn("upkeep: {why}", why=f.getErrorMessage()))

    def _beat(self) -> Deferred[Any]:
        """The mark is taken before asking who waits: what arrives in between is younger.

        An idle id maker stands at the time of its last id: without the refresh the next
        message would be older than the mark, and lost if the node died before its commit of an outcome.
        """
        self._maker.refresh()
        border = ids.first_at(int(self._clock.seconds() * 1000) - 1000)
        return self._node.heartbeat(min(self._oldest() or border, border))

    def stop(self) -> Deferred[Any]:
        """A last heartbeat and roll-up, for an exact start."""
        for loop in self._loops:
            if loop.running:
                loop.stop()
        return DeferredList([self._run(self._beat), self._run(self._node.roll_up)])
