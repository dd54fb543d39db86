"""Messages of one SMSC on their way into the queue table: held until the database has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from protei_bulk.model.message import Message

log = Logger()


class Queue(Protocol):
    def enqueue(self, rows: list[dict[str, Any]]) -> Deferred[int]: ...

    def claim(self, smsc_id: str, most: int) -> Deferred[list[Message]]: ...


class Clock(Protocol):
    def seconds(self) -> float: ...

    def callLater(self, delay: float, f: Callable[..., Any], *args: Any) -> Any: ...  # noqa: N802


class Backlog:
    """`put_away` is called each time some are in the table."""

    def __init__(self, smsc: str, queue: Queue, clock: Clock, put_away: Callable[[], None]) -> None:
        self._smsc, self._queue, self._clock, self._put_away = smsc, queue, clock, put_away
        self.held: list[Message] = []

    def put(self, messages: list[Message], delay: float = 0.0, *, for_campaigns: bool = False) -> None:
        """Due after `delay` seconds; negative holds them until somebody releases them, or until their campaigns go on."""
        self.held += messages
        now = self._clock.seconds()
        due, held = (now + delay if delay > 0 else 0), delay < 0
        rows = []
        for m in messages:
            row = {"i": m.id, "q": m.smsc, "y": m.priority, "w": due, "a": m.attempts, "h": held, "b": m.in_doubt, "c": now}
            if m.refusals:
                row["n"], row["e"] = m.refusals, m.valid_until
            if m.tried:
                row["t"] = m.tried
            if for_campaigns:
                row["k"] = m.campaign_id
            rows.append(row)

        def done(_: object) -> None:
            gone = {m.id for m in messages}
            self.held = [m for m in self.held if m.id not in gone]
            self._put_away()

        def failed(f: Failure) -> None:
            # The rows may be there all the same, for any node to send or to cancel: here they must not go out any more.
            log.warn("{smsc}: queueing {n} messages: {why}", smsc=self._smsc, n=len(messages), why=f.getErrorMessage())
            self._clock.callLater(1.0, again)

        def again() -> None:
            self._queue.enqueue(rows).addCallbacks(done, failed)

        again()
