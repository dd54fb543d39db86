"""What became of messages, recorded in batches: taken by an SMSC, delivered, failed.

While one statement is in flight the next batch gathers, and what concerns one message
melts into one row: a receipt that follows quickly costs no second update. Only after
the commit is a receipt acknowledged to the SMSC and passed on to the customer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import orjson
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from protei_bulk.model import lifecycle
from protei_bulk.model.message import Message

log = Logger()

Row = dict[str, Any]


class Part:
    """One segment of a message that a connector split; numbers count from 1."""

    __slots__ = ("body", "message", "number", "udh")

    def __init__(self, message: Message, number: int, udh: bytes, body: bytes) -> None:
        self.message, self.number, self.udh, self.body = message, number, udh, body


def give_up(m: Message) -> None:
    """The attempt to send a split message is over: its other parts neither complete nor end it. The next attempt begins anew."""
    m.part_results = {0: "GIVEN UP"}


def given_up(m: Message) -> bool:
    return m.part_results is not None and 0 in m.part_results


class Link(Protocol):
    """The SMSC connection a receipt came by."""

    def acknowledge(self, sequences: list[int]) -> None: ...


class JournalEntry:
    """A committed batch of receipts; its row goes once every ESME has acknowledged its part."""

    __slots__ = ("id", "left")

    def __init__(self, id: int, left: int) -> None:
        self.id, self.left = id, left


class Forward:
    """A receipt on its way to an ESME."""

    __slots__ = ("done_at", "err", "journal", "message", "outbox_id", "payload", "stat")

    def __init__(self, message: Message, stat: str, err: str, done_at: float) -> None:
        self.message, self.stat, self.err, self.done_at = message, stat, err, done_at
        self.journal: JournalEntry | None = None
        self.outbox_id = 0
        self.payload: Row | None = None


class Store(Protocol):
    def advance(self, rows: list[Row] | None, journal_id: int, journal: str | None, outbox: list[Row], callbacks: list[Row],
                dequeue: list[str], parts: list[Row]) -> Deferred[Any]: ...  # fmt: skip


class Forwards(Protocol):
    """The ESME side: who can be reached now, and what to do with receipts for them."""

    def reachable(self, user_id: int) -> bool: ...

    def forward(self, receipts: list[Forward]) -> None: ...


class SentNotes(Protocol):
    def committed(self, entries: int) -> None: ...


class Clock(Protocol):
    def seconds(self) -> float: ...

    def callLater(self, delay: float, f: Callable[..., Any], *args: Any) -> Any: ...  # noqa: N802


class _Batch:
    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.parts: dict[tuple[str, int], Row] = {}
        self.acks: dict[Link, list[int]] = {}
        self.forwards: list[Forward] = []
        self.callbacks: list[Row] = []
        self.dequeue: list[str] = []
        self.sent = 0
        self.waiting: list[Message] = []
        self.then: list[Callable[[], None]] = []


#: outcome of the several parts of a message: the worst counts
_WORST = (
    lifecycle.REJECTED, lifecycle.FAILED, lifecycle.EXPIRED, lifecycle.DELETED, lifecycle.UNKNOWN, lifecycle.SKIPPED, lifecycle.DELIVERED,
)  # fmt: skip


class Outcomes:
    """`payload` makes the body of a callback (specification section 5); `wake_callbacks` is called once some are stored."""

    def __init__(self, store: Store, forwards: Forwards, notes: SentNotes, clock: Clock, payload: Callable[..., Row],
                 wake_callbacks: Callable[[], None]) -> None:  # fmt: skip
        self._store, self._forwards, self._notes, self._clock = store, forwards, notes, clock
        self._payload, self._wake = payload, wake_callbacks
        self._next = _Batch()
        self._busy: _Batch | None = None
        self._scheduled = False
        self._journal = 0
        self._idle: list[Deferred[None]] = []
        self.counts = {"sent": 0, "delivered": 0, "failed": 0}

    # --- what happens to messages

    def sent(self, m: Message, smsc_message_id: str, part: int) -> None:
        """An SMSC took a message, or one part of it (from 1; 0 is a whole one)."""
        batch = self._next
        batch.sent += 1
        if part:
            batch.parts[m.id, part] = {"i": m.id, "n": part, "q": m.smsc, "x": smsc_message_id, "z": "SENT"}
            results = m.part_results
            if results is None:
                results = m.part_results = {}
            results.setdefault(part, lifecycle.SENT)
            if part == 1:
                m.smsc_message_id = smsc_message_id
            if len(results) < m.segments or 0 in results:
                self._schedule()
                return
        else:
            m.smsc_message_id = smsc_message_id
        m.sent_at = self._clock.seconds()
        self.counts["sent"] += 1
        batch.waiting.append(m)
        self._row(batch, m.id, {"i": m.id, "z": "SENT", "q": m.smsc, "x": m.smsc_message_id})
        if m.queued:
            batch.dequeue.append(m.id)
            m.queued = False
        self._schedule()

    def receipt(self, entry: Message | Part, stat: str, err: str, link: Link | None, sequence: int) -> bool:
        """A receipt for a message or a part of one; whether its state is final."""
        batch = self._next
        if link is not None:
            self.acknowledge(link, sequence)
        status = lifecycle.FROM_RECEIPT.get(stat, lifecycle.SENT)
        final = status in lifecycle.FINAL
        if type(entry) is Part:
            m = entry.message
            batch.parts[m.id, entry.number] = {
                **batch.parts.get((m.id, entry.number), {}), "i": m.id, "n": entry.number, "z": status, "d": stat, "e": err,
            }  # fmt: skip
            if not final:
                self._schedule()
                return False
            results = m.part_results
            if results is None:
                results = m.part_results = {}
            results[entry.number] = status
            if len(results) < m.segments or any(r not in lifecycle.FINAL for r in results.values()):
                self._schedule()
                return True
            status = next(w for w in _WORST if w in results.values())
            stat = lifecycle.TO_RECEIPT[status]
        else:
            assert isinstance(entry, Message)
            m = entry
        self._row(batch, m.id, {"i": m.id, "z": status, "d": stat, "e": err})
        if final:
            self._tell(batch, m, status, stat, err)
        elif m.registered & 0x10 and m.channel == "SMPP":
            batch.forwards.append(Forward(m, stat, err, self._clock.seconds()))
        self._schedule()
        return final

    def failed(self, m: Message, status: str, err: str) -> None:
        """A message ends without an SMSC's receipt: refused for good, or too late."""
        batch = self._next
        stat = lifecycle.TO_RECEIPT[status]
        self._row(batch, m.id, {"i": m.id, "z": status, "d": stat, "e": err})
        if m.queued:
            batch.dequeue.append(m.id)
        batch.waiting.append(m)
        self._tell(batch, m, status, stat, err)
        self._schedule()

    def acknowledge(self, link: Link, sequence: int) -> None:
        """Answer a deliver_sm after the next commit."""
        known = self._next.acks.get(link)
        if known is None:
            self._next.acks[link] = [sequence]
        else:
            known.append(sequence)
        self._schedule()

    def after_commit(self, f: Callable[[], None]) -> None:
        self._next.then.append(f)
        self._schedule()

    @staticmethod
    def _row(batch: _Batch, id: str, row: Row) -> None:
        known = batch.rows.get(id)
        if known is None:
            batch.rows[id] = row
            return
        if known["z"] in lifecycle.FINAL:
            row["z"] = known["z"]
            row.pop("d", None)
            row.pop("e", None)
        known.update(row)

    def _tell(self, batch: _Batch, m: Message, status: str, stat: str, err: str) -> None:
        delivered = status == lifecycle.DELIVERED
        self.counts["delivered" if delivered else "failed"] += 1
        if m.channel == "SMPP":
            asked = m.registered & 3
            if asked == 1 or (asked == 2 and not delivered) or (asked == 3 and delivered):
                batch.forwards.append(Forward(m, stat, err, self._clock.seconds()))
        if m.dlr_url:
            now = self._clock.seconds()
            body = self._payload(m.id, m.dest, m.source, stat, err or None, m.created, now if delivered else None)
            batch.callbacks.append({"u": m.user_id, "i": m.id, "w": m.dlr_url, "p": body})

    # --- the batch

    @property
    def pending(self) -> int:
        return len(self._next.rows) + (len(self._busy.rows) if self._busy else 0)

    def oldest(self) -> str | None:
        """The smallest id whose having been sent, or refused for good, is not committed."""
        ids = [m.id for b in (self._next, self._busy) if b for m in b.waiting]
        return min(ids, default=None)

    def drained(self) -> Deferred[None]:
        """Fires once everything recorded so far is committed."""
        d: Deferred[None] = Deferred()
        if self._busy is None and not self._scheduled:
            d.callback(None)
        else:
            self._idle.append(d)
        return d

    def _schedule(self) -> None:
        if not self._scheduled and self._busy is None:
            self._scheduled = True
            self._clock.callLater(0, self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        batch, self._next = self._next, _Batch()
        self._busy = batch
        outbox = []
        here = []
        for f in batch.forwards:
            if self._forwards.reachable(f.message.user_id):
                here.append(f)
            else:
                outbox.append({"u": f.message.user_id, "i": f.message.id, "s": f.stat, "e": f.err})
        journal = None
        if here or outbox or batch.callbacks:
            self._journal = max(self._journal + 1, int(self._clock.seconds() * 1000) << 10)
            journal = orjson.dumps([[f.message.id, f.message.user_id, f.stat, f.err] for f in here]).decode()
        batch.forwards = here
        if not (batch.rows or batch.parts or journal or batch.dequeue):
            self._committed(None, batch)
            return
        self._attempt(batch, journal, outbox, 1)

    def _attempt(self, batch: _Batch, journal: str | None, outbox: list[Row], n: int) -> None:
        d = maybeDeferred(  # what it raises at once must not leave `_busy` set for ever
            self._store.advance, list(batch.rows.values()) or None, self._journal, journal, outbox, batch.callbacks, batch.dequeue,
            list(batch.parts.values()),
        )  # fmt: skip
        d.addCallbacks(self._committed, self._again, (batch,), {}, (batch, journal, outbox, n))
        d.addErrback(lambda f: log.failure("after the commit of outcomes", f))

    def _again(self, failure: Failure, batch: _Batch, journal: str | None, outbox: list[Row], n: int) -> None:
        """Nothing was acknowledged, so nothing is lost: the same batch, until the database takes it."""
        if n <= 3 or n % 10 == 0:
            log.warn("recording {count} outcomes, attempt {n}: {why}", count=len(batch.rows), n=n, why=failure.getErrorMessage())
        self._clock.callLater(min(5.0, 0.2 * n), self._attempt, batch, journal, outbox, n + 1)

    @staticmethod
    def _guarded(f: Callable[..., object], *arguments: object) -> None:
        """One that fails keeps nobody else from hearing of the commit."""
        try:
            f(*arguments)
        except Exception:
            log.failure("after the commit of outcomes")

    def _committed(self, _: object, batch: _Batch) -> None:
        self._busy = None
        if batch.sent:
            self._notes.committed(batch.sent)
        for link, sequences in batch.acks.items():
            self._guarded(link.acknowledge, sequences)
        if batch.forwards:
            entry = JournalEntry(self._journal, len(batch.forwards))
            for f in batch.forwards:
                f.journal = entry
            self._guarded(self._forwards.forward, batch.forwards)
        elif batch.callbacks:
            self._guarded(self._forwards.forward, [])
        if batch.callbacks:
            self._guarded(self._wake)
        for then in batch.then:
            self._guarded(then)
        if self._next.rows or self._next.acks or self._next.parts or self._next.forwards or self._next.then or self._next.dequeue:
            if not self._scheduled:
                self._flush()
        elif not self._scheduled:
            idle, self._idle = self._idle, []
            for d in idle:
                d.callback(None)
