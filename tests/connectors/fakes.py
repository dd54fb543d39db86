"""Stores without a database, and an SMSC's end of a connection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from protei_bulk.connectors.connector import Connector
from protei_bulk.connectors.fleet import Fleet
from protei_bulk.connectors.journal import SentJournal
from protei_bulk.connectors.link import Link
from protei_bulk.model.faults import Unstorable
from protei_bulk.model.message import Message
from protei_bulk.receipts.matcher import Matcher
from protei_bulk.receipts.outcomes import Forward, Outcomes
from protei_bulk.settings import Smsc
from protei_bulk.smpp import commands, fast
from protei_bulk.smpp.codec import Pdu, decode, encode

Row = dict[str, Any]


class Unavailable(Exception):
    """The database cannot be reached."""


class FakeStore:
    """Notes what it is asked. `hold` keeps the answers back until `release`; `broken` fails them."""

    def __init__(self) -> None:
        self.broken = False
        self.poison: set[str] = set()  # messages, or texts, of which no batch is taken
        self.hold = False
        self.held: list[tuple[Deferred[Any], Any]] = []
        self.calls: list[tuple[str, Any]] = []
        self.rows: list[Row] = []
        self.parts: list[Row] = []
        self.outbox: list[Row] = []
        self.callbacks: list[Row] = []
        self.dequeued: list[str] = []
        self.merges: list[str] = []
        self.again: list[Row] = []
        self.journals: list[str] = []
        self.whole: list[int] | None = None  # users who have a receipt in the outbox by a merge
        self.queue: list[Row] = []
        self.claimable: list[Message] = []
        self.known: list[tuple[str, str, Message, str, int]] = []
        self.part_rows: list[tuple[int, str, str, str]] = []
        self.parked_rows: list[tuple[str, str, str, str]] = []

    def _answer(self, name: str, arguments: Any, result: Any) -> Deferred[Any]:
        self.calls.append((name, arguments))
        if self.broken:
            return fail(Unavailable(name))
        if self.hold:
            d: Deferred[Any] = Deferred()
            self.held.append((d, result))
            return d
        return succeed(result)

    def release(self) -> None:
        held, self.held = self.held, []
        for d, result in held:
            d.callback(result)

    def named(self, name: str) -> list[Any]:
        return [a for n, a in self.calls if n == name]

    def advance(self, rows: list[Row] | None, journal_id: int, journal: str | None, outbox: list[Row], callbacks: list[Row],
                dequeue: list[str], parts: list[Row], merges: Sequence[str] = (), again: Sequence[Row] = ()) -> Deferred[Any]:  # fmt: skip
        told = (rows, journal, outbox, callbacks, dequeue, parts)
        if any(p in repr(told) for p in self.poison):
            self.calls.append(("refused", rows))
            return fail(Unstorable("StringDataRightTruncation 22001"))
        if not self.broken:
            self.rows += rows or []
            self.parts += parts
            self.outbox += outbox
            self.callbacks += callbacks
            self.dequeued += dequeue
            self.merges += merges
            self.again += again
            if journal is not None:
                self.journals.append(journal)
        return self._answer("advance", rows, [(1, self.whole)])

    def enqueue(self, rows: list[Row]) -> Deferred[int]:
        if not self.broken:
            self.queue += rows
        return self._answer("enqueue", rows, len(rows))

    def claim(self, smsc_id: str, most: int) -> Deferred[list[Message]]:
        taken, self.claimable = self.claimable[:most], self.claimable[most:]
        return self._answer("claim", smsc_id, taken)

    def find_by_smsc_ids(self, wanted: list[tuple[str, str]], since: str) -> Deferred[list[tuple[str, str, Message, str, int]]]:
        return self._answer("find", wanted, [k for k in self.known if (k[0], k[1]) in wanted])

    def part_states(self, message_id: str) -> Deferred[list[tuple[int, str, str, str]]]:
        return self._answer("part_states", message_id, list(self.part_rows))

    def park(self, rows: list[tuple[str, str, str, str]]) -> Deferred[int]:
        if not self.broken:
            self.parked_rows += rows
        return self._answer("park", rows, len(rows))

    def unpark(self, rows: list[tuple[str, str]]) -> Deferred[int]:
        self.parked_rows = [r for r in self.parked_rows if (r[0], r[1]) not in rows]
        return self._answer("unpark", rows, len(rows))

    def parked(self, after: int | None, most: int) -> Deferred[list[tuple[int, str, str, str, str]]]:
        """Rows are numbered from 1 on, as if none had gone before."""
        rows = [(n, *row) for n, row in enumerate(self.parked_rows, 1)]
        found = rows[: -most - 1 : -1] if after is None else [r for r in rows if r[0] > after][:most]
        return self._answer("parked", after, found)

    def status(self, id: str) -> str | None:
        return next((r["z"] for r in reversed(self.rows) if r["i"] == id), None)


class FakeForwards:
    def __init__(self) -> None:
        self.here = True
        self.settled: list[int] = []
        self.woken: list[int] = []
        self.receipts: list[Forward] = []

    def reachable(self, user_id: int) -> bool:
        return self.here

    def forward(self, receipts: list[Forward]) -> None:
        self.receipts += receipts

    def wake(self, user_ids: Iterable[int]) -> None:
        self.woken += user_ids

    def settle(self, journal_id: int) -> None:
        self.settled.append(journal_id)


class Notes:
    def __init__(self) -> None:
        self.count = 0

    def committed(self, entries: int) -> None:
        self.count += entries


class Wakes:
    count = 0

    def __call__(self) -> None:
        self.count += 1


def payload(*fields: object) -> Row:
    return {"fields": fields}


class Wire(StringTransport):
    """The SMSC's end: reads what the link wrote."""

    aborted = False
    closed = False
    no_delay = False

    def __init__(self) -> None:
        super().__init__()
        self.protocol: Any = None

    def setTcpNoDelay(self, on: bool) -> None:  # noqa: N802
        self.no_delay = on

    def loseConnection(self) -> None:  # noqa: N802
        super().loseConnection()
        self._end(ConnectionDone())

    def abortConnection(self) -> None:  # noqa: N802
        self.aborted = True
        self._end(ConnectionAborted())

    def _end(self, why: Exception) -> None:
        if not self.closed:
            self.closed = True
            self.protocol.connectionLost(Failure(why))

    def pdus(self) -> list[Pdu]:
        """What was written since the last call."""
        data = self.value()
        self.clear()
        found = []
        while data:
            assert len(data) >= 16, data
            length = int.from_bytes(data[:4], "big")
            found.append(decode(data[:length]))
            data = data[length:]
        return found

    def submits(self) -> list[Pdu]:
        return [p for p in self.pdus() if p.command_id == commands.SUBMIT_SM]

    def say(self, *octets: bytes) -> None:
        self.protocol.dataReceived(b"".join(octets))

    def bind_ok(self, status: int = 0) -> None:
        self.say(encode(Pdu(commands.BIND_TRANSCEIVER | commands.RESP, status, 1, {"system_id": "smsc"})))


def took(sequence: int, id: str) -> bytes:
    return fast.submit_resp(sequence, id)


def refuses(sequence: int, status: int) -> bytes:
    return fast.header(commands.SUBMIT_SM | commands.RESP, status, sequence)


def receipt(sequence: int, id: str, stat: str = "DELIVRD", err: str = "000") -> bytes:
    text = f"id:{id} sub:001 dlvrd:001 submit date:2601010000 done date:2601010001 stat:{stat} err:{err} text:".encode()
    return fast.encode_sm(commands.DELIVER_SM, sequence, b"", 1, 1, "962790000000", 0, 0, "Shop", 4, 0, 0, b"", b"", 0, 0, 0, 0, text)


class FakeEndpoint:
    """Connects at once; `wires` holds the SMSC's ends."""

    def __init__(self) -> None:
        self.wires: list[Wire] = []

    def connect(self, factory: Any) -> Deferred[Any]:
        protocol = factory.buildProtocol(None)
        wire = Wire()
        wire.protocol = protocol
        self.wires.append(wire)
        protocol.makeConnection(wire)
        return succeed(protocol)


class Node:
    """A fleet over fakes; connectors by `connector`."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.clock.advance(1_800_000_000)
        self.store = FakeStore()
        self.forwards = FakeForwards()
        self.notes = Notes()
        self.wakes = Wakes()
        self.outcomes = Outcomes(self.store, self.forwards, self.notes, self.clock, payload, self.wakes)
        self.matcher = Matcher(self.outcomes, self.store, self.store, self.clock)
        self.journal = SentJournal(folder)
        self.journal.open()
        self.fleet = Fleet()
        self.endpoints: dict[str, FakeEndpoint] = {}

    def connector(self, id: str = "a", *, start: bool = True, chance: Callable[[], float] = lambda: 0.5, **settings: Any) -> Connector:
        endpoint = self.endpoints[id] = FakeEndpoint()
        c = Connector(
            Smsc(id=id, host="smsc", port=2775, **settings), self.clock, lambda: endpoint,  # type: ignore[arg-type,return-value]
            self.outcomes, self.matcher, self.journal, self.store, self.fleet.move, chance=chance,
        )  # fmt: skip
        self.fleet.add([c])
        if start:
            c.start()
        return c

    def wire(self, id: str = "a", n: int = -1) -> Wire:
        return self.endpoints[id].wires[n]

    def up(self, id: str = "a", **settings: Any) -> tuple[Connector, Wire]:
        """A connector whose binds stand."""
        c = self.connector(id, **settings)
        for wire in self.endpoints[id].wires:
            wire.bind_ok()
            wire.clear()
        return c, self.wire(id)

    def turn(self, seconds: float = 0.0) -> None:
        self.clock.advance(seconds)
        self.clock.advance(0)


def message(n: int, *, smsc: str = "a", candidates: tuple[str, ...] = ("a",), **values: Any) -> Message:
    m = Message()
    m.id = f"MSG-{n:012d}"
    m.source, m.dest, m.body, m.text = "Shop", f"96279{n:07d}", b"hello", "hello"
    m.user_id, m.customer_id, m.campaign_id = 7, 3, 1
    m.smsc, m.candidates, m.registered = smsc, candidates, 1
    for name, value in values.items():
        setattr(m, name, value)
    return m


def link_of(wire: Wire) -> Link:
    link = wire.protocol
    assert isinstance(link, Link)
    return link
