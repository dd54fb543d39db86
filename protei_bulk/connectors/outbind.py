"""Where an SMSC's outbind is awaited: each connection there becomes a receiver bind once the SMSC has said who it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IAddress, IDelayedCall, IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from protei_bulk.connectors.link import Link

log = Logger()

_RETRY = 5.0  # seconds until a port that is taken is tried again
_MOST = 100  # connections that have not bound yet


class OutbindPort(Factory):
    """Listens while it is started; `make` makes a Link that waits for outbind."""

    noisy = False

    def __init__(self, name: str, endpoint: IStreamServerEndpoint, make: Callable[[], Link], reactor: Any) -> None:
        self._name, self._endpoint, self._make, self._reactor = name, endpoint, make, reactor
        self._port: IListeningPort | None = None
        self._listening: Deferred[Any] | None = None
        self._again: IDelayedCall | None = None
        self._waiting = 0
        self._running = False

    def start(self) -> None:
        self._running = True
        self._listening = d = maybeDeferred(self._endpoint.listen, self)
        d.addCallbacks(self._listens, self._failed)

    def _listens(self, port: IListeningPort) -> Any:
        self._port = port
        return None if self._running else self.stop()

    def _failed(self, failure: Failure) -> None:
        log.warn("{smsc}: no outbind can come: {why}", smsc=self._name, why=failure.getErrorMessage())
        if self._running:
            self._again = self._reactor.callLater(_RETRY, self.start)

    def stop(self) -> Deferred[Any]:
        self._running = False
        if self._again is not None and self._again.active():
            self._again.cancel()
        port, self._port = self._port, None
        return maybeDeferred(port.stopListening) if port is not None else succeed(None)

    def buildProtocol(self, addr: IAddress | None) -> Link | None:  # noqa: N802
        if self._waiting >= _MOST or not self._running:
            return None
        self._waiting += 1
        link = self._make()

        def over(_: object) -> None:
            self._waiting -= 1

        link.bound.addBoth(over)
        return link
