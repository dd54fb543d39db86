"""Idempotency-Key on /api/sendBulk (draft-ietf-httpapi-idempotency-key-header-07): a request that is sent again acts once.

The key is written down, with the campaign that the request will have, before its first message is stored, and its answer after
the last one. Whoever sends the same again gets that answer. Where the process went away in between, it is looked which messages
of the campaign are stored; the others follow, and the answer tells of all of them.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from protei_bulk.channels.http.problems import Problem, Reply, retry_after
from protei_bulk.model import ids
from protei_bulk.model.campaign import Campaign
from protei_bulk.model.message import Message

LEASE = 75.0  # seconds without a word of whoever is at it until another one may go on
FENCE = 30.0  # seconds without being heard after which it stores no more: what it sent by then ends within the lease
RENEW = 10.0
CLEAN = 3600.0
RETRY = 2.0
_RECORD_ATTEMPTS = 5
_QUOTED = re.compile(r'"([\x20-\x21\x23-\x5b\x5d-\x7e]{1,255})"\Z')
_BARE = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x7e]{1,255}\Z")

log = Logger()


class Claimed(Protocol):
    @property
    def state(self) -> str: ...

    @property
    def number(self) -> int: ...

    @property
    def status(self) -> int: ...

    @property
    def content_type(self) -> str: ...

    @property
    def body(self) -> str: ...

    @property
    def wait(self) -> float: ...

    @property
    def began(self) -> float: ...

    @property
    def ended(self) -> float: ...


class Found(Protocol):
    @property
    def public_id(self) -> str: ...

    @property
    def messages(self) -> Counter[tuple[str, str]]: ...


class Rows(Protocol):
    """store.idempotency.IdempotencyKeyRows."""

    def claim(self, user_id: int, key: str, body_hash: str, owner: str, lease: float) -> Deferred[Any]: ...

    def stored(self, user_id: int, number: int, first: str, last: str) -> Deferred[Any]: ...

    def renew(self, user_id: int, key: str, owner: str) -> Deferred[bool]: ...

    def finish(self, user_id: int, key: str, owner: str, status: int, content_type: str, body: str) -> Deferred[bool]: ...

    def release(self, user_id: int, key: str, owner: str) -> Deferred[bool]: ...

    def expire(self) -> Deferred[int]: ...


class Clock(Protocol):
    def callLater(self, delay: float, f: Any, /, *args: Any) -> Any: ...  # noqa: N802


def read_key(values: Sequence[str]) -> str:
    """Of the header's lines. A string of RFC 9651, or the same without quotes. Raises Problem 400."""
    found = (_QUOTED.match(values[0]) or _BARE.match(values[0])) if len(values) == 1 else None
    if found is None:
        raise Problem(400, "INVALID_IDEMPOTENCY_KEY", "Idempotency-Key must be 1 to 255 printable ASCII characters, in one header")
    return found[1] if found.re is _QUOTED else found[0]


@define(eq=False)
class Once:
    """The right to act on one key: `number` is the campaign's; `before` what is stored of it already."""

    number: int
    public_id: str = ""
    before: Counter[tuple[str, str]] = field(factory=Counter)
    alive: Callable[[], bool] = lambda: True

    def adopt(self, campaign: Campaign) -> None:
        """The campaign of this key, in place of a new one."""
        campaign.id = campaign.row["k"] = self.number
        if self.public_id:
            campaign.public_id = campaign.row["i"] = self.public_id
            campaign.stored = True

    def has(self, m: Message) -> bool:
        """Whether the message is stored already; asked once for each."""
        if not self.before:
            return False
        known = (m.dest, hashlib.md5(m.text.encode(), usedforsecurity=False).hexdigest())
        if not self.before[known]:
            return False
        self.before[known] -= 1
        return True

    def check(self) -> None:
        """Raises Problem where another one may be at it by now."""
        if not self.alive():
            raise Problem(503, "SYSTEM_ERROR", "The request was interrupted; send it again with the same key", headers=retry_after(LEASE))


@define(eq=False)
class _Run:
    body_hash: str
    owner: str
    heard: float  # monotonic seconds of the last word that was certainly heard
    lost: bool = False
    reply: Reply | None = None
    timer: Any = None
    waiting: list[Deferred[Reply]] = field(factory=list)


class IdempotencyKeys:
    """`token()` gives 32 random characters. `monotonic()` in seconds."""

    def __init__(self, rows: Rows, clock: Clock, monotonic: Callable[[], float], token: Callable[[], str]) -> None:
        self._rows, self._clock, self._now, self._token = rows, clock, monotonic, token
        self._running: dict[tuple[int, str], _Run] = {}
        self._cleaning: Any = None
        self._closed = False

    async def run(self, user_id: int, key: str, body: bytes, work: Callable[[Once], Awaitable[Reply]]) -> Reply:
        """The answer of `work`, now or from before. Raises Problem 409 or 422, and what `work` raises."""
        body_hash = hashlib.sha256(body).hexdigest()
        running = self._running.get((user_id, key))
        if running is not None:
            if running.body_hash != body_hash:
                raise _other_body()
            if running.reply is not None:
                return _again(running.reply)
            waiter: Deferred[Reply] = Deferred()
            running.waiting.append(waiter)
            return await waiter
        run = self._running[user_id, key] = _Run(body_hash, self._token(), self._now())
        try:
            reply = await self._run(user_id, key, run, work)
        except BaseException as error:
            self._leave(user_id, key, run)
            for waiter in run.waiting:
                waiter.errback(error)  # whoever waits is told the same
            raise
        waiting, run.waiting = run.waiting, []
        for waiter in waiting:
            waiter.callback(_again(reply))
        return reply

    async def _run(self, user_id: int, key: str, run: _Run, work: Callable[[Once], Awaitable[Reply]]) -> Reply:
        claim: Claimed = await self._rows.claim(user_id, key, run.body_hash, run.owner, LEASE)
        if claim.state in ("OTHER", "BUSY", "DONE"):
            if claim.state == "OTHER":
                raise _other_body()
            if claim.state == "BUSY":
                text = "The request with this Idempotency-Key has not been answered yet"
                wait = claim.wait if claim.wait < LEASE - 2 * RENEW else 2.0  # silent for so long, he is probably gone
                raise Problem(409, "REQUEST_IN_PROGRESS", text, headers=retry_after(wait))
            self._leave(user_id, key, run)
            return _again(Reply(claim.status, claim.body.encode(), claim.content_type))
        once = Once(claim.number, alive=lambda: not run.lost and self._now() - run.heard < FENCE)
        self._renew_later(user_id, key, run)
        if claim.state == "RESUMED":
            first, last = ids.first_at(int(claim.began * 1000) - 60_000), ids.first_at(int((claim.ended + 2 * LEASE) * 1000))
            found: Found = await self._rows.stored(user_id, claim.number, first, last)
            once.public_id, once.before = found.public_id, found.messages
            log.info("a request of user {user} goes on: {n} messages are stored", user=user_id, n=sum(found.messages.values()))
        try:
            reply = await work(once)
        except Problem:
            # Nothing is stored. Where that cannot be written down, the lease ends all the same.
            if once.alive() and not once.public_id:
                await self._rows.release(user_id, key, run.owner).addErrback(_warn, "giving up a key")
            raise
        run.reply = reply
        try:
            await self._finish(user_id, key, run)
        except Exception as error:
            log.warn("recording the answer of a request: {why}", why=str(error))
            self._clock.callLater(RETRY, self._finish_later, user_id, key, run, 1)
        else:
            self._leave(user_id, key, run)
        return reply

    def _finish(self, user_id: int, key: str, run: _Run) -> Deferred[bool]:
        reply = run.reply
        assert reply is not None
        return self._rows.finish(user_id, key, run.owner, reply.status, reply.content_type, reply.body.decode())

    def _finish_later(self, user_id: int, key: str, run: _Run, attempt: int) -> None:
        """Until then the answer is given from memory. Where it never can be, the lease ends, and the request is gone on with."""

        def failed(failure: Failure) -> None:
            if attempt < _RECORD_ATTEMPTS and not self._closed:
                self._clock.callLater(RETRY, self._finish_later, user_id, key, run, attempt + 1)
            else:
                _warn(failure, "recording the answer of a request")
                self._leave(user_id, key, run)

        self._finish(user_id, key, run).addCallbacks(lambda _: self._leave(user_id, key, run), failed)

    # --- the lease

    def _renew_later(self, user_id: int, key: str, run: _Run) -> None:
        run.timer = self._clock.callLater(RENEW, self._renew, user_id, key, run)

    def _renew(self, user_id: int, key: str, run: _Run) -> None:
        sent = self._now()

        def renewed(ours: bool) -> None:
            run.lost = not ours
            run.heard = sent

        def again(_: object) -> None:
            if self._running.get((user_id, key)) is run and not self._closed:
                self._renew_later(user_id, key, run)

        self._rows.renew(user_id, key, run.owner).addCallbacks(renewed, _warn, (), {}, ("renewing a key",)).addBoth(again)

    def _leave(self, user_id: int, key: str, run: _Run) -> None:
        if self._running.get((user_id, key)) is run:
            del self._running[user_id, key]
        if run.timer is not None and run.timer.active():
            run.timer.cancel()

    # --- life

    def start(self) -> None:
        self._cleaning = self._clock.callLater(CLEAN, self._clean)

    def _clean(self) -> None:
        self.start()
        self._rows.expire().addErrback(_warn, "forgetting old keys")

    def close(self) -> None:
        self._closed = True
        timers = [self._cleaning, *(run.timer for run in self._running.values())]
        for timer in timers:
            if timer is not None and timer.active():
                timer.cancel()


def _other_body() -> Problem:
    return Problem(422, "IDEMPOTENCY_KEY_REUSED", "This Idempotency-Key was used for a request with another body")


def _again(reply: Reply) -> Reply:
    return evolve(reply, headers=(*reply.headers, ("Idempotent-Replayed", "true")))


def _warn(failure: Failure, what: str) -> None:
    log.warn("{what}: {why}", what=what, why=failure.getErrorMessage())
