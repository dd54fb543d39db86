"""The site that serves the API: bounds what it reads before anybody looks at it, and writes no access log."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from twisted.web.resource import IResource
from twisted.web.server import Request, Site

IDLE = 60.0  # seconds without a request after which a connection is closed
PATIENCE = 8  # bodies up to so many times the limit are read to their end, so that the client hears why


class BoundedRequest(Request):
    """A body that is too long is thrown away as it comes; `too_large` says so."""

    too_large = False
    max_body = 10 * 1024**2
    _received = 0
    _given_up = False

    def gotLength(self, length: int | None) -> None:  # noqa: N802
        if length is not None and length > self.max_body:
            self.too_large = True
            self.content = BytesIO()
            if length > PATIENCE * self.max_body:
                self._hang_up()
            return
        super().gotLength(length)  # type: ignore[no-untyped-call]

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802
        self._received += len(data)
        if self.too_large or self._received > self.max_body:
            if not self.too_large:
                self.too_large = True
                self.content = BytesIO()
            if self._received > PATIENCE * self.max_body:
                self._hang_up()
            return
        super().handleContentChunk(data)  # type: ignore[no-untyped-call]

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:  # noqa: N802
        if not self._given_up:
            super().requestReceived(command, path, version)  # type: ignore[no-untyped-call]

    def _hang_up(self) -> None:
        channel: Any = self.channel
        if channel is not None and not self._given_up:
            self._given_up = True
            channel.transport.write(
                b"HTTP/1.1 413 Request Entity Too Large\r\nServer: protei-bulk\r\n"
                b"Content-Length: 0\r\nConnection: close\r\n\r\n"
            )
            channel.loseConnection()


class ApiSite(Site):
    """`max_body` in octets."""

    displayTracebacks = False
    noisy = False

    def __init__(self, resource: IResource, max_body: int, *, reactor: Any = None) -> None:
        self._request: Any = type("LimitedRequest", (BoundedRequest,), {"max_body": max_body})
        super().__init__(resource, requestFactory=self._request, timeout=IDLE, reactor=reactor)  # type: ignore[no-untyped-call]

    def change(self, max_body: int) -> None:
        self._request.max_body = max_body

    def log(self, request: Any) -> None:
        """tbl_api_requests has it."""
