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
    `overdue` says when to give it up. `drained` is called when everything is written after all. A `patient` one reads on
    until it is told not to: two sides that both write before they read would wait for each other.

    Works on the TCP connection below TLS: it is there that octets wait, and a TLS layer whose handshake is under way asks
    its producer to pause, though it must be read.
    """

    __slots__ = ("_choked_at", "_drained", "_now", "_patient", "_transport", "choked", "reasons")

    def __init__(self, now: Callable[[], float], drained: Callable[[], None], *, patient: bool = False) -> None:
        self._now, self._drained, self._patient = now, drained, patient
        self.choked = False  # the peer does not take what is written
        self._transport: Any = None
        self.reasons = 0
        self._choked_at = 0.0

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
        self.reasons, self.choked = 0, False

    def overdue(self, now: float, seconds: float) -> bool:
        """Whether the peer has not taken what is written for longer than `seconds`."""
        return self.choked and now - self._choked_at > seconds

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
        if not self.choked:  # it says so with each write
            self.choked = True
            self._choked_at = self._now()
            if not self._patient:
                self.hold(WRITE)

    def resumeProducing(self) -> None:  # noqa: N802
        transport = self._transport
        if transport is not None and transport.disconnecting:
            self.detach()  # it was closed from below, and waits for us
            return
        self.choked = False
        self.release(WRITE)
        self._drained()

    def stopProducing(self) -> None:  # noqa: N802
        self._transport = None
