"""What each part of a message's way costs the gateway: microseconds of CPU, on one core, one part after the other."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import orjson
from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from protei_bulk.bench.esme import SENDER, TEXT, number
from protei_bulk.channels.smpp.deliver_sm import receipt_pdu
from protei_bulk.channels.smpp.submission import message_of
from protei_bulk.connectors.journal import SentJournal
from protei_bulk.connectors.wire import Encoder
from protei_bulk.guards.checker import EVERYBODY, Checker
from protei_bulk.guards.velocity import Velocity
from protei_bulk.intake.accept import Intake
from protei_bulk.model.account import Account
from protei_bulk.model.ids import IdMaker
from protei_bulk.model.message import Message
from protei_bulk.pacing.lanes import Lane
from protei_bulk.receipts.matcher import Matcher
from protei_bulk.receipts.outcomes import Forward, Outcomes
from protei_bulk.routing.decks import Deck, Rate
from protei_bulk.routing.rules import Router
from protei_bulk.settings import Match, Route, Smsc
from protei_bulk.smpp import commands, fast
from protei_bulk.smpp.framer import Framer
from protei_bulk.smpp.window import Window
from protei_bulk.store.messages import row_of
from protei_bulk.text.receipt import carried, parse_receipt

BATCH = 500  # messages in a batch, as ten full windows of a hundred make them
_ROUNDS = 20
_DAY = "2026-01-01"


class _Holder:
    """Stands for all that waits for others: the database, the fleet, an ESME."""

    def __init__(self) -> None:
        self.batch: list[Message] = []
        self.pending = 0
        self.first_waiting = None
        self.add = self.batch.append

    def place(self, message: Message) -> None:
        message.smsc, message.queued = message.candidates[0], False

    def advance(self, rows: list[dict[str, Any]] | None, *_: Any) -> Deferred[Any]:
        orjson.dumps(rows).decode()  # as store.messages does
        return succeed([(0,)])

    def reachable(self, user_id: int) -> bool:
        return True

    def forward(self, receipts: list[Forward]) -> None:
        self.forwards = receipts

    def settle(self, journal_id: int) -> None:
        """No row of a journal is there."""

    def committed(self, entries: int) -> None:
        """As of the sent journal."""

    def acknowledge(self, sequences: list[int]) -> None:
        """As a link does."""


class Parts:
    """`costs` by the name of a part: the least of several rounds, since other programs only ever add to it."""

    def __init__(self) -> None:
        self.costs: dict[str, float] = {}

    @contextmanager
    def part(self, name: str, each: int = BATCH) -> Iterator[None]:
        began = time.process_time()
        yield
        cost = (time.process_time() - began) / each * 1e6
        self.costs[name] = min(cost, self.costs.get(name, cost))


def measure(rounds: int = _ROUNDS) -> dict[str, float]:
    """Microseconds a message by the name of a part, in the order of a message's way."""
    parts = Parts()
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(Path(folder))
        for _ in range(rounds):
            bench.turn(parts)
        bench.journal.close()
    return parts.costs


class _Bench:
    def __init__(self, folder: Path) -> None:
        self.clock = cast("Any", Clock())
        self.clock.advance(1_800_000_000)
        self.holder = cast("Any", _Holder())
        self.account = Account(1, "bench", 1, allowed_sender_ids=(SENDER,))
        self.guarded = evolve(self.account, duplicate_seconds=60)
        routes = [Route(f"r{n}", ("SMSC1",), 1, Match((str(100 + n),))) for n in range(800)]
        self.rules = Router([*routes, Route("rest", ("SMSC1",), 9)], ["SMSC1"], self.clock.seconds)
        self.router = Router([], ["SMSC1"], self.clock.seconds)
        self.intake = Intake(self.holder, self.router, self.holder, IdMaker(time.time), self.clock, lambda _: self.holder, row_of)
        self.intake._days[1] = (self.intake.calendar.day(self.account.timezone, self.clock.seconds()), 1)
        self.checker = Checker()
        for n in range(100_000):
            self.checker.lists.bar(EVERYBODY, 49_150_000_000 + 7 * n, False, True)
        self.velocity = Velocity()
        self.deck = Deck([Rate("", str(n), Decimal("0.01")) for n in range(100, 1000)], 0.0)
        self.encoder = Encoder(Smsc("SMSC1", "localhost", 1))
        self.outcomes = Outcomes(self.holder, self.holder, self.holder, self.clock, lambda *_: {}, lambda: None)
        self.matcher = Matcher(self.outcomes, self.holder, self.holder, self.clock)
        self.matcher.serve("SMSC1", "text")
        self.journal = SentJournal(folder)
        self.journal.open()
        self.sent = 0

    def turn(self, parts: Parts) -> None:
        """One batch all the way."""
        part, now, holder = parts.part, self.clock.seconds(), self.holder
        self.clock.advance(1.0)
        first, self.sent = self.sent, self.sent + BATCH
        stream = b"".join(
            fast.encode_sm(commands.SUBMIT_SM, n + 1, b"", 5, 0, SENDER, 1, 1, number(first + n), 0, 0, 0, b"", b"", 1, 0, 0, 0, TEXT)
            for n in range(BATCH)
        )
        with part("cut the stream into PDUs"):
            buf, frames = Framer().feed(stream)
        with part("decode submit_sm"):
            fields = [fast.decode_sm(buf, start, end) for _, _, _, start, end in frames]
        with part("make a message of it"):
            batch = [message_of(f, now) for f in fields]
        holder.batch.clear()
        with part("check, route, place"):
            for m in batch:
                self.intake.submit(self.account, m)
        assert len(holder.batch) == BATCH
        with part("route again among 801 rules (*)"):
            for m in batch:
                self.rules.route(self.account, m)
        with part("guards: 100,000 barred, duplicates (*)"):
            for m in batch:
                self.checker.check(self.guarded, m)
        with part("price by a deck of 900 prefixes (*)"):
            for m in batch:
                self.deck.price(m.dest, str)
        with part("row and JSON of the batch"):
            rows = orjson.dumps([row_of(m, _DAY) for m in batch]).decode()
        assert rows
        with part("guard against pumping"):
            self.velocity.count(batch, now, lambda _: "alert")
        with part("encode submit_sm_resp"):
            [fast.submit_resp(n, m.id) for n, m in enumerate(batch)]
        lane = Lane()
        with part("lane in, lane out"):
            for m in batch:
                lane.add(m)
            lane.take(BATCH)
        window: Window[Message] = Window(BATCH)
        with part("encode submit_sm"):
            [self.encoder.submit_sm(m, window.put(m, now), now, m.udh, m.body) for m in batch]
        self._answered(part, window, first)
        self._told(part, batch, first)

    def _answered(self, part: Callable[[str], Any], window: Window[Message], first: int) -> None:
        """Each submit_sm_resp, and each receipt that follows it."""
        answers = b"".join(fast.submit_resp(n, f"{first + n:x}") for n in range(1, BATCH + 1))
        with part("submit_sm_resp: read, note, record"):
            buf, frames = Framer().feed(answers)
            taken = [(window.pop(sequence), fast.response_id(buf, start, end)) for _, _, sequence, start, end in frames]
            self.journal.write([f"{m.id}\tSMSC1\t{id}\t0\n" for m, id in taken if m is not None])
            for m, id in taken:
                if m is not None:
                    self.matcher.sent("SMSC1", id, m)
        with part("JSON of what was sent"):
            self.clock.advance(0)

    def _told(self, part: Callable[[str], Any], batch: list[Message], first: int) -> None:
        text = b"id:%x sub:001 dlvrd:001 submit date:2601010000 done date:2601010001 stat:DELIVRD err:000 text:Hello"
        stream = b"".join(
            fast.encode_sm(commands.DELIVER_SM, n, b"", 1, 1, m.dest, 5, 0, SENDER, 4, 0, 0, b"", b"", 0, 0, 0, 0, text % (first + n))
            for n, m in enumerate(batch, 1)
        )
        fast.decode_sm(stream, 16, int.from_bytes(stream[:4], "big"))  # what is usual is known
        with part("decode the receipt's deliver_sm"):
            buf, frames = Framer().feed(stream)
            fields = [fast.decode_receipt(buf, start, end) or (0, b"", None) for _, _, _, start, end in frames]
        with part("read the receipt's text"):
            receipts = [(parse_receipt(body, tlvs, esm_class), carried(tlvs) if tlvs else None) for esm_class, body, tlvs in fields]
        with part("match, and record what it says"):
            for n, (r, more) in enumerate(receipts):
                assert r is not None
                self.matcher.receipt("SMSC1", r.id, r.stat, r.err, self.holder, n, more)
        with part("journal and JSON of receipts"):
            self.clock.advance(0)
        window: Window[Forward] = Window(BATCH)
        now = self.clock.seconds()
        with part("encode deliver_sm, deliver_sm_resp"):
            [receipt_pdu(f, window.put(f, now), 0x34) for f in self.holder.forwards]
            [fast.deliver_resp(n) for n in range(BATCH)]
