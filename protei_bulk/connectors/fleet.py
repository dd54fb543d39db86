"""All connectors: which of a message's candidates takes it now."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.defer import Deferred, DeferredList

from protei_bulk.connectors.connector import Connector
from protei_bulk.model.message import Message


class Fleet:
    """Empty at first: the connectors are given `elsewhere`, and then added."""

    def __init__(self) -> None:
        self.connectors: dict[str, Connector] = {}
        self._replaced: list[Connector] = []  # those of an earlier configuration, while they still hold messages

    def add(self, connectors: Iterable[Connector]) -> None:
        for c in connectors:
            if c.id in self.connectors:
                self._replaced.append(self.connectors[c.id])
            self.connectors[c.id] = c

    def place(self, m: Message) -> None:
        """The first candidate that can take the message into memory; else the queue of the first that is up, or of the first."""
        connectors = self.connectors
        for smsc in m.candidates:
            c = connectors.get(smsc)
            if c is not None and c.takes(m):
                m.smsc = smsc
                m.queued = False
                return
            if m.long is not None and smsc == m.long.of.smsc and c is not None and c.live:
                m.smsc, m.queued = smsc, True  # it has no room just now, but the other parts
                return
        m.queued = True
        m.smsc = next((s for s in m.candidates if s in connectors and connectors[s].live), m.candidates[0])

    def dispatch(self, messages: list[Message]) -> None:
        """Hands committed messages over: their place was chosen before the commit."""
        touched: dict[str, Connector] = {}
        for m in messages:
            c = touched.get(m.smsc)
            if c is None:
                c = touched[m.smsc] = self.connectors[m.smsc]
            c.lane.add(m)
        for c in touched.values():
            c.pump()
            c.spill_unless_bound()

    def elsewhere(self, m: Message) -> bool:
        """Sends a message to the next live candidate after the present one."""
        if m.smsc not in m.candidates:
            return False
        at = m.candidates.index(m.smsc)
        others = m.candidates[at + 1 :] + m.candidates[:at]
        if m.long is not None and m.long.of.smsc in others:
            others = (m.long.of.smsc, *others)  # where the other parts are
        for smsc in others:
            c = self.connectors.get(smsc)
            if c is not None and c.takes(m):
                if m.long is not None:
                    m.long.of.smsc = smsc
                m.smsc = smsc
                c.add(m)
                c.pump()
                return True
        return False

    # --- what is taken back before it goes out

    def _all(self) -> list[Connector]:
        return [*self.connectors.values(), *self._replaced]

    @property
    def waiting(self) -> int:
        """Messages in all lanes."""
        return sum(len(c.lane) for c in self._all())

    def withdraw(self, ids: set[str]) -> list[Message]:
        """Messages of these ids, out of the lanes."""
        return [m for c in self._all() for m in c.lane.withdraw(ids)]

    def matching(self, keys: set[tuple[int, str, str]]) -> list[Message]:
        """What waits in the lanes by user, sender and recipient."""
        return [m for c in self._all() for m in c.lane if (m.user_id, m.source, m.dest) in keys]

    def give_back(self, messages: list[Message]) -> list[Message]:
        """Into the lanes, before what came later; returns those whose connector is gone."""
        touched: set[Connector] = set()
        homeless = []
        for m in messages:
            c = self.connectors.get(m.smsc)
            if c is None:
                homeless.append(m)
                continue
            c.lane.give_back(m)
            touched.add(c)
        for c in touched:
            c.pump()
            c.spill_unless_bound()
        return homeless

    def start(self) -> None:
        for c in self.connectors.values():
            c.start()

    def stop_sending(self) -> Deferred[None]:
        return DeferredList([c.stop_sending() for c in self.connectors.values()]).addCallback(lambda _: None)

    def stop(self) -> Deferred[None]:
        return DeferredList([c.stop() for c in self.connectors.values()]).addCallback(lambda _: None)

    def oldest(self) -> str | None:
        self._replaced = [c for c in self._replaced if c.links or c.oldest() is not None]
        return min((o for o in (c.oldest() for c in [*self.connectors.values(), *self._replaced]) if o is not None), default=None)
