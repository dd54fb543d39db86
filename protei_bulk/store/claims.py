"""Takes messages of an SMSC out of the queue table: urgent ones first, customers by their shares, the old ones of each; each by one node.

A row that was claimed stays in the index until nobody's snapshot can see it any more. While somebody keeps a transaction open,
somewhere in the cluster, those pile up where the next claim would begin, and each claim would walk over all of them. So a claim begins
where the last one of its priority and customer ended. What came behind its back (a retry, another node's slightly older ids) is found by a
claim from the beginning: after one that found too little, and every few seconds, the less often the longer it takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from protei_bulk.model import lifecycle
from protei_bulk.model.message import Message

_SHORT, _LONG = 1.0, 10.0  # seconds between claims from the beginning: where little is found, and in a backlog
_SHARE = 20.0  # of the time; the walk over what is dead takes one part
_FIRST = ("-infinity", "")

_CLAIM = """SELECT {columns}, c.o_attempts, c.o_in_doubt, c.o_refusals, COALESCE(extract(epoch FROM c.o_expires)::float8, 0), c.o_due,
    c.o_priority, c.o_owner, c.o_id
    FROM claim_queue(%s, %s, %s, %s, %s::timestamptz, %s, %s::smallint[], %s::bigint[], %s::text[]) c
    LEFT JOIN LATERAL (SELECT * FROM messages m WHERE m.message_id = c.o_id OFFSET 0) m ON TRUE"""
_READ = "SELECT {columns} FROM messages m WHERE m.message_id = ANY (%s)"


def undo_claim(failure: Failure, db: Any, node: int, mark: int) -> Any:
    """An errback of a claim whose answer was lost: the rows that it may have claimed are anybody's again. Fails as before."""
    undone = db.execute(
        "UPDATE tbl_message_queue SET claimed_by = NULL, claimed_at = NULL WHERE claimed_by = %s"
        " AND claimed_at = 'epoch'::timestamptz + %s * interval '1 microsecond'",
        (node, mark),
    )
    return undone.addCallbacks(lambda _: failure, lambda _: failure)


class _Floor:
    """Of one SMSC: up to where its rows were claimed."""

    __slots__ = ("back", "due", "found", "ids", "next", "whole_took")

    def __init__(self) -> None:
        self.back: list[tuple[int, str]] = []  # (priority, id) put into the table during a claim
        self.ids: dict[tuple[int, int], str] = {}  # by priority and customer
        self.due: tuple[Any, str] = _FIRST
        self.found = False  # the last claim found as many as it asked for
        self.next = 0.0  # when to begin anew
        self.whole_took = 0.0

    def lower(self, priority: int, id: str) -> None:
        """A row of this priority may lie behind where its customer's were claimed: which customer's it is nobody says here."""
        for flow, floor in self.ids.items():
            if flow[0] == priority and id < floor:
                self.ids[flow] = id


class Claims:
    """`read(row)` makes a message of the first `width` values of a row of `columns`; `fence` goes before what claims."""

    def __init__(self, db: Any, node: int, fence: str, columns: str, width: int, read: Callable[[tuple[Any, ...]], Message],
                 clock: Callable[[], float] = time.monotonic) -> None:  # fmt: skip
        self._db, self._node, self._width, self._read, self._clock = db, node, width, read, clock
        self._sql = fence + _CLAIM.replace("{columns}", columns)
        self._reading = _READ.replace("{columns}", columns)
        self._mark = 0
        self._unsure: dict[str, list[int]] = {}  # claims of an SMSC whose answer was lost: they may have happened
        self._floors: dict[str, _Floor] = {}

    def claim(self, smsc: str, most: int) -> Deferred[list[Message]]:
        """Due messages, for this node: see Messages.claim."""
        self._mark = mark = max(self._mark + 1, time.time_ns() // 1000)
        unsure = self._unsure.get(smsc, [])

        def lost(failure: Failure) -> Failure:
            self._unsure.setdefault(smsc, []).append(mark)
            self._floors.pop(smsc, None)
            return failure

        def take(_: object = None) -> Deferred[list[Message]]:
            return self._take(smsc, most, mark).addErrback(lost)

        if not unsure:
            return take()
        released: Deferred[Any] = self._db.execute(
            "UPDATE tbl_message_queue q SET claimed_by = NULL, claimed_at = NULL FROM unnest(%s::bigint[]) AS mark"
            " WHERE q.smsc_id = %s AND q.claimed_by = %s AND q.claimed_at = 'epoch'::timestamptz + mark * interval '1 microsecond'",
            (unsure, smsc, self._node),
        )

        def sure(_: object) -> None:
            self._unsure[smsc] = [n for n in self._unsure[smsc] if n not in unsure]

        return released.addCallback(sure).addCallback(take)

    def forget(self) -> None:
        """Others' rows may be anybody's again: the next claims begin anew."""
        self._floors.clear()

    def put_back(self, rows: list[dict[str, Any]]) -> None:
        """This node has put rows {i id, q smsc, y priority} into the table: they are found by the next claim."""
        for row in rows:
            floor = self._floors.get(row["q"])
            if floor is not None:
                floor.back.append((row["y"], row["i"]))
                floor.lower(row["y"], row["i"])

    def _take(self, smsc: str, most: int, mark: int) -> Deferred[list[Message]]:
        floor = self._floors.get(smsc)
        begun = self._clock()
        whole = floor is None or begun >= floor.next
        if floor is None:
            floor = self._floors[smsc] = _Floor()
        floor.back = []
        ids, due = ({}, _FIRST) if whole else (floor.ids, floor.due)
        flows = ([p for p, _ in ids], [owner for _, owner in ids], list(ids.values()))
        d: Deferred[list[tuple[Any, ...]]] = self._db.query(self._sql, (smsc, self._node, mark, most, *due, *flows))
        return d.addCallback(self._whole).addCallback(self._taken, smsc, floor, most, begun, whole)

    def _whole(self, rows: list[tuple[Any, ...]]) -> Any:
        """With the messages of all rows: what was committed since it began is seen by the claim, but not by the join around it."""
        missing = [r[-1] for r in rows if r[0] is None]
        if not missing:
            return rows
        w = self._width

        def read(found: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
            known = {f[0]: f for f in found}
            return [r if r[0] is not None else (*known[r[-1]], *r[w:]) for r in rows if r[0] is not None or r[-1] in known]

        d: Deferred[list[tuple[Any, ...]]] = self._db.query(self._reading, (missing,))
        return d.addCallback(read)

    def _taken(self, rows: list[tuple[Any, ...]], smsc: str, floor: _Floor, most: int, begun: float, whole: bool) -> Any:
        now = self._clock()
        if whole:
            floor.ids, floor.due = {}, _FIRST
            floor.whole_took = now - begun
        found = len(rows) >= most
        if whole or found != floor.found:
            floor.next = (begun if whole else now) + max(_LONG if found else _SHORT, _SHARE * floor.whole_took)
        floor.found = found
        w = self._width
        messages, over = [], []
        for r in rows:
            m = self._read(r)
            due = r[w + 4]
            if due is not None:
                if floor.due[0] == "-infinity" or (due, m.id) > floor.due:
                    floor.due = due, m.id
            else:
                flow = r[w + 5], r[w + 6]
                floor.ids[flow] = max(m.id, floor.ids.get(flow, ""))
            if r[22] in lifecycle.FINAL:
                over.append(m.id)
                continue
            m.attempts, m.in_doubt, m.queued, m.smsc = r[w], r[w + 1], True, smsc
            m.refusals = r[w + 2]
            m.valid_until = m.valid_until or r[w + 3]
            messages.append(m)
        for priority, id in floor.back:
            floor.lower(priority, id)
        messages.sort(key=lambda m: (-m.priority, m.id))
        if not over:
            return messages
        gone = self._db.execute("DELETE FROM tbl_message_queue WHERE message_id = ANY (%s)", (over,))
        return gone.addBoth(lambda _: messages)  # where it fails they stay claimed, and harm nobody
