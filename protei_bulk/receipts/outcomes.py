"""What became of messages, recorded in batches: taken by an SMSC, delivered, failed.

While one statement is in flight the next batch gathers, and what concerns one message
melts into one row: a receipt that follows quickly costs no second update. Only after
the commit is a receipt acknowledged to the SMSC and passed on to the customer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from protei_bulk.model import lifecycle, tried
from protei_bulk.model.faults import Unstorable
from protei_bulk.model.message import Message
from protei_bulk.receipts.batch import Batch, Forward, JournalEntry, Link, Row, Tlvs, details
from protei_bulk.text.forms import Form

__all__ = ["Forward", "JournalEntry", "Link", "Outcomes", "Part", "former", "give_up", "given_up", "stale"]

log = Logger()

class Part:
    """One segment of a message that a connector split; numbers count from 1."""

    __slots__ = ("attempt", "body", "form", "message", "number", "udh")

    def __init__(self, message: Message, number: int, udh: bytes, body: bytes, form: Form | None = None) -> None:
        self.message, self.number, self.udh, self.body = message, number, udh, body
        self.form = form  # how it goes out, where its message goes out in another form than it has
        self.attempt = message.attempts + message.refusals


def give_up(m: Message) -> None:
    """The attempt to send a split message is over: its other parts neither complete nor end it. The next attempt begins anew."""
    m.part_results = {0: "GIVEN UP"}


def given_up(m: Message) -> bool:
    return m.part_results is not None and 0 in m.part_results


def former(part: Part) -> bool:
    """Whether it belongs to an earlier attempt than the present one."""
    return part.attempt != part.message.attempts + part.message.refusals


def stale(part: Part) -> bool:
    """Whether it belongs to an attempt that is over."""
    return former(part) or given_up(part.message)


class Store(Protocol):
    def advance(self, rows: list[Row] | None, journal_id: int, journal: str | None, outbox: list[Row], callbacks: list[Row],
                dequeue: list[str], parts: list[Row], merges: Sequence[str] = (), again: Sequence[Row] = ()) -> Deferred[Any]:  # fmt: skip
        """With `merges` it fires with a list of one row, whose last column has the users to wake, or None."""


class Forwards(Protocol):
    """The ESME side: who can be reached now, and what to do with receipts for them."""

    def reachable(self, user_id: int) -> bool: ...

    def forward(self, receipts: list[Forward]) -> None: ...

    def wake(self, user_ids: Iterable[int]) -> None:
        """These have something new in the outbox."""

    def settle(self, journal_id: int) -> None:
        """A journal row that holds no receipt, or none that is still to be acknowledged, may go."""


class SentNotes(Protocol):
    def committed(self, entries: int) -> None: ...


class Clock(Protocol):
    def seconds(self) -> float: ...

    def callLater(self, delay: float, f: Callable[..., Any], *args: Any) -> Any: ...  # noqa: N802


#: outcome of the several parts of a message: the worst counts
_WORST = (
    lifecycle.REJECTED, lifecycle.FAILED, lifecycle.EXPIRED, lifecycle.DELETED, lifecycle.UNKNOWN, lifecycle.SKIPPED, lifecycle.DELIVERED,
)  # fmt: skip


_FROM_RECEIPT, _FINAL, _SENT, _DELIVERED = lifecycle.FROM_RECEIPT, lifecycle.FINAL, lifecycle.SENT, lifecycle.DELIVERED
#: outcomes after which another SMSC may do better
_IN_VAIN = frozenset({lifecycle.FAILED, lifecycle.REJECTED})


class Outcomes:
    """`payload` makes the body of a callback (specification section 5); `wake_callbacks` is called once some are stored."""

    def __init__(self, store: Store, forwards: Forwards, notes: SentNotes, clock: Clock, payload: Callable[..., Row],
                 wake_callbacks: Callable[[], None]) -> None:  # fmt: skip
        self._store, self._forwards, self._notes, self._clock = store, forwards, notes, clock
        self._payload, self._wake = payload, wake_callbacks
        self._next = Batch()
        self._busy: Batch | None = None
        self._left: list[Batch] = []  # what is still to be written of it: itself, or its pieces
        self._scheduled = False
        self._journal = 0
        self._idle: list[Deferred[None]] = []
        self.counts = {"sent": 0, "delivered": 0, "failed": 0}
        self.set_aside = 0  # messages whose outcome the database will not have
        self.second_tries: Mapping[str, tuple[str, ...]] = {}  # by rule, the SMSCs that are tried one after the other
        self.kept: Callable[[set[int]], None] = lambda users: None  # told whose receipts went to the outbox
        self.routed_again: Callable[[], None] = lambda: None  # told once some wait for their next SMSC
        self.cost: Callable[[str, str], Decimal | None] | None = None  # of a segment, by SMSC and number
        self.heard: Callable[[str, bool], None] | None = None  # of each final receipt: SMSC, and whether it was delivered

    # --- what happens to messages

    def sent(self, m: Message, smsc_message_id: str, part: int) -> None:
        """An SMSC took a message, or one part of it (from 1; 0 is a whole one)."""
        batch = self._next
        batch.sent += 1
        if part:
            row = batch.parts[m.id, part] = {"i": m.id, "n": part, "q": m.smsc, "x": smsc_message_id, "z": "SENT"}
            if m.parts:
                row["t"] = m.parts
            results = m.part_results
            if results is None:
                results = m.part_results = {}
            results.setdefault(part, lifecycle.SENT)
            if part == 1:
                m.smsc_message_id = smsc_message_id
            if len(results) < (m.parts or m.segments) or 0 in results:
                self._schedule()
                return
        else:
            m.smsc_message_id = smsc_message_id
            if m.parts:
                batch.parts[m.id, 0] = {"i": m.id, "n": 0, "t": m.parts}  # no part, but how many there are
        if not batch.at:
            batch.at = self._clock.seconds()
        m.sent_at = batch.at
        self.counts["sent"] += 1
        batch.waiting.append(m)
        row = {"i": m.id, "z": "SENT", "q": m.smsc, "x": m.smsc_message_id}
        if self.cost is not None:
            cost = self.cost(m.smsc, m.dest)
            if cost:
                row["c"] = str(cost * (m.parts if m.parts > 1 else m.segments))
        self._row(batch, m.id, row)
        if m.queued:
            batch.dequeue.append(m.id)
            m.queued = False
        self._schedule()

    def receipt(self, entry: Message | Part, stat: str, err: str, link: Link | None, sequence: int, tlvs: Tlvs | None = None) -> bool:
        """A receipt for a message or a part of one; whether its state is final. `tlvs`: what it says beside."""
        batch = self._next
        if link is not None:  # what follows schedules the batch
            known = batch.acks.get(link)
            if known is None:
                batch.acks[link] = [sequence]
            else:
                known.append(sequence)
        status = _FROM_RECEIPT.get(stat, _SENT)
        final = status in _FINAL
        if type(entry) is Part:
            m = entry.message
            batch.parts[m.id, entry.number] = {
                **batch.parts.get((m.id, entry.number), {}), "i": m.id, "n": entry.number, "z": status, "d": stat, "e": err,
            }  # fmt: skip
            if not final:
                if entry.number == 1:
                    self._notify(m, stat, err, tlvs)
                self._schedule()
                return False
            if status != lifecycle.DELIVERED:
                m.part_errors = {**(m.part_errors or {}), entry.number: err}
            results = m.part_results
            if results is None:
                results = m.part_results = {}
            results[entry.number] = status
            if len(results) < (m.parts or m.segments) or any(r not in lifecycle.FINAL for r in results.values()):
                self._schedule()
                return True
            worst = next(w for w in _WORST if w in results.values())
            if worst != status:
                number = next(n for n, r in results.items() if r == worst)
                status, stat, err, tlvs = worst, lifecycle.TO_RECEIPT[worst], (m.part_errors or {}).get(number, ""), None
        else:
            m = entry  # type: ignore[assignment]
            if m.joined:
                for part in m.joined:
                    self.receipt(part, stat, err, None, 0, tlvs)
                return final
        if final:
            if self.heard is not None:
                self.heard(m.smsc, status == _DELIVERED)
            if self.second_tries and status in _IN_VAIN and self._goes_on(batch, m, stat, err):
                self._schedule()
                return True
        self._row(batch, m.id, {"i": m.id, "z": status, "d": stat, "e": err})
        if final:
            self._tell(batch, m, status, stat, err, tlvs)
        else:
            self._notify(m, stat, err, tlvs)
        self._schedule()
        return final

    def _goes_on(self, batch: Batch, m: Message, stat: str, err: str) -> bool:
        """Whether an SMSC that took it in vain is followed by another one. Its sender hears nothing then. Nothing that arrived in part."""
        targets = self.second_tries.get(m.route)
        known = batch.rows.get(m.id)
        if targets is None or (known is not None and known["z"] in lifecycle.FINAL):
            return False
        if m.part_results and lifecycle.DELIVERED in m.part_results.values():
            return False
        said = tried.is_said(m.tried, m.smsc, m.smsc_message_id)
        if said is not None:
            return said  # the same receipt once more; or it was sent there twice, and that is the end of it
        words = tried.note(m.tried, m.smsc, stat, err, m.smsc_message_id)
        if not set(targets) - tried.smscs(words):
            return False
        m.tried = words
        batch.again[m.id] = {"i": m.id, "q": m.smsc, "w": words.rpartition(" ")[2]}
        return True

    def _notify(self, m: Message, stat: str, err: str, tlvs: Tlvs | None) -> None:
        """An intermediate state, for whoever has asked for those."""
        if m.registered & 0x10 and m.channel == "SMPP":
            self._next.forwards.append(Forward(m, stat, err, self._clock.seconds(), details(m, stat, tlvs) if tlvs else None))

    def failed(self, m: Message, status: str, err: str, *, own: bool = True) -> None:
        """A message ends without an SMSC's receipt: refused for good, or too late. Not `own`: the error was in a receipt."""
        batch = self._next
        stat = lifecycle.TO_RECEIPT[status]
        self._row(batch, m.id, {"i": m.id, "z": status, "d": stat, "e": err})
        if m.queued:
            batch.dequeue.append(m.id)
        batch.waiting.append(m)
        self._tell(batch, m, status, stat, err, None, own=own)
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
    def _row(batch: Batch, id: str, row: Row) -> None:
        known = batch.rows.setdefault(id, row)
        if known is row:
            return
        if known["z"] in _FINAL:
            row["z"] = known["z"]
            row.pop("d", None)
            row.pop("e", None)
        known.update(row)

    def _tell(self, batch: Batch, m: Message, status: str, stat: str, err: str, tlvs: Tlvs | None, *, own: bool = False) -> None:
        """`own`: the error is a command_status, or the gateway's."""
        delivered = status == _DELIVERED
        self.counts["delivered" if delivered else "failed"] += 1
        if m.channel == "SMPP":
            asked = m.registered & 3
            if m.long is not None and m.long.merged:
                batch.merges[m.id] = m.long.of.id
            elif asked == 1 or (asked == 2 and not delivered) or (asked == 3 and delivered):
                plain = m.segments == 1 and not m.parts and not tlvs and not own
                if not batch.at:
                    batch.at = self._clock.seconds()
                batch.forwards.append(Forward(m, stat, err, batch.at, None if plain else details(m, stat, tlvs, own)))
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
        batch, self._next = self._next, Batch()
        self._busy = batch
        here = []
        for f in batch.forwards:
            if self._forwards.reachable(f.message.user_id):
                here.append(f)
            else:
                row: Row = {"u": f.message.user_id, "i": f.message.id, "s": f.stat, "e": f.err}
                batch.outbox.append(row if f.payload is None else {**row, "p": f.payload})
        batch.forwards = here
        self._left = [batch]
        self._write()

    def _write(self) -> None:
        """The next piece, or the end of the batch."""
        while self._left and not self._left[0].written:
            self._left.pop(0)
        if not self._left:
            self._over()
            return
        piece = self._left[0]
        if piece.journaled:
            piece.journal_id = self._journal = max(self._journal + 1, int(self._clock.seconds() * 1000) << 10)
        self._attempt(piece, piece.journal(), 1)

    def _attempt(self, piece: Batch, journal: str | None, n: int) -> None:
        again: dict[str, Any] = {"again": list(piece.again.values())} if piece.again else {}
        d = maybeDeferred(  # what it raises at once must not leave `_busy` set for ever
            self._store.advance, list(piece.rows.values()) or None, piece.journal_id, journal, piece.outbox, piece.callbacks,
            piece.dequeue, list(piece.parts.values()), *((list(set(piece.merges.values())),) if piece.merges else ()),
            **again,
        )  # fmt: skip
        d.addCallbacks(self._committed, self._again, (piece,), {}, (piece, journal, n))
        d.addErrback(lambda f: log.failure("after the commit of outcomes", f))

    def _again(self, failure: Failure, piece: Batch, journal: str | None, n: int) -> None:
        """Nothing was acknowledged, so nothing is lost: the same batch, until the database takes it."""
        if failure.check(Unstorable):
            self._take_apart(piece, failure.getErrorMessage())
            return
        if n <= 3 or n % 10 == 0:
            log.warn("recording {count} outcomes, attempt {n}: {why}", count=len(piece.rows), n=n, why=failure.getErrorMessage())
        self._clock.callLater(min(5.0, 0.2 * n), self._attempt, piece, journal, n + 1)

    def _take_apart(self, piece: Batch, why: str) -> None:
        """The one message at fault must not hold up the others, nor be sent again for want of a recorded state."""
        halves = piece.halves()
        if halves is not None:
            self._left[:1] = halves
        elif piece.strip():
            self.set_aside += piece.stripped == 1
            log.error("outcome of {id}, without its details now: {why}", id=piece.ids(), why=why)
        else:
            log.error("outcome of {id} set aside: {rows}: {why}", id=piece.ids(), rows=list(piece.rows.values()), why=why)
            piece.forget()
        self._write()

    @staticmethod
    def _guarded(f: Callable[..., object], *arguments: object) -> None:
        """One that fails keeps nobody else from hearing of the commit."""
        try:
            f(*arguments)
        except Exception:
            log.failure("after the commit of outcomes")

    def _committed(self, result: Any, piece: Batch) -> None:
        self._left.pop(0)
        if piece.merges and result[0][-1]:
            self._guarded(self._forwards.wake, result[0][-1])
        if piece.forwards:
            entry = JournalEntry(piece.journal_id, len(piece.forwards))
            for f in piece.forwards:
                f.journal = entry
            self._guarded(self._forwards.forward, piece.forwards)
        elif piece.journaled:
            self._guarded(self._forwards.settle, piece.journal_id)
        if piece.outbox:
            self._guarded(self.kept, {row["u"] for row in piece.outbox})
        if piece.callbacks:
            self._guarded(self._wake)
        if piece.again:
            self._guarded(self.routed_again)
        self._write()

    def _over(self) -> None:
        """The whole batch is committed."""
        batch, self._busy = self._busy, None
        assert batch is not None
        if batch.sent:
            self._notes.committed(batch.sent)
        for link, sequences in batch.acks.items():
            self._guarded(link.acknowledge, sequences)
        for then in batch.then:
            self._guarded(then)
        if self._scheduled:
            return
        if self._next.begun:
            self._flush()
            return
        idle, self._idle = self._idle, []
        for d in idle:
            d.callback(None)
