"""Backpressure of one connection: when it is read, and what happens while its peer does not read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.protocols.policies import ProtocolWrapper
from zope.interface import implementer

#: reasons not to read
WINDOW, TURN, WRITE = 1, 2, 4


@implementer(IPushProducer)
class Flow:
    """Reads while no reason stands against it. The transport gives the reason WRITE: 64 KiB wait to be written.

    So what can wait for a peer that never reads is those 64 KiB, what one read makes us answer, and what was asked before;
    `overdue` says when to give it up. `drained` is called when everything is written after all.

    Works on the TCP connection below TLS: it is there that octets wait, and a TLS layer whose handshake is under way asks
    its producer to pause, though it must be read.
    """

    __slots__ = ("_drained", "_now", "_transport", "choked_at", "reasons")

    def __init__(self, now: Callable[[], float], drained: Callable[[], None]) -> None:
        self._now, self._drained = now, drained
        self._transport: Any = None
        self.reasons = 0
        self.choked_at = 0.0

    def attach(self, transport: Any) -> None:
        """The connection is made."""
        while isinstance(transport, ProtocolWrapper):
            transport = transport.transport
        self._transport = transport
        transport.registerProducer(self, True)

    def detach(self) -> None:
        """Before the connection is closed: a transport with a producer stays open, and TLS reads until the very end."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.unregisterProducer()
            if self.reasons:
                transport.resumeProducing()
        self.reasons = 0

    @property
    def choked(self) -> bool:
        """Whether the peer does not take what is written."""
        return bool(self.reasons & WRITE)

    def overdue(self, now: float, seconds: float) -> bool:
        """Whether it has been so for longer than `seconds`."""
        return bool(self.reasons & WRITE) and now - self.choked_at > seconds

    def hold(self, reason: int) -> None:
        if not self.reasons and self._transport is not None:
            self._transport.pauseProducing()
        self.reasons |= reason

    def release(self, reason: int) -> None:
        if self.reasons & reason:
            self.reasons &= ~reason
            if not self.reasons and self._transport is not None:
                self._transport.resumeProducing()

    # --- what the transport calls

    def pauseProducing(self) -> None:  # noqa: N802
        if not self.reasons & WRITE:  # it says so with each write
            self.choked_at = self._now()
            self.hold(WRITE)

    def resumeProducing(self) -> None:  # noqa: N802
        transport = self._transport
        if transport is not None and transport.disconnecting:
            self.detach()  # it was closed from below, and waits for us
            return
        self.release(WRITE)
        self._drained()

    def stopProducing(self) -> None:  # noqa: N802
        self._transport = None
