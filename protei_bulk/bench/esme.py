"""The load client, a process of its own: `python -m protei_bulk.bench.esme`; the password comes on standard input.

Plain non-blocking sockets, submit_sm made from a template, whole buffers written and read: it must not be what
limits the gateway. The result goes to standard output as JSON; times are those of the monotonic clock, which all
processes of a machine share. Lines of the ledger: `A <message_id> <dest>` for each submit_sm_resp that accepted
a message, `R <message_id> <stat>` for each receipt.

The run is over when everything has come, or when nothing has come for some time: enquire_link is not progress.
"""

from __future__ import annotations

import argparse
import json
import selectors
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from protei_bulk.smpp import commands, fast
from protei_bulk.smpp.codec import Pdu, encode
from protei_bulk.smpp.framer import Framer

SENDER = "BENCH"
TEXT = b"Your verification code is 482916. It expires in ten minutes."
BATCH = 50  # submit_sm a write; more would only add to the latency
_BIND_RESP = commands.BIND_TRANSCEIVER | commands.RESP
_SUBMIT_RESP = commands.SUBMIT_SM | commands.RESP
_ENQUIRE_RESP = commands.ENQUIRE_LINK | commands.RESP
_UNBIND_RESP = commands.UNBIND | commands.RESP


class LoadError(Exception):
    """The run says nothing; the message is for the person at the terminal."""


def number(index: int) -> str:
    """The recipient of one message: each has its own, so that both ledgers can be compared."""
    return f"96278{index:07d}"


def template(receipts: bool, sender: str) -> tuple[bytes, bytes, bytes]:
    """A submit_sm without its sequence number and recipient: what stands before, between and after them."""
    example = number(0)
    pdu = fast.encode_sm(
        commands.SUBMIT_SM, 0, b"", 5, 0, sender, 1, 1, example, 0, 0, 0, b"", b"", int(receipts), 0, 0, 0, TEXT
    )
    at = pdu.rindex(example.encode() + b"\0")  # the last: it may be the sender too
    return pdu[:12], pdu[16:at], pdu[at + len(example) :]


class Session:
    """One bind. `out` is what the socket has not taken yet."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.framer = Framer()
        self.out = b""
        self.sequence = 1  # that of the bind
        self.sent: dict[int, tuple[str, float]] = {}
        self.bound = False
        self.gone = False


class Load:
    """`patience` is how many seconds may pass without any progress before the run is over."""

    def __init__(
        self, address: tuple[str, int], user: tuple[str, str], *,
        messages: int, sessions: int, window: int, receipts: bool, ledger: Path, sender: str = SENDER,
        patience: float = 30.0,
    ) -> None:  # fmt: skip
        self.address, self.user = address, user
        self.messages, self.window, self.receipts, self.patience = messages, window, receipts, patience
        self.count = sessions
        self.ledger = ledger.open("w", encoding="ascii")
        self.template = template(receipts, sender)
        self.targets: Iterator[str] = map(number, range(messages))
        self.selector = selectors.DefaultSelector()
        self.sessions: list[Session] = []
        self.submitted: dict[str, float] = {}  # message_id -> when
        self.latencies: list[float] = []
        self.received: dict[str, float] = {}
        self.stats: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.repeated = 0
        self.broken = ""
        self.last_accepted = self.last_receipt = self.progress = 0.0

    def run(self) -> dict[str, Any]:
        """Raises LoadError, OSError."""
        try:
            for _ in range(self.count):
                self._connect()
            self._until(lambda: all(s.bound for s in self.sessions), "binds")
            started = self.last_accepted = self.last_receipt = time.monotonic()
            for session in self.sessions:
                self._fill(session)
            self._until(self._answered, "")
            if self.receipts:
                self._until(lambda: self.received.keys() >= self.submitted.keys(), "")
            for session in self.sessions:
                self._send(session, fast.header(commands.UNBIND, 0, 0x7FFFFFFF))
            self._until(lambda: all(s.gone for s in self.sessions), "")
        finally:
            self.ledger.close()
            self.selector.close()
            for session in self.sessions:
                session.socket.close()
        return self._result(started)

    def _result(self, started: float) -> dict[str, Any]:
        known = [t - self.submitted[id] for id, t in self.received.items() if id in self.submitted]
        return {
            "started": started,
            "last_accepted": self.last_accepted,
            "last_receipt": self.last_receipt,
            "accepted": len(self.latencies),
            "refused": dict(self.refused),
            "unanswered": sum(len(s.sent) for s in self.sessions),
            "latency": percentiles(self.latencies),
            "receipts": len(self.received),
            "receipt_stats": dict(self.stats),
            "receipts_missing": len(self.submitted.keys() - self.received.keys()) if self.receipts else 0,
            "receipts_repeated": self.repeated,
            "receipt_latency": percentiles(known),
            "broken": self.broken,
        }

    def _answered(self) -> bool:
        return len(self.latencies) + self.refused.total() >= self.messages

    def _until(self, done: Callable[[], bool], what: str) -> None:
        """Serves the sockets until `done()`. Past the patience: LoadError where `what` has a name, else returns."""
        self.progress = time.monotonic()
        while not done():
            ready = self.selector.select(min(0.5, self.patience))
            if time.monotonic() - self.progress > self.patience or not self.selector.get_map():
                if what:
                    raise LoadError(f"the gateway does not answer ({what})")
                return
            for key, events in ready:
                session: Session = key.data
                if events & selectors.EVENT_READ:
                    self._read(session)
                if events & selectors.EVENT_WRITE and not session.gone:
                    self._send(session, b"")

    def _connect(self) -> None:
        connection = socket.create_connection(self.address, timeout=self.patience)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        session = Session(connection)
        self.sessions.append(session)
        self.selector.register(connection, selectors.EVENT_READ, session)
        name, password = self.user
        fields = {
            "system_id": name, "password": password, "system_type": "", "interface_version": 0x34,
            "addr_ton": 0, "addr_npi": 0, "address_range": "",
        }  # fmt: skip
        self._send(session, encode(Pdu(commands.BIND_TRANSCEIVER, 0, session.sequence, fields)))

    def _close(self, session: Session, why: str = "") -> None:
        if not session.gone:
            session.gone = True
            self.broken = self.broken or why
            self.selector.unregister(session.socket)
            session.socket.close()

    def _send(self, session: Session, data: bytes) -> None:
        if session.gone:
            return
        waiting = bool(session.out)
        out = session.out + data if waiting else data
        try:
            taken = session.socket.send(out) if out else 0
        except BlockingIOError:
            taken = 0
        except OSError as error:
            self._close(session, str(error))
            return
        session.out = out[taken:]
        if bool(session.out) != waiting:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if session.out else 0)
            self.selector.modify(session.socket, events, session)

    def _fill(self, session: Session) -> None:
        """Writes as many submit_sm as the window has room for."""
        sent, (head, between, tail) = session.sent, self.template
        while (room := self.window - len(sent)) > 0:
            now = time.monotonic()
            pdus: list[bytes] = []
            for _, dest in zip(range(min(room, BATCH)), self.targets, strict=False):
                session.sequence = sequence = session.sequence + 1
                sent[sequence] = (dest, now)
                pdus += (head, sequence.to_bytes(4, "big"), between, dest.encode(), tail)
            if not pdus:
                return
            self._send(session, b"".join(pdus))

    def _read(self, session: Session) -> None:
        try:
            data = session.socket.recv(262144)
        except BlockingIOError:
            return
        except OSError as error:
            self._close(session, str(error))
            return
        if not data:
            self._close(session, "the gateway closed a connection" if session.sent else "")
            return
        buf, frames = session.framer.feed(data)
        now = time.monotonic()
        answers: list[bytes] = []
        lines: list[str] = []
        for command, status, sequence, start, end in frames:
            if command == _SUBMIT_RESP:
                asked = session.sent.pop(sequence, None)
                if asked is None:
                    self.broken = self.broken or f"an answer that nothing asked for, sequence_number {sequence}"
                    continue
                dest, when = asked
                self.last_accepted = self.progress = now
                if status:
                    self.refused[f"0x{status:08x}"] += 1
                    continue
                id = fast.response_id(buf, start, end)
                self.submitted[id] = when
                self.latencies.append(now - when)
                lines.append(f"A {id} {dest}\n")
            elif command == commands.DELIVER_SM:
                lines.append(self._receipt(buf, start, end, now))
                answers.append(fast.deliver_resp(sequence))
            elif command == commands.ENQUIRE_LINK:
                answers.append(fast.header(_ENQUIRE_RESP, 0, sequence))
            elif command == _BIND_RESP:
                if status:
                    raise LoadError(f"the gateway refused a bind with status 0x{status:08x}")
                session.bound = True
                self.progress = now
            elif command == commands.GENERIC_NACK:
                self._close(session, f"generic_nack with status 0x{status:08x}")
                break
            elif command == commands.UNBIND:
                answers.append(fast.header(_UNBIND_RESP, 0, sequence))
            elif command == _UNBIND_RESP:
                self._close(session)
                break
        if session.framer.corrupt is not None:
            self._close(session, str(session.framer.corrupt))
        self.ledger.writelines(lines)
        if answers:
            self._send(session, b"".join(answers))
        if session.bound and not session.gone and len(session.sent) <= self.window // 2:
            self._fill(session)

    def _receipt(self, buf: bytes, start: int, end: int, now: float) -> str:
        """Only looks for the two words that are needed: the client shares the machine with the gateway."""
        at = buf.find(b"id:", start, end) + 3
        id = buf[at : buf.find(b" ", at, end)].decode("ascii", "replace")
        at = buf.find(b" stat:", at, end) + 6
        stat = buf[at : at + 7].decode("ascii", "replace")
        self.progress = now
        if id in self.received:
            self.repeated += 1
        else:
            self.received[id] = self.last_receipt = now
            self.stats[stat] += 1
        return f"R {id} {stat}\n"


def percentiles(seconds: list[float]) -> dict[str, float]:
    """p50, p99 and the longest, in milliseconds; zeros of nothing."""
    ordered = sorted(seconds)
    if not ordered:
        return {"p50": 0.0, "p99": 0.0, "max": 0.0}
    last = len(ordered) - 1
    chosen = {"p50": ordered[last // 2], "p99": ordered[last * 99 // 100], "max": ordered[last]}
    return {name: round(value * 1000, 2) for name, value in chosen.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0, or 1 where nothing could be measured."""
    parser = argparse.ArgumentParser(prog="esme", description="Send messages by SMPP as fast as they are taken.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--system-id", required=True)
    parser.add_argument("--messages", type=int, required=True)
    parser.add_argument("--sessions", type=int, required=True)
    parser.add_argument("--window", type=int, required=True)
    parser.add_argument("--no-receipts", action="store_true")
    parser.add_argument("--sender", default=SENDER)
    parser.add_argument("--ledger", type=Path, required=True)
    options = parser.parse_args(argv)
    user = (options.system_id, sys.stdin.readline().rstrip("\n"))
    try:
        load = Load(
            (options.host, options.port), user, messages=options.messages, sessions=options.sessions,
            window=options.window, receipts=not options.no_receipts, ledger=options.ledger,
            sender=options.sender,
        )  # fmt: skip
        result = load.run()
    except (LoadError, OSError) as error:
        print(f"load client: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
