"""One ESME a turn of the reactor.

Ten ESMEs that get their answers by the same commit all send their next window at
once. Served in one go, they would keep the connectors, which have far fewer
connections, from being read for many milliseconds: messages would come in faster
than they go out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol


class Clock(Protocol):
    def callLater(self, delay: float, f: Callable[..., Any], *args: Any) -> Any: ...  # noqa: N802


class Waits(Protocol):
    """A session that holds what it has read until its turn."""

    def serve(self) -> None: ...


class Turns:
    """The first that asks in a turn is served at once; the others one a turn, in order."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._serving: Waits | None = None
        self._queue: deque[Waits] = deque()

    def begin(self, session: Waits) -> bool:
        """Whether a session may go on now; else its `serve` is called when its turn comes."""
        if self._serving is None:
            self._serving = session
            self._clock.callLater(0, self._next)
            return True
        if self._serving is session and not self._queue:
            return True
        self._queue.append(session)
        return False

    def _next(self) -> None:
        self._serving = None
        if self._queue:
            session = self._serving = self._queue.popleft()
            self._clock.callLater(0, self._next)
            session.serve()
