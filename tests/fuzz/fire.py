"""ESMEs that send broken PDUs to a running gateway over many connections at a time."""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import time
from collections import Counter

from protei_bulk.smpp import commands, fast
from protei_bulk.smpp.codec import Pdu, encode
from protei_bulk.smpp.framer import Framer
from tests.fuzz.corpus import Case, Fuzz

RESP = commands.RESP
SENTINEL = 0x12345678  # sequence_number of the enquire_link after each batch: its answer says that all before it was read
_KINDS = (commands.BIND_TRANSMITTER, commands.BIND_RECEIVER, commands.BIND_TRANSCEIVER)
_PATIENCE = 30.0


class Connection:
    """`counted`: the PDUs that the gateway has certainly read."""

    def __init__(self, fire: Fire, kind: int | None) -> None:
        self.fire, self.kind = fire, kind
        self.framer = Framer()
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.out = b""
        self.batch: list[Case] = []
        self.ends = "close"
        self.since = time.monotonic()
        self.socket.connect_ex(("127.0.0.1", fire.port))
        if kind is None:
            self.load(fire.fuzz.random.randint(1, 3), fire.strangers)
        else:
            fields = {"system_id": fire.user, "password": fire.password, "interface_version": fire.fuzz.random.choice((0x33, 0x34, 0x50))}
            self.out = encode(Pdu(kind, 0, 1, fields))

    def load(self, count: int, fuzz: Fuzz) -> None:
        self.batch = [fuzz.case(breaks=False) for _ in range(count)]
        chance = fuzz.random.random()
        if chance < 0.3:
            self.batch.append(fuzz.case(breaks=True))
            self.ends = "broken"
        elif chance < 0.4:
            self.ends = "half-close"
        elif chance < 0.5:
            self.ends = "unbind"
        elif chance < 0.6:
            self.ends = "reset"
        self.out += b"".join(case.octets for case in self.batch)
        if self.ends == "unbind":
            self.out += fast.header(commands.UNBIND, 0, 3)
        elif self.ends != "broken":
            self.out += fast.header(commands.ENQUIRE_LINK, 0, SENTINEL)

    def events(self) -> int:
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if self.out else 0)

    def write(self) -> None:
        try:
            taken = self.socket.send(self.out[:262144])
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno not in (errno.ENOTCONN, errno.EINPROGRESS):
                self.over()
            return
        self.out = self.out[taken:]
        if not self.out and self.batch and self.ends == "broken":
            # Perhaps the gateway waits for the rest of it: nothing more comes.
            self.socket.shutdown(socket.SHUT_WR)

    def read(self) -> None:
        try:
            data = self.socket.recv(262144)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.over()
            return
        buf, frames = self.framer.feed(data)
        if self.framer.corrupt is not None:
            self.fire.faults["an answer that is no PDU"] += 1
        for command, status, sequence, _, _ in frames:
            self.fire.answers[status] += 1
            if not self.batch and self.kind is not None and command == self.kind | RESP:
                if status:
                    self.fire.faults[f"bind refused with 0x{status:x}"] += 1
                    self.close()
                    return
                self.load(self.fire.a_connection, self.fire.fuzz)
            elif command == commands.ENQUIRE_LINK | RESP and sequence == SENTINEL:
                self.done()
                return

    def done(self) -> None:
        """All of it was read: now the end."""
        self.fire.counted += len(self.batch)
        self.batch = []
        if self.ends == "half-close":
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)
            return  # the gateway closes
        if self.ends == "reset":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.close()

    def over(self) -> None:
        """The gateway has hung up."""
        if self.batch:
            if self.ends in ("broken", "unbind"):
                self.fire.counted += len(self.batch)
            elif self.kind is None:
                self.fire.counted += 1  # what comes after the first PDU that is no bind may not be read
            else:
                self.fire.faults["hung up on a bound session"] += 1
        self.close()

    def close(self) -> None:
        self.fire.forget(self)
        self.socket.close()


class Fire:
    def __init__(self, port: int, user: str, password: str, seed: int, connections: int = 24, a_connection: int = 100) -> None:
        self.port, self.user, self.password, self.a_connection = port, user, password, a_connection
        self.fuzz = Fuzz(seed, avoid=frozenset({commands.UNBIND}))
        self.strangers = Fuzz(seed + 1)
        self.counted = 0
        self.answers: Counter[int] = Counter()
        self.faults: Counter[str] = Counter()
        self._selector = selectors.DefaultSelector()
        self._live: set[Connection] = set()
        self._connections = connections

    def forget(self, connection: Connection) -> None:
        if connection in self._live:
            self._live.discard(connection)
            self._selector.unregister(connection.socket)

    def until(self, count: int) -> None:
        """Goes on until so many PDUs were read."""
        while self.counted < count:
            while len(self._live) < self._connections:
                bound = self.fuzz.random.random() < 0.7
                c = Connection(self, self.fuzz.random.choice(_KINDS) if bound else None)
                self._live.add(c)
                self._selector.register(c.socket, c.events(), c)
            for key, events in self._selector.select(1.0):
                c = key.data
                if events & selectors.EVENT_WRITE and c.out:
                    c.write()
                if events & selectors.EVENT_READ and c in self._live:
                    c.read()
                if c in self._live:
                    self._selector.modify(c.socket, c.events(), c)
            now = time.monotonic()
            for c in [c for c in self._live if now - c.since > _PATIENCE]:
                self.faults[f"no end of a connection ({c.ends})"] += 1
                c.close()

    def close(self) -> None:
        for c in list(self._live):
            c.close()
        self._selector.close()
