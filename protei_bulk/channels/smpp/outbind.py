"""outbind: an ESME that is away and has receipts waiting is asked to bind (SMPP 3.4 sections 2.2.1 and 4.1.7).

For users with outbind_host, outbind_port and outbind_password. The connection becomes a session like any other: the ESME
binds on it as receiver, with its own system_id and password.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from protei_bulk.channels.smpp.factory import SmppFactory
from protei_bulk.channels.smpp.session import EsmeSession
from protei_bulk.smpp import commands
from protei_bulk.smpp.codec import Pdu, encode

log = Logger()

_FIRST_LOOK = 3.0  # seconds
_LOOK_EVERY = 15.0
_LONGEST = 900.0  # seconds between two attempts at one ESME


@frozen
class Away:
    """An ESME with something in its outbox and no receiving bind on any node."""

    user_id: int
    username: str
    host: str
    port: int
    password: str


class Store(Protocol):
    def away(self) -> Deferred[list[tuple[int, str, str, int, str]]]:
        """What makes an Away each."""


class Outbinds:
    """`endpoint(host, port)` makes where to connect."""

    def __init__(self, smpp: SmppFactory, store: Store, endpoint: Callable[[str, int], IStreamClientEndpoint], clock: Any) -> None:
        self._smpp, self._store, self._endpoint, self._clock = smpp, store, endpoint, clock
        self._next: dict[int, tuple[float, float]] = {}  # user -> (not before, the pause after that)
        self._first: Any = None
        self._loop = LoopingCall(self._look)
        self._loop.clock = clock

    def start(self) -> None:
        """The first look is soon: a restart may have ended its bind."""
        self._first = self._clock.callLater(_FIRST_LOOK, self._loop.start, _LOOK_EVERY)

    def stop(self) -> None:
        if self._first is not None and self._first.active():
            self._first.cancel()
        if self._loop.running:
            self._loop.stop()

    def _look(self) -> Deferred[Any]:
        d = self._store.away().addCallback(lambda rows: self._ask([Away(*row) for row in rows]))
        return d.addErrback(lambda f: log.warn("outbind: {why}", why=f.getErrorMessage()))

    def _ask(self, away: list[Away]) -> None:
        now = self._clock.seconds()
        self._next = {a.user_id: self._next[a.user_id] for a in away if a.user_id in self._next}
        for a in away:
            due, pause = self._next.get(a.user_id, (0.0, _LOOK_EVERY))
            if now >= due and not self._smpp.closing:
                self._next[a.user_id] = (now + pause - 1.0, min(_LONGEST, pause * 2))
                d: Deferred[Any] = self._endpoint(a.host, a.port).connect(self._smpp)
                d.addCallbacks(self._connected, self._failed, (a,), {}, (a,))
                d.addErrback(lambda f: log.failure("after a connection for an outbind", f))

    def _connected(self, session: EsmeSession, a: Away) -> None:
        log.info("{who}: outbind to {host}:{port}", who=a.username, host=a.host, port=a.port)
        fields = {"system_id": self._smpp.settings.system_id, "password": a.password}
        session.send(encode(Pdu(commands.OUTBIND, 0, session.next_sequence(), fields)))

    def _failed(self, failure: Any, a: Away) -> None:
        log.info("{who}: no outbind: {why}", who=a.username, why=failure.getErrorMessage())
