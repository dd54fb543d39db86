"""An SMSC that accepts binds and then sends whatever comes to its mind."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading

from protei_bulk.smpp import commands, fast
from protei_bulk.smpp.codec import Pdu, encode
from protei_bulk.smpp.framer import Framer
from tests.fuzz.corpus import Fuzz
from tests.fuzz.fire import SENTINEL

RESP = commands.RESP
_BINDS = (commands.BIND_TRANSCEIVER, commands.BIND_TRANSMITTER, commands.BIND_RECEIVER)


class _Bind:
    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.framer = Framer()
        self.out = b""
        self.batch = 0
        self.breaks = False
        self.batches = 0


class HostileSmsc(threading.Thread):
    """`counted`: the PDUs that the gateway has certainly read."""

    def __init__(self, seed: int, a_connection: int = 20) -> None:
        super().__init__(daemon=True)
        self.fuzz = Fuzz(seed, avoid=frozenset({commands.UNBIND, commands.UNBIND | RESP}))
        self.counted = self.binds = 0
        self._a_connection = a_connection
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port = int(self._listener.getsockname()[1])
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._running = True

    def stop(self) -> None:
        self._running = False
        self.join(10)

    def run(self) -> None:
        while self._running:
            for key, events in self._selector.select(0.5):
                if key.data is None:
                    with contextlib.suppress(OSError):
                        connection, _ = self._listener.accept()
                        connection.setblocking(False)
                        self._selector.register(connection, selectors.EVENT_READ, _Bind(connection))
                else:
                    self._serve(key.data, events)
        self._listener.close()

    def _serve(self, bind: _Bind, events: int) -> None:
        try:
            if events & selectors.EVENT_READ:
                self._read(bind)
            if bind.out:
                taken = bind.socket.send(bind.out)
                bind.out = bind.out[taken:]
            self._selector.modify(bind.socket, selectors.EVENT_READ | (selectors.EVENT_WRITE if bind.out else 0), bind)
        except BlockingIOError:
            self._selector.modify(bind.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, bind)
        except (OSError, ConnectionError):
            if bind.breaks:
                self.counted += bind.batch
            self._selector.unregister(bind.socket)
            bind.socket.close()

    def _read(self, bind: _Bind) -> None:
        data = bind.socket.recv(262144)
        if not data:
            raise ConnectionError
        _, frames = bind.framer.feed(data)
        for command, _, sequence, _, _ in frames:
            if command in _BINDS:
                self.binds += 1
                bind.out += encode(Pdu(command | RESP, 0, sequence, {"system_id": "smsc"}))
                self._load(bind)
            elif command == commands.ENQUIRE_LINK | RESP and sequence == SENTINEL:
                self.counted += bind.batch
                if bind.batches >= self._a_connection:
                    raise ConnectionError  # enough: it shall bind anew
                self._load(bind)

    def _load(self, bind: _Bind) -> None:
        bind.batches += 1
        cases = [self.fuzz.case(breaks=False) for _ in range(50)]
        bind.breaks = bind.batches == self._a_connection and self.fuzz.random.random() < 0.5
        if bind.breaks:
            cases.append(self.fuzz.case(breaks=True))
        bind.batch = len(cases)
        bind.out += b"".join(case.octets for case in cases)
        bind.out += b"\xff" * 16 if bind.breaks else fast.header(commands.ENQUIRE_LINK, 0, SENTINEL)
