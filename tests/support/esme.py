"""A small blocking ESME on a raw socket, and a load of several of them."""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable

from attrs import Factory, define

from protei_bulk.smpp import commands, fast, statuses
from protei_bulk.smpp.codec import Pdu, decode, encode
from protei_bulk.smpp.framer import Framer

RESP = commands.RESP
Found = tuple[int, int, int, bytes]  # command_id, command_status, sequence_number, body


class Closed(Exception):
    """The other side has closed the connection."""


class Esme:
    """Answers enquire_link and deliver_sm by itself unless told otherwise."""

    def __init__(self, port: int, *, answers: bool = True, tls: ssl.SSLContext | None = None, source: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self.framer = Framer()
        self.answers = answers
        self.sequence = 0
        self.got: list[Found] = []

    def __enter__(self) -> Esme:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def next(self) -> int:
        self.sequence += 1
        return self.sequence

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def request(self, command: int) -> int:
        """A PDU without a body."""
        sequence = self.next()
        self.send(fast.header(command, 0, sequence))
        return sequence

    def bind(self, system_id: str, password: str, kind: int = commands.BIND_TRANSCEIVER, *, version: int = 0x34) -> int:
        """The command_status of the answer."""
        fields = {"system_id": system_id, "password": password, "interface_version": version}
        self.send(encode(Pdu(kind, 0, self.next(), fields, {})))
        self.bound = whole(self.wait(kind | RESP))
        return self.bound.status

    def tell(self, pdu: Pdu) -> int:
        """Sends a request; its sequence_number."""
        pdu.sequence = self.next()
        self.send(encode(pdu))
        return pdu.sequence

    def ask(self, pdu: Pdu) -> Pdu:
        """The answer to a request."""
        return whole(self.wait(pdu.command_id | RESP, self.tell(pdu)))

    def delivered(self, seconds: float = 20.0) -> Pdu:
        """The next deliver_sm. Raises TimeoutError."""
        self.socket.settimeout(seconds)
        return whole(self.wait(commands.DELIVER_SM))

    def has_delivery(self) -> bool:
        """Whether a deliver_sm comes within a second."""
        self.socket.settimeout(1.0)
        try:
            found = self.wait(commands.DELIVER_SM)
        except TimeoutError:
            return False
        self.got.insert(0, found)
        return True

    def submit(
        self, dest: str, text: bytes = b"Hello", *, source: str = "MyCompany", registered: int = 0, coding: int = 0
    ) -> int:
        sequence = self.next()
        self.send(submit_sm(sequence, dest, text, source=source, registered=registered, coding=coding))
        return sequence

    def submitted(self, dest: str, text: bytes = b"Hello", **options: object) -> tuple[int, str]:
        """command_status and message_id of the answer."""
        sequence = self.submit(dest, text, **options)  # type: ignore[arg-type]
        _, status, _, body = self.wait(commands.SUBMIT_SM | RESP, sequence)
        return status, fast.response_id(body, 0, len(body))

    def receive(self) -> list[Found]:
        """What one read brings. Raises Closed."""
        try:
            data = self.socket.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            raise Closed
        buf, frames = self.framer.feed(data)
        found = [(command, status, sequence, buf[start:end]) for command, status, sequence, start, end in frames]
        if self.answers:
            out = [
                fast.deliver_resp(sequence) if command == commands.DELIVER_SM else fast.header(command | RESP, 0, sequence)
                for command, _, sequence, _ in found
                if command in (commands.DELIVER_SM, commands.ENQUIRE_LINK)
            ]
            if out:
                self.send(b"".join(out))
        return found

    def wait(self, command: int, sequence: int | None = None) -> Found:
        """The next PDU of this kind; others that come meanwhile are kept. Raises Closed, TimeoutError."""
        while True:
            for i, found in enumerate(self.got):
                if found[0] == command and sequence in (None, found[2]):
                    del self.got[i]
                    return found
            self.got += self.receive()

    def ends(self) -> list[Found]:
        """Everything until the other side closes. Raises TimeoutError."""
        try:
            while True:
                self.got += self.receive()
        except Closed:
            return self.got


def whole(found: Found) -> Pdu:
    command, status, sequence, body = found
    return decode(fast.frame(command, status, sequence, body))


def submit_sm(
    sequence: int, dest: str, text: bytes, *, source: str = "MyCompany", registered: int = 0, coding: int = 0
) -> bytes:
    return fast.encode_sm(
        commands.SUBMIT_SM, sequence, b"", 5, 0, source, 1, 1, dest, 0, 0, 0, b"", b"", registered, 0, coding, 0, text
    )


@define
class Load:
    """What came of a load."""

    acknowledged: dict[str, str] = Factory(dict)  # message_id -> destination
    statuses: Counter[str] = Factory(Counter)  # of what was refused
    receipts: list[str] = Factory(list)  # message ids

    @property
    def refused(self) -> int:
        return self.statuses.total()

    @property
    def untold(self) -> bool:
        """Whether a receipt is still to come of something acknowledged."""
        return len(self.receipts) < len(self.acknowledged) or bool(self.acknowledged.keys() - self.receipts)

    def _add(self, found: Found, asked: dict[int, str]) -> None:
        command, status, sequence, body = found
        if command == commands.SUBMIT_SM | RESP:
            dest = asked.pop(sequence)
            if status:
                self.statuses[statuses.name(status)] += 1
            else:
                self.acknowledged[fast.response_id(body, 0, len(body))] = dest
        elif command == commands.DELIVER_SM:
            tlvs = fast.decode_sm(body, 0, len(body))[17] or {}
            self.receipts.append(tlvs.get(0x001E, b"").rstrip(b"\0").decode())


def load(
    port: int, user: str, password: str, *, messages: int, sessions: int = 4, window: int = 50, first: int = 962780000000,
    registered: int = 0, progress: Callable[[int], object] = lambda acknowledged: None, seconds: float = 60.0,
    tls: ssl.SSLContext | None = None,
) -> Load:  # fmt: skip
    """Sends to `messages` destinations from `first` on, until all are answered and every receipt asked for has come.

    Then it unbinds: a socket closed on unread octets takes answers along that the gateway has not read, and the
    gateway must tell those receipts again. Ends too when all sessions were closed by the other side.
    """
    result = Load()
    left = iter(range(first, first + messages))
    asked: dict[Esme, dict[int, str]] = {}
    end = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for _ in range(sessions):
            esme = Esme(port, tls=tls)
            assert esme.bind(user, password) == 0
            asked[esme] = {}
            selector.register(esme.socket, selectors.EVENT_READ, esme)

        def fill(esme: Esme) -> None:
            waiting, out = asked[esme], []
            while len(waiting) < window and (number := next(left, None)) is not None:
                sequence = esme.next()
                waiting[sequence] = str(number)
                out.append(submit_sm(sequence, str(number), b"Load", registered=registered))
            if out:
                esme.send(b"".join(out))

        def gone(esme: Esme) -> None:
            selector.unregister(esme.socket)
            esme.socket.close()
            del asked[esme]

        for esme in list(asked):
            fill(esme)
        while any(asked.values()) or (registered and asked and result.untold):
            if time.monotonic() > end:
                raise AssertionError(
                    f"{len(result.acknowledged)} of {messages} answered, {len(set(result.receipts))} told in {seconds} s"
                )
            for key, _ in selector.select(1.0):
                esme = key.data
                try:
                    for found in esme.receive():
                        result._add(found, asked[esme])
                    fill(esme)
                except (Closed, ConnectionError):
                    gone(esme)
            progress(len(result.acknowledged))
        for esme in list(asked):
            with contextlib.suppress(ConnectionError):
                esme.request(commands.UNBIND)
                for found in esme.ends():
                    result._add(found, asked[esme])
            gone(esme)
    return result
