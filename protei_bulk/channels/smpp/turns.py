"""So many octets of ESMEs a turn of the reactor.

Ten ESMEs that get their answers by the same commit all send their next window at
once. Served in one go, they would keep the connectors, which have far fewer
connections, from being read for many milliseconds: messages would come in faster
than they go out. But a thousand that bind, or send one message each, fit into a few
turns; one a turn, the last of them would wait for a thousand.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

_OCTETS = 4096  # some thirty messages


class Clock(Protocol):
    def callLater(self, delay: float, f: Callable[..., Any], *args: Any) -> Any: ...  # noqa: N802


class Waits(Protocol):
    """A session that holds what it has read until its turn."""

    def serve(self) -> None: ...


class Turns:
    """The first that asks in a turn is served whatever it has, others while there is room; the rest wait, in order."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._serving: Waits | None = None
        self._room = 0  # octets that this turn still takes
        self._queue: deque[tuple[Waits, int]] = deque()

    def begin(self, session: Waits, octets: int) -> bool:
        """Whether a session may go on now with so many octets; else its `serve` is called when its turn comes."""
        if self._serving is None:
            self._serving = session
            self._room = _OCTETS - octets
            self._clock.callLater(0, self._next)
            return True
        if not self._queue and (self._serving is session or octets <= self._room):
            self._room -= octets
            return True
        self._queue.append((session, octets))
        return False

    def _next(self) -> None:
        self._serving = None
        if not self._queue:
            return
        self._clock.callLater(0, self._next)
        self._room = _OCTETS
        while self._queue and (self._serving is None or self._queue[0][1] <= self._room):
            session, octets = self._queue.popleft()
            self._serving = session
            self._room -= octets
            session.serve()
