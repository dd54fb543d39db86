"""All connectors: which of a message's candidates takes it now."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from protei_bulk.connectors.connector import Connector
from protei_bulk.connectors.holding import Holding
from protei_bulk.model import tried
from protei_bulk.model.message import Message
from protei_bulk.settings import Rewrite

log = Logger()


class Fleet:
    """Empty at first: the connectors are given `move`, and then added."""

    def __init__(self) -> None:
        self.connectors: dict[str, Connector] = {}
        self._replaced: list[Connector] = []  # those of an earlier configuration, while they still hold messages
        self._gone: dict[str, Connector] = {}  # no more in the configuration
        self._rewrites: Mapping[str, Rewrite] = {}
        self.elsewhere: frozenset[str] = frozenset()  # SMSCs that other nodes have bound
        self.tell: Callable[[str], None] = lambda smsc: None  # there will be something in the queue table for another node's
        self.anew: Callable[[str], Connector] | None = None  # makes a connector of the present settings
        self._alone = True
        self.holding = Holding(self._all)

    def add(self, connectors: Iterable[Connector]) -> None:
        for c in connectors:
            if c.id in self.connectors:
                self._replaced.append(self.connectors[c.id])
            self.connectors[c.id] = c
            c.unrecorded.counts = not self._alone
            c.encoder.rewrites = self._rewrites

    def remove(self, ids: Iterable[str]) -> None:
        """They are in the configuration no more: what they hold goes into the queue table, and nothing new comes to them."""
        for id in ids:
            c = self.connectors.pop(id, None)
            if c is not None:
                self._replaced.append(c)
                self._gone[id] = c
                c.retire()

    def rewrite(self, rewrites: Mapping[str, Rewrite]) -> None:
        """How messages are addressed on their way out, by their rules."""
        self._rewrites = rewrites
        for c in self._all():
            c.encoder.rewrites = rewrites

    @property
    def usable(self) -> Collection[str]:
        """SMSCs that are bound and answer well."""
        return [c.id for c in self.connectors.values() if c.live and c.health.sound]

    def place(self, m: Message) -> None:
        """The first candidate that can take the message into memory; else the queue of the first that is up, or of the first."""
        connectors = self.connectors
        for smsc in m.candidates:
            c = connectors.get(smsc)
            if c is not None and c.takes(m):
                m.smsc = smsc
                m.queued = False
                return
            if smsc in self.elsewhere:
                m.smsc, m.queued = smsc, True
                self.tell(smsc)
                return
            if m.long is not None and smsc == m.long.of.smsc and c is not None and c.live and c.health.sound:
                m.smsc, m.queued = smsc, True  # it has no room just now, but the other parts
                return
        m.queued = True
        up = self._first(m.candidates, lambda c: c.live and c.health.sound) or self._first(m.candidates, lambda c: c.live)
        m.smsc = up or m.candidates[0]

    def _first(self, candidates: Iterable[str], good: Callable[[Connector], bool]) -> str:
        for smsc in candidates:
            c = self.connectors.get(smsc)
            if c is not None and good(c):
                return smsc
        return ""

    def best(self, candidates: Sequence[str], m: Message) -> str | None:
        """The first that can take a message into memory, or that another node has bound; else the first that answers well; or None."""
        for smsc in candidates:
            c = self.connectors.get(smsc)
            if smsc in self.elsewhere or (c is not None and c.takes(m)):
                return smsc
        return self._first(candidates, lambda c: c.live and c.health.sound) or None

    def nudge(self, ids: Iterable[str]) -> None:
        """There is something for these in the queue table."""
        for id in ids:
            c = self.connectors.get(id)
            if c is not None:
                c.backlogged = True
                c.pump()
            if id in self.elsewhere:
                self.tell(id)

    def look(self, ids: Iterable[str]) -> None:
        """Other nodes have put something for these into the queue table."""
        for id in ids:
            c = self.connectors.get(id)
            if c is not None:
                c.look()

    # --- which of them run here: see leases.py

    def run(self, smsc: str) -> None:
        """The connector's lease is ours."""
        self.connectors[smsc].start()

    def hand_over(self, smsc: str) -> None:
        """Another node may run it from now on; here it waits for its turn."""
        assert self.anew is not None
        old = self.connectors[smsc]
        try:
            self.add([self.anew(smsc)])
        except (OSError, ValueError) as error:  # its certificates
            log.error("{smsc} goes on with its old settings: {why}", smsc=smsc, why=str(error))
        old.hand_over()

    def resume(self, smsc: str) -> None:
        """Its lease was not renewed in time, and is now."""
        self.connectors[smsc].pump()

    def alone(self, alone: bool) -> None:
        """Whether there is no other node that could send what this one leaves."""
        self._alone = alone
        for c in self.connectors.values():
            c.unrecorded.counts = not alone

    def recorded(self) -> None:
        """More of what was sent is in the database."""
        if not self._alone:
            for c in self.connectors.values():
                if len(c.lane):
                    c.pump()

    def dispatch(self, messages: list[Message]) -> None:
        """Hands committed messages over: their place was chosen before the commit."""
        if self.holding.stopped:
            messages = self.holding.sift(messages, self._hold)
        touched: dict[str, Connector] = {}
        for m in messages:
            c = touched.get(m.smsc)
            if c is None:
                c = touched[m.smsc] = self.connectors.get(m.smsc) or self._gone[m.smsc]
            c.lane.add(m)
        for c in touched.values():
            c.pump()
            c.spill_unless_bound()

    def _hold(self, messages: list[Message]) -> None:
        by_connector: dict[str, list[Message]] = {}
        for m in messages:
            by_connector.setdefault(m.smsc, []).append(m)
        for smsc, held in by_connector.items():
            (self.connectors.get(smsc) or self._gone[smsc]).hold(held)

    def move(self, messages: list[Message]) -> list[Message]:
        """Gives messages to the next candidates after their present ones; returns those that none will have now, untouched.

        One that answers well but has no room takes them into its queue. Those of campaigns that are stopped go nowhere: they are held.
        """
        if self.holding.stopped:
            messages = self.holding.sift(messages, self._hold)
        kept: list[Message] = []
        touched: set[Connector] = set()
        parked: dict[Connector, list[Message]] = {}
        for m in messages:
            c = self._next(m)
            if c is None:
                kept.append(m)
                continue
            if c.id in self.elsewhere:
                m.smsc = c.id
                parked.setdefault(c, []).append(m)
                self.tell(c.id)
                continue
            if m.long is not None:
                m.long.of.smsc = c.id
                former = self.connectors.get(m.smsc)
                if former is not None:
                    former.strays.add(m.long.of)
            m.smsc = c.id
            if c not in parked and c.takes(m):
                c.lane.add(m)
                touched.add(c)
            else:
                parked.setdefault(c, []).append(m)
        for c in touched:
            c.pump()
            c.spill_unless_bound()
        for c, waiting in parked.items():
            c.park(waiting)
        return kept

    def _next(self, m: Message) -> Connector | None:
        if len(m.candidates) < 2:
            return None
        at = m.candidates.index(m.smsc) if m.smsc in m.candidates else -1
        others = (*m.candidates[at + 1 :], *m.candidates[: max(0, at)])
        if m.long is not None and m.long.of.smsc in others:
            others = (m.long.of.smsc, *others)  # where the other parts are
        vain = tried.smscs(m.tried) if m.tried else ()
        full = None
        for smsc in others:
            c = self.connectors.get(smsc)
            if c is None or smsc in vain:
                continue
            if c.takes(m) or smsc in self.elsewhere:
                return c
            if full is None and c.live and c.health.sound:
                full = c
        return full

    def crowded(self, ids: Iterable[str]) -> bool:
        """Whether one of these has enough: its lane is half full, or holds what it may send in two seconds, or it is down."""
        for id in ids:
            c = self.connectors.get(id)
            if c is None or id in self.elsewhere:
                continue
            if not c.live or len(c.lane) > min(c.settings.queue_memory // 2, 2 * c.settings.max_tps or 1 << 30):
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
            if self.holding.stopped and self.holding.stops(m):
                c.hold([m])
                continue
            c.lane.give_back(m)
            touched.add(c)
        for c in touched:
            c.pump()
            c.spill_unless_bound()
        return homeless

    def stop_sending(self) -> Deferred[None]:
        return DeferredList([c.stop_sending() for c in self.connectors.values()]).addCallback(lambda _: None)

    def stop(self) -> Deferred[None]:
        return DeferredList([c.stop() for c in self.connectors.values()]).addCallback(lambda _: None)

    def oldest(self) -> str | None:
        self._replaced = [c for c in self._replaced if c.links or c.oldest() is not None]
        return min((o for o in (c.oldest() for c in [*self.connectors.values(), *self._replaced]) if o is not None), default=None)
