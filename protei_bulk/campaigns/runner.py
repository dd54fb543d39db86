"""Expands one campaign: blocks of recipients become messages, no faster than its rate, and no further ahead than its SMSCs take them.

Each country goes by itself, as its hours and its SMSCs allow. So a campaign needs no room of its own in lanes and queue,
a pause stops it at once, and what it costs is taken as it goes. A block is done once each of its recipients is stored or
refused. A crash leaves blocks half done: whoever takes them up again asks first who has a message already.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from protei_bulk.campaigns.rendering import Text, Unsendable
from protei_bulk.campaigns.windows import SendingWindow
from protei_bulk.campaigns.zones import zones_named, zones_of
from protei_bulk.model import ids
from protei_bulk.model.account import Account
from protei_bulk.model.message import PRIORITIES, Message
from protei_bulk.model.senders import read_sender
from protei_bulk.pacing.buckets import TokenBucket

log = Logger()

SLICE = 250  # messages a turn of the reactor
BLOCKS = 4  # of a country taken up at a time
STREAMS = 16  # countries at a time
AHEAD = 60_000  # messages stored and not yet with an SMSC, by counters that are a second old
PROBE, PROBE_MOST = 10.0, 300.0  # seconds that the messages of a country wait for an SMSC before a few are tried
UNANSWERED = 8_000  # handed in, and not yet stored
_FULL = 50  # percent of the intake: others have room, too
_LOOK = 0.02  # seconds between looks at a gate that is shut

#: nothing of the campaign can go on: it pauses, and what was refused goes out when it is resumed
STOPPING = frozenset({"QUOTA_EXCEEDED", "INSUFFICIENT_BALANCE", "VELOCITY"})
#: of the moment
AGAIN = frozenset({"QUEUE_FULL", "SYSTEM_ERROR", "THROTTLED"})


class PlanLike(Protocol):
    """See store.expansion.Plan."""

    id: int
    public_id: str
    user_id: int
    channel: str
    sender: str
    text: str
    encoding: str
    smart: bool
    defaults: dict[str, str]
    tags: tuple[str, ...]
    priority: str
    dlr_url: str | None
    max_tps: int
    window_from: Any
    window_to: Any
    window_days: tuple[int, ...]
    window_zone: str
    valid_minutes: int


class Block(Protocol):
    number: int
    country: str
    since: str | None
    recipients: list[list[Any]]


class Store(Protocol):
    def countries(self, campaign: int) -> Deferred[list[str]]: ...

    def take(self, campaign: int, country: str, held: Collection[int], since: str, most: int) -> Deferred[Any]: ...

    def stored(self, campaign: int, since: str) -> Deferred[set[str]]: ...

    def finish(self, campaign: int, blocks: list[tuple[int, list[dict[str, str]]]]) -> Deferred[Any]: ...

    def give_back(self, campaign: int, number: int, rest: list[list[Any]], refused: list[dict[str, str]]) -> Deferred[Any]: ...

    def pause(self, campaign: int, reason: str) -> Deferred[Any]: ...


class Intake(Protocol):
    @property
    def fullness(self) -> int: ...

    def submit(self, account: Account, m: Message, /) -> None: ...


class Clock(Protocol):
    def seconds(self) -> float: ...

    def callLater(self, delay: float, f: Callable[..., Any], *args: Any) -> Any: ...  # noqa: N802


class _Hand:
    """A block in hand: told by the intake what became of its messages."""

    __slots__ = ("again", "block", "over", "pending", "refused", "runner")

    def __init__(self, runner: Runner, block: Block) -> None:
        self.runner, self.block = runner, block
        self.pending = 0
        self.over = False  # everything of it has been handed in, or the rest goes back
        self.again: list[list[Any]] = []  # recipients that wait for another try
        self.refused: list[dict[str, str]] = []

    def answered(self, messages: list[Message]) -> None:
        runner = self.runner
        good = 0
        via: set[str] = set()
        for m in messages:
            refusal = m.refusal
            if refusal is None:
                good += 1
                via.add(m.smsc)
            elif refusal.code in STOPPING or refusal.code in AGAIN:
                self.again.append(self.block.recipients[m.sequence])
                runner.hindered(refusal.code)
            else:
                self.refused.append({"t": m.dest, "c": refusal.code, "d": m.refusal_detail})
        if via:
            runner.via[self.block.country] = via
        self.pending -= len(messages)
        runner.heard(good, len(messages))
        if self.over and not self.pending:
            runner.settled(self)


class Runner:
    """`account()` gives the account as this node knows it now, None where it may not send any more.

    `crowded(smscs)`: whether enough waits for one of these, or it takes nothing now. `accepted`: messages that it has stored already.
    """

    def __init__(self, plan: PlanLike, store: Store, intake: Intake, clock: Clock, account: Callable[[], Account | None],
                 crowded: Callable[[Collection[str]], bool], accepted: int = 0) -> None:  # fmt: skip
        self.plan, self._store, self._intake, self._clock = plan, store, intake, clock
        self._account, self._crowded = account, crowded
        self._text = Text(plan.text, plan.encoding, plan.smart, plan.defaults)
        self._source = read_sender(plan.sender)
        self._priority = PRIORITIES.index(plan.priority) if plan.priority in PRIORITIES else 1
        self._window = _window(plan)
        self._zone_names = plan.window_zone
        self.bucket = TokenBucket(0, 1.0)
        self.rate(plan.max_tps)
        self._accepted = accepted
        self._gone = 0
        self._unanswered = 0
        self.via: dict[str, set[str]] = {}  # country -> the SMSCs that its last messages went to
        self._probes: dict[str, tuple[float, float]] = {}  # country -> when a slice goes all the same, and how long after the last
        self._streams: dict[str, Deferred[None]] = {}
        self._hands: dict[int, _Hand] = {}
        self._done: list[_Hand] = []
        self._finishing = False
        self._hindrance = ""
        self._wait = 0.0  # until when nothing is handed in, after a refusal of the moment
        self._stopping = False
        self._wakers: list[Deferred[None]] = []  # whoever waits for a gate
        self._idle: list[Deferred[None]] = []  # whoever only looks every so often, and for the end
        self.exhausted = False  # no block is left but for those in hand
        self.finished: Deferred[None] | None = None
        self.expanded = 0

    # --- from outside

    def start(self) -> None:
        self.finished = Deferred.fromCoroutine(self._run())
        self.finished.addErrback(lambda f: log.failure("campaign {id} stands still", f, id=self.plan.public_id))

    @property
    def running(self) -> bool:
        return self.finished is not None and not self.finished.called

    def stop(self) -> None:
        """Nothing more is handed in; `finished` fires once what was is answered and the rest given back."""
        self._stopping = True
        self._wakers, self._idle = self._wakers + self._idle, []
        self._wake()

    def rate(self, max_tps: int) -> None:
        """Segments a second, 0 without limit; a tenth of a second's worth may go at once."""
        self.max_tps = max_tps
        self.bucket.change(max_tps, max(1.0, max_tps / 10))

    def progress(self, accepted: int, gone: int) -> None:
        """What the counters say: so many stored, so many of them sent or ended. Called about once a second."""
        self._gone = max(self._gone, gone)
        self._accepted = max(self._accepted, accepted)
        self._wake()

    # --- told by hands

    def heard(self, good: int, all: int) -> None:
        self._accepted += good
        self._unanswered -= all
        if self._wakers and self._unanswered <= UNANSWERED // 2:
            self._wake()

    def hindered(self, code: str) -> None:
        if code in STOPPING:
            self._halt(code)
        else:
            self._wait = max(self._wait, self._clock.seconds() + 1.0)

    def _halt(self, code: str) -> None:
        self._hindrance = self._hindrance or code
        self.stop()

    def settled(self, hand: _Hand) -> None:
        self._done.append(hand)
        if not self._finishing:
            self._finishing = True
            Deferred.fromCoroutine(self._finish()).addErrback(lambda f: log.failure("finishing blocks", f))

    # --- the work

    async def _run(self) -> None:
        while not self._stopping:
            try:
                await self._begin_streams()
            except Exception as error:
                log.warn("campaign {id}: {why}", id=self.plan.public_id, why=str(error))
            if not self._stopping:
                await self._sleep(1.0, idle=True)
        while self._streams or self._hands or self._finishing:
            await self._sleep(0.05)
        if self._hindrance:
            await self._until("pausing", lambda: self._store.pause(self.plan.id, self._hindrance))

    async def _begin_streams(self) -> None:
        """Countries where it is time, and that have no stream."""
        countries = await self._store.countries(self.plan.id)
        self.exhausted = not countries
        for country in countries:
            if country not in self._streams and len(self._streams) < STREAMS and self._open(country) and not self._stopping:
                self.via[country] = set()
                stream = self._streams[country] = Deferred.fromCoroutine(self._stream(country))
                stream.addErrback(lambda f: log.failure("campaign {id} stands still", f, id=self.plan.public_id))
                stream.addCallback(self._stream_over, country)

    def _stream_over(self, _: object, country: str) -> None:
        del self._streams[country]

    async def _stream(self, country: str) -> None:
        await self._sleep(0.0)  # it is known by then
        while not self._stopping and self._open(country):
            # A second earlier than now: a clock may have been set back since the last id.
            since = ids.first_at(int((self._clock.seconds() - 1.0) * 1000))
            try:
                blocks = await self._store.take(self.plan.id, country, list(self._hands), since, BLOCKS)
            except Exception as error:
                log.warn("campaign {id}: {why}", id=self.plan.public_id, why=str(error))
                await self._sleep(1.0)
                continue
            if not blocks:
                return
            for block in blocks:
                await self._expand(block)

    def _open(self, country: str) -> bool:
        if self._window is None:
            return True
        return self._window.holds(self._clock.seconds(), zones_named(self._zone_names) if self._zone_names else zones_of(country))

    async def _expand(self, block: Block) -> None:
        hand = self._hands[block.number] = _Hand(self, block)
        recipients = block.recipients
        skip: set[str] = set()
        if block.since is not None:
            since = block.since
            skip = await self._until("looking for what is stored", partial(self._store.stored, self.plan.id, since))
        at = 0
        while at < len(recipients):
            account = await self._gate(block)
            if account is None:
                break
            end = min(at + self._room(), len(recipients))
            try:
                self._hand_in(account, hand, at, end, skip)
            except Exception:  # nothing of these was handed in
                log.failure("campaign {id} cannot go on", id=self.plan.public_id)
                self._halt("SYSTEM_ERROR")
                break
            at = end
        hand.again += [r for r in recipients[at:] if r[0] not in skip]
        hand.over = True
        if not hand.pending:
            self.settled(hand)

    def _hand_in(self, account: Account, hand: _Hand, begin: int, end: int, skip: set[str]) -> None:
        plan, text, submit = self.plan, self._text, self._intake.submit
        source, ton, npi = self._source
        now = self._clock.seconds()
        valid_until = now + plan.valid_minutes * 60 if plan.valid_minutes else 0.0
        recipients = hand.block.recipients
        segments = 0
        ready = []
        refused = []
        for index in range(begin, end):
            recipient = recipients[index]
            number: str = recipient[0]
            if number in skip:
                continue
            variables: Mapping[str, Any] | None = recipient[1] if len(recipient) > 1 else None
            try:
                rendered = text.render(variables)
            except Unsendable as error:
                refused.append({"t": number, "c": error.code, "d": error.detail})
                continue
            m = Message()
            m.channel = plan.channel
            m.campaign_id = plan.id
            m.source, m.source_ton, m.source_npi = source, ton, npi
            m.dest = number
            m.text = rendered.text
            m.body = rendered.body
            m.data_coding = rendered.data_coding
            m.segments = rendered.segments
            m.registered = 1
            m.priority = self._priority
            m.dlr_url = plan.dlr_url
            m.tags = plan.tags
            m.valid_until = valid_until
            m.sequence = index
            m.origin = hand
            segments += rendered.segments
            ready.append(m)
        hand.refused += refused
        hand.pending += len(ready)
        self._unanswered += len(ready)
        self.expanded += len(ready)
        if self.max_tps:
            self.bucket.charge(segments, now)
        for m in ready:
            try:
                submit(account, m)
            except Exception:  # one that cannot be taken is no reason to lose the others
                log.failure("campaign {id}: {number}", id=plan.public_id, number=m.dest)
                hand.refused.append({"t": m.dest, "c": "SYSTEM_ERROR", "d": ""})
                hand.pending -= 1
                self._unanswered -= 1

    def _room(self) -> int:
        """Messages that may be handed in now, from 1."""
        return SLICE if not self.max_tps else max(1, min(SLICE, int(self.bucket.available(self._clock.seconds()))))

    async def _gate(self, block: Block) -> Account | None:
        """The account once some more may be handed in, a turn later at the earliest; None where nothing may."""
        await self._sleep(0.0)
        while not self._stopping:
            now = self._clock.seconds()
            if not self._open(block.country):
                return None
            account = self._account()
            if account is None:
                self._halt("ACCOUNT_SUSPENDED")
                return None
            if now < self._wait:
                await self._sleep(self._wait - now)
            elif self._far_enough(block.country):
                await self._sleep(_LOOK)
            elif self.max_tps and self.bucket.available(now) < 1:
                await self._sleep(max(_LOOK, self.bucket.wait(1, now)))
            else:
                return account
        return None

    def _far_enough(self, country: str) -> bool:
        ahead = self._accepted + self._unanswered - self._gone
        full = self._unanswered >= UNANSWERED or self._intake.fullness >= _FULL
        if full or ahead >= AHEAD:
            return True
        if not self._crowded(self.via[country]):
            self._probes.pop(country, None)
            return False
        # Another SMSC may take it by now; with each slice that finds none, the next one waits longer: the other countries have room.
        now = self._clock.seconds()
        at, wait = self._probes.setdefault(country, (now + PROBE, PROBE))
        if now < at:
            return True
        wait = min(PROBE_MOST, 2 * wait)
        self._probes[country] = now + wait, wait
        return False

    # --- blocks that are done

    async def _finish(self) -> None:
        try:
            while self._done:
                done, self._done = self._done, []
                await self._until("finishing blocks", partial(self._write, done))
                for h in done:
                    self._hands.pop(h.block.number, None)
        finally:
            self._finishing = False

    async def _write(self, done: list[_Hand]) -> None:
        """It may be done twice."""
        whole = [(h.block.number, h.refused) for h in done if not h.again]
        if whole:
            await self._store.finish(self.plan.id, whole)
        for h in done:
            if h.again:
                await self._store.give_back(self.plan.id, h.block.number, h.again, h.refused)

    # --- time

    async def _until(self, what: str, f: Callable[[], Awaitable[Any]]) -> Any:
        """Again until the database takes it."""
        n = 0
        while True:
            try:
                return await f()
            except Exception as error:
                n += 1
                if n <= 3 or n % 30 == 0:
                    log.warn("campaign {id}: {what}, attempt {n}: {why}", id=self.plan.public_id, what=what, n=n, why=str(error))
                over: Deferred[None] = Deferred()
                self._clock.callLater(1.0, over.callback, None)
                await over

    async def _sleep(self, seconds: float, *, idle: bool = False) -> None:
        """Shorter where something happens meanwhile; `idle`: only where the end does."""
        over: Deferred[None] = Deferred()
        call = self._clock.callLater(seconds, self._woken, over)
        if seconds:
            (self._idle if idle else self._wakers).append(over)
        await over
        if call.active():
            call.cancel()

    def _woken(self, over: Deferred[None]) -> None:
        for waiting in (self._wakers, self._idle):
            if over in waiting:
                waiting.remove(over)
        over.callback(None)

    def _wake(self) -> None:
        wakers, self._wakers = self._wakers, []
        for over in wakers:
            over.callback(None)


def _window(plan: PlanLike) -> SendingWindow | None:
    if plan.window_from is None or plan.window_to is None:
        return None
    days = frozenset(plan.window_days) or frozenset(range(7))
    return SendingWindow(plan.window_from, plan.window_to, days)
