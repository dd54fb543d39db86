"""Sends what waits in the callback outbox to the customers, and tries again what failed.

Rows are claimed in batches under a lease, so several nodes share the work and a row of a node that died
comes back. A callback may therefore arrive twice; its ``webhook-id`` header is then the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import ResponseNeverReceived
from twisted.web.iweb import IResponse

from protei_bulk.callbacks.addresses import AddressRefused
from protei_bulk.callbacks.hosts import Hosts, host_of
from protei_bulk.callbacks.payload import body_at
from protei_bulk.model.urls import url_fault
from protei_bulk.settings import Callbacks
from protei_bulk.store.batcher import Batcher
from protei_bulk.store.callbacks import CallbackRow, Retry

FIRST_DELAY, FACTOR = 5.0, 5.0  # seconds to the first retry; how much longer each next one waits
LEASE = 300.0
BATCH, HELD = 500, 2000  # rows claimed at once, rows held at most
POLL = 1.0
BODY_LIMIT = 64 * 1024  # octets of an answer that are read (and thrown away)
_STORE_ATTEMPTS = 20
_PURGE_EVERY = 600.0
_PURGED = 10_000  # rows at once

log = Logger()


class Outbox(Protocol):
    def claim(self, limit: int, lease: float = LEASE) -> Deferred[list[CallbackRow]]: ...

    def done(self, ids: Sequence[int], keep: bool = False) -> Deferred[int]: ...

    def retry(self, rows: Sequence[Retry]) -> Deferred[int]: ...

    def defer(self, rows: Sequence[tuple[int, float]]) -> Deferred[int]: ...

    def expire(self, days: int, delivered_hours: int = 0, most: int = 10_000) -> Deferred[int]: ...


#: treq.post, or that of a treq.client.HTTPClient
Post = Callable[..., Deferred[Any]]
Sign = Callable[[CallbackRow, str, int, bytes], dict[str, str]]


@frozen
class _Held:
    row: CallbackRow
    since: float  # when it was claimed


class CallbackWorker:
    """`reactor.seconds()` is Unix time. `sign(row, webhook_id, timestamp, body)` gives further headers."""

    def __init__(
        self,
        reactor: Any,
        store: Outbox,
        post: Post,
        settings: Callbacks,
        *,
        random: Callable[[], float],
        sign: Sign | None = None,
        most: int = 50,
        per_host: int = 10,
        keep_days: int = 30,
    ) -> None:
        self._reactor, self._store, self._send, self._settings = reactor, store, post, settings
        self._random, self._sign, self._keep_days = random, sign, keep_days
        self._hosts: Hosts[_Held] = Hosts(most, per_host)
        self._done: Batcher[int] = Batcher(
            lambda ids: self._stored(lambda done: self._store.done(done, bool(self._settings.history_hours)), ids), reactor=reactor
        )
        self._failed: Batcher[Retry] = Batcher(lambda r: self._stored(self._store.retry, r), reactor=reactor)
        self._running: set[Deferred[Any]] = set()
        self._pulling: Deferred[Any] | None = None
        self._woken = False
        self._started = False
        self._timer: Any = None
        self._purge_at = 0.0
        self._quiet: Deferred[None] | None = None
        self.counts = {"sent": 0, "failed": 0, "parked": 0}

    def change(self, settings: Callbacks) -> None:
        """Other settings, for what is sent from now on."""
        self._settings = settings

    @property
    def waiting(self) -> int:
        """Rows held in memory."""
        return self._hosts.queued + self._hosts.active

    def start(self) -> None:
        self._started = True
        self._pull()

    def wake(self) -> None:
        """New rows were committed."""
        if not self._started:
            return
        if self._pulling is not None:
            self._woken = True
        else:
            self._pull()

    def stop(self) -> Deferred[None]:
        """Gives what is under way a moment, and the rest back to the outbox."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._started = False
        self._cancel_timer()
        if self._pulling is not None:
            await DeferredList([self._pulling])
        held = self._hosts.drain()
        if self._running:
            self._quiet = Deferred()
            timer = self._reactor.callLater(2.0, self._interrupt)
            await self._quiet
            if timer.active():
                timer.cancel()
        if held:
            await self._stored(self._store.defer, [(h.row.callback_id, 0.0) for h in held])
        await self._done.drained()
        await self._failed.drained()

    def _interrupt(self) -> None:
        for d in list(self._running):
            d.cancel()

    # --- claiming

    def _pull(self) -> None:
        self._cancel_timer()
        room = HELD - self.waiting
        if not self._started or self._pulling is not None:
            return
        if room < BATCH // 2:
            self._woken = True  # taken up again when some are through
            return
        self._woken = False
        limit = min(BATCH, room)
        self._pulling = d = self._store.claim(limit, LEASE)
        d.addCallbacks(self._claimed, self._not_claimed, (limit,))
        d.addErrback(lambda f: log.failure("claiming callbacks", f))
        d.addBoth(self._pulled)

    def _pulled(self, more: object) -> None:
        self._pulling = None
        if not self._started:
            return
        if more is True or self._woken:
            self._reactor.callLater(0, self._pull)
        else:
            self._timer = self._reactor.callLater(POLL, self._pull)

    def _claimed(self, rows: list[CallbackRow], limit: int) -> bool | Deferred[bool]:
        now = self._reactor.seconds()
        surplus = []
        for row in rows:
            name = host_of(row.url)
            if not self._started:
                surplus.append((row.callback_id, 0.0))
            elif not self._hosts.put(name, _Held(row, now)):
                surplus.append((row.callback_id, self._hosts.put_off(name, now)))
        self._fill()
        more = len(rows) >= limit
        if surplus:
            return self._stored(self._store.defer, surplus).addCallback(lambda _: more)
        if not more and now >= self._purge_at:
            self._purge_at = now + _PURGE_EVERY
            d = self._store.expire(self._keep_days, self._settings.history_hours, _PURGED)
            d.addCallbacks(self._purged, _warn, errbackArgs=("forgetting old callbacks",))
        return more

    def _purged(self, n: int) -> None:
        if n >= _PURGED:
            self._purge_at = 0.0  # the next ones with the next look

    def _not_claimed(self, failure: Failure) -> bool:
        _warn(failure, "claiming callbacks")
        self._woken = False
        return False

    def _cancel_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    # --- sending

    def _fill(self) -> None:
        while (taken := self._hosts.take()) is not None:
            name, held = taken
            now = self._reactor.seconds()
            if now - held.since > LEASE - 2 * self._settings.timeout - 10:
                # Another node may have it any moment.
                self._hosts.returned(name)
                continue
            d = Deferred.fromCoroutine(self._attempt(held.row))
            self._running.add(d)
            d.addBoth(self._finished, d, name, held.row, now)
        if self._woken and self._pulling is None and self._started:
            self._pull()

    async def _attempt(self, row: CallbackRow) -> str | None:
        """None for success, else why not. Raises what the HTTP client does."""
        try:
            status = await self._post(row)
        except ResponseNeverReceived:
            # Mostly a kept connection that the server had just closed: that is nobody's fault.
            status = await self._post(row)
        if 200 <= status < 300:
            return None
        return f"HTTP {status}" + (": redirects are not followed" if 300 <= status < 400 else "")

    async def _post(self, row: CallbackRow) -> int:
        fault = url_fault(row.url)
        if fault is not None:
            raise AddressRefused(f"the URL {fault}")
        now = self._reactor.seconds()
        body = body_at(row.payload, now)
        webhook_id = f"dlr_{row.callback_id}"
        headers = {"content-type": "application/json", "user-agent": "protei-bulk", "webhook-id": webhook_id,
                   "webhook-timestamp": str(int(now))}  # fmt: skip
        if self._sign is not None:
            headers.update(self._sign(row, webhook_id, int(now), body))
        return await deliver(self._reactor, self._send, row.url, body, headers, self._settings.timeout)

    def _finished(self, result: Any, d: Deferred[Any], name: str, row: CallbackRow, began: float) -> None:
        self._running.discard(d)
        answered = not isinstance(result, Failure)
        if result is None:
            self.counts["sent"] += 1
            self._done.add(row.callback_id)
        elif isinstance(result, Failure) and result.check(CancelledError):
            # Stopped in the middle: whether the customer has it is unknown, so it goes again.
            self._failed.add(Retry(row.callback_id, row.attempts, 0.0, False, "interrupted"))
        else:
            self._note_failure(result, row)
        now = self._reactor.seconds()
        self._hosts.finished(name, now - began, answered)
        surplus = self._hosts.trim(name)
        if surplus:
            self._stored(self._store.defer, [(h.row.callback_id, self._hosts.put_off(name, now)) for h in surplus])
        if self._started:
            self._fill()
        elif not self._running and self._quiet is not None and not self._quiet.called:
            self._quiet.callback(None)

    def _note_failure(self, result: Any, row: CallbackRow) -> None:
        hopeless = isinstance(result, Failure) and result.check(AddressRefused, ValueError) is not None
        error = describe(result) if isinstance(result, Failure) else str(result)
        attempts = row.attempts + 1
        parked = hopeless or attempts > self._settings.retries
        delay = FIRST_DELAY * FACTOR ** (attempts - 1) * (0.8 + 0.4 * self._random())
        self.counts["parked" if parked else "failed"] += 1
        if parked:
            log.warn("callback {id} to {host} is parked: {why}", id=row.callback_id, host=host_of(row.url), why=error)
        self._failed.add(Retry(row.callback_id, attempts, min(delay, 86_400.0), parked, error))

    # --- recording

    def _stored(self, run: Callable[[Any], Deferred[int]], rows: Any) -> Deferred[None]:
        return Deferred.fromCoroutine(self._until_stored(run, rows))

    async def _until_stored(self, run: Callable[[Any], Deferred[int]], rows: Any) -> None:
        """What cannot be recorded comes back when its lease ends: the customer hears it twice then."""
        for attempt in range(1, _STORE_ATTEMPTS + 1):
            try:
                await run(rows)
                return
            except Exception as error:
                if attempt == 1 or not self._started:
                    log.warn("recording {n} callbacks: {why}", n=len(rows), why=str(error))
                if not self._started:
                    return
            pause: Deferred[None] = Deferred()
            self._reactor.callLater(min(5.0, 0.5 * attempt), pause.callback, None)
            await pause


class _Discard(TwistedProtocol):
    def __init__(self, done: Deferred[None]) -> None:
        self._done = done
        self._room = BODY_LIMIT

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        self._room -= len(data)
        if self._room < 0:
            self.end()

    def end(self) -> None:
        abort = getattr(self.transport, "abortConnection", None) or getattr(self.transport, "loseConnection", None)
        if abort is not None:
            abort()
        self._fire()

    def connectionLost(self, reason: Any = None) -> None:  # noqa: N802
        self._fire()

    def _fire(self) -> None:
        if not self._done.called:
            self._done.callback(None)


def discard(response: IResponse) -> Deferred[None]:
    """Reads an answer's body and forgets it, so that the connection can be used again.

    The status is known by now, so a body that is too long or too slow only costs the connection.
    """
    done: Deferred[None] = Deferred(lambda _: protocol.end())
    protocol = _Discard(done)
    response.deliverBody(protocol)
    return done


async def deliver(reactor: Any, post: Post, url: str, body: bytes, headers: dict[str, str], timeout: float) -> int:
    """The status of the answer. Raises TimeoutError after `timeout` seconds, else what the HTTP client does."""
    current: Deferred[Any] = post(url, data=body, headers=headers, allow_redirects=False, unbuffered=True)
    over = False

    def late() -> None:
        nonlocal over
        over = True
        current.cancel()

    timer = reactor.callLater(timeout, late)
    try:
        response = await current
        current = discard(response)
        await current
    except CancelledError:
        if not over:
            raise
        raise TimeoutError(f"no answer within {timeout:g} s") from None
    except Exception:
        if over:
            raise TimeoutError(f"no answer within {timeout:g} s") from None
        raise
    finally:
        if timer.active():
            timer.cancel()
    return int(response.code)


def describe(failure: Failure) -> str:
    """An error in words for whoever looks at a parked callback."""
    reasons = getattr(failure.value, "reasons", None)
    if reasons:
        failure = reasons[0]
    text = failure.getErrorMessage()
    name = type(failure.value).__name__
    return f"{name}: {text}" if text else name


def _warn(failure: Failure, what: str) -> None:
    log.warn("{what}: {why}", what=what, why=failure.getErrorMessage())
