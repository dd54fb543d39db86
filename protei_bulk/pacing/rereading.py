"""Tables that nodes keep in memory, read again when a notification says that they changed: one reading at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

log = Logger()
T = TypeVar("T")

RETRY = 2.0  # seconds


class Clock(Protocol):
    def callLater(self, delay: float, f: Callable[..., Any], *args: Any) -> Any: ...  # noqa: N802


class Rereading(Generic[T]):
    """`read(wanted)` reads what of it changed. What changes meanwhile is read after it, what fails is tried again.

    `what` names it in the log: "routing tables".
    """

    def __init__(self, what: str, read: Callable[[set[T]], Awaitable[None]], clock: Clock) -> None:
        self._what, self._read, self._clock = what, read, clock
        self._wanted: set[T] = set()
        self._reading: Deferred[None] | None = None
        self._retry: Any = None
        self.closed = False

    def changed(self, wanted: set[T]) -> None:
        self._wanted |= wanted
        self._begin()

    def close(self) -> None:
        self.closed = True
        if self._retry is not None and self._retry.active():
            self._retry.cancel()

    def _begin(self) -> None:
        if self._reading is not None or self.closed or not self._wanted:
            return
        wanted, self._wanted = self._wanted, set()

        async def work() -> None:
            try:
                await self._read(wanted)
            except Exception as error:
                log.warn("{what} cannot be read yet: {why}", what=self._what, why=str(error))
                self._wanted |= wanted
                if not self.closed:
                    self._retry = self._clock.callLater(RETRY, self._begin)

        self._reading = Deferred.fromCoroutine(work())

        def over(_: object) -> None:
            self._reading = None
            if self._retry is None or not self._retry.active():
                self._begin()

        self._reading.addBoth(over)
