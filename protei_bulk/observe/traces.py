"""Which accounts and connectors are traced now: read when somebody changes it, over when its time is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from protei_bulk.smpp.trace import Trace

log = Logger()
_RETRY = 1.0  # seconds


class Row(Protocol):
    @property
    def kind(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def seconds(self) -> float: ...


class Table(Protocol):
    def active(self) -> Deferred[list[Any]]: ...


class Clock(Protocol):
    def seconds(self) -> float: ...

    def callLater(self, delay: float, f: Callable[..., Any], *args: Any) -> Any: ...  # noqa: N802


class Traces:
    """`get` answers from memory. Whoever subscribes is told after each change; a trace that is over writes nothing more."""

    def __init__(self, table: Table, clock: Clock, write: Callable[[str], None] | None = None) -> None:
        self._table, self._clock = table, clock
        self._write = write or (lambda line: log.info("{line}", line=line))
        self._traces: dict[tuple[str, str], Trace] = {}
        self._subscribers: list[Callable[[], None]] = []
        self._ends: dict[tuple[str, str], float] = {}
        self._timer: Any = None
        self._reading = self._again = self._closed = False

    def get(self, kind: str, name: str) -> Trace | None:
        """kind: "USER" or "SMSC"."""
        return self._traces.get((kind, name)) if self._traces else None

    def subscribe(self, fn: Callable[[], None]) -> None:
        self._subscribers.append(fn)

    def changed(self, _: str = "") -> None:
        """Somebody has changed the table, or may have."""
        if self._closed:
            return
        if self._reading:
            self._again = True
            return
        self._reading = True
        self._table.active().addCallbacks(self._read, self._not_read)

    def _read(self, rows: list[Row]) -> None:
        self._reading = False
        now = self._clock.seconds()
        self._ends = {(row.kind, row.name): now + row.seconds for row in rows}
        self._apply()
        if self._again:
            self._again = False
            self.changed()

    def _not_read(self, failure: Failure) -> None:
        self._reading = False
        log.warn("traces: {why}", why=failure.getErrorMessage())
        if not self._closed:
            self._clock.callLater(_RETRY, self.changed)

    def _apply(self) -> None:
        """Begins and ends what is due, and tells."""
        now = self._clock.seconds()
        self._ends = {key: end for key, end in self._ends.items() if end > now}
        before = self._traces
        self._traces = {
            key: before.get(key) or Trace(f"{key[0].lower()} {key[1]}", self._write, self._clock.seconds) for key in self._ends
        }
        for key in before.keys() ^ self._traces.keys():
            log.info("trace of {kind} {name}: {what}", kind=key[0].lower(), name=key[1], what="on" if key in self._traces else "off")
        if before.keys() != self._traces.keys():
            for fn in self._subscribers:
                fn()
        self._schedule()

    def _schedule(self) -> None:
        if self._ends and (self._timer is None or not self._timer.active()) and not self._closed:
            self._timer = self._clock.callLater(1.0, self._tick)

    def _tick(self) -> None:
        """Once a second while anything is traced."""
        for trace in self._traces.values():
            trace.flush()
        if any(end <= self._clock.seconds() for end in self._ends.values()):
            self._apply()
        else:
            self._schedule()

    def close(self) -> None:
        self._closed = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
