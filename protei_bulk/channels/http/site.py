"""The site that serves the API and the portal: all its connections, what they may cost, and the way to HTTPS."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from protei_bulk.access.limits import plain_address
from protei_bulk.channels.http.channel import WORK, BoundedChannel
from protei_bulk.channels.http.client import budget_of, forwarded_https, within
from protei_bulk.channels.http.problems import Problem, retry_after
from protei_bulk.settings import Http

IN_MEMORY = 256 * 1024  # octets of one body; longer ones are in a file
FORM = 64 * 1024  # octets of a form that Twisted may take apart into `args`
FORM_TYPE = b"application/x-www-form-urlencoded"
SURPLUS = 500  # connections beyond the limit that are told why; others are dropped
TICK = 1.0

#: what watches a node asks on the spot, whatever the scheme
NOT_REDIRECTED = frozenset({b"/healthz", b"/readyz", b"/metrics"})

log = Logger()

_Request: Any = Request  # not typed
_Site: Any = Site


def is_text(path: bytes) -> bool:
    """Whether a path is UTF-8, its %-escapes too."""
    if path.isascii() and b"%" not in path:
        return True
    try:
        unquote_to_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


class ApiRequest(_Request):  # type: ignore[misc]
    """A body that is too long ends the connection; `by_https` says how the client has come."""

    by_https = False
    _received = 0

    def isSecure(self) -> bool:  # noqa: N802
        """Whether the client came by HTTPS, also where a trusted proxy ends it: cookies are marked by this."""
        return bool(self.by_https or super().isSecure())

    def gotLength(self, length: int | None) -> None:  # noqa: N802
        small = length is not None and length <= IN_MEMORY
        self.content = BytesIO() if small else SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802
        site = self.channel.site
        self._received += len(data)
        if self._received > site.max_body:
            self.channel.refuse(site.too_large())
            return
        try:
            super().handleContentChunk(data)
        except OSError as error:
            log.error("a body cannot be kept: {why}", why=str(error))
            text = "There is no room for the body of the request; try again"
            self.channel.refuse(Problem(503, "BODY_NOT_KEPT", text, headers=retry_after(30)))

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:  # noqa: N802
        kind = (self.requestHeaders.getRawHeaders(b"content-type") or [b""])[0]
        # A large form, or one of many parts, would cost much before anybody has looked at it; and Twisted reads
        # a Content-Type with the email package, a sixth of what a small request costs.
        self._parsePOSTFormSubmission = self._received <= FORM and kind.lower().startswith(FORM_TYPE)
        super().requestReceived(command, path, version)

    def process(self) -> None:
        site = self.channel.site
        self.by_https = self.isSecure() or forwarded_https(self, site.settings)
        if site.settings.redirect_to_https and not self.by_https and self.path not in NOT_REDIRECTED:
            self._redirect(site)
        elif not is_text(self.path):
            self._answer(Problem(404, "NOT_FOUND", "There is nothing at this path"))
        else:
            super().process()

    def _redirect(self, site: ApiSite) -> None:
        """308: the method and the body stay as they are."""
        base = site.https_base(self.requestHeaders.getRawHeaders(b"host", [b""])[0])
        if base is None or not self.uri.startswith(b"/"):
            self._answer(Problem(400, "HTTPS_REQUIRED", "This server is to be used over HTTPS"))
        else:
            self.setHeader(b"location", base + self.uri)
            self._answer(Problem(308, "HTTPS_REQUIRED", "This server is to be used over HTTPS"))

    def _answer(self, problem: Problem) -> None:
        reply = problem.reply()
        self.setResponseCode(reply.status)
        self.setHeader(b"content-type", reply.content_type.encode())
        self.setHeader(b"content-length", b"%d" % len(reply.body))
        self.write(reply.body)
        self.finish()


class ApiSite(_Site):  # type: ignore[misc]
    """`most` bounds the connections further than the settings do (the files that the process may open)."""

    displayTracebacks = False
    noisy = False

    def __init__(
        self, resource: IResource, settings: Http, *, reactor: Any = None, monotonic: Callable[[], float] = time.monotonic,
        most: Callable[[], int] = lambda: 2**31,
    ) -> None:  # fmt: skip
        super().__init__(resource, requestFactory=ApiRequest, timeout=None, reactor=reactor)
        self.settings, self.now, self._most = settings, monotonic, most
        self.closing = False
        self.refused: dict[int, int] = {}  # requests and connections, by status
        self._channels: set[BoundedChannel] = set()
        self._idle: dict[BoundedChannel, None] = {}  # the longest idle first
        self._by_address: dict[str, int] = {}
        self._timer: Any = None

    @property
    def max_body(self) -> int:
        return self.settings.max_body

    @property
    def connections(self) -> int:
        return len(self._channels)

    def change(self, settings: Http) -> None:
        """Other limits, from now on."""
        self.settings = settings

    def buildProtocol(self, addr: IAddress | None) -> BoundedChannel:  # noqa: N802
        channel = BoundedChannel()
        channel.factory = channel.site = self
        channel.requestFactory = ApiRequest
        channel.callLater = self.reactor.callLater
        return channel

    def log(self, request: Any) -> None:
        """tbl_api_requests has it."""

    # --- connections

    def admit(self, channel: BoundedChannel) -> Problem | None:
        """Counts a connection; why it may not stay, where it may not."""
        limits = self.settings.limits
        self._channels.add(channel)
        self._idle[channel] = None
        channel.address = address = budget_of(str(getattr(channel.getPeer(), "host", "")))
        held = self._by_address[address] = self._by_address.get(address, 0) + 1
        if self._timer is None:
            self._timer = self.reactor.callLater(TICK, self._tick)
        if limits.per_ip_connections and held > limits.per_ip_connections and not self._exempt(channel):
            return Problem(429, "TOO_MANY_CONNECTIONS", "Too many connections from this address", headers=retry_after(5))
        most = min(limits.connections or 2**31, self._most())
        if len(self._channels) > most:
            # Whoever has been idle longest goes: holding connections keeps nobody else out.
            oldest = next(iter(self._idle))
            if oldest is not channel:
                oldest.transport.abortConnection()
            elif len(self._channels) > most + SURPLUS:
                channel.transport.abortConnection()
            else:
                return Problem(503, "TOO_MANY_CONNECTIONS", "Too many connections; try again", headers=retry_after(1))
        return None

    def _exempt(self, channel: BoundedChannel) -> bool:
        """This machine, and proxies through which many customers come."""
        host = str(getattr(channel.getPeer(), "host", ""))
        plain = plain_address(host)
        return plain is None or plain.is_loopback or within(host, self.settings.trusted_proxies)

    def gone(self, channel: BoundedChannel) -> None:
        if channel not in self._channels:
            return
        self._channels.discard(channel)
        self._idle.pop(channel, None)
        left = self._by_address[channel.address] - 1
        if left:
            self._by_address[channel.address] = left
        else:
            del self._by_address[channel.address]
        if not self._channels and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def idle(self, channel: BoundedChannel, idle: bool) -> None:
        if idle:
            self._idle[channel] = None
        else:
            self._idle.pop(channel, None)

    def _tick(self) -> None:
        self._timer = self.reactor.callLater(TICK, self._tick)
        now = self.now()
        for channel in [c for c in self._channels if c.deadline <= now]:
            channel.overdue(now)

    def wind_up(self) -> None:
        """The process is about to end: idle connections close now, others with their answer."""
        self.closing = True
        for channel in list(self._channels):
            if channel.state != WORK:
                channel.close()

    # --- answers

    def too_large(self) -> Problem:
        return Problem(413, "BODY_TOO_LARGE", f"The body is longer than {self.max_body} octets", max_body=self.max_body)

    def https_base(self, host: bytes) -> bytes | None:
        """Where the same is by HTTPS: the public URL, or the host that was asked at our port; None where neither is known."""
        if self.settings.public_url.startswith("https://"):
            return self.settings.public_url.encode("ascii")
        name = re.sub(rb":[0-9]*\Z", b"", host)
        port = next(iter(re.findall(r"\Atcp6?:(?:port=)?([0-9]+)", " ".join(self.settings.tls.listen[:1]))), "")
        if not name or not port:
            return None
        return b"https://" + name + (b"" if port == "443" else b":" + port.encode())
