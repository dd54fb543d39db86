"""A batch of outcomes: what is written in one transaction, and what follows its commit. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import orjson

from protei_bulk.model import lifecycle
from protei_bulk.model.message import Message

Row = dict[str, Any]
Tlvs = dict[int, bytes]


class Link(Protocol):
    """The SMSC connection a receipt came by."""

    def acknowledge(self, sequences: list[int]) -> None: ...


class JournalEntry:
    """A committed batch of receipts; its row goes once every ESME has acknowledged its part."""

    __slots__ = ("id", "left")

    def __init__(self, id: int, left: int) -> None:
        self.id, self.left = id, left


class Forward:
    """A receipt on its way to an ESME; where `mo` is set, a part of a message from a mobile.

    `payload` is what is not usual of a receipt, kept as JSON: n, k how many short messages there were and how many arrived; t TLVs in
    hexadecimal by tag; c 1 where the error is a command_status; of parts that have one receipt, x their first words, s when submitted.
    """

    __slots__ = ("done_at", "err", "journal", "message", "mo", "outbox_id", "payload", "stat")

    def __init__(self, message: Message, stat: str, err: str, done_at: float, payload: Row | None = None) -> None:
        self.message, self.stat, self.err, self.done_at = message, stat, err, done_at
        self.journal: JournalEntry | None = None
        self.outbox_id = 0
        self.payload = payload
        self.mo: Any = None


def details(m: Message, stat: str, tlvs: Tlvs | None, own: bool = False) -> Row | None:
    """What is not usual of a receipt: see Forward."""
    found: Row = {}
    if own:
        found["c"] = 1
    if m.parts > 1 or m.segments > 1:
        found["n"] = count = m.parts if m.parts > 1 else m.segments
        results = m.part_results or {}
        found["k"] = count if stat == "DELIVRD" else sum(1 for r in results.values() if r == lifecycle.DELIVERED)
    if tlvs:
        found["t"] = {str(tag): value.hex() for tag, value in tlvs.items()}
    return found or None


class Batch:
    """`acks`, `then`, `sent` and `waiting` are of the whole batch; everything else belongs to one message or another."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.parts: dict[tuple[str, int], Row] = {}
        self.forwards: list[Forward] = []
        self.outbox: list[Row] = []
        self.callbacks: list[Row] = []
        self.dequeue: list[str] = []
        self.again: dict[str, Row] = {}  # messages that an SMSC took in vain: see route_again() in the schema
        self.merges: dict[str, str] = {}  # message -> the long message of which it is a part, where that has one receipt
        self.acks: dict[Link, list[int]] = {}
        self.then: list[Callable[[], None]] = []
        self.sent = 0
        self.at = 0.0  # when the first of it was recorded: near enough for all
        self.waiting: list[Message] = []
        self.journal_id = 0
        self.stripped = 0

    @property
    def begun(self) -> bool:
        """Whether anything waits in it."""
        return bool(self.rows or self.acks or self.parts or self.forwards or self.then or self.dequeue or self.again)

    @property
    def journaled(self) -> bool:
        """Whether it leaves something that must not be left twice: then its row in the journal tells a batch that comes again."""
        return bool(self.forwards or self.outbox or self.callbacks)

    @property
    def written(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.rows or self.parts or self.dequeue or self.again or self.journaled)

    def journal(self) -> str | None:
        """The receipts that go to ESMEs now, as the journal row holds them."""
        if not self.journaled:
            return None
        return orjson.dumps([
            [m.id, m.user_id, f.stat, f.err] if f.payload is None else [m.id, m.user_id, f.stat, f.err, f.payload]
            for f in self.forwards for m in (f.message,)
        ]).decode()  # fmt: skip

    def ids(self) -> list[str]:
        """The messages that it is about."""
        found = [*self.rows, *(id for id, _ in self.parts), *(f.message.id for f in self.forwards)]
        found += [row["i"] for row in (*self.outbox, *self.callbacks)]
        found += [*self.merges, *self.again]
        return list(dict.fromkeys([*found, *self.dequeue]))

    def halves(self) -> tuple[Batch, Batch] | None:
        """The same in two; all that concerns one message stays together. None where that is one message only."""
        ids = self.ids()
        if len(ids) < 2:
            return None
        mine = frozenset(ids[: len(ids) // 2])
        first, second = Batch(), Batch()
        for half, has in ((first, mine.__contains__), (second, lambda id: id not in mine)):
            half.rows = {id: row for id, row in self.rows.items() if has(id)}
            half.parts = {key: row for key, row in self.parts.items() if has(key[0])}
            half.forwards = [f for f in self.forwards if has(f.message.id)]
            half.outbox = [row for row in self.outbox if has(row["i"])]
            half.callbacks = [row for row in self.callbacks if has(row["i"])]
            half.dequeue = [id for id in self.dequeue if has(id)]
            half.again = {id: row for id, row in self.again.items() if has(id)}
            half.merges = {id: long for id, long in self.merges.items() if has(id)}
        return first, second

    def strip(self) -> bool:
        """Leaves what must be known in any case, first with the callbacks, then without; False where it was stripped twice already.

        That is the state, and the receipt without its error code.
        """
        self.stripped += 1
        self.rows = {id: {"i": id, "z": row["z"]} for id, row in self.rows.items()}
        self.parts.clear()
        for row in self.outbox:
            row["e"] = ""
            row.pop("p", None)
        for f in self.forwards:
            f.err, f.payload = "", None
        if self.stripped == 2:
            self.callbacks.clear()
        return self.stripped < 3

    def forget(self) -> None:
        """Leaves nothing to write."""
        for what in (self.rows, self.parts, self.forwards, self.outbox, self.callbacks, self.dequeue, self.merges, self.again):
            what.clear()
