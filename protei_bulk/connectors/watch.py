"""How this node sees its SMSCs, written down for people, for other nodes and for the next start; the same of the others heard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from protei_bulk.connectors.fleet import Fleet
from protei_bulk.connectors.health import DOWN
from protei_bulk.routing.quality import Quality
from protei_bulk.store.rehoming import SmscState

log = Logger()

_EVERY = 1.0  # seconds
_WRITE_EVERY = 10.0  # where nothing has changed


class Store(Protocol):
    def report(self, rows: Sequence[dict[str, Any]]) -> Deferred[int]: ...

    def states(self) -> Deferred[list[SmscState]]: ...


class Watch:
    """A second after an SMSC's state changes it is in the database."""

    def __init__(self, store: Store, fleet: Fleet, quality: Quality, clock: Any, node: int) -> None:
        self._store, self._fleet, self._quality, self._clock, self._node = store, fleet, quality, clock, node
        self._since: dict[str, tuple[str, float]] = {}  # state, and since when
        self._written: dict[str, str] = {}
        self._written_at = 0.0
        self._loop = LoopingCall(self._run)
        self._loop.clock = clock

    async def restore(self) -> None:
        """What was heard of each SMSC before the start."""
        rows = await self._store.states()
        self._quality.restore((r.smsc, r.delivered, r.finished, r.age) for r in rows if r.node == self._node)
        self._hear(rows)
        self._quality.fold(self._clock.seconds())

    def start(self) -> None:
        self._loop.start(_EVERY, now=False)

    def stop(self) -> Deferred[Any]:
        """A last word: nothing is bound any more, as far as this node goes."""
        if self._loop.running:
            self._loop.stop()
        self._quality.fold(self._clock.seconds())
        return self._write(dict.fromkeys(self._fleet.connectors, DOWN)).addErrback(lambda _: None)

    def _run(self) -> Deferred[Any]:
        now = self._clock.seconds()
        self._quality.fold(now)
        states = {c.id: c.state for c in self._fleet.connectors.values()}
        if states == self._written and now - self._written_at < _WRITE_EVERY:
            return succeed(None)
        d = self._write(states).addCallback(lambda _: self._store.states()).addCallback(self._hear)
        return d.addErrback(lambda f: log.warn("noting the states of the SMSCs: {why}", why=f.getErrorMessage()))

    def _write(self, states: dict[str, str]) -> Deferred[Any]:
        now = self._clock.seconds()
        rows = []
        for id, state in states.items():
            known = self._since.get(id)
            if known is None or known[0] != state:
                known = self._since[id] = state, now
            delivered, finished = self._quality.own(id)
            rows.append({"q": id, "z": state, "w": known[1], "d": round(delivered, 3), "f": round(finished, 3)})

        def written(_: object) -> None:
            self._written, self._written_at = states, now

        return self._store.report(rows).addCallback(written)

    def _hear(self, rows: Sequence[SmscState]) -> None:
        self._quality.hear((r.smsc, r.delivered, r.finished, r.age) for r in rows if r.node != self._node)
