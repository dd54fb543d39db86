"""Group commit without a timer: while one batch is in flight, the next one gathers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

T = TypeVar("T")

_log = Logger()


class Clock(Protocol):
    """What a batcher needs of the reactor."""

    def callLater(self, delay: float, callable: Callable[..., object], /, *args: Any, **kw: Any) -> Any: ...


class Batcher(Generic[T]):
    """Collects items and hands them to ``run`` in batches of at most ``max_rows``, in the order of ``add``.

    An idle batcher starts at the end of the reactor's turn, so what one read brought goes together; a busy
    one gathers until a run ends. At most ``concurrency`` runs are in flight; with more than one of
    them, batches may end out of order. ``run`` answers for its own errors: one that escapes
    is logged, its batch is forgotten, and the next batch starts. There is no limit on what
    waits: whoever adds looks at ``pending`` and slows its source.
    """

    def __init__(
        self,
        run: Callable[[list[T]], Deferred[Any]],
        *,
        reactor: Clock,
        max_rows: int = 2000,
        concurrency: int = 1,
    ) -> None:
        if max_rows < 1 or concurrency < 1:
            raise ValueError("max_rows and concurrency start at 1")
        self._run = run
        self._reactor = reactor
        self._max_rows = max_rows
        self._free = concurrency
        self._waiting: list[T] = []
        self._in_flight = 0
        self._start_due = False
        self._starting = False
        self._drained: list[Deferred[None]] = []

    @property
    def pending(self) -> int:
        """Items that wait or are in flight."""
        return len(self._waiting) + self._in_flight

    @property
    def first_waiting(self) -> T | None:
        """The oldest item that no run has taken yet."""
        return self._waiting[0] if self._waiting else None

    def add(self, item: T) -> None:
        """Put one item into the next batch."""
        self._waiting.append(item)
        if self._free and not self._start_due:
            self._start_due = True
            self._reactor.callLater(0, self._start)

    def extend(self, items: Iterable[T]) -> None:
        """Put several items into the next batches, in their order."""
        self._waiting.extend(items)
        if self._free and not self._start_due and self._waiting:
            self._start_due = True
            self._reactor.callLater(0, self._start)

    def withdraw(self) -> list[T]:
        """Takes out what waits: no run will see it."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def drained(self) -> Deferred[None]:
        """Fires once nothing waits and nothing is in flight; at once where that is so already."""
        if not self.pending:
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        self._drained.append(waiter)
        return waiter

    def _start(self) -> None:
        self._start_due = False
        if self._starting:
            return  # a run that ended within its own call: the loop below goes on, no recursion
        self._starting = True
        try:
            while self._free and self._waiting:
                batch = self._next()
                self._free -= 1
                self._in_flight += len(batch)
                maybeDeferred(self._run, batch).addBoth(self._done, len(batch))
        finally:
            self._starting = False
        if not self.pending and self._drained:
            waiters, self._drained = self._drained, []
            for waiter in waiters:
                if not waiter.called:
                    waiter.callback(None)

    def _next(self) -> list[T]:
        if len(self._waiting) <= self._max_rows:
            batch, self._waiting = self._waiting, []
            return batch
        batch = self._waiting[: self._max_rows]
        del self._waiting[: self._max_rows]
        return batch

    def _done(self, result: object, rows: int) -> None:
        self._free += 1
        self._in_flight -= rows
        if isinstance(result, Failure):
            _log.failure("A batch of {rows} was lost: its run let an error escape", failure=result, rows=rows)
        self._start()
