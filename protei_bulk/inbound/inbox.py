"""Messages from mobiles: stored in batches, acknowledged after the commit, put together, handed on.

While one statement is in flight the next batch gathers. A message that comes again before it was
acknowledged joins the first. Parts wait in the database, whichever bind or node they came by;
whoever stores the last one finishes the message, and a look every two seconds finds what nobody did.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from protei_bulk.inbound.answers import TYPES, Answers, Finds, References
from protei_bulk.inbound.entry import Batches, Clock, Entry, Link, Row
from protei_bulk.inbound.message import MOST_OCTETS, Mo, message_type, read, row_of
from protei_bulk.inbound.parts import join
from protei_bulk.inbound.rules import MoRouter
from protei_bulk.model import ids
from protei_bulk.settings import Inbound as Settings
from protei_bulk.settings import MoRule, Smsc
from protei_bulk.smpp import statuses

log = Logger()

_MOST_WAITING = 50_000  # messages that wait for the database; more are refused with ESME_RMSGQFUL
_LATE = 5.0  # seconds to our answer, after which an SMSC may have given up waiting for it
_SURE = 2.0  # seconds that a connection lives on after our answer, so that the answer has arrived
_LOOK_EVERY = 2.0
_FORGET_EVERY = 60.0
_PARTITIONS_EVERY = 600.0
_SETS = 200  # finished in one statement


class Store(Protocol):
    def receive(self, rows: list[Row], parts: bool, seconds: float) -> Deferred[Row]: ...

    def sets(self, ids: list[str]) -> Deferred[list[Any]]: ...

    def finish(self, rows: list[Row]) -> Deferred[Row]: ...

    def due(self, seconds: float, parts: int, most: int) -> Deferred[list[str]]: ...

    def pending(self) -> Deferred[int]: ...

    def acknowledged(self, digests: list[str]) -> Deferred[int]: ...

    def forget(self) -> Deferred[int]: ...

    def answers(self) -> Deferred[bool]: ...

    def partitions(self, days: int) -> Deferred[Any]: ...


class Inbox:
    """`wake(user_ids)` tells who has something in the outbox; `payload(m)` is what a URL is posted."""

    def __init__(self, store: Store, finds: Finds, references: References, batches: Batches, router: MoRouter, maker: ids.IdMaker,
                 clock: Clock, settings: Settings, keep_days: int, *, wake: Callable[[list[int]], object],
                 wake_callbacks: Callable[[], object], payload: Callable[[Mo], Row]) -> None:  # fmt: skip
        self._store, self._router, self._maker, self._clock = store, router, maker, clock
        self.settings, self.keep_days = settings, keep_days
        self._wake, self._wake_callbacks, self._payload = wake, wake_callbacks, payload
        self._waiting: dict[str, Entry] = {}  # by digest, until they are committed
        self._batch = batches(self._run)
        self._finisher = batches(self._finish)
        self._finishing: set[str] = set()
        self._answers = Answers(finds, references, batches, clock, self._batch.add)
        self._unsure: deque[tuple[float, Entry]] = deque()
        self._loops: list[LoopingCall] = []
        self.heard: Callable[[list[Mo]], object] | None = None  # told of messages, not of parts, after their commit
        self.received: dict[str, int] = {}
        self.counts = {"routed": 0, "unrouted": 0, "duplicates": 0, "incomplete": 0, "refused": 0}
        self.pending_parts = 0

    # --- life

    def start(self) -> None:
        for seconds, job in (
            (1.0, self._confirm), (_LOOK_EVERY, self._look), (_FORGET_EVERY, self._store.forget),
            (_PARTITIONS_EVERY, lambda: self._store.partitions(self.keep_days)),
        ):  # fmt: skip
            loop = LoopingCall(self._guarded, job)
            loop.clock = self._clock  # type: ignore[assignment]
            self._loops.append(loop)
            loop.start(seconds, now=seconds == _LOOK_EVERY)

    def change(self, rules: Sequence[MoRule], settings: Settings) -> None:
        """Other rules and limits, for what is stored from now on (SIGHUP)."""
        self._router.load(rules)
        self.settings = settings

    def user_for(self, smsc: str, source: str, dest: str) -> str:
        """The user that a rule names for what has no text; "" where none does."""
        target = self._router.route(smsc, source, dest, None)
        return target.user if target is not None else ""

    def stop(self) -> None:
        for loop in self._loops:
            if loop.running:
                loop.stop()

    def drained(self) -> Deferred[Any]:
        """Fires once everything that has come is stored and answered."""
        d = self._answers.drained()
        return d.addCallback(lambda _: self._batch.drained()).addCallback(lambda _: self._finisher.drained())

    def _guarded(self, job: Callable[[], Any]) -> Deferred[Any]:
        return maybeDeferred(job).addErrback(lambda f: log.warn("messages from mobiles: {why}", why=f.getErrorMessage()))

    # --- in

    @property
    def waiting(self) -> int:
        """Messages that wait for the database."""
        return len(self._waiting)

    def receive(self, smsc: Smsc, f: tuple[Any, ...], body: bytes, link: Link, sequence: int) -> int:
        """Takes the fields of a deliver_sm or data_sm; the command_status to refuse it with at once; 0: `link` is told after its commit."""
        self.received[smsc.id] = self.received.get(smsc.id, 0) + 1
        if len(body) > MOST_OCTETS:
            self.counts["refused"] += 1
            return statuses.ESME_RINVMSGLEN
        m = read(f, body, smsc.alphabet, smsc.id, self._clock.seconds())
        known = self._waiting.get(m.digest)
        if known is not None:
            self.counts["duplicates"] += 1
            known.asked.append((link, sequence))
            return 0
        if len(self._waiting) >= _MOST_WAITING:
            self.counts["refused"] += 1
            return statuses.ESME_RMSGQFUL
        m.id = self._maker.mo()
        entry = self._waiting[m.digest] = Entry(m, m.received)
        entry.asked.append((link, sequence))
        if message_type(m.esm_class) in TYPES:
            self._answers.add(entry, smsc)
        else:
            self._batch.add(entry)
        return 0

    # --- the batch

    def _run(self, batch: list[Entry]) -> Deferred[None]:
        return Deferred.fromCoroutine(self._store_batch(batch))

    async def _store_batch(self, batch: list[Entry]) -> None:
        while batch:
            group, batch = _apart(batch)
            await self._store_group(group)

    async def _store_group(self, group: list[Entry]) -> None:
        """Until it is stored. One that the database will not have is refused, and harms no other."""
        attempt = 0
        while True:
            attempt += 1
            try:
                rows = [self._row(e.mo) for e in group]
                parts = any(e.mo.place is not None for e in group)
                answer = await self._store.receive(rows, parts, self.settings.reassembly_seconds)
                break
            except Exception as error:
                if attempt <= 3 or attempt % 10 == 0:
                    log.warn("storing {n} messages from mobiles, attempt {a}: {why}", n=len(group), a=attempt, why=str(error))
            if attempt >= 3 and await self._database_answers():
                if len(group) == 1:
                    self._give_up(group[0])
                    return
                half = len(group) // 2
                await self._store_group(group[:half])
                await self._store_group(group[half:])
                return
            await self._pause(min(5.0, 0.2 * attempt))
        self._committed(group, answer)

    def _row(self, m: Mo) -> Row:
        row = row_of(m)
        if m.place is not None or m.user_id:
            return row
        target = self._router.route(m.smsc, m.source, m.dest, m.text)
        if target is None:
            row["ow"] = True
            return row
        row["ru"] = target.rule
        if target.user:
            row["un"] = target.user
        if target.url:
            row["w"], row["cb"] = target.url, self._payload(m)
        return row

    async def _database_answers(self) -> bool:
        try:
            return await self._store.answers()
        except Exception:
            return False

    def _pause(self, seconds: float) -> Deferred[None]:
        d: Deferred[None] = Deferred()
        self._clock.callLater(seconds, d.callback, None)
        return d

    def _give_up(self, entry: Entry) -> None:
        log.error("{id}: the database will not have this message of {smsc}; refused", id=entry.mo.id, smsc=entry.mo.smsc)
        self.counts["refused"] += 1
        del self._waiting[entry.mo.digest]
        for link, sequence in entry.asked:
            link.refuse(sequence, statuses.ESME_RX_R_APPN)

    def _committed(self, group: list[Entry], answer: Row) -> None:
        now = self._clock.seconds()
        asked: dict[Link, list[int]] = {}
        for entry in group:
            del self._waiting[entry.mo.digest]
            for link, sequence in entry.asked:
                asked.setdefault(link, []).append(sequence)
            if entry.mo.place is None and now - entry.arrived < _LATE:
                self._unsure.append((now, entry))
        for link, sequences in asked.items():
            self._safely(link.acknowledge, sequences)
        self.counts["duplicates"] += len(group) - int(answer["fresh"])
        self._stored(answer)
        if self.heard is not None:
            self._safely(self.heard, [entry.mo for entry in group if entry.mo.place is None])
        self._finish_soon(answer["complete"])

    def _stored(self, answer: Row) -> None:
        self.counts["routed"] += answer["routed"]
        self.counts["unrouted"] += answer["unrouted"]
        if answer["users"]:
            self._safely(self._wake, answer["users"])
        if answer["calls"]:
            self._safely(self._wake_callbacks)

    @staticmethod
    def _safely(f: Callable[..., object], *arguments: object) -> None:
        """One that fails keeps nobody else from hearing of the commit."""
        try:
            f(*arguments)
        except Exception:
            log.failure("after the commit of messages from mobiles")

    # --- long messages

    def _finish_soon(self, sets: list[str]) -> None:
        for id in sets:
            if id not in self._finishing:
                self._finishing.add(id)
                self._finisher.add(id)

    def _finish(self, sets: list[str]) -> Deferred[None]:
        return Deferred.fromCoroutine(self._finish_sets(sets))

    async def _finish_sets(self, sets: list[str]) -> None:
        for i in range(0, len(sets), _SETS):
            page = sets[i : i + _SETS]
            if not await self._try_page(page) and len(page) > 1 and await self._database_answers():
                for id in page:  # one that the database will not have keeps no other waiting
                    await self._try_page([id])
        self._finishing.difference_update(sets)

    async def _try_page(self, sets: list[str]) -> bool:
        try:
            await self._finish_page(sets)
        except Exception as error:  # the look comes back to them
            log.warn("putting {n} messages together, from {id} on: {why}", n=len(sets), id=sets[0], why=str(error))
            return False
        return True

    async def _finish_page(self, sets: list[str]) -> None:
        by_set: dict[str, list[Any]] = {}
        for row in await self._store.sets(sets):
            by_set.setdefault(row[0], []).append(row)
        rows = []
        incomplete = 0
        oldest = (self._clock.seconds() - 86_400) * 1000
        for parts in by_set.values():
            m = join(parts)
            incomplete += m.missing > 0
            row = {"hv": parts[0][7]}
            if ids.time_ms(m.id) < oldest:  # waited while nobody ran: the partition of its day may be gone
                row["si"], m.id = m.id, self._maker.mo()
            rows.append({**self._row(m), **row})
        if rows:
            answer = await self._store.finish(rows)
            self.counts["incomplete"] += incomplete
            self._stored(answer)

    async def _due(self) -> None:
        while True:
            due = await self._store.due(self.settings.reassembly_seconds, self.settings.max_pending_parts, _SETS)
            await DeferredList([self._finish([id for id in due if id not in self._finishing])])
            if len(due) < _SETS:
                break
        self.pending_parts = await self._store.pending()

    def _look(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._due())

    # --- what an SMSC may send again

    def _confirm(self) -> Deferred[Any] | None:
        """An answer that a living connection took some seconds ago has arrived: equal octets are another message from now on."""
        border = self._clock.seconds() - _SURE
        sure = []
        while self._unsure and self._unsure[0][0] <= border:
            _, entry = self._unsure.popleft()
            if entry.asked[-1][0].alive:
                sure.append(entry.mo.digest)
        return self._store.acknowledged(sure) if sure else None


def _apart(batch: list[Entry]) -> tuple[list[Entry], list[Entry]]:
    """Those that one statement can store, and the rest: two different parts with the same number begin two messages."""
    seen = set()
    group, rest = [], []
    for entry in batch:
        m = entry.mo
        key = (m.source, m.dest, m.place)
        if m.place is not None and key in seen:
            rest.append(entry)
        else:
            seen.add(key)
            group.append(entry)
    return group, rest
