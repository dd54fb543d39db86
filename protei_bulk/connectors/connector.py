"""One SMSC: its lane, its binds, its pace.

A turn takes what the windows and the bucket allow out of the lane and writes it, a
write a bind. Throttling pauses the connector and puts the message back in front of
the lane. When every bind is gone, or most answers are errors (health.py), what waits goes to
other candidates; what has none goes to the queue table, where any node can take it up.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Protocol

from attrs import evolve
from twisted.application.internet import ClientService
from twisted.internet.defer import Deferred, DeferredList, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from protei_bulk.connectors.asking import NotAsked
from protei_bulk.connectors.backlog import Backlog, Queue
from protei_bulk.connectors.binding import BindingEndpoint, stand_ins
from protei_bulk.connectors.failures import Failures
from protei_bulk.connectors.health import PAUSED, Health
from protei_bulk.connectors.holding import Holding
from protei_bulk.connectors.joining import Joiner
from protei_bulk.connectors.journal import SentJournal
from protei_bulk.connectors.leases import Grant
from protei_bulk.connectors.link import DataLink, Link
from protei_bulk.connectors.outbind import OutbindPort
from protei_bulk.connectors.unrecorded import Unrecorded
from protei_bulk.connectors.vitals import Vitals
from protei_bulk.connectors.wire import Encoder
from protei_bulk.model import lifecycle
from protei_bulk.model.long import LongMessage
from protei_bulk.model.message import Message
from protei_bulk.pacing.buckets import TokenBucket
from protei_bulk.pacing.lanes import Lane
from protei_bulk.receipts.ids import FORMS
from protei_bulk.receipts.matcher import Matcher
from protei_bulk.receipts.outcomes import Outcomes, Part, former
from protei_bulk.settings import Smsc
from protei_bulk.smpp import statuses
from protei_bulk.smpp.codec import Pdu
from protei_bulk.smpp.trace import Trace
from protei_bulk.text.forms import PAYLOAD

log = Logger()

_SPILL_AFTER = 5.0  # seconds without a bind until the lane goes to the queue table
_CLAIM = 2000
_LIVE = ("max_tps", "max_tps_per_bind", "window", "queue_memory")  # settings that change without a new connector


class Inbound(Protocol):
    """Takes messages from mobiles: the command_status to refuse one with, or 0 for an answer after its commit."""

    def receive(self, smsc: Smsc, f: tuple[Any, ...], body: bytes, link: Link | DataLink, sequence: int) -> int: ...


class Connector:
    """`move(messages)` gives messages to their next candidates, and returns those that have none now."""

    def __init__(self, settings: Smsc, reactor: Any, endpoint: Callable[[], IStreamClientEndpoint], outcomes: Outcomes, matcher: Matcher,
                 journal: SentJournal, queue: Queue, move: Callable[[list[Message]], list[Message]], *,
                 chance: Callable[[], float] = random.random, inbound: Inbound | None = None,
                 outbind: IStreamServerEndpoint | None = None, weight: Callable[[int], float] = lambda _: 1.0,
                 grant: Grant | None = None, holding: Holding | None = None) -> None:  # fmt: skip
        self.settings = settings
        self.holding = holding or Holding(lambda: ())
        self.id = settings.id
        self.inbound = inbound
        self._reactor, self._outcomes, self._matcher, self._journal, self._queue = reactor, outcomes, matcher, journal, queue
        self._move = move
        self._chance = chance
        self.health = Health(settings, reactor.seconds, self._move_lane, self._recovered)
        self.failures = Failures(self, outcomes, move, reactor.seconds, chance)
        self.refused, self.unanswered = self.failures.refused, self.failures.unanswered
        self._backlog = Backlog(settings.id, queue, reactor, self._put_away)
        self.encoder = Encoder(settings)
        self.trace: Trace | None = None  # while an operator looks
        self.lane = Lane(weight)
        self._grant = grant  # without one it may always send
        self.unrecorded = Unrecorded(journal)
        self._joiner = self._join() if settings.long_messages == PAYLOAD else None
        self.strays: set[LongMessage] = set()  # of which a part has gone to another SMSC: the others follow it
        self.links: list[Link] = []
        self.senders: list[Link] = []  # those of them that are no receivers; none while it is paused
        self.paused = False  # by an operator: see steering.py
        self.vitals = Vitals()
        self.bucket = TokenBucket(settings.max_tps, max(1.0, settings.max_tps / 10))
        self._outbind = OutbindPort(self.id, outbind, lambda: Link(self, reactor, outbind=True), reactor) if outbind is not None else None
        self._dialled: dict[int, Link] = {}  # service -> what it has made last
        self._services = [self._service(endpoint, n) for n in range(settings.binds)]
        self._paused_until = 0.0
        self._pause = 0.0
        self._wake: IDelayedCall | None = None
        self._spill: IDelayedCall | None = None
        self._moving: IDelayedCall | None = None
        self._ticker: IDelayedCall | None = None
        self._claiming = False
        self.backlogged = True  # until the queue table was looked at: older ones wait there
        self._look = False  # somebody has put something there, a moment ago
        self.running = False
        self.sent = self.rejected = self.throttled = 0
        matcher.serve(settings.id, settings.message_id)
        self._key = FORMS[settings.message_id][0]
        self.receipt = matcher.receipt
        self.alerted: Callable[[Pdu], bool] = lambda pdu: False  # takes an alert_notification, and says whether anybody wants it

    # --- life

    def _service(self, endpoint: Callable[[], IStreamClientEndpoint], number: int) -> ClientService:
        s = self.settings

        def delay(failures: int) -> float:
            grown = s.reconnect_min * 2.0 ** min(failures - 1, 16)
            return min(s.reconnect_max, grown) * (0.5 + self._chance())

        def make() -> Link:
            link = self._dialled[number] = Link(self, self._reactor)
            return link

        # A refused bind counts as a failed connection: bad credentials do not hammer.
        binding = BindingEndpoint(endpoint(), make, self._not_connected)
        return ClientService(binding, stand_ins(), retryPolicy=delay, clock=self._reactor)

    def _not_connected(self, failure: Failure) -> None:
        self.vitals.note(failure.getErrorMessage(), self._reactor.seconds())
        log.warn("{smsc}: no connection: {why}", smsc=self.id, why=failure.getErrorMessage())

    def start(self) -> None:
        self.running = True
        for service in self._services:
            service.startService()
        if self._outbind is not None:
            self._outbind.start()
        self._tick()

    def stop_sending(self) -> Deferred[None]:
        """No new submit_sm; fires once what is in the windows is answered, or after the response time-out."""
        self.running = False
        waiting = [link.emptied() for link in self.links]
        return DeferredList(waiting).addCallback(lambda _: None) if waiting else succeed(None)

    def stop(self) -> Deferred[None]:
        self.running = False
        for call in (self._wake, self._spill, self._moving, self._ticker):
            if call is not None and call.active():
                call.cancel()
        for link in list(self.links):
            link.unbind()
        closing = [s.stopService() or succeed(None) for s in self._services]
        if self._outbind is not None:
            closing.append(self._outbind.stop())
        return DeferredList(closing).addCallback(lambda _: None)

    def change(self, settings: Smsc) -> bool:
        """Other limits, and nothing else: they hold from now on, and binds and lane stay. False where more has changed."""
        old = self.settings
        if evolve(settings, **{name: getattr(old, name) for name in _LIVE}) != old:
            return False
        self.settings = settings
        self.bucket.change(settings.max_tps, max(1.0, settings.max_tps / 10))
        for link in self.links:
            link.change(settings)
        self.pump()
        return True

    def hand_over(self) -> Deferred[None]:
        """Another node may run it from now on: what waits is for that one, and the binds go."""
        self.running = False
        messages = self.lane.clear()
        self.park(messages)
        for link in list(self.links):
            link.unbind()
        return self.retire()

    def retire(self) -> Deferred[None]:
        """The configuration names it no more, or otherwise: what is left waits in the queue table."""
        d = self.stop_sending()
        timer = self._reactor.callLater(self.settings.response_timeout, d.cancel)

        def end(_: object) -> Deferred[None]:
            if timer.active():
                timer.cancel()
            return self.stop()

        return d.addBoth(end).addCallback(lambda _: self._spill_lane())

    @property
    def live(self) -> bool:
        return self.running and bool(self.senders)

    @property
    def state(self) -> str:
        """For people and for other nodes."""
        return PAUSED if self.paused and self.running else self.health.state(self.live)

    def takes(self, m: Message) -> bool:
        """Whether a message can wait here in memory: bound, room left, and nothing older in the queue table."""
        if not self.senders or not self.running:
            return False
        if not self.health.sound and self.health.room() <= len(self.lane):
            return False
        if m.priority >= 2:
            return len(self.lane) < 2 * self.settings.queue_memory
        return not self.backlogged and len(self.lane) < self.settings.queue_memory

    def bound(self, link: Link) -> None:
        self.links.append(link)
        if not link.sends:
            log.info("{smsc}: bound as receiver", smsc=self.id)
            return
        self.may_send(link)
        log.info("{smsc}: bound, {n} of {all}", smsc=self.id, n=len(self.links), all=self.settings.binds)
        self.pump()

    def may_send(self, link: Link) -> None:
        """Over this bind messages may go out, unless it is paused."""
        if self.paused or link.draining or not link.sends or link in self.senders:
            return
        self.senders.append(link)
        self.encoder.tlvs = link.version >= 0x34
        for call in (self._spill, self._moving):
            if call is not None and call.active():
                call.cancel()
        self.backlogged = True

    def dial_again(self) -> Deferred[None]:
        """Connects at once where that waits for its time. What is bound stays: it may have sent something."""

        def start(_: object, service: ClientService) -> None:
            if self.running:
                service.startService()

        away = [s for n, s in enumerate(self._services) if self._dialled.get(n) not in self.links]
        closing = [(s.stopService() or succeed(None)).addBoth(start, s) for s in away]
        return DeferredList(closing).addCallback(lambda _: None)

    def lost(self, link: Link, unanswered: list[Message | Part]) -> None:
        """A bind is gone; what it had sent without an answer may or may not have arrived."""
        if link in self.links:
            self.links.remove(link)
            if link in self.senders:
                self.senders.remove(link)
            log.warn("{smsc}: bind lost, {n} left, {u} unanswered", smsc=self.id, n=len(self.links), u=len(unanswered))
            if self.running:
                self.vitals.note("bind lost", self._reactor.seconds())
        self.health.lost()
        self.failures.unknown(unanswered)
        self.spill_unless_bound(_SPILL_AFTER if self.running else 0.0)

    def spill_unless_bound(self, seconds: float = _SPILL_AFTER) -> None:
        """Where there is no bind any more, the lane goes to other candidates soon, and what is left to the queue table in a while."""
        if self.senders:
            return
        if self._spill is None or not self._spill.active():
            self._spill = self._reactor.callLater(seconds, self._spill_lane)
        if self._moving is None or not self._moving.active():
            self._moving = self._reactor.callLater(min(seconds, self.settings.failover_after), self._move_lane)

    def _move_lane(self) -> None:
        """What waits goes to other candidates; what has none stays, in its order."""
        if not len(self.lane) or not self.running or (self.senders and self.health.sound):
            return
        for m in self._move(self.lane.clear()):
            self.lane.add(m)
        self._probe_later()

    def _recovered(self) -> None:
        self.backlogged = True  # what came meanwhile waits in the table
        self.pump()

    def _probe_later(self) -> None:
        wait = self.health.wait()
        if wait and len(self.lane):
            self._wake_in(wait)

    # --- sending

    def add(self, m: Message) -> None:
        """Takes a message into the lane: call `pump` after the last of a batch."""
        self.lane.add(m)

    def pump(self) -> None:
        """One turn."""
        if not self.running or not self.senders:
            return
        if self._grant is not None and not self._grant.valid:
            return  # another node may run it by now
        lane = self.lane
        if not len(lane) and not any(link.repeats for link in self.senders):
            self.strays.clear()
            if self.backlogged or self._look:
                self._claim()
            return
        now = self._reactor.seconds()
        if now < self._paused_until:
            self._wake_in(self._paused_until - now)
            return
        budget = self.bucket.available(now)
        sound = self.health.sound
        if not sound:
            budget = min(budget, self.health.room())
            self._probe_later()
        if self.unrecorded.counts:
            budget = min(budget, self.unrecorded.room(self.senders, self.settings.window))
        spent = 0
        for link in self.senders:
            room = min(link.free, budget - spent)
            if link.pace is not None:
                room = min(room, link.pace.available(now))
            if room <= 0:
                continue
            repeats = link.repeats
            messages = lane.take(max(0, room - repeats))
            if self.strays:
                messages = self._without_strays(messages, room - repeats)
            if self._joiner is not None:
                messages = self._joiner.fill(messages, room - repeats, now)
            if messages or repeats:
                spent += link.submit(messages, now, room)
        if spent:
            self.bucket.charge(spent, now)
            if not sound:
                self.health.sent(spent)
        if len(lane):
            if self.settings.max_tps and self.bucket.available(now) < 1:
                self._wake_in(max(0.001, self.bucket.wait(1, now)))
            elif self.settings.max_tps_per_bind:
                self._wake_in(max(0.001, min(link.pace.wait(1, now) for link in self.senders if link.pace is not None)))
        if (self.backlogged or self._look) and len(lane) < self.settings.queue_memory // 4:
            self._claim()

    def _join(self) -> Joiner:
        """Parts wait for each other; what fills the lane to a quarter would keep others out."""
        encoder = self.encoder
        return Joiner(self.lane, self.settings.join_seconds, self.settings.queue_memory // 8, lambda m: len(encoder.forms(m)) == 1)

    def _without_strays(self, taken: list[Message], most: int) -> list[Message]:
        """Sends those to where their other parts are, and takes as many others out of the lane."""
        going: list[Message] = []
        while taken:
            strays = [m for m in taken if m.long is not None and m.long.of in self.strays and m.long.of.smsc != self.id]
            gone = set(strays).difference(self._move(strays)) if strays else ()
            going += [m for m in taken if m not in gone]
            taken = self.lane.take(most - len(going))
        return going

    def give_back(self, m: Message) -> None:
        """Into the lane, before what came later; parts that were to go out as one, each by itself."""
        for part in m.joined or (m,):
            if self.holding.stopped and self.holding.stops(part):
                self.hold([part])
            else:
                self.lane.give_back(part)

    def expired(self, m: Message) -> None:
        """Its validity ended while it waited."""
        for part in m.joined or (m,):
            self._outcomes.failed(part, lifecycle.EXPIRED, "EXPIRED")

    def ease(self, congestion: int) -> None:
        """The SMSC says that it is busy, 90 to 100: a little less, before it must refuse."""
        pause = 0.5 if congestion >= 100 else 0.1
        self._paused_until = max(self._paused_until, self._reactor.seconds() + pause)
        self._wake_in(pause)

    def too_long(self, m: Message) -> None:
        """In this SMSC's alphabet it would be more parts than can be counted."""
        self.rejected += 1
        for part in m.joined or (m,):
            self._outcomes.failed(part, lifecycle.REJECTED, "TOO_LONG")

    def _wake_in(self, seconds: float) -> None:
        if self._wake is None or not self._wake.active():
            self._wake = self._reactor.callLater(seconds, self.pump)

    # --- answers

    def taken(self, answers: list[tuple[Message | Part, str]]) -> None:
        """What the SMSC accepted in this turn: noted on disk first."""
        smsc, key = self.id, self._key
        keyed = [(entry, key(id)) for entry, id in answers]
        lines = []
        for entry, id in keyed:
            if type(entry) is Part:
                if former(entry):
                    continue  # the whole message is on its way again
                of = f"/{entry.message.parts}" if entry.message.parts else ""
                lines.append(f"{entry.message.id}\t{smsc}\t{id}\t{entry.number}{of}\n")
            elif entry.joined:  # type: ignore[union-attr]
                lines += [f"{m.id}\t{smsc}\t{id}\t0\n" for m in entry.joined]  # type: ignore[union-attr]
            elif entry.parts:  # type: ignore[union-attr]
                lines.append(f"{entry.id}\t{smsc}\t{id}\t0/1\n")  # type: ignore[union-attr]
            else:
                lines.append(f"{entry.id}\t{smsc}\t{id}\t0\n")  # type: ignore[union-attr]
        self.sent += len(answers)
        self._pause = 0.0
        self.health.good(len(answers))
        try:
            self._journal.write(lines)
            self.unrecorded.add(len(lines))
        finally:  # taken is taken, noted or not: the database is told all the same
            sent = self._matcher.sent
            for entry, id in keyed:
                if type(entry) is not Part or not former(entry):
                    sent(smsc, id, entry)

    def throttle(self, entry: Message | Part) -> None:
        """More than the SMSC takes now: a pause, and the message goes again first."""
        self.throttled += 1
        now = self._reactor.seconds()
        self.vitals.refused(statuses.ESME_RTHROTTLED, now)
        if now >= self._paused_until:  # one step for all the answers of one window
            self._pause = min(5.0, max(0.1, self._pause * 2))
            self._paused_until = now + self._pause
        self._give_back(entry)
        self._wake_in(self._pause)

    def _give_back(self, entry: Message | Part) -> None:
        if not isinstance(entry, Part):
            self.give_back(entry)
        elif link := next((link for link in self.senders or self.links if link.sends), None):
            # The other parts are with the SMSC or on their way: only this one waits, and it goes before everything else.
            link.again(entry)
        else:
            entry.message.in_doubt = True
            self.lane.give_back(entry.message)

    # --- the queue table

    def later(self, messages: list[Message], delay: float) -> None:
        """Puts messages into the queue table, due after `delay` seconds; negative holds them until somebody releases them."""
        self._backlog.put(messages, delay)

    def hold(self, messages: list[Message]) -> None:
        """Puts messages into the queue table until their campaigns go on."""
        self._backlog.put(messages, -1.0, for_campaigns=True)

    def _put_away(self) -> None:
        self.backlogged = True

    def park(self, messages: list[Message]) -> None:
        """Takes messages for which there is no room in memory."""
        self.backlogged = True
        for i in range(0, len(messages), _CLAIM):
            self.later(messages[i : i + _CLAIM], 0.0)

    def _spill_lane(self) -> None:
        """No bind for a while: other candidates take over, the rest waits in the table."""
        messages = self.lane.clear()
        self.park(self._move(messages) if self.running else messages)

    def look(self) -> None:
        """Somebody has put something into the queue table."""
        self._look = True
        if len(self.lane) < self.settings.queue_memory // 4:
            self._claim()

    def _claim(self) -> None:
        if self._claiming or not self.running or not self.senders or (self._grant is not None and not self._grant.valid):
            return
        most = _CLAIM if self.health.sound else min(_CLAIM, self.health.room() - len(self.lane))
        if most <= 0:
            return
        self._claiming = True
        self._look = False

        def got(messages: list[Message]) -> None:
            self._claiming = False
            self.backlogged = len(messages) >= most
            if self.holding.stopped:
                messages = self.holding.sift(messages, self.hold)
            for m in messages:
                self.lane.add(m)
            if messages or self._look:
                self.pump()
                self.spill_unless_bound()  # the last bind may have gone meanwhile

        def failed(f: Failure) -> None:
            self._claiming = False
            log.warn("{smsc}: claiming: {why}", smsc=self.id, why=f.getErrorMessage())

        self._queue.claim(self.id, most).addCallbacks(got, failed).addErrback(lambda f: log.failure("after a claim", f))

    def _tick(self) -> None:
        """Twice a second: timers of the binds, and a look into the queue table: what is scheduled goes within a second of its time."""
        self._ticker = self._reactor.callLater(0.5, self._tick)
        now = self._reactor.seconds()
        for link in list(self.links):
            link.tick(now)
        if self._joiner is not None:
            self._joiner.late(now)
        if self.paused and len(self.lane):
            self.spill_unless_bound()  # what came back since
        if len(self.lane) < self.settings.queue_memory // 4:
            self._claim()
        self.pump()

    def ask(self, pdu: Pdu) -> Deferred[Pdu]:
        """A request besides submit_sm on one of the binds: see asking.py for how it fails."""
        return self.senders[0].ask(pdu) if self.senders else fail(NotAsked("not bound"))

    def oldest(self) -> str | None:
        """The smallest id that waits here or at the SMSC without an answer."""
        held = [m.id for m in self.lane] + [m.id for m in self._backlog.held]
        for link in self.links:
            held += link.unanswered_ids()
        return min(held, default=None)
