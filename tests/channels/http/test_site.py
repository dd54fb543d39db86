"""The site over a fake transport: framing, bounds and time-outs, and what every answer carries."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import orjson
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from protei_bulk.channels.http.site import ApiSite
from protei_bulk.settings import Http, HttpLimits, HttpTls

HTTP = Http(max_body=1000 + 24)
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Transport(StringTransport):
    """Half-closes as TCP does."""

    half_closed = False
    aborted = False

    def loseWriteConnection(self) -> None:  # noqa: N802
        self.half_closed = True

    def abortConnection(self) -> None:  # noqa: N802
        self.aborted = True


class Echo(Resource):
    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[bytes] = []
        self.later: Deferred[None] | None = None

    def render(self, request: Any) -> Any:
        self.heard.append(request.path)
        if request.path == b"/fault":
            raise ZeroDivisionError("secret")
        if request.path == b"/later":
            self.later = Deferred()
            self.later.addCallback(lambda _: (request.write(b"at last"), request.finish()))
            return NOT_DONE_YET
        return b"%d octets" % len(request.content.read())


class SiteCase(SynchronousTestCase):
    settings = HTTP

    def setUp(self) -> None:
        self.clock = Clock()
        self.most = 1000
        self.root = Echo()
        self.site = ApiSite(self.root, self.settings, reactor=self.clock, monotonic=self.clock.seconds, most=lambda: self.most)
        self.protocol, self.transport = self.connect()

    def connect(self, host: str = "192.0.2.7") -> tuple[Any, Transport]:
        protocol = self.site.buildProtocol(None)
        transport = Transport(peerAddress=IPv4Address("TCP", host, 4711))
        transport.protocol = protocol
        protocol.makeConnection(transport)
        return protocol, transport

    def send(self, data: bytes) -> bytes:
        self.transport.clear()
        self.protocol.dataReceived(data)
        return bytes(self.transport.value())

    def refused(self, answer: bytes, status: int, code: str = "BAD_REQUEST") -> None:
        head, _, body = answer.partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 %d " % status), answer)
        self.assertEqual(answer.count(b"HTTP/1.1 "), 1)
        self.assertIn(b"\r\nConnection: close", head)
        self.assertIn(b"\r\nContent-Security-Policy: ", head)
        self.assertIn(b"\r\nContent-Type: application/problem+json", head)
        self.assertEqual(orjson.loads(body)["code"], code)
        self.assertTrue(self.transport.half_closed or self.transport.disconnecting)
        self.assertEqual(self.root.heard, [])


class BodyTest(SiteCase):
    def post(self, body: bytes, *, length: int | None = None, chunked: bool = False, more: bytes = b"") -> bytes:
        head = b"POST / HTTP/1.1\r\nHost: x\r\n" + more
        if chunked:
            head += b"Transfer-Encoding: chunked\r\n\r\n"
            for i in range(0, len(body), 500):
                piece = body[i : i + 500]
                head += b"%x\r\n%s\r\n" % (len(piece), piece)
            body = b"0\r\n\r\n"
        else:
            head += b"Content-Length: %d\r\n\r\n" % (len(body) if length is None else length)
        return self.send(head + body)

    def test_bodies_that_fit(self) -> None:
        self.assertIn(b"1024 octets", self.post(b"x" * 1024))
        self.assertIn(b"1024 octets", self.post(b"x" * 1024, chunked=True))
        self.assertIn(b"3 octets", self.post(b"abc"))

    def test_large_bodies_are_in_a_file(self) -> None:
        self.site.change(evolve(HTTP, max_body=2**20))
        for chunked in (False, True):
            self.assertIn(b"600000 octets", self.post(b"x" * 600_000, chunked=chunked))

    def test_too_long_is_refused_by_its_head(self) -> None:
        self.refused(self.post(b"", length=1025), 413, "BODY_TOO_LARGE")

    def test_too_long_in_chunks_is_refused_when_it_shows(self) -> None:
        self.refused(self.post(b"x" * 20_000, chunked=True), 413, "BODY_TOO_LARGE")
        self.assertEqual(self.send(GET), b"")

    def test_what_comes_after_a_refusal_is_thrown_away_and_not_for_ever(self) -> None:
        self.post(b"", length=10**12)
        self.assertEqual(self.send(b"x" * 1000), b"")
        self.assertFalse(self.transport.aborted)
        self.clock.pump([1.0] * 4)
        self.assertTrue(self.transport.aborted)

    def test_a_flood_after_a_refusal(self) -> None:
        self.post(b"", length=10**12)
        for _ in range(65):
            self.send(b"x" * 2**20)
        self.assertTrue(self.transport.aborted)

    def test_continue_is_said_only_to_what_is_taken(self) -> None:
        self.assertEqual(self.post(b"", length=3, more=b"Expect: 100-continue\r\n"), b"HTTP/1.1 100 Continue\r\n\r\n")
        self.assertIn(b"3 octets", self.send(b"abc"))
        self.root.heard.clear()
        self.refused(self.post(b"", length=5000, more=b"Expect: 100-continue\r\n"), 413, "BODY_TOO_LARGE")

    def test_other_expectations(self) -> None:
        self.refused(self.post(b"", length=3, more=b"Expect: a-miracle\r\n"), 417, "EXPECTATION_FAILED")

    def test_a_form_is_taken_apart_only_when_it_is_small(self) -> None:
        self.site.change(evolve(HTTP, max_body=2**20))
        kind = b"Content-Type: application/x-www-form-urlencoded\r\n"
        self.assertIn(b"6 octets", self.post(b"a=1&b=", more=kind))
        self.assertIn(b"200000 octets", self.post(b"a&" * 100_000, more=kind))
        self.assertIn(b"3 octets", self.post(b"abc", more=b"Content-Type: multipart/form-data; boundary=x\r\n"))


MALFORMED = {
    "two lengths": b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "different lengths": b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "a list of lengths": b"Content-Length: 3, 3\r\n\r\nabc",
    "length and chunks": b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "chunked twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "negative": b"Content-Length: -3\r\n\r\nabc",
    "signed": b"Content-Length: +3\r\n\r\nabc",
    "hexadecimal": b"Content-Length: 0x3\r\n\r\nabc",
    "underscores": b"Content-Length: 1_0\r\n\r\n0123456789",
    "empty": b"Content-Length:\r\n\r\n",
    "endless digits": b"Content-Length: " + b"9" * 6000 + b"\r\n\r\n",
    "space before the colon": b"Content-Length : 3\r\n\r\nabc",
    "folded": b"X-A: 1\r\n Content-Length: 3\r\n\r\n",
    "folded at first": b" X: 1\r\n\r\n",
    "no colon": b"Content-Length\r\n\r\n",
    "no name": b": value\r\n\r\n",
    "NUL in a value": b"X-A: a\0b\r\n\r\n",
    "bare CR in a value": b"X-A: a\rb\r\n\r\n",
    "bare LF in a value": b"X-A: a\nTransfer-Encoding: chunked\r\n\r\n",
    "NUL in a name": b"X\0A: b\r\n\r\n",
    "chunk of no size": b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "negative chunk": b"Transfer-Encoding: chunked\r\n\r\n-1\r\nabc",
    "chunk longer than said": b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
    "bare LF in chunks": b"Transfer-Encoding: chunked\r\n\r\n1\na\n0\n\r\n",
    "endless chunk line": b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 3000,
    "second host": b"Host: y\r\n\r\n",
}  # fmt: skip


class FramingTest(SiteCase):
    def test_what_could_be_read_in_two_ways_is_read_in_none(self) -> None:
        for name, rest in MALFORMED.items():
            with self.subTest(name):
                self.setUp()
                self.refused(self.send(b"POST / HTTP/1.1\r\nHost: x\r\n" + rest), 400)
                self.assertEqual(self.send(GET), b"", name)

    def test_codings_that_are_not_known(self) -> None:
        for coding in (b"identity", b"gzip, chunked", b"chunked, chunked", b"xchunked", b"\x0bchunked", b'"chunked"'):
            self.setUp()
            answer = self.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: " + coding + b"\r\n\r\n0\r\n\r\n")
            self.refused(answer, 501, "NOT_IMPLEMENTED")

    def test_chunks_in_http_1_0(self) -> None:
        self.refused(self.send(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400)

    def test_request_lines(self) -> None:
        for line in (
            b"GET", b"GET /", b"GET / HTTP/1.1 x", b"GET / HTTP/3.0", b"GET / HTTP/1.2", b"GET  / HTTP/1.1", b" GET / HTTP/1.1",
            b"GET /\0 HTTP/1.1", b"G\x00T / HTTP/1.1", b"\x16\x03\x01\x02\x00\x01\x00", b"GET / http/1.1", b"GET /\nHTTP/1.1 HTTP/1.1",
        ):  # fmt: skip
            self.setUp()
            self.refused(self.send(line + b"\r\nHost: x\r\n\r\n"), 400)

    def test_host(self) -> None:
        for host in (b"", b"Host: a b\r\n", b"Host: a/b\r\n", b"Host: \xff\r\n", b"Host: a@b\r\n", b'Host: "a"\r\n', b"Host: <x>\r\n"):
            self.setUp()
            self.refused(self.send(b"GET / HTTP/1.1\r\n" + host + b"\r\n"), 400)
        for host in (b"bulk.example:8080", b"[::1]:80", b"", b"192.0.2.1"):
            self.setUp()
            self.assertIn(b"0 octets", self.send(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"))
        self.setUp()
        self.assertIn(b"0 octets", self.send(b"GET / HTTP/1.0\r\n\r\n"))

    def test_too_much_of_a_head(self) -> None:
        self.refused(self.send(b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"), 414, "URI_TOO_LONG")
        self.setUp()
        self.refused(self.send(b"GET /" + b"x" * 9000), 414, "URI_TOO_LONG")
        for rest in (
            b"X-A: " + b"x" * 9000, b"X-A: " + b"x" * 9000 + b"\r\n\r\n", b"".join(b"X-%d: %s\r\n" % (i, b"x" * 2000) for i in range(9)),
            b"".join(b"X-%d: x\r\n" % i for i in range(101)),
        ):  # fmt: skip
            self.setUp()
            self.refused(self.send(b"GET / HTTP/1.1\r\nHost: x\r\n" + rest), 431, "HEADERS_TOO_LARGE")

    def test_the_count_begins_anew_with_each_request(self) -> None:
        request = b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: %s\r\n" % (i, b"x" * 100) for i in range(90)) + b"\r\n"
        for _ in range(5):
            self.assertIn(b"0 octets", self.send(request))

    def test_one_after_the_other_in_one_read(self) -> None:
        self.assertEqual(self.send(GET * 3).count(b"0 octets"), 3)

    def test_a_second_request_waits_for_the_first(self) -> None:
        self.assertEqual(self.send(b"GET /later HTTP/1.1\r\nHost: x\r\n\r\n" + GET), b"")
        assert self.root.later is not None
        self.root.later.callback(None)
        answer = self.transport.value()
        self.assertLess(answer.index(b"at last"), answer.index(b"0 octets"))

    @settings(deadline=None, max_examples=300)
    @given(st.lists(st.one_of(
        st.sampled_from([
            b"GET ", b"POST ", b"/", b" HTTP/1.1", b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"Host: x", b"Content-Length: ", b"0", b"5",
            b"chunked", b"Transfer-Encoding: ", b"5\r\nabcde\r\n", b"0\r\n\r\n", b":", b" ", b"\t", b"Expect: 100-continue",
            b"Connection: close", b"\0", b"%", b"%ff",
        ]),
        st.binary(max_size=20),
    ), max_size=40), st.integers(1, 50))  # fmt: skip
    def test_whatever_comes(self, pieces: list[bytes], size: int) -> None:
        """No exception, and nothing but answers."""
        self.setUp()
        data = b"".join(pieces)
        for i in range(0, len(data), size):
            self.protocol.dataReceived(data[i : i + size])
        self.protocol.connectionLost(None)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual((self.site.connections, self.clock.getDelayedCalls()), (0, []))


class TextTest(SiteCase):
    def test_headers_that_are_not_utf_8_are_read_as_latin_1(self) -> None:
        seen: list[object] = []
        self.root.render = lambda request: seen.append(request.getHeader("user-agent")) or b""  # type: ignore[assignment, func-returns-value]
        for octets in ("Café".encode(), "Café".encode("latin-1"), b"\xff"):
            self.assertIn(b" 200 ", self.send(b"GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: " + octets + b"\r\n\r\n"))
        self.assertEqual(seen, ["Café", "Café", "ÿ"])

    def test_paths_that_are_no_text(self) -> None:
        for path in (b"/%ff", b"/a%c3%28", b"/\xc3\xa9", b"/%C3%A9", b"/%", b"/%zz", b"/a%00b"):
            self.setUp()
            answer = self.send(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertIn(int(answer.split()[1]), (200, 400, 404), path)
        self.setUp()
        self.assertIn(b" 404 ", self.send(b"GET /%ff HTTP/1.1\r\nHost: x\r\n\r\n"))


class TimeTest(SiteCase):
    def seconds(self, n: float) -> None:
        self.clock.pump([0.5] * int(n * 2))

    def test_idle(self) -> None:
        self.seconds(119)
        self.assertFalse(self.transport.disconnecting)
        self.send(GET)
        self.seconds(119)
        self.assertFalse(self.transport.disconnecting)
        self.seconds(3)
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.send(b""), b"")

    def test_a_head_that_trickles(self) -> None:
        for octet in b"GET / HTTP":
            self.send(bytes([octet]))
            self.seconds(1)
        self.seconds(2)
        self.refused(bytes(self.transport.value()), 408, "REQUEST_TIMEOUT")

    def test_a_body_that_trickles(self) -> None:
        self.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n")
        for _ in range(31):
            self.send(b"x" * 5)
            self.seconds(1)
        self.seconds(1)
        self.refused(bytes(self.transport.value()), 408, "REQUEST_TIMEOUT")

    def test_a_long_body_has_longer(self) -> None:
        self.site.change(evolve(HTTP, max_body=2**20))
        self.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n")
        for _ in range(60):
            self.send(b"x" * 5000)
            self.seconds(1)
        self.assertIn(b"300000 octets", self.transport.value())

    def test_work_takes_as_long_as_it_takes(self) -> None:
        self.send(b"GET /later HTTP/1.1\r\nHost: x\r\n\r\n")
        self.seconds(1000)
        self.assertFalse(self.transport.disconnecting)
        assert self.root.later is not None
        self.root.later.callback(None)
        self.assertIn(b"at last", self.transport.value())

    def test_one_that_does_not_go_is_cut_off(self) -> None:
        self.seconds(122)
        self.assertTrue(self.transport.disconnecting)
        self.seconds(5)
        self.assertTrue(self.transport.aborted)

    def test_the_end_of_the_process(self) -> None:
        busy, transport = self.connect()
        busy.dataReceived(b"GET /later HTTP/1.1\r\nHost: x\r\n\r\n")
        self.site.wind_up()
        self.assertTrue(self.transport.disconnecting)
        self.assertFalse(transport.disconnecting)
        assert self.root.later is not None
        self.root.later.callback(None)
        self.assertIn(b"Connection: close", transport.value())
        self.assertTrue(transport.disconnecting)


class ConnectionsTest(SiteCase):
    settings = evolve(HTTP, limits=HttpLimits(0, 0, 0, 0, 3, 0), trusted_proxies=(ip_network("198.51.100.0/24"),))

    def test_of_an_address(self) -> None:
        others = [self.connect() for _ in range(2)]
        self.protocol, self.transport = self.connect()
        self.refused(bytes(self.transport.value()), 429, "TOO_MANY_CONNECTIONS")
        self.assertEqual(self.connect("192.0.2.8")[1].value(), b"")
        others[0][0].connectionLost(None)
        self.protocol.connectionLost(None)
        self.assertEqual(self.connect()[1].value(), b"")

    def test_this_machine_and_proxies_have_no_limit(self) -> None:
        for host in ("127.0.0.1", "198.51.100.4"):
            self.assertEqual({self.connect(host)[1].value() for _ in range(10)}, {b""})

    def test_of_all_addresses_the_longest_idle_one_goes(self) -> None:
        self.most = 3
        self.send(GET)
        second, third = self.connect("192.0.2.8"), self.connect("192.0.2.9")
        self.connect("192.0.2.10")
        self.assertEqual([t.aborted for t in (self.transport, second[1], third[1])], [True, False, False])

    def test_where_none_is_idle_the_new_one_goes(self) -> None:
        self.most = 1
        self.send(b"GET /later HTTP/1.1\r\nHost: x\r\n\r\n")
        self.root.heard.clear()
        self.protocol, self.transport = self.connect("192.0.2.8")
        self.refused(bytes(self.transport.value()), 503, "TOO_MANY_CONNECTIONS")


class HeadersTest(SiteCase):
    def test_every_answer(self) -> None:
        for line in (b"GET /", b"HEAD /", b"OPTIONS *", b"GET /fault"):
            request = line + b" HTTP/1.1\r\nHost: x\r\n\r\n"
            head = self.send(request).partition(b"\r\n\r\n")[0].lower()
            for header in (
                b"content-security-policy: default-src 'none'", b"x-content-type-options: nosniff", b"x-frame-options: deny",
                b"referrer-policy: no-referrer", b"cache-control: no-store", b"server: protei-bulk\r\n",
            ):  # fmt: skip
                self.assertEqual(head.count(header), 1, (request, header))
            self.assertNotIn(b"twisted", head)
            self.assertNotIn(b"strict-transport-security", head)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_fault_of_ours_shows_nothing(self) -> None:
        answer = self.send(b"GET /fault HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 500 "))
        self.assertNotIn(b"secret", answer)
        self.flushLoggedErrors(ZeroDivisionError)


class RedirectTest(SiteCase):
    settings = evolve(
        HTTP, redirect_to_https=True, tls=HttpTls(listen=("tcp:8443:interface=0.0.0.0",)), trusted_proxies=(ip_network("198.51.100.0/24"),)
    )

    def get(self, path: bytes, more: bytes = b"", host: bytes = b"bulk.example:8080") -> bytes:
        return self.send(b"POST " + path + b" HTTP/1.1\r\nHost: " + host + b"\r\nContent-Length: 0\r\n" + more + b"\r\n")

    def test_to_the_same_at_the_tls_port(self) -> None:
        answer = self.get(b"/api/sendBulk?a=b")
        self.assertTrue(answer.startswith(b"HTTP/1.1 308 "))
        self.assertIn(b"\r\nLocation: https://bulk.example:8443/api/sendBulk?a=b\r\n", answer)
        self.assertEqual(self.root.heard, [])

    def test_to_the_public_url(self) -> None:
        self.site.change(evolve(self.settings, public_url="https://bulk.example.com"))
        self.assertIn(b"\r\nLocation: https://bulk.example.com//evil.example/\r\n", self.get(b"//evil.example/", host=b"evil.example"))

    def test_health_is_answered(self) -> None:
        for path in (b"/healthz", b"/readyz", b"/metrics"):
            self.assertTrue(self.get(path).startswith(b"HTTP/1.1 200 "))

    def test_where_it_is_not_known_whither(self) -> None:
        for path, host in ((b"/", b""), (b"*x", b"h"), (b"http://evil.example/", b"h")):
            self.assertTrue(self.get(path, host=host).startswith(b"HTTP/1.1 400 "))

    def test_a_trusted_proxy_that_was_come_to_by_https(self) -> None:
        self.protocol, self.transport = self.connect("198.51.100.1")
        answer = self.get(b"/", b"X-Forwarded-Proto: http, https\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 "))
        self.assertIn(b"Strict-Transport-Security: max-age=31536000", answer)
        self.assertTrue(self.get(b"/", b"X-Forwarded-Proto: http\r\n").startswith(b"HTTP/1.1 308 "))

    def test_anybody_else_who_says_so(self) -> None:
        self.assertTrue(self.get(b"/", b"X-Forwarded-Proto: https\r\n").startswith(b"HTTP/1.1 308 "))
