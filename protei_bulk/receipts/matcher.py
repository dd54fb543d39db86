"""Finds the message behind a receipt: in memory, in the database, or later.

A receipt may come before the submit_sm_resp that names its message, by another bind,
twice, or days late. One that nobody knows is parked; the submit_sm_resp, or a look
every so often, takes it up again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from protei_bulk.model import ids, lifecycle
from protei_bulk.model.message import Message
from protei_bulk.receipts.ids import FORMS, variants
from protei_bulk.receipts.outcomes import Clock, Link, Outcomes, Part
from protei_bulk.receipts.parked import Parked, ParkedRow, Table, Tlvs

log = Logger()

_LOOK_BACK_DAYS = 7
_LOOK_UP_MOST = 500
_MAX_UNKNOWN = 50_000
_DONE = 50_000


class Finds(Protocol):
    def find_by_smsc_ids(self, wanted: list[tuple[str, str]], since: str) -> Deferred[list[tuple[str, str, Message, str, int]]]: ...

    def part_states(self, message_id: str) -> Deferred[list[tuple[int, str, str, str]]]: ...


class _Unknown:
    __slots__ = ("err", "id", "link", "sequence", "smsc", "stat", "tlvs")

    def __init__(self, smsc: str, id: str, stat: str, err: str, link: Link | None, sequence: int, tlvs: Tlvs | None = None) -> None:
        self.smsc, self.id, self.stat, self.err, self.link, self.sequence, self.tlvs = smsc, id, stat, err, link, sequence, tlvs

    @property
    def row(self) -> tuple[Any, ...]:
        """As the table of parked receipts has it."""
        row = (self.smsc, self.id, self.stat, self.err)
        return (*row, {str(tag): value.hex() for tag, value in self.tlvs.items()}) if self.tlvs else row


class DirectReceipt:
    """Stands for the link of a receipt that came over HTTP: `committed` fires where a deliver_sm_resp would go out."""

    def __init__(self) -> None:
        self.committed: Deferred[bool] = Deferred()

    def acknowledge(self, sequences: list[int]) -> None:
        if not self.committed.called:
            self.committed.callback(True)


class _Recent:
    """The last messages that one SMSC took, by its id: two generations, so that forgetting costs nothing.

    Ids whose message is done stay known for a while: a receipt that comes twice may do so before the first is committed.
    """

    __slots__ = ("done", "done_before", "half", "old", "young")

    def __init__(self, most: int) -> None:
        self.half = max(1, most // 2)
        self.young: dict[str, Message | Part] = {}
        self.old: dict[str, Message | Part] = {}
        self.done: set[str] = set()
        self.done_before: set[str] = set()

    def put(self, key: str, entry: Message | Part) -> None:
        self.young[key] = entry
        if len(self.young) >= self.half:
            self.old, self.young = self.young, {}

    def get(self, key: str) -> Message | Part | None:
        found = self.young.get(key)
        return found if found is not None else self.old.get(key)

    def drop(self, key: str) -> None:
        if self.young.pop(key, None) is None:
            self.old.pop(key, None)
        self.done.add(key)
        if len(self.done) >= _DONE:
            self.done_before, self.done = self.done, set()

    def is_done(self, key: str) -> bool:
        return key in self.done or key in self.done_before


def _joined(
    rows: list[tuple[str, str, Message, str, int]], known: dict[tuple[str, str], tuple[Message, str, int]]
) -> dict[str, Message]:
    """Of messages found, those that went out as one with others: by their ids, what stands for all that are not done."""
    together: dict[str, Message] = {}
    for smsc, x, m, status, _ in rows:
        hit = known[smsc, x][0]
        if m.long is None or m.id == hit.id or hit.long is None or hit.long.of.id != m.long.of.id or status in lifecycle.FINAL:
            continue
        whole = together.get(hit.id)
        if whole is None:
            whole = together[hit.id] = Message()
            whole.joined = (hit,)
        if all(part.id != m.id for part in whole.joined):
            whole.joined += (m,)
    return together


class Matcher:
    """`memory` bounds the messages remembered for each SMSC."""

    def __init__(self, outcomes: Outcomes, finds: Finds, parked: Table, clock: Clock, *, memory: int = 200_000) -> None:
        self._outcomes, self._finds, self._clock = outcomes, finds, clock
        self._memory = memory
        self._recent: dict[str, _Recent] = {}
        self._forms: dict[str, tuple[Callable[[str], str], Callable[[str], str]]] = {}
        self._unknown: list[_Unknown] = []
        self._looking = False
        self._idle: list[Deferred[None]] = []
        self._parked = Parked(parked, clock, outcomes.after_commit)
        self._early = self._parked.young
        self.unmatched = 0

    def serve(self, smsc: str, form: str) -> None:
        """Take receipts of an SMSC whose ids are written as setting `message_id` says."""
        self._forms[smsc] = FORMS[form]
        self._recent.setdefault(smsc, _Recent(self._memory))

    def sent(self, smsc: str, id: str, entry: Message | Part) -> None:
        """An SMSC took a message under this id (in the form of its receipts); a quicker receipt is applied now."""
        m = entry.message if type(entry) is Part else entry
        assert isinstance(m, Message)
        if m.joined:
            for part in m.joined:
                self._outcomes.sent(part, id, 0)
        else:
            self._outcomes.sent(m, id, entry.number if type(entry) is Part else 0)
        if m.registered or m.dlr_url or type(entry) is Part:
            self._recent[smsc].put(id, entry)
        if self._early and smsc in self._early:
            self._unpark(smsc, id, entry)

    def receipt(self, smsc: str, id: str, stat: str, err: str, link: Link | None, sequence: int, tlvs: Tlvs | None = None) -> None:
        """A receipt came; `link` gets its deliver_sm_resp once what it says is committed. `tlvs`: what it says beside."""
        key = self._forms[smsc][1](id)
        recent = self._recent[smsc]
        entry = recent.get(key)
        if entry is None:
            if link is not None and recent.is_done(key):
                self._outcomes.acknowledge(link, sequence)
                return
            self._look_up(_Unknown(smsc, key, stat, err, link, sequence, tlvs))
        elif self._outcomes.receipt(entry, stat, err, link, sequence, tlvs):
            recent.drop(key)

    # --- not in memory

    def _look_up(self, unknown: _Unknown) -> None:
        if len(self._unknown) >= _MAX_UNKNOWN:
            return  # not acknowledged: the SMSC keeps it and sends it again
        self._unknown.append(unknown)
        if not self._looking:
            self._looking = True
            # After the commit of what is recorded so far: a receipt that comes twice finds its message final.
            self._outcomes.after_commit(self._look)

    def _look(self) -> None:
        batch, self._unknown = self._unknown[:_LOOK_UP_MOST], self._unknown[_LOOK_UP_MOST:]
        wanted: dict[tuple[str, str], None] = {}
        for u in batch:
            wanted[u.smsc, u.id] = None
            for v in variants(u.id):
                wanted[u.smsc, v] = None
        since = ids.first_at(int((self._clock.seconds() - _LOOK_BACK_DAYS * 86_400) * 1000))
        d = maybeDeferred(self._finds.find_by_smsc_ids, list(wanted), since)
        d.addCallbacks(self._found, self._not_asked, (batch,), {}, (batch,))
        d.addErrback(lambda f: log.failure("matching receipts", f))
        d.addBoth(self._looked)

    def _looked(self, _: object) -> None:
        if self._unknown:
            self._outcomes.after_commit(self._look)
            return
        self._looking = False
        idle, self._idle = self._idle, []
        for d in idle:
            d.callback(None)

    def _not_asked(self, failure: Failure, batch: list[_Unknown]) -> Deferred[None]:
        log.warn("looking up {count} receipts: {why}", count=len(batch), why=failure.getErrorMessage())
        self._unknown = batch + self._unknown
        wait: Deferred[None] = Deferred()
        self._clock.callLater(1.0, wait.callback, None)
        return wait

    def _found(self, rows: list[tuple[str, str, Message, str, int]], batch: list[_Unknown]) -> None:
        # An SMSC may use its ids again: the youngest message that is not done has it.
        rows = sorted(rows, key=lambda r: (r[3] not in lifecycle.FINAL, r[2].id))
        known = {(smsc, x): (m, status, part) for smsc, x, m, status, part in rows}
        joined = _joined(rows, known)
        lost: list[_Unknown] = []
        settled: list[_Unknown] = []
        for u in batch:
            recent = self._recent[u.smsc]
            entry = recent.get(u.id)  # its submit_sm_resp may have come meanwhile
            if entry is not None:
                self._apply(u, entry)
                settled.append(u)
                continue
            hit = next((known[u.smsc, v] for v in [u.id, *variants(u.id)] if (u.smsc, v) in known), None)
            if recent.is_done(u.id) or (hit is not None and hit[1] in lifecycle.FINAL):  # said already
                settled.append(u)
                if u.link is not None:
                    self._outcomes.acknowledge(u.link, u.sequence)
            elif hit is None:
                lost.append(u)
            elif hit[2]:
                self._part_found(hit[0], hit[2], u)
            else:
                settled.append(u)
                self._apply(u, joined.get(hit[0].id, hit[0]))
        self._settled(settled)
        if lost:
            self._park(lost)

    def _apply(self, u: _Unknown, entry: Message | Part) -> None:
        if self._outcomes.receipt(entry, u.stat, u.err, u.link, u.sequence, u.tlvs):
            self._recent[u.smsc].drop(u.id)

    def _part_found(self, m: Message, part: int, u: _Unknown) -> None:
        d = self._finds.part_states(m.id)

        def apply(states: list[tuple[int, str, str, str]]) -> None:
            recent = self._recent[u.smsc]
            entry = next((e for e in map(recent.get, (u.id, *variants(u.id))) if e is not None), None)
            self._settled([u])
            if entry is not None:  # the receipt of another part came at the same time: they add up on one object
                self._apply(u, entry)
                return
            if recent.is_done(u.id):  # the same came twice
                if u.link is not None:
                    self._outcomes.acknowledge(u.link, u.sequence)
                return
            m.part_results = {n: status for n, status, _, _ in states}
            m.part_errors = {n: err for n, _, _, err in states}
            for n, status, id, _ in states:
                if status not in lifecycle.FINAL and n != part:
                    recent.put(id, Part(m, n, b"", b""))
            self._apply(u, Part(m, part, b"", b""))

        d.addCallbacks(apply, lambda f: self._look_up(u))

    # --- parked

    def _settled(self, found: list[_Unknown]) -> None:
        parked = [(u.smsc, u.id) for u in found if u.link is None]  # they came out of the table
        if parked:
            self._parked.settled(parked)

    def _park(self, lost: list[_Unknown]) -> None:
        lost = [u for u in lost if u.link is not None]  # the others are parked already
        if not lost:
            return
        self.unmatched += len(lost)
        for u in lost:
            self._parked.remember(u.smsc, u.id, u.stat, u.err, u.tlvs)

        def acknowledge(_: object) -> None:
            for u in lost:
                if u.link is not None:
                    self._outcomes.acknowledge(u.link, u.sequence)

        def failed(f: Failure) -> None:
            log.warn("parking receipts: {why}", why=f.getErrorMessage())
            for u in lost:
                self._look_up(u)

        self._parked.keep([u.row for u in lost]).addCallbacks(acknowledge, failed)

    def _unpark(self, smsc: str, key: str, entry: Message | Part) -> None:
        found = self._parked.take(smsc, key)
        if found is not None:
            id, stat, err, tlvs = found
            if self._outcomes.receipt(entry, stat, err, None, 0, tlvs):
                self._recent[smsc].drop(key)
            self._parked.settled([(smsc, id)])

    def rematch(self) -> Deferred[None]:
        """Tries what is parked again: called every so often, and at the start. Fires once that is looked up."""

        def again(rows: list[ParkedRow]) -> Deferred[None]:
            for _, smsc, id, stat, err, *more in rows:
                if smsc in self._forms:
                    tlvs = {int(tag): bytes.fromhex(value) for tag, value in (more[0] or {}).items()} if more else None
                    self._look_up(_Unknown(smsc, id, stat, err, None, 0, tlvs or None))
            if not self._looking:
                return succeed(None)
            looked: Deferred[None] = Deferred()
            self._idle.append(looked)
            return looked

        return Deferred.fromCoroutine(self._parked.look(again))
