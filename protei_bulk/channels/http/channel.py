"""A connection of the HTTP server: what Twisted's does, with bounds on everything that a client sends or withholds.

A request that cannot be read is answered with a problem document, and the connection closes once the client had a chance to
read it. The site looks over all connections once a second, so time-outs cost a connection no timer of its own.
"""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol, ISSLTransport
from twisted.web.http import HTTPChannel, Request
from twisted.web.http_headers import Headers
from zope.interface import implementer

from protei_bulk.channels.http.headers import head, whole_answer
from protei_bulk.channels.http.problems import Problem

MAX_LINE = 8192  # octets of the request line, and of one header
MAX_HEADERS = 100
LINGER = 3.0  # seconds for a client to read a refusal, while what it still sends is thrown away
LINGER_OCTETS = 64 * 1024**2
SLOWEST = 2048  # octets a second of a body, once http.body_timeout has passed
FOREVER = float("inf")

IDLE, HEAD, BODY, WORK, CLOSING = "idle", "head", "body", "work", "closing"

_Channel: Any = HTTPChannel  # not typed

_HOST = re.compile(rb"[A-Za-z0-9._~:\[\]%!$&'()*+,;=-]*\Z")


def in_utf8(line: bytes) -> bytes:
    """A header as everybody may read it: octets that are not UTF-8 are Latin-1, as they were for long."""
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("latin-1").encode("utf-8")
    return line


@implementer(IHalfCloseableProtocol)
class BoundedChannel(_Channel):  # type: ignore[misc]
    """`site` is the ApiSite, which knows the limits and all connections."""

    MAX_LENGTH = MAX_LINE
    maxHeaders = MAX_HEADERS + 1  # lineReceived counts, and says why
    totalHeadersSize = 2**31
    timeOut = None  # the site keeps time

    site: Any

    state = IDLE
    deadline = FOREVER
    address = ""  # what the site counts it by
    _head_octets = 0
    _head_lines = 0
    _body_octets = 0
    _body_began = 0.0
    _thrown_away = 0

    # --- life

    def connectionMade(self) -> None:
        super().connectionMade()
        self.deadline = self.site.now() + self.site.settings.idle_timeout
        refusal = self.site.admit(self)
        if refusal is not None:
            self.refuse(refusal)

    def connectionLost(self, reason: Any = None) -> None:
        self.site.gone(self)
        self.deadline = FOREVER
        super().connectionLost(reason)

    def readConnectionLost(self) -> None:  # noqa: N802
        """The client sends no more; what it has asked for it still gets."""
        if self.state == WORK:
            self.persistent = 0
        elif self.state == CLOSING:
            self.transport.loseConnection()
        else:
            self.close()

    def writeConnectionLost(self) -> None:  # noqa: N802
        """We are the ones who closed it."""

    def _enter(self, state: str, deadline: float) -> None:
        if (state == IDLE) != (self.state == IDLE):
            self.site.idle(self, state == IDLE)
        self.state, self.deadline = state, deadline

    def overdue(self, now: float) -> None:
        """The site's word that `deadline` has passed."""
        if self.state == CLOSING:
            self.transport.abortConnection()
        elif self.state == IDLE:
            self.close()
        else:
            what = "head" if self.state == HEAD else "body"
            self.refuse(Problem(408, "REQUEST_TIMEOUT", f"The {what} of the request did not come in time"))

    def close(self) -> None:
        """An end without a word, between requests."""
        self._enter(CLOSING, self.site.now() + LINGER)
        self.persistent = 0
        self.loseConnection()

    def refuse(self, problem: Problem) -> None:
        """Answers what cannot become a request, and reads no further."""
        if self.state == CLOSING:
            return
        self._enter(CLOSING, self.site.now() + LINGER)
        self.persistent = 0
        self.length = None
        self.site.refused[problem.status] = self.site.refused.get(problem.status, 0) + 1
        transport = self.transport
        transport.write(whole_answer(problem, self.isSecure()))
        if ISSLTransport.providedBy(transport) or not hasattr(transport, "loseWriteConnection"):
            self.loseConnection()
            return
        # To close with something unread would reset the connection, and the answer might never be seen.
        self._networkProducer.unregisterProducer()
        transport.resumeProducing()
        transport.loseWriteConnection()

    def _respondToBadRequestAndDisconnect(self) -> None:  # noqa: N802
        self.refuse(Problem(400, "BAD_REQUEST", "The request is not well-formed HTTP"))

    # --- reading

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        if self.state == IDLE:
            self._enter(HEAD, self.site.now() + self.site.settings.header_timeout)
        elif self.state == CLOSING:
            self._thrown_away += len(data)
            if self._thrown_away > LINGER_OCTETS:
                self.transport.abortConnection()
            return
        elif self.state == BODY:
            self._body_octets += len(data)
        super().dataReceived(data)

    def lineReceived(self, line: bytes) -> None:  # noqa: N802
        if self.state == CLOSING:
            return
        self._head_octets += len(line) + 2
        self._head_lines += 1
        if self._head_octets > self.site.settings.max_header or self._head_lines > MAX_HEADERS + 2:
            self.lineLengthExceeded(line)
        elif line[:1] in (b" ", b"\t"):
            self.refuse(Problem(400, "BAD_REQUEST", "A header must not go on in a second line"))
        else:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: N802
        if not hasattr(self, "_command"):
            self.refuse(Problem(414, "URI_TOO_LONG", f"The request line is longer than {MAX_LINE} octets"))
        else:
            text = f"More than {self.site.settings.max_header} octets or {MAX_HEADERS} lines of headers, or one of {MAX_LINE} octets"
            self.refuse(Problem(431, "HEADERS_TOO_LARGE", text))

    def headerReceived(self, line: bytes) -> bool:  # noqa: N802
        if self.state == CLOSING:
            return False
        return bool(super().headerReceived(line if line.isascii() else in_utf8(line)))

    def _maybeChooseTransferDecoder(self, header: bytes, data: bytes) -> bool:  # noqa: N802
        if header == b"Content-Length":
            if not data.isdigit() or len(data) > 18 or self._transferDecoder is not None:
                self.refuse(Problem(400, "BAD_REQUEST", "Content-Length must be one number, without a Transfer-Encoding"))
                return False
        elif header == b"Transfer-Encoding":
            if self._transferDecoder is not None or self._version != b"HTTP/1.1":
                self.refuse(Problem(400, "BAD_REQUEST", "Transfer-Encoding must stand alone, in HTTP/1.1"))
                return False
            if data.lower() != b"chunked":
                self.refuse(Problem(501, "NOT_IMPLEMENTED", "The only Transfer-Encoding is chunked"))
                return False
        return bool(super()._maybeChooseTransferDecoder(header, data))

    def allHeadersReceived(self) -> None:  # noqa: N802
        if self.state == CLOSING:
            return
        problem = self._fault(self.requests[-1].requestHeaders)
        if problem is not None:
            self.refuse(problem)
            return
        self._body_octets, self._body_began = 0, self.site.now()
        self._enter(BODY, self._body_began + self.site.settings.body_timeout)
        super().allHeadersReceived()

    def _fault(self, headers: Headers) -> Problem | None:
        """What is wrong with a request by its head."""
        hosts = headers.getRawHeaders(b"Host", [])
        if len(hosts) > 1 or (not hosts and self._version == b"HTTP/1.1") or not all(_HOST.match(h) for h in hosts):
            return Problem(400, "BAD_REQUEST", "The request must have one Host header")
        expected = headers.getRawHeaders(b"Expect", [])
        if len(expected) > 1 or (expected and expected[0].lower() != b"100-continue"):
            return Problem(417, "EXPECTATION_FAILED", "The only expectation is 100-continue")
        if self.length is not None and self.length > self.site.max_body:
            too_large: Problem = self.site.too_large()
            return too_large
        return None

    def rawDataReceived(self, data: bytes) -> None:  # noqa: N802
        if self.state == CLOSING:
            return
        super().rawDataReceived(data)
        if self.state == BODY:
            self.deadline = self._body_began + self.site.settings.body_timeout + self._body_octets / SLOWEST

    def allContentReceived(self) -> None:  # noqa: N802
        if self.state == CLOSING:
            return
        self._head_octets = self._head_lines = 0
        self._enter(WORK, FOREVER)
        super().allContentReceived()

    # --- answering

    def requestDone(self, request: Request) -> None:  # noqa: N802
        if self.state != CLOSING:
            if self.site.closing:
                self.persistent = 0
            keep = bool(self.persistent)
            self._enter(IDLE if keep else CLOSING, self.site.now() + (self.site.settings.idle_timeout if keep else LINGER))
        super().requestDone(request)

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:  # noqa: N802
        if self.site.closing:
            headers.setRawHeaders(b"Connection", [b"close"])
        secure = self.isSecure() or bool(self.requests and self.requests[0].by_https)
        self.transport.writeSequence(head(version, code, reason, headers, secure))
