"""Live pages: server-sent events (HTML Living Standard, section 9.2), one stream an open page.

How a page becomes live
    1. Its template names the stream, and marks the parts that change; the markup of a part is a template of its own, which the
       page includes, so that it is the same with and without scripts::

           {% import "macros/live.html" as live with context %}
           {{ live.begin("/smscs/live") }}                       once, anywhere in the content: names the stream, shows "Live"
           <div id="smsc-table" data-part>{% include "parts/smscs.html" %}</div>

    2. A handler gives the stream back. `Page(..., watching=True)`: it does not keep the login alive, and who is not logged in
       gets 401 instead of the way to the login::

           Page("GET", "/smscs/live", Permission.CUSTOMERS_WRITE, self.live, Scope.ALL, watching=True)

           async def live(self, visit: Visit) -> Answer:
               return self._events.stream(visit, Watch(("smscs",), self._reads.smscs, self._parts))

           def _parts(self, visit: Visit, rows: list[Row]) -> Parts:      # the same that the page itself is rendered with
               return {"smsc-table": ("parts/smscs.html", {"rows": rows})}

What holds
    - `Watch.read` is asked at most once a second for each distinct `key`, however many watch it, one after another for the whole
      node, and not at all when nobody watches. What it returns must compare by ==. It is to be one quick statement.
    - `Watch.show` and the templates run when the data changed, and what differs from what that browser has is sent.
    - A page watches as many things as it likes. Where the markup is the same for several readers (no form, no name of the
      reader in it), `audience` says for which, and it is rendered once for all of them of one role, language and zone.
    - A stream ends with its login, with a change of the account's role or customer, and at the stop of the gateway; the browser
      comes back by itself. A browser that does not read for SLOW seconds is dropped. Nothing is queued: who could not be sent
      something gets what is current then.
    - The whole takes at most a quarter of the time: with very many streams they are brought up to date less often.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from hashlib import blake2b
from socket import SO_SNDBUF, SOL_SOCKET
from typing import Any, Protocol

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from zope.interface import implementer

from protei_bulk.access.results import AuthResult
from protei_bulk.channels.portal.shell import Answer, Fault
from protei_bulk.channels.portal.visit import Visit
from protei_bulk.settings import Http

log = Logger()

PERIOD = 1.0  # seconds between two looks at the same thing
REST = 3.0  # for each second of work, so many of rest
BEAT = 5.0  # seconds between two looks at logins and slow browsers
HEARTBEAT = 15.0  # a stream with nothing to say says so: proxies close silent connections
SEND_BUFFER = 64 * 1024  # octets in the kernel
SLOW = 10.0  # a browser may leave octets unread for so long

#: id of an element -> the template of what is in it, and its values
Parts = dict[str, tuple[str, dict[str, Any]]]


@frozen
class Watch:
    """`key` names what `read` gives: equal keys mean equal data. `audience` None: rendered for each stream by itself.

    `every`: seconds between two reads, of what need not be that new or costs more.
    """

    key: Hashable
    read: Callable[[], Awaitable[Any]]
    show: Callable[[Visit, Any], Parts]
    audience: Hashable = None
    every: float = PERIOD


class Auth(Protocol):
    def authenticate_portal(self, db: object = None, token: str = "") -> Deferred[AuthResult]: ...


class Render(Protocol):
    def part(self, visit: Visit, template: str, **values: Any) -> str: ...


@define(eq=False)
class _Feed:
    """One thing that is watched on this node."""

    read: Callable[[], Awaitable[Any]]
    every: float
    due: float = 0.0
    streams: set[_Stream] = field(factory=set)
    data: Any = None
    version: int = 0  # 0: nothing was read yet
    failed: bool = False
    rendered: dict[Hashable, dict[str, str]] = field(factory=dict)  # of this version, by audience


@implementer(IPushProducer)
class _Stream:
    def __init__(self, visit: Visit, watches: tuple[Watch, ...], now: float) -> None:
        self.visit, self.watches = visit, watches
        self.done: Deferred[None] = Deferred()
        self.over = False
        self.paused_at: float | None = None
        self.wrote_at = now
        self.seen: dict[Hashable, int] = {}  # key -> the version that this browser has
        self._sent: dict[str, bytes] = {}  # id of an element -> digest of what is in it
        self.clock: Callable[[], float] = lambda: now

    def send(self, parts: dict[str, str]) -> None:
        out = []
        for id, markup in parts.items():
            digest = blake2b(markup.encode("utf-8", "replace"), digest_size=16).digest()
            if self._sent.get(id) != digest:
                self._sent[id] = digest
                out.append(f"event: part\ndata: {json.dumps({'id': id, 'html': markup})}\n\n")
        if out:
            self.write("".join(out).encode())

    def write(self, octets: bytes) -> None:
        self.wrote_at = self.clock()
        self.visit.request.write(octets)

    def end(self, last: bytes = b"") -> None:
        """The answer is complete; the browser comes back unless `last` tells it not to."""
        if self.over:
            return
        self.over = True
        request: Any = self.visit.request
        if last and self.paused_at is None:
            request.write(last)
        request.unregisterProducer()
        self.done.callback(None)

    def abort(self) -> None:
        """Whoever does not read gets no orderly end: what lies in buffers goes, too."""
        channel: Any = getattr(self.visit.request, "channel", None)
        if channel is not None and channel.transport is not None:
            channel.transport.abortConnection()

    # --- the producer

    def pauseProducing(self) -> None:  # noqa: N802
        self.paused_at = self.clock()

    def resumeProducing(self) -> None:  # noqa: N802
        self.paused_at = None

    def stopProducing(self) -> None:  # noqa: N802
        """The connection is gone: notifyFinish tells."""


def _small_buffer(request: Any) -> None:
    """The kernel would hold megabytes for who does not read, before anybody could see it."""
    with suppress(AttributeError, OSError):  # not a socket, in tests; or gone
        transport = request.channel.transport
        transport = getattr(transport, "transport", transport)  # below TLS
        transport.getHandle().setsockopt(SOL_SOCKET, SO_SNDBUF, SEND_BUFFER)


class Events:
    """All streams of a node. `settings` may change while it runs."""

    def __init__(self, reactor: Any, auth: Auth, renderer: Render, settings: Callable[[], Http]) -> None:
        self._reactor, self._auth, self._renderer, self._settings = reactor, auth, renderer, settings
        self._feeds: dict[Hashable, _Feed] = {}
        self._streams: dict[_Stream, None] = {}  # the oldest first
        self._closing = False
        self._running = False
        self._beats: Any = LoopingCall(self._beat)
        self._beats.clock = reactor

    @property
    def count(self) -> int:
        return len(self._streams)

    def stream(self, visit: Visit, *watches: Watch) -> Answer:
        """The answer that goes on. Raises Fault 503 where the node has enough of them."""
        limits = self._settings().limits
        if self._closing or (limits.streams and len(self._streams) >= limits.streams):
            raise Fault(503, visit._("Too many live pages are open"), visit._("Load the page again in a while."))
        own = [s for s in self._streams if s.visit.who.user_id == visit.who.user_id]
        for oldest in own[: max(0, len(own) + 1 - limits.per_user_streams)] if limits.per_user_streams else ():
            self._end(oldest, b"event: over\ndata: many\n\n")
        stream = _Stream(visit, watches, self._reactor.seconds())
        stream.clock = self._reactor.seconds
        self._streams[stream] = None
        for watch in watches:
            self._feeds.setdefault(watch.key, _Feed(watch.read, watch.every)).streams.add(stream)
        request: Any = visit.request
        request.notifyFinish().addBoth(lambda _: self._gone(stream))
        _small_buffer(request)
        request.registerProducer(stream, True)
        self._start()
        # Not all at once, when a gateway has started again.
        retry = 2000 + hash(visit.session_id) % 3000
        return Answer(
            f"retry: {retry}\n\n", content_type="text/event-stream; charset=utf-8", then=stream.done,
            headers=(("Cache-Control", "no-store"), ("X-Accel-Buffering", "no")),
        )  # fmt: skip

    def close(self) -> None:
        """The gateway stops: all streams end, none begins."""
        self._closing = True
        for stream in list(self._streams):
            self._end(stream)

    # --- streams

    def _end(self, stream: _Stream, last: bytes = b"") -> None:
        self._forget(stream)
        if stream.paused_at is not None:
            stream.abort()  # while the request knows its connection
        stream.end(last)

    def _gone(self, stream: _Stream) -> None:
        self._forget(stream)
        if not stream.over:
            stream.over = True
            stream.done.callback(None)

    def _forget(self, stream: _Stream) -> None:
        self._streams.pop(stream, None)
        for watch in stream.watches:
            feed = self._feeds.get(watch.key)
            if feed is not None:
                feed.streams.discard(stream)
                if not feed.streams:
                    del self._feeds[watch.key]
        if not self._streams and self._beats.running:
            self._beats.stop()

    # --- work

    def _start(self) -> None:
        if not self._beats.running:
            self._beats.start(BEAT, now=False)
        if not self._running:
            self._running = True
            Deferred.fromCoroutine(self._work()).addErrback(lambda f: log.failure("live pages", f))

    async def _work(self) -> None:
        """Rounds: what is watched is read, and shown to whom it concerns, as long as anybody watches."""
        try:
            await self._sleep(0)
            while self._streams:
                began = self._reactor.seconds()
                await self._round()
                took = self._reactor.seconds() - began
                await self._sleep(max(PERIOD - took, took * REST))
        finally:
            self._running = False

    async def _round(self) -> None:
        for key, feed in list(self._feeds.items()):
            now = self._reactor.seconds()
            if self._feeds.get(key) is feed and now >= feed.due:
                feed.due = now + feed.every * 0.9  # rounds are not that exact
                await self._read(key, feed)
        for stream in list(self._streams):
            if stream.over or stream.paused_at is not None:
                continue
            try:
                if self._bring_up(stream):
                    await self._sleep(0)  # messages come first
            except Exception:
                log.failure("showing {path} live", path=stream.visit.path)
                self._end(stream, b"event: over\ndata: failed\n\n")

    async def _read(self, key: Hashable, feed: _Feed) -> None:
        try:
            data = await feed.read()
        except Exception as error:
            if not feed.failed:
                log.warn("reading {key} for live pages: {why}", key=str(key), why=str(error))
            feed.failed = True
            return
        feed.failed = False
        if not feed.version or data != feed.data:
            feed.data = data
            feed.version += 1
            feed.rendered.clear()

    def _bring_up(self, stream: _Stream) -> bool:
        """Sends what changed; whether there was anything to render."""
        worked = False
        for watch in stream.watches:
            feed = self._feeds.get(watch.key)
            if feed is None or not feed.version or stream.seen.get(watch.key) == feed.version:
                continue
            stream.seen[watch.key] = feed.version
            stream.send(self._parts(stream.visit, watch, feed))
            worked = True
        return worked

    def _parts(self, visit: Visit, watch: Watch, feed: _Feed) -> dict[str, str]:
        if watch.audience is None:
            return self._render(visit, watch, feed)
        place = (watch.audience, visit.who.role, visit.language.code, str(visit.zone))
        found = feed.rendered.get(place)
        if found is None:
            # What belongs to one reader must not reach another.
            found = feed.rendered[place] = self._render(evolve(visit, csrf="", token="", flashes=[]), watch, feed)
        return found

    def _render(self, visit: Visit, watch: Watch, feed: _Feed) -> dict[str, str]:
        return {id: self._renderer.part(visit, template, **values) for id, (template, values) in watch.show(visit, feed.data).items()}

    async def _sleep(self, seconds: float) -> None:
        await deferLater(self._reactor, seconds)

    # --- logins and slow browsers

    async def _beat(self) -> None:
        now = self._reactor.seconds()
        stands: dict[str, bool] = {}
        for stream in list(self._streams):
            if stream.over:
                continue
            if stream.paused_at is not None and now - stream.paused_at >= SLOW:
                self._end(stream)
                continue
            token = stream.visit.token
            if token not in stands:
                stands[token] = await self._stands(stream.visit)
            if stream.over:
                continue
            if not stands[token]:
                self._end(stream)
            elif now - stream.wrote_at >= HEARTBEAT and stream.paused_at is None:
                stream.write(b":\n\n")

    async def _stands(self, visit: Visit) -> bool:
        """Whether this is still the same login with the same rights; who cannot be asked about stays."""
        try:
            found = await self._auth.authenticate_portal(token=visit.token)
        except Exception:
            return True
        who = found.user
        if not found.success or who is None:
            return False
        return (who.role, who.customer_id, found.enrol) == (visit.who.role, visit.who.customer_id, visit.enrol)
