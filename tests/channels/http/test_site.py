from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from protei_bulk.channels.http.site import ApiSite


class Echo(Resource):
    isLeaf = True

    def render(self, request: Any) -> bytes:
        if request.too_large:
            request.setResponseCode(413)
            return b"too large"
        return b"%d octets" % len(request.content.read())


class SiteTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.site = ApiSite(Echo(), 1000, reactor=self.clock)
        self.protocol = self.site.buildProtocol(None)
        self.protocol.callLater = self.clock.callLater
        self.transport = StringTransport()
        self.protocol.makeConnection(self.transport)

    def send(self, body: bytes, *, length: int | None = None, chunked: bool = False) -> bytes:
        head = b"POST / HTTP/1.1\r\nHost: x\r\n"
        if chunked:
            head += b"Transfer-Encoding: chunked\r\n\r\n"
            for i in range(0, len(body), 500):
                piece = body[i : i + 500]
                head += b"%x\r\n%s\r\n" % (len(piece), piece)
            body = b"0\r\n\r\n"
        else:
            head += b"Content-Length: %d\r\n\r\n" % (len(body) if length is None else length)
        self.protocol.dataReceived(head + body)
        return self.transport.value()

    def test_bodies_that_fit(self) -> None:
        self.assertIn(b"1000 octets", self.send(b"x" * 1000))
        self.assertIn(b"1000 octets", self.send(b"x" * 1000, chunked=True))

    def test_too_long_is_read_and_thrown_away(self) -> None:
        for chunked in (False, True):
            self.transport.clear()
            answer = self.send(b"x" * 1001, chunked=chunked)
            self.assertTrue(answer.startswith(b"HTTP/1.1 413 "), answer)
            self.assertFalse(self.transport.disconnecting)
        # The next request on the connection is heard.
        self.assertIn(b"3 octets", self.send(b"abc"))

    def test_far_too_long_is_cut_off(self) -> None:
        answer = self.send(b"", length=10**12)
        self.assertTrue(answer.startswith(b"HTTP/1.1 413 "))
        self.assertTrue(self.transport.disconnecting)

    def test_endless_chunks_are_cut_off(self) -> None:
        answer = self.send(b"x" * 20_000, chunked=True)
        self.assertTrue(answer.startswith(b"HTTP/1.1 413 "))
        self.assertEqual(answer.count(b"HTTP/1.1"), 1)
        self.assertTrue(self.transport.disconnecting)
