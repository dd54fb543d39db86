"""Tells other nodes, a few times a second at most, what there is for them in the tables; who misses it finds it a little later."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import orjson
from twisted.internet.defer import Deferred
from twisted.logger import Logger

log = Logger()

QUEUE = "protei_queue"  # SMSCs with something new in the queue table
OUTBOX = "protei_outbox"  # users with something new in the outbox
_AT_ONCE, _EVERY = 0.02, 0.2  # seconds after the first word, and between two
_MOST = 100  # in one word: a NOTIFY holds 8000 octets


class Tells(Protocol):
    def tell(self, channel: str, values: Sequence[int | str]) -> Deferred[Any]: ...


class Clock(Protocol):
    def seconds(self) -> float: ...

    def callLater(self, delay: float, f: Callable[..., Any], *args: Any) -> Any: ...  # noqa: N802


class Nudges:
    """One channel. `heard(values)` is called with what other nodes say. What may not be committed yet is said `twice`."""

    def __init__(self, channel: str, store: Tells, clock: Clock, node: int, heard: Callable[[list[Any]], None], *,
                 twice: bool = False) -> None:  # fmt: skip
        self._channel, self._store, self._clock, self._node, self._heard = channel, store, clock, node, heard
        self.alone = True  # nobody would hear
        self._twice = twice
        self._new: set[int | str] = set()
        self._last: set[int | str] = set()
        self._timer: Any = None
        self._told_at = 0.0

    def add(self, value: int | str) -> None:
        """There is something for this one, or will be in a moment."""
        if not self.alone:
            self._new.add(value)
            if self._timer is None:
                wait = self._told_at + _EVERY - self._clock.seconds()
                self._timer = self._clock.callLater(max(_AT_ONCE, min(_EVERY, wait)), self._tell)

    def update(self, values: Iterable[int | str]) -> None:
        for value in values:
            self.add(value)

    def _tell(self) -> None:
        self._timer = None
        self._told_at = self._clock.seconds()
        new = list(self._new | self._last)
        self._last = self._new if self._twice else set()
        self._new = set()
        if self._last:
            self._timer = self._clock.callLater(_EVERY, self._tell)
        for i in range(0, len(new), _MOST):
            d = self._store.tell(self._channel, new[i : i + _MOST])
            d.addErrback(lambda f: log.debug("telling other nodes: {why}", why=f.getErrorMessage()))

    def notified(self, payload: str) -> None:
        """A notification; an empty one says that the connection stands anew."""
        if not payload:
            return
        try:
            node, *values = orjson.loads(payload)
        except (ValueError, TypeError):
            log.warn("not understood on {channel}", channel=self._channel)
            return
        if node != self._node:
            self._heard(values)
