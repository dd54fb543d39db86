"""A connection to an SMSC counts as made once its bind is accepted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from protei_bulk.connectors.link import Link


@implementer(IStreamClientEndpoint)
class BindingEndpoint:
    """Connects and binds; fails where the bind is refused, so that ClientService backs off.

    `prepareConnection` would do, but ClientService then raises when the refused connection
    ends. What it gets is a stand-in, so octets go from the transport straight to the link.
    """

    def __init__(self, inner: IStreamClientEndpoint, make: Callable[[], Link], failed: Callable[[Failure], None]) -> None:
        """`failed` hears why a connection could not be made."""
        self._inner, self._failed = inner, failed
        self._links = Factory.forProtocol(make)
        self._links.noisy = False

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803
        def bound(link: Link) -> IProtocol:
            standing: Any = protocolFactory.buildProtocol(None)  # type: ignore[arg-type]
            link.gone = standing.connectionLost
            standing.makeConnection(link.transport)
            return standing  # type: ignore[no-any-return]

        def not_connected(failure: Failure) -> Failure:
            if not failure.check(CancelledError):
                self._failed(failure)
            return failure

        d: Deferred[Any] = self._inner.connect(self._links)
        d.addErrback(not_connected)
        return d.addCallback(lambda link: link.bound).addCallback(bound)


def stand_ins() -> IProtocolFactory:
    """What ClientService shall build."""
    factory: Factory[Protocol] = Factory.forProtocol(Protocol)
    factory.noisy = False
    return factory
