"""The other end of a connection as a plain socket that a test may leave unread, beside the running reactor."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.protocols.policies import ProtocolWrapper

R: Any = reactor
SMALL = 4096  # octets of a socket's buffers: what the kernel takes for us is not what is tested


class Small(Factory[Protocol]):
    """Makes the buffers of the connections small that another factory serves; `served` are its protocols."""

    noisy = False

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.served: list[Any] = []

    def doStart(self) -> None:  # noqa: N802
        pass

    def doStop(self) -> None:  # noqa: N802
        pass

    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802
        protocol = self.inner.buildProtocol(addr)
        made = protocol.makeConnection

        def shrunk(transport: Any) -> None:
            tcp_of(transport).socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
            made(transport)

        protocol.makeConnection = shrunk
        self.served.append(protocol)
        return protocol


def tcp_of(transport: Any) -> Any:
    """The TCP connection below TLS."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport


def waiting(transport: Any) -> int:
    """Octets that a transport holds because its peer does not read."""
    tcp = tcp_of(transport)
    return len(tcp.dataBuffer) - tcp.offset + tcp._tempDataLen


class Unread:
    """A client that writes and never reads."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        raw.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            raw.connect(("127.0.0.1", port))
        self.socket: socket.socket = raw
        self._tls = tls
        self._out = b""
        self.sent = 0
        self.gone = False

    async def ready(self) -> None:
        """The connection stands, through the handshake."""
        await until(self._connected)
        if self._tls is not None:
            self.socket = self._tls.wrap_socket(self.socket, server_hostname="localhost", do_handshake_on_connect=False)
            await until(self._shaken)

    def _connected(self) -> bool:
        try:
            self.socket.getpeername()
        except OSError:
            return False
        return True

    def _shaken(self) -> bool:
        try:
            self.socket.do_handshake()  # type: ignore[attr-defined]
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        return True

    def push(self, data: bytes) -> None:
        """Writes as often as the other side takes it. Notes when it has hung up."""
        try:
            for _ in range(50):
                self._out = self._out or data  # TLS wants the same octets again
                taken = self.socket.send(self._out)
                self._out = self._out[taken:]
                self.sent += taken
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass
        except OSError:
            self.gone = True

    def push_once(self, data: bytes) -> None:
        """Little enough to be taken at once."""
        self.socket.send(data)

    async def read(self) -> bytes:
        """What has come, at least one octet."""
        found: list[bytes] = []

        def came() -> bool:
            try:
                found.append(self.socket.recv(65536))
            except (BlockingIOError, ssl.SSLWantReadError):
                return False
            return True

        await until(came)
        return found[0]

    def close(self) -> None:
        self.socket.close()


async def until(condition: Callable[[], Any]) -> None:
    """Lets the reactor run until something is true: the time-out of the test case says when it never is."""
    while not condition():
        await turn()


def turn() -> Deferred[None]:
    return deferLater(R, 0.001)
