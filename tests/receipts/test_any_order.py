"""Whatever order answers and receipts come in, twice or over a restart: each message is told once, and rightly."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.model import lifecycle
from protei_bulk.model.long import LongMessage, LongPart
from protei_bulk.model.message import Message
from protei_bulk.receipts.matcher import Matcher
from protei_bulk.receipts.outcomes import _WORST, Outcomes, Part
from tests.connectors.fakes import FakeStore, Node, Row, message, payload

_TOGETHER = 7  # from here on the numbers of messages that went out as one
_STATES = ("DELIVRD", "UNDELIV", "EXPIRED", "REJECTD", "ENROUTE")


class Remembering(FakeStore):
    """Holds what it was told, as the schema does."""

    def __init__(self) -> None:
        super().__init__()
        self.state: dict[str, Row] = {}
        self.part_state: dict[tuple[str, int], Row] = {}
        self.made: dict[str, Message] = {}

    def advance(self, rows: Any, journal_id: int, journal: Any, outbox: Any, callbacks: Any, dequeue: Any, parts: Any,
                *more: Any, **named: Any) -> Deferred[Any]:  # fmt: skip
        for row in rows or ():
            known = self.state.setdefault(row["i"], {"z": "QUEUED"})
            if known["z"] not in lifecycle.FINAL:
                known.update({k: v for k, v in row.items() if v is not None})
        for row in parts:
            known = self.part_state.setdefault((row["i"], row["n"]), {"z": "SENT"})
            z = row["z"] if known["z"] == "SENT" else known["z"]
            known.update({**row, "z": z})
        return super().advance(rows, journal_id, journal, outbox, callbacks, dequeue, parts, *more, **named)

    def find_by_smsc_ids(self, wanted: list[tuple[str, str]], since: str) -> Deferred[list[tuple[str, str, Message, str, int]]]:
        """Messages as new objects: nothing is left of what was in memory."""
        found = []
        for id, row in self.state.items():
            if (row.get("q"), row.get("x")) in wanted and self.made[id].segments == 1:
                found.append((row["q"], row["x"], self._read(id), row["z"], 0))
        for (id, n), row in self.part_state.items():
            if (row.get("q"), row.get("x")) in wanted:
                found.append((row["q"], row["x"], self._read(id), self.state.get(id, {"z": "QUEUED"})["z"], n))
        return succeed(found)

    def part_states(self, message_id: str) -> Deferred[list[tuple[int, str, str, str]]]:
        rows = [(n, r["z"], r.get("x", ""), r.get("e", "")) for (id, n), r in self.part_state.items() if id == message_id]
        return succeed(rows)

    def _read(self, id: str) -> Message:
        m, made = Message(), self.made[id]
        for name in ("id", "user_id", "channel", "registered", "segments", "parts", "smsc", "long"):
            setattr(m, name, getattr(made, name))
        return m


@st.composite
def _histories(draw: st.DrawFn) -> tuple[list[tuple[str, int, int]], list[tuple[str, int]]]:
    """SMSC's ids as (id, message, part), of whole messages, of some in parts, of some that went out as one; and what happens."""
    ids: list[tuple[str, int, int]] = []
    for n in range(1, draw(st.integers(1, 4)) + 1):
        parts = draw(st.sampled_from((0, 0, 2, 3)))
        ids += [(f"x{n}-{part}", n, part) for part in (range(1, parts + 1) if parts else (0,))]
    if draw(st.booleans()):
        ids += [("together", n, 0) for n in range(_TOGETHER, _TOGETHER + draw(st.integers(2, 3)))]
    names = sorted({id for id, _, _ in ids})
    states = {id: draw(st.sampled_from(_STATES[:4])) for id in names}
    events = [("answer", i) for i in range(len(names))] + [(states[id], i) for i, id in enumerate(names)]
    events += [(states[names[i]], i) for i in draw(st.lists(st.integers(0, len(names) - 1), max_size=3))]
    events += [("ENROUTE", i) for i in draw(st.lists(st.integers(0, len(names) - 1), max_size=2))]
    events += [(what, 0) for what in draw(st.lists(st.sampled_from(("turn", "restart")), max_size=4))]
    return ids, draw(st.permutations(events))


class AnyOrder(SynchronousTestCase):
    @settings(max_examples=300, deadline=None)
    @given(_histories())
    def test_each_is_told_once(self, history: tuple[list[tuple[str, int, int]], list[tuple[str, int]]]) -> None:
        ids, events = history
        with tempfile.TemporaryDirectory() as folder:
            node = Node(Path(folder))
            try:
                self._play(node, ids, events)
            finally:
                node.journal.close()

    def _play(self, node: Node, ids: list[tuple[str, int, int]], events: list[tuple[str, int]]) -> None:
        store = node.store = Remembering()
        self._begin(node)
        counts = {n: max(part for _, m, part in ids if m == n) for _, n, _ in ids}
        messages = {n: message(n, segments=counts[n] or 1) for n in counts}
        store.made = {m.id: m for m in messages.values()}
        of = LongMessage("MSG-7")
        for n, m in messages.items():
            if n >= _TOGETHER:
                m.long = LongPart(of, n, len(messages))
        names = sorted({id for id, _, _ in ids})
        final: dict[str, str] = {}
        answered: set[str] = set()
        for what, i in events:
            id = names[i]
            if what == "turn":
                self._settle(node)
            elif what == "restart":
                self._settle(node)
                if len(answered) == len(names):  # what has no answer before the end goes out anew, under another id
                    self._begin(node)
            elif what == "answer":
                answered.add(id)
                node.matcher.sent("a", id, self._entry(id, ids, messages))
            else:
                if what != "ENROUTE":
                    final[id] = what
                node.matcher.receipt("a", id, what, "000" if what == "DELIVRD" else "005", _Link(), 1)
        self._settle(node)
        for _ in range(2):  # what was parked is looked at again
            node.matcher.rematch()
            self._settle(node)
        told: dict[str, list[str]] = {}
        for f in node.forwards.receipts:
            told.setdefault(f.message.id, []).append(f.stat)
        expected = {}
        for n, m in messages.items():
            states = [lifecycle.FROM_RECEIPT[final[id]] for id, of, _ in ids if of == n]
            worst = next(w for w in _WORST if w in states)
            expected[m.id] = [lifecycle.TO_RECEIPT[worst]]
            self.assertEqual(store.state[m.id]["z"], worst)
        self.assertEqual(told, expected)
        self.assertEqual(store.parked_rows, [])

    def _entry(self, id: str, ids: list[tuple[str, int, int]], messages: dict[int, Message]) -> Message | Part:
        mine = [(messages[n], part) for name, n, part in ids if name == id]
        if len(mine) > 1:
            whole = Message()
            whole.registered, whole.joined = 1, tuple(m for m, _ in mine)
            return whole
        m, part = mine[0]
        return Part(m, part, b"", b"") if part else m

    def _begin(self, node: Node) -> None:
        """As a process that has just started."""
        node.outcomes = Outcomes(node.store, node.forwards, node.notes, node.clock, payload, node.wakes)
        node.matcher = Matcher(node.outcomes, node.store, node.store, node.clock)
        node.matcher.serve("a", "text")

    def _settle(self, node: Node) -> None:
        for _ in range(8):
            node.turn()


class _Link:
    def acknowledge(self, sequences: list[int]) -> None:
        pass
