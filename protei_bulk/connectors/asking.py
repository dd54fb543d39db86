"""Requests to an SMSC besides submit_sm: few at a time, each with its time-out, apart from the window of messages."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred, fail

from protei_bulk.smpp import commands, statuses
from protei_bulk.smpp.codec import Pdu, encode

_QUEUE = 1000  # requests that wait for their turn


class NotAsked(Exception):  # noqa: N818
    """The request did not go out: no bind, or too many are outstanding."""


class NoAnswer(Exception):  # noqa: N818
    """The connection ended, or the time-out passed: the SMSC may have done it or not."""


class Refused(Exception):  # noqa: N818
    """`status` is the command_status of the answer."""

    def __init__(self, status: int) -> None:
        super().__init__(statuses.name(status))
        self.status = status


class Asking:
    """query_sm, cancel_sm and replace_sm on one bind. `write` takes octets, `number` gives a sequence_number."""

    def __init__(self, write: Callable[[bytes], None], number: Callable[[], int], most: int = 10) -> None:
        self._write, self._number, self._most = write, number, most
        self._waiting: dict[int, tuple[int, Deferred[Pdu], float]] = {}
        self._next: deque[tuple[Pdu, Deferred[Pdu], float]] = deque()

    def ask(self, pdu: Pdu, now: float) -> Deferred[Pdu]:
        """The answer. Fails with NotAsked, NoAnswer or Refused. Raises ValueError for what cannot be encoded."""
        encode(pdu)
        if len(self._next) >= _QUEUE:
            return fail(NotAsked("too many requests wait"))
        d: Deferred[Pdu] = Deferred()
        self._next.append((pdu, d, now))
        self._send()
        return d

    def _send(self) -> None:
        while self._next and len(self._waiting) < self._most:
            pdu, d, at = self._next.popleft()
            pdu.sequence = self._number()
            self._waiting[pdu.sequence] = (pdu.command_id, d, at)
            self._write(encode(pdu))

    def answered(self, answer: Pdu) -> bool:
        """Whether somebody waited for this response, or for this generic_nack."""
        waiting = self._waiting.get(answer.sequence)
        if waiting is None or answer.command_id not in (waiting[0] | commands.RESP, commands.GENERIC_NACK):
            return False
        del self._waiting[answer.sequence]
        self._send()
        if answer.status or answer.command_id == commands.GENERIC_NACK:
            waiting[1].errback(Refused(answer.status or statuses.ESME_RSYSERR))
        else:
            waiting[1].callback(answer)
        return True

    def expire(self, now: float, timeout: float) -> None:
        for number, (_, d, at) in list(self._waiting.items()):
            if now - at > timeout:
                del self._waiting[number]
                d.errback(NoAnswer("no answer in time"))
        while self._next and now - self._next[0][2] > timeout:
            self._next.popleft()[1].errback(NotAsked("no answer to those before it"))
        self._send()

    def lost(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for _, d, _ in waiting.values():
            d.errback(NoAnswer("the connection ended"))
        while self._next:
            self._next.popleft()[1].errback(NotAsked("the connection ended"))
