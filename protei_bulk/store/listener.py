"""NOTIFY from the database, on a connection of its own that comes back after every loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from protei_bulk.store.pool_connection import DatabaseUnavailable, Link, Reactor, quietly

FIRST_DELAY, LAST_DELAY = 0.1, 5.0  # seconds between two attempts to connect
HEARTBEAT = 30.0  # seconds; finds a connection that died without a word
ANSWER_TIMEOUT = 10.0

_log = Logger()


class Listener:
    """Keeps one LISTEN connection, from the first channel on, once started."""

    def __init__(self, reactor: Reactor, parameters: dict[str, str], connect_timeout: float) -> None:
        self._reactor = reactor
        self._parameters = {**parameters, "application_name": "protei-bulk listen"}
        self._connect_timeout = connect_timeout
        self._callbacks: dict[str, list[Callable[[str], None]]] = {}
        self._link: Link | None = None
        self._standing = False
        self._started = False
        self._closed = False
        self._delay = FIRST_DELAY
        self._timer: Any = None
        self._added: list[str] = []  # while the connection stands

    def listen(self, channel: str, callback: Callable[[str], None]) -> None:
        """See Database.listen. ``channel`` is an identifier in lower case."""
        if not channel.isidentifier() or channel != channel.lower():
            raise ValueError(f"not a channel: {channel!r}")
        self._callbacks.setdefault(channel, []).append(callback)
        if not self._started or self._closed:
            return
        if self._link is None and self._timer is None:
            self._begin()
        elif self._standing:
            self._added.append(channel)
            if len(self._added) == 1:
                Deferred.fromCoroutine(self._add()).addErrback(
                    lambda failure: _log.failure("Listening to one more channel failed", failure=failure)
                )

    async def _add(self) -> None:
        """LISTEN for what was added while the connection stands, one after the other."""
        link = self._link
        while self._added and link is not None and link is self._link and self._standing:
            channel = self._added[0]
            try:
                await link.execute(f"LISTEN {channel}")
            except DatabaseUnavailable:
                break  # a new connection listens to all
            except Exception:
                link.die("LISTEN was refused")
                self._added.clear()
                raise
            self._added.pop(0)
            self._notified(channel, "")
        self._added.clear()

    def start(self) -> None:
        self._started = True
        if self._callbacks and not self._closed:
            self._begin()

    def close(self) -> None:
        self._closed = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._link is not None:
            self._link.close()

    def _begin(self) -> None:
        self._timer = None
        Deferred.fromCoroutine(self._connect()).addErrback(
            lambda failure: _log.failure("The listening connection failed", failure=failure)
        )

    async def _connect(self) -> None:
        link = Link(self._reactor, answer_timeout=ANSWER_TIMEOUT, lost=self._lost, notified=self._notified)
        self._link = link
        channels: list[str] = []
        try:
            await link.connect(self._parameters, self._connect_timeout)
            while set(channels) != set(self._callbacks):  # more may come while we wait
                channels = list(self._callbacks)
                for channel in channels:
                    await link.execute(f"LISTEN {channel}")
        except DatabaseUnavailable as problem:
            if link is self._link:
                self._again(str(problem))
            return
        except Exception:
            link.die("LISTEN was refused")
            raise
        if self._closed:
            link.close()
            return
        self._standing = True
        self._delay = FIRST_DELAY
        self._timer = self._reactor.callLater(HEARTBEAT, self._beat)
        for channel in channels:
            self._notified(channel, "")

    def _beat(self) -> None:
        if self._link is not None and self._link.alive:
            self._timer = self._reactor.callLater(HEARTBEAT, self._beat)
            Deferred.fromCoroutine(quietly(self._link.execute("SELECT 1")))

    def _lost(self, link: Link, reason: str) -> None:
        if link is self._link:
            self._again(reason)

    def _again(self, reason: str) -> None:
        self._link = None
        self._standing = False
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if not self._closed:
            _log.warn("No listening connection: {reason}", reason=reason)
            self._timer = self._reactor.callLater(self._delay, self._begin)
            self._delay = min(LAST_DELAY, self._delay * 2)

    def _notified(self, channel: str, payload: str) -> None:
        for callback in tuple(self._callbacks.get(channel, ())):
            try:
                callback(payload)
            except Exception:
                _log.failure("The listener of {channel} failed", channel=channel)
